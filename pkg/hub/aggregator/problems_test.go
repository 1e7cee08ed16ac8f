package aggregator

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/hub/inventory"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// toldHub is a fakeHub that looks objects up by index, and keeps what is told of each workspace's objects.
type toldHub struct {
	fakeHub

	told []string
}

func (f *toldHub) Warn(key kcp.ObjectKey, _ *unstructured.Unstructured, reason string, messages ...string) {
	for _, message := range messages {
		f.told = append(f.told, fmt.Sprintf("%s: %s: %s", key.Workspace, reason, message))
	}
}

func (f *toldHub) EachBy(index, value string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	for key, obj := range f.objects {
		values, err := inventory.Indexers(kinds.Kinds{})[index](obj)
		for _, has := range values {
			if err == nil && has == value {
				visit(key, obj)
			}
		}
	}
}

// place puts a Deployment app/web of a workspace on clusters.
func (f *toldHub) place(workspace string, clusters ...string) (kcp.ObjectKey, *unstructured.Unstructured) {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	obj.SetAPIVersion("apps/v1")
	obj.SetKind("Deployment")
	obj.SetNamespace("app")
	obj.SetName("web")
	labels := map[string]string{}
	for _, cluster := range clusters {
		labels[v1alpha1.PlacementLabel(cluster)] = v1alpha1.PlacementLabelValue
	}
	obj.SetLabels(labels)
	key := kcp.ObjectKey{Workspace: logicalcluster.Name(workspace), Resource: deployments, Namespace: "app", Name: "web"}
	f.objects[key] = obj
	return key, obj
}

func hashOf(workspace, name, cluster string) string {
	return transform.Origin{Workspace: workspace, Namespace: "app", Name: name, Cluster: cluster}.Hash()
}

// TestAClusterHasNoWordForOthersWorkspaces has a thief with the credential of east report on an object that is placed there.
func TestAClusterHasNoWordForOthersWorkspaces(t *testing.T) {
	const attack = "attacker's text: call +1 555"
	cases := map[string]struct {
		reason   string
		problems []v1alpha1.Problem
		// told is what the victim is told.
		told []string
	}{
		"AConflictThatIs": {
			"in the hub's words",
			[]v1alpha1.Problem{{Reason: "Conflict", Message: attack, Concerns: hashOf("victim", "web", "east")}},
			[]string{"victim: Conflict: cluster east: an object of another workspace wants the place that the copy of this object has there; it is refused"},
		},
		"ByName":           {"as reports had it once", []v1alpha1.Problem{{Reason: "Conflict", Message: attack, Concerns: "victim|app/web"}}, nil},
		"AnyReason":        {"it is no conflict", []v1alpha1.Problem{{Reason: attack, Message: attack, Concerns: hashOf("victim", "web", "east")}}, nil},
		"AnotherName":      {"it cannot want its place", []v1alpha1.Problem{{Reason: "Conflict", Message: attack, Concerns: hashOf("victim", "db", "east")}}, nil},
		"AnotherCluster":   {"not the thief's to speak of", []v1alpha1.Problem{{Reason: "Conflict", Message: attack, Concerns: hashOf("victim", "web", "west")}}, nil},
		"PlacedElsewhere":  {"it has no copy there", []v1alpha1.Problem{{Reason: "Conflict", Message: attack, Concerns: hashOf("elsewhere", "web", "east")}}, nil},
		"WhatIsNotThere":   {"there is nobody to tell", []v1alpha1.Problem{{Reason: "Conflict", Message: attack, Concerns: hashOf("nobody", "web", "east")}}, nil},
		"ItsOwnWorkspace":  {"the problem is told there", []v1alpha1.Problem{{Reason: "Conflict", Message: attack, Concerns: hashOf("ws", "web", "east")}}, nil},
		"NothingConcerned": {"", []v1alpha1.Problem{{Reason: "Conflict", Message: attack}}, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := &toldHub{fakeHub: fakeHub{objects: map[kcp.ObjectKey]*unstructured.Unstructured{}}}
			f.place("victim", "east", "west")
			f.place("elsewhere", "west")
			key, obj := f.place("ws", "east", "west")
			encoded, err := v1alpha1.Report{Version: v1alpha1.ReportVersion, Cluster: "east", Problems: tc.problems}.Encode()
			if err != nil {
				t.Fatal(err)
			}
			obj.SetAnnotations(map[string]string{v1alpha1.StatusAnnotation("east"): encoded})
			a := New(Config{Upstream: f, Inventory: inventory.New(f, kinds.Kinds{}), Registry: f, Bindings: f, Notices: f})
			a.tellProblems(key, obj)
			if diff := cmp.Diff(tc.told, f.told); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			for _, told := range f.told {
				if strings.Contains(told, attack) {
					t.Errorf("the attacker has a word: %s", told)
				}
			}
		})
	}
}
