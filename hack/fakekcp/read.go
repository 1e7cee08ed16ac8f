package fakekcp

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	internalversionscheme "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kcp-dev/logicalcluster/v3"
)

func (s *Server) get(w http.ResponseWriter, q question) error {
	s.mu.Lock()
	found := s.collection(q.at.Resource).objects[q.at]
	s.mu.Unlock()
	if found == nil {
		return apierrors.NewNotFound(q.at.Resource, q.at.Name)
	}
	_, _ = w.Write(found.raw)
	return nil
}

// selection says which objects of a collection are asked for, and since when.
type selection struct {
	question

	options internalversion.ListOptions
	// since is the version that the client knows, 0 for none.
	since    int64
	provider logicalcluster.Name
}

func (s *Server) selectionOf(r *http.Request, q question) (selection, error) {
	wanted := selection{question: q, provider: s.provider}
	if err := internalversionscheme.ParameterCodec.DecodeParameters(r.URL.Query(), metav1.SchemeGroupVersion, &wanted.options); err != nil {
		return selection{}, err
	}
	var err error
	wanted.since, err = strconv.ParseInt(cmp.Or(wanted.options.ResourceVersion, "0"), 10, 64)
	return wanted, err
}

func (s selection) has(o *object) bool {
	byLabels, byFields := s.options.LabelSelector, s.options.FieldSelector
	isThere := s.at.Workspace == o.at.Workspace || s.at.Workspace == "*" && o.at.Workspace != s.provider
	return isThere && (s.at.Namespace == "" || s.at.Namespace == o.at.Namespace) &&
		(byLabels == nil || byLabels.Matches(o.labels)) &&
		(byFields == nil || byFields.Empty() || byFields.Matches(fields.Set{"metadata.name": o.at.Name, "metadata.namespace": o.at.Namespace}))
}

// present returns what there is, in the order of the places. The caller has locked.
func (c *collection) present(wanted selection) []*object {
	var found []*object
	for _, obj := range c.objects {
		if wanted.has(obj) {
			found = append(found, obj)
		}
	}
	slices.SortFunc(found, func(a, b *object) int {
		return cmp.Or(cmp.Compare(a.at.Workspace, b.at.Workspace), cmp.Compare(a.at.Namespace, b.at.Namespace), cmp.Compare(a.at.Name, b.at.Name))
	})
	return found
}

func (s *Server) list(w http.ResponseWriter, r *http.Request, q question) error {
	wanted, err := s.selectionOf(r, q)
	if err != nil {
		return err
	}
	s.mu.Lock()
	found, version := s.collection(q.at.Resource).present(wanted), s.version
	s.mu.Unlock()
	if limit := int(wanted.options.Limit); limit > 0 && limit < 10 {
		found = found[:min(len(found), limit)] // somebody only looks whether it is served; nobody follows a page from here
	}
	_, _ = fmt.Fprintf(w, `{"apiVersion":%q,"kind":%q,"metadata":{"resourceVersion":"%d"},"items":[`, q.groupVersion(), s.kindOf(q.at.Resource)+"List", version)
	for i, obj := range found {
		if i > 0 {
			_, _ = w.Write([]byte(","))
		}
		_, _ = w.Write(obj.raw)
	}
	_, _ = w.Write([]byte("]}"))
	return nil
}

func (q question) groupVersion() string {
	return schema.GroupVersion{Group: q.APIGroup, Version: q.APIVersion}.String()
}

// watcher is a watch under way, and what it has not sent yet.
type watcher struct {
	selection

	news []news
	more chan struct{}
}

type news struct {
	kind watch.EventType
	obj  *object
}

// add has the watch tell of an event, if it is one of its own. The caller has locked.
func (w *watcher) add(e event) {
	if kind := e.seenBy(w.selection); kind != "" {
		w.news = append(w.news, news{kind, e.now})
		select {
		case w.more <- struct{}{}:
		default:
		}
	}
}

// watch sends what happens until the client goes, after what there is if it asks for that.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, q question) error {
	wanted, err := s.selectionOf(r, q)
	if err != nil {
		return err
	}
	watching, err := s.follow(wanted)
	if err != nil {
		return err
	}
	defer s.forget(watching)
	flush := w.(http.Flusher).Flush
	for {
		s.mu.Lock()
		all := watching.news
		watching.news = nil
		s.mu.Unlock()
		for _, one := range all {
			_, _ = fmt.Fprintf(w, `{"type":%q,"object":`, one.kind)
			_, _ = w.Write(one.obj.raw)
			_, _ = w.Write([]byte("}\n"))
		}
		flush()
		select {
		case <-r.Context().Done():
			return nil
		case <-watching.more:
		}
	}
}

// follow begins a watch: with what there is, or with what has happened since the version that the client knows.
func (s *Server) follow(wanted selection) (*watcher, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.collection(wanted.at.Resource)
	watching := &watcher{selection: wanted, more: make(chan struct{}, 1)}
	isInitial := wanted.options.SendInitialEvents != nil && *wanted.options.SendInitialEvents
	switch {
	case isInitial || wanted.since == 0:
		for _, obj := range c.present(wanted) {
			watching.news = append(watching.news, news{watch.Added, obj})
		}
	case wanted.since < c.forgotten:
		return nil, apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", wanted.since, c.forgotten))
	default:
		for _, e := range c.tail {
			if e.now.version > wanted.since {
				watching.add(e)
			}
		}
	}
	if isInitial {
		watching.news = append(watching.news, news{watch.Bookmark, &object{raw: encode(map[string]any{
			"apiVersion": wanted.groupVersion(), "kind": s.kindOf(wanted.at.Resource), "metadata": map[string]any{
				"resourceVersion": strconv.FormatInt(s.version, 10), "annotations": map[string]string{metav1.InitialEventsAnnotationKey: "true"},
			},
		})}})
	}
	c.watchers = append(c.watchers, watching)
	return watching, nil
}

func (s *Server) forget(watching *watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.collection(watching.at.Resource)
	c.watchers = slices.DeleteFunc(c.watchers, func(w *watcher) bool { return w == watching })
}
