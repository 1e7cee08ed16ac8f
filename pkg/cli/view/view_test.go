package view

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// stillKept is what the scheduler once wrote of a cluster that an object is kept on.
const stillKept = "stays until it is available elsewhere"

const tenantType = "root:tmc:tmc-tenant"

var now = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

// change changes an object under test.
type change func(obj *unstructured.Unstructured)

// deployment returns a Deployment of three replicas in its second generation.
func deployment(changes ...change) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"namespace": "shop", "name": "web", "generation": int64(2)},
		"spec":     map[string]any{"replicas": int64(3)},
	}}
	for _, change := range changes {
		change(obj)
	}
	return obj
}

func ofKind(apiVersion, kind string) change {
	return func(obj *unstructured.Unstructured) { obj.SetAPIVersion(apiVersion); obj.SetKind(kind) }
}

func annotated(key, value string) change {
	return func(obj *unstructured.Unstructured) {
		annotations := obj.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[key] = value
		obj.SetAnnotations(annotations)
	}
}

func placed(clusters ...string) change {
	return func(obj *unstructured.Unstructured) {
		labels := obj.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		for _, cluster := range clusters {
			labels[v1alpha1.PlacementLabel(cluster)] = v1alpha1.PlacementLabelValue
		}
		obj.SetLabels(labels)
	}
}

func named(name string) change {
	return func(obj *unstructured.Unstructured) { obj.SetName(name) }
}

func held(cluster string) change {
	return func(obj *unstructured.Unstructured) {
		obj.SetFinalizers(append(obj.GetFinalizers(), v1alpha1.Finalizer(cluster)))
	}
}

func leaving(cluster string) change {
	return annotated(v1alpha1.DeletionAnnotation(cluster), "2026-08-01T11:00:00Z")
}

func isFalse(conditionType, reason, message string) change {
	return func(obj *unstructured.Unstructured) {
		conditions, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
		conditions = append(conditions, map[string]any{"type": conditionType, "status": "False", "reason": reason, "message": message})
		_ = unstructured.SetNestedSlice(obj.Object, conditions, "status", "conditions")
	}
}

// reported adds the report of a cluster that is well, changed, and places the object there.
func reported(cluster string, available int64, changes ...func(*protocol.Report)) change {
	return func(obj *unstructured.Unstructured) {
		placed(cluster)(obj)
		report := protocol.Report{
			Version: protocol.ReportVersion, Cluster: cluster, Generation: obj.GetGeneration(), Inputs: protocol.Read(obj).Inputs(cluster),
			LocalGeneration: 4, LocalObservedGeneration: 4, Replicas: new(int64(3)), Counters: map[string]int64{"availableReplicas": available},
		}
		for _, change := range changes {
			change(&report)
		}
		encoded, _ := report.Encode()
		annotated(v1alpha1.StatusAnnotation(cluster), encoded)(obj)
	}
}

func older(r *protocol.Report)      { r.Generation = 1 }
func unobserved(r *protocol.Report) { r.LocalObservedGeneration = 3 }
func otherInputs(r *protocol.Report) {
	r.Inputs = "0"
}

func refused(r *protocol.Report) {
	r.Problems = []protocol.Problem{{Reason: "Forbidden", Message: "quota exceeded"}}
}

// hindered has a cluster say why two pods do not run, and that it may make no others.
func hindered(r *protocol.Report) {
	r.Causes = []protocol.Cause{{Reason: "ImagePullBackOff", Count: 2, Message: "nope:1\nnot found"}, {Reason: "FailedCreate", Message: "exceeded quota"}}
}

// divided gives a cluster its share of a number of replicas.
func divided(cluster string, share, of int) change {
	return func(obj *unstructured.Unstructured) {
		annotated(v1alpha1.ReplicasAnnotation(cluster), fmt.Sprint(share))(obj)
		annotated(v1alpha1.PlacementAnnotation, fmt.Sprintf(`{"by":"placement","name":"spread","replicas":%d}`, of))(obj)
	}
}

// isSilent has the hub say that clusters are silent.
func isSilent(clusters ...string) change {
	return func(obj *unstructured.Unstructured) {
		conditions, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
		for _, cluster := range clusters {
			conditions = append(conditions, map[string]any{"type": v1alpha1.SilentCondition(cluster), "status": "True", "reason": "ClusterSilent", "message": "silent since 11:00"})
		}
		_ = unstructured.SetNestedSlice(obj.Object, conditions, "status", "conditions")
	}
}

func says(conditionType string, status metav1.ConditionStatus, reason string) func(*protocol.Report) {
	return func(r *protocol.Report) {
		r.Conditions = append(r.Conditions, protocol.ReportCondition{Type: conditionType, Status: status, Reason: reason, Message: "it says so"})
	}
}

func counts(counters map[string]int64) func(*protocol.Report) {
	return func(r *protocol.Report) { r.Replicas, r.Counters, r.LocalObservedGeneration = nil, counters, 0 }
}

func TestOnClusterCell(t *testing.T) {
	const east = "east"
	reason := func(why string) change {
		return annotated(v1alpha1.PlacementAnnotation, `{"by":"placement two","clusters":{"east":"`+why+`"}}`)
	}
	job := func(changes ...change) *unstructured.Unstructured {
		return deployment(append([]change{ofKind("batch/v1", "Job")}, changes...)...)
	}
	cases := map[string]struct {
		obj    *unstructured.Unstructured
		silent []string
		want   string
		ready  string
	}{
		"done":                                {obj: deployment(reported(east, 3)), want: "3/3", ready: "3/3"},
		"not all available":                   {obj: deployment(reported(east, 1)), want: "1/3", ready: "1/3"},
		"a cause":                             {obj: deployment(reported(east, 1, hindered)), want: "1/3 !", ready: "1/3"},
		"a cause on a silent cluster":         {obj: deployment(reported(east, 1, hindered)), silent: []string{east}, want: "silent", ready: "0/3"},
		"a problem":                           {obj: deployment(reported(east, 2, refused)), want: "2/3 !", ready: "2/3"},
		"an exceeded deadline":                {obj: deployment(reported(east, 2, says("Progressing", "False", "ProgressDeadlineExceeded"))), want: "2/3 !", ready: "2/3"},
		"unavailable":                         {obj: deployment(reported(east, 0, says("Available", "False", "MinimumReplicasUnavailable"))), want: "0/3", ready: "0/3"},
		"an older generation":                 {obj: deployment(reported(east, 3, older)), want: "3/3 …", ready: "3/3"},
		"other inputs":                        {obj: deployment(reported(east, 3, otherInputs)), want: "3/3 …", ready: "3/3"},
		"not observed there":                  {obj: deployment(reported(east, 3, unobserved)), want: "3/3 …", ready: "3/3"},
		"not reported":                        {obj: deployment(placed(east)), want: "0/3 …", ready: "0/3"},
		"a share not reported":                {obj: deployment(placed(east), annotated("replicas.tmc.kcp.io/east", "2")), want: "0/2 …", ready: "0/2"},
		"a report of another cluster":         {obj: deployment(placed(east), annotated("status.tmc.kcp.io/east", `{"v":1,"cluster":"west"}`)), want: "0/3 …", ready: "0/3"},
		"leaving":                             {obj: deployment(reported(east, 3), leaving(east)), want: "leaving", ready: "-"},
		"held without its label":              {obj: deployment(held(east)), want: "leaving", ready: "-"},
		"kept":                                {obj: deployment(reason(stillKept), reported(east, 3)), want: "3/3 kept", ready: "3/3"},
		"silent":                              {obj: deployment(reported(east, 3)), silent: []string{east}, want: "silent", ready: "0/3"},
		"the hub says that it is silent":      {obj: deployment(reported(east, 3), isFalse("Synced", "ClusterSilent", "north: silent since 11:00 and 4 more"), isSilent("north", east)), want: "silent", ready: "0/3"},
		"a workload that is called heartbeat": {obj: deployment(named("heartbeat"), reported(east, 3, refused), isFalse("Synced", "Conflict", "east: Deployment shop/heartbeat is in the way; was not heard of before")), want: "3/3 !", ready: "3/3"},
		"a division of another number of replicas": {obj: deployment(divided(east, 3, 5), reported(east, 3)), want: "3/3 …", ready: "3/3"},
		"a Job that has ended on a silent cluster": {obj: job(reported(east, 0, counts(map[string]int64{"succeeded": 1}), says("Complete", "True", ""))), silent: []string{east}, want: "1/1", ready: "1/1"},
		"Synced says something else":               {obj: deployment(reported(east, 3), isFalse("Synced", "Forbidden", "east: quota exceeded")), want: "3/3", ready: "3/3"},
		"the registry knows better":                {obj: deployment(reported(east, 3), isSilent(east)), silent: []string{"none"}, want: "3/3", ready: "3/3"},
		"a Job that runs":                          {obj: job(reported(east, 0, counts(nil))), want: "0/1", ready: "0/1"},
		"a Job that is done":                       {obj: job(reported(east, 0, counts(map[string]int64{"succeeded": 1}))), want: "1/1", ready: "1/1"},
		"a Job that has failed":                    {obj: job(reported(east, 0, counts(nil), says("Failed", "True", "BackoffLimitExceeded"))), want: "0/1 !", ready: "0/1"},
		"a DaemonSet":                              {obj: deployment(ofKind("apps/v1", "DaemonSet"), reported(east, 0, counts(map[string]int64{"desiredNumberScheduled": 5, "numberAvailable": 4}), func(r *protocol.Report) { r.LocalObservedGeneration = 4 })), want: "4/5", ready: "4/5"},
		"a DaemonSet without a report":             {obj: deployment(ofKind("apps/v1", "DaemonSet"), placed(east)), want: "0/? …", ready: "0/?"},
		"a CronJob":                                {obj: deployment(ofKind("batch/v1", "CronJob"), reported(east, 0, counts(nil))), want: "ok", ready: "-"},
		"a CronJob not reported":                   {obj: deployment(ofKind("batch/v1", "CronJob"), placed(east)), want: "…", ready: "-"},
		"a ConfigMap that is refused":              {obj: deployment(ofKind("v1", "ConfigMap"), reported(east, 0, refused)), want: "!", ready: "-"},
		"a workload that was deleted":              {obj: deployment(reported(east, 3), func(obj *unstructured.Unstructured) { obj.SetDeletionTimestamp(&metav1.Time{Time: now}) }), want: "leaving", ready: "-"},
		"an unreadable placement note":             {obj: deployment(reported(east, 3), annotated(v1alpha1.PlacementAnnotation, "{")), want: "3/3", ready: "3/3"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var silent sets.Set[string]
			if tc.silent != nil {
				silent = sets.New(tc.silent...)
			}
			w := Of(tc.obj, kinds.Kinds{}, silent)
			if len(w.Clusters) != 1 || w.Clusters[0].Name != east {
				t.Fatalf("clusters are %v", w.Clusters)
			}
			if got := w.Clusters[0].Cell(); got != tc.want {
				t.Errorf("the cell is %q, want %q", got, tc.want)
			}
			if got := w.Ready(); got != tc.ready {
				t.Errorf("READY is %q, want %q", got, tc.ready)
			}
		})
	}
}

// lines are the cells of a table, and its headers.
func lines(table *metav1.Table) []string {
	var headers []string
	for _, column := range table.ColumnDefinitions {
		headers = append(headers, column.Name)
	}
	all := []string{strings.Join(headers, "|")}
	for _, row := range table.Rows {
		all = append(all, strings.TrimSuffix(strings.ReplaceAll(fmt.Sprintln(separated(row.Cells)...), " | ", "|"), "\n"))
	}
	return all
}

func separated(cells []any) []any {
	var all []any
	for i, cell := range cells {
		if i > 0 {
			all = append(all, "|")
		}
		all = append(all, cell)
	}
	return all
}

func TestWorkloadTable(t *testing.T) {
	in := func(namespace, name string) change {
		return func(obj *unstructured.Unstructured) { obj.SetNamespace(namespace); obj.SetName(name) }
	}
	workloads := []Workload{
		Of(deployment(ofKind("batch/v1", "CronJob"), in("shop", "a"), reported("north", 0, counts(nil))), kinds.Kinds{}, nil),
		Of(deployment(reported("west", 3), reported("east", 2, refused)), kinds.Kinds{}, nil),
		Of(deployment(in("shop", "nowhere")), kinds.Kinds{}, nil),
		Of(deployment(ofKind("apps/v1", "StatefulSet"), in("db", "z"), reported("east", 3)), kinds.Kinds{}, nil),
	}
	SortWorkloads(workloads)
	want := []string{
		"Namespace|Kind|Name|Ready|east|north|west",
		"db|StatefulSet|z|3/3|3/3|-|-",
		"shop|Deployment|nowhere|-|-|-|-",
		"shop|Deployment|web|5/6|2/3 !|-|3/3",
		"shop|CronJob|a|-|-|ok|-",
	}
	if diff := cmp.Diff(want, lines(WorkloadTable(workloads, TableOptions{Namespaces: true}))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWorkloadTableOfManyClusters(t *testing.T) {
	var fine, mixed []change
	for i := range 20 {
		cluster := fmt.Sprintf("c%02d", i)
		fine = append(fine, reported(cluster, 3))
		switch {
		case i < 5:
			mixed = append(mixed, reported(cluster, 3, older))
		case i == 5:
			mixed = append(mixed, reported(cluster, 3, refused))
		case i == 6:
			mixed = append(mixed, reported(cluster, 3), leaving(cluster))
		default:
			mixed = append(mixed, reported(cluster, 3))
		}
	}
	workloads := []Workload{Of(deployment(fine...), kinds.Kinds{}, nil), Of(deployment(mixed...), kinds.Kinds{}, sets.New("c19")), Of(deployment(), kinds.Kinds{}, nil)}
	want := []string{
		"Kind|Name|Ready|Summary",
		"Deployment|web|60/60|20 clusters: 20 ok",
		"Deployment|web|54/57|20 clusters: 12 ok, 1 in trouble: c05; 5 lagging: c00, c01, c02 and 2 more; 1 silent: c19; 1 leaving: c06",
		"Deployment|web|-|on no cluster",
	}
	if diff := cmp.Diff(want, lines(WorkloadTable(workloads, TableOptions{}))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if wide := WorkloadTable(workloads, TableOptions{Wide: true}); len(wide.ColumnDefinitions) != 23 {
		t.Errorf("the wide table has %d columns, want one for each of 20 clusters and 3", len(wide.ColumnDefinitions))
	}
}

const describedWeb = `Name:            web
Namespace:       shop
Kind:            Deployment (apps/v1)
Generation:      2, observed 1
Ready:           1/5
Placed by:       placement spread
Missing:         3 clusters are asked for, 2 come into question
Clusters:
  east  placed  1/2 !
    Why:         fewest in its location
    Share:       2 of the replicas
    Applied:     generation 2 of 2, up to date, observed there
    Counters:    availableReplicas=1 replicas=2
    Why it does not run:
      2 of 2 pods: ImagePullBackOff: nope:1\nnot found
      FailedCreate: exceeded quota
    Not as they should be:
      Available=False MinimumReplicasUnavailable: it says so
    Problems:
      Forbidden: quota exceeded
  north  placed  0/3 …
    Report:      has not reported
  old  leaving
    Applied:     generation 1 of 2, not up to date
    Counters:    availableReplicas=3
Conditions:
  Available=False MinimumReplicasUnavailable: No minimum availability in east, north (2 of 2 clusters).
  Synced=False MissingDependency: ConfigMap shop/settings does not exist; east: quota exceeded
Events:
  2m ago  Normal  Placed  tmc-controller: on east
  30s ago (x3)  Warning  Forbidden  tmc-syncer: quota\nexceeded
What is wrong:
  placement: 3 clusters are asked for, 2 come into question
  MissingDependency: ConfigMap shop/settings does not exist; east: quota exceeded
  east: Forbidden: quota exceeded
  east: 2 of 2 pods: ImagePullBackOff: nope:1\nnot found
  east: FailedCreate: exceeded quota
  east: Available=False MinimumReplicasUnavailable: it says so
  north: has not reported
  old: has not removed its copy yet
`

func TestDescribe(t *testing.T) {
	obj := deployment(
		annotated(v1alpha1.PlacementAnnotation, `{"by":"placement","name":"spread","replicas":3,"clusters":{"east":"fewest in its location"},"message":"3 clusters are asked for, 2 come into question"}`),
		annotated("replicas.tmc.kcp.io/east", "2"),
		reported("east", 1, refused, hindered, says("Available", "False", "MinimumReplicasUnavailable"), says("Progressing", "True", "ReplicaSetUpdated"), func(r *protocol.Report) {
			r.Replicas, r.Counters["replicas"] = new(int64(2)), 2
		}),
		placed("north"),
		reported("old", 3, older), leaving("old"), held("old"),
		isFalse("Available", "MinimumReplicasUnavailable", "No minimum availability in east, north (2 of 2 clusters)."),
		isFalse("Synced", "MissingDependency", "ConfigMap shop/settings does not exist; east: quota exceeded"),
		func(obj *unstructured.Unstructured) {
			_ = unstructured.SetNestedField(obj.Object, int64(1), "status", "observedGeneration")
		},
	)
	events := []Event{
		{Type: "Warning", Reason: "Forbidden", From: "tmc-syncer", Message: "quota\nexceeded", Last: now.Add(-30 * time.Second), Count: 3},
		{Type: "Normal", Reason: "Placed", From: "tmc-controller", Message: "on east", Last: now.Add(-2 * time.Minute), Count: 1},
	}
	if diff := cmp.Diff(describedWeb, Describe(Of(obj, kinds.Kinds{}, nil), events, tenantType, now)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDescribeOfWhatIsWell(t *testing.T) {
	want := `Name:            web
Namespace:       shop
Kind:            Deployment (apps/v1)
Generation:      2
Ready:           3/3
Placed by:       its annotation target-clusters="east"
Clusters:
  east  placed  3/3
    Applied:     generation 2 of 2, up to date, observed there
    Counters:    availableReplicas=3
Events:          none
What is wrong:   nothing
`
	got := Describe(Of(deployment(annotated(v1alpha1.TargetClustersAnnotation, "east"), reported("east", 3)), kinds.Kinds{}, nil), nil, tenantType, now)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWorkloadProblems(t *testing.T) {
	cases := map[string]struct {
		obj    *unstructured.Unstructured
		silent sets.Set[string]
		want   []string
	}{
		"placed nowhere":      {obj: deployment(), want: []string{"Nowhere|it is placed on no cluster"}},
		"nowhere on purpose":  {obj: deployment(annotated(v1alpha1.TargetClustersAnnotation, ""))},
		"silent":              {obj: deployment(reported("east", 3)), silent: sets.New("east"), want: []string{"ClusterSilent|east: is silent: what it runs is not known"}},
		"an older generation": {obj: deployment(reported("east", 3, older)), want: []string{"OldGeneration|east: has applied generation 1, not yet 2"}},
		"other inputs":        {obj: deployment(reported("east", 3, otherInputs)), want: []string{"OldInputs|east: has not applied the present labels, annotations, override or share of replicas yet"}},
		"not observed":        {obj: deployment(reported("east", 3, unobserved)), want: []string{"NotObserved|east: has applied the present generation; its own controller has not observed that yet"}},
		"no copy":             {obj: deployment(reported("east", 0, func(r *protocol.Report) { r.Generation, r.LocalGeneration = 0, 0 })), want: []string{"NoCopy|east: has no copy of generation 2 yet", "Unavailable|east: has 0/3 available"}},
		"too few":             {obj: deployment(reported("east", 2)), want: []string{"Unavailable|east: has 2/3 available"}},
		"causes":              {obj: deployment(reported("east", 1, hindered)), want: []string{"ImagePullBackOff|east: 2 of 3 pods: ImagePullBackOff: nope:1\nnot found", "FailedCreate|east: FailedCreate: exceeded quota"}},
		"leaves with causes":  {obj: deployment(reported("east", 1, hindered), leaving("east")), want: []string{"StillThere|east: has not removed its copy yet"}},
		"causes of a DaemonSet": {
			obj: deployment(ofKind("apps/v1", "DaemonSet"), reported("east", 0, counts(map[string]int64{"desiredNumberScheduled": 8, "numberAvailable": 6}), hindered,
				func(r *protocol.Report) { r.LocalObservedGeneration = 4 })),
			want: []string{"ImagePullBackOff|east: 2 of 8 pods: ImagePullBackOff: nope:1\nnot found", "FailedCreate|east: FailedCreate: exceeded quota"},
		},
		"causes of a Job": {obj: deployment(ofKind("batch/v1", "Job"), reported("east", 0, counts(nil), hindered)), want: []string{"ImagePullBackOff|east: 2 pods: ImagePullBackOff: nope:1\nnot found", "FailedCreate|east: FailedCreate: exceeded quota"}},
		"cannot leave":    {obj: deployment(reported("east", 2, refused), leaving("east")), want: []string{"Forbidden|east: Forbidden: quota exceeded"}},
		"Synced quotes a cluster that says so itself": {
			obj:  deployment(reported("east", 3, refused), isFalse("Synced", "Forbidden", "east: quota exceeded")),
			want: []string{"Forbidden|east: Forbidden: quota exceeded"},
		},
		"a division of another number of replicas": {
			obj:  deployment(divided("east", 3, 5), reported("east", 3)),
			want: []string{"NotDivided|east: may run a former share: spec.replicas, or a partition, has changed and has not been divided again yet"},
		},
		"what the hub has found is told by its reason, whatever the message": {
			obj:  deployment(reported("east", 3), isFalse("Synced", "MissingDependency", "east: it names configmaps \"heartbeat\", which does not exist")),
			want: []string{"MissingDependency|MissingDependency: east: it names configmaps \"heartbeat\", which does not exist"},
		},
		"what Synced quotes of clusters is not the hub's, whatever the message": {
			obj: deployment(reported("east", 3), isFalse("Synced", "Forbidden", "quota exceeded in a cluster that is not named")),
		},
		"a cluster that is silent and has not reported": {obj: deployment(placed("east")), silent: sets.New("east"), want: []string{
			"ClusterSilent|east: is silent: what it runs is not known", "NotReported|east: has not reported",
		}},
		"a Job that has ended on a silent cluster": {
			obj:    deployment(ofKind("batch/v1", "Job"), reported("east", 0, counts(map[string]int64{"succeeded": 1}), says("Complete", "True", "CompletionsReached"))),
			silent: sets.New("east"),
		},
		"a budget that allows no disruption":    {obj: deployment(ofKind("policy/v1", "PodDisruptionBudget"), reported("east", 0, says("DisruptionAllowed", "False", "InsufficientPods")))},
		"a claim that is being resized":         {obj: deployment(ofKind("v1", "PersistentVolumeClaim"), reported("east", 0, says("Resizing", "True", "")))},
		"a claim whose resize fails":            {obj: deployment(ofKind("v1", "PersistentVolumeClaim"), reported("east", 0, says("NodeResizeError", "True", ""))), want: []string{"NodeResizeError|east: NodeResizeError=True it says so"}},
		"a custom resource that is not ready":   {obj: deployment(ofKind("example.com/v1", "Widget"), reported("east", 3, says("Ready", "False", "NotYet"))), want: []string{"Ready|east: Ready=False NotYet: it says so"}},
		"a custom resource that is under way":   {obj: deployment(ofKind("example.com/v1", "Widget"), reported("east", 3, says("Reconciling", "True", "")))},
		"a custom resource that counts too few": {obj: deployment(ofKind("example.com/v1", "Widget"), reported("east", 2)), want: []string{"Unavailable|east: has 2/3 available"}},
		"a Job that runs":                       {obj: deployment(ofKind("batch/v1", "Job"), reported("east", 0, counts(nil), says("Suspended", "False", "JobResumed")))},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, problem := range Of(tc.obj, kinds.Kinds{}, tc.silent).Problems {
				got = append(got, problem.Reason+"|"+problem.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWorkloadsAsJSON(t *testing.T) {
	data, err := json.Marshal(NewList("WorkloadList", []Workload{Of(deployment(placed("north"), reported("east", 2, refused, hindered)), kinds.Kinds{}, sets.New("none"))}))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"apiVersion":"view.tmc.kcp.io/v1","kind":"WorkloadList","items":[` +
		`{"apiVersion":"apps/v1","kind":"Deployment","namespace":"shop","name":"web","generation":2,"available":2,"wanted":6,"clusters":[` +
		`{"name":"east","state":"placed","generation":2,"upToDate":true,"observed":true,"available":2,"wanted":3,"counters":{"availableReplicas":2},` +
		`"causes":[{"reason":"ImagePullBackOff","pods":2,"message":"nope:1\nnot found"},{"reason":"FailedCreate","message":"exceeded quota"}],"problems":["Forbidden: quota exceeded"]},` +
		`{"name":"north","state":"placed","unreported":"has not reported","upToDate":false,"observed":false,"available":0,"wanted":3}],` +
		`"problems":["east: Forbidden: quota exceeded","east: 2 of 3 pods: ImagePullBackOff: nope:1\nnot found","east: FailedCreate: exceeded quota","north: has not reported"]}]}`
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if data, _ := json.Marshal(NewList[Workload]("WorkloadList", nil)); !strings.Contains(string(data), `"items":[]`) {
		t.Errorf("an empty list is %s", data)
	}
}

func registration(name string, ready metav1.ConditionStatus, changes ...func(*v1alpha1.ClusterRegistration)) *v1alpha1.ClusterRegistration {
	r := &v1alpha1.ClusterRegistration{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.Time{Time: now.Add(-48 * time.Hour)}}}
	if ready != "" {
		r.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: ready}}
	}
	for _, change := range changes {
		change(r)
	}
	return r
}

func capacity(r *v1alpha1.ClusterRegistration) {
	r.Spec.Location = "eu"
	r.Status.KubernetesVersion, r.Status.Nodes = "v1.36.3", 3
	r.Status.Allocatable = corev1.ResourceList{"cpu": resource.MustParse("16"), "memory": resource.MustParse("64Gi"), "pods": resource.MustParse("330")}
	r.Status.Requested = corev1.ResourceList{"cpu": resource.MustParse("2550m"), "memory": resource.MustParse("12800Mi"), "pods": resource.MustParse("33")}
}

func TestClusterTable(t *testing.T) {
	cordoned := func(r *v1alpha1.ClusterRegistration) { r.Spec.Unschedulable = true }
	isolated := func(r *v1alpha1.ClusterRegistration) { r.Spec.Isolation = v1alpha1.IsolationCluster }
	grouped := func(r *v1alpha1.ClusterRegistration) {
		r.Spec.Isolation, r.Spec.IsolationGroup = v1alpha1.IsolationGroup, "eu-prod"
	}
	ruled := func(mode v1alpha1.NamespaceMode) func(*v1alpha1.ClusterRegistration) {
		return func(r *v1alpha1.ClusterRegistration) { r.Spec.Transform = &v1alpha1.TransformRule{NamespaceMode: mode} }
	}
	drained := func(r *v1alpha1.ClusterRegistration) { r.Spec.Unschedulable, r.Spec.Drain = true, true }
	deleted := func(r *v1alpha1.ClusterRegistration) { r.DeletionTimestamp = &metav1.Time{Time: now} }
	known := Known{
		Heartbeats: map[string]time.Time{"east": now.Add(-7 * time.Second), "west": now.Add(3 * time.Second)},
		Workloads:  map[string]int{"east": 41},
	}
	clusters := []Cluster{
		ClusterOf(registration("east", "True", capacity), known),
		ClusterOf(registration("west", "Unknown", cordoned, ruled("")), known),
		ClusterOf(registration("north", "True", drained, isolated, ruled(v1alpha1.NamespaceModeShared)), known),
		ClusterOf(registration("south", "", drained, deleted, grouped), Known{}),
	}
	want := []string{
		"Name|Location|Ready|Isolation|Namespaces|Heartbeat|Version|Nodes|Workloads|CPU|Memory|Pods|Age",
		"east|eu|True|Shared|-|7s|v1.36.3|3|41|2.6/16 (15%)|12.5Gi/64Gi (19%)|33/330 (10%)|2d",
		"west|-|Unknown,Cordoned|Shared|Exclusive|0s|-|0|0|-|-|-|2d",
		"north|-|True,Draining|Cluster|Shared|never|-|0|0|-|-|-|2d",
		"south|-|Unknown,Leaving|Group/eu-prod|-|-|-|0|-|-|-|-|2d",
	}
	if warning := SharedNamespaces(clusters); !strings.Contains(warning, "use north. There") {
		t.Errorf("got the warning %q, want one about north alone", warning)
	}
	if warning := SharedNamespaces(clusters[:2]); warning != "" {
		t.Errorf("got the warning %q about clusters that keep workspaces apart", warning)
	}
	if diff := cmp.Diff(want, lines(ClusterTable(clusters, now))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	data, err := json.Marshal(clusters[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`{"metadata":{"name":"east"`, `"spec":{"location":"eu"}`, `"allocatable":{"cpu":"16"`, `"summary":{"ready":"True","isolation":"Shared","lastHeartbeat":"2026-08-01T11:59:53Z","workloads":41}`} {
		if !strings.Contains(string(data), part) {
			t.Errorf("no %s in %s", part, data)
		}
	}
}

func TestRemainsText(t *testing.T) {
	rule := v1alpha1.TransformRule{NamespacePrefix: "eu-"}
	var remains []Remain
	for _, name := range []string{"c", "b", "a"} {
		remain := RemainOf(&metav1.ObjectMeta{Namespace: "shop", Name: name}, "Deployment", "ws-"+name, "east", rule)
		if name != "a" {
			remain.WorkspacePath = "root:team"
		}
		remains = append(remains, remain)
	}
	SortRemains(remains)
	want := "workspace ws-a:\n  shop/deployment/a, there eu-shop/deployment/a\n" +
		"workspace ws-b (root:team):\n  shop/deployment/b, there eu-shop/deployment/b\n" +
		"workspace ws-c (root:team):\n  shop/deployment/c, there eu-shop/deployment/c\n" // who says another's path is not taken for it
	if diff := cmp.Diff(want, RemainsText(remains, 3)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := RemainsText(remains, 1); !strings.HasSuffix(got, "shop/deployment/a\nand 2 more; -o json lists all\n") {
		t.Errorf("one of three gives\n%s", got)
	}
	same := RemainOf(&metav1.ObjectMeta{Namespace: "shop", Name: "a"}, "Job", "ws", "east", v1alpha1.TransformRule{})
	if got := RemainsText([]Remain{same}, 9); got != "workspace ws:\n  shop/job/a\n" {
		t.Errorf("without a rule: %q", got)
	}
}

func TestWhyThere(t *testing.T) {
	cases := map[string]struct {
		obj  *unstructured.Unstructured
		want string
	}{
		"not asked":    {deployment(placed("east")), "it has not been asked to leave yet"},
		"kept":         {deployment(placed("east"), annotated(v1alpha1.PlacementAnnotation, `{"by":"default","clusters":{"east":"`+stillKept+`"},"message":"short of one"}`)), "stays until it is available elsewhere: short of one"},
		"asked":        {deployment(placed("east"), leaving("east")), "its syncer was asked to remove the copy at 2026-08-01T11:00:00Z, and has not yet"},
		"cannot leave": {deployment(reported("east", 0, refused), leaving("east")), "Forbidden: quota exceeded"},
		"deleted":      {deployment(held("east")), "its syncer has not removed the copy yet"},
		"held":         {deployment(placed("east"), held("east"), drained), "it has been deleted, and runs on while these finalizers are on it: example.com/drain"},
	}
	for name, tc := range cases {
		if got := WhyThere(tc.obj, "east"); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

func TestWorkloadTableAndDescribeOfLeftOutClusters(t *testing.T) {
	partly := deployment(
		annotated(v1alpha1.PlacementAnnotation, `{"by":"default","clusters":{"east":"x"},"leftOut":{"west":"NotBound","north":"KindNotServed","south":"BindingsHidden"},"moreLeftOut":true}`),
		reported("east", 3),
	)
	const west = "west is not bound here: kubectl tmc bind, or make the workspace of type root:tmc:tmc-tenant"
	nowhere := deployment(annotated(v1alpha1.PlacementAnnotation, `{"by":"default","leftOut":{"west":"NotBound"},"message":"no cluster comes into question; `+west+`"}`))
	workloads := []Workload{Of(partly, kinds.Kinds{}, nil), Of(nowhere, kinds.Kinds{}, nil)}
	want := []string{
		"Kind|Name|Ready|east|north|south|west",
		"Deployment|web|3/3|3/3|not taken|bound?|not bound",
		"Deployment|web|-|-|-|-|not bound",
	}
	if diff := cmp.Diff(want, lines(WorkloadTable(workloads, TableOptions{}))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := workloads[0].Summary(); got != "1 cluster: 1 ok; left out: north, south, west" {
		t.Errorf("summed up it is %q", got)
	}
	if len(workloads[0].Problems) > 0 || len(workloads[1].Problems) == 0 {
		t.Errorf("what is somewhere has the problems %q, what is nowhere %q", workloads[0].Problems, workloads[1].Problems)
	}
	text := Describe(workloads[0], nil, tenantType, now)
	for _, part := range []string{"Left out:", "north does not take Deployment.apps", west, "there are others"} {
		if !strings.Contains(text, part) {
			t.Errorf("it does not say %q:\n%s", part, text)
		}
	}
	if text := Describe(workloads[1], nil, tenantType, now); strings.Contains(text, "Left out:") || !strings.Contains(text, west) {
		t.Errorf("it says it twice, or not at all:\n%s", text)
	}
}

// drained has an object be deleted that somebody's finalizer keeps.
func drained(obj *unstructured.Unstructured) {
	obj.SetDeletionTimestamp(&metav1.Time{Time: now})
	obj.SetFinalizers(append(obj.GetFinalizers(), "example.com/drain"))
}

func TestDescribeOfWhatSomebodyKeeps(t *testing.T) {
	kept := Of(deployment(reported("east", 3), held("east"), drained), kinds.Kinds{}, nil)
	if got := Describe(kept, nil, "", now); !strings.Contains(got, "runs on while these finalizers are on it: example.com/drain") || kept.Clusters[0].State != protocol.Placed {
		t.Errorf("got\n%s", got)
	}
	going := Of(deployment(reported("east", 3), held("east"), drained, func(obj *unstructured.Unstructured) { obj.SetFinalizers(obj.GetFinalizers()[:1]) }), kinds.Kinds{}, nil)
	if got := Describe(going, nil, "", now); !strings.Contains(got, "waits for the clusters that it is on") || going.Clusters[0].State != protocol.Leaving {
		t.Errorf("got\n%s", got)
	}
}
