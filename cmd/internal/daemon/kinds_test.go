package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestOptionsKinds(t *testing.T) {
	directory := t.TempDir()
	files := map[string]string{
		"good.yaml":  "[{group: argoproj.io, kind: Rollout, version: v1alpha1, resource: rollouts, workload: true}]",
		"wrong.yaml": "[{kind: A, sumz: []}]",
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cases := map[string]struct {
		file, want string
		isWorkload bool
	}{
		"an entry is known":            {filepath.Join(directory, "good.yaml"), "<nil>", true},
		"a wrong entry names the file": {filepath.Join(directory, "wrong.yaml"), "--kinds-file: " + directory + "/wrong.yaml: entry 1 (A): sumz: there is no such field", false},
		"a file that is not there":     {filepath.Join(directory, "none.yaml"), "--kinds-file: open " + directory, false},
		"no file":                      {"", "<nil>", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			known, err := (&Options{KindsFile: tc.file}).Kinds()
			if got := fmt.Sprint(err); !strings.HasPrefix(got, tc.want) {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if known.IsWorkload(schema.GroupKind{Group: "argoproj.io", Kind: "Rollout"}) != tc.isWorkload {
				t.Errorf("a Rollout is a workload: %t", !tc.isWorkload)
			}
		})
	}
}
