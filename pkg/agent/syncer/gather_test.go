package syncer

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

func TestAJobHasRunWhenItWasReportedOrSeenToEnd(t *testing.T) {
	asJob := func(obj *unstructured.Unstructured) {
		obj.SetAPIVersion("batch/v1")
		obj.SetKind("Job")
	}
	reported := func(conditionType, status string, generation int64) option {
		return func(obj *unstructured.Unstructured) {
			report, err := v1alpha1.Report{
				Version: v1alpha1.ReportVersion, Cluster: "east", Generation: generation,
				Conditions: []v1alpha1.ReportCondition{{Type: conditionType, Status: "True"}},
			}.Encode()
			if err != nil || status != "True" {
				report = "{}"
			}
			annotated(v1alpha1.StatusAnnotation("east"), report)(obj)
		}
	}
	ended := func(obj *unstructured.Unstructured) {
		obj.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Failed", "status": "True"}}}
	}
	replace := annotated(v1alpha1.ReplaceAnnotation, "true")
	ofEarlier := annotated(v1alpha1.SourceUIDAnnotation, "earlier")
	cases := map[string]struct {
		reason   string
		upstream *unstructured.Unstructured
		final    *unstructured.Unstructured
		want     bool
	}{
		"NothingKnown":         {"it is to be run", upstreamDeployment(asJob), nil, false},
		"ReportedComplete":     {"the report outlives the copy", upstreamDeployment(asJob, reported("Complete", "True", 1)), nil, true},
		"ReportedSuspended":    {"that is no end", upstreamDeployment(asJob, reported("Suspended", "True", 1)), nil, false},
		"SeenToFail":           {"it went before it was reported", upstreamDeployment(asJob), copyOf(t, upstreamDeployment(asJob), ended), true},
		"AnEarlierSeenToFail":  {"a namesake is another Job", upstreamDeployment(asJob), copyOf(t, upstreamDeployment(asJob), ended, ofEarlier), false},
		"GoneWithoutAnEnd":     {"somebody deleted it while it ran", upstreamDeployment(asJob), copyOf(t, upstreamDeployment(asJob)), false},
		"ReplacedByAChanged":   {"the user asks for it", upstreamDeployment(asJob, replace, reported("Complete", "True", 0)), nil, false},
		"ReplaceWithoutChange": {"there is nothing to replace", upstreamDeployment(asJob, replace, reported("Complete", "True", 1)), nil, true},
		"ADeployment":          {"it never ends", upstreamDeployment(reported("Complete", "True", 1)), nil, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := hasRun(state{origin: origin, upstreamObj: tc.upstream, final: tc.final}); got != tc.want {
				t.Errorf("got %t, want %t: %s", got, tc.want, tc.reason)
			}
		})
	}
}

func TestWaitingSaysWhatFor(t *testing.T) {
	key := kcp.ObjectKey{Resource: autoscalersResource, Namespace: "app", Name: "settings"}
	if got := waiting([]need{{key: key}}); len(got.problems) != 0 || got.again == 0 {
		t.Errorf("what is on its way is no problem, and is looked at again: %+v", got)
	}
	got := waiting([]need{{key: key, problem: &v1alpha1.Problem{Reason: reasonConflict, Message: "in the way"}}})
	if len(got.problems) != 1 || got.problems[0].Reason != reasonDependency {
		t.Fatalf("problems are %+v", got.problems)
	}
	for _, word := range []string{"app/settings", "in the way"} {
		if !strings.Contains(got.problems[0].Message, word) {
			t.Errorf("%q does not say %s", got.problems[0].Message, word)
		}
	}
}
