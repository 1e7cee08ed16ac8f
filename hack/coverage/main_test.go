package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const linter = `
linters:
  settings:
    depguard:
      rules:
        pure: {files: ["**/pkg/placement/*.go", "**/pkg/apis/**/*.go", "!$test"]}
        evaluate: {files: ["**/pkg/agent/syncer/evaluate/*.go"]}
        bootstrap: {files: ["**/pkg/bootstrap/*.go"]}
        repair: {files: ["**/pkg/repair/*.go"]}
        view: {files: ["**/pkg/cli/view/*.go"]}
`

// profile is one of a pure package that is covered by half, of one that is covered, and of generated code.
const profile = `mode: atomic
github.com/kcp-tmc/tmc/pkg/placement/decide.go:1.1,2.2 3 1
github.com/kcp-tmc/tmc/pkg/placement/divide.go:1.1,2.2 3 0
github.com/kcp-tmc/tmc/pkg/kcp/config.go:1.1,2.2 94 0
github.com/kcp-tmc/tmc/pkg/kcp/config.go:1.1,2.2 94 7
github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1/keys.go:1.1,2.2 0 0
github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1/zz_generated.deepcopy.go:1.1,2.2 1000 0
github.com/kcp-tmc/tmc/cmd/tmc-syncer/main.go:1.1,2.2 4 1
`

// ran returns what run prints and its error for two files.
func ran(t *testing.T, profile, linter string, gate bool) (string, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"profile": profile, "linter": linter} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	err := run(&out, filepath.Join(dir, "profile"), filepath.Join(dir, "linter"), gate)
	return out.String(), err
}

func TestRunPrintsEachPackageAndTree(t *testing.T) {
	out, err := ran(t, profile, linter, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"  50.0      3/6      pkg/placement              pure, at least 95",
		" 100.0     94/94     pkg/kcp",
		" 100.0      0/0      pkg/apis/tmc/v1alpha1      pure, at least 95",
		"  97.0     97/100    pkg/ as a whole            at least 80",
		" 100.0      4/4      cmd/ as a whole",
	} {
		if !strings.Contains(out, line+"\n") {
			t.Errorf("the line %q is not in:\n%s", line, out)
		}
	}
}

func TestRunWithGate(t *testing.T) {
	const good = "github.com/kcp-tmc/tmc/pkg/placement/decide.go:1.1,2.2 95 1\ngithub.com/kcp-tmc/tmc/pkg/placement/decide.go:3.1,4.2 5 0\n"
	cases := map[string]struct {
		profile string
		want    []string // nothing: it passes
	}{
		"enough of all":                {good, nil},
		"a pure package below 95":      {profile, []string{"pkg/placement: 50.0 %"}},
		"pkg/ as a whole below 80":     {good + "github.com/kcp-tmc/tmc/pkg/kcp/config.go:1.1,2.2 20 0\n", []string{"pkg/ as a whole: 79.2 %"}},
		"little of cmd/ is no failure": {good + "github.com/kcp-tmc/tmc/cmd/tmc-syncer/main.go:1.1,2.2 900 0\n", nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { failsWith(t, c.want)(ran(t, c.profile, linter, true)) })
	}
}

func TestRunWithBadFiles(t *testing.T) {
	cases := map[string]struct {
		profile, linter string
		want            []string
	}{
		"a line with two fields":       {"mode: set\na.go:1.1,2.2 3\n", linter, []string{"profile", "line 2", "STATEMENTS TIMES"}},
		"statements that are no count": {"a.go:1.1,2.2 x 1\n", linter, []string{"line 1", "number of statements"}},
		"no YAML":                      {profile, "\t", []string{"linter"}},
		"a rule that is missing":       {profile, strings.ReplaceAll(linter, "view:", "views:"), []string{"linter", `no rule "view"`}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { failsWith(t, c.want)(ran(t, c.profile, c.linter, false)) })
	}
	if err := run(&bytes.Buffer{}, "not-there", "not-there", false); !os.IsNotExist(err) {
		t.Errorf("without a profile: %v, want that it does not exist", err)
	}
}

// failsWith returns a check that an error says the words, or that there is none where there are no words.
func failsWith(t *testing.T, words []string) func(out string, err error) {
	return func(_ string, err error) {
		t.Helper()
		if (err != nil) != (len(words) > 0) {
			t.Fatalf("the error is %v, want one with %q", err, words)
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("the error %q does not say %q", err, word)
			}
		}
	}
}

// TestPurePackagesOfTheLinter reads the list that the repository has.
func TestPurePackagesOfTheLinter(t *testing.T) {
	config, err := os.ReadFile("../../.golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	patterns, err := purePatterns(config)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"pkg/transform": true, "pkg/placement": true, "pkg/aggregate": true, "pkg/kinds": true, "pkg/protocol": true, "pkg/bootstrap": true, "pkg/repair": true,
		"pkg/cli/view": true, "pkg/apis/tmc/v1alpha1": true, "pkg/apis": true,
		"pkg/agent/syncer": false, "pkg/kcp": false, "pkg/apisx": false,
	} {
		if got := matchesAny(patterns, name); got != want {
			t.Errorf("%s is pure: %t, want %t", name, got, want)
		}
	}
}
