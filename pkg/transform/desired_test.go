package transform

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// fromFile reads an object of testdata, which holds one Deployment as a kcp and a
// kube-apiserver had it: upstream.yaml as its user applied it, downstream.yaml as
// it was after the syncer's apply.
func fromFile(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	obj := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(data, &obj.Object); err != nil {
		t.Fatal(err)
	}
	// Through the codec, for the integers: YAML has floating-point numbers alone.
	encoded, err := obj.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := obj.UnmarshalJSON(encoded); err != nil {
		t.Fatal(err)
	}
	return obj
}

// originOf is where the copies of testdata come from.
func originOf(t *testing.T) Origin {
	t.Helper()
	origin, ok := OriginOf(fromFile(t, "downstream.yaml"))
	if !ok {
		t.Fatal("testdata/downstream.yaml has no origin")
	}
	return origin
}

func desiredOf(t *testing.T, upstreamObj *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	desired, err := Desired(Input{Object: upstreamObj, Origin: originOf(t)})
	if err != nil {
		t.Fatal(err)
	}
	return desired
}

func TestDesiredKeepsUserFields(t *testing.T) {
	upstreamObj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1",
		"kind":       "Deployment",
		"metadata": map[string]any{
			"name": "web", "namespace": "default", "uid": "u-1", "resourceVersion": "5", "generation": int64(3),
			"creationTimestamp": "2026-01-01T00:00:00Z", "selfLink": "/x", "generateName": "we",
			"finalizers":      []any{"syncer.tmc.kcp.io/east"},
			"ownerReferences": []any{map[string]any{"name": "owner"}},
			"managedFields":   []any{map[string]any{"manager": "kubectl"}},
			"labels": map[string]any{
				"app": "web", "example.com/kcp.io": "stays",
				"cluster.tmc.kcp.io/east": "sync", "claimed.internal.apis.kcp.io/abc": "x",
			},
			"annotations": map[string]any{
				"note": "hi", "kcp.io/cluster": "ws", "tmc.kcp.io/target-clusters": "east", "status.tmc.kcp.io/east": "{}",
				"internal.tenancy.kcp.io/x": "y", "kubectl.kubernetes.io/last-applied-configuration": "{}",
				"deployment.kubernetes.io/revision": "4",
			},
		},
		"spec": map[string]any{
			"replicas": int64(2), "aFieldOfTheFuture": map[string]any{"x": []any{nil, "y"}}, "nothing": nil,
			"template": map[string]any{"metadata": map[string]any{"creationTimestamp": nil, "annotations": map[string]any{"tmc.kcp.io/mine": "goes", "note": "stays"}}},
		},
		"status": map[string]any{"replicas": int64(9)},
	}}
	before := upstreamObj.DeepCopy()
	origin := Origin{Workspace: "ws", Namespace: "default", Name: "web", Cluster: "east"}
	got, err := Desired(Input{Object: upstreamObj, Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"apiVersion": "apps/v1",
		"kind":       "Deployment",
		"metadata": map[string]any{
			"name": "web", "namespace": "default",
			"labels": map[string]any{
				"app": "web", "example.com/kcp.io": "stays",
				v1alpha1.ManagedByLabel: "tmc-syncer", v1alpha1.SourceHashLabel: origin.Hash(),
			},
			"annotations": map[string]any{
				"note":                              "hi",
				v1alpha1.SourceWorkspaceAnnotation:  "ws",
				v1alpha1.SourceNamespaceAnnotation:  "default",
				v1alpha1.SourceNameAnnotation:       "web",
				v1alpha1.SourceUIDAnnotation:        "u-1",
				v1alpha1.SourceGenerationAnnotation: "3",
				v1alpha1.SourceInputsAnnotation:     protocol.Read(upstreamObj).Inputs("east"),
				v1alpha1.TargetClusterAnnotation:    "east",
				v1alpha1.AppliedHashAnnotation:      got.GetAnnotations()[v1alpha1.AppliedHashAnnotation],
			},
		},
		"spec": map[string]any{
			"replicas": int64(2), "aFieldOfTheFuture": map[string]any{"x": []any{nil, "y"}},
			"template": map[string]any{"metadata": map[string]any{"annotations": map[string]any{"note": "stays"}}},
		},
	}
	if diff := cmp.Diff(want, got.Object); diff != "" {
		t.Errorf("copy (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, upstreamObj); diff != "" {
		t.Errorf("the upstream object was changed (-before +after):\n%s", diff)
	}
	if AppliedGeneration(got) != 3 {
		t.Errorf("AppliedGeneration is %d, want 3", AppliedGeneration(got))
	}
}

func TestAppliedHash(t *testing.T) {
	base := desiredOf(t, fromFile(t, "upstream.yaml")).GetAnnotations()[v1alpha1.AppliedHashAnnotation]
	cases := map[string]struct {
		reason string
		change func(*unstructured.Unstructured)
		same   bool
	}{
		"an image":            {"spec goes down", func(u *unstructured.Unstructured) { _ = unstructured.SetNestedField(u.Object, "x", "spec", "paused") }, false},
		"a user's label":      {"so do labels", func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{"other": "label"}) }, false},
		"the generation":      {"the copy names it", func(u *unstructured.Unstructured) { u.SetGeneration(99) }, false},
		"the UID":             {"another object of the name is another", func(u *unstructured.Unstructured) { u.SetUID("other") }, false},
		"a resource version":  {"it moves with every report", func(u *unstructured.Unstructured) { u.SetResourceVersion("99") }, true},
		"a status":            {"it is upstream's own", func(u *unstructured.Unstructured) { u.Object["status"] = map[string]any{"replicas": int64(1)} }, true},
		"a finalizer":         {"likewise", func(u *unstructured.Unstructured) { u.SetFinalizers([]string{"x/y"}) }, true},
		"another placement":   {"it is about another cluster", func(u *unstructured.Unstructured) { setLabel(u, v1alpha1.PlacementLabel("north"), "sync") }, true},
		"ownership of fields": {"likewise", func(u *unstructured.Unstructured) { u.SetManagedFields(nil) }, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			upstreamObj := fromFile(t, "upstream.yaml")
			tc.change(upstreamObj)
			got := desiredOf(t, upstreamObj).GetAnnotations()[v1alpha1.AppliedHashAnnotation]
			if (got == base) != tc.same {
				t.Errorf("hash stayed: %t, want %t: %s", got == base, tc.same, tc.reason)
			}
		})
	}
}

func TestInputs(t *testing.T) {
	base := protocol.Read(fromFile(t, "upstream.yaml")).Inputs("east")
	cases := map[string]struct {
		annotation string
		same       bool
	}{
		"a user's annotation":   {"note", false},
		"ItsOverride":           {v1alpha1.OverrideAnnotation("east"), false},
		"ItsShare":              {v1alpha1.ReplicasAnnotationPrefix + "east", false},
		"AnothersOverride":      {v1alpha1.OverrideAnnotation("west"), true},
		"a report":              {v1alpha1.StatusAnnotation("east"), true},
		"a placement's request": {v1alpha1.TargetClustersAnnotation, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			upstreamObj := fromFile(t, "upstream.yaml")
			upstreamObj.SetGeneration(99)
			annotations := upstreamObj.GetAnnotations()
			annotations[tc.annotation] = "changed"
			upstreamObj.SetAnnotations(annotations)
			if got := protocol.Read(upstreamObj).Inputs("east"); (got == base) != tc.same {
				t.Errorf("inputs stayed: %t, want %t", got == base, tc.same)
			}
		})
	}
}

func setLabel(obj *unstructured.Unstructured, key, value string) {
	labels := obj.GetLabels()
	labels[key] = value
	obj.SetLabels(labels)
}

func TestOriginHash(t *testing.T) {
	base := Origin{Workspace: "ws", Namespace: "a", Name: "b", Cluster: "east"}
	seen := map[string]Origin{base.Hash(): base}
	for _, other := range []Origin{
		{Workspace: "ws2", Namespace: "a", Name: "b", Cluster: "east"},
		{Workspace: "ws", Namespace: "b", Name: "a", Cluster: "east"},
		{Workspace: "ws", Namespace: "ab", Name: "", Cluster: "east"},
		{Workspace: "ws", Namespace: "a", Name: "b", Cluster: "west"},
	} {
		if clash, ok := seen[other.Hash()]; ok {
			t.Errorf("%v and %v have one hash", other, clash)
		}
		seen[other.Hash()] = other
	}
	if len(base.Hash()) > 63 {
		t.Errorf("the hash has %d characters: too many for a label value", len(base.Hash()))
	}
	if _, ok := OriginOf(&unstructured.Unstructured{}); ok {
		t.Error("an object without annotations has an origin")
	}
}

// TestOriginThatHasLostAMark takes one annotation of an origin off: what is left names no object.
func TestOriginThatHasLostAMark(t *testing.T) {
	for _, lost := range []string{v1alpha1.SourceWorkspaceAnnotation, v1alpha1.SourceNamespaceAnnotation, v1alpha1.SourceNameAnnotation, v1alpha1.TargetClusterAnnotation} {
		downstreamObj := fromFile(t, "downstream.yaml")
		if _, ok := OriginOf(downstreamObj); !ok {
			t.Fatal("the whole one has no origin")
		}
		annotations := downstreamObj.GetAnnotations()
		delete(annotations, lost)
		downstreamObj.SetAnnotations(annotations)
		if origin, ok := OriginOf(downstreamObj); ok {
			t.Errorf("without %s its origin is %+v", lost, origin)
		}
	}
}

func TestDesiredKeepsEverythingElse(t *testing.T) {
	const rest = `{"anArray":[null,true,-1,0.1,9223372036854775807,1e+21,"<&>\u2028"],"data":{"":"empty key","a/b~c":[[[]]]},` +
		`"spec":{"clusterIP":"10.0.0.1","empty":{},"emptyList":[],"emptyString":"","limits":{"cpu":"9"},"selector":{"image":"nginx"},` +
		`"template":{"spec":{"containers":[{"aFieldOfTheFuture":{"image":"nginx"},"command":["a","b"],"name":"a"}],"volumes":[{"name":"v","oci":{"image":{"reference":5}}}]}},"zero":0}}`
	upstreamObj := &unstructured.Unstructured{}
	if err := upstreamObj.UnmarshalJSON([]byte(`{"apiVersion":"example.com/v1","kind":"Anything","metadata":{"name":"a","namespace":"b"},` + rest[1:])); err != nil {
		t.Fatal(err)
	}
	rule := ruleOf(t, "namespacePrefix: p-\nimageRegistry: registry.example.com\nlabels: {a: b}\nresourceLimits: {example.com/gpu: 1}")
	for name, override := range map[string]string{"WithoutAnOverride": "", "WithAnOverride": `[{"op":"test","path":"/spec/zero","value":0}]`} {
		t.Run(name, func(t *testing.T) {
			in := inputOf(upstreamObj.DeepCopy(), rule)
			if override != "" {
				in.Object.SetAnnotations(map[string]string{v1alpha1.OverrideAnnotation("east"): override})
			}
			got := transformed(t, in).Object
			delete(got, "apiVersion")
			delete(got, "kind")
			delete(got, "metadata")
			var plain strings.Builder
			encoder := json.NewEncoder(&plain)
			encoder.SetEscapeHTML(false)
			if err := encoder.Encode(got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(rest, strings.TrimSpace(plain.String())); diff != "" {
				t.Errorf("copy (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDesiredErrors(t *testing.T) {
	for _, field := range []string{"labels", "annotations"} {
		obj := container(t, "{}")
		child(obj.Object, "metadata")[field] = map[string]any{"a": int64(5)}
		_, err := Desired(inputOf(obj, v1alpha1.TransformRule{}))
		if err == nil || !strings.Contains(err.Error(), "metadata."+field) {
			t.Errorf("got %v, want an error that names metadata.%s", err, field)
		}
	}
}

func TestShareOfReplicas(t *testing.T) {
	cases := map[string]struct {
		reason, object string
		omit           bool
		// want is -1 where the copy says nothing.
		want int64
		fail bool
	}{
		"Divided":            {"its share", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {replicas.tmc.kcp.io/east: "2"}}, spec: {replicas: 9}}`, false, 2, false},
		"divided to nothing": {"none is a share, too", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {replicas.tmc.kcp.io/east: "0"}}, spec: {replicas: 9}}`, false, 0, false},
		"AnothersShare":      {"is none of its business", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {replicas.tmc.kcp.io/west: "2"}}, spec: {replicas: 9}}`, false, 9, false},
		"ScaledElsewhere":    {"somebody there decides", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {replicas.tmc.kcp.io/east: "2"}}, spec: {replicas: 9}}`, true, -1, false},
		"Overridden":         {"the user has the last word", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {replicas.tmc.kcp.io/east: "2", override.tmc.kcp.io/east: '[{"op":"replace","path":"/spec/replicas","value":5}]'}}, spec: {replicas: 9}}`, false, 5, false},
		"no number":          {"nothing is sent down, rather than all", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {replicas.tmc.kcp.io/east: "many"}}, spec: {replicas: 9}}`, false, 0, true},
		"Negative":           {"likewise", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {replicas.tmc.kcp.io/east: "-1"}}, spec: {replicas: 9}}`, false, 0, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := inputOf(object(t, tc.object), v1alpha1.TransformRule{})
			in.Origin.Cluster, in.OmitReplicas = "east", tc.omit
			desired, err := Desired(in)
			if tc.fail || err != nil {
				if !tc.fail || err == nil {
					t.Errorf("%s: error %v", tc.reason, err)
				}
				return
			}
			got, found, _ := unstructured.NestedInt64(desired.Object, "spec", "replicas")
			if !found {
				got = -1
			}
			if got != tc.want {
				t.Errorf("%s: it runs %d, want %d", tc.reason, got, tc.want)
			}
		})
	}
}

func TestPartOfPartition(t *testing.T) {
	const rolling = "updateStrategy: {rollingUpdate: {partition: 2}}"
	set := func(annotations, spec string) string {
		return "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, annotations: {" + annotations + "}}, spec: {replicas: 4, " + spec + "}}"
	}
	const share, part = "replicas.tmc.kcp.io/east: '2'", ", partition.tmc.kcp.io/east: 1/2"
	cases := map[string]struct {
		object string
		omit   bool
		// want is -1 where the copy says nothing.
		want int64
	}{
		"its part":                                     {set(share+part, rolling), false, 1},
		"without a part: the whole":                    {set(share, rolling), false, 2},
		"scaled there: its part all the same":          {set(share+part, rolling), true, 1},
		"another's part":                               {set(share+", partition.tmc.kcp.io/west: 1/2", rolling), false, 2},
		"not divided":                                  {set("partition.tmc.kcp.io/east: 1/2", rolling), false, 2},
		"no partition any more":                        {set(share+part, "updateStrategy: {rollingUpdate: {}}"), false, -1},
		"another strategy":                             {set(share+part, "updateStrategy: {type: OnDelete}"), false, -1},
		"a larger one: until it is divided, the whole": {set(share+part, "updateStrategy: {rollingUpdate: {partition: 3}}"), false, 3},
		"overridden: the user has the last word":       {set(share+part+`, override.tmc.kcp.io/east: '[{"op":"replace","path":"/spec/updateStrategy/rollingUpdate/partition","value":7}]'`, rolling), false, 7},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := inputOf(object(t, tc.object), v1alpha1.TransformRule{})
			in.Origin.Cluster, in.OmitReplicas = "east", tc.omit
			desired, err := Desired(in)
			if err != nil {
				t.Fatal(err)
			}
			got, found, _ := unstructured.NestedInt64(desired.Object, "spec", "updateStrategy", "rollingUpdate", "partition")
			if !found {
				got = -1
			}
			if got != tc.want {
				t.Errorf("its partition is %d, want %d", got, tc.want)
			}
		})
	}
}
