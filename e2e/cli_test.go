package e2e

import (
	"strings"
	"testing"
)

// TestInitAndBindAgainWriteNothing runs both commands again where nothing is to be done.
func TestInitAndBindAgainWriteNothing(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "again")
	for workspace, args := range map[string][]string{"root": {"init"}, u.workspace: {"bind"}} {
		stdout, err := runPlugin(t.Context(), workspace, args...)
		check(t, err)
		unchanged := 0
		for line := range strings.Lines(stdout) {
			object, action, _ := strings.Cut(strings.TrimSpace(line), " ")
			if strings.Contains(object, "/") && action != "unchanged" {
				t.Errorf("kubectl tmc %s for the second time says: %s", args[0], line)
			}
			if action == "unchanged" {
				unchanged++
			}
		}
		if unchanged == 0 {
			t.Errorf("kubectl tmc %s does not say that it left anything unchanged:\n%s", args[0], stdout)
		}
	}
}

// TestBoundWorkspaceBehavesAsCluster checks what kubectl needs to know of a kind, besides its objects.
func TestBoundWorkspaceBehavesAsCluster(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "kinds")
	if explained := u.kubectl(t, "explain", "deployment.spec.replicas"); !hasWords(explained, []string{"FIELD: replicas <integer>", "Number of desired pods"}) {
		t.Errorf("kubectl explain says:\n%s", explained)
	}
	if short := u.kubectl(t, "get", "deploy", "--ignore-not-found"); short != "" {
		t.Errorf("kubectl get deploy says %q in a workspace without any", short)
	}
	if _, err := u.try(t, "create", "deployment", "Bad_Name", "--image="+image); err == nil {
		t.Error("kcp took a Deployment with a bad name")
	}
}
