package placement

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestSayNowhereNamesCommand(t *testing.T) {
	for want, of := range map[string][2]string{
		"kubectl annotate -n shop service/db 'tmc.kcp.io/target-clusters=*'":             {"v1", "Service"},
		"kubectl annotate -n shop ingress/db 'tmc.kcp.io/target-clusters=*'":             {"networking.k8s.io/v1", "Ingress"},
		"kubectl annotate -n shop poddisruptionbudget/db 'tmc.kcp.io/target-clusters=*'": {"policy/v1", "PodDisruptionBudget"},
		"kubectl annotate -n shop widget.example.com/db 'tmc.kcp.io/target-clusters=*'":  {"example.com/v1", "Widget"},
	} {
		obj := &unstructured.Unstructured{}
		obj.SetAPIVersion(of[0])
		obj.SetKind(of[1])
		obj.SetNamespace("shop")
		obj.SetName("db")
		if got := SayNowhere(obj); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
