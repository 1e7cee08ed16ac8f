package protocol

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestReleasePatch(t *testing.T) {
	object := func(annotations map[string]string, finalizers ...string) Object {
		obj := &unstructured.Unstructured{Object: map[string]any{}}
		obj.SetUID("uid")
		obj.SetAnnotations(annotations)
		obj.SetFinalizers(finalizers)
		return Read(obj)
	}
	asia, east, west := v1alpha1.Finalizer("asia"), v1alpha1.Finalizer("east"), v1alpha1.Finalizer("west")
	report := map[string]string{v1alpha1.StatusAnnotation("east"): "{}"}
	const uid = `[{"op":"test","path":"/metadata/uid","value":"uid"},`
	cases := map[string]struct {
		object Object
		patch  string
		after  []string
	}{
		"nothing":                       {object(nil, west), "", []string{"west"}},
		"a hold among others":           {object(nil, asia, "other", east, "another", west), uid + `{"op":"test","path":"/metadata/finalizers/2","value":"syncer.tmc.kcp.io/east"},{"op":"remove","path":"/metadata/finalizers/2"}]`, []string{"west"}},
		"a hold and a report":           {object(report, east), uid + `{"op":"test","path":"/metadata/finalizers/0","value":"syncer.tmc.kcp.io/east"},{"op":"remove","path":"/metadata/finalizers/0"},{"op":"remove","path":"/metadata/annotations/status.tmc.kcp.io~1east"}]`, nil},
		"a report":                      {object(report), uid + `{"op":"remove","path":"/metadata/annotations/status.tmc.kcp.io~1east"}]`, nil},
		"a cluster that is to be left":  {object(map[string]string{v1alpha1.DeletionAnnotation("east"): "now"}, east), uid + `{"op":"test","path":"/metadata/annotations/deletion.tmc.kcp.io~1east","value":"now"},{"op":"test","path":"/metadata/finalizers/0","value":"syncer.tmc.kcp.io/east"},{"op":"remove","path":"/metadata/finalizers/0"}]`, nil},
		"a cluster that has been left":  {object(map[string]string{v1alpha1.DeletionAnnotation("east"): "now"}), "", nil},
		"several that come after it":    {object(nil, east, west, "other", asia), uid + `{"op":"test","path":"/metadata/finalizers/0","value":"syncer.tmc.kcp.io/east"},{"op":"remove","path":"/metadata/finalizers/0"}]`, []string{"west", "asia"}},
		"another cluster's report only": {object(map[string]string{v1alpha1.StatusAnnotation("west"): "{}"}), "", nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			patch, err := c.object.ReleasePatch("east")
			if diff := cmp.Diff(c.patch, string(patch)); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if diff := cmp.Diff(c.after, c.object.HeldAfter("east")); diff != "" {
				t.Errorf("after it (-want +got):\n%s", diff)
			}
		})
	}
}
