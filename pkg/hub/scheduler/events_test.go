package scheduler

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// queued is a loop that keeps the names of what is queued, and does nothing.
type queued struct{ names []string }

func (q *queued) Enqueue(key kcp.ObjectKey) {
	if !slices.Contains(q.names, key.Name) {
		q.names = append(q.names, key.Name)
	}
}

func (q *queued) Run(ctx context.Context, _ int) { <-ctx.Done() }

func annotate(annotations map[string]*string) func(*unstructured.Unstructured) {
	return func(obj *unstructured.Unstructured) { obj.SetAnnotations(merge(obj.GetAnnotations(), annotations)) }
}

func TestOnUpstream(t *testing.T) {
	annotated := func(key, value string) func(*unstructured.Unstructured) {
		return annotate(map[string]*string{key: &value})
	}
	labelled := func(obj *unstructured.Unstructured) {
		obj.SetLabels(map[string]string{v1alpha1.PlacementLabel("west"): "sync"})
	}
	gone := func(obj *unstructured.Unstructured) { obj.Object = nil }
	generation := func(obj *unstructured.Unstructured) { obj.SetGeneration(2) }
	deleting := func(obj *unstructured.Unstructured) { obj.SetDeletionTimestamp(new(metav1.Unix(0, 0))) }
	cases := map[string]struct {
		object string
		// change makes the new state, which is the only one when it is nil.
		change   func(*unstructured.Unstructured)
		draining bool
		want     []string
		statuses []string
	}{
		"a workload is new: its namespace and what follows it, too": {"web", nil, false, []string{"account", "app", "service", "settings", "web"}, []string{"p"}},
		"a workload reports": {"web", annotated(v1alpha1.StatusAnnotation("east"), "{}"), false, nil, nil},
		"a workload that moves reports: it may be available by now": {"web", annotated(v1alpha1.StatusAnnotation("east"), "{}"), true, []string{"web"}, nil},
		"a workload is to leave: it has not yet":                    {"web", annotated(v1alpha1.DeletionAnnotation("east"), "now"), false, []string{"web"}, []string{"p"}},
		"a workload enters a cluster":                               {"web", labelled, false, []string{"account", "app", "service", "settings", "web"}, []string{"p"}},
		"a workload is changed: it may name and select others":      {"web", generation, false, []string{"account", "service", "settings", "web"}, []string{"p"}},
		"a workload goes": {"web", gone, false, []string{"account", "app", "service", "settings", "web"}, []string{"p"}},
		"a workload says that another placement decided: both count":           {"web", annotated(v1alpha1.PlacementAnnotation, `{"by":"placement","name":"q"}`), false, []string{"web"}, []string{"p", "q"}},
		"what is needed is new: who needs it may have waited":                  {"settings", nil, false, []string{"app", "settings", "web"}, nil},
		"a namespace is labelled: what is in it may have waited":               {"app", annotated("a", "b"), false, []string{"app", "web"}, nil},
		"what nobody waits for is labelled":                                    {"account", annotated("a", "b"), false, []string{"account"}, nil},
		"a placement is new: it may be about anything in its namespace":        {"p", nil, false, []string{"account", "service", "settings", "web"}, []string{"p"}},
		"a placement is changed":                                               {"p", generation, false, []string{"account", "service", "settings", "web"}, []string{"p"}},
		"a placement has a new status":                                         {"p", annotated("a", "b"), false, nil, []string{"p"}},
		"a placement is being deleted":                                         {"p", deleting, false, []string{"account", "service", "settings", "web"}, []string{"p"}},
		"a binding is not placed, and concerns the scheduler by what is bound": {"binding", nil, false, nil, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeKCP(t, namespace, settings, account, service, deployment, placementOf("{}"), `{apiVersion: apis.kcp.io/v1alpha2, kind: APIBinding, metadata: {name: binding}}`)
			f.changeWeb(annotate(map[string]*string{v1alpha1.PlacementAnnotation: new(`{"by":"placement p"}`)}))
			s := f.scheduler(fleet{"east"})
			objects, statuses := &queued{}, &queued{}
			s.objects, s.statuses = objects, statuses
			before := f.object(tc.object)
			key := kcp.KeyOf(resources[before.GetKind()], before)
			if tc.draining {
				s.ledger.recordOf(key).decided.isMoving = true
			}
			s.waitFor(kcp.KeyOf(resources["Deployment"], f.object("web")), []kcp.ObjectKey{kcp.KeyOf(resources["ConfigMap"], f.object("settings")), kcp.KeyOf(v1alpha1.NamespacesResource, f.object("app"))})
			oldObj, newObj := before, before.DeepCopy()
			if tc.change == nil {
				oldObj = nil
			} else if tc.change(newObj); newObj.Object == nil {
				newObj = nil
			}
			if oldObj != nil && isPlaceable(key) {
				s.note(key, oldObj)
				objects.names = nil
			}
			s.OnUpstream(key, oldObj, newObj)
			slices.Sort(objects.names)
			if diff := cmp.Diff(tc.want, objects.names); diff != "" {
				t.Errorf("queued (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.statuses, statuses.names); diff != "" {
				t.Errorf("statuses queued (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOnUpstreamForgetsWhatIsGone(t *testing.T) {
	f := newFakeKCP(t, namespace, web)
	s := f.scheduler(fleet{"east"})
	obj := f.object("web")
	key := kcp.KeyOf(resources["Deployment"], obj)
	s.decide(key, obj)
	if s.ledger.workloads["east"] != 1 {
		t.Fatalf("the load is %v", s.ledger.workloads)
	}
	s.decide(key, obj)
	if s.ledger.workloads["east"] != 1 {
		t.Errorf("decided twice, the load is %v", s.ledger.workloads)
	}
	s.OnUpstream(key, obj, nil)
	if _, known := s.ledger.records[key]; known || s.ledger.workloads["east"] != 0 {
		t.Errorf("the load is %v, and it is known: %t", s.ledger.workloads, known)
	}
}

func TestOnClusterAndOnWorkspace(t *testing.T) {
	f := newFakeKCP(t, namespace, settings, web, placementOf("{}"))
	s := f.scheduler(fleet{"east"})
	for _, name := range []string{"app", "settings", "web"} {
		s.OnUpstream(kcp.KeyOf(resources[f.object(name).GetKind()], f.object(name)), nil, f.object(name))
	}
	f.settleWith(t, s)
	for _, name := range []string{"app", "settings", "web"} {
		s.OnUpstream(kcp.KeyOf(resources[f.object(name).GetKind()], f.object(name)), nil, f.object(name))
	}
	for name, event := range map[string]func(){"a cluster has changed": func() { s.OnCluster("east") }, "a workspace has bound something": func() { s.OnWorkspace("ws") }} {
		t.Run(name, func(t *testing.T) {
			objects := &queued{}
			s.objects = objects
			event()
			slices.Sort(objects.names)
			if diff := cmp.Diff([]string{"app", "settings", "web"}, objects.names); diff != "" {
				t.Errorf("queued (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRunEnds(t *testing.T) {
	f := newFakeKCP(t, namespace, web)
	s := f.scheduler(fleet{"east"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Run(ctx, 2) // the test ends when it returns
}
