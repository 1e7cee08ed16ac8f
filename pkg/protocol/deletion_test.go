package protocol

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func finalized(finalizers ...string) change {
	return func(obj *unstructured.Unstructured) { obj.SetFinalizers(finalizers) }
}

func TestObjectIsEnding(t *testing.T) {
	ours := v1alpha1.Finalizer("east")
	cases := map[string]struct {
		of      *unstructured.Unstructured
		holders []string
		want    bool
	}{
		"what is not being deleted does not end":  {object(finalized(ours)), nil, false},
		"a syncer's finalizer keeps nothing":      {object(deleting, finalized(ours)), nil, true},
		"no finalizer keeps nothing":              {object(deleting), nil, true},
		"those of the API server keep nothing":    {object(deleting, finalized("orphan", "foregroundDeletion", "kubernetes", ours)), nil, true},
		"those of tmc and of kcp keep nothing":    {object(deleting, finalized("tmc.kcp.io/in-use", "apis.kcp.io/x", "kcp.io/y", ours)), nil, true},
		"a user's keeps the copies":               {object(deleting, finalized(ours, "example.com/drain")), []string{"example.com/drain"}, false},
		"one without a domain is somebody's":      {object(deleting, finalized("drain", ours, "orphan")), []string{"drain"}, false},
		"one that looks like kcp's is somebody's": {object(deleting, finalized("notkcp.io/x")), []string{"notkcp.io/x"}, false},
		"a cluster's own protection is somebody's here": {
			object(deleting, finalized("kubernetes.io/pvc-protection")), []string{"kubernetes.io/pvc-protection"}, false,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			said := Read(tc.of)
			if said.IsEnding() != tc.want {
				t.Errorf("IsEnding is %t", !tc.want)
			}
			if diff := cmp.Diff(tc.holders, said.Holders(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("holders (-want +got):\n%s", diff)
			}
		})
	}
}

func TestObjectPropagation(t *testing.T) {
	noted := func(wish string) change { return annotated(v1alpha1.PropagationAnnotation, wish) }
	cases := map[string]struct {
		of    *unstructured.Unstructured
		want  metav1.DeletionPropagation
		notes string
	}{
		"what is not being deleted has no wish":       {object(finalized("orphan"), noted("Orphan")), "Background", ""},
		"without a finalizer it is the background":    {object(deleting), "Background", ""},
		"the collector's finalizer says orphan":       {object(deleting, finalized("orphan")), "Orphan", "Orphan"},
		"the collector's finalizer says foreground":   {object(deleting, finalized("foregroundDeletion")), "Foreground", "Foreground"},
		"the note stays when the finalizer has gone":  {object(deleting, noted("Orphan")), "Orphan", ""},
		"so does that of a foreground deletion":       {object(deleting, noted("Foreground")), "Foreground", ""},
		"what is to stay is not deleted any more":     {object(deleting, noted("Orphan"), finalized("foregroundDeletion")), "Orphan", ""},
		"what was to be deleted may be to stay":       {object(deleting, noted("Foreground"), finalized("orphan")), "Orphan", "Orphan"},
		"a note that is none of the wishes says none": {object(deleting, noted("Background")), "Background", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Read(tc.of).Propagation(); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			change := Read(tc.of).NewChange()
			change.NotePropagation()
			if got := change.Annotations[v1alpha1.PropagationAnnotation]; got == nil != (tc.notes == "") || got != nil && *got != tc.notes {
				t.Errorf("notes %v, want %q", got, tc.notes)
			}
		})
	}
}

func TestEntryOfAnObjectThatIsKept(t *testing.T) {
	kept := object(placedOn("east"), deleting, finalized("example.com/drain", v1alpha1.Finalizer("east")))
	if got := Read(kept).Entries([]string{"east"}, Facts{})[0].State; got != Placed {
		t.Errorf("with somebody's finalizer it is %s", got)
	}
	kept.SetFinalizers(slices.Delete(kept.GetFinalizers(), 0, 1))
	if got := Read(kept).Entries([]string{"east"}, Facts{})[0].State; got != Leaving {
		t.Errorf("without it is %s", got)
	}
}

func TestObjectStaysFor(t *testing.T) {
	obj := object()
	if got := Read(obj).StaysFor(); len(got) > 0 {
		t.Errorf("it stays for %v", got)
	}
	change := Read(obj).NewChange()
	change.StayFor([]string{"deployments.apps/web", "statefulsets.apps/db"})
	if got := change.Annotations[v1alpha1.StaysForAnnotation]; got == nil || *got != "deployments.apps/web,statefulsets.apps/db" {
		t.Fatalf("notes %v", got)
	}
	annotated(v1alpha1.StaysForAnnotation, "deployments.apps/web,statefulsets.apps/db")(obj)
	if diff := cmp.Diff([]string{"deployments.apps/web", "statefulsets.apps/db"}, Read(obj).StaysFor()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	change = Read(obj).NewChange()
	change.StayFor(nil)
	if got, noted := change.Annotations[v1alpha1.StaysForAnnotation]; !noted || got != nil {
		t.Errorf("notes %v", got)
	}
}

func TestDisownIsForWhatGoes(t *testing.T) {
	release := func(obj *unstructured.Unstructured) {
		obj.SetLabels(map[string]string{"app.kubernetes.io/managed-by": "Helm"})
		obj.SetAnnotations(map[string]string{"meta.helm.sh/release-name": "web"})
	}
	for name, tc := range map[string]struct {
		of   *unstructured.Unstructured
		want int
	}{
		"of a release":               {object(release, deleting), 1},
		"of a release, and it stays": {object(release), 0},
		"of nobody":                  {object(deleting), 0},
	} {
		t.Run(name, func(t *testing.T) {
			change := Read(tc.of).NewChange()
			if change.Disown(); len(change.Annotations) != tc.want {
				t.Errorf("it writes %v, want %d annotations", change.Annotations, tc.want)
			}
		})
	}
}
