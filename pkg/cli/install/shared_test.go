package install

import (
	"slices"
	"strings"
	"testing"
)

func TestInitSharedNamespaces(t *testing.T) {
	for mode, isTold := range map[string]bool{"Shared": true, "Exclusive": false, "Isolated": false} {
		t.Run(mode, func(t *testing.T) {
			fake, config := initialized(t, "root:team-a")
			options := JoinOptions{Options: (&recorder{}).options(config), Cluster: "east", CAData: certificate(t), Server: "https://kcp.example.com"}
			if _, err := Join(t.Context(), options); err != nil {
				t.Fatal(err)
			}
			fake.change("root:tmc", "clusterregistrations", "east", func(fields map[string]any) {
				fields["spec"].(map[string]any)["transform"] = map[string]any{"namespaceMode": mode}
			})
			warns := func(got recorder) bool {
				return slices.ContainsFunc(got.warnings, func(text string) bool { return strings.Contains(text, "one tenant of all that use east") })
			}
			var joining, initializing recorder
			options.Options = joining.options(config)
			if _, err := Join(t.Context(), options); err != nil || warns(joining) != isTold {
				t.Errorf("join warns: %t (%v), want %t", warns(joining), err, isTold)
			}
			if err := Init(t.Context(), initializing.options(config)); err != nil || warns(initializing) != isTold {
				t.Errorf("init warns: %t (%v), want %t", warns(initializing), err, isTold)
			}
		})
	}
}
