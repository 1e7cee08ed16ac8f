package placement

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestAClusterIsLeftOnceWhatReplacesItServes(t *testing.T) {
	here := func(changes ...objectChange) []objectChange {
		return append([]objectChange{replicas(3), available(t, "a", 1, 3), available(t, "b", 1, 3), on("a", "b")}, changes...)
	}
	drained := func(change ...func(*Cluster)) []Cluster {
		return []Cluster{cluster("a", append(change, draining)...), cluster("b"), cluster("c")}
	}
	two, one := placed("p", number(2)), placed("p", number(1), selecting(v1alpha1.ClusterSelector{ClusterNames: []string{"c"}}))
	everything := tolerating(v1alpha1.Toleration{Operator: corev1.TolerationOpExists})
	target := annotated(map[string]string{v1alpha1.TargetClustersAnnotation: "b"})
	markedAsKept := annotated(map[string]string{v1alpha1.PlacementAnnotation: `{"by":"placement p","clusters":{"a":"` + reasonKept + `"}}`})
	divided := placed("p", dividedBy(v1alpha1.DivideByWeights))
	cases := map[string]struct {
		reason     string
		request    Request
		want, kept []string
	}{
		"NotThereYet":           {"nothing runs on c", request(deployment(here()...), drained(), two), []string{"a", "b", "c"}, []string{"a"}},
		"OnItsWay":              {"not all of it is available", request(deployment(here(on("c"), available(t, "c", 1, 2))...), drained(), two), []string{"a", "b", "c"}, []string{"a"}},
		"Serves":                {"all of it is", request(deployment(here(on("c"), available(t, "c", 1, 3))...), drained(), two), []string{"b", "c"}, nil},
		"OfAnOldGeneration":     {"the new one may not come up at all", request(deployment(here(on("c"), available(t, "c", 0, 3))...), drained(), two), []string{"a", "b", "c"}, []string{"a"}},
		"Silent":                {"what c said last does not count", request(deployment(here(on("c"), available(t, "c", 1, 3))...), append(drained()[:2], cluster("c", silent(time.Second))), two), []string{"a", "b", "c"}, []string{"a"}},
		"NothingToLose":         {"nothing of it is available there", request(deployment(here(available(t, "a", 1, 0))...), drained(), two), []string{"b", "c"}, nil},
		"AnOldOneToLose":        {"which has not taken up the newest yet", request(deployment(here(available(t, "a", 0, 3))...), drained(), two), []string{"a", "b", "c"}, []string{"a"}},
		"NeverReported":         {"nothing of it runs there", request(deployment(replicas(3), on("a", "b"), available(t, "b", 1, 3)), drained(), two), []string{"b", "c"}, nil},
		"NotReady":              {"it has failed, nothing keeps it", request(deployment(here()...), drained(silent(time.Hour)), two), []string{"b", "c"}, nil},
		"NotAllowed":            {"it may not stay", request(deployment(here()...), drained(allowing("root:x")), two), []string{"b", "c"}, nil},
		"NoExecute":             {"that means at once", request(deployment(here()...), drained(tainted("x", "", v1alpha1.TaintNoExecute, 0)), two), []string{"b", "c"}, nil},
		"NoExecuteIsTolerated":  {"then the drain is all", request(deployment(here()...), drained(tainted("x", "", v1alpha1.TaintNoExecute, 0)), placed("p", number(2), everything)), []string{"a", "b", "c"}, []string{"a"}},
		"BeingDeleted":          {"it goes anyway", request(deployment(here(deleted)...), drained(), two), []string{"b"}, nil},
		"ByAnnotation":          {"its user said where", request(deployment(here(target)...), drained(), two), []string{"b"}, nil},
		"ByDefault":             {"it is everywhere else already", request(deployment(here()...), drained()), []string{"b", "c"}, nil},
		"OnAllClusters":         {"likewise", request(deployment(here()...), drained(), placed("p")), []string{"b", "c"}, nil},
		"TheNextGroup":          {"one group takes the place of the other", request(deployment(replicas(3), on("a"), available(t, "a", 1, 3)), drained(), placed("p", preferring([]string{"a"}))), []string{"a", "b", "c"}, []string{"a"}},
		"TheSelectorChanged":    {"both are left when the third serves", request(deployment(here()...), fleet("a", "b", "c"), one), []string{"a", "b", "c"}, []string{"a", "b"}},
		"Nowhere":               {"the last copies are not given up for nothing", request(deployment(here()...), fleet("a", "b"), one), []string{"a", "b"}, []string{"a", "b"}},
		"FewerClusters":         {"the others serve", request(deployment(here()...), fleet("a", "b"), placed("p", number(1), preferring([]string{"b"}))), []string{"b"}, nil},
		"FewerOfWhichOneFails":  {"the other does not", request(deployment(here(available(t, "b", 1, 2))...), fleet("a", "b"), placed("p", number(1), preferring([]string{"b"}))), []string{"a", "b"}, []string{"a"}},
		"FewerOneOnItsWayOut":   {"what was to leave leaves", request(deployment(here(available(t, "b", 1, 2), markedAsKept)...), fleet("a", "b"), placed("p", number(1), preferring([]string{"a"}))), []string{"a", "b"}, []string{"a"}},
		"NoReplicas":            {"nothing has to be available", request(deployment(here(replicas(0))...), drained(), two), []string{"b", "c"}, nil},
		"Divided":               {"b and c have to run all of it", request(deployment(here(share("a", 2), share("b", 1), available(t, "a", 1, 2), available(t, "b", 1, 1))...), drained(), divided), []string{"a", "b", "c"}, []string{"a"}},
		"DividedAndServed":      {"they do", request(deployment(here(share("a", 2), share("b", 2), share("c", 1), available(t, "b", 1, 2), available(t, "c", 1, 1))...), drained(), divided), []string{"b", "c"}, nil},
		"DividedTooMuchElse":    {"more than its share on one makes up for nothing on another", request(deployment(here(share("a", 2), share("b", 2), share("c", 1), available(t, "b", 1, 3), available(t, "c", 1, 0))...), drained(), divided), []string{"a", "b", "c"}, []string{"a"}},
		"ScaledIn":              {"who gets none leaves at once, nothing of it is missing anywhere", request(deployment(replicas(1), share("a", 1), share("b", 1), available(t, "a", 0, 1), available(t, "b", 0, 1)), fleet("a", "b"), divided), []string{"a"}, nil},
		"WeighedOut":            {"who gets none because others get more waits for them", request(deployment(replicas(2), share("b", 1), share("a", 1), available(t, "a", 1, 1), available(t, "b", 1, 1)), fleet("a", "b", "c"), placed("p", dividedBy(""), weight(9, "c"))), []string{"a", "b", "c"}, []string{"b"}},
		"WeighedOutAndAssigned": {"also after those have been told", request(deployment(replicas(2), share("b", 1), share("a", 1), share("c", 1), available(t, "a", 1, 1), available(t, "b", 1, 1), annotated(map[string]string{v1alpha1.PlacementAnnotation: `{"by":"placement p","clusters":{"b":"` + reasonKept + `"}}`})), fleet("a", "b", "c"), placed("p", dividedBy(""), weight(9, "c"))), []string{"a", "b", "c"}, []string{"b"}},
		"WeightZero":            {"the others take over first", request(deployment(replicas(2), share("b", 1), share("a", 1), available(t, "a", 1, 1), available(t, "b", 1, 1)), fleet("a", "b"), placed("p", dividedBy(""), weight(0, "b"))), []string{"a", "b"}, []string{"b"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Decide(tc.request)
			sameClusters(t, tc.reason, tc.want, got.Clusters)
			sameClusters(t, tc.reason+": kept", tc.kept, got.Kept)
			for _, name := range got.Kept {
				if _, has := got.Shares[name]; has || got.Reasons[name] != reasonKept {
					t.Errorf("%s: %s has a share or another reason: %+v", tc.reason, name, got)
				}
			}
		})
	}
}

func TestWhatHasNoReplicasServesAsItsReportSays(t *testing.T) {
	report := func(generation int64, changes ...func(*v1alpha1.Report)) v1alpha1.Report {
		r := v1alpha1.Report{Version: v1alpha1.ReportVersion, Cluster: "b", Generation: generation}
		for _, change := range changes {
			change(&r)
		}
		return r
	}
	nodes := func(available, desired int64) func(*v1alpha1.Report) {
		return func(r *v1alpha1.Report) {
			r.Counters = map[string]int64{"numberAvailable": available, "desiredNumberScheduled": desired}
		}
	}
	unseen := func(r *v1alpha1.Report) { r.LocalGeneration = 1 }
	broken := func(r *v1alpha1.Report) { r.Problems = []v1alpha1.Problem{{Reason: "Conflict"}} }
	daemonSet, widget := object("apps/v1", "DaemonSet"), object("example.com/v1", "Widget")
	cases := map[string]struct {
		reason string
		obj    *unstructuredObject
		report v1alpha1.Report
		serves bool
	}{
		"OnAllNodes":    {"it is available on each", daemonSet, report(1, nodes(3, 3)), true},
		"OnSomeNodes":   {"not on all", daemonSet, report(1, nodes(2, 3)), false},
		"NoNodes":       {"there is no node for it", daemonSet, report(1), true},
		"NotLookedAt":   {"its controller has not counted yet", daemonSet, report(1, unseen), false},
		"OldGeneration": {"of another it says nothing", daemonSet, report(2, nodes(3, 3)), false},
		"ACopy":         {"of other kinds a copy is all", widget, report(1), true},
		"AnOldCopy":     {"of this generation", widget, report(0), false},
		"ABrokenCopy":   {"with which nothing is wrong", widget, report(1, broken), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			old := v1alpha1.Report{Version: v1alpha1.ReportVersion, Cluster: "a", Generation: 1, Counters: map[string]int64{"numberAvailable": 1}}
			obj := tc.obj.DeepCopy()
			for _, change := range []objectChange{on("a", "b"), reporting(t, old), reporting(t, tc.report)} {
				change(obj)
			}
			got := Decide(request(obj, []Cluster{cluster("a", draining), cluster("b")}, placed("p", number(1), ofKinds(obj.GetKind()))))
			if serves := len(got.Kept) == 0; serves != tc.serves {
				t.Errorf("%s: serves: %t, want %t", tc.reason, serves, tc.serves)
			}
		})
	}
}

func TestAJobThatHasEndedEntersNothingMore(t *testing.T) {
	ended := func(conditionType, status string) objectChange {
		return func(obj *unstructuredObject) {
			obj.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": conditionType, "status": status}}}
		}
	}
	job := func(changes ...objectChange) *unstructuredObject { return object("batch/v1", "Job", changes...) }
	one := placed("p", number(1))
	cases := map[string]struct {
		reason  string
		request Request
		want    []string
	}{
		"ItsClusterDrains":    {"it is not run again elsewhere, and leaves", request(job(on("a"), ended("Complete", "True")), []Cluster{cluster("a", draining), cluster("b")}, one), nil},
		"ItsClusterIsLost":    {"likewise", request(job(on("a"), ended("Failed", "True")), []Cluster{cluster("a", silent(time.Hour)), cluster("b")}, one), nil},
		"ItHasLeft":           {"nor later", request(job(ended("Complete", "True")), fleet("a", "b"), one), nil},
		"AnotherClusterJoins": {"by default it would go there, too", request(job(on("a"), ended("Complete", "True")), fleet("a", "b")), []string{"a"}},
		"ItRuns":              {"it is to come to its end", request(job(on("a"), ended("Complete", "False")), []Cluster{cluster("a", silent(time.Hour)), cluster("b")}, one), []string{"b"}},
		"ADeployment":         {"has no end", request(deployment(ended("Complete", "True")), fleet("a", "b")), []string{"a", "b"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Decide(tc.request)
			sameClusters(t, tc.reason, tc.want, got.Clusters)
			if len(tc.want) == 0 && got.Unsatisfied != "" {
				t.Errorf("%s: it asks for more: %s", tc.reason, got.Unsatisfied)
			}
		})
	}
}
