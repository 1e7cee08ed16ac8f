package aggregate

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kubectl/pkg/polymorphichelpers"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Fields of the statuses of kinds that only their entries name.
const (
	startTime          = "startTime"
	completionTime     = "completionTime"
	lastScheduleTime   = "lastScheduleTime"
	lastSuccessfulTime = "lastSuccessfulTime"
	lastScaleTime      = "lastScaleTime"
	phase              = "phase"
	available          = "Available"
	desiredReplicas    = "desiredReplicas"
	currentHealthy     = "currentHealthy"
	desiredHealthy     = "desiredHealthy"
	disruptionsAllowed = "disruptionsAllowed"
	expectedPods       = "expectedPods"
)

// noInputs is for reports that say nothing of inputs.
func noInputs(string) string { return "" }

// isDoneTo asks kubectl whether the object is rolled out.
func isDoneTo(t *testing.T, viewer polymorphichelpers.StatusViewer, object any) bool {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		t.Fatal(err)
	}
	_, done, err := viewer.Status(&unstructured.Unstructured{Object: content}, 0)
	if err != nil {
		t.Fatalf("kubectl: %v", err)
	}
	return done
}

// kubectlRollout is a kind of which a test makes clusters' own objects, in any state.
type kubectlRollout[T any] struct {
	viewer polymorphichelpers.StatusViewer
	// upstream returns an object without a status, local one of a cluster.
	upstream func(random *rand.Rand) T
	local    func(random *rand.Rand, upstream T) T
	meta     func(T) *metav1.ObjectMeta
	// isMute tells of an upstream object for which kubectl always says "done".
	isMute func(T) bool
}

// check makes objects on up to three clusters, of which some have not taken up
// the present generation, and compares what kubectl says of the merged status
// with what it says of theirs.
func (r kubectlRollout[T]) check(t *testing.T) {
	t.Helper()
	verdicts := map[bool]int{}
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 1))
		upstream := r.upstream(random)
		if r.isMute(upstream) {
			continue
		}
		clusters := []string{"east", "north", "west"}[:1+random.IntN(3)]
		reports, want := []protocol.Report{}, true
		for _, cluster := range clusters {
			local := r.local(random, upstream)
			want = isDoneTo(t, r.viewer, local) && want
			report := r.report(t, cluster, local)
			switch random.IntN(12) {
			case 0:
				want = false // nothing is known
				continue
			case 1:
				report.Generation, want = 1, false // it is behind
			}
			reports = append(reports, report)
		}
		r.meta(upstream).Annotations = annotations(t, reports...)
		r.meta(upstream).Labels = placement(clusters)
		mergeInto(t, upstream, now)
		if got := isDoneTo(t, r.viewer, upstream); got != want {
			t.Fatalf("seed %d: kubectl says done: %t of the merged status, the clusters say %t:\n%+v\nfrom %+v", seed, got, want, upstream, reports)
		}
		verdicts[want]++
	}
	if verdicts[true] < 500 || verdicts[false] < 500 {
		t.Errorf("verdicts: %v; the test does not test it", verdicts)
	}
}

// report is what a syncer would say of the local object.
func (r kubectlRollout[T]) report(t *testing.T, cluster string, local T) protocol.Report {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(local)
	if err != nil {
		t.Fatal(err)
	}
	report := protocol.Report{
		Version: protocol.ReportVersion, Cluster: cluster, Generation: 2,
		LocalGeneration: r.meta(local).Generation, Counters: map[string]int64{}, Texts: map[string]string{},
	}
	report.LocalObservedGeneration, _, _ = unstructured.NestedInt64(content, "status", observedGeneration)
	if replicas, found, _ := unstructured.NestedInt64(content, "spec", "replicas"); found {
		report.Replicas = &replicas
	}
	status, _, _ := unstructured.NestedMap(content, "status")
	for name, value := range status {
		switch value := value.(type) {
		case int64:
			report.Counters[name] = value
		case string:
			report.Texts[name] = value
		}
	}
	return report
}

// observed is the generation that a controller has seen of one at generation 2:
// mostly that.
func observed(random *rand.Rand) int64 { return 2 - int64(random.IntN(8)/7) }

// most is up to n, n itself as a rule.
func most(random *rand.Rand, n int32) int32 {
	if random.IntN(4) > 0 {
		return n
	}
	return random.Int32N(n + 1)
}

func TestRolloutOfStatefulSetsAsKubectlJudgesIt(t *testing.T) {
	kubectlRollout[*appsv1.StatefulSet]{
		viewer: &polymorphichelpers.StatefulSetStatusViewer{},
		meta:   func(s *appsv1.StatefulSet) *metav1.ObjectMeta { return &s.ObjectMeta },
		// With a rolling update of no replicas kubectl looks at nothing that says otherwise.
		isMute: func(s *appsv1.StatefulSet) bool {
			return *s.Spec.Replicas == 0 && s.Spec.UpdateStrategy.RollingUpdate != nil
		},
		upstream: func(random *rand.Rand) *appsv1.StatefulSet {
			s := &appsv1.StatefulSet{
				TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"},
				ObjectMeta: metav1.ObjectMeta{Name: "app", Generation: 2},
			}
			s.Spec.Replicas = new(random.Int32N(4))
			s.Spec.UpdateStrategy.Type = appsv1.RollingUpdateStatefulSetStrategyType
			switch random.IntN(3) {
			case 0:
				s.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: new(random.Int32N(3))}
			case 1:
				s.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{}
			}
			return s
		},
		local: func(random *rand.Rand, upstream *appsv1.StatefulSet) *appsv1.StatefulSet {
			local, wanted := upstream.DeepCopy(), *upstream.Spec.Replicas
			local.Status = appsv1.StatefulSetStatus{
				ObservedGeneration: observed(random), Replicas: wanted, ReadyReplicas: most(random, wanted), UpdatedReplicas: most(random, wanted),
				CurrentRevision: "app-1", UpdateRevision: "app-2",
			}
			// As SetDefaults_StatefulSet and completeRollingUpdate of its controller have it.
			if local.Spec.UpdateStrategy.RollingUpdate == nil || local.Spec.UpdateStrategy.RollingUpdate.Partition == nil {
				local.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: new(int32)}
			}
			if s := &local.Status; s.UpdatedReplicas == wanted && s.ReadyReplicas == wanted {
				s.CurrentRevision = s.UpdateRevision
			}
			return local
		},
	}.check(t)
}

func TestRolloutOfDaemonSetsAsKubectlJudgesIt(t *testing.T) {
	kubectlRollout[*appsv1.DaemonSet]{
		viewer: &polymorphichelpers.DaemonSetStatusViewer{},
		meta:   func(d *appsv1.DaemonSet) *metav1.ObjectMeta { return &d.ObjectMeta },
		isMute: func(*appsv1.DaemonSet) bool { return false },
		upstream: func(*rand.Rand) *appsv1.DaemonSet {
			d := &appsv1.DaemonSet{
				TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "DaemonSet"},
				ObjectMeta: metav1.ObjectMeta{Name: "app", Generation: 2},
			}
			d.Spec.UpdateStrategy.Type = appsv1.RollingUpdateDaemonSetStrategyType
			return d
		},
		local: func(random *rand.Rand, upstream *appsv1.DaemonSet) *appsv1.DaemonSet {
			local, nodes := upstream.DeepCopy(), random.Int32N(4)
			local.Status = appsv1.DaemonSetStatus{
				ObservedGeneration: observed(random), DesiredNumberScheduled: nodes,
				UpdatedNumberScheduled: most(random, nodes), NumberAvailable: most(random, nodes),
			}
			return local
		},
	}.check(t)
}

// jobReport is a cluster's report on a Job.
func jobReport(cluster, started, completed string, conditions ...string) protocol.Report {
	report := protocol.Report{
		Version: protocol.ReportVersion, Cluster: cluster, Generation: 1, LocalGeneration: 1,
		Counters: map[string]int64{"succeeded": 2}, Texts: map[string]string{startTime: started},
	}
	if completed != "" {
		report.Texts[completionTime] = completed
	}
	for _, conditionType := range conditions {
		report.Conditions = append(report.Conditions, protocol.ReportCondition{Type: conditionType, Status: "True", Reason: "R" + conditionType, Message: "it is"})
	}
	return report
}

func TestStatusOfJobs(t *testing.T) {
	type want struct {
		conditions     map[string]string
		start, complet string
		succeeded      int32
	}
	cases := map[string]struct {
		reason  string
		reports []protocol.Report
		want    want
	}{
		"running": {
			reason:  "one is done, one is not",
			reports: []protocol.Report{jobReport("east", "2026-01-01T00:00:01Z", "2026-01-01T00:00:09Z", "SuccessCriteriaMet", "Complete"), jobReport("west", "2026-01-01T00:00:00Z", "")},
			want:    want{map[string]string{"Synced": "In place in 2 clusters."}, "2026-01-01T00:00:00Z", "", 4},
		},
		"complete": {
			reason: "it is complete when the last one is",
			reports: []protocol.Report{
				jobReport("east", "2026-01-01T00:00:01Z", "2026-01-01T00:00:09Z", "SuccessCriteriaMet", "Complete"),
				jobReport("west", "2026-01-01T00:00:00Z", "2026-01-01T00:00:08Z", "SuccessCriteriaMet", "Complete"),
			},
			want: want{map[string]string{"SuccessCriteriaMet": "In 2 clusters.", "Complete": "In 2 clusters.", "Synced": "In place in 2 clusters."}, "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z", 4},
		},
		"failed": {
			reason:  "one failure is one too many, and is named",
			reports: []protocol.Report{jobReport("east", "2026-01-01T00:00:01Z", "2026-01-01T00:00:09Z", "Complete"), jobReport("west", "2026-01-01T00:00:00Z", "", "FailureTarget", "Failed")},
			want:    want{map[string]string{"FailureTarget": "west: it is", "Failed": "west: it is", "Synced": "In place in 2 clusters."}, "2026-01-01T00:00:00Z", "", 4},
		},
		"one is silent": {
			reason:  "what nobody knows of is not complete",
			reports: []protocol.Report{jobReport("east", "2026-01-01T00:00:01Z", "2026-01-01T00:00:09Z", "Complete")},
			want:    want{map[string]string{"Reconciling": "west: has not reported", "Synced": "west: has not reported"}, "2026-01-01T00:00:01Z", "", 2},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			job := &batchv1.Job{TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"}}
			job.Generation, job.Labels, job.Annotations = 1, placement([]string{"east", "west"}), annotations(t, tc.reports...)
			mergeInto(t, job, now)
			got := want{conditions: map[string]string{}, start: timeOf(job.Status.StartTime), complet: timeOf(job.Status.CompletionTime), succeeded: job.Status.Succeeded}
			for _, c := range job.Status.Conditions {
				got.conditions[string(c.Type)] = c.Message
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func timeOf(at *metav1.Time) string {
	if at == nil {
		return ""
	}
	return at.UTC().Format("2006-01-02T15:04:05Z")
}

func TestStatusAddressesAreUnitedAndSorted(t *testing.T) {
	service := &corev1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}}
	service.Labels = placement([]string{"east", "west"})
	east, west := complete("east", 0, 0), complete("west", 0, 0)
	east.Conditions, west.Conditions = nil, nil
	east.Addresses = []any{map[string]any{"ip": "10.0.0.2"}, map[string]any{"hostname": "lb.example"}}
	west.Addresses = []any{map[string]any{"ip": "10.0.0.1"}, map[string]any{"hostname": "lb.example"}}
	service.Annotations = annotations(t, west, east)
	mergeInto(t, service, now)
	want := []corev1.LoadBalancerIngress{{Hostname: "lb.example"}, {IP: "10.0.0.1"}, {IP: "10.0.0.2"}}
	if diff := cmp.Diff(want, service.Status.LoadBalancer.Ingress); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}

func TestStatusOfAKindWithoutAnEntry(t *testing.T) {
	say := func(cluster string, conditions ...protocol.ReportCondition) protocol.Report {
		return protocol.Report{Version: protocol.ReportVersion, Cluster: cluster, Generation: 1, LocalGeneration: 1, Counters: map[string]int64{"things": 7}, Conditions: conditions}
	}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Widget",
		"metadata": map[string]any{"name": "w", "generation": int64(1)},
		"status":   map[string]any{"things": int64(3), "phase": "Set by somebody"},
	}}
	object.SetLabels(placement([]string{"east", "west"}))
	object.SetAnnotations(annotations(t,
		say("east", protocol.ReportCondition{Type: "Ready", Status: "True"}, protocol.ReportCondition{Type: "Degraded", Status: "False"}, protocol.ReportCondition{Type: "Rare", Status: "True"}),
		say("west", protocol.ReportCondition{Type: "Ready", Status: "False", Reason: "NotYet", Message: "soon"}, protocol.ReportCondition{Type: "Degraded", Status: "False"}),
	))
	status, problem := Status(Input{Inputs: noInputs, Object: object, Now: now})
	if problem != "" {
		t.Error(problem)
	}
	got := map[string]string{}
	for _, c := range status[conditionsField].([]any) {
		fields := c.(map[string]any)
		got[fields["type"].(string)] = fields["status"].(string) + " " + fields["reason"].(string) + " " + fields["message"].(string)
	}
	want := map[string]string{
		"Ready":    "False NotYet west: soon",
		"Degraded": "False Merged In 2 clusters.",
		"Rare":     "Unknown Merged west: says nothing of it",
		"Synced":   "True Synced In place in 2 clusters.",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("conditions (-want +got):\n%s", diff)
	}
	if status["things"] != int64(3) || status["phase"] != "Set by somebody" {
		t.Errorf("the rest of the status is %v, want it as it was", status)
	}
	if _, ok := status[observedGeneration]; ok {
		t.Error("it has an observedGeneration that no cluster has spoken of")
	}
}

func TestStrategyWhoseOpinionCounts(t *testing.T) {
	at := func(report protocol.Report, written string) protocol.Report {
		report.Written = written
		return report
	}
	unavailable := func(cluster string) protocol.Report {
		return with(complete(cluster, 1, 2), func(r *protocol.Report) {
			r.Conditions = []protocol.ReportCondition{
				{Type: "Available", Status: "False", Reason: reasonUnavailable},
				{Type: "Progressing", Status: "False", Reason: reasonDeadlineExceeded, Message: "timed out"},
			}
			r.Counters = map[string]int64{replicas: 2, updatedReplicas: 2, readyReplicas: 1, availableReplicas: 1}
		})
	}
	minority := []protocol.Report{at(complete("east", 1, 2), "1970-01-01T00:00:03.000Z"), at(complete("north", 1, 2), "1970-01-01T00:00:02.000Z"), at(unavailable("west"), "1970-01-01T00:00:01.000Z")}
	even := []protocol.Report{at(complete("east", 1, 2), "1970-01-01T00:00:01.000Z"), at(unavailable("west"), "1970-01-01T00:00:02.000Z")}
	cases := map[string]struct {
		reason      string
		strategy    string
		reports     []protocol.Report
		available   string
		progressing string
		ready       int32
	}{
		"union of a minority":   {"the worst counts", "union", minority, "False", reasonDeadlineExceeded, 5},
		"majority over a few":   {"most say that it is available and complete; counters still are sums", "majority", minority, "True", reasonComplete, 5},
		"majority of half":      {"half is not more than half", "majority", even, "False", reasonProgressing, 3},
		"latest is good":        {"east was the last to write", "latest", minority, "True", reasonComplete, 2},
		"latest is bad":         {"west was", "latest", even, "False", reasonDeadlineExceeded, 1},
		"latest without report": {"nobody has written", "latest", nil, "False", reasonProgressing, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			placed := []string{"east", "north", "west"}
			if len(tc.reports) == 2 {
				placed = []string{"east", "west"}
			}
			all := annotations(t, tc.reports...)
			all[v1alpha1.StatusStrategyAnnotation] = tc.strategy
			in := deploymentInput{Generation: 1, Replicas: 2, Placed: placed, Annotations: all, Now: now}
			status := in.merge(t)
			if got := conditionOf(status, available); string(got.Status) != tc.available {
				t.Errorf("%s: Available is %s (%s), want %s", tc.reason, got.Status, got.Message, tc.available)
			}
			if got := conditionOf(status, progressing); got.Reason != tc.progressing {
				t.Errorf("%s: Progressing has reason %s (%s), want %s", tc.reason, got.Reason, got.Message, tc.progressing)
			}
			if status.ReadyReplicas != tc.ready {
				t.Errorf("%s: %d replicas are ready, want %d", tc.reason, status.ReadyReplicas, tc.ready)
			}
		})
	}
}

func TestStrategyNeverMakesAnUnfinishedRolloutReadAsDone(t *testing.T) {
	for _, strategy := range []string{"union", "majority", "latest"} {
		behind := with(complete("west", 1, 2), func(r *protocol.Report) { r.Counters[availableReplicas] = 1 })
		strategyAnnotations := annotations(t, complete("east", 1, 2), complete("north", 1, 2), behind)
		strategyAnnotations[v1alpha1.StatusStrategyAnnotation] = strategy
		upstream := &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}}
		upstream.Generation, upstream.Spec.Replicas = 1, new(int32(2))
		upstream.Labels, upstream.Annotations = placement([]string{"east", "north", "west"}), strategyAnnotations
		mergeInto(t, upstream, now)
		if isDoneTo(t, &polymorphichelpers.DeploymentStatusViewer{}, upstream) {
			t.Errorf("%s: kubectl says that it is rolled out, and west is not: %+v", strategy, upstream.Status)
		}
	}
}

func TestStrategyThatDoesNotExist(t *testing.T) {
	upstream := &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}}
	upstream.Annotations = map[string]string{v1alpha1.StatusStrategyAnnotation: "best"}
	problem := mergeInto(t, upstream, now)
	for _, part := range []string{v1alpha1.StatusStrategyAnnotation, `"best"`, "union, majority or latest"} {
		if !strings.Contains(problem, part) {
			t.Errorf("%q does not say %s", problem, part)
		}
	}
}

func TestStatusCountsPresentInputsOnly(t *testing.T) {
	upstream := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "app", "generation": int64(1)}}}
	upstream.SetLabels(placement([]string{"east"}))
	report := complete("east", 1, 1)
	report.Inputs = "before"
	upstream.SetAnnotations(annotations(t, report))
	for inputs, want := range map[string]int64{"before": 1, "after": 0} {
		status, _ := Status(Input{Object: upstream, Inputs: func(string) string { return inputs }, Now: now})
		if got, _ := status[observedGeneration].(int64); got != want {
			t.Errorf("with inputs %q, generation %v is observed, want %d", inputs, status[observedGeneration], want)
		}
	}
}

// saying is a cluster's report on something of generation 1, with that in its status.
func saying(cluster string, counters map[string]int64, texts map[string]string, conditions ...protocol.ReportCondition) protocol.Report {
	return protocol.Report{
		Version: protocol.ReportVersion, Cluster: cluster, Generation: 1, LocalGeneration: 1,
		Counters: counters, Texts: texts, Conditions: conditions,
	}
}

// mergeOn merges the reports on an object of generation 1 that is placed on the
// clusters, and returns its status, its conditions as "status reason message" by
// type.
func mergeOn(t *testing.T, apiVersion, kind string, clusters []string, strategy string, reports ...protocol.Report) (status map[string]any, conditions map[string]string) {
	t.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind,
		"metadata": map[string]any{"name": "x", "generation": int64(1)},
	}}
	object.SetLabels(placement(clusters))
	all := annotations(t, reports...)
	all[v1alpha1.StatusStrategyAnnotation] = strategy
	object.SetAnnotations(all)
	status, problem := Status(Input{Inputs: noInputs, Object: object, Now: now})
	if problem != "" {
		t.Error(problem)
	}
	conditions = map[string]string{}
	for _, c := range status[conditionsField].([]any) {
		fields := c.(map[string]any)
		conditions[fields["type"].(string)] = fields["status"].(string) + " " + fields["reason"].(string) + " " + fields["message"].(string)
	}
	delete(status, conditionsField)
	return status, conditions
}

func TestStatusOfClaims(t *testing.T) {
	claim := func(cluster, said string) protocol.Report {
		report := saying(cluster, nil, map[string]string{phase: said})
		report.Written = map[string]string{"east": "1970-01-01T00:00:02.000Z", "west": "1970-01-01T00:00:01.000Z"}[cluster]
		return report
	}
	both := []string{"east", "west"}
	cases := map[string]struct {
		reason   string
		clusters []string
		strategy string
		reports  []protocol.Report
		want     string
	}{
		"bound in all":      {"every cluster says so", both, "union", []protocol.Report{claim("east", "Bound"), claim("west", "Bound")}, "Bound"},
		"pending in one":    {"one waits", both, "union", []protocol.Report{claim("east", "Bound"), claim("west", "Pending")}, "Pending"},
		"one is silent":     {"nobody knows of west's", both, "union", []protocol.Report{claim("east", "Bound")}, "Pending"},
		"one has no phase":  {"its copy is new", both, "union", []protocol.Report{claim("east", "Bound"), claim("west", "")}, "Pending"},
		"lost in one":       {"what it held is gone", both, "union", []protocol.Report{claim("east", "Bound"), claim("west", "Lost")}, "Lost"},
		"lost and pending":  {"lost is worse than pending", both, "union", []protocol.Report{claim("east", "Lost"), claim("west", "Pending")}, "Lost"},
		"an unknown phase":  {"it is not bound, for all that is known", both, "union", []protocol.Report{claim("east", "Bound"), claim("west", "Haunted")}, "Pending"},
		"latest alone":      {"east was the last to write, and it alone is shown", both, "latest", []protocol.Report{claim("east", "Bound"), claim("west", "Lost")}, "Bound"},
		"a majority":        {"a phase is no opinion: all are looked at", both, "majority", []protocol.Report{claim("east", "Bound"), claim("west", "Lost")}, "Lost"},
		"placed nowhere":    {"nothing is bound there", nil, "union", nil, "Pending"},
		"nobody has spoken": {"nor there", both, "latest", nil, "Pending"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			status, _ := mergeOn(t, "v1", "PersistentVolumeClaim", tc.clusters, tc.strategy, tc.reports...)
			if diff := cmp.Diff(map[string]any{phase: tc.want}, status); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestConditionsOfAClaimThatIsResized(t *testing.T) {
	_, conditions := mergeOn(t, "v1", "PersistentVolumeClaim", []string{"east", "west"}, "union",
		saying("east", nil, map[string]string{phase: "Bound"}, protocol.ReportCondition{Type: "FileSystemResizePending", Status: "True", Message: "waits for a pod"}),
		saying("west", nil, map[string]string{phase: "Bound"}))
	want := map[string]string{
		"FileSystemResizePending": "True Merged east: waits for a pod; west: says nothing of it",
		"Synced":                  "True Synced In place in 2 clusters.",
	}
	if diff := cmp.Diff(want, conditions); diff != "" {
		t.Errorf("clusters take the condition away when they are done (-want +got):\n%s", diff)
	}
}

func TestStatusOfBudgets(t *testing.T) {
	allowed := protocol.ReportCondition{Type: "DisruptionAllowed", Status: "True", Reason: "SufficientPods"}
	denied := protocol.ReportCondition{Type: "DisruptionAllowed", Status: "False", Reason: "InsufficientPods"}
	report := func(cluster string, healthy, disruptions int64, condition protocol.ReportCondition) protocol.Report {
		r := saying(cluster, map[string]int64{currentHealthy: healthy, desiredHealthy: 2, expectedPods: 3, disruptionsAllowed: disruptions}, nil, condition)
		r.LocalObservedGeneration = 1
		return r
	}
	none := map[string]any{currentHealthy: int64(0), desiredHealthy: int64(0), expectedPods: int64(0), disruptionsAllowed: int64(0)}
	cases := map[string]struct {
		reason    string
		clusters  []string
		reports   []protocol.Report
		want      map[string]any
		condition string
	}{
		"both allow": {
			"all counters add up, and all clusters have seen it", []string{"east", "west"},
			[]protocol.Report{report("east", 3, 1, allowed), report("west", 3, 1, allowed)},
			map[string]any{currentHealthy: int64(6), desiredHealthy: int64(4), expectedPods: int64(6), disruptionsAllowed: int64(2), observedGeneration: int64(1)},
			"True SufficientPods In 2 clusters.",
		},
		"one denies": {
			"the condition names it, and the sum is what the other one allows", []string{"east", "west"},
			[]protocol.Report{report("east", 3, 1, allowed), report("west", 2, 0, denied)},
			map[string]any{currentHealthy: int64(5), desiredHealthy: int64(4), expectedPods: int64(6), disruptionsAllowed: int64(1), observedGeneration: int64(1)},
			"False InsufficientPods west: InsufficientPods",
		},
		"nobody has reported": {"the API wants the counters even when they are 0", []string{"east"}, nil, none, ""},
		"placed nowhere":      {"there too", nil, nil, none, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			status, conditions := mergeOn(t, "policy/v1", "PodDisruptionBudget", tc.clusters, "union", tc.reports...)
			if diff := cmp.Diff(tc.want, status); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if got := conditions["DisruptionAllowed"]; got != tc.condition {
				t.Errorf("%s: DisruptionAllowed is %q, want %q", tc.reason, got, tc.condition)
			}
		})
	}
}

func TestStatusOfAutoscalers(t *testing.T) {
	report := func(cluster string, current, desired int64, scaled string, limited metav1.ConditionStatus) protocol.Report {
		return saying(cluster, map[string]int64{currentReplicas: current, desiredReplicas: desired}, map[string]string{lastScaleTime: scaled},
			protocol.ReportCondition{Type: "AbleToScale", Status: "True", Reason: "ReadyForNewScale"},
			protocol.ReportCondition{Type: "ScalingLimited", Status: limited, Reason: "TooManyReplicas"})
	}
	east, west := report("east", 2, 3, "2026-01-01T00:00:09Z", "False"), report("west", 1, 1, "2026-01-01T00:00:08Z", "True")
	wantConditions := map[string]string{
		"AbleToScale":    "True ReadyForNewScale In 2 clusters.",
		"ScalingLimited": "True TooManyReplicas west: TooManyReplicas",
		"Synced":         "True Synced In place in 2 clusters.",
	}
	status, conditions := mergeOn(t, "autoscaling/v2", "HorizontalPodAutoscaler", []string{"east", "west"}, "union", east, west)
	want := map[string]any{currentReplicas: int64(3), desiredReplicas: int64(4), lastScaleTime: "2026-01-01T00:00:09Z"}
	if diff := cmp.Diff(want, status); diff != "" {
		t.Errorf("sums, the latest time, and no observedGeneration, of which no cluster speaks (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantConditions, conditions); diff != "" {
		t.Errorf("able where all are, limited where one is (-want +got):\n%s", diff)
	}

	east.LocalObservedGeneration = 1
	status, _ = mergeOn(t, "autoscaling/v2", "HorizontalPodAutoscaler", []string{"east", "west"}, "union", east, west)
	if status[observedGeneration] != int64(1) {
		t.Errorf("an autoscaler that writes observedGeneration is believed; got %v", status[observedGeneration])
	}

	status, _ = mergeOn(t, "autoscaling/v2", "HorizontalPodAutoscaler", []string{"east"}, "union")
	if diff := cmp.Diff(map[string]any{currentReplicas: int64(0), desiredReplicas: int64(0)}, status); diff != "" {
		t.Errorf("the API wants the counters even when they are 0 (-want +got):\n%s", diff)
	}
}

func TestStatusOfCronJobs(t *testing.T) {
	cases := map[string]struct {
		reason  string
		reports []protocol.Report
		want    map[string]any
	}{
		"both": {
			reason: "each time is the latest of its own",
			reports: []protocol.Report{
				saying("east", nil, map[string]string{lastScheduleTime: "2026-01-01T00:02:00Z", lastSuccessfulTime: "2026-01-01T00:00:09Z"}),
				saying("west", nil, map[string]string{lastScheduleTime: "2026-01-01T00:01:00Z", lastSuccessfulTime: "2026-01-01T00:01:09Z"}),
			},
			want: map[string]any{lastScheduleTime: "2026-01-01T00:02:00Z", lastSuccessfulTime: "2026-01-01T00:01:09Z"},
		},
		"one has not run yet": {
			reason:  "the other one has",
			reports: []protocol.Report{saying("east", nil, map[string]string{lastScheduleTime: "2026-01-01T00:02:00Z"}), saying("west", nil, nil)},
			want:    map[string]any{lastScheduleTime: "2026-01-01T00:02:00Z"},
		},
		"none has run yet": {
			reason:  "there is no time, and never an observedGeneration",
			reports: []protocol.Report{saying("east", nil, nil), saying("west", nil, nil)},
			want:    map[string]any{},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			status, conditions := mergeOn(t, "batch/v1", "CronJob", []string{"east", "west"}, "union", tc.reports...)
			if diff := cmp.Diff(tc.want, status); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(map[string]string{"Synced": "True Synced In place in 2 clusters."}, conditions); diff != "" {
				t.Errorf("%s, conditions (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestStatusOfNetworkPolicies(t *testing.T) {
	status, conditions := mergeOn(t, "networking.k8s.io/v1", "NetworkPolicy", []string{"east", "west"}, "union", saying("east", nil, nil))
	if diff := cmp.Diff(map[string]any{}, status); diff != "" {
		t.Errorf("the rest of the status (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"Reconciling": "True NotReported west: has not reported", "Synced": "False NotReported west: has not reported"}, conditions); diff != "" {
		t.Errorf("conditions (-want +got):\n%s", diff)
	}
}

func TestConditionsOfALoadBalancersPorts(t *testing.T) {
	_, conditions := mergeOn(t, "v1", "Service", []string{"east", "west"}, "union",
		saying("east", nil, nil, protocol.ReportCondition{Type: "LoadBalancerPortsError", Status: "False"}),
		saying("west", nil, nil, protocol.ReportCondition{Type: "LoadBalancerPortsError", Status: "True", Reason: "Mixed", Message: "no such protocol"}))
	if got, want := conditions["LoadBalancerPortsError"], "True Mixed west: no such protocol"; got != want {
		t.Errorf("LoadBalancerPortsError is %q, want %q", got, want)
	}
}

// TestStatusIsValidForItsKind holds the names of fields against Kubernetes' own
// types.
func TestStatusIsValidForItsKind(t *testing.T) {
	texts := map[string]string{
		phase: "Bound", lastScaleTime: "2026-01-01T00:00:01Z", lastScheduleTime: "2026-01-01T00:00:01Z", lastSuccessfulTime: "2026-01-01T00:00:01Z",
	}
	at := metav1.Unix(1767225601, 0)
	counters := map[string]int64{currentReplicas: 1, desiredReplicas: 2, currentHealthy: 3, desiredHealthy: 4, disruptionsAllowed: 5, expectedPods: 6}
	cases := map[string]struct {
		apiVersion, kind string
		got, want        any
	}{
		"persistent volume claim":   {"v1", "PersistentVolumeClaim", &corev1.PersistentVolumeClaimStatus{}, &corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound}},
		"cron Job":                  {"batch/v1", "CronJob", &batchv1.CronJobStatus{}, &batchv1.CronJobStatus{LastScheduleTime: &at, LastSuccessfulTime: &at}},
		"horizontal pod autoscaler": {"autoscaling/v2", "HorizontalPodAutoscaler", &autoscalingv2.HorizontalPodAutoscalerStatus{}, &autoscalingv2.HorizontalPodAutoscalerStatus{CurrentReplicas: 1, DesiredReplicas: 2, LastScaleTime: &at}},
		"pod disruption budget":     {"policy/v1", "PodDisruptionBudget", &policyv1.PodDisruptionBudgetStatus{}, &policyv1.PodDisruptionBudgetStatus{CurrentHealthy: 3, DesiredHealthy: 4, DisruptionsAllowed: 5, ExpectedPods: 6}},
		"network policy":            {"networking.k8s.io/v1", "NetworkPolicy", &struct{}{}, &struct{}{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			status, _ := mergeOn(t, tc.apiVersion, tc.kind, []string{"east"}, "union", saying("east", counters, texts))
			if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(status, tc.got, true); err != nil {
				t.Fatalf("the merged status is none of the kind: %v", err)
			}
			if diff := cmp.Diff(tc.want, tc.got); diff != "" {
				t.Errorf("the status (-want +got):\n%s", diff)
			}
		})
	}
}
