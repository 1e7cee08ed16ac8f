package e2e

import (
	"context"
	_ "embed"
	"strings"
	"testing"

	"github.com/kcp-tmc/tmc/pkg/kinds"
)

//go:embed testdata/everykind.yaml
var everyKindYAML string

// TestDescribeFindsNothingWrongWithWhatIsInPlace describes one object of each kind that is synced, all of which are in place
// on two clusters. The autoscaler may complain of its cluster, which measures nothing.
func TestDescribeFindsNothingWrongWithWhatIsInPlace(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "describe")
	u.inKCP().apply(t, everyKindYAML)
	for _, kind := range (kinds.Kinds{}).All() {
		eventually(t, kind.Kind+" to be described as in place", soon, func(ctx context.Context) (bool, string, error) {
			text, err := runPlugin(ctx, u.workspace, "describe", strings.ToLower(kind.Kind), "web", "--namespace="+u.namespace)
			_, wrong, _ := strings.Cut(text, "What is wrong:")
			switch kind.Kind { // what cannot work on these clusters is said to be so
			case "HorizontalPodAutoscaler":
				wrong = withoutLines(wrong, "ScalingActive=False FailedGetResourceMetric")
			case "PersistentVolumeClaim":
				wrong = withoutLines(wrong, `ProvisioningFailed: storageclass.storage.k8s.io "none" not found`)
			}
			isInPlace := strings.Contains(text, "  "+east+"  placed") && strings.Contains(text, "  "+west+"  placed")
			return isInPlace && (strings.TrimSpace(wrong) == "nothing" || strings.TrimSpace(wrong) == ""), text, err
		})
	}
	table, err := runPlugin(t.Context(), u.workspace, "get", "workloads", "--namespace="+u.namespace)
	check(t, err)
	if strings.ContainsAny(table, "!…") {
		t.Errorf("what is in place looks as if it was not:\n%s", table)
	}
}

// withoutLines returns a text without the lines that contain some words.
func withoutLines(text, words string) string {
	var rest []string
	for line := range strings.Lines(text) {
		if !strings.Contains(line, words) {
			rest = append(rest, line)
		}
	}
	return strings.Join(rest, "")
}
