package kcp

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAPathIsWhatLooksLikeOne(t *testing.T) {
	for text, want := range map[string]bool{"root:team-a": true, "2k3x8w7q1z": true, "": false, "root:" + strings.Repeat("a", 300): false, "root:\x1b[31m": false, "root:a b": false} {
		binding := &metav1.ObjectMeta{Annotations: map[string]string{"kcp.io/path": text}}
		if got := SaidPath(binding); got != text && got != "" || (got != "") != want {
			t.Errorf("%.40q: %.40q, want it: %t", text, got, want)
		}
	}
}
