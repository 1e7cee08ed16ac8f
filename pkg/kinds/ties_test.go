package kinds

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// TestTies makes objects at random: whatever follows another has a tie in common with it, or is named by it.
func TestTies(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	made := func() *unstructured.Unstructured {
		name := pick("a", "b")
		label := pick("app: a", "app: b", "tier: x", "app: a, tier: x")
		text := pick(
			fmt.Sprintf("{apiVersion: apps/v1, kind: Deployment, spec: {template: {metadata: {labels: {%s}}, spec: {containers: [{name: c}]}}}}", label),
			fmt.Sprintf("{apiVersion: apps/v1, kind: StatefulSet, spec: {serviceName: %s, template: {metadata: {labels: {%s}}, spec: {containers: [{name: c}]}}}}", pick("a", "b"), label),
			fmt.Sprintf("{apiVersion: batch/v1, kind: CronJob, spec: {jobTemplate: {spec: {template: {metadata: {labels: {%s}}, spec: {containers: [{name: c}]}}}}}}", label),
			fmt.Sprintf("{apiVersion: v1, kind: Service, spec: {selector: {%s}}}", label),
			"{apiVersion: v1, kind: Service, spec: {}}",
			"{apiVersion: v1, kind: ConfigMap}",
			fmt.Sprintf("{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: %s, name: %s}}}", pick("Deployment", "StatefulSet"), pick("a", "b")),
			fmt.Sprintf("{apiVersion: networking.k8s.io/v1, kind: Ingress, spec: {defaultBackend: {service: {name: %s}}, rules: [{http: {paths: [{backend: {service: {name: %s}}}]}}]}}", pick("a", "b"), pick("a", "c")),
			fmt.Sprintf("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, spec: {podSelector: %s}}", pick("{}", "{matchLabels: {app: a}}", "{matchExpressions: [{key: app, operator: In, values: [a, b]}]}", "{matchExpressions: [{key: app, operator: In, values: [b]}]}", "{matchExpressions: [{key: tier, operator: DoesNotExist}]}")),
			fmt.Sprintf("{apiVersion: policy/v1, kind: PodDisruptionBudget, spec: {selector: %s}}", pick("{}", "{matchLabels: {app: b}}", "{matchExpressions: [{key: app, operator: Exists}]}")),
		)
		obj := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &obj.Object); err != nil {
			t.Fatal(err)
		}
		obj.SetName(name)
		obj.SetNamespace("shop")
		return obj
	}
	known, related := Kinds{}, 0
	for range 20_000 {
		follower, leader := made(), made()
		if !known.Follows(follower, leader) {
			continue
		}
		related++
		ties := append(known.LeaderTies(leader), known.OwnTies(leader)...)
		isTied := slices.ContainsFunc(known.FollowerTies(follower), func(tie string) bool { return slices.Contains(ties, tie) })
		isNamed := slices.Contains(known.Followers(leader), Need{Resource: known.ResourceOf(follower), Name: follower.GetName()})
		if !isTied && !isNamed {
			t.Fatalf("%v follows %v, and no tie tells", follower.Object, leader.Object)
		}
		if !isNamed && !known.MayLead(leader.GroupVersionKind().GroupKind()) {
			t.Fatalf("%v is followed, and may not lead", leader.Object)
		}
	}
	if related < 1000 {
		t.Errorf("only %d of the pairs are related", related)
	}
}
