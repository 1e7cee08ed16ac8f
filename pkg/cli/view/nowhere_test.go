package view

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

func TestWhereAnObjectIs(t *testing.T) {
	const nobodys = "nothing places it"
	service := func(changes ...change) change {
		return func(obj *unstructured.Unstructured) {
			for _, change := range append([]change{ofKind("v1", "Service")}, changes...) {
				change(obj)
			}
		}
	}
	cases := map[string]struct {
		reason string
		obj    change
		where  string
		// lost is what of the problems says where it is.
		lost string
	}{
		"on clusters":              {"they are named", service(placed("east", "west")), "east, west", ""},
		"on many":                  {"the first are", service(placed("a", "b", "c", "d", "e")), "a, b, c and 2 more", ""},
		"a Service nobody places":  {"it says how to", service(), nobodys, "kubectl annotate -n shop service/web 'tmc.kcp.io/target-clusters=*'"},
		"its condition says so":    {"once is enough", service(isFalse(v1alpha1.ConditionSynced, protocol.ReasonNotPlaced, "it is on no cluster")), nobodys, "NotPlaced: it is on no cluster"},
		"nowhere on purpose":       {"its user wants that", service(annotated(v1alpha1.TargetClustersAnnotation, " ")), "nowhere, as its annotation says", ""},
		"its clusters are missing": {"the events say so", service(annotated(v1alpha1.TargetClustersAnnotation, "nope")), "nowhere", ""},
		"a placement has none":     {"the placement says so", service(annotated(v1alpha1.PlacementAnnotation, `{"by":"placement","name":"p","message":"none is ready"}`)), "nowhere", "placement: none is ready"},
		"what Helm keeps": {"it is for no cluster", func(obj *unstructured.Unstructured) {
			ofKind("v1", "Secret")(obj)
			named("sh.helm.release.v1.web.v1")(obj)
		}, "for no cluster", ""},
		"it is being deleted": {"it need not be anywhere", service(func(obj *unstructured.Unstructured) { obj.SetDeletionTimestamp(&metav1.Time{Time: now}) }), "nowhere", ""},
		"a workload":          {"as before", func(*unstructured.Unstructured) {}, "nowhere", "it is placed on no cluster"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := Of(deployment(tc.obj), kinds.Kinds{}, nil)
			if got := w.Where(); got != tc.where {
				t.Errorf("%s: %q, want %q", tc.reason, got, tc.where)
			}
			var lost []string
			for _, problem := range w.Problems {
				if len(w.Clusters) == 0 {
					lost = append(lost, problem.String())
				}
			}
			if text := strings.Join(lost, "; "); !strings.Contains(text, tc.lost) || (tc.lost == "") != (text == "") || len(lost) > 1 {
				t.Errorf("%s: problems %q, want %q", tc.reason, text, tc.lost)
			}
		})
	}
}

func TestWorkloadTableSaysWhere(t *testing.T) {
	workloads := []Workload{
		Of(deployment(reported("east", 3), placed("east")), kinds.Kinds{}, nil),
		Of(deployment(ofKind("v1", "Service"), named("db")), kinds.Kinds{}, nil),
	}
	want := []string{"Namespace|Kind|Name|Ready|Where|east", "shop|Deployment|web|3/3|east|3/3", "shop|Service|db|-|nothing places it|-"}
	if diff := cmp.Diff(want, lines(WorkloadTable(workloads, TableOptions{Namespaces: true, Where: true}))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
