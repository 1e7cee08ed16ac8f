package placement

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

const tenantType = "root:tmc:tmc-tenant"

func leaving(name string) objectChange {
	return annotated(map[string]string{v1alpha1.DeletionAnnotation(name): "x"})
}

func heldBy(names ...string) objectChange {
	return func(obj *unstructuredObject) {
		for _, name := range names {
			obj.SetFinalizers(append(obj.GetFinalizers(), v1alpha1.Finalizer(name)))
		}
	}
}

func TestDecideLeftOut(t *testing.T) {
	notBound := func(names ...string) map[string]v1alpha1.LeftOut {
		leftOut := map[string]v1alpha1.LeftOut{}
		for _, name := range names {
			leftOut[name] = v1alpha1.LeftOutNotBound
		}
		return leftOut
	}
	targets := func(value string) objectChange {
		return annotated(map[string]string{v1alpha1.TargetClustersAnnotation: value})
	}
	const hint = "not bound here: kubectl tmc bind, or make the workspace of type root:tmc:tmc-tenant"
	cases := map[string]struct {
		east        Cluster
		changes     []objectChange
		placements  []*v1alpha1.WorkloadPlacement
		assumed     []string
		want        []string
		leftOut     map[string]v1alpha1.LeftOut
		unsatisfied string
		problem     string
	}{
		"by default: the other has it":                   {east: cluster("east", unbound), want: []string{"west"}, leftOut: notBound("east")},
		"bound by now: it is taken in":                   {east: cluster("east"), changes: []objectChange{on("west")}, want: []string{"east", "west"}},
		"by the star":                                    {east: cluster("east", unbound), changes: []objectChange{targets("*")}, want: []string{"west"}, leftOut: notBound("east")},
		"there: nothing moves because a binding is gone": {east: cluster("east", unbound), changes: []objectChange{on("east")}, want: []string{"east", "west"}},
		"there by its finalizer: somebody took the label off: its syncer holds it": {east: cluster("east", unbound), changes: []objectChange{heldBy("east")}, want: []string{"east", "west"}},
		"leaving: it would enter again":                                            {east: cluster("east", unbound), changes: []objectChange{on("east"), leaving("east")}, want: []string{"west"}, leftOut: notBound("east")},
		"decided before: what is not written yet is not there":                     {east: cluster("east", unbound), assumed: []string{"east"}, want: []string{"west"}, leftOut: notBound("east")},
		"named: its user has to know":                                              {east: cluster("east", unbound), changes: []objectChange{targets("east,west")}, want: []string{"west"}, leftOut: notBound("east"), problem: "east is " + hint},
		"named alone: it goes nowhere, and says so":                                {east: cluster("east", unbound), changes: []objectChange{targets("east")}, leftOut: notBound("east"), unsatisfied: "east is " + hint, problem: "east is " + hint},
		"named and there: it stays":                                                {east: cluster("east", unbound), changes: []objectChange{targets("east"), on("east")}, want: []string{"east"}},
		"being deleted: it asks for nothing":                                       {east: cluster("east", unbound), changes: []objectChange{deleted, targets("east")}},
		"there and drained: the operator sends it away":                            {east: cluster("east", unbound, draining), changes: []objectChange{on("east")}, want: []string{"west"}},
		"not ready either: that comes and goes":                                    {east: cluster("east", unbound, silent(0)), want: []string{"west"}, leftOut: notBound("east")},
		"draining: to bind it would be of no use":                                  {east: cluster("east", unbound, draining), want: []string{"west"}},
		"not for the workspace":                                                    {east: cluster("east", unbound, allowing("root:other")), want: []string{"west"}},
		"a placement of all: it misses one":                                        {east: cluster("east", unbound), placements: []*v1alpha1.WorkloadPlacement{placed("all")}, want: []string{"west"}, leftOut: notBound("east")},
		"a placement of one: it has what it asks for":                              {east: cluster("east", unbound), placements: []*v1alpha1.WorkloadPlacement{placed("one", number(1))}, want: []string{"west"}},
		"a placement of two: it lacks one":                                         {east: cluster("east", unbound), placements: []*v1alpha1.WorkloadPlacement{placed("two", number(2))}, want: []string{"west"}, leftOut: notBound("east"), unsatisfied: "1 of 2 clusters; east is " + hint},
		"a placement that stays: it is there already":                              {east: cluster("east", unbound), changes: []objectChange{on("east")}, placements: []*v1alpha1.WorkloadPlacement{placed("one", number(1))}, want: []string{"east"}},
		"another reason: it says which":                                            {east: cluster("east", leftOut(v1alpha1.LeftOutKindNotServed)), want: []string{"west"}, leftOut: map[string]v1alpha1.LeftOut{"east": v1alpha1.LeftOutKindNotServed}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := request(deployment(tc.changes...), []Cluster{tc.east, cluster("west")}, tc.placements...)
			r.TenantType, r.Assumed = tenantType, Assumed{Clusters: tc.assumed}
			got := Decide(r)
			sameClusters(t, "clusters", tc.want, got.Clusters)
			if diff := cmp.Diff(tc.leftOut, got.LeftOut, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("left out (-want +got):\n%s", diff)
			}
			if !strings.HasSuffix(got.Unsatisfied, tc.unsatisfied) || (tc.unsatisfied == "") != (got.Unsatisfied == "") {
				t.Errorf("missing is %q, want %q", got.Unsatisfied, tc.unsatisfied)
			}
			if problem := strings.Join(got.Problems, "\n"); !strings.HasSuffix(problem, tc.problem) || (tc.problem == "") != (problem == "") {
				t.Errorf("problems are %q, want %q", problem, tc.problem)
			}
		})
	}
}

func TestDecideAllLeftOut(t *testing.T) {
	r := request(deployment(), []Cluster{
		cluster("a", unbound), cluster("b", leftOut(v1alpha1.LeftOutKindNotServed)), cluster("c", unbound), cluster("d", unbound), cluster("e", unbound), cluster("f", cordoned),
	})
	r.TenantType = tenantType
	got := Decide(r)
	sameClusters(t, "none sees it", nil, got.Clusters)
	want := "no cluster comes into question; f: cordoned; b does not take Deployment.apps; " +
		"a, c, d and 1 more are not bound here: kubectl tmc bind, or make the workspace of type root:tmc:tmc-tenant"
	if got.Unsatisfied != want {
		t.Errorf("it says %q, want %q", got.Unsatisfied, want)
	}
}

func TestPlanNamesFewLeftOut(t *testing.T) {
	var clusters []Cluster
	for i := range 30 {
		clusters = append(clusters, cluster(fmt.Sprintf("c%02d", i), unbound))
	}
	clusters = append(clusters, cluster("west"))
	obj := deployment()
	decision := Decide(request(obj, clusters))
	apply(obj, Plan(obj, decision, decision.Clusters, groupsOf, theTime))
	noted := func() protocol.Placement { return protocol.Read(obj).Placement() }
	if len(noted().LeftOut) != v1alpha1.MaxLeftOut || !noted().MoreLeftOut {
		t.Errorf("of 30 there are noted %+v", noted())
	}
	write := func(reason string, want bool, clusters []Cluster) {
		t.Helper()
		decision := Decide(request(obj, clusters))
		change := Plan(obj, decision, decision.Clusters, groupsOf, theTime)
		if change.IsEmpty() == want {
			t.Errorf("%s: writes %+v", reason, change)
		}
		apply(obj, change)
	}
	write("nothing has changed", false, clusters)
	write("one that comes before all is one of many", false, append([]Cluster{cluster("a", unbound)}, clusters...))
	write("one that is not noted has gone", false, append(clusters[:20:20], clusters[21:]...))
	write("one that is noted has gone", true, clusters[1:])
	if _, named := noted().LeftOut["c00"]; named || len(noted().LeftOut) != v1alpha1.MaxLeftOut {
		t.Errorf("then there are noted %+v", noted())
	}
	write("all are bound but one", true, append(fleet("east"), clusters[29:]...))
	if diff := cmp.Diff(map[string]v1alpha1.LeftOut{"c29": v1alpha1.LeftOutNotBound}, noted().LeftOut); diff != "" || noted().MoreLeftOut {
		t.Errorf("of one there are noted %+v", noted())
	}
}

func TestClusterWhyLeftOut(t *testing.T) {
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	widgets := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
	cases := map[string]struct {
		serves   []string
		resource schema.GroupVersionResource
		lacks    bool
	}{
		"served: it says so":                                    {[]string{"configmaps/v1", "deployments.apps/v1"}, deployments, false},
		"not served: it does not say so":                        {[]string{"configmaps/v1"}, deployments, true},
		"another version: its syncer asks for kcp's":            {[]string{"deployments.apps/v2"}, deployments, true},
		"not known yet: it has said nothing":                    {nil, deployments, false},
		"never told: registrations say nothing of other groups": {[]string{"deployments.apps/v1"}, widgets, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := (Cluster{Resources: sets.New(tc.serves...)}).Lacks(tc.resource); got != tc.lacks {
				t.Errorf("lacks it: %t", got)
			}
		})
	}
}

func TestPlanGroups(t *testing.T) {
	set, gone := new(v1alpha1.PlacementLabelValue), (*string)(nil)
	inGroup := func(group, value string) objectChange {
		return func(obj *unstructuredObject) {
			labels := obj.GetLabels()
			if labels == nil {
				labels = map[string]string{}
			}
			labels[v1alpha1.GroupLabel(group)] = value
			obj.SetLabels(labels)
		}
	}
	sync := v1alpha1.PlacementLabelValue
	cases := map[string]struct {
		changes []objectChange
		want    []string
		labels  map[string]*string
	}{
		"enters: both come in one write":                                  {nil, []string{"g-eu-1"}, map[string]*string{v1alpha1.PlacementLabel("g-eu-1"): set, v1alpha1.GroupLabel("eu"): set}},
		"enters two groups: each has its own":                             {nil, []string{"g-eu-1", "g-us-1", "west"}, map[string]*string{v1alpha1.PlacementLabel("g-eu-1"): set, v1alpha1.PlacementLabel("g-us-1"): set, v1alpha1.PlacementLabel("west"): set, v1alpha1.GroupLabel("eu"): set, v1alpha1.GroupLabel("us"): set}},
		"joins a group: what is there gets it":                            {[]objectChange{on("g-eu-1")}, []string{"g-eu-1"}, map[string]*string{v1alpha1.GroupLabel("eu"): set}},
		"at rest: nothing is to be written":                               {[]objectChange{on("g-eu-1"), inGroup("eu", sync)}, []string{"g-eu-1"}, map[string]*string{}},
		"the last is to leave: its syncer has to see that":                {[]objectChange{on("g-eu-1"), inGroup("eu", sync), heldBy("g-eu-1")}, nil, map[string]*string{}},
		"the last is leaving":                                             {[]objectChange{on("g-eu-1"), inGroup("eu", sync), heldBy("g-eu-1"), leaving("g-eu-1")}, nil, map[string]*string{}},
		"the last has left: they go in one write":                         {[]objectChange{on("g-eu-1"), inGroup("eu", sync), leaving("g-eu-1")}, nil, map[string]*string{v1alpha1.PlacementLabel("g-eu-1"): gone, v1alpha1.GroupLabel("eu"): gone}},
		"one of two has left: the other sees by it":                       {[]objectChange{on("g-eu-1", "g-eu-2"), inGroup("eu", sync), leaving("g-eu-1")}, []string{"g-eu-2"}, map[string]*string{v1alpha1.PlacementLabel("g-eu-1"): gone}},
		"out of the group: no cluster of it is left":                      {[]objectChange{on("west"), inGroup("eu", sync)}, []string{"west"}, map[string]*string{v1alpha1.GroupLabel("eu"): gone}},
		"forged: it shows the object to whom it is none of the business":  {[]objectChange{inGroup("us", "yes")}, nil, map[string]*string{v1alpha1.GroupLabel("us"): gone}},
		"forged in its value: the view is selected by the value":          {[]objectChange{on("g-eu-1"), inGroup("eu", "yes")}, []string{"g-eu-1"}, map[string]*string{v1alpha1.GroupLabel("eu"): set}},
		"one more of the group: it is there":                              {[]objectChange{on("g-eu-1"), inGroup("eu", sync)}, []string{"g-eu-1", "g-eu-2"}, map[string]*string{v1alpha1.PlacementLabel("g-eu-2"): set}},
		"moves to another: the old one sees it until it has let go":       {[]objectChange{on("g-eu-1"), inGroup("eu", sync), heldBy("g-eu-1")}, []string{"g-us-1"}, map[string]*string{v1alpha1.PlacementLabel("g-us-1"): set, v1alpha1.GroupLabel("us"): set}},
		"held without a label: its syncer has to see that it is to leave": {[]objectChange{heldBy("g-eu-1")}, nil, map[string]*string{v1alpha1.PlacementLabel("g-eu-1"): set, v1alpha1.GroupLabel("eu"): set}},
		"not of the same letter: another group is another":                {[]objectChange{on("g-eu-1"), inGroup("eur", sync)}, []string{"g-eu-1"}, map[string]*string{v1alpha1.GroupLabel("eu"): set, v1alpha1.GroupLabel("eur"): gone}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := deployment(tc.changes...)
			decision := Decision{Follows: true, Clusters: tc.want}
			change := Plan(obj, decision, tc.want, groupsOf, theTime)
			if diff := cmp.Diff(tc.labels, change.Labels); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			apply(obj, change)
			if again := Plan(obj, decision, tc.want, groupsOf, theTime); !again.IsEmpty() {
				t.Errorf("once more %+v", again)
			}
		})
	}
}

func TestPlanGroupsMoveNothing(t *testing.T) {
	obj := deployment(on("g-eu-1"))
	change := Plan(obj, Decision{Follows: true, Clusters: []string{"g-eu-1"}}, []string{"g-eu-1"}, groupsOf, theTime)
	if change.IsEmpty() || change.Moves() {
		t.Errorf("%+v is empty, or moves something", change)
	}
	if got := change.Entered(); got != nil {
		t.Errorf("it enters %q", got)
	}
}

func TestForgetGroups(t *testing.T) {
	obj := deployment(on("g-eu-1", "g-eu-2", "g-us-1"), heldBy("g-eu-2"))
	apply(obj, Plan(obj, Decision{Follows: true}, []string{"g-eu-1", "g-eu-2", "g-us-1"}, groupsOf, theTime))
	if got := Forget(obj, "g-eu-1", groupsOf).Labels; len(got) != 1 {
		t.Errorf("of one of two it takes off %v", got)
	}
	if got := Forget(obj, "g-us-1", groupsOf).Labels; len(got) != 2 {
		t.Errorf("of the last it takes off %v", got)
	}
}

func TestRetireNotesWishes(t *testing.T) {
	finalized := func(finalizer string) objectChange {
		return func(obj *unstructuredObject) { obj.SetFinalizers(append(obj.GetFinalizers(), finalizer)) }
	}
	cases := map[string]struct {
		obj  *unstructuredObject
		want string
	}{
		"it is deleted for good":               {deployment(on("west"), heldBy("west"), deleted), ""},
		"its pods are to stay":                 {deployment(on("west"), heldBy("west"), finalized("orphan"), deleted), "Orphan"},
		"its pods are to go first":             {deployment(on("west"), heldBy("west"), finalized("foregroundDeletion"), deleted), "Foreground"},
		"no cluster has to know":               {deployment(finalized("orphan"), deleted), ""},
		"somebody else keeps it for a while":   {deployment(on("west"), heldBy("west"), finalized("orphan"), finalized("example.com/drain"), deleted), "Orphan"},
		"it is known already that pods remain": {deployment(on("west"), heldBy("west"), deleted, annotated(map[string]string{v1alpha1.PropagationAnnotation: "Orphan"})), "Orphan"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			apply(tc.obj, Retire(tc.obj, groupsOf))
			if got := tc.obj.GetAnnotations()[v1alpha1.PropagationAnnotation]; got != tc.want {
				t.Errorf("noted %q, want %q", got, tc.want)
			}
			if again := Retire(tc.obj, groupsOf); !again.IsEmpty() {
				t.Errorf("once more %+v", again)
			}
		})
	}
}

func TestRetireTakesWhatGoesFromHelm(t *testing.T) {
	const name, going = "meta.helm.sh/release-name", "being deleted, and its clusters are letting go of it; try again in a moment"
	release := func(obj *unstructuredObject) {
		labels := obj.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels["app.kubernetes.io/managed-by"] = "Helm"
		obj.SetLabels(labels)
		annotated(map[string]string{name: "web"})(obj)
	}
	cases := map[string]struct {
		obj  *unstructuredObject
		want string
	}{
		"it goes":                        {deployment(on("west"), heldBy("west"), release, deleted), going},
		"no cluster holds it":            {deployment(release, deleted), "web"},
		"it is not a release's":          {deployment(on("west"), heldBy("west"), deleted), ""},
		"somebody else has an eye on it": {deployment(on("west"), heldBy("west"), annotated(map[string]string{name: "web"}), deleted), "web"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			apply(tc.obj, Retire(tc.obj, groupsOf))
			if got := tc.obj.GetAnnotations()["meta.helm.sh/release-name"]; got != tc.want {
				t.Errorf("the release is %q, want %q", got, tc.want)
			}
			if again := Retire(tc.obj, groupsOf); !again.IsEmpty() {
				t.Errorf("once more %+v", again)
			}
		})
	}
}

func TestRetireRegroups(t *testing.T) {
	obj := deployment(on("g-eu-1"), heldBy("g-eu-1", "west"), deleted)
	apply(obj, Retire(obj, groupsOf))
	if got := obj.GetLabels()[v1alpha1.GroupLabel("eu")]; got != v1alpha1.PlacementLabelValue {
		t.Errorf("its group's label is %q", got)
	}
	if again := Retire(obj, groupsOf); !again.IsEmpty() {
		t.Errorf("once more %+v", again)
	}
}

// TestRetireRestoresLabels has an administrator take keys off an object, and delete it before the hub restores them: whoever holds it
// has to see it to let go.
func TestRetireRestoresLabels(t *testing.T) {
	drain := func(obj *unstructuredObject) { obj.SetFinalizers(append(obj.GetFinalizers(), "example.com/drain")) }
	leaving := annotated(map[string]string{v1alpha1.DeletionAnnotation("west"): "2026-01-02T03:04:05Z"})
	cases := map[string]struct {
		obj  *unstructuredObject
		want []string
	}{
		"the label":                             {deployment(heldBy("west"), deleted), []string{"cluster.tmc.kcp.io/west"}},
		"one of two":                            {deployment(on("east"), heldBy("east", "west"), deleted), []string{"cluster.tmc.kcp.io/east", "cluster.tmc.kcp.io/west"}},
		"the label of what is leaving":          {deployment(heldBy("west"), leaving, deleted), []string{"cluster.tmc.kcp.io/west"}},
		"label and group":                       {deployment(heldBy("g-eu-1"), deleted), []string{"cluster.tmc.kcp.io/g-eu-1", "group.tmc.kcp.io/eu"}},
		"the label, and somebody keeps it":      {deployment(heldBy("west"), drain, deleted), []string{"cluster.tmc.kcp.io/west"}},
		"the finalizer: nobody waits":           {deployment(on("west"), deleted), []string{"cluster.tmc.kcp.io/west"}},
		"label and finalizer: nobody waits":     {deployment(drain, deleted), nil},
		"nothing, and it is as it was":          {deployment(on("west"), heldBy("west"), deleted), []string{"cluster.tmc.kcp.io/west"}},
		"nothing but the request to leave":      {deployment(on("west"), heldBy("west"), deleted), []string{"cluster.tmc.kcp.io/west"}},
		"the finalizer of one, and the others'": {deployment(on("west"), heldBy("east"), deleted), []string{"cluster.tmc.kcp.io/east", "cluster.tmc.kcp.io/west"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			held := protocol.Read(tc.obj).Held()
			apply(tc.obj, Retire(tc.obj, groupsOf))
			if diff := cmp.Diff(tc.want, slices.Sorted(maps.Keys(tc.obj.GetLabels()))); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			if now := protocol.Read(tc.obj).Held(); !slices.Equal(now, held) {
				t.Errorf("held by %v: what is being deleted takes no finalizer", now)
			}
			if again := Retire(tc.obj, groupsOf); !again.IsEmpty() {
				t.Errorf("once more %+v", again)
			}
		})
	}
}
