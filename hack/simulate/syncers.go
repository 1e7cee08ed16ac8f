package main

import (
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// syncers report on what is placed, as those of all clusters would: each copy is complete at once.
type syncers struct {
	server *server

	mu      sync.Mutex
	waiting map[string]map[string]bool
	wake    chan struct{}
}

// newSyncers returns syncers that work on what changes on the server.
func newSyncers(s *server) *syncers {
	y := &syncers{server: s, waiting: map[string]map[string]bool{}, wake: make(chan struct{}, 1)}
	s.changed = func(obj *object) {
		if !strings.HasPrefix(obj.collection, virtual) || !strings.Contains(string(obj.raw), v1alpha1.PlacementLabelPrefix) && !strings.Contains(string(obj.raw), v1alpha1.FinalizerPrefix) {
			return
		}
		y.mu.Lock()
		if y.waiting[obj.collection] == nil {
			y.waiting[obj.collection] = map[string]bool{}
		}
		y.waiting[obj.collection][obj.key()] = true
		y.mu.Unlock()
		select {
		case y.wake <- struct{}{}:
		default:
		}
	}
	return y
}

func (y *syncers) run() {
	for range y.wake {
		y.mu.Lock()
		waiting := y.waiting
		y.waiting = map[string]map[string]bool{}
		y.mu.Unlock()
		for collection, keys := range waiting {
			for key := range keys {
				y.report(collection, key)
			}
		}
	}
}

// report writes what each of an object's clusters has to say, a write for each.
func (y *syncers) report(collection, key string) {
	if collection == namespaces {
		return
	}
	for {
		y.server.mu.Lock()
		known := y.server.objects[collection][key]
		var content map[string]any
		isNews := false
		if known != nil {
			content = known.content()
			isNews = reportOnce(&unstructured.Unstructured{Object: content})
		}
		if isNews {
			changed := y.server.changed
			y.server.changed = nil
			y.server.store(collection, content)
			y.server.changed = changed
		}
		y.server.mu.Unlock()
		if !isNews {
			return
		}
	}
}

// reportOnce has the first cluster that has something to say change the object, and reports whether any had.
func reportOnce(obj *unstructured.Unstructured) bool {
	said := protocol.Read(obj)
	annotations := obj.GetAnnotations()
	for _, cluster := range said.Present() {
		if !said.IsPlaced(cluster) {
			if !said.IsHeld(cluster) {
				continue
			}
			var finalizers []string
			for _, finalizer := range obj.GetFinalizers() {
				if finalizer != v1alpha1.Finalizer(cluster) {
					finalizers = append(finalizers, finalizer)
				}
			}
			obj.SetFinalizers(finalizers)
			delete(annotations, v1alpha1.StatusAnnotation(cluster))
			obj.SetAnnotations(annotations)
			return true
		}
		report := protocol.Report{
			Version: protocol.ReportVersion, Cluster: cluster, Generation: obj.GetGeneration(), Inputs: said.Inputs(cluster),
			LocalGeneration: 1, LocalObservedGeneration: 1,
		}
		if obj.GetKind() == "Deployment" {
			report.Replicas = new(int64(2))
			report.Counters = map[string]int64{"replicas": 2, "readyReplicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
			report.Conditions = []protocol.ReportCondition{
				{Type: "Available", Status: "True", Reason: "MinimumReplicasAvailable", Message: "Deployment has minimum availability."},
				{Type: "Progressing", Status: "True", Reason: "NewReplicaSetAvailable", Message: "ReplicaSet has successfully progressed."},
			}
		} else if obj.GetKind() != "Service" {
			continue // nothing is reported of what has no status while nothing is wrong
		}
		encoded, err := report.Encode()
		if err != nil {
			panic(err)
		}
		if annotations[v1alpha1.StatusAnnotation(cluster)] != encoded {
			annotations[v1alpha1.StatusAnnotation(cluster)] = encoded
			obj.SetAnnotations(annotations)
			return true
		}
	}
	return false
}
