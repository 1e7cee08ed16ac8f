package kcp

import (
	"strings"
	"testing"
)

func TestAPathIsWhatLooksLikeOne(t *testing.T) {
	for text, want := range map[string]bool{"root:team-a": true, "2k3x8w7q1z": true, "": false, "root:" + strings.Repeat("a", 300): false, "root:\x1b[31m": false, "root:a b": false} {
		if got := isPath(text); got != want {
			t.Errorf("%.40q: %t, want %t", text, got, want)
		}
	}
}
