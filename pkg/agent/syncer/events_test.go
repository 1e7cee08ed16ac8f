package syncer

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// queued are the turns that an event asks for.
type queued struct {
	Specs, Statuses, Namespaces []string
}

func (h *harness) queued() queued {
	var q queued
	for _, key := range h.specs.take() {
		q.Specs = append(q.Specs, key.Name)
	}
	for _, key := range h.statuses.take() {
		q.Statuses = append(q.Statuses, key.Name)
	}
	q.Namespaces = h.namespaces.take()
	return q
}

func (h *harness) expect(t *testing.T, want queued) {
	t.Helper()
	if diff := cmp.Diff(want, h.queued(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("turns (-want +got):\n%s", diff)
	}
}

func TestOnUpstream(t *testing.T) {
	here := web(placed, held)
	namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace"}}
	namespace.SetName(app)
	cases := map[string]struct {
		oldObj, newObj *unstructured.Unstructured
		want           queued
	}{
		"an object comes":                  {nil, here, queued{Specs: []string{"web"}}},
		"an object goes that was held":     {here, nil, queued{Specs: []string{"web"}, Namespaces: []string{app}}},
		"an object goes that was not held": {web(placed), nil, queued{Specs: []string{"web"}, Namespaces: []string{app}}},
		"an object goes that had left":     {web(), nil, queued{Specs: []string{"web"}}},
		"an object loses our finalizer":    {here, web(placed), queued{Specs: []string{"web"}}},
		"an object loses both":             {here, web(), queued{Specs: []string{"web"}, Namespaces: []string{app}}},
		"a spec changes":                   {here, web(placed, held, func(obj *unstructured.Unstructured) { obj.SetGeneration(2) }), queued{Specs: []string{"web"}}},
		"our report changes":               {here, web(placed, held, annotated(v1alpha1.StatusAnnotation("east"), "{}")), queued{Statuses: []string{"web"}}},
		"another's report changes":         {here, web(placed, held, annotated(v1alpha1.StatusAnnotation("west"), "{}")), queued{}},
		"settings change":                  {nil, nil, queued{Specs: []string{"web"}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
			h.onUpstream(kcp.ObjectKey{Workspace: "ws", Resource: deployments, Namespace: app, Name: "web"}, c.oldObj, c.newObj)
			h.expect(t, c.want)
		})
	}
	t.Run("a namespace changes", func(t *testing.T) {
		h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
		h.onUpstream(kcp.ObjectKey{Workspace: "ws", Resource: v1alpha1.NamespacesResource, Name: app}, nil, namespace)
		h.expect(t, queued{Namespaces: []string{app}})
	})
}

func TestOnDownstream(t *testing.T) {
	here := web(placed, held)
	copied := copyOf("ws", here)
	mine := copyOf("ws", settingsMap())
	job := copyOf("ws", here, func(obj *unstructured.Unstructured) { obj.SetAPIVersion("batch/v1"); obj.SetKind("Job") },
		func(obj *unstructured.Unstructured) {
			obj.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Complete", "status": "True"}}}
		})
	elsewhere := copyOf("ws", here, func(obj *unstructured.Unstructured) { obj.SetNamespace("old") })
	cases := map[string]struct {
		cached         []*unstructured.Unstructured
		oldObj, newObj *unstructured.Unstructured
		want           queued
	}{
		"a copy comes":       {nil, nil, copied, queued{Specs: []string{"web"}, Statuses: []string{"web"}}},
		"its status changes": {nil, copied, copyOf("ws", here, ready(1)), queued{Statuses: []string{"web"}}},
		"its status changes and a copy waits elsewhere": {[]*unstructured.Unstructured{copied, elsewhere}, copied, copyOf("ws", here, ready(1)), queued{Specs: []string{"web"}, Statuses: []string{"web"}}},
		"it drifts": {nil, copied, copyOf("ws", here, by("kubectl")), queued{Specs: []string{"web"}, Statuses: []string{"web"}}},
		"it goes, and what it used may have waited": {[]*unstructured.Unstructured{mine}, copied, nil, queued{Specs: []string{"settings", "web"}, Statuses: []string{"web"}, Namespaces: []string{app}}},
		"what is no workload goes":                  {[]*unstructured.Unstructured{copied}, mine, nil, queued{Specs: []string{"web"}, Statuses: []string{"web"}, Namespaces: []string{app}}},
		"a Job goes that has run":                   {nil, job, nil, queued{Specs: []string{"web"}, Statuses: []string{"web"}, Namespaces: []string{app}}},
		"it loses its label":                        {[]*unstructured.Unstructured{copied, elsewhere}, copied, shaped(copyOf("ws", here, ready(1)), without("metadata", "labels")), queued{Specs: []string{"web"}, Statuses: []string{"web"}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, c.cached...)
			key := kcp.ObjectKey{Workspace: "ws", Resource: deployments, Namespace: app, Name: "web"}
			h.onDownstream(key, c.oldObj, c.newObj)
			h.expect(t, c.want)
			if remembered := h.memories.get(key).final; (remembered != nil) != (c.oldObj == job) {
				t.Errorf("remembered as having run: %v", remembered)
			}
		})
	}
}

func TestOnScaleTarget(t *testing.T) {
	forWest := shaped(copyOf("ws", web(func(obj *unstructured.Unstructured) { obj.SetName("api") })), annotated(v1alpha1.TargetClusterAnnotation, "west"))
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, copyOf("ws", web()), forWest)
	for target, want := range map[scaleTarget]queued{
		{app, "apps", "Deployment", "web"}:  {Specs: []string{"web"}},
		{app, "apps", "Deployment", "api"}:  {},
		{app, "apps", "StatefulSet", "web"}: {},
		{"x", "apps", "Deployment", "web"}:  {},
	} {
		h.onScaleTarget(target)
		h.expect(t, want)
	}
}

func TestOnNamespace(t *testing.T) {
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"))
	key := h.place(web(placed, held))
	h.waiters.note(key, namespaceKey(app))
	h.news.setOwner(app, "ws")
	h.news.setForeign(app, h.time)
	h.onNamespace(app)
	h.expect(t, queued{Specs: []string{"web"}, Namespaces: []string{app}})
	if _, written := h.news.owner(app); written || h.news.isForeign(app, h.time) {
		t.Error("what the cache shows now is not forgotten")
	}
}

func TestStripUpstream(t *testing.T) {
	obj := web(placed, ready(1), by("kubectl"), annotated(v1alpha1.StatusAnnotation("west"), "{}"), annotated(v1alpha1.StatusAnnotation("east"), "{}"), annotated(v1alpha1.PlacementAnnotation, "{}"))
	stripped, err := stripUpstream("east")(obj)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(web(placed, annotated(v1alpha1.StatusAnnotation("east"), "{}")), stripped); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if same, err := stripUpstream("east")("x"); same != "x" || err != nil {
		t.Errorf("got %v, %v", same, err)
	}
}
