package evaluate

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// row is a line of the truth table: what the columns have to be, nil for whatever, and the action.
type row struct {
	upstream                                                        []Presence
	copies                                                          []Difference
	strays                                                          []Strays
	bare, held, blocked, hasRun, ending, strayEnd, lacks, contested *bool
	want                                                            Action
}

func (r row) matches(s Situation) bool {
	isOther := false
	for _, column := range []struct {
		want *bool
		got  bool
	}{{r.bare, s.Bare}, {r.held, s.Held}, {r.blocked, s.Blocked}, {r.hasRun, s.HasRun}, {r.ending, s.Ending}, {r.strayEnd, s.StraysEnding}, {r.lacks, s.Lacks}, {r.contested, s.Contested}} {
		isOther = isOther || column.want != nil && *column.want != column.got
	}
	return !isOther && among(r.upstream, s.Upstream) && among(r.copies, s.Copy) && among(r.strays, s.Strays)
}

// among reports whether a value is one of those that a column has, which is nil for whatever.
func among[T comparable](column []T, value T) bool {
	return column == nil || slices.Contains(column, value)
}

// TestSituationAction has every situation that there can be match one row of the table, and no other.
func TestSituationAction(t *testing.T) {
	yes, no := new(true), new(false)
	none, needed, dispensable := []Strays{NoStrays}, []Strays{Needed}, []Strays{Dispensable}
	some := []Strays{Needed, Dispensable}
	ours, notOurs := []Difference{NoDifference, Namesake, Outdated, Drifted, Undetermined}, []Difference{Missing, Foreign}
	unseen, leaving, here := []Presence{Unseen}, []Presence{Leaving}, []Presence{Placed}
	missing, none2, namesake, different := []Difference{Missing}, []Difference{NoDifference}, []Difference{Namesake}, []Difference{Outdated, Drifted}
	table := []row{
		{upstream: unseen, copies: notOurs, strays: none, want: Nothing},
		{upstream: unseen, copies: notOurs, strays: some, want: Inquire},
		{upstream: unseen, copies: ours, want: Inquire},

		{upstream: leaving, copies: ours, ending: no, want: Delete},
		{upstream: leaving, copies: ours, ending: yes, strays: some, strayEnd: no, want: Delete},
		{upstream: leaving, copies: ours, ending: yes, strays: some, strayEnd: yes, want: Nothing},
		{upstream: leaving, copies: ours, ending: yes, strays: none, want: Nothing},
		{upstream: leaving, copies: notOurs, strays: some, strayEnd: no, want: Delete},
		{upstream: leaving, copies: notOurs, strays: some, strayEnd: yes, want: Nothing},
		{upstream: leaving, copies: notOurs, strays: none, held: yes, want: Release},
		{upstream: leaving, copies: notOurs, strays: none, held: no, want: Nothing},

		{upstream: here, bare: yes, want: Nothing},
		{upstream: here, bare: no, held: no, want: Hold},
		{upstream: here, bare: no, held: yes, blocked: yes, want: Complain},
		{upstream: here, bare: no, held: yes, blocked: no, copies: []Difference{Foreign}, want: Refuse},
		{upstream: here, bare: no, held: yes, blocked: no, copies: missing, hasRun: yes, strays: none, want: Nothing},
		{upstream: here, bare: no, held: yes, blocked: no, copies: missing, hasRun: yes, strays: needed, want: Linger},
		{upstream: here, bare: no, held: yes, blocked: no, copies: missing, hasRun: yes, strays: dispensable, want: Clear},
		{upstream: here, bare: no, held: yes, blocked: no, copies: missing, hasRun: no, lacks: yes, want: Wait},
		{upstream: here, bare: no, held: yes, blocked: no, copies: missing, hasRun: no, lacks: no, contested: yes, want: BackOff},
		{upstream: here, bare: no, held: yes, blocked: no, copies: missing, hasRun: no, lacks: no, contested: no, want: Create},
		{upstream: here, bare: no, held: yes, blocked: no, copies: none2, ending: no, strays: none, want: Nothing},
		{upstream: here, bare: no, held: yes, blocked: no, copies: none2, ending: no, strays: needed, want: Linger},
		{upstream: here, bare: no, held: yes, blocked: no, copies: none2, ending: no, strays: dispensable, want: Clear},
		{upstream: here, bare: no, held: yes, blocked: no, copies: none2, ending: yes, want: Nothing},
		{upstream: here, bare: no, held: yes, blocked: no, copies: namesake, ending: yes, want: Nothing},
		{upstream: here, bare: no, held: yes, blocked: no, copies: namesake, ending: no, want: Delete},
		{upstream: here, bare: no, held: yes, blocked: no, copies: different, ending: yes, want: Nothing},
		{upstream: here, bare: no, held: yes, blocked: no, copies: different, ending: no, lacks: yes, want: Wait},
		{upstream: here, bare: no, held: yes, blocked: no, copies: different, ending: no, lacks: no, contested: yes, want: BackOff},
		{upstream: here, bare: no, held: yes, blocked: no, copies: different, ending: no, lacks: no, contested: no, want: Update},
	}
	count := 0
	for _, s := range situations() {
		var found []row
		for _, r := range table {
			if r.matches(s) {
				found = append(found, r)
			}
		}
		count++
		if len(found) != 1 || s.Action() != found[0].want {
			t.Errorf("%+v: %s; rows %+v", s, s.Action(), found)
		}
	}
	if count < 1000 {
		t.Errorf("%d situations, want all of them", count)
	}
}

// situations returns all that there can be.
func situations() []Situation {
	flags := []bool{false, true}
	all := []Situation{{}}
	each := func(change func(Situation) []Situation) {
		var more []Situation
		for _, s := range all {
			more = append(more, change(s)...)
		}
		all = more
	}
	flag := func(set func(*Situation, bool)) {
		each(func(s Situation) (both []Situation) {
			for _, value := range flags {
				set(&s, value)
				both = append(both, s)
			}
			return both
		})
	}
	each(func(s Situation) (more []Situation) {
		for _, upstream := range []Presence{Unseen, Leaving, Placed} {
			for _, difference := range []Difference{NoDifference, Missing, Foreign, Namesake, Outdated, Drifted, Undetermined} {
				for _, strays := range []Strays{NoStrays, Needed, Dispensable} {
					s.Upstream, s.Copy, s.Strays = upstream, difference, strays
					more = append(more, s)
				}
			}
		}
		return more
	})
	flag(func(s *Situation, value bool) { s.Bare = value })
	flag(func(s *Situation, value bool) { s.Held = value })
	flag(func(s *Situation, value bool) { s.Blocked = value })
	flag(func(s *Situation, value bool) { s.HasRun = value })
	flag(func(s *Situation, value bool) { s.Ending = value })
	flag(func(s *Situation, value bool) { s.StraysEnding = value })
	flag(func(s *Situation, value bool) { s.Lacks = value })
	flag(func(s *Situation, value bool) { s.Contested = value })
	return slices.DeleteFunc(all, isImpossible)
}

func isImpossible(s Situation) bool {
	return s.Copy == Missing && s.Ending || s.Strays == NoStrays && s.StraysEnding ||
		s.Upstream == Placed && !s.Blocked && !s.Bare && s.Copy == Undetermined // something is desired then
}

func TestDecide(t *testing.T) {
	here := upstreamDeployment(placed, held)
	changed := upstreamDeployment(placed, held, generation(2))
	leaving := annotated(v1alpha1.DeletionAnnotation("east"), "2026-01-01T00:00:00Z")
	badOverride := annotated(v1alpha1.OverrideAnnotation("east"), "x")
	cases := map[string]struct {
		upstream, downstream *unstructured.Unstructured
		want                 Action
	}{
		"nothing is done about nothing":                           {nil, nil, Nothing},
		"the finalizer comes before the first write downstream":   {upstreamDeployment(placed), nil, Hold},
		"the finalizer is set when a copy is there already":       {upstreamDeployment(placed), copyOf(t, here), Hold},
		"a held object gets its copy":                             {here, nil, Create},
		"a copy as it should be is left alone":                    {here, copyOf(t, here), Nothing},
		"what was taken from us is taken back":                    {here, copyOf(t, here, drifted), Update},
		"the copy follows a change upstream":                      {changed, copyOf(t, here), Update},
		"a foreign object is never overwritten":                   {here, upstreamDeployment(), Refuse},
		"the copy of another workspace keeps its name":            {here, copyOf(t, here, annotated(v1alpha1.SourceWorkspaceAnnotation, "other")), Refuse},
		"the copy for another cluster name keeps its name":        {here, copyOf(t, here, annotated(v1alpha1.TargetClusterAnnotation, "west")), Refuse},
		"the copy of a deleted namesake goes":                     {here, copyOf(t, here, annotated(v1alpha1.SourceUIDAnnotation, "earlier")), Delete},
		"a UID that was taken off is drift":                       {here, copyOf(t, here, annotated(v1alpha1.SourceUIDAnnotation, ""), drifted), Update},
		"the hash in the label says whose a stripped copy is":     {here, copyOf(t, here, stripped), Update},
		"a copy on its way out is made anew once it is gone":      {here, copyOf(t, here, deleting), Nothing},
		"a deleted object's copy goes first":                      {upstreamDeployment(placed, held, deleting), copyOf(t, here), Delete},
		"a deleted object waits for its copy to go":               {upstreamDeployment(placed, held, deleting), copyOf(t, here, deleting), Nothing},
		"a deleted object is released when its copy is gone":      {upstreamDeployment(placed, held, deleting), nil, Release},
		"somebody's finalizer keeps the copy of a deleted object": {upstreamDeployment(placed, held, deletingBy("example.com/drain")), copyOf(t, here), Nothing},
		"what is kept is kept up to date":                         {upstreamDeployment(placed, held, generation(2), deletingBy("example.com/drain", "orphan")), copyOf(t, here), Update},
		"what is kept is made anew where it was lost":             {upstreamDeployment(placed, held, deletingBy("example.com/drain")), nil, Create},
		"what is kept leaves a cluster all the same":              {upstreamDeployment(placed, held, leaving, deletingBy("example.com/drain")), copyOf(t, here), Delete},
		"what is kept and not held by us leaves":                  {upstreamDeployment(placed, deletingBy("example.com/drain")), copyOf(t, here), Delete},
		"the API server's finalizers keep nothing":                {upstreamDeployment(placed, held, deletingBy("orphan", "foregroundDeletion")), copyOf(t, here), Delete},
		"an object that is being deleted gets no finalizer":       {upstreamDeployment(placed, deleting), nil, Nothing},
		"what is not ours stays when the object goes":             {upstreamDeployment(placed, held, deleting), upstreamDeployment(), Release},
		"an object that leaves has its copy removed":              {upstreamDeployment(placed, held, leaving), copyOf(t, here), Delete},
		"an object that leaves is released":                       {upstreamDeployment(placed, held, leaving), nil, Release},
		"the hub does the rest of a leave":                        {upstreamDeployment(placed, leaving), nil, Nothing},
		"a copy that lost its origin is no orphan":                {upstreamDeployment(placed, held, deleting), copyOf(t, here, stripped), Delete},
		"kcp is asked before the copy of an unseen object goes":   {nil, copyOf(t, here), Inquire},
		"another object's copy is no business of ours":            {nil, copyOf(t, here, annotated(v1alpha1.SourceNameAnnotation, "other")), Nothing},
		"a foreign object is no business of ours":                 {nil, upstreamDeployment(), Nothing},
		"a held object without the label leaves":                  {upstreamDeployment(held), copyOf(t, here), Delete},
		"an object of another cluster is no business of ours":     {upstreamDeployment(labelled(v1alpha1.PlacementLabel("west"))), nil, Nothing},
		"nothing is sent down with a bad override":                {upstreamDeployment(placed, held, badOverride), nil, Complain},
		"the copy that runs stays with a bad override":            {upstreamDeployment(placed, held, badOverride), copyOf(t, here), Complain},
		"a bad override does not keep an object from leaving":     {upstreamDeployment(placed, held, badOverride, deleting), copyOf(t, here), Delete},
		"a token is never synced":                                 {upstreamDeployment(placed, asToken), nil, Nothing},
		"an override that makes a token is refused":               {upstreamDeployment(placed, held, asSecret, annotated(v1alpha1.OverrideAnnotation("east"), `[{"op":"add","path":"/type","value":"kubernetes.io/service-account-token"}]`)), nil, Complain},
		"a share that is no number is refused":                    {upstreamDeployment(placed, held, annotated(v1alpha1.ReplicasAnnotation("east"), "many")), nil, Complain},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := evaluated(t, inputOf(c.upstream, c.downstream), nil).Decide(Surroundings{}); got.Action != c.want {
				t.Errorf("got %s, want %s", got.Action, c.want)
			}
		})
	}
}

func asSecret(obj *unstructured.Unstructured) {
	obj.SetAPIVersion("v1")
	obj.SetKind("Secret")
	delete(obj.Object, "spec")
}

func asToken(obj *unstructured.Unstructured) {
	asSecret(obj)
	obj.Object["type"] = "kubernetes.io/service-account-token"
}

func TestDecideStrays(t *testing.T) {
	here := upstreamDeployment(placed, held)
	serving := func(available int64) option {
		return withStatus(map[string]any{"availableReplicas": available})
	}
	config := func(options ...option) *unstructured.Unstructured {
		return upstreamDeployment(append([]option{asSecret, func(obj *unstructured.Unstructured) { obj.SetKind("ConfigMap") }, placed, held}, options...)...)
	}
	stray := func(options ...option) Stray { return Stray{Copy: copyOf(t, here, append(options, elsewhere)...)} }
	cases := map[string]struct {
		in      Input
		strays  []Stray
		want    Action
		message string
	}{
		"the new copy comes first":                        {inputOf(here, nil), []Stray{stray()}, Create, ""},
		"the old copy serves until the new one does":      {inputOf(here, copyOf(t, here)), []Stray{stray(serving(3))}, Linger, "it moves to namespace default, and stays in namespace elsewhere until it is available there"},
		"the old copy goes when the new one serves":       {inputOf(here, copyOf(t, here, serving(3))), []Stray{stray(serving(3))}, Clear, ""},
		"what is not a workload stays with its users":     {inputOf(config(), copyOf(t, config())), []Stray{{Copy: copyOf(t, config(), elsewhere), HasWorkloads: true}}, Linger, ""},
		"what is not a workload goes after its users":     {inputOf(config(), copyOf(t, config())), []Stray{{Copy: copyOf(t, config(), elsewhere)}}, Clear, ""},
		"all copies of a deleted object go":               {inputOf(upstreamDeployment(placed, held, deleting), nil), []Stray{stray()}, Delete, ""},
		"nothing is done while they are being deleted":    {inputOf(upstreamDeployment(placed, held, deleting), nil), []Stray{stray(deleting)}, Nothing, ""},
		"kcp is asked about an object that is not seen":   {inputOf(nil, nil), []Stray{stray()}, Inquire, ""},
		"what is left of a Job that has run is cleared":   {inputOf(upstreamDeployment(asJob, placed, held, reported("Complete", 1)), nil), []Stray{{Copy: copyOf(t, upstreamDeployment(asJob), elsewhere)}}, Clear, ""},
		"a Job that runs where it used to go is not lost": {inputOf(upstreamDeployment(asJob, placed, held), nil), []Stray{{Copy: copyOf(t, upstreamDeployment(asJob), elsewhere)}}, Create, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := evaluated(t, c.in, nil).Decide(Surroundings{Strays: c.strays})
			var messages []string
			for _, problem := range got.Problems {
				messages = append(messages, problem.Message)
			}
			if got.Action != c.want || strings.Join(messages, " ") != c.message {
				t.Errorf("got %s and %q, want %s and %q", got.Action, messages, c.want, c.message)
			}
		})
	}
}

func TestDecideNeeds(t *testing.T) {
	here := upstreamDeployment(placed, held)
	need := func(downstreamObj *unstructured.Unstructured, problems ...protocol.Problem) Need {
		return Need{Input: inputOf(here, downstreamObj), Problems: problems}
	}
	conflict := protocol.Problem{Reason: "Conflict", Message: "in the way"}
	cases := map[string]struct {
		downstream *unstructured.Unstructured
		needs      []Need
		want       Decision
	}{
		"what is on its way is no problem":          {nil, []Need{need(nil)}, Decision{Action: Wait, Again: Recheck}},
		"a need that is in place is not waited for": {nil, []Need{need(copyOf(t, here))}, Decision{Action: Create}},
		"a changed object waits as well":            {copyOf(t, here, drifted), []Need{need(copyOf(t, here, drifted))}, Decision{Action: Wait, Again: Recheck}},
		"a copy as it should be waits for nothing":  {copyOf(t, here), []Need{need(nil)}, Decision{Action: Nothing}},
		"a problem of the need is told":             {nil, []Need{need(copyOf(t, here)), need(nil, conflict)}, Decision{Action: Wait, Again: Recheck, Problems: []protocol.Problem{{Reason: ReasonDependency, Message: "deployments.apps default/web is needed first and is not in place: in the way"}}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := evaluated(t, inputOf(here, c.downstream), nil).Decide(Surroundings{Needs: c.needs})
			if (len(got.Awaited) > 0) != (c.want.Action == Wait) {
				t.Errorf("awaits %d needs", len(got.Awaited))
			}
			got.Awaited = nil
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestDecideConflict(t *testing.T) {
	here := upstreamDeployment(placed, held)
	secret := origin
	secret.Workspace = "secret-ws"
	cases := map[string]struct {
		inTheWay       *unstructured.Unstructured
		concerns, says string
	}{
		"the hub finds the copy of another workspace by its hash": {copyOf(t, here, annotated(v1alpha1.SourceWorkspaceAnnotation, "secret-ws")), secret.Hash(), "is the copy of another object"},
		"the copy for another cluster concerns nobody":            {copyOf(t, here, annotated(v1alpha1.TargetClusterAnnotation, "west")), "", "is the copy of another object"},
		"an object that tmc did not make concerns nobody":         {upstreamDeployment(), "", "was not made by tmc"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := evaluated(t, inputOf(here, c.inTheWay), nil).Decide(Surroundings{})
			if got.Action != Refuse || got.Again != RecheckConflict || len(got.Problems) != 1 {
				t.Fatalf("got %+v", got)
			}
			problem := got.Problems[0]
			if problem.Reason != protocol.ReasonConflict || problem.Concerns != c.concerns || !strings.Contains(problem.Message, c.says) {
				t.Errorf("got %+v, want %q, concerning %q", problem, c.says, c.concerns)
			}
			if strings.Contains(problem.Message+problem.Concerns, "secret-ws") {
				t.Errorf("%+v says whose it is", problem)
			}
		})
	}
}
