package install

import (
	"slices"
	"strings"
	"testing"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestJoinRevoke(t *testing.T) {
	t.Run("the earlier tokens end", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		options := JoinOptions{Options: (&recorder{}).options(config), Cluster: "east", CAData: certificate(t), Server: "https://kcp.example.com"}
		if joined, err := Join(t.Context(), options); err != nil || joined.IsAgain {
			t.Fatalf("joined %+v (%v), want it for the first time", joined, err)
		}
		// The thief has said that the name is another cluster's, and that it uses the view of all.
		fake.change("root:tmc", "clusterregistrations", "east", func(fields map[string]any) {
			fields["status"] = map[string]any{"clusterUID": "stolen", "export": v1alpha1.APIExportName, "nodes": int64(3)}
		})
		fake.takeWrites()

		again, err := Join(t.Context(), options)
		if err != nil || !again.IsAgain {
			t.Errorf("joined %+v (%v), want it once more", again, err)
		}
		if writes := fake.takeWrites(); len(writes) > 0 {
			t.Errorf("joining without revoking has written %v", writes)
		}

		options.Revoke = true
		if _, err := Join(t.Context(), options); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"delete root:tmc serviceaccounts/tmc-syncers/east",
			"create root:tmc serviceaccounts/tmc-syncers/east",
			`patch root:tmc clusterregistrations/east {"status":{"clusterUID":null,"export":null}}`,
		}
		if writes := fake.takeWrites(); !slices.Equal(writes, want) {
			t.Errorf("got the writes\n%s\nwant\n%s", strings.Join(writes, "\n"), strings.Join(want, "\n"))
		}
		fake.change("root:tmc", "clusterregistrations", "east", func(fields map[string]any) {
			if status := fields["status"].(map[string]any); len(status) != 1 || status["nodes"] == nil {
				t.Errorf("the status is %v, want what says whose the name is, and what is used, gone and nothing else", status)
			}
		})
	})
	t.Run("a new cluster has nothing to revoke", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		_, err := Join(t.Context(), JoinOptions{Options: (&recorder{}).options(config), Cluster: "east", CAData: certificate(t), Server: "https://kcp.example.com", Revoke: true})
		if err != nil {
			t.Fatal(err)
		}
		if writes := fake.takeWrites(); slices.ContainsFunc(writes, func(write string) bool { return strings.HasPrefix(write, "delete") }) {
			t.Errorf("got the writes %v", writes)
		}
	})
}
