package placement

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

func TestKeep(t *testing.T) {
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
		request    Request
		want, kept []string
	}{
		"not there yet: nothing runs on c":                                                  {request(deployment(here()...), drained(), two), []string{"a", "b", "c"}, []string{"a"}},
		"on its way: not all of it is available":                                            {request(deployment(here(on("c"), available(t, "c", 1, 2))...), drained(), two), []string{"a", "b", "c"}, []string{"a"}},
		"serves: all of it is":                                                              {request(deployment(here(on("c"), available(t, "c", 1, 3))...), drained(), two), []string{"b", "c"}, nil},
		"of an old generation: the new one may not come up at all":                          {request(deployment(here(on("c"), available(t, "c", 0, 3))...), drained(), two), []string{"a", "b", "c"}, []string{"a"}},
		"silent: what c said last does not count":                                           {request(deployment(here(on("c"), available(t, "c", 1, 3))...), append(drained()[:2], cluster("c", silent(time.Second))), two), []string{"a", "b", "c"}, []string{"a"}},
		"nothing to lose: nothing of it is available there":                                 {request(deployment(here(available(t, "a", 1, 0))...), drained(), two), []string{"b", "c"}, nil},
		"an old one to lose: which has not taken up the newest yet":                         {request(deployment(here(available(t, "a", 0, 3))...), drained(), two), []string{"a", "b", "c"}, []string{"a"}},
		"never reported: nothing of it runs there":                                          {request(deployment(replicas(3), on("a", "b"), available(t, "b", 1, 3)), drained(), two), []string{"b", "c"}, nil},
		"not ready: it has failed, nothing keeps it":                                        {request(deployment(here()...), drained(silent(time.Hour)), two), []string{"b", "c"}, nil},
		"not allowed: it may not stay":                                                      {request(deployment(here()...), drained(allowing("root:x")), two), []string{"b", "c"}, nil},
		"no execute: that means at once":                                                    {request(deployment(here()...), drained(tainted("x", "", v1alpha1.TaintNoExecute, 0)), two), []string{"b", "c"}, nil},
		"no execute is tolerated: then the drain is all":                                    {request(deployment(here()...), drained(tainted("x", "", v1alpha1.TaintNoExecute, 0)), placed("p", number(2), everything)), []string{"a", "b", "c"}, []string{"a"}},
		"being deleted: it goes anyway":                                                     {request(deployment(here(deleted)...), drained(), two), []string{"b"}, nil},
		"by annotation: its user said where":                                                {request(deployment(here(target)...), drained(), two), []string{"b"}, nil},
		"by default: it is everywhere else already":                                         {request(deployment(here()...), drained()), []string{"b", "c"}, nil},
		"on all clusters":                                                                   {request(deployment(here()...), drained(), placed("p")), []string{"b", "c"}, nil},
		"the next group: one group takes the place of the other":                            {request(deployment(replicas(3), on("a"), available(t, "a", 1, 3)), drained(), placed("p", preferring([]string{"a"}))), []string{"a", "b", "c"}, []string{"a"}},
		"the selector changed: both are left when the third serves":                         {request(deployment(here()...), fleet("a", "b", "c"), one), []string{"a", "b", "c"}, []string{"a", "b"}},
		"nowhere: the last copies are not given up for nothing":                             {request(deployment(here()...), fleet("a", "b"), one), []string{"a", "b"}, []string{"a", "b"}},
		"fewer clusters: the others serve":                                                  {request(deployment(here()...), fleet("a", "b"), placed("p", number(1), preferring([]string{"b"}))), []string{"b"}, nil},
		"fewer of which one fails: the other does not":                                      {request(deployment(here(available(t, "b", 1, 2))...), fleet("a", "b"), placed("p", number(1), preferring([]string{"b"}))), []string{"a", "b"}, []string{"a"}},
		"fewer one on its way out: what was to leave leaves":                                {request(deployment(here(available(t, "b", 1, 2), markedAsKept)...), fleet("a", "b"), placed("p", number(1), preferring([]string{"a"}))), []string{"a", "b"}, []string{"a"}},
		"no replicas: nothing has to be available":                                          {request(deployment(here(replicas(0))...), drained(), two), []string{"b", "c"}, nil},
		"divided: b and c have to run all of it":                                            {request(deployment(here(share("a", 2), share("b", 1), available(t, "a", 1, 2), available(t, "b", 1, 1))...), drained(), divided), []string{"a", "b", "c"}, []string{"a"}},
		"divided and served: they do":                                                       {request(deployment(here(share("a", 2), share("b", 2), share("c", 1), available(t, "b", 1, 2), available(t, "c", 1, 1))...), drained(), divided), []string{"b", "c"}, nil},
		"divided too much else: more than its share on one makes up for nothing on another": {request(deployment(here(share("a", 2), share("b", 2), share("c", 1), available(t, "b", 1, 3), available(t, "c", 1, 0))...), drained(), divided), []string{"a", "b", "c"}, []string{"a"}},
		"scaled in: who gets none leaves at once, nothing of it is missing anywhere":        {request(deployment(replicas(1), share("a", 1), share("b", 1), available(t, "a", 0, 1), available(t, "b", 0, 1)), fleet("a", "b"), divided), []string{"a"}, nil},
		"weighed out: who gets none because others get more waits for them":                 {request(deployment(replicas(2), share("b", 1), share("a", 1), available(t, "a", 1, 1), available(t, "b", 1, 1)), fleet("a", "b", "c"), placed("p", dividedBy(""), weight(9, "c"))), []string{"a", "b", "c"}, []string{"b"}},
		"weighed out and assigned: also after those have been told":                         {request(deployment(replicas(2), share("b", 1), share("a", 1), share("c", 1), available(t, "a", 1, 1), available(t, "b", 1, 1), annotated(map[string]string{v1alpha1.PlacementAnnotation: `{"by":"placement p","clusters":{"b":"` + reasonKept + `"}}`})), fleet("a", "b", "c"), placed("p", dividedBy(""), weight(9, "c"))), []string{"a", "b", "c"}, []string{"b"}},
		"weight zero: the others take over first":                                           {request(deployment(replicas(2), share("b", 1), share("a", 1), available(t, "a", 1, 1), available(t, "b", 1, 1)), fleet("a", "b"), placed("p", dividedBy(""), weight(0, "b"))), []string{"a", "b"}, []string{"b"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Decide(tc.request)
			sameClusters(t, "clusters", tc.want, got.Clusters)
			sameClusters(t, "kept", tc.kept, got.Kept)
			for _, name := range got.Kept {
				if _, has := got.Shares[name]; has || got.Reasons[name] != reasonKept {
					t.Errorf("%s has a share or another reason: %+v", name, got)
				}
			}
		})
	}
}

func TestServesWithoutReplicas(t *testing.T) {
	report := func(generation int64, changes ...func(*protocol.Report)) protocol.Report {
		r := protocol.Report{Version: protocol.ReportVersion, Cluster: "b", Generation: generation}
		for _, change := range changes {
			change(&r)
		}
		return r
	}
	nodes := func(available, desired int64) func(*protocol.Report) {
		return func(r *protocol.Report) {
			r.Counters = map[string]int64{"numberAvailable": available, "desiredNumberScheduled": desired}
		}
	}
	unseen := func(r *protocol.Report) { r.LocalGeneration = 1 }
	broken := func(r *protocol.Report) { r.Problems = []protocol.Problem{{Reason: "Conflict"}} }
	daemonSet, widget := object("apps/v1", "DaemonSet"), object("example.com/v1", "Widget")
	cases := map[string]struct {
		obj    *unstructuredObject
		report protocol.Report
		serves bool
	}{
		"on all nodes: it is available on each":             {daemonSet, report(1, nodes(3, 3)), true},
		"on some nodes: not on all":                         {daemonSet, report(1, nodes(2, 3)), false},
		"no nodes: there is no node for it":                 {daemonSet, report(1), true},
		"not looked at: its controller has not counted yet": {daemonSet, report(1, unseen), false},
		"old generation: of another it says nothing":        {daemonSet, report(2, nodes(3, 3)), false},
		"a copy: of other kinds a copy is all":              {widget, report(1), true},
		"an old copy: of this generation":                   {widget, report(0), false},
		"a broken copy: with which nothing is wrong":        {widget, report(1, broken), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			old := protocol.Report{Version: protocol.ReportVersion, Cluster: "a", Generation: 1, Counters: map[string]int64{"numberAvailable": 1}}
			obj := tc.obj.DeepCopy()
			for _, change := range []objectChange{on("a", "b"), reporting(t, old), reporting(t, tc.report)} {
				change(obj)
			}
			got := Decide(request(obj, []Cluster{cluster("a", draining), cluster("b")}, placed("p", number(1), ofKinds(obj.GetKind()))))
			if serves := len(got.Kept) == 0; serves != tc.serves {
				t.Errorf("serves: %t, want %t", serves, tc.serves)
			}
		})
	}
}

func TestDecideEndedJob(t *testing.T) {
	ended := func(conditionType, status string) objectChange {
		return func(obj *unstructuredObject) {
			obj.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": conditionType, "status": status}}}
		}
	}
	job := func(changes ...objectChange) *unstructuredObject { return object("batch/v1", "Job", changes...) }
	one := placed("p", number(1))
	cases := map[string]struct {
		request Request
		want    []string
	}{
		"its cluster drains: it is not run again elsewhere, and leaves": {request(job(on("a"), ended("Complete", "True")), []Cluster{cluster("a", draining), cluster("b")}, one), nil},
		"its cluster is lost":    {request(job(on("a"), ended("Failed", "True")), []Cluster{cluster("a", silent(time.Hour)), cluster("b")}, one), nil},
		"it has left: nor later": {request(job(ended("Complete", "True")), fleet("a", "b"), one), nil},
		"another cluster joins: by default it would go there, too": {request(job(on("a"), ended("Complete", "True")), fleet("a", "b")), []string{"a"}},
		"it runs: it is to come to its end":                        {request(job(on("a"), ended("Complete", "False")), []Cluster{cluster("a", silent(time.Hour)), cluster("b")}, one), []string{"b"}},
		"a deployment: has no end":                                 {request(deployment(ended("Complete", "True")), fleet("a", "b")), []string{"a", "b"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Decide(tc.request)
			sameClusters(t, "clusters", tc.want, got.Clusters)
			if len(tc.want) == 0 && got.Unsatisfied != "" {
				t.Errorf("it asks for more: %s", got.Unsatisfied)
			}
		})
	}
}
