package evaluate

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// said has a namespace say conditions, each as type, status and message.
func said(conditions ...[3]string) option {
	items := []any{}
	for _, c := range conditions {
		items = append(items, map[string]any{"type": c[0], "status": c[1], "message": c[2]})
	}
	return withStatus(map[string]any{"conditions": items})
}

func TestWaitsFor(t *testing.T) {
	namespace := func(options ...option) *unstructured.Unstructured {
		obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace"}}
		for _, shape := range options {
			shape(obj)
		}
		return obj
	}
	cases := map[string]struct {
		namespace *unstructured.Unstructured
		want      string
	}{
		"none":                  {nil, ""},
		"one that stays":        {namespace(said([3]string{"NamespaceContentRemaining", "True", "x"})), ""},
		"one that does not say": {namespace(deleting), "it does not say for what"},
		"what is false does not count": {namespace(deleting, said([3]string{"NamespaceDeletionContentFailure", "False", "All content successfully deleted"},
			[3]string{"NamespaceContentRemaining", "True", "Some resources are remaining: configmaps. has 1 resource instances, pods. has 12 resource instances"},
			[3]string{"NamespaceFinalizersRemaining", "True", "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"})),
			"Some content in the namespace has finalizers remaining: example.com/hold; Some resources are remaining: configmaps., pods."},
		"a service that is away": {namespace(deleting, said([3]string{"NamespaceDeletionDiscoveryFailure", "True", "Discovery failed for some groups"})), "Discovery failed for some groups"},
		"its own finalizers":     {namespace(deleting, func(obj *unstructured.Unstructured) { obj.SetFinalizers([]string{"a/b", "c"}) }), "finalizers of the namespace: a/b, c"},
		"conditions of no shape": {namespace(deleting, withStatus(map[string]any{"conditions": []any{"x", map[string]any{"status": "True"}}})), "it does not say for what"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := WaitsFor(c.namespace); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestEvaluateTerminatingNamespace(t *testing.T) {
	here := upstreamDeployment(placed, held)
	job := upstreamDeployment(asJob, placed, held, reported("Complete", 1))
	cases := map[string]struct {
		upstream, downstream *unstructured.Unstructured
		blocked              bool
		want                 Action
	}{
		"a new object waits":               {here, nil, true, Complain},
		"a copy that is there":             {here, copyOf(t, here), true, Complain},
		"a copy on its way out":            {here, copyOf(t, here, deleting), true, Complain},
		"a Job that has run is not missed": {job, nil, false, Nothing},
		"what leaves, leaves":              {upstreamDeployment(placed, held, deleting), copyOf(t, here), false, Delete},
		"what has left is released":        {upstreamDeployment(placed, held, deleting), nil, false, Release},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := inputOf(c.upstream, c.downstream)
			in.Target.Terminating = "pods"
			e := evaluated(t, in, nil)
			if (e.Problem != nil) != c.blocked || e.AwaitsNamespace != c.blocked || e.Decide(Surroundings{}).Action != c.want {
				t.Fatalf("problem %v, awaits its namespace: %t, does %s, want %s", e.Problem, e.AwaitsNamespace, e.Decide(Surroundings{}).Action, c.want)
			}
			if c.blocked && (e.Problem.Reason != ReasonTerminating || !strings.Contains(e.Problem.Message, "namespace default of the cluster") || !strings.HasSuffix(e.Problem.Message, ": pods")) {
				t.Errorf("got %+v", e.Problem)
			}
		})
	}
}

func TestDecideStuckCopy(t *testing.T) {
	here := upstreamDeployment(placed, held)
	hold := func(obj *unstructured.Unstructured) { obj.SetFinalizers([]string{"example.com/hold"}) }
	job := upstreamDeployment(asJob, placed, held, reported("Complete", 1))
	cases := map[string]struct {
		in    Input
		since time.Duration
		again time.Duration
		says  string
	}{
		"it has just been deleted":       {inputOf(here, copyOf(t, here, deleting)), 2 * time.Second, 3 * time.Second, ""},
		"it does not go":                 {inputOf(here, copyOf(t, here, deleting, hold)), StuckAfter, Recheck, "its finalizers keep it: example.com/hold"},
		"nothing keeps it":               {inputOf(here, copyOf(t, here, deleting)), time.Hour, Recheck, "does not say what keeps it"},
		"it is to go":                    {inputOf(upstreamDeployment(placed, held, deleting), copyOf(t, here, deleting, hold)), time.Hour, 0, ""},
		"the copy of a Job that has run": {inputOf(job, copyOf(t, job, deleting, hold)), time.Hour, 0, ""},
		"it stays":                       {inputOf(here, copyOf(t, here, hold)), 0, 0, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := evaluated(t, c.in, nil).Decide(Surroundings{EndingFor: c.since})
			if got.Action != Nothing || got.Again != c.again || len(got.Problems) > 0 != (c.says != "") {
				t.Fatalf("got %+v", got)
			}
			if c.says != "" && (got.Problems[0].Reason != ReasonCopyTerminating || !strings.Contains(got.Problems[0].Message, c.says)) {
				t.Errorf("got %+v", got.Problems)
			}
		})
	}
}
