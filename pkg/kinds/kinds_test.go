package kinds

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/kcp-tmc/tmc/pkg/protocol"
)

var (
	deployment = schema.GroupKind{Group: "apps", Kind: "Deployment"}
	daemonSet  = schema.GroupKind{Group: "apps", Kind: "DaemonSet"}
	job        = schema.GroupKind{Group: "batch", Kind: "Job"}
	configMap  = schema.GroupKind{Kind: "ConfigMap"}
	widget     = schema.GroupKind{Group: "example.com", Kind: "Widget"}
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	data, err := yaml.YAMLToJSON([]byte("{apiVersion: example.com/v1, kind: Widget, " + text + "}"))
	if err != nil {
		t.Fatal(err)
	}
	if err := obj.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	return obj
}

func TestTable(t *testing.T) {
	t.Run("every built-in entry could be an operator's", func(t *testing.T) {
		for _, kind := range table {
			if errs := kind.validate(); len(errs) > 0 {
				t.Errorf("%s: %v", kind.GroupKind(), errs)
			}
		}
	})
	t.Run("there is one entry for each kind", func(t *testing.T) {
		if len(byGroupKind) != len(table) {
			t.Errorf("%d kinds in %d entries", len(byGroupKind), len(table))
		}
	})
}

func TestKindsOf(t *testing.T) {
	var builtIn Kinds
	t.Run("a kind without a status", func(t *testing.T) {
		known := builtIn.WithoutStatus(widget).WithoutStatus(widget)
		if !known.Of(widget).Statusless || known.Of(widget).IsKnown() || known.Of(configMap) != builtIn.Of(configMap) {
			t.Errorf("%+v", known.Of(widget))
		}
		if all := known.All(); len(all) != len(table)+1 || builtIn.Of(widget).Statusless {
			t.Errorf("%d kinds have an entry", len(all))
		}
	})
	t.Run("workloads are shown in the order of the table", func(t *testing.T) {
		var names []string
		for _, kind := range builtIn.Workloads() {
			names = append(names, kind.GroupVersionResource().String())
		}
		want := []string{
			"apps/v1, Resource=deployments", "apps/v1, Resource=statefulsets", "apps/v1, Resource=daemonsets",
			"batch/v1, Resource=jobs", "batch/v1, Resource=cronjobs",
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("a kind without an entry is no workload and keeps its other counters", func(t *testing.T) {
		kind := builtIn.Of(widget)
		if kind.IsKnown() || kind.GroupKind() != widget || builtIn.IsWorkload(widget) || kind.Requires("replicas") {
			t.Errorf("it is taken for %+v", kind)
		}
	})
	t.Run("a DaemonSet's API requires counters", func(t *testing.T) {
		if kind := builtIn.Of(daemonSet); !kind.IsKnown() || !kind.Requires("numberReady") || kind.Requires("numberAvailable") {
			t.Error("another set of counters is required")
		}
	})
}

func TestConditionIsProblem(t *testing.T) {
	cases := map[string]struct {
		kind                       schema.GroupKind
		conditionType              string
		isTrue, isFalse, isUnknown bool
		failure, trueAnywhere      bool
	}{
		"a type that nobody knows is good when true":    {widget, "Shiny", false, true, true, false, false},
		"Ready is good when true":                       {widget, "Ready", false, true, true, false, false},
		"a stalled resource has failed":                 {widget, "Stalled", true, false, false, true, true},
		"a resource that reconciles is under way":       {widget, "Reconciling", false, false, false, false, true},
		"Degraded is bad, and no failure":               {widget, "Degraded", true, false, false, false, true},
		"a roll-out that does not progress has failed":  {deployment, "Progressing", false, true, true, true, false},
		"pods that cannot be made are a failure":        {deployment, "ReplicaFailure", true, false, false, true, true},
		"a Job that is not complete is well":            {job, "Complete", false, false, false, false, false},
		"a Job that failed has":                         {job, "Failed", true, false, false, true, true},
		"a resize of a claim is under way":              {schema.GroupKind{Kind: "PersistentVolumeClaim"}, "Resizing", false, false, false, false, true},
		"an error of a resize is a failure":             {schema.GroupKind{Kind: "PersistentVolumeClaim"}, "NodeResizeError", true, false, false, true, true},
		"an autoscaler at its bounds is worth a remark": {schema.GroupKind{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}, "ScalingLimited", true, false, false, false, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := Kinds{}.Of(tc.kind).Condition(tc.conditionType)
			got := []bool{c.IsProblem("True"), c.IsProblem("False"), c.IsProblem("Unknown"), c.Failure, c.TrueAnywhere()}
			if diff := cmp.Diff([]bool{tc.isTrue, tc.isFalse, tc.isUnknown, tc.failure, tc.trueAnywhere}, got); diff != "" {
				t.Errorf("problem when true, false, unknown; failure; true anywhere (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKindReplicasOf(t *testing.T) {
	cases := map[string]struct {
		kind   schema.GroupKind
		object string
		want   int64
		has    bool
	}{
		"a Deployment says":                        {deployment, "spec: {replicas: 3}", 3, true},
		"a Deployment that does not say wants one": {deployment, "spec: {}", 1, true},
		"null is not to say":                       {deployment, "spec: {replicas: null}", 1, true},
		"fewer than none are none":                 {deployment, "spec: {replicas: -3}", 0, true},
		"a text is no number":                      {deployment, "spec: {replicas: three}", 0, false},
		"a Job has none":                           {job, "spec: {replicas: 3}", 0, false},
		"a kind without an entry that has them":    {widget, "spec: {replicas: 3}", 3, true},
		"a kind without an entry that has none":    {widget, "spec: {size: 3}", 1, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			kind, obj := Kinds{}.Of(tc.kind), object(t, tc.object)
			got, has := kind.ReplicasOf(obj)
			if got != tc.want || has != tc.has {
				t.Errorf("got %d, %t", got, has)
			}
		})
	}
}

func TestKindPodsOf(t *testing.T) {
	counters := map[string]int64{"desiredNumberScheduled": 8, "succeeded": 2}
	cases := map[schema.GroupKind]struct {
		replicas *int64
		want     int64
	}{
		{Group: "apps", Kind: "Deployment"}: {new(int64(3)), 3},
		{Group: "apps", Kind: "DaemonSet"}:  {nil, 8},
		{Group: "batch", Kind: "Job"}:       {nil, 0},
	}
	for gk, tc := range cases {
		if got := (Kinds{}).Of(gk).PodsOf(protocol.Report{Replicas: tc.replicas, Counters: counters}); got != tc.want {
			t.Errorf("a cluster is to have %d pods of the %s, want %d", got, gk.Kind, tc.want)
		}
	}
}

func TestKindWantedAndAvailable(t *testing.T) {
	counting := func(local int64, counters map[string]int64) protocol.Report {
		return protocol.Report{Generation: 1, LocalGeneration: local, LocalObservedGeneration: local, Counters: counters}
	}
	cases := map[string]struct {
		kind              schema.GroupKind
		object            string
		share             *int64
		report            protocol.Report
		wanted, available *int64
		serves, hasToLose bool
	}{
		"what the copy asks for counts":             {deployment, "spec: {replicas: 5}", new(int64(2)), protocol.Report{Replicas: new(int64(3)), Counters: map[string]int64{"availableReplicas": 3}}, new(int64(3)), new(int64(3)), true, true},
		"before there is a copy, the share does":    {deployment, "spec: {replicas: 5}", new(int64(2)), protocol.Report{}, new(int64(2)), new(int64(0)), false, false},
		"without a share, the object does":          {deployment, "spec: {replicas: 5}", nil, protocol.Report{}, new(int64(5)), new(int64(0)), false, false},
		"a cluster says how many nodes there are":   {daemonSet, "spec: {}", nil, counting(1, map[string]int64{"desiredNumberScheduled": 4, "numberAvailable": 4}), new(int64(4)), new(int64(4)), true, true},
		"nodes that nobody has counted yet":         {daemonSet, "spec: {}", nil, protocol.Report{}, nil, new(int64(0)), true, false},
		"a Job counts what succeeded":               {job, "spec: {completions: 3}", nil, counting(1, map[string]int64{"succeeded": 2}), new(int64(3)), new(int64(2)), true, true},
		"a Job is complete once by default":         {job, "spec: {}", nil, counting(1, nil), new(int64(1)), new(int64(0)), true, true},
		"a ConfigMap counts nothing":                {configMap, "data: {}", nil, counting(1, nil), nil, nil, true, true},
		"a ConfigMap with a problem does not serve": {configMap, "data: {}", nil, protocol.Report{Problems: []protocol.Problem{{Reason: "Denied"}}}, nil, nil, false, false},
		"a kind without an entry that counts":       {widget, "spec: {replicas: 2}", nil, counting(1, map[string]int64{"availableReplicas": 1}), new(int64(2)), new(int64(1)), false, true},
		"a kind without an entry that does not":     {widget, "spec: {replicas: 2}", nil, counting(1, nil), new(int64(2)), nil, true, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			kind, obj := Kinds{}.Of(tc.kind), object(t, tc.object)
			wanted := kind.WantedOf(obj, tc.share, tc.report)
			if diff := cmp.Diff([]*int64{tc.wanted, tc.available}, []*int64{wanted, kind.AvailableIn(tc.report)}); diff != "" {
				t.Errorf("wanted and available (-want +got):\n%s", diff)
			}
			if wanted == nil {
				wanted = new(int64(0))
			}
			if kind.Serves(tc.report, *wanted) != tc.serves || kind.HasToLose(tc.report) != tc.hasToLose {
				t.Errorf("serves: %t, has to lose: %t", !tc.serves, !tc.hasToLose)
			}
		})
	}
}

func TestKindOfACopy(t *testing.T) {
	cases := map[string]struct {
		kind       schema.GroupKind
		object     string
		wants, has int64
	}{
		"a Deployment":                     {deployment, "spec: {replicas: 3}, status: {availableReplicas: 2}", 3, 2},
		"a DaemonSet":                      {daemonSet, "metadata: {generation: 1}, status: {observedGeneration: 1, desiredNumberScheduled: 5, numberAvailable: 4}", 5, 4},
		"a DaemonSet that was not counted": {daemonSet, "metadata: {generation: 2}, status: {observedGeneration: 1, desiredNumberScheduled: 5, numberAvailable: 4}", math.MaxInt64, 4},
		"a Job has nothing to lose":        {job, "metadata: {generation: 1}, status: {succeeded: 1}", math.MaxInt64, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			kind, obj := Kinds{}.Of(tc.kind), object(t, tc.object)
			if wants, has := kind.CopyWants(obj), kind.CopyHas(obj); wants != tc.wants || has != tc.has {
				t.Errorf("wants %d, has %d", wants, has)
			}
		})
	}
}

func TestKindHasEnded(t *testing.T) {
	cases := map[string]struct {
		kind   schema.GroupKind
		status string
		want   bool
	}{
		"a complete Job":              {job, "{conditions: [{type: Suspended, status: 'True'}, {type: Complete, status: 'True'}]}", true},
		"a failed Job":                {job, "{conditions: [{type: Failed, status: 'True'}]}", true},
		"a Job that is not":           {job, "{conditions: [{type: Failed, status: 'False'}]}", false},
		"a Job that says nothing":     {job, "{}", false},
		"a Deployment never does":     {deployment, "{conditions: [{type: Complete, status: 'True'}]}", false},
		"conditions that are no list": {job, "{conditions: yes}", false},
		"a condition that is none":    {job, "{conditions: [7]}", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := (Kinds{}).Of(tc.kind).HasEnded(object(t, "status: "+tc.status)); got != tc.want {
				t.Errorf("got %t", got)
			}
		})
	}
	for conditionType, want := range map[string]bool{"Complete": true, "Suspended": false} {
		report := protocol.Report{Conditions: []protocol.ReportCondition{{Type: conditionType, Status: metav1.ConditionTrue}}}
		if (Kinds{}).Of(job).ReportsEnd(report) != want {
			t.Errorf("a Job that reports %s has ended: %t", conditionType, !want)
		}
	}
}

// TestLosesAnnotations holds to what kubectl's rollback code does: of the kinds that it can undo, only Deployments get the annotations
// of what they are rolled back to.
func TestLosesAnnotations(t *testing.T) {
	for name, want := range map[string]bool{"Deployment": true, "StatefulSet": false, "DaemonSet": false} {
		if got := (Kinds{}).Of(schema.GroupKind{Group: "apps", Kind: name}).LosesAnnotations(); got != want {
			t.Errorf("%s: got %t", name, got)
		}
	}
	if (Kinds{}).Of(schema.GroupKind{Group: "example.com", Kind: "Deployment"}).LosesAnnotations() {
		t.Error("another group's Deployment is taken for one")
	}
}
