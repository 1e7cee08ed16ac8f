package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

const (
	rolloutNames = `
  group: argoproj.io
  scope: Namespaced
  names: {kind: Rollout, listKind: RolloutList, plural: rollouts, singular: rollout}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    subresources: {status: {}}
    schema: `
	rolloutResourceSchema = `
apiVersion: apis.kcp.io/v1alpha1
kind: APIResourceSchema
metadata: {name: v1.rollouts.argoproj.io}
spec:` + rolloutNames + widgetSchema
	rolloutDefinition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rollouts.argoproj.io}
spec:` + rolloutNames + "{openAPIV3Schema: " + widgetSchema + "}\n"
	// rolloutEntry is what an operator tells of the kind.
	rolloutEntry = `
- group: argoproj.io
  kind: Rollout
  version: v1alpha1
  resource: rollouts
  workload: true
  replicas: spec.replicas
  available: availableReplicas
  sums: [replicas, availableReplicas]
  conditions: [{type: Paused, meaning: Ongoing}]
  owned: [{path: spec.workloadRef}]
`
)

// TestKindsFileOfACustomWorkload divides a kind that tmc does not know, and sums its statuses, by the operator's entry alone.
// Nothing runs Rollouts here: the test writes their statuses on the clusters.
func TestKindsFileOfACustomWorkload(t *testing.T) {
	t.Parallel()
	name := unique("ownkind")
	in := &installation{name: name, provider: "root:" + name, clusters: clustersOf([]string{"ownkind-" + north, "ownkind-" + west}), byHand: true}
	in.installFor(t)
	file := filepath.Join(t.TempDir(), "kinds.yaml")
	check(t, os.WriteFile(file, []byte(rolloutEntry), 0o600))
	for _, p := range in.programs() {
		p.config.Args = append(p.config.Args, "--kinds-file="+file)
	}
	check(t, in.start(t.Context()))
	u := newTenant(t, in, "ownkind")
	u.createOn(t, env.clusters[north], rolloutDefinition)
	u.createOn(t, env.clusters[west], rolloutDefinition)

	kubeconfig, err := env.stack.KCP.Kubeconfig(in.provider)
	check(t, err)
	provider := side{"the provider workspace", kubeconfig, "default"}
	provider.apply(t, rolloutResourceSchema)
	provider.apply(t, strings.NewReplacer("example.com", "argoproj.io", "widgets", "rollouts").Replace(widgetPermission))
	provider.kubectl(t, "patch", "apiexport", "tmc.kcp.io", "--type=json", `--patch=[{"op":"add","path":"/spec/resources/-","value":
		{"group":"argoproj.io","name":"rollouts","schema":"v1.rollouts.argoproj.io","storage":{"crd":{}}}}]`)
	kcp := u.asConsumer(t)
	check(t, framework.Eventually(t.Context(), "kcp to serve rollouts", soon, served(u, "rollouts.argoproj.io")))
	u.place(t, "divided", `{"replicas": "Divided"}`)
	kcp.apply(t, `{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: web}, spec: {replicas: 3, workloadRef: {name: upstream}}}`)

	shares := map[string]string{}
	for _, name := range []string{"ownkind-" + north, "ownkind-" + west} {
		check(t, framework.Eventually(t.Context(), name+" to have its share", noticed, func(ctx context.Context) (bool, string, error) {
			spec, err := u.onCluster(name).get(ctx, "rollout.argoproj.io/web", "{.spec}")
			shares[name] = spec
			return spec == `{"replicas":1}` || spec == `{"replicas":2}`, spec, err
		}))
	}
	if shares["ownkind-"+north] == shares["ownkind-"+west] {
		t.Errorf("the shares of 3 replicas are %v", shares)
	}
	for name, spec := range shares {
		count := strings.Trim(spec, `{}"replicas:`)
		isPaused := map[bool]string{true: "True", false: "False"}[strings.HasSuffix(name, west)]
		u.onCluster(name).kubectl(t, "patch", "rollout.argoproj.io/web", "--subresource=status", "--type=merge", fmt.Sprintf(
			`--patch={"status":{"replicas":%[1]s,"availableReplicas":%[1]s,"conditions":[{"type":"Paused","status":%[2]q,"reason":"R"}]}}`, count, isPaused))
	}
	kcp.eventually(t, "rollout.argoproj.io/web", "{.status.replicas} {.status.availableReplicas}", "3 3")
	kcp.eventually(t, "rollout.argoproj.io/web", `{.status.conditions[?(@.type=="Paused")].status}`, "True")
	kcp.eventuallyHas(t, "rollout.argoproj.io/web", syncedPath, "True")
	kcp.kubectl(t, "delete", "rollout.argoproj.io/web", "--timeout=120s")
	u.onCluster("ownkind-"+north).isNotThere(t, "rollout.argoproj.io/web")
}
