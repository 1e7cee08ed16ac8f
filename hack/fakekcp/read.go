package fakekcp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
)

// selection says which objects of a collection are asked for.
type selection struct {
	question

	labels labels.Selector
	name   string
}

func selectionOf(r *http.Request, q question) (selection, error) {
	query := r.URL.Query()
	byLabels, err := labels.Parse(query.Get("labelSelector"))
	if err != nil {
		return selection{}, err
	}
	byFields, err := fields.ParseSelector(query.Get("fieldSelector"))
	if err != nil {
		return selection{}, err
	}
	name, _ := byFields.RequiresExactMatch("metadata.name")
	return selection{q, byLabels, name}, nil
}

func (s selection) has(at key, obj *stored) bool {
	return (s.workspace == "*" || s.workspace == at.workspace) && (s.namespace == "" || s.namespace == at.namespace) &&
		(s.name == "" || s.name == at.name) && (s.labels.Empty() || s.labels.Matches(labels.Set(obj.obj.GetLabels())))
}

// present returns what there is, and the version of that. The caller has locked.
func (s *Server) present(c *collection, wanted selection) (found []*stored, version int) {
	for at, obj := range c.objects {
		if wanted.has(at, obj) {
			found = append(found, obj)
		}
	}
	return found, s.version
}

func (s *Server) list(w http.ResponseWriter, r *http.Request, q question) {
	wanted, err := selectionOf(r, q)
	if err != nil {
		refuse(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	s.mu.Lock()
	found, version := s.present(s.collection(q.resource), wanted)
	s.mu.Unlock()
	if limit, err := strconv.Atoi(r.URL.Query().Get("limit")); err == nil && limit > 0 && limit < 10 {
		found = found[:min(len(found), limit)] // somebody only looks whether it is served; nobody follows a page from here
	}
	fmt.Fprintf(w, `{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"%d"},"items":[`, version)
	for i, obj := range found {
		if i > 0 {
			_, _ = w.Write([]byte(","))
		}
		_, _ = w.Write(obj.json)
	}
	_, _ = w.Write([]byte("]}"))
}

// watch sends what happens until the client goes, after what there is if it asks for that.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, q question) {
	wanted, err := selectionOf(r, q)
	if err != nil {
		refuse(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	since, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	isInitial := r.URL.Query().Get("sendInitialEvents") == "true"
	s.mu.Lock()
	c := s.collection(q.resource)
	var present []*stored
	if isInitial || since == 0 {
		present, since = s.present(c, wanted)
	}
	next := c.after(since)
	s.mu.Unlock()
	for _, obj := range present {
		line(w, "ADDED", obj.json)
	}
	if isInitial {
		line(w, "BOOKMARK", s.bookmark(q, since))
	}
	s.follow(r.Context(), w, c, next, wanted)
}

// after returns the place of the first event after a version. The caller has locked.
func (c *collection) after(version int) int {
	next := len(c.events)
	for next > 0 && c.events[next-1].version > version {
		next--
	}
	return next
}

// follow sends the events of a collection from a place on, until ctx ends.
func (s *Server) follow(ctx context.Context, w http.ResponseWriter, c *collection, next int, wanted selection) {
	flusher, _ := w.(http.Flusher)
	for {
		flusher.Flush()
		s.mu.Lock()
		news, changed := c.events[next:], c.changed
		next = len(c.events)
		s.mu.Unlock()
		for _, e := range news {
			if wanted.has(e.key, e.stored) {
				line(w, e.kind, e.stored.json)
			}
		}
		if len(news) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// bookmark ends what there is.
func (s *Server) bookmark(q question, version int) []byte {
	kind, apiVersion := "Object", "v1"
	for _, served := range s.resources {
		if served.GroupResource() == q.resource {
			kind, apiVersion = served.Kind, served.GroupVersion().String()
		}
	}
	if q.group != "" && kind == "Object" {
		apiVersion = q.group + "/" + q.version
	}
	return encode(map[string]any{"kind": kind, "apiVersion": apiVersion, "metadata": map[string]any{
		"resourceVersion": strconv.Itoa(version), "annotations": map[string]string{metav1.InitialEventsAnnotationKey: "true"},
	}})
}

func line(w io.Writer, kind string, object []byte) {
	var b bytes.Buffer
	b.Grow(len(object) + 40)
	b.WriteString(`{"type":"`)
	b.WriteString(kind)
	b.WriteString(`","object":`)
	b.Write(object)
	b.WriteString("}\n")
	_, _ = w.Write(b.Bytes()) // the client has gone
}

func readAll(r *http.Request) ([]byte, error) { return io.ReadAll(r.Body) }
