package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// TestTenantIsToldWhyNothingRuns has pods that no node of east takes, and looks where somebody looks who sees no cluster.
func TestTenantIsToldWhyNothingRuns(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "told")
	// kubectl rollout status has to wait for it, and nothing but tmc's own condition can say why.
	set := deployment("set", on(east), nowhere)
	u.inKCP().apply(t, fmt.Sprintf(statefulSet, east, encode(t, set.Spec.Selector), encode(t, set.Spec.Template)))
	u.apply(t, some(deployment("late", on(east), nowhere, withDeadline(3))))
	t.Run("a StatefulSet", func(t *testing.T) {
		t.Parallel()
		u.eventuallyTold(t, "statefulsets", "set", unschedulable)
		u.isWaitedFor(t, "statefulset/set")
	})
	t.Run("a Deployment whose deadline is over", func(t *testing.T) {
		t.Parallel()
		u.failsToRollOut(t)
		u.eventuallyTold(t, "deployments", "late", unschedulable)
	})
}

// statefulSet is one for a cluster, with a selector and a template.
const statefulSet = `{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"set","annotations":{"tmc.kcp.io/target-clusters":%q}},
"spec":{"serviceName":"set","selector":%s,"template":%s}}`

var unschedulable = protocol.Cause{Reason: "Unschedulable", Message: "no node fits: node(s) didn't match Pod's node affinity/selector"}

// nowhere has pods of a Deployment want a node that there is not.
func nowhere(d *appsv1.Deployment) {
	d.Spec.Template.Spec.NodeSelector = map[string]string{"example.com/none": "true"}
}

func encode(t *testing.T, value any) string {
	t.Helper()
	encoded, err := json.Marshal(value)
	check(t, err)
	return string(encoded)
}

// eventuallyTold waits until a tenant sees the causes that east reports where he looks: in the conditions of the object, in its
// events, and in what the plugin says. Of how many pods a cause is true is told in the words of the message alone.
func (u *tenant) eventuallyTold(t *testing.T, kind, name string, causes ...protocol.Cause) {
	t.Helper()
	for _, cause := range causes {
		said := protocol.Cause{Reason: cause.Reason, Message: cause.Message}.Of(0)
		eventually(t, "a condition to say "+said, soon, func(context.Context) (bool, string, error) {
			messages, err := u.try(t, "get", kind, name, "-o", `jsonpath={range .status.conditions[*]}{.type}={.status}: {.message}{"\n"}{end}`)
			return hasLine(messages, east+": ", said) && strings.Contains(messages, "Synced=True"), messages, err
		})
		eventually(t, fmt.Sprintf("an event %s on %s to say %q", cause.Reason, name, said), soon, func(ctx context.Context) (bool, string, error) {
			list, err := u.client.CoreV1().Events(u.namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=Warning,reason=" + cause.Reason + ",involvedObject.name=" + name})
			if err != nil {
				return false, "", err
			}
			var seen []string
			for _, event := range list.Items {
				seen = append(seen, event.Message)
			}
			return hasLine(strings.Join(seen, "\n"), east+": ", said), fmt.Sprintf("%q", seen), nil
		})
	}
	object := strings.TrimSuffix(kind, "s") + "/" + name
	if len(causes) > 0 {
		u.eventuallyDescribed(t, object, "Why it does not run:", causes[0].Message)
	}
}

// hasLine reports whether a text has a line with all of the words.
func hasLine(text string, words ...string) bool {
	for line := range strings.Lines(text) {
		if hasWords(line, words) {
			return true
		}
	}
	return false
}

// failsToRollOut waits until a Deployment whose pods no node takes has exceeded its deadline, and looks at what clients show of it.
func (u *tenant) failsToRollOut(t *testing.T) {
	t.Helper()
	_, err := u.try(t, "rollout", "status", "deployment/late", "--timeout=60s")
	if err == nil || !strings.Contains(err.Error(), "exceeded its progress deadline") {
		t.Errorf("kubectl rollout status ended with %v, want that the deadline was exceeded", err)
	}
	eventuallyIs(t, "the condition to say why", u.upstream("late"), func(d *appsv1.Deployment) bool {
		progressing := condition(d, "Progressing")
		return progressing.Reason == "ProgressDeadlineExceeded" && strings.Contains(progressing.Message, "east: 1 of 1 pod: Unschedulable: no node")
	})
	described := u.kubectl(t, "describe", "deployment", "late")
	if !hasLine(described, "Warning  Unschedulable", "tmc-controller  east: 1 of 1 pod: Unschedulable: no node") {
		t.Errorf("kubectl describe does not say why:\n%s", described)
	}
	table, err := runPlugin(t.Context(), u.workspace, "get", "workloads", "--namespace="+u.namespace)
	check(t, err)
	if !hasLine(table, "late", "0/1 !") {
		t.Errorf("the table has no mark:\n%s", table)
	}
}

// isWaitedFor fails the test where kubectl takes a workload for rolled out, or for failed, that is neither.
func (u *tenant) isWaitedFor(t *testing.T, object string) {
	t.Helper()
	_, err := u.try(t, "rollout", "status", object, "--timeout=2s")
	if err == nil || !strings.Contains(err.Error(), "timed out waiting") && !strings.Contains(err.Error(), "context deadline exceeded") {
		t.Errorf("kubectl rollout status %s ended with %v, want that it waits", object, err)
	}
}
