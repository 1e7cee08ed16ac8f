package inventory

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
)

// caches hold APIBindings, and count who looks through them.
type caches struct {
	provider logicalcluster.Name
	objects  map[string]*unstructured.Unstructured
	looks    int
}

func (c *caches) Provider() logicalcluster.Name { return c.provider }

func (c *caches) EachBy(index, value string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	c.looks++
	for _, obj := range c.objects {
		if values, err := Indexers(kinds.Kinds{})[index](obj); err == nil && slices.Contains(values, value) {
			visit(kcp.KeyOf(v1alpha1.APIBindingsResource, obj), obj)
		}
	}
}

// set has a binding of the workspace ws in the caches, as they keep it; none when the
// document is empty.
func (c *caches) set(t *testing.T, b *Bindings, name, document string) {
	t.Helper()
	delete(c.objects, name)
	if document != "" {
		obj := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &obj.Object); err != nil {
			t.Fatal(err)
		}
		obj.SetAPIVersion("apis.kcp.io/v1alpha2")
		obj.SetKind("APIBinding")
		obj.SetName(name)
		obj.SetAnnotations(map[string]string{logicalcluster.AnnotationKey: "ws"})
		SlimBinding(obj)
		c.objects[name] = obj
	}
	b.OnUpstream(kcp.ObjectKey{Workspace: "ws", Resource: v1alpha1.APIBindingsResource, Name: name}, nil, c.objects[name])
}

const (
	// shows is tmc's own binding.
	shows = `
spec: {reference: {export: {path: root:tmc, name: tmc.kcp.io}}}
status:
  apiExportClusterName: provider
  phase: Bound
  appliedPermissionClaims: [{group: apis.kcp.io, resource: apibindings, selector: {matchAll: true}}, {group: "", resource: secrets, selector: {matchAll: true}}]`
	// east is the binding of an isolated cluster, that does not take ConfigMaps.
	east = `
spec:
  reference: {export: {path: root:tmc, name: cluster-east}}
  permissionClaims: [{group: apps, resource: deployments, state: Accepted, selector: {matchAll: true}}]
status:
  apiExportClusterName: provider
  phase: Bound
  conditions: [{type: Ready, status: "True"}]
  appliedPermissionClaims:
  - {group: apps, resource: deployments, identityHash: abc, selector: {matchLabels: {cluster.tmc.kcp.io/east: sync}}}
  - {group: "", resource: secrets, selector: {matchLabels: {cluster.tmc.kcp.io/west: sync}}}`
)

func TestBindingsLeftOut(t *testing.T) {
	deployments := schema.GroupResource{Group: "apps", Resource: "deployments"}
	bind := func(export, cluster, phase, selector string) string {
		return `{spec: {reference: {export: {path: root:tmc, name: ` + export + `}}}, status: {apiExportClusterName: ` + cluster + `, phase: ` + phase + `,
			appliedPermissionClaims: [{group: apps, resource: deployments, selector: ` + selector + `}]}}`
	}
	const all = "{matchAll: true}"
	cases := map[string]struct {
		reason   string
		bindings map[string]string
		export   string
		resource schema.GroupResource
		want     v1alpha1.LeftOut
	}{
		"the shared one":         {"everything is read through it", nil, v1alpha1.APIExportName, deployments, ""},
		"bound":                  {"its claim is in force", map[string]string{"tmc": shows, "a": east}, "cluster-east", deployments, ""},
		"bound and not shown":    {"it was seen once, and may be gone", map[string]string{"a": east}, "cluster-east", deployments, v1alpha1.LeftOutBindingsHidden},
		"not bound":              {"there is none", map[string]string{"tmc": shows}, "cluster-east", deployments, v1alpha1.LeftOutNotBound},
		"another cluster":        {"there is one for another cluster", map[string]string{"tmc": shows, "a": east}, "cluster-west", deployments, v1alpha1.LeftOutNotBound},
		"hidden":                 {"there may be one", map[string]string{"tmc": bind("tmc.kcp.io", "provider", "Bound", all)}, "cluster-east", deployments, v1alpha1.LeftOutBindingsHidden},
		"nothing at all":         {"likewise", nil, "cluster-east", deployments, v1alpha1.LeftOutBindingsHidden},
		"shows some":             {"the one may be among the others", map[string]string{"tmc": `{spec: {reference: {export: {name: tmc.kcp.io}}}, status: {apiExportClusterName: provider, phase: Bound, appliedPermissionClaims: [{group: apis.kcp.io, resource: apibindings, selector: {matchLabels: {a: b}}}]}}`}, "cluster-east", deployments, v1alpha1.LeftOutBindingsHidden},
		"without the kind":       {"the claim is not accepted", map[string]string{"tmc": shows, "a": east}, "cluster-east", schema.GroupResource{Resource: "configmaps"}, v1alpha1.LeftOutKindNotAccepted},
		"for other objects":      {"the claim is accepted for what is placed elsewhere", map[string]string{"tmc": shows, "a": east}, "cluster-east", schema.GroupResource{Resource: "secrets"}, v1alpha1.LeftOutKindNotAccepted},
		"not bound yet":          {"kcp is at it", map[string]string{"tmc": shows, "a": bind("cluster-east", "provider", "Binding", all)}, "cluster-east", deployments, v1alpha1.LeftOutNotBound},
		"no claim in force yet":  {"likewise", map[string]string{"tmc": shows, "a": `{spec: {reference: {export: {name: cluster-east}}}, status: {apiExportClusterName: provider, phase: Bound}}`}, "cluster-east", deployments, v1alpha1.LeftOutNotBound},
		"another workspace's":    {"an export of that name in the tenant's own workspace", map[string]string{"tmc": shows, "a": bind("cluster-east", "mine", "Bound", all)}, "cluster-east", deployments, v1alpha1.LeftOutNotBound},
		"nobody knows whose":     {"kcp has not said", map[string]string{"tmc": shows, "a": bind("cluster-east", "''", "Bound", all)}, "cluster-east", deployments, v1alpha1.LeftOutNotBound},
		"going":                  {"what enters now would not be seen", map[string]string{"tmc": shows, "a": `{metadata: {deletionTimestamp: "2026-01-01T00:00:00Z"}, ` + bind("cluster-east", "provider", "Bound", all)[1:]}, "cluster-east", deployments, v1alpha1.LeftOutNotBound},
		"a group":                {"its view is selected by the group's label", map[string]string{"tmc": shows, "a": bind("group-eu", "provider", "Bound", "{matchLabels: {group.tmc.kcp.io/eu: sync}}")}, "group-eu", deployments, ""},
		"a group by its cluster": {"not by that of a cluster", map[string]string{"tmc": shows, "a": bind("group-eu", "provider", "Bound", "{matchLabels: {cluster.tmc.kcp.io/eu: sync}}")}, "group-eu", deployments, v1alpha1.LeftOutKindNotAccepted},
		"all of it":              {"a tenant may show more", map[string]string{"tmc": shows, "a": bind("cluster-east", "provider", "Bound", all)}, "cluster-east", deployments, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := &caches{provider: "provider", objects: map[string]*unstructured.Unstructured{}}
			b := NewBindings(c)
			for name, document := range tc.bindings {
				c.set(t, b, name, document)
			}
			if got := b.LeftOut("ws", tc.export, tc.resource); got != tc.want {
				t.Errorf("%s: %q, want %q", tc.reason, got, tc.want)
			}
			if got := b.LeftOut("other", "cluster-east", deployments); got != v1alpha1.LeftOutBindingsHidden {
				t.Errorf("of another workspace: %q", got)
			}
		})
	}
}

func TestBindingsTellOfChangesOnce(t *testing.T) {
	c := &caches{provider: "provider", objects: map[string]*unstructured.Unstructured{}}
	told := 0
	b := NewBindings(c)
	b.Handle(func(logicalcluster.Name) { told++ })
	step := func(reason string, want int, name, document string) {
		t.Helper()
		c.set(t, b, name, document)
		if _, err := b.sync(t.Context(), "ws"); err != nil {
			t.Fatal(err)
		}
		if told != want {
			t.Errorf("%s: told %d times, want %d", reason, told, want)
		}
	}
	step("it is new", 1, "tmc", shows)
	step("nothing has changed", 1, "tmc", shows)
	step("a cluster is bound", 2, "a", east)
	step("somebody has labelled the binding", 2, "a", "metadata: {labels: {a: b}}"+east)
	step("it is somebody else's", 2, "b", `{spec: {reference: {export: {name: widgets}}}, status: {apiExportClusterName: other, phase: Bound}}`)
	step("it is bound no more", 3, "a", "")
	step("the rest is hidden", 4, "tmc", "")
}

func TestBindingsAreReadOnceForAllQuestions(t *testing.T) {
	c := &caches{provider: "provider", objects: map[string]*unstructured.Unstructured{}}
	b := NewBindings(c)
	c.set(t, b, "a", east)
	for range 1000 {
		b.LeftOut("ws", "cluster-east", schema.GroupResource{Group: "apps", Resource: "deployments"})
	}
	if c.looks != 1 {
		t.Errorf("they were looked through %d times", c.looks)
	}
}

func TestSlimBinding(t *testing.T) {
	c := &caches{objects: map[string]*unstructured.Unstructured{}}
	c.set(t, NewBindings(c), "a", east)
	status, _, _ := unstructured.NestedMap(c.objects["a"].Object, "status")
	delete(status, "appliedPermissionClaims")
	want := map[string]any{"apiExportClusterName": "provider", "phase": "Bound"}
	if diff := cmp.Diff(want, status); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	other := &unstructured.Unstructured{Object: map[string]any{"kind": "Widget", "status": map[string]any{"conditions": "x"}}}
	SlimBinding(other)
	if _, there, _ := unstructured.NestedString(other.Object, "status", "conditions"); !there {
		t.Error("another kind's conditions are gone")
	}
}

func TestBindingsLetsKeepPolicies(t *testing.T) {
	claims := func(list string) string {
		return `{spec: {reference: {export: {name: tmc.kcp.io}}}, status: {apiExportClusterName: provider, phase: Bound, appliedPermissionClaims: [` + list + `]}}`
	}
	const (
		policies     = `{group: admissionregistration.k8s.io, resource: validatingadmissionpolicies, verbs: [get, list, watch, create, update], selector: {matchAll: true}}`
		bindings     = `{group: admissionregistration.k8s.io, resource: validatingadmissionpolicybindings, verbs: [get, list, watch, create, update], selector: {matchAll: true}}`
		readBindings = `{group: admissionregistration.k8s.io, resource: validatingadmissionpolicybindings, verbs: [get, list, watch], selector: {matchAll: true}}`
		someBindings = `{group: admissionregistration.k8s.io, resource: validatingadmissionpolicybindings, verbs: ["*"], selector: {matchLabels: {a: b}}}`
	)
	cases := map[string]struct {
		reason, binding string
		want            bool
	}{
		"both":     {"all of them", claims(policies + ", " + bindings), true},
		"upgraded": {"the binding is of before the claims", shows, false},
		"one":      {"a policy without its binding does nothing", claims(policies), false},
		"to read":  {"they could not be put back", claims(policies + ", " + readBindings), false},
		"some":     {"what there is would not be seen", claims(policies + ", " + someBindings), false},
		"none":     {"nothing is bound", "", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := &caches{provider: "provider", objects: map[string]*unstructured.Unstructured{}}
			told := 0
			b := NewBindings(c)
			b.Handle(func(logicalcluster.Name) { told++ })
			c.set(t, b, "tmc", tc.binding)
			if _, err := b.sync(t.Context(), "ws"); err != nil {
				t.Fatal(err)
			}
			if got := b.LetsKeepPolicies("ws"); got != tc.want {
				t.Errorf("%s: %t", tc.reason, got)
			}
			c.set(t, b, "tmc", claims(policies+", "+bindings))
			if _, err := b.sync(t.Context(), "ws"); err != nil {
				t.Fatal(err)
			}
			if want := map[bool]int{true: 1, false: 2}[tc.want]; told != want {
				t.Errorf("%s: told %d times, want %d", tc.reason, told, want)
			}
		})
	}
}

func TestBindingsIsKept(t *testing.T) {
	main := func(verbs string) string {
		return `{spec: {reference: {export: {name: tmc.kcp.io}}}, status: {apiExportClusterName: provider, phase: Bound,
			appliedPermissionClaims: [{group: apis.kcp.io, resource: apibindings, verbs: [` + verbs + `], selector: {matchAll: true}}]}}`
	}
	const held = `metadata: {finalizers: [tmc.kcp.io/in-use]}`
	cases := map[string]struct {
		reason   string
		bindings map[string]string
		export   string
		want     bool
	}{
		"all clusters'":  {"what is there keeps it", nil, v1alpha1.APIExportName, true},
		"kept":           {"", map[string]string{"tmc": main("get, update"), "a": held + east}, "cluster-east", true},
		"not kept yet":   {"it would go with the workspace at once", map[string]string{"tmc": main("get, update"), "a": east}, "cluster-east", false},
		"going":          {"it is let go of when nothing uses it", map[string]string{"tmc": main("get, update"), "a": `metadata: {deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: [tmc.kcp.io/in-use]}` + east}, "cluster-east", false},
		"not bound":      {"", map[string]string{"tmc": main("get, update")}, "cluster-east", false},
		"of before":      {"the workspace does not let the hub keep any", map[string]string{"tmc": main("get"), "a": east}, "cluster-east", true},
		"another's kept": {"", map[string]string{"tmc": main("get, update"), "a": held + east}, "cluster-west", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := &caches{provider: "provider", objects: map[string]*unstructured.Unstructured{}}
			b := NewBindings(c)
			for name, document := range tc.bindings {
				c.set(t, b, name, document)
			}
			if got := b.IsKept("ws", tc.export); got != tc.want {
				t.Errorf("%s: %t", tc.reason, got)
			}
		})
	}
	t.Run("it is told when one comes to be kept", func(t *testing.T) {
		c := &caches{provider: "provider", objects: map[string]*unstructured.Unstructured{}}
		told := 0
		b := NewBindings(c)
		b.Handle(func(logicalcluster.Name) { told++ })
		c.set(t, b, "tmc", main("get, update"))
		for want, document := range []string{east, held + east, held + east} {
			c.set(t, b, "a", document)
			if _, err := b.sync(t.Context(), "ws"); err != nil || told != min(want+1, 2) {
				t.Errorf("told %d times, %v", told, err)
			}
		}
	})
}
