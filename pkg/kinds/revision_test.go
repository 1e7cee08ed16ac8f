package kinds

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/yamltest"
)

func TestSlimRevision(t *testing.T) {
	const replicaSet = `{apiVersion: apps/v1, kind: ReplicaSet,
		metadata: {name: web-1, labels: {app: web}, annotations: {deployment.kubernetes.io/revision: "1"}, ownerReferences: [{name: web}], managedFields: [{manager: x}]},
		spec: {replicas: 3, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web, pod-template-hash: a}}, spec: {containers: [{name: web}]}}},
		status: {replicas: 3}}`
	whole, slim := yamltest.Object(t, replicaSet), yamltest.Object(t, replicaSet)
	SlimRevision(slim)
	again := slim.DeepCopy()
	SlimRevision(again)
	if diff := cmp.Diff(slim, again); diff != "" {
		t.Errorf("slimmed twice (-once +twice)\n%s", diff)
	}
	template := func(obj *unstructured.Unstructured) any { return obj.Object["spec"].(map[string]any)["template"] }
	digest := DigestOf(template(whole))
	if got := DigestOf(template(slim)); got != digest || len(digest) != 64 {
		t.Errorf("the digest is %q, slimmed %q", digest, got)
	}
	want := whole.DeepCopy()
	want.SetManagedFields(nil)
	want.Object["spec"].(map[string]any)["template"] = map[string]any{"digest": digest}
	if diff := cmp.Diff(want, slim); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSlimRevisionOfOtherKinds(t *testing.T) {
	revision := yamltest.Object(t, "{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: db-1}, revision: 3, data: {spec: {template: {$patch: replace}}}}")
	data := DigestOf(revision.Object["data"])
	SlimRevision(revision)
	if got := revision.Object["data"].(map[string]any)["digest"]; got != data || DigestOf(revision.Object["data"]) != data {
		t.Errorf("got %v, want %s", got, data)
	}
	other := yamltest.Object(t, "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: []}}")
	before := other.DeepCopy()
	SlimRevision(other)
	if diff := cmp.Diff(before, other); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDigestOf(t *testing.T) {
	of := func(text string) string { return DigestOf(yamltest.Object(t, text).Object) }
	const template = "{metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: a}]}}"
	for name, tc := range map[string]struct {
		other string
		same  bool
	}{
		"the hash":           {"{metadata: {labels: {app: web, pod-template-hash: x}}, spec: {containers: [{name: web, image: a}]}}", true},
		"a time that is not": {"{metadata: {creationTimestamp: null, labels: {app: web}}, spec: {containers: [{name: web, image: a}]}}", true},
		"no annotations":     {"{metadata: {annotations: {}, labels: {app: web}}, spec: {containers: [{name: web, image: a}]}}", true},
		"the order of keys":  {"{spec: {containers: [{image: a, name: web}]}, metadata: {labels: {app: web}}}", true},
		"an annotation":      {"{metadata: {annotations: {a: b}, labels: {app: web}}, spec: {containers: [{name: web, image: a}]}}", false},
		"a label":            {"{metadata: {labels: {app: api}}, spec: {containers: [{name: web, image: a}]}}", false},
		"an image":           {"{metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: b}]}}", false},
		"nothing but spec":   {"{spec: {containers: [{name: web, image: a}]}}", false},
	} {
		if got := of(template) == of(tc.other); got != tc.same {
			t.Errorf("%s: the same: %t, want %t", name, got, tc.same)
		}
	}
	if of("{metadata: {labels: {pod-template-hash: x}}, spec: {containers: []}}") != of("{spec: {containers: []}}") {
		t.Error("a template is another one for its hash alone")
	}
	if DigestOf(nil) == "" || DigestOf(func() {}) != "" {
		t.Error("nothing has a digest, and what is no JSON has none")
	}
}
