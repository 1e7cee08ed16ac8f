package evaluate

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// undone takes all annotations off a Deployment but the number of its revision, as `kubectl rollout undo` does, and changes its
// generation.
func undone(obj *unstructured.Unstructured) {
	obj.SetAnnotations(map[string]string{"deployment.kubernetes.io/revision": "2"})
	obj.SetGeneration(2)
}

func TestEvaluateUndone(t *testing.T) {
	share := annotated(v1alpha1.ReplicasAnnotation("east"), "1")
	divided := copyOf(t, upstreamDeployment(placed, held, share))
	leaving := annotated(v1alpha1.DeletionAnnotation("east"), "2026-01-01T00:00:00Z")
	cases := map[string]struct {
		reason         string
		upstream, copy *unstructured.Unstructured
		bare, reported bool
		want           Action
	}{
		"Undone":    {"the share of the copy is not known", upstreamDeployment(placed, held, share, undone), divided, true, true, Nothing},
		"NoCopy":    {"nothing says how many replicas it would have", upstreamDeployment(placed, held, undone), nil, true, true, Nothing},
		"Namesake":  {"it stays until something can take its place", upstreamDeployment(placed, held, undone), copyOf(t, upstreamDeployment(placed, held, func(obj *unstructured.Unstructured) { obj.SetUID("earlier") })), true, true, Nothing},
		"NotHeld":   {"whether it enters is not known", upstreamDeployment(placed, undone), nil, true, false, Nothing},
		"PutBack":   {"the hub has said it again", upstreamDeployment(placed, held, undone, share, annotated(v1alpha1.PlacementAnnotation, "{}")), divided, false, true, Update},
		"NoRoom":    {"a share is said where there is no room to say why", upstreamDeployment(placed, held, undone, share), divided, false, true, Update},
		"Leaving":   {"the hub has asked again to leave", upstreamDeployment(placed, held, undone, leaving), divided, false, false, Delete},
		"Deleting":  {"copies go with what is deleted", upstreamDeployment(placed, held, undone, deleting), divided, false, false, Delete},
		"Draining":  {"what somebody keeps runs on as it is", upstreamDeployment(placed, undone, deletingBy("example.com/drain", v1alpha1.Finalizer("east"))), divided, true, true, Nothing},
		"Gone":      {"the hub has taken the cluster off", upstreamDeployment(held, undone), divided, false, false, Delete},
		"OtherKind": {"kubectl leaves the annotations of others", upstreamDeployment(asStatefulSet, placed, held, undone), nil, false, true, Create},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := evaluated(t, inputOf(tc.upstream, tc.copy), nil)
			if got := e.Decide(Surroundings{}).Action; e.IsBare != tc.bare || got != tc.want || e.IsReported() != tc.reported {
				t.Errorf("%s: bare %t, %s, reported %t", tc.reason, e.IsBare, got, e.IsReported())
			}
		})
	}
}

// TestReportOnWhatIsUndone tells the hub how many replicas the copy has, and not that it is up to date.
func TestReportOnWhatIsUndone(t *testing.T) {
	share := annotated(v1alpha1.ReplicasAnnotation("east"), "1")
	e := evaluated(t, inputOf(upstreamDeployment(placed, held, share, undone), copyOf(t, upstreamDeployment(placed, held, share))), nil)
	report := e.Report(nil)
	if report.Replicas == nil || *report.Replicas != 1 || report.Generation != 0 {
		t.Errorf("reported: %+v", report)
	}
	encoded, err := report.Encode()
	if err != nil {
		t.Fatal(err)
	}
	shares, silent := protocol.Read(upstreamDeployment(placed, held, undone, annotated(v1alpha1.StatusAnnotation("east"), encoded))).FromReports()
	if shares[v1alpha1.ReplicasAnnotation("east")] != "1" || len(silent) > 0 {
		t.Errorf("the hub reads %v, and nothing of %v", shares, silent)
	}
}

// TestEvaluatePutBack evaluates anew what the hub has put back, whether or not the cluster's own part of it differs.
func TestEvaluatePutBack(t *testing.T) {
	copied := copyOf(t, upstreamDeployment(placed, held))
	bare := evaluated(t, inputOf(upstreamDeployment(placed, held, undone), copied), nil)
	whole := upstreamDeployment(placed, held, undone, annotated(v1alpha1.PlacementAnnotation, "{}"))
	if SameUpstream(bare.Upstream, whole, "east") {
		t.Error("the syncer would not notice")
	}
	if e := evaluated(t, inputOf(whole, copied), bare); e.IsBare || e.Decide(Surroundings{}).Action != Update {
		t.Errorf("bare %t, %s", e.IsBare, e.Decide(Surroundings{}).Action)
	}
}
