package framework

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOptionsAreCompleted(t *testing.T) {
	t.Setenv(ToolsDirEnv, "")
	t.Setenv(KCPBinaryEnv, "")
	root := t.TempDir()
	for _, name := range []string{"go.mod", "bin/tools/kcp", "deep/er/x", "other-kcp"} {
		if err := WriteFile(filepath.Join(root, name), nil); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(root, "deep", "er"))
	got, temporary, err := complete(Options{Dir: "d", AuditPolicy: "../policy.yaml"})
	if err != nil || temporary {
		t.Fatalf("temporary is %v, error %v", temporary, err)
	}
	want := Options{
		Dir: "d", Nodes: 1, KCPAddress: "127.0.0.1",
		AuditPolicy: filepath.Join(root, "deep", "policy.yaml"),
		ToolsDir:    filepath.Join(root, "bin", "tools"),
		KCPBinary:   filepath.Join(root, "bin", "tools", "kcp"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}

	t.Setenv(KCPBinaryEnv, "../../other-kcp")
	got, temporary, err = complete(Options{})
	if err != nil || !temporary {
		t.Fatalf("temporary is %v, error %v", temporary, err)
	}
	if err := os.Remove(got.Dir); err != nil {
		t.Error(err)
	}
	if want := filepath.Join(root, "other-kcp"); got.KCPBinary != want {
		t.Errorf("kcp is %q, want %q", got.KCPBinary, want)
	}
}

func TestOptionsInvalid(t *testing.T) {
	tests := map[string]Options{
		"not a label":   {Clusters: []string{"East"}},
		"an empty name": {Clusters: []string{""}},
		"a path":        {Clusters: []string{"../x"}},
		"twice":         {Clusters: []string{"east", "west", "east"}},
		"no kcp":        {ToolsDir: t.TempDir()},
	}
	t.Setenv(KCPBinaryEnv, "")
	for name, options := range tests {
		if _, _, err := complete(options); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
