package fakekcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kcp-dev/logicalcluster/v3"
)

// Place is where an object is.
type Place struct {
	Resource        schema.GroupResource
	Workspace       logicalcluster.Name
	Namespace, Name string
}

// object is one state of an object: its JSON, and what it is found and selected by.
type object struct {
	at      Place
	labels  labels.Set
	uid     types.UID
	version int64
	raw     []byte
}

// collection is what there is of one resource in all workspaces, and what has happened to it lately.
type collection struct {
	objects  map[Place]*object
	watchers []*watcher
	// tail are the last events; all until the version forgotten are gone.
	tail      []event
	forgotten int64
}

// tailLength is how many events a collection remembers, for those who have listed it and watch it then.
const tailLength = 1000

// event is what has happened to an object. A deleted one is now as it was, with a version of its own.
type event struct {
	before, now *object
	isDeletion  bool
}

// seenBy returns what a watch of the selection is told, empty for nothing.
func (e event) seenBy(wanted selection) watch.EventType {
	was, is := e.before != nil && wanted.has(e.before), !e.isDeletion && wanted.has(e.now)
	switch {
	case was && is:
		return watch.Modified
	case is:
		return watch.Added
	case was:
		return watch.Deleted
	default:
		return ""
	}
}

func (s *Server) collection(resource schema.GroupResource) *collection {
	found := s.collections[resource]
	if found == nil {
		found = &collection{objects: map[Place]*object{}}
		s.collections[resource] = found
	}
	return found
}

// Put stores an object, and tells who watches. It is in the workspace that its annotation kcp.io/cluster names. What a server fills in
// is filled in there too.
func (s *Server) Put(resource schema.GroupResource, content map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	obj := &unstructured.Unstructured{Object: content}
	s.put(Place{resource, logicalcluster.From(obj), obj.GetNamespace(), obj.GetName()}, obj)
}

// Change has edit change an object, and stores it when edit reports that it has. It reports whether it has stored one. Do not ask the
// server in edit.
func (s *Server) Change(at Place, edit func(*unstructured.Unstructured) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.collection(at.Resource).objects[at]
	if before == nil {
		return false
	}
	obj := before.decoded()
	if !edit(obj) {
		return false
	}
	s.put(at, obj)
	return true
}

// Remove removes an object, if it is there.
func (s *Server) Remove(at Place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before := s.collection(at.Resource).objects[at]; before != nil {
		s.drop(before)
	}
}

func (s *Server) put(at Place, obj *unstructured.Unstructured) *object {
	s.version++
	if obj.GetUID() == "" {
		obj.SetUID(types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", s.version))) // the same in each run: placing goes by it
	}
	if created := obj.GetCreationTimestamp(); created.IsZero() {
		obj.SetCreationTimestamp(metav1.Now())
	}
	c := s.collection(at.Resource)
	before, now := c.objects[at], s.encoded(at, obj)
	c.objects[at] = now
	c.tell(event{before: before, now: now})
	if s.OnChange != nil {
		s.OnChange(at, now.raw)
	}
	return now
}

func (s *Server) drop(before *object) {
	s.version++
	c := s.collection(before.at.Resource)
	delete(c.objects, before.at)
	c.tell(event{before, s.encoded(before.at, before.decoded()), true})
}

// encoded returns what is kept of an object at the present version.
func (s *Server) encoded(at Place, obj *unstructured.Unstructured) *object {
	obj.SetResourceVersion(strconv.FormatInt(s.version, 10))
	return &object{at, obj.GetLabels(), obj.GetUID(), s.version, encode(obj.Object)}
}

func (o *object) decoded() *unstructured.Unstructured {
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON(o.raw); err != nil {
		panic(err) // it was encoded here
	}
	return obj
}

// meets returns a conflict when an object is not the one, or not in the state, that a write is meant for. Empty is for any.
func (o *object) meets(uid types.UID, version string) error {
	if (uid == "" || uid == o.uid) && (version == "" || version == strconv.FormatInt(o.version, 10)) {
		return nil
	}
	return apierrors.NewConflict(o.at.Resource, o.at.Name, errors.New("it has another UID, or has changed"))
}

func (c *collection) tell(e event) {
	c.tail = append(c.tail, e)
	if more := len(c.tail) - tailLength; more > 0 {
		c.forgotten = c.tail[more-1].now.version
		c.tail = slices.Delete(c.tail, 0, more)
	}
	for _, w := range c.watchers {
		w.add(e)
	}
}

// Dumped is an object, and what it is of.
type Dumped struct {
	Resource schema.GroupResource `json:"resource"`
	Object   json.RawMessage      `json:"object"`
}

// Dump returns all objects.
func (s *Server) Dump() []Dumped {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Dumped
	for resource, c := range s.collections {
		for _, one := range c.objects {
			all = append(all, Dumped{resource, one.raw})
		}
	}
	return all
}

// Load stores all objects of a Dump but the endpoint slice, which is the server's own.
func (s *Server) Load(all []Dumped) error {
	for _, one := range all {
		if one.Resource == endpointSlices.groupResource() {
			continue
		}
		obj := &unstructured.Unstructured{}
		if err := obj.UnmarshalJSON(one.Object); err != nil {
			return err
		}
		s.Put(one.Resource, obj.Object)
	}
	return nil
}
