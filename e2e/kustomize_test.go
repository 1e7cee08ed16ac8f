package e2e

import (
	"context"
	"testing"

	"github.com/kcp-tmc/tmc/pkg/bootstrap"
)

// TestKustomizeBaseCanBeApplied applies the example that uses the base, which is for those who do not want the
// plugin.
func TestKustomizeBaseCanBeApplied(t *testing.T) {
	t.Parallel()
	const example = "../manifests/syncer-example"
	at := side{north, env.clusters[north].kubeconfig, bootstrap.DefaultNamespace}
	at.kubectl(t, "apply", "--kustomize="+example)
	t.Cleanup(func() {
		if _, err := at.try(context.WithoutCancel(t.Context()), "delete", "--kustomize="+example); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
	at.kubectl(t, "rollout", "status", syncerDeployment, "--timeout=120s") // the namespace lets its pods in
	at.eventually(t, syncerDeployment, "{.spec.template.spec.containers[0].args[0]} {.spec.template.spec.containers[0].args[5]} {.status.readyReplicas}",
		"--cluster-name=east --export=cluster-east 2")
	at.eventually(t, "secret/"+bootstrap.SecretName, "{.type}", "Opaque")
	// Applying it again, as pipelines do, changes nothing.
	version, err := at.get(t.Context(), syncerDeployment, "{.metadata.generation}")
	check(t, err)
	at.kubectl(t, "apply", "--kustomize="+example)
	at.eventually(t, syncerDeployment, "{.metadata.generation}", version)
}
