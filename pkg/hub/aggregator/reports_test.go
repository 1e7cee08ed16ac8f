package aggregator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

func hashOf(workspace, name, cluster string) string {
	return transform.Origin{Workspace: workspace, Namespace: "app", Name: name, Cluster: cluster}.Hash()
}

func TestNotesBecomeEvents(t *testing.T) {
	f := newFakeHub()
	key := f.add("ws", deployments, "Deployment", "web", on("east"), reported(t, protocol.Report{Cluster: "east", Notes: []protocol.Problem{{Reason: "DriftRepaired", Message: "put back"}}}))
	f.aggregator().tellProblems(key, f.objects[key])
	if want := []string{"ws: DriftRepaired: cluster east: put back"}; !slices.Equal(f.told, want) {
		t.Errorf("told %q, want %q", f.told, want)
	}
}

// TestConflictsAreToldInTheHubsWords has a thief with the credential of east report on an object that is placed there.
func TestConflictsAreToldInTheHubsWords(t *testing.T) {
	const attack = "attacker's text: call +1 555"
	cases := map[string]struct {
		reason   string
		problems []protocol.Problem
		// told is what the victim is told.
		told []string
	}{
		"a conflict that is": {
			"in the hub's words",
			[]protocol.Problem{{Reason: "Conflict", Message: attack, Concerns: hashOf("victim", "web", "east")}},
			[]string{"victim: Conflict: cluster east: an object of another workspace wants the place that the copy of this object has there; it is refused"},
		},
		"by name":           {"as reports had it once", []protocol.Problem{{Reason: "Conflict", Message: attack, Concerns: "victim|app/web"}}, nil},
		"AnyReason":         {"it is no conflict", []protocol.Problem{{Reason: attack, Message: attack, Concerns: hashOf("victim", "web", "east")}}, nil},
		"another name":      {"it cannot want its place", []protocol.Problem{{Reason: "Conflict", Message: attack, Concerns: hashOf("victim", "db", "east")}}, nil},
		"another cluster":   {"not the thief's to speak of", []protocol.Problem{{Reason: "Conflict", Message: attack, Concerns: hashOf("victim", "web", "west")}}, nil},
		"PlacedElsewhere":   {"it has no copy there", []protocol.Problem{{Reason: "Conflict", Message: attack, Concerns: hashOf("elsewhere", "web", "east")}}, nil},
		"what is not there": {"there is nobody to tell", []protocol.Problem{{Reason: "Conflict", Message: attack, Concerns: hashOf("nobody", "web", "east")}}, nil},
		"its own workspace": {"the problem is told there", []protocol.Problem{{Reason: "Conflict", Message: attack, Concerns: hashOf("ws", "web", "east")}}, nil},
		"nothing concerned": {"", []protocol.Problem{{Reason: "Conflict", Message: attack}}, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeHub()
			f.add("victim", deployments, "Deployment", "web", on("east", "west"))
			f.add("elsewhere", deployments, "Deployment", "web", on("west"))
			key := f.add("ws", deployments, "Deployment", "web", on("east", "west"), reported(t, protocol.Report{Cluster: "east", Problems: tc.problems}))
			f.aggregator().tellProblems(key, f.objects[key])
			f.told = slices.DeleteFunc(f.told, func(told string) bool { return strings.HasPrefix(told, "ws: ") }) // its own events quote it
			if len(f.told) == 0 {
				f.told = nil
			}
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

func TestSeenFirst(t *testing.T) {
	s := newSeen()
	key := kcp.ObjectKey{Name: "web"}
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	look := func(cluster, written string, after time.Duration) time.Duration {
		return s.first(key, protocol.Report{Cluster: cluster, Written: written}, begin.Add(after)).Sub(begin)
	}
	for i, want := range []struct {
		cluster, written string
		after, seen      time.Duration
	}{{"east", "2099", 0, 0}, {"east", "2099", time.Hour, 0}, {"west", "2099", time.Hour, time.Hour}, {"east", "2100", 2 * time.Hour, 2 * time.Hour}, {"east", "2100", 3 * time.Hour, 2 * time.Hour}} {
		if got := look(want.cluster, want.written, want.after); got != want.seen {
			t.Errorf("look %d: first seen after %s, want %s", i+1, got, want.seen)
		}
	}
	for i := range 10_000 {
		look("east", fmt.Sprint(3000+i), time.Duration(i))
	}
	if len(s.byKey) != 1 || len(s.byKey[key]) != 2 {
		t.Errorf("%v is remembered", s.byKey)
	}
	if s.forget(key); len(s.byKey) != 0 {
		t.Error("what is gone is remembered")
	}
}
