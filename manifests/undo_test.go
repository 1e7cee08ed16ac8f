package manifests

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/kcp-tmc/tmc/manifests/policytest"
)

// undone is what `kubectl rollout undo` makes of placed: the template of a revision, and the annotations of its ReplicaSet
// instead of all others.
const undone = `{metadata: {annotations: {kcp.io/cluster: null, team: green, tmc.kcp.io/placement: null, replicas.tmc.kcp.io/west: null,
status.tmc.kcp.io/west: null, deletion.tmc.kcp.io/west: null, tmc.kcp.io/target-clusters: west}},
spec: {template: {spec: {containers: [{name: app, image: web:0}]}}}}`

func TestConsumersPolicyOfRolloutUndo(t *testing.T) {
	deployments := deploymentsResource
	cases := map[string]struct {
		reason string
		// before and patch are patches: of placed before the undo, and of what the undo makes of that.
		before, patch string
		resource      schema.GroupVersionResource
		subresource   string
		// want is in the refusal, empty when there is none.
		want string
	}{
		"Undo":                  {reason: "that is what the exception is for", resource: deployments},
		"NoAnnotations":         {reason: "the ReplicaSet has none", patch: "metadata: {annotations: {team: null, tmc.kcp.io/target-clusters: null}}", resource: deployments},
		"Again":                 {reason: "the hub has not put them back yet", before: undone, patch: "spec: {template: {spec: {containers: [{name: app, image: web:9}]}}}", resource: deployments},
		"AgainAfterAReport":     {reason: "a syncer was faster than the hub", before: "metadata: {annotations: {tmc.kcp.io/placement: null, replicas.tmc.kcp.io/west: null, deletion.tmc.kcp.io/west: null}}", resource: deployments},
		"OtherVersion":          {reason: "all versions are the same object", resource: schema.GroupVersionResource{Group: "apps", Version: "v2", Resource: "deployments"}},
		"AllButAReport":         {reason: "undo leaves nothing", patch: "metadata: {annotations: {status.tmc.kcp.io/west: '{\"v\":1}'}}", resource: deployments, want: "tmc.kcp.io/placement"},
		"AllButAShare":          {reason: "undo leaves nothing", patch: "metadata: {annotations: {replicas.tmc.kcp.io/west: '2'}}", resource: deployments, want: "tmc.kcp.io/placement"},
		"AShareAlone":           {reason: "a cluster would run all replicas", patch: "metadata: {annotations: {tmc.kcp.io/placement: '{}', status.tmc.kcp.io/west: '{\"v\":1}', deletion.tmc.kcp.io/west: '2026-01-02T03:04:05Z'}}", resource: deployments, want: "replicas.tmc.kcp.io/west"},
		"AnotherShare":          {reason: "only tmc divides", patch: "metadata: {annotations: {replicas.tmc.kcp.io/west: '9'}}", resource: deployments, want: "replicas.tmc.kcp.io/west"},
		"AForgedReport":         {reason: "only its cluster reports", patch: "metadata: {annotations: {status.tmc.kcp.io/east: '{}'}}", resource: deployments, want: "status.tmc.kcp.io/east"},
		"AForgedPlacement":      {reason: "only the hub says why", patch: "metadata: {annotations: {tmc.kcp.io/placement: '{\"by\":\"me\"}'}}", resource: deployments, want: "tmc.kcp.io/placement"},
		"WithoutALabel":         {reason: "its cluster would remove the copy", patch: "metadata: {labels: {cluster.tmc.kcp.io/west: null}}", resource: deployments, want: "cluster.tmc.kcp.io/west"},
		"WithAnotherLabel":      {reason: "only tmc places", patch: "metadata: {labels: {cluster.tmc.kcp.io/north: sync}}", resource: deployments, want: "cluster.tmc.kcp.io/north"},
		"WithoutAUsersLabel":    {reason: "undo leaves labels", patch: "metadata: {labels: {app: null}}", resource: deployments, want: "status.tmc.kcp.io/west"},
		"WithoutOurFinalizer":   {reason: "a copy would be left", patch: "metadata: {finalizers: [example.com/theirs]}", resource: deployments, want: "syncer.tmc.kcp.io/west"},
		"WithoutTheirFinalizer": {reason: "undo leaves finalizers", patch: "metadata: {finalizers: [syncer.tmc.kcp.io/west]}", resource: deployments, want: "status.tmc.kcp.io/west"},
		"WithoutRevision":       {reason: "undo leaves it, and syncers would not know", patch: "metadata: {annotations: null}", resource: deployments, want: "status.tmc.kcp.io/west"},
		"FormerRevision":        {reason: "the hub has counted on since kubectl read it", patch: "metadata: {annotations: {deployment.kubernetes.io/revision: '1'}}", resource: deployments},
		"NeverRevised":          {reason: "there is nothing to undo", before: "metadata: {annotations: {deployment.kubernetes.io/revision: null}}", resource: deployments, want: "status.tmc.kcp.io/west"},
		"SameTemplate":          {reason: "kubectl skips that", patch: "spec: {template: {spec: {containers: [{name: app, image: web:1}]}}}", resource: deployments, want: "status.tmc.kcp.io/west"},
		"ReplicasAlone":         {reason: "no undo", patch: "spec: {replicas: 9, template: {spec: {containers: [{name: app, image: web:1}]}}}", resource: deployments, want: "status.tmc.kcp.io/west"},
		"StatefulSet":           {reason: "kubectl's undo of one leaves its annotations", resource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}, want: "status.tmc.kcp.io/west"},
		"DaemonSet":             {reason: "likewise", resource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}, want: "status.tmc.kcp.io/west"},
		"AnothersDeployments":   {reason: "that is another kind", resource: schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "deployments"}, want: "status.tmc.kcp.io/west"},
		"Status":                {reason: "undo writes no status", resource: deployments, subresource: "status", want: "status.tmc.kcp.io/west"},
		"Scale":                 {reason: "undo scales nothing", resource: deployments, subresource: "scale", want: "status.tmc.kcp.io/west"},
		"BeingDeleted":          {reason: "how it is deleted is in an annotation", before: "metadata: {deletionTimestamp: '2026-01-02T03:04:05Z', annotations: {tmc.kcp.io/propagation: Orphan}}", resource: deployments, want: "tmc.kcp.io/propagation"},
		"BeingDeletedUnnoted":   {reason: "likewise, for the hub is about to note it", before: "metadata: {deletionTimestamp: '2026-01-02T03:04:05Z'}", resource: deployments, want: "status.tmc.kcp.io/west"},
	}
	policy := newJudge(t, "tmc-consumers")
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := patched(t, patched(t, object(t, placed), "metadata: {annotations: {deployment.kubernetes.io/revision: '2'}}"), tc.before)
			after := patched(t, patched(t, before, undone), tc.patch)
			if tc.before != "" && strings.Contains(tc.before, "propagation") {
				after = patched(t, after, "metadata: {annotations: {tmc.kcp.io/propagation: null}}")
			}
			r := policytest.Request{
				User:     &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}},
				Resource: tc.resource, Subresource: tc.subresource, Before: before, After: after,
			}
			denied := judgedQuickly(t, policy, r).Message()
			if tc.want == "" && denied != "" || !strings.Contains(denied, tc.want) {
				t.Errorf("%s: got %q, want it to say %q", tc.reason, denied, tc.want)
			}
		})
	}
}

// TestCostOfRolloutUndo compares the undo of a large object of a large fleet with a write that takes as much away and is refused.
func TestCostOfRolloutUndo(t *testing.T) {
	policy := newJudge(t, "tmc-consumers")
	before := crowded(object(t, placed), 1500, 1900, 450)
	annotations := before.GetAnnotations()
	annotations["deployment.kubernetes.io/revision"] = "2"
	for i := range 250 {
		annotations["status.tmc.kcp.io/c"+strings.Repeat("x", i)] = strings.Repeat("r", 800)
	}
	before.SetAnnotations(annotations)
	after := before.DeepCopy()
	after.SetAnnotations(map[string]string{"team": "blue", "deployment.kubernetes.io/revision": "2"})
	r := policytest.Request{User: &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}}, Resource: deploymentsResource, Before: before}
	if r.After = after; !judgedQuickly(t, policy, r).Denied() {
		t.Error("taking everything away without another template is not denied")
	}
	cost := policy.Judge(t, r).Cost
	r.After = patched(t, after, "spec: {template: {spec: {containers: [{name: app, image: web:0}]}}}")
	verdict := judgedQuickly(t, policy, r)
	if verdict.Denied() {
		t.Errorf("denied: %s", verdict.Message())
	}
	if verdict.Cost > cost {
		t.Errorf("an undo costs %d, and its refusal %d", verdict.Cost, cost)
	}
	t.Logf("an undo costs %d, its refusal %d", verdict.Cost, cost)
}

// TestPatchesPolicyOfRolloutUndo has the undo of a StatefulSet and of a DaemonSet, a strategic merge patch that replaces the template,
// take entries off lists. kubectl names no field manager there (pkg/polymorphichelpers/rollback.go), so the guard is not asked: kcp
// does that patch right. Under a name that sends others, it is refused as before.
func TestPatchesPolicyOfRolloutUndo(t *testing.T) {
	policy := newJudge(t, "tmc-patches")
	for kind, resource := range map[string]string{"StatefulSet": "statefulsets", "DaemonSet": "daemonsets"} {
		before := object(t, "{apiVersion: apps/v1, kind: "+kind+", metadata: {name: db, namespace: shop}, spec: {template: {spec: {containers: [{name: main, image: db:2, env: [{name: A, value: a}, {name: B, value: b}]}, {name: log, image: log:1}]}}}}")
		after := patched(t, before, "spec: {template: {spec: {containers: [{name: main, image: db:1, env: [{name: A, value: a}]}]}}}")
		for manager, want := range map[string]string{"": "", "kubectl-rollout": `"log" in containers`, "kubectl-patch": `"log" in containers`} {
			r := policytest.Request{
				User:     &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}},
				Resource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: resource}, Before: before, After: after, Manager: manager,
			}
			if denied := policy.Judge(t, r).Message(); want == "" && denied != "" || !strings.Contains(denied, want) {
				t.Errorf("%s, manager %q: got %q, want it to say %q", kind, manager, denied, want)
			}
		}
	}
}
