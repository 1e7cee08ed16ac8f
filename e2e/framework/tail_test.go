package framework

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTailGivesLastLines(t *testing.T) {
	long := strings.Repeat("x", maxTail)
	tests := map[string]struct{ content, want string }{
		"fewer than asked for": {"a\nb\n", "a\nb"},
		"more than asked for":  {"a\nb\nc\nd\n", "b\nc\nd"},
		"no newline at end":    {"a\nb\nc\nd", "b\nc\nd"},
		"empty":                {"", ""},
		"a line cut in two":    {long + "\na\nb", "a\nb"},
		"one line too long":    {"a" + long, long},
	}
	for name, test := range tests {
		file := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(file, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := tailFile(file, 3); got != test.want {
			t.Errorf("%s: got %d bytes %.50q, want %.50q", name, len(got), got, test.want)
		}
	}
	if got := tailFile(filepath.Join(t.TempDir(), "gone"), 3); !strings.Contains(got, "no such file") {
		t.Errorf("got %q for a missing file", got)
	}
}
