package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
)

// observer watches the objects of a resource, and notes the moment at which one is first seen to be as somebody waits
// for.
type observer struct {
	key func(*unstructured.Unstructured) string

	mu      sync.Mutex
	objects map[string]*unstructured.Unstructured
	waiting map[string][]*expectation
}

// selection says which objects an observer watches, and what it knows them by.
type selection struct {
	resource schema.GroupVersionResource
	// labels and fields are selectors; empty for all.
	labels, fields string
	// key gives what an object is known by; nil for its name alone, for a copy's namespace may have another name than
	// the original's.
	key func(*unstructured.Unstructured) string
}

// expectation is what somebody waits for.
type expectation struct {
	is   func(*unstructured.Unstructured) bool
	seen chan time.Time
}

// observe watches objects until ctx ends. It returns when those are known that there are.
func observe(ctx context.Context, client dynamic.Interface, of selection) (*observer, error) {
	if of.key == nil {
		of.key = (*unstructured.Unstructured).GetName
	}
	o := &observer{key: of.key, objects: map[string]*unstructured.Unstructured{}, waiting: map[string][]*expectation{}}
	selected := func(options *metav1.ListOptions) { options.LabelSelector, options.FieldSelector = of.labels, of.fields }
	informer := dynamicinformer.NewFilteredDynamicInformer(client, of.resource, metav1.NamespaceAll, 0, nil, selected).Informer()
	see := func(obj any) { o.see(obj.(*unstructured.Unstructured), time.Now()) }
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    see,
		UpdateFunc: func(_, obj any) { see(obj) },
		DeleteFunc: func(obj any) {
			if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = unknown.Obj
			}
			o.forget(obj.(*unstructured.Unstructured), time.Now())
		},
	})
	if err != nil {
		return nil, fmt.Errorf("observe %s: %w", of.resource.Resource, err)
	}
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return nil, errors.Join(fmt.Errorf("observe %s: not read", of.resource.Resource), ctx.Err())
	}
	return o, nil
}

// see takes note of an object as it is now.
func (o *observer) see(obj *unstructured.Unstructured, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := o.key(obj)
	o.objects[key] = obj
	o.tell(key, obj, now)
}

// forget takes note that an object is gone.
func (o *observer) forget(obj *unstructured.Unstructured, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := o.key(obj)
	delete(o.objects, key)
	o.tell(key, nil, now)
}

// get returns an object as it was last seen, nil if it is not there.
func (o *observer) get(key string) *unstructured.Unstructured {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.objects[key]
}

// all returns the objects that are there, in no order.
func (o *observer) all() []*unstructured.Unstructured {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Collect(maps.Values(o.objects))
}

// tell tells those who wait for the object. The caller holds the lock.
func (o *observer) tell(key string, obj *unstructured.Unstructured, now time.Time) {
	var left []*expectation
	for _, e := range o.waiting[key] {
		if !e.is(obj) {
			left = append(left, e)
			continue
		}
		e.seen <- now
	}
	if len(left) == 0 {
		delete(o.waiting, key)
		return
	}
	o.waiting[key] = left
}

// await begins to wait until an object is as is says; is gets nil of one that is not there.
func (o *observer) await(key string, is func(*unstructured.Unstructured) bool) *expectation {
	e := &expectation{is: is, seen: make(chan time.Time, 1)}
	o.mu.Lock()
	defer o.mu.Unlock()
	if obj := o.objects[key]; is(obj) {
		e.seen <- time.Now()
		return e
	}
	o.waiting[key] = append(o.waiting[key], e)
	return e
}

// wait waits for it, and gives the moment at which it was seen.
func (e *expectation) wait(ctx context.Context) (time.Time, error) {
	select {
	case at := <-e.seen:
		return at, nil
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
}

// exists reports whether an object is there.
func exists(obj *unstructured.Unstructured) bool { return obj != nil }

// isGone reports whether an object is not there.
func isGone(obj *unstructured.Unstructured) bool { return obj == nil }

// isTrue returns what reports whether a condition is.
func isTrue(condition string) func(*unstructured.Unstructured) bool {
	return func(obj *unstructured.Unstructured) bool {
		if obj == nil {
			return false
		}
		conditions, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions") // none if not there
		for _, one := range conditions {
			if fields, ok := one.(map[string]any); ok && fields["type"] == condition {
				return fields["status"] == string(metav1.ConditionTrue)
			}
		}
		return false
	}
}
