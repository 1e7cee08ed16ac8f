package protocol

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// reported has cluster east report what it would, changed, when its copy is up to date. It comes after all that shapes the copy.
func reported(changes ...func(*Report)) change {
	return func(obj *unstructured.Unstructured) {
		const cluster = "east"
		report := Report{Version: ReportVersion, Cluster: cluster, Generation: 3, LocalGeneration: 5, LocalObservedGeneration: 5, Inputs: Read(obj).Inputs(cluster)}
		for _, change := range changes {
			change(&report)
		}
		encoded, err := report.Encode()
		if err != nil {
			panic(err)
		}
		annotated(v1alpha1.StatusAnnotation(cluster), encoded)(obj)
	}
}

func share(cluster, replicas string) change {
	return annotated(v1alpha1.ReplicasAnnotation(cluster), replicas)
}

func part(text string) change { return annotated(v1alpha1.PartitionAnnotation("east"), text) }

func explained(placement string) change {
	return annotated(v1alpha1.PlacementAnnotation, placement)
}

// without is an object of a kind without generations.
func without(obj *unstructured.Unstructured) { obj.SetGeneration(0) }

func TestEntriesState(t *testing.T) {
	cases := map[string]struct {
		obj  *unstructured.Unstructured
		want Entry
	}{
		"placed, with why": {
			object(placedOn("east"), heldBy("east"), explained(`{"by":"placement","name":"p","clusters":{"east":"spread"}}`)),
			Entry{State: Placed, Held: true, Why: "spread"},
		},
		"placed and not held yet": {object(placedOn("east")), Entry{State: Placed}},
		"kept until it is available elsewhere": {
			object(placedOn("east"), explained(`{"by":"placement","name":"p","clusters":{"east":"for now"},"kept":["east"]}`)),
			Entry{State: Kept, Why: "for now"},
		},
		"kept, as earlier versions have it": {
			object(placedOn("east"), explained(`{"by":"placement p","clusters":{"east":"stays until it is available elsewhere"}}`)),
			Entry{State: Kept, Why: "stays until it is available elsewhere"},
		},
		"asked to leave": {
			object(placedOn("east"), heldBy("east"), leaving("east"), explained(`{"by":"placement","name":"p","kept":["east"]}`)),
			Entry{State: Leaving, Held: true, LeavingSince: "2026-01-02T03:04:05Z"},
		},
		"held without a label": {object(heldBy("east")), Entry{State: Leaving, Held: true}},
		"being deleted":        {object(placedOn("east"), heldBy("east"), deleting), Entry{State: Leaving, Held: true}},
		"with an override":     {object(placedOn("east"), annotated(v1alpha1.OverrideAnnotation("east"), "[]")), Entry{State: Placed, Override: "[]"}},
		"with a share":         {object(placedOn("east"), share("east", "0")), Entry{State: Placed, Share: new(int64(0)), Partition: new(int64(3))}},
		"with a part of the partition": {
			object(placedOn("east"), share("east", "4"), part("1/3")), Entry{State: Placed, Share: new(int64(4)), Partition: new(int64(1))},
		},
		"with the whole of it": {object(placedOn("east"), share("east", "2")), Entry{State: Placed, Share: new(int64(2)), Partition: new(int64(3))}},
		"with a share that is none": {
			object(placedOn("east"), share("east", "x")),
			Entry{State: Placed, ShareErr: errors.New(`annotation replicas.tmc.kcp.io/east: "x" is no number of replicas, expected 0 to 2147483647`)},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.want.Cluster, tc.want.Belief, tc.want.Doubt, tc.want.Lag = "east", NotReported, "has not reported", NoCopy
			got := Read(tc.obj).Entries([]string{"east"}, Facts{Partition: new(int64(3))})
			sameText := cmp.Comparer(func(a, b error) bool { return fmt.Sprint(a) == fmt.Sprint(b) })
			if diff := cmp.Diff([]Entry{tc.want}, got, sameText); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestEntriesBelief(t *testing.T) {
	silent := func(cluster string) string { return cluster + " is silent" }
	ended := func(r *Report) { r.Conditions = []ReportCondition{{Type: "Complete", Status: "True"}} }
	notEnded := func(r *Report) { r.Conditions = []ReportCondition{{Type: "Complete", Status: "False"}} }
	cases := map[string]struct {
		obj   *unstructured.Unstructured
		facts Facts
		want  Belief
		doubt string
		keeps bool
	}{
		"a report counts":           {object(reported()), Facts{}, Believed, "", true},
		"nothing was reported":      {object(), Facts{}, NotReported, "has not reported", false},
		"silent before it reported": {object(), Facts{Silent: silent}, NotReported, "has not reported", false},
		"it cannot be read":         {object(annotated(v1alpha1.StatusAnnotation("east"), "?")), Facts{}, InvalidReport, "not readable", false},
		"another's report":          {object(reported(func(r *Report) { r.Cluster = "west" })), Facts{}, InvalidReport, "was written for cluster", false},
		"what no syncer writes":     {object(reported(func(r *Report) { r.Replicas = new(int64(-1)) })), Facts{}, InvalidReport, "out of bounds", false},
		"a silent cluster":          {object(reported()), Facts{Silent: silent}, Silent, "east is silent", true},
		"another is silent":         {object(reported()), Facts{Silent: func(string) string { return "" }}, Believed, "", true},
		"what has ended stays so":   {object(reported(ended)), Facts{Silent: silent, Ends: []string{"Failed", "Complete"}}, Believed, "", true},
		"what may end goes on":      {object(reported(notEnded)), Facts{Silent: silent, Ends: []string{"Failed", "Complete"}}, Silent, "east is silent", true},
		"a workload that is called a heartbeat": {object(reported(func(r *Report) {
			r.Problems = []Problem{{Reason: "Invalid", Message: "deployment heartbeat is silent, nothing heard"}}
		})), Facts{}, Believed, "", true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := Read(tc.obj).Entries([]string{"east"}, tc.facts)[0]
			if e.Belief != tc.want || !strings.Contains(e.Doubt, tc.doubt) || (e.Doubt == "") != (tc.doubt == "") {
				t.Errorf("got %q (%s), want %q (%s)", e.Belief, e.Doubt, tc.want, tc.doubt)
			}
			if (e.Report.Generation != 0) != tc.keeps {
				t.Errorf("the report is %+v", e.Report)
			}
			if e.IsUpToDate() != (tc.want == Believed) {
				t.Errorf("up to date: %t", e.IsUpToDate())
			}
		})
	}
}

func TestEntriesLag(t *testing.T) {
	divided := func(total string) change {
		return func(obj *unstructured.Unstructured) {
			for _, change := range []change{placedOn("east", "west"), share("east", "2"), share("west", "1"), explained(`{"by":"placement","name":"p"` + total + `}`)} {
				change(obj)
			}
		}
	}
	observed := func(generation int64) func(*Report) {
		return func(r *Report) { r.LocalObservedGeneration = generation }
	}
	ungenerated := func(r *Report) {
		r.LocalGeneration, r.LocalObservedGeneration = 0, 0
	}
	nowhere := func(r *Report) {
		r.Generation, r.LocalGeneration, r.LocalObservedGeneration = 0, 0, 0
	}
	cases := map[string]struct {
		obj        *unstructured.Unstructured
		facts      Facts
		want       Lag
		unobserved bool
	}{
		"up to date":                          {object(reported()), Facts{}, UpToDate, false},
		"no copy":                             {object(reported(func(r *Report) { *r = Report{Version: 1, Cluster: "east"} })), Facts{}, NoCopy, true},
		"a copy that somebody has changed":    {object(reported(func(r *Report) { r.Generation = 0 })), Facts{}, NoCopy, false},
		"a copy of which nothing is known":    {object(reported(func(r *Report) { r.LocalGeneration = 0 })), Facts{}, NoCopy, true},
		"an earlier generation":               {object(reported(func(r *Report) { r.Generation = 2 })), Facts{}, OldGeneration, false},
		"other labels":                        {object(reported(), labelled("app", "web")), Facts{}, OldInputs, false},
		"another override":                    {object(reported(), annotated(v1alpha1.OverrideAnnotation("east"), "[]")), Facts{}, OldInputs, false},
		"another share":                       {object(divided(`,"replicas":3`), reported(), share("east", "1")), Facts{Replicas: 3}, OldInputs, false},
		"inputs that the caller has":          {object(reported(), labelled("app", "web")), Facts{Inputs: func(string) string { return Read(object()).Inputs("east") }}, UpToDate, false},
		"divided as now":                      {object(divided(`,"replicas":3`), reported()), Facts{Replicas: 3}, UpToDate, false},
		"divided as before":                   {object(divided(`,"replicas":3`), reported()), Facts{Replicas: 2}, NotDivided, false},
		"divided, and nobody says how":        {object(divided(``), reported()), Facts{Replicas: 3}, NotDivided, false},
		"another part":                        {object(divided(`,"replicas":3`), reported(), part("1/2")), Facts{Replicas: 3, Partition: new(int64(2))}, OldInputs, false},
		"a part of the partition":             {object(divided(`,"replicas":3`), part("1/2"), reported()), Facts{Replicas: 3, Partition: new(int64(2))}, UpToDate, false},
		"a part of another partition":         {object(divided(`,"replicas":3`), part("1/2"), reported()), Facts{Replicas: 3, Partition: new(int64(1))}, NotDivided, false},
		"a part of no partition any more":     {object(divided(`,"replicas":3`), part("1/2"), reported()), Facts{Replicas: 3}, UpToDate, false},
		"a part of another, and kept":         {object(divided(`,"replicas":3,"kept":["east"]`), part("1/2"), reported()), Facts{Replicas: 3, Partition: new(int64(1))}, UpToDate, false},
		"a share that is left of before":      {object(placedOn("east"), share("west", "1"), reported()), Facts{Replicas: 3}, UpToDate, false},
		"not observed":                        {object(reported(observed(4))), Facts{}, NotObserved, true},
		"never observed, of a kind that does": {object(reported(observed(0))), Facts{Observes: AlwaysObserves}, NotObserved, true},
		"never observed, of a kind that may":  {object(reported(observed(0))), Facts{}, UpToDate, false},
		"a kind that never observes":          {object(reported(observed(4))), Facts{Observes: NeverObserves}, UpToDate, false},
		"no generation on the cluster":        {object(reported(ungenerated)), Facts{Observes: NeverObserves}, UpToDate, false},
		"no generation there, may observe":    {object(reported(ungenerated)), Facts{}, UpToDate, false},
		"no generation there, must observe":   {object(reported(ungenerated)), Facts{Observes: AlwaysObserves}, NoCopy, true},
		"no generation there, other inputs":   {object(reported(ungenerated), labelled("app", "web")), Facts{Observes: NeverObserves}, OldInputs, false},
		"no report, never observed":           {object(placedOn("east")), Facts{Observes: NeverObserves}, NoCopy, true},
		"no generation at all":                {object(without, reported(nowhere)), Facts{Observes: NeverObserves}, UpToDate, false},
		"no generation at all, other inputs":  {object(without, reported(nowhere), labelled("app", "web")), Facts{Observes: NeverObserves}, OldInputs, false},
		"no generation at all, and no copy":   {object(without, reported(func(r *Report) { *r = Report{Version: 1, Cluster: "east"} })), Facts{Observes: NeverObserves}, NoCopy, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := Read(tc.obj).Entries([]string{"east"}, tc.facts)[0]
			if e.Lag != tc.want || e.Observed == tc.unobserved || e.IsUpToDate() != (tc.want == UpToDate) {
				t.Errorf("got %q, observed: %t, up to date: %t; want %q", e.Lag, e.Observed, e.IsUpToDate(), tc.want)
			}
		})
	}
}

// Of a kind without a status a cluster reports problems alone: that it holds the object is all there is to go by.
func TestEntriesOfStatuslessKinds(t *testing.T) {
	facts := Facts{Statusless: true, Observes: NeverObserves}
	silent := facts
	silent.Silent = func(string) string { return "silent" }
	cases := map[string]struct {
		obj   *unstructured.Unstructured
		facts Facts
		want  Belief
		lag   Lag
	}{
		"not taken up":             {object(without, placedOn("east")), facts, NotReported, NoCopy},
		"held":                     {object(without, placedOn("east"), heldBy("east")), facts, Believed, UpToDate},
		"held by another":          {object(without, placedOn("east"), heldBy("west")), facts, NotReported, NoCopy},
		"held by a silent cluster": {object(without, placedOn("east"), heldBy("east")), silent, Silent, UpToDate},
		"a problem":                {object(without, heldBy("east"), reported(func(r *Report) { *r = Report{Version: 1, Cluster: "east", Problems: []Problem{{Reason: "Forbidden"}}} })), facts, Believed, NoCopy},
		"an unreadable report":     {object(without, heldBy("east"), annotated(v1alpha1.StatusAnnotation("east"), "{")), facts, InvalidReport, NoCopy},
		"of a kind with a status":  {object(placedOn("east"), heldBy("east")), Facts{}, NotReported, NoCopy},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := Read(tc.obj).Entries([]string{"east"}, tc.facts)[0]
			if e.Belief != tc.want || e.Lag != tc.lag || e.Observed != (tc.lag == UpToDate) {
				t.Errorf("got %q, %q, observed: %t; want %q, %q", e.Belief, e.Lag, e.Observed, tc.want, tc.lag)
			}
		})
	}
}

func TestEntriesAreThoseThatWereAskedFor(t *testing.T) {
	o := Read(object(placedOn("east", "west"), leaving("west"), heldBy("west"), reported()))
	var got []string
	for _, e := range append(o.Entries(o.Placed(), Facts{}), o.Entries([]string{"west", "north"}, Facts{})...) {
		got = append(got, e.Cluster+" "+string(e.State))
	}
	if diff := cmp.Diff([]string{"east placed", "west leaving", "north leaving"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := Read(object()).Entries(nil, Facts{}); len(got) != 0 {
		t.Errorf("no cluster has %v", got)
	}
}

func TestSilentClusters(t *testing.T) {
	condition := func(conditionType, status, message string) any {
		return map[string]any{"type": conditionType, "status": status, "reason": "ClusterSilent", "message": message}
	}
	is := func(cluster string) any {
		return condition(v1alpha1.SilentCondition(cluster), "True", "silent since noon")
	}
	cases := map[string]struct {
		conditions any
		want       []string
	}{
		"no status":                           {nil, nil},
		"every one of them, the fourth too":   {[]any{is("a"), is("b"), is("c"), is("d")}, []string{"a", "b", "c", "d"}},
		"one that is heard of again":          {[]any{condition(v1alpha1.SilentCondition("a"), "False", ""), is("b")}, []string{"b"}},
		"words in the message are only words": {[]any{condition(v1alpha1.ConditionSynced, "False", "east: deployment heartbeat: silent, not heard")}, nil},
		"a cluster of any name":               {[]any{is("heartbeat"), is("silent")}, []string{"heartbeat", "silent"}},
		"what is no condition":                {[]any{"silent", map[string]any{"type": 7}}, nil},
		"what is no list":                     {"silent", nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := object()
			if tc.conditions != nil {
				obj.Object["status"] = map[string]any{"conditions": tc.conditions}
			}
			got := SilentClusters(obj)
			if diff := cmp.Diff(tc.want, got.UnsortedList(), cmpopts.SortSlices(strings.Compare), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for conditionType, want := range map[string]bool{"Synced": true, "silent.tmc.kcp.io/east": true, "Available": false, "Silent": false} {
		if got := IsHubsCondition(conditionType); got != want {
			t.Errorf("%s: the hub's alone: %t", conditionType, got)
		}
	}
}

func TestIsHubsReason(t *testing.T) {
	for reason, want := range map[string]bool{ReasonMissing: true, "NotBound": true, "PoliciesMissing": true, string(Silent): false, "Forbidden": false, "": false} {
		if IsHubsReason(reason) != want {
			t.Errorf("%q is the hub's: %t", reason, !want)
		}
	}
}

func TestEntryIsInPlace(t *testing.T) {
	for _, belief := range []Belief{Believed, NotReported, InvalidReport, Silent} {
		for _, lag := range []Lag{UpToDate, NotObserved, NoCopy, OldGeneration, OldInputs, NotDivided} {
			want := belief == Believed && (lag == UpToDate || lag == NotObserved)
			if got := (Entry{Belief: belief, Lag: lag}).IsInPlace(); got != want {
				t.Errorf("%q, %q: got %t", belief, lag, got)
			}
		}
	}
}

func TestSayLag(t *testing.T) {
	for want, tc := range map[string]struct {
		lag                 Lag
		applied, generation int64
	}{
		"has no copy yet":                     {NoCopy, 0, 0},
		"has no copy of generation 2 yet":     {NoCopy, 0, 2},
		"has applied generation 1, not yet 2": {OldGeneration, 1, 2},
		"has not applied the present labels":  {OldInputs, 2, 2},
		"may run a former share":              {NotDivided, 2, 2},
		"its own controller has not observed": {NotObserved, 2, 2},
	} {
		if got := SayLag(tc.lag, tc.applied, tc.generation); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
