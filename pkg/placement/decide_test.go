package placement

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// contains fails unless the message says all of the parts.
func contains(t *testing.T, what, message string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(message, part) {
			t.Errorf("%s %q does not say %q", what, message, part)
		}
	}
}

func sameClusters(t *testing.T, what string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestDecideNamedCluster(t *testing.T) {
	cases := map[string]struct {
		cluster  Cluster
		changes  []objectChange
		want     []string
		problems []string
	}{
		"not ready: it will be back, and nothing would replace it": {cluster("east", silent(time.Hour)), nil, []string{"east"}, nil},
		"cordoned: its user knows better":                          {cluster("east", cordoned), nil, []string{"east"}, nil},
		"no schedule":                                              {cluster("east", tainted("gpu", "", v1alpha1.TaintNoSchedule, 0)), nil, []string{"east"}, nil},
		"no execute: the operator sends everything away":           {cluster("east", tainted("repair", "", v1alpha1.TaintNoExecute, 0)), []objectChange{on("east")}, nil, []string{`"east"`, "repair:NoExecute", "expected"}},
		"draining": {cluster("east", draining), []objectChange{on("east")}, nil, []string{`"east"`, "drained", "expected"}},
		"not allowed: the registry has the last word":             {cluster("east", allowing("root:other")), nil, nil, []string{`"east"`, "not for this workspace"}},
		"being deleted: it enters nothing more":                   {cluster("east"), []objectChange{deleted}, nil, nil},
		"on its way out: what is on its way out leaves by itself": {cluster("east"), []objectChange{deleted, on("east")}, []string{"east"}, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			changes := append(slices.Clone(tc.changes), annotated(map[string]string{v1alpha1.TargetClustersAnnotation: "east"}))
			got := Decide(request(deployment(changes...), []Cluster{tc.cluster, cluster("west")}))
			sameClusters(t, "clusters", tc.want, got.Clusters)
			if len(got.Problems) > 0 != (len(tc.problems) > 0) {
				t.Errorf("problems are %q", got.Problems)
			}
			contains(t, "the problem", strings.Join(got.Problems, "\n"), tc.problems...)
			if got.By != protocol.ByAnnotation || len(got.Kept) > 0 {
				t.Errorf("decided %+v, want by the annotation, and nothing kept", got)
			}
		})
	}
}

func TestDecideEveryReadyCluster(t *testing.T) {
	clusters := []Cluster{
		cluster("ready"), cluster("cordoned", cordoned), cluster("drained", draining), cluster("silent", silent(time.Minute)), cluster("gone", silent(time.Hour)),
		cluster("tainted", tainted("a", "b", v1alpha1.TaintNoSchedule, 0)), cluster("repaired", tainted("a", "b", v1alpha1.TaintNoExecute, 0)),
		cluster("theirs", allowing("root:other")), cluster("ours", allowing("root:other", "root:team:*")),
	}
	every := on("ready", "cordoned", "drained", "silent", "gone", "tainted", "repaired", "theirs", "ours", "unknown")
	star := annotated(map[string]string{v1alpha1.TargetClustersAnnotation: "*"})
	cases := map[string]struct {
		changes []objectChange
		want    []string
		again   time.Duration
	}{
		"new: only ready ones are entered":                  {nil, []string{"ours", "ready"}, 0},
		"new by annotation":                                 {[]objectChange{star}, []string{"ours", "ready"}, 0},
		"there: what is there stays while it is tolerable":  {[]objectChange{every}, []string{"cordoned", "ours", "ready", "silent", "tainted"}, 4 * time.Minute},
		"there by the star":                                 {[]objectChange{every, star}, []string{"cordoned", "ours", "ready", "silent", "tainted"}, 4 * time.Minute},
		"being deleted: nothing is entered":                 {[]objectChange{deleted}, nil, 0},
		"leaving the silent: what is leaving does not stay": {[]objectChange{on("cordoned"), annotated(map[string]string{v1alpha1.DeletionAnnotation("cordoned"): "x"})}, []string{"ours", "ready"}, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Decide(request(deployment(tc.changes...), clusters))
			sameClusters(t, "clusters", tc.want, got.Clusters)
			if got.Again != tc.again {
				t.Errorf("again after %s, want %s", got.Again, tc.again)
			}
		})
	}
}

func TestDecideAllowedWorkspaces(t *testing.T) {
	cases := map[string]struct {
		allowed   []string
		workspace string
		want      bool
	}{
		"everybody: nothing is said":                         {nil, "root:a", true},
		"unknown: nothing is said, so nothing need be known": {nil, "", true},
		"its path: one of several":                           {[]string{"root:b", "root:a"}, "root:a", true},
		"another path: a path is not what lies below it":     {[]string{"root:a"}, "root:a:b", false},
		"below: a star is":                                   {[]string{"root:a:*"}, "root:a:b:c", true},
		"not itself: and nothing else":                       {[]string{"root:a:*"}, "root:a", false},
		"a similar name: paths end at colons":                {[]string{"root:a:*"}, "root:ab:c", false},
		"all":                                                {[]string{"*"}, "root:a", true},
		"not known yet: what is not known is not allowed":    {[]string{"root:a"}, "", false},
		"not known yet below: by no pattern":                 {[]string{"*"}, "", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := request(deployment(), []Cluster{cluster("east", allowing(tc.allowed...))})
			r.Workspace = tc.workspace
			if got := len(Decide(r).Clusters) > 0; got != tc.want {
				t.Errorf("used: %t, want %t", got, tc.want)
			}
		})
	}
}

func TestOf(t *testing.T) {
	widget := object("example.com/v1", "Widget")
	byLabels := func(selector metav1.LabelSelector) func(*v1alpha1.WorkloadPlacement) {
		return spec(func(s *v1alpha1.WorkloadPlacementSpec) { s.WorkloadSelector.LabelSelector = &selector })
	}
	older := func(p *v1alpha1.WorkloadPlacement) { p.CreationTimestamp = *ago(2 * time.Hour) }
	gone := func(p *v1alpha1.WorkloadPlacement) { p.DeletionTimestamp = ago(0) }
	bad := metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}
	cases := map[string]struct {
		placements []*v1alpha1.WorkloadPlacement
		workload   bool
		want       string
		ignored    []string
		problems   int
	}{
		"none: nothing to decide by":                                        {nil, true, "", nil, 0},
		"all workloads: no kinds mean all workloads":                        {[]*v1alpha1.WorkloadPlacement{placed("a")}, true, "a", nil, 0},
		"no workload: but nothing else":                                     {[]*v1alpha1.WorkloadPlacement{placed("a")}, false, "", nil, 0},
		"by kind: which has to be given":                                    {[]*v1alpha1.WorkloadPlacement{placed("a", ofKinds("Secret", "Widget"))}, false, "a", nil, 0},
		"by kind and group: with its group or without":                      {[]*v1alpha1.WorkloadPlacement{placed("a", ofKinds("Widget.example.com"))}, false, "a", nil, 0},
		"another group: another's is another kind":                          {[]*v1alpha1.WorkloadPlacement{placed("a", ofKinds("Widget.example.org"))}, true, "", nil, 0},
		"other kinds: kinds are all that it is about":                       {[]*v1alpha1.WorkloadPlacement{placed("a", ofKinds("Secret"))}, true, "", nil, 0},
		"by labels: labels select":                                          {[]*v1alpha1.WorkloadPlacement{placed("a", byLabels(metav1.LabelSelector{MatchLabels: map[string]string{"tier": "web"}}))}, true, "a", nil, 0},
		"other labels: or not":                                              {[]*v1alpha1.WorkloadPlacement{placed("a", byLabels(metav1.LabelSelector{MatchLabels: map[string]string{"tier": "db"}}))}, true, "", nil, 0},
		"the older: first come, first served":                               {[]*v1alpha1.WorkloadPlacement{placed("a"), placed("c"), placed("b", older)}, true, "b", []string{"a", "c"}, 0},
		"of the same age: then by name":                                     {[]*v1alpha1.WorkloadPlacement{placed("b"), placed("a")}, true, "a", []string{"b"}, 0},
		"being deleted: it no longer decides":                               {[]*v1alpha1.WorkloadPlacement{placed("a", gone), placed("b")}, true, "b", nil, 0},
		"an unreadable: it selects nothing, and its user is told":           {[]*v1alpha1.WorkloadPlacement{placed("a", byLabels(bad)), placed("b")}, true, "b", nil, 1},
		"an unreadable of else: only those are told whom it could be about": {[]*v1alpha1.WorkloadPlacement{placed("a", ofKinds("Secret"), byLabels(bad))}, true, "", nil, 0},
	}
	widget.SetLabels(map[string]string{"tier": "web"})
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			chosen, ignored, problems := Of(tc.placements, widget, tc.workload)
			got := ""
			if chosen != nil {
				got = chosen.Name
			}
			if got != tc.want {
				t.Errorf("%q decides, want %q", got, tc.want)
			}
			sameClusters(t, "ignored", tc.ignored, ignored)
			if len(problems) != tc.problems {
				t.Errorf("problems are %q", problems)
			}
			contains(t, "problems", strings.Join(append(problems, "placement a: spec.workloadSelector.labelSelector"), ""), "spec.workloadSelector.labelSelector")
		})
	}
}

func TestDecideProblems(t *testing.T) {
	bad := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}
	got := Decide(request(deployment(), fleet("east"), placed("b"), placed("a", selecting(v1alpha1.ClusterSelector{LabelSelector: bad}))))
	if got.By != protocol.ByPlacement || got.Placement != "a" || len(got.Clusters) > 0 {
		t.Errorf("decided %+v, want nothing, by a", got)
	}
	if len(got.Problems) != 2 {
		t.Fatalf("problems are %q, want 2", got.Problems)
	}
	contains(t, "problem", got.Problems[0], "placement a", "ignored: b")
	contains(t, "problem", got.Problems[1], "placement a", "spec.clusterSelector.labelSelector", "Near")
}

func TestFilterEntering(t *testing.T) {
	eu := map[string]string{"tier": "gold"}
	clusters := []Cluster{
		cluster("a", in("eu"), labelled(eu)), cluster("b", in("eu")), cluster("c", in("us"), labelled(eu)),
		cluster("gpu", in("lab"), tainted("gpu", "v1", v1alpha1.TaintNoSchedule, 0)),
		cluster("cord", in("lab"), cordoned),
		cluster("repair", in("lab"), tainted("repair", "", v1alpha1.TaintNoExecute, time.Minute)),
		cluster("silent", in("lab"), silent(time.Second)),
	}
	lab := selecting(v1alpha1.ClusterSelector{Locations: []string{"lab"}})
	gold := v1alpha1.ClusterSelector{LabelSelector: &metav1.LabelSelector{MatchLabels: eu}}
	everything := v1alpha1.Toleration{Operator: corev1.TolerationOpExists}
	cases := map[string]struct {
		placement *v1alpha1.WorkloadPlacement
		want      []string
	}{
		"by labels: labels of the registration":             {placed("p", selecting(gold)), []string{"a", "c"}},
		"by location: any of them":                          {placed("p", selecting(v1alpha1.ClusterSelector{Locations: []string{"eu", "us"}})), []string{"a", "b", "c"}},
		"by name: any of them":                              {placed("p", selecting(v1alpha1.ClusterSelector{ClusterNames: []string{"a", "nope"}})), []string{"a"}},
		"by all: all that is given has to match":            {placed("p", selecting(v1alpha1.ClusterSelector{LabelSelector: gold.LabelSelector, Locations: []string{"us"}, ClusterNames: []string{"a", "c"}})), []string{"c"}},
		"nothing tolerant: taints keep away":                {placed("p", lab), nil},
		"the taint: key, value and effect match":            {placed("p", lab, tolerating(v1alpha1.Toleration{Key: "gpu", Value: "v1", Effect: v1alpha1.TaintNoSchedule})), []string{"gpu"}},
		"another value: Equal is the default":               {placed("p", lab, tolerating(v1alpha1.Toleration{Key: "gpu", Value: "v2"})), nil},
		"any value: Exists does not look at it":             {placed("p", lab, tolerating(v1alpha1.Toleration{Key: "gpu", Operator: corev1.TolerationOpExists})), []string{"gpu"}},
		"another effect: the effect counts":                 {placed("p", lab, tolerating(v1alpha1.Toleration{Key: "gpu", Operator: corev1.TolerationOpExists, Effect: v1alpha1.TaintNoExecute})), nil},
		"the cordon: is a taint like others":                {placed("p", lab, tolerating(v1alpha1.Toleration{Key: v1alpha1.TaintUnschedulable, Operator: corev1.TolerationOpExists})), []string{"cord"}},
		"for a while: while that lasts":                     {placed("p", lab, tolerating(v1alpha1.Toleration{Key: "repair", TolerationSeconds: new(int64(61))})), []string{"repair"}},
		"the while is over: it would have to leave at once": {placed("p", lab, tolerating(v1alpha1.Toleration{Key: "repair", TolerationSeconds: new(int64(60))})), nil},
		"everything: but a silent cluster is not entered":   {placed("p", lab, tolerating(everything)), []string{"cord", "gpu", "repair"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			sameClusters(t, "clusters", tc.want, Decide(request(deployment(), clusters, tc.placement)).Clusters)
		})
	}
}

func TestFilterStaying(t *testing.T) {
	repair := tainted("repair", "", v1alpha1.TaintNoExecute, time.Minute)
	seconds := func(n int64) v1alpha1.Toleration {
		return v1alpha1.Toleration{Key: "repair", TolerationSeconds: &n}
	}
	unreachable := v1alpha1.Toleration{Key: v1alpha1.TaintUnreachable, Operator: corev1.TolerationOpExists, TolerationSeconds: new(int64(3600))}
	cases := map[string]struct {
		cluster     Cluster
		tolerations []v1alpha1.Toleration
		stays       bool
		again       time.Duration
	}{
		"ready: nothing is wrong":                               {cluster("east"), nil, true, 0},
		"cordoned: a cordon keeps away, and sends nothing away": {cluster("east", cordoned), nil, true, 0},
		"no schedule": {cluster("east", tainted("a", "b", v1alpha1.TaintNoSchedule, 0)), nil, true, 0},
		"not allowed: not for this workspace any more":                 {cluster("east", allowing("root:x")), nil, false, 0},
		"drained: whatever it tolerates":                               {cluster("east", draining), []v1alpha1.Toleration{{Operator: corev1.TolerationOpExists}}, false, 0},
		"no execute: at once":                                          {cluster("east", repair), nil, false, 0},
		"tolerated: for ever":                                          {cluster("east", repair), []v1alpha1.Toleration{{Key: "repair"}}, true, 0},
		"for a while: from when the taint was added":                   {cluster("east", repair), []v1alpha1.Toleration{seconds(90)}, true, 30 * time.Second},
		"the while is over: to the second":                             {cluster("east", repair), []v1alpha1.Toleration{seconds(60)}, false, 0},
		"not at all: less than nothing is nothing":                     {cluster("east", repair), []v1alpha1.Toleration{seconds(-1)}, false, 0},
		"the shortest: as Kubernetes has it":                           {cluster("east", repair), []v1alpha1.Toleration{{Key: "repair"}, seconds(90), seconds(61)}, true, time.Second},
		"very long: without an overflow":                               {cluster("east", repair), []v1alpha1.Toleration{seconds(1 << 62)}, true, longest - time.Minute},
		"the first of two taints: the one that ends first counts":      {cluster("east", repair, silent(2*time.Minute)), []v1alpha1.Toleration{seconds(3600)}, true, 3 * time.Minute},
		"silent: as long as the hub waits":                             {cluster("east", silent(time.Minute)), nil, true, 4 * time.Minute},
		"silent for long: and then it fails over":                      {cluster("east", silent(5*time.Minute)), nil, false, 0},
		"silent and tolerated: as long as the placement has it":        {cluster("east", silent(10*time.Minute)), []v1alpha1.Toleration{unreachable}, true, 50 * time.Minute},
		"silent and all tolerated: also by a toleration of everything": {cluster("east", silent(time.Hour)), []v1alpha1.Toleration{{Operator: corev1.TolerationOpExists}}, true, 0},
		"since when nobody said: from now on":                          {cluster("east", func(c *Cluster) { c.Taints = []v1alpha1.Taint{{Key: "repair", Effect: v1alpha1.TaintNoExecute}} }), []v1alpha1.Toleration{seconds(60)}, true, time.Minute},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, assumed := range []bool{false, true} {
				r := request(deployment(), []Cluster{tc.cluster}, placed("p", number(1), tolerating(tc.tolerations...)))
				if assumed {
					r.Assumed.Clusters = []string{"east"}
				} else {
					on("east")(r.Object)
				}
				got := Decide(r)
				if stays := len(got.Clusters) > 0; stays != tc.stays || got.Again != tc.again {
					t.Errorf("stays: %t, again after %s; want %t, %s (assumed: %t)", stays, got.Again, tc.stays, tc.again, assumed)
				}
			}
		})
	}
}

func TestDecideUnsatisfied(t *testing.T) {
	clusters := []Cluster{
		cluster("east", in("eu")), cluster("north", in("eu"), silent(time.Hour)), cluster("south", in("eu"), tainted("k", "v", v1alpha1.TaintNoSchedule, 0)),
		cluster("west", in("eu"), cordoned), cluster("y", in("us")), cluster("z", in("eu"), allowing("root:x")), cluster("zz", in("eu"), draining),
	}
	eu := selecting(v1alpha1.ClusterSelector{Locations: []string{"eu"}})
	cases := map[string]struct {
		request Request
		want    string
	}{
		"satisfied: nothing to say":                                  {request(deployment(), clusters, placed("p", number(2))), ""},
		"too few: why three others are not taken, and how many more": {request(deployment(), clusters, placed("p", number(2), eu)), "placement p: 1 of 2 clusters; north: not ready, south: taint k=v:NoSchedule, west: cordoned, 1 more in such states, 1 not for this workspace, 1 not in the selector"},
		"all: with one it has all":                                   {request(deployment(), clusters, placed("p", eu)), ""},
		"none: none is too few":                                      {request(deployment(), clusters[1:2], placed("p")), "placement p: no cluster comes into question; north: not ready"},
		"default: also by default":                                   {request(deployment(), clusters[1:2]), "no cluster comes into question; north: not ready"},
		"no cluster: there is nothing to name":                       {request(deployment(), nil), "no cluster comes into question"},
		"deleted: it asks for nothing any more":                      {request(deployment(deleted), clusters, placed("p", number(2))), ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Decide(tc.request).Unsatisfied); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	located := []Cluster{cluster("a", in("eu")), cluster("b", in("eu")), cluster("c", in("eu")), cluster("d", in("us"))}
	busy := []Cluster{
		cluster("a", loaded("10", "1Gi", "90")), cluster("b", loaded("12", "10Gi", "10"), func(c *Cluster) { c.Workloads = 2 }),
		cluster("c", loaded("14", "10Gi", "10"), func(c *Cluster) { c.Workloads = 1 }), cluster("d"), cluster("e", loaded("10", "80Gi", "10")),
	}
	var counts map[string]int
	assigned := func(_, cluster string) int { return counts[cluster] }
	counts = map[string]int{"a": 2, "b": 1, "c": 1, "d": 3}
	affinity := preferring([]string{"d"}, []string{"a", "b"})
	cases := map[string]struct {
		clusters  []Cluster
		placement *v1alpha1.WorkloadPlacement
		changes   []objectChange
		want      []string
	}{
		"spread stays: nothing moves for better spread":                                     {located, placed("p", number(2)), []objectChange{on("a", "b")}, []string{"a", "b"}},
		"spread adds: a location that has none yet":                                         {located, placed("p", number(2)), []objectChange{on("a")}, []string{"a", "d"}},
		"spread removes: the location keeps one":                                            {located, placed("p", number(2)), []objectChange{on("b", "c", "d")}, nil},
		"round robin: who has fewest, then by name":                                         {located, placed("p", number(2), strategy(v1alpha1.StrategyRoundRobin)), nil, []string{"b", "c"}},
		"round robin stays: what is placed stays":                                           {located, placed("p", number(2), strategy(v1alpha1.StrategyRoundRobin)), []objectChange{on("d")}, []string{"b", "d"}},
		"least loaded: by what is scarce, in steps, then by workloads; the unknown is full": {busy, placed("p", number(1), strategy(v1alpha1.StrategyLeastLoaded)), nil, []string{"c"}},
		"least loaded of all: e has little memory, a few pods":                              {busy, placed("p", number(3), strategy(v1alpha1.StrategyLeastLoaded)), nil, []string{"b", "c", "e"}},
		"least loaded stays: what is placed stays":                                          {busy, placed("p", number(1), strategy(v1alpha1.StrategyLeastLoaded)), []objectChange{on("d")}, []string{"d"}},
		"affinity: the preferred first":                                                     {located, placed("p", number(1), affinity), nil, []string{"d"}},
		"affinity then others: then the next, and what none selects":                        {located, placed("p", number(4), affinity), nil, []string{"a", "b", "c", "d"}},
		"affinity stays: what is placed stays":                                              {located, placed("p", number(2), affinity), []objectChange{on("c")}, []string{"c", "d"}},
		"affinity all: all of the best group":                                               {located, placed("p", affinity), nil, []string{"d"}},
		"affinity next group: that has any":                                                 {located[:3], placed("p", affinity), nil, []string{"a", "b"}},
		"affinity no group: or all the others":                                              {located[2:3], placed("p", affinity), nil, []string{"c"}},
		"affinity all stays: all of the group that it is on":                                {located, placed("p", affinity), []objectChange{on("a")}, []string{"a", "b"}},
		"affinity best it is on: the best of them":                                          {located, placed("p", affinity), []objectChange{on("a", "c")}, []string{"a", "b"}},
		"more than there are: as many as there are":                                         {located, placed("p", number(9)), nil, []string{"a", "b", "c", "d"}},
		"without a number: all":                                                             {located, placed("p"), nil, []string{"a", "b", "c", "d"}},
		"scaled out being deleted: what is deleted enters nothing":                          {located, placed("p", number(3)), []objectChange{on("a"), deleted}, []string{"a"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := request(deployment(tc.changes...), tc.clusters, tc.placement)
			r.Assigned = assigned
			got := Decide(r).Clusters
			if tc.want == nil {
				if len(got) != 2 || got[1] != "d" {
					t.Errorf("%q", got)
				}
				return
			}
			sameClusters(t, "clusters", tc.want, got)
		})
	}
}

func TestChooseSpreadsWorkloads(t *testing.T) {
	clusters := fleet("a", "b", "c", "d")
	for _, strategy := range []func(*v1alpha1.WorkloadPlacement){strategy(v1alpha1.StrategySpread), strategy(v1alpha1.StrategyLeastLoaded), preferring(nil)} {
		taken := map[string]int{}
		for i := range 400 {
			got := Decide(request(deployment(uid(strings.Repeat("x", i))), clusters, placed("p", number(1), strategy)))
			taken[got.Clusters[0]]++
		}
		for _, cluster := range clusters {
			if taken[cluster.Name] < 60 {
				t.Errorf("cluster %s has %d of 400 workloads: %v", cluster.Name, taken[cluster.Name], taken)
			}
		}
	}
}

func TestDecideReasons(t *testing.T) {
	clusters := []Cluster{cluster("a", in("eu")), cluster("b")}
	cases := map[string]struct {
		placement *v1alpha1.WorkloadPlacement
		want      map[string]string
	}{
		"by default":          {nil, map[string]string{"a": "default: every ready cluster", "b": "default: every ready cluster"}},
		"all that it selects": {placed("p"), map[string]string{"a": "placement p: every ready cluster that it selects", "b": "placement p: every ready cluster that it selects"}},
		"spread":              {placed("p", number(2)), map[string]string{"a": "placement p: spread over locations (eu)", "b": "placement p: spread"}},
		"in turn":             {placed("p", number(2), strategy(v1alpha1.StrategyRoundRobin)), map[string]string{"a": "placement p: the next in turn", "b": "placement p: the next in turn"}},
		"by load":             {placed("p", number(2), strategy(v1alpha1.StrategyLeastLoaded)), map[string]string{"a": "placement p: the least loaded", "b": "placement p: the least loaded"}},
		"by preference":       {placed("p", number(2), preferring([]string{"b"})), map[string]string{"a": "placement p: in none of the preferences", "b": "placement p: preference 1"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var placements []*v1alpha1.WorkloadPlacement
			if tc.placement != nil {
				placements = append(placements, tc.placement)
			}
			if diff := cmp.Diff(tc.want, Decide(request(deployment(), clusters, placements...)).Reasons); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		})
	}
}
