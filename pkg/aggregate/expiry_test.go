package aggregate

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

func TestEndedIsSaidOfAllClusters(t *testing.T) {
	ends := func(cluster, conditionType string, generation int64) protocol.Report {
		return protocol.Report{
			Version: protocol.ReportVersion, Cluster: cluster, Generation: generation, LocalGeneration: 1,
			Conditions: []protocol.ReportCondition{{Type: conditionType, Status: metav1.ConditionTrue}},
		}
	}
	forged := ends("west", v1alpha1.ConditionEnded, 1)
	cases := map[string]struct {
		ttl      any
		replaces string
		reports  []protocol.Report
		want     string
	}{
		"on all":                         {int64(5), "", []protocol.Report{ends("east", "Complete", 1), ends("west", "Failed", 1)}, "In 2 clusters."},
		"on one":                         {int64(5), "", []protocol.Report{ends("east", "Complete", 1)}, ""},
		"on one, and another suspends":   {int64(5), "", []protocol.Report{ends("east", "Complete", 1), ends("west", "Suspended", 1)}, ""},
		"that one says so counts not":    {int64(5), "", []protocol.Report{ends("east", "Complete", 1), forged}, ""},
		"of another generation":          {int64(5), "", []protocol.Report{ends("east", "Complete", 1), ends("west", "Complete", 2)}, "In 2 clusters."},
		"of another, which is run again": {int64(5), "true", []protocol.Report{ends("east", "Complete", 1), ends("west", "Complete", 2)}, ""},
		"it stays":                       {nil, "", []protocol.Report{ends("east", "Complete", 1), ends("west", "Complete", 1)}, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "batch/v1", "kind": "Job", "metadata": map[string]any{"name": "nightly", "generation": int64(2)}, "spec": map[string]any{},
			}}
			if tc.ttl != nil {
				obj.Object["spec"] = map[string]any{"ttlSecondsAfterFinished": tc.ttl}
			}
			obj.SetLabels(placement([]string{"east", "west"}))
			all := annotations(t, tc.reports...)
			all[v1alpha1.ReplaceAnnotation] = tc.replaces
			obj.SetAnnotations(all)
			status, _ := Status(Input{Inputs: noInputs, Object: obj, Now: now})
			got := ""
			for _, entry := range status[conditionsField].([]any) {
				if c := entry.(map[string]any); c["type"] == v1alpha1.ConditionEnded {
					got = c["message"].(string)
				}
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			obj.Object["status"] = status
			since, ttl, expires := Expiry(kinds.Kinds{}.Of(schema.GroupKind{Group: "batch", Kind: "Job"}), obj)
			if expires != (tc.want != "") || expires && (!since.Equal(now.Truncate(time.Second)) || ttl != 5*time.Second) {
				t.Errorf("expires: %t, %s after %s", expires, ttl, since)
			}
		})
	}
}
