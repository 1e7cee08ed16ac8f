package transform

import (
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// overridden returns what an override for the cluster east is tried on.
func overridden(t *testing.T, patch string) *unstructured.Unstructured {
	t.Helper()
	obj := object(t, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default, uid: u, generation: 3, labels: {app: web}, finalizers: [a/b]}
spec: {replicas: 9007199254740993, weight: 0.5, list: [a, null, b], template: {spec: {containers: [{name: web, image: nginx}]}}}
status: {replicas: 1}
`)
	obj.SetAnnotations(map[string]string{v1alpha1.OverrideAnnotation("east"): patch, v1alpha1.OverrideAnnotation("west"): "no patch"})
	return obj
}

func TestOverrideIsAppliedLast(t *testing.T) {
	cases := map[string]struct{ reason, patch, rule, want string }{
		"no operations": {
			"nothing happens, and integers stay what they are", `[]`, "",
			`{metadata: {labels: {app: web}}, spec: {replicas: 9007199254740993, weight: 0.5, list: [a, null, b], template: {spec: {containers: [{name: web, image: nginx}]}}}}`,
		},
		"replace an image": {
			"it comes after the rule",
			`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"other.example.com/x"}]`, "imageRegistry: registry.example.com",
			`{metadata: {labels: {app: web}}, spec: {replicas: 9007199254740993, weight: 0.5, list: [a, null, b], template: {spec: {containers: [{name: web, image: other.example.com/x}]}}}}`,
		},
		"add and remove": {
			"one operation sees what those before it did; nulls are left out, as before",
			`[{"op":"add","path":"/spec/new","value":{"a":null,"b":1}},{"op":"copy","from":"/spec/new/b","path":"/spec/list/-"},{"op":"move","from":"/spec/weight","path":"/spec/w"},{"op":"remove","path":"/spec/template"}]`, "",
			`{metadata: {labels: {app: web}}, spec: {replicas: 9007199254740993, w: 0.5, list: [a, null, b, 1], new: {b: 1}}}`,
		},
		"Labels": {
			"they may be replaced, and added to where there were none",
			`[{"op":"replace","path":"/metadata/labels","value":{"zone":"a"}},{"op":"add","path":"/metadata/annotations/example.com~1note","value":"<hi>"}]`, "",
			`{metadata: {labels: {zone: a}, annotations: {example.com/note: <hi>}}, spec: {replicas: 9007199254740993, weight: 0.5, list: [a, null, b], template: {spec: {containers: [{name: web, image: nginx}]}}}}`,
		},
		"removing all labels": {
			"ours are added afterwards",
			`[{"op":"remove","path":"/metadata/labels"},{"op":"remove","path":"/spec"}]`, "",
			`{}`,
		},
		"a guard that holds": {
			"then the rest is applied",
			`[{"op":"test","path":"/metadata/namespace","value":"p-default"},{"op":"test","path":"/spec/replicas","value":9007199254740993},{"op":"replace","path":"/spec","value":{}}]`, "namespacePrefix: p-",
			`{metadata: {labels: {app: web}}, spec: {}}`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := inputOf(overridden(t, tc.patch), ruleOf(t, tc.rule))
			before := in.Object.DeepCopy()
			got := transformed(t, in)
			want := parsed(t, tc.want)
			want["apiVersion"], want["kind"] = "apps/v1", "Deployment"
			if diff := cmp.Diff(want, content(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if origin, _ := OriginOf(got); origin != in.Origin || got.GetLabels()[v1alpha1.SourceHashLabel] != origin.Hash() {
				t.Errorf("its origin reads %v", origin)
			}
			if diff := cmp.Diff(before, in.Object); diff != "" {
				t.Errorf("the upstream object was changed (-before +after):\n%s", diff)
			}
		})
	}
}

func TestOverrideErrorNamesOperation(t *testing.T) {
	const fine = `{"op":"test","path":"/kind","value":"Deployment"},`
	cases := map[string]struct {
		patch    string
		index    int
		op, path string
		want     string
	}{
		"no JSON":                      {`replicas: 3`, 0, "", "", "JSON patch"},
		"an empty annotation":          {``, 0, "", "", "JSON patch"},
		"no list":                      {`{"op":"remove","path":"/spec"}`, 0, "", "", "JSON patch"},
		"Null":                         {`null`, 0, "", "", "JSON patch"},
		"too many operations":          {"[" + strings.Repeat(fine, 200) + `{"op":"remove","path":"/spec"}]`, 0, "", "", "201 operations"},
		"an operation that is none":    {`[` + fine + `5]`, 2, "unreadable", "", "cannot unmarshal"},
		"an operation that is null":    {`[` + fine + `null]`, 2, "", "", "unsupported operation"},
		"an unknown operation":         {`[{"op":"merge","path":"/spec","value":{}}]`, 1, "merge", "/spec", "unsupported operation"},
		"no path":                      {`[{"op":"remove"}]`, 1, "remove", "", "path"},
		"a path that begins elsewhere": {`[{"op":"remove","path":"spec"}]`, 1, "remove", "spec", "begin with /"},
		"the object as a whole":        {`[{"op":"replace","path":"","value":{}}]`, 1, "replace", "", "begin with /"},
		"no value to add":              {`[{"op":"add","path":"/spec/x"}]`, 1, "add", "/spec/x", "value"},
		"no value to test":             {`[{"op":"test","path":"/spec/x"}]`, 1, "test", "/spec/x", "value"},
		"a value in uppercase":         {`[{"op":"test","path":"/spec/replicas","VALUE":1}]`, 1, "test", "/spec/replicas", "value"},
		"a guard that does not hold":   {`[` + fine + `{"op":"test","path":"/spec/replicas","value":4}]`, 2, "test", "/spec/replicas", "test"},
		"a field that is missing":      {`[` + fine + fine + `{"op":"remove","path":"/spec/none"}]`, 3, "remove", "/spec/none", "none"},
		"a parent that is missing":     {`[{"op":"add","path":"/spec/none/x","value":1}]`, 1, "add", "/spec/none/x", "missing path"},
		"an index out of range":        {`[{"op":"add","path":"/spec/list/7","value":1}]`, 1, "add", "/spec/list/7", "index"},
		"a negative index":             {`[{"op":"remove","path":"/spec/list/-1"}]`, 1, "remove", "/spec/list/-1", "index"},
		"the kind":                     {`[{"op":"replace","path":"/kind","value":"Pod"}]`, 1, "replace", "/kind", "apiVersion or kind"},
		"the kind behind another":      {`[{"op":"replace","path":"/kind","value":"Pod"},{"op":"add","path":"/Kind","value":"Deployment"}]`, 1, "replace", "/kind", "apiVersion or kind"},
		"the version":                  {`[{"op":"remove","path":"/apiVersion"}]`, 1, "remove", "/apiVersion", "apiVersion or kind"},
		"the name":                     {`[{"op":"replace","path":"/metadata/name","value":"x"}]`, 1, "replace", "/metadata/name", "metadata.name"},
		"the namespace":                {`[{"op":"remove","path":"/metadata/namespace"}]`, 1, "remove", "/metadata/namespace", "metadata.namespace"},
		"all metadata":                 {`[{"op":"replace","path":"/metadata","value":{"name":"x"}}]`, 1, "replace", "/metadata", "metadata.name"},
		"no metadata":                  {`[{"op":"remove","path":"/metadata"}]`, 1, "remove", "/metadata", "metadata"},
		"metadata that is none":        {`[{"op":"replace","path":"/metadata","value":"x"}]`, 1, "replace", "/metadata", "metadata"},
		"a finalizer":                  {`[{"op":"add","path":"/metadata/finalizers","value":["a/b"]}]`, 1, "add", "/metadata/finalizers", "metadata.finalizers"},
		"an owner":                     {`[{"op":"copy","from":"/spec/list","path":"/metadata/ownerReferences"}]`, 1, "copy", "/metadata/ownerReferences", "metadata.ownerReferences"},
		"OurLabel":                     {`[{"op":"add","path":"/metadata/labels/tmc.kcp.io~1managed-by","value":"x"}]`, 1, "add", "/metadata/labels/tmc.kcp.io~1managed-by", "metadata.labels[tmc.kcp.io/managed-by]"},
		"our annotation among others":  {`[{"op":"replace","path":"/metadata/annotations","value":{"a":"b","tmc.kcp.io/source-uid":"x"}}]`, 1, "replace", "/metadata/annotations", "metadata.annotations[tmc.kcp.io/source-uid]"},
		"our annotation's removal":     {`[{"op":"remove","path":"/metadata/annotations/tmc.kcp.io~1source-uid"}]`, 1, "remove", "/metadata/annotations/tmc.kcp.io~1source-uid", "source-uid"},
		"a label that is none":         {`[{"op":"add","path":"/metadata/labels/a","value":5}]`, 1, "add", "/metadata/labels/a", "map of strings"},
		"labels that are none":         {`[{"op":"add","path":"/metadata/labels","value":[]}]`, 1, "add", "/metadata/labels", "map of strings"},
		"the status":                   {`[{"op":"add","path":"/status","value":{}}]`, 1, "add", "/status", "status"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Desired(inputOf(overridden(t, tc.patch), v1alpha1.TransformRule{}))
			var failed *OverrideError
			if !errors.As(err, &failed) {
				t.Fatalf("got %v, want an OverrideError", err)
			}
			want := OverrideError{Annotation: "override.tmc.kcp.io/east", Index: tc.index, Op: tc.op, Path: tc.path, Err: failed.Err}
			if diff := cmp.Diff(want, *failed, cmp.Comparer(errors.Is)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), want.Annotation) {
				t.Errorf("got %q, want it to say %q", err, tc.want)
			}
			if tc.index > 0 && !strings.Contains(err.Error(), fmt.Sprintf("operation %d", tc.index)) {
				t.Errorf("got %q, want it to name operation %d", err, tc.index)
			}
		})
	}
}

func TestOverrideCopiesAreBounded(t *testing.T) {
	for name, operation := range map[string]string{
		"by nesting": `{"op":"copy","from":"/spec","path":"/spec/a"},{"op":"copy","from":"/spec","path":"/spec/b"}`,
		"by length":  `{"op":"copy","from":"/spec/list","path":"/spec/list/-"}`,
	} {
		t.Run(name, func(t *testing.T) {
			patch := "[" + strings.TrimSuffix(strings.Repeat(operation+",", 100), ",") + "]"
			_, err := Desired(inputOf(overridden(t, patch), v1alpha1.TransformRule{}))
			var failed *OverrideError
			if !errors.As(err, &failed) || failed.Op != "copy" {
				t.Errorf("got %v, want an OverrideError of a copy", err)
			}
		})
	}
}

func TestOmitReplicas(t *testing.T) {
	in := inputOf(overridden(t, `[]`), v1alpha1.TransformRule{})
	in.OmitReplicas = true
	if spec := child(transformed(t, in).Object, "spec"); spec["replicas"] != nil || spec["weight"] != 0.5 {
		t.Errorf("spec is %v", spec)
	}
	in = inputOf(overridden(t, `[{"op":"add","path":"/spec/replicas","value":2}]`), v1alpha1.TransformRule{})
	in.OmitReplicas = true
	if spec := child(transformed(t, in).Object, "spec"); spec["replicas"] != int64(2) {
		t.Errorf("the user's override for the cluster is the last word, spec is %v", spec)
	}
}

// TestOverrideRandomPatches tries patches that a fuzzer, which
// knows no grammar, hardly finds: all operations between all kinds of places.
func TestOverrideRandomPatches(t *testing.T) {
	ops := []string{"add", "remove", "replace", "move", "copy", "test", "Add", ""}
	paths := []string{
		"", "/", "//", "/spec", "/spec/", "/spec/list", "/spec/list/-", "/spec/list/0", "/spec/list/1", "/spec/list/01", "/spec/list/1e0", "/spec/list/-1", "/spec/list/0/x",
		"/spec/list/99999999999999999999", "/spec/template/spec/containers/0", "/spec/template/spec/containers/0/image", "/spec/template/spec/containers/0/image/x",
		"/spec/replicas/x", "/spec/none/x", "/metadata", "/metadata/name", "/metadata/namespace", "/metadata/labels", "/metadata/labels/app", "/metadata/labels/a~1b~0c~2",
		"/metadata/annotations", "/metadata/annotations/tmc.kcp.io~1source-uid", "/metadata/uid", "/kind", "/Kind", "/apiVersion", "/status", "/status/x", "/spec/template",
	}
	values := []string{"", `,"value":null`, `,"value":{}`, `,"value":[]`, `,"value":"web"`, `,"value":5`, `,"value":{"a":null,"a":[null]}`, `,"value":{"name":"web","namespace":"default"}`, `,"value":[null,{"a":{}}]`, `,"VALUE":1`}
	random := rand.New(rand.NewSource(1))
	pick := func(from []string) string { return from[random.Intn(len(from))] }
	applied := 0
	for range 5000 {
		var operations []string
		for range 1 + random.Intn(6) {
			operations = append(operations, fmt.Sprintf(`{"op":%q,"path":%q,"from":%q%s}`, pick(ops), pick(paths), pick(paths), pick(values)))
		}
		patch := "[" + strings.Join(operations, ",") + "]"
		in := inputOf(overridden(t, patch), v1alpha1.TransformRule{})
		desired, err := Desired(in)
		var failed *OverrideError
		switch {
		case err == nil:
			applied++
			checkIdentity(t, in, desired)
		case !errors.As(err, &failed):
			t.Fatalf("%s: %v, want an OverrideError", patch, err)
		}
	}
	if applied < 50 {
		t.Errorf("only %d of them could be applied", applied)
	}
}

func TestOverrideQuantityBounds(t *testing.T) {
	cases := map[string]struct {
		reason, patch string
		// want is the field that is named, empty when the override is fine.
		want string
	}{
		"a request":      {"A2: adding it takes seconds", `[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"requests":{"cpu":"1e20000000"}}}]`, "spec.template.spec.containers.0.resources.requests.cpu"},
		"two of them":    {"the first by name is named, always", `[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"requests":{"memory":"1e20000000","cpu":"1E-999999999"}}}]`, "requests.cpu"},
		"a limit":        {"likewise", `[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"limits":{"example.com/gpu":"1e2000000000"}}}]`, "limits.example.com/gpu"},
		"of the pod":     {"a pod as a whole has some as well", `[{"op":"add","path":"/spec/template/spec/resources","value":{"requests":{"cpu":"1e2000"}}}]`, "spec.template.spec.resources.requests.cpu"},
		"Overhead":       {"that of its runtime class", `[{"op":"add","path":"/spec/template/spec/overhead","value":{"cpu":"1e2000"}}]`, "overhead.cpu"},
		"a volume":       {"in memory", `[{"op":"add","path":"/spec/template/spec/volumes","value":[{"emptyDir":{"sizeLimit":"1e2000"}}]}]`, "volumes.0.emptyDir.sizeLimit"},
		"a claim":        {"of a StatefulSet, or an ephemeral one", `[{"op":"add","path":"/spec/volumeClaimTemplates","value":[{"spec":{"resources":{"requests":{"storage":"1e2000"}}}}]}]`, "volumeClaimTemplates.0.spec.resources.requests.storage"},
		"a divisor":      {"of the downward API", `[{"op":"add","path":"/spec/template/spec/containers/0/env","value":[{"valueFrom":{"resourceFieldRef":{"divisor":"1e-2000"}}}]}]`, "resourceFieldRef.divisor"},
		"a metric":       {"of an autoscaler", `[{"op":"add","path":"/spec/metrics","value":[{"pods":{"target":{"value":"1e2000"}}}]}]`, "metrics.0.pods.target.value"},
		"ManyDigits":     {"reading it takes long", `[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"requests":{"cpu":"` + strings.Repeat("9", 100_000) + `"}}}]`, "requests.cpu"},
		"a fraction":     {"of JSON", `[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"requests":{"cpu":1e300}}}]`, "requests.cpu"},
		"a pod":          {"deep in a CronJob", `[{"op":"add","path":"/spec/jobTemplate","value":{"spec":{"template":{"spec":{"initContainers":[{"resources":{"limits":{"cpu":"1e2000"}}}]}}}}}]`, "jobTemplate.spec.template.spec.initContainers.0.resources.limits.cpu"},
		"Common":         {"what people write", `[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"requests":{"cpu":"250m","memory":"1.5Gi","storage":"1e3","example.com/gpu":2,"x":0.5}}}]`, ""},
		"no number":      {"the cluster will say so", `[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"requests":{"cpu":"much"}}}]`, ""},
		"an environment": {"a text may look like anything", `[{"op":"add","path":"/spec/template/spec/containers/0/env","value":[{"name":"COMMIT","value":"7e12345"}]}]`, ""},
		"a label":        {"likewise", `[{"op":"add","path":"/metadata/labels/requests","value":"7e12345"}]`, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				_, err := Desired(inputOf(overridden(t, tc.patch), v1alpha1.TransformRule{}))
				if tc.want == "" {
					if err != nil {
						t.Errorf("%s: %v", tc.reason, err)
					}
					continue
				}
				var failed *OverrideError
				if !errors.As(err, &failed) || !strings.Contains(err.Error(), tc.want+": ") || !strings.Contains(err.Error(), "exponent") || len(err.Error()) > 512 {
					t.Errorf("%s: got %v, want an OverrideError that names %s", tc.reason, err, tc.want)
				}
			}
		})
	}
}
