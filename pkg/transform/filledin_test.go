package transform

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
)

// The strategies of a Deployment and of a DaemonSet as kcp's schema fills them in.
const (
	filledInDeployment = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: 2, strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}}}`
	filledInDaemonSet  = `{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: d}, spec: {updateStrategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}}}`
)

func TestFilledInFieldsAreRemoved(t *testing.T) {
	cases := map[string]struct{ reason, obj, want string }{
		"a Deployment": {
			"its cluster fills in the same", filledInDeployment,
			`{apiVersion: apps/v1, kind: Deployment, spec: {replicas: 2, strategy: {type: RollingUpdate}}}`,
		},
		"a Deployment that is made anew": {
			"a cluster refuses rollingUpdate there",
			`{apiVersion: apps/v1, kind: Deployment, spec: {strategy: {type: Recreate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}}}`,
			`{apiVersion: apps/v1, kind: Deployment, spec: {strategy: {type: Recreate}}}`,
		},
		"a Deployment with a word of the user": {
			"it is his",
			`{apiVersion: apps/v1, kind: Deployment, spec: {strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 0}}}}`,
			`{apiVersion: apps/v1, kind: Deployment, spec: {strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 0}}}}`,
		},
		"a DaemonSet": {
			"its cluster fills in the same", filledInDaemonSet,
			`{apiVersion: apps/v1, kind: DaemonSet, spec: {updateStrategy: {type: RollingUpdate}}}`,
		},
		"another kind of that name": {
			"its fields mean something else",
			`{apiVersion: example.com/v1, kind: Deployment, spec: {strategy: {rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}}}`,
			`{apiVersion: example.com/v1, kind: Deployment, spec: {strategy: {rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}}}`,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			desired := desiredOf(t, object(t, c.obj))
			if diff := cmp.Diff(object(t, c.want).Object["spec"], desired.Object["spec"]); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestCopiesFromBeforeDefaultsStayAsTheyAre(t *testing.T) {
	kindOf := func(text string) *kinds.Kind {
		return kinds.Kinds{}.Of(object(t, text).GroupVersionKind().GroupKind())
	}
	for _, text := range []string{filledInDeployment, filledInDaemonSet} {
		now := desiredOf(t, object(t, text))
		// A syncer of before has applied what the user has said, whatever it was.
		kind := *kindOf(text)
		said := now.DeepCopy()
		unstructured.RemoveNestedField(said.Object, metadataField, annotationsField, v1alpha1.AppliedHashAnnotation)
		path, name := kind.FilledIn()[0].Path.Last()
		child(said.Object, path...)[name] = kind.FilledIn()[0].Value
		before, err := seal(said)
		if err != nil {
			t.Fatal(err)
		}
		if got := AsBefore(now, before, &kind); !cmp.Equal(got, before) {
			t.Errorf("what lies there is written again (-lies there +desired):\n%s", cmp.Diff(before.Object, got.Object))
		}
		if got := AsBefore(now, now, &kind); got != now {
			t.Error("what lies there without them gets them")
		}
		other := before.DeepCopy()
		other.SetAnnotations(merged(other.GetAnnotations(), map[string]string{v1alpha1.AppliedHashAnnotation: "another"}))
		if got := AsBefore(now, other, &kind); got != now {
			t.Error("what is out of date is not written as it is now")
		}
	}
	custom := desiredOf(t, object(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {strategy: {rollingUpdate: {maxSurge: 1}}}}`))
	out := custom.DeepCopy()
	out.SetAnnotations(merged(out.GetAnnotations(), map[string]string{v1alpha1.AppliedHashAnnotation: "another"}))
	if got := AsBefore(custom, out, kindOf(filledInDeployment)); got != custom {
		t.Error("what a user has said is replaced")
	}
}
