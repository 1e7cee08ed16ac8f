package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// TestHostileValuesDelayNoOtherTenant writes, as a tenant and as a thief, numbers and overrides that are expensive to
// process, while another tenant rolls something out on the same cluster.
func TestHostileValuesDelayNoOtherTenant(t *testing.T) {
	t.Parallel()
	mallory, bystander := newTenant(t, env.shared, "hostile"), newTenant(t, env.shared, "bystander")
	kcp := mallory.inKCP()
	override := func(name, patch string) {
		mallory.apply(t, some(deployment(name)))
		kcp.kubectl(t, "annotate", "deployment/"+name, "--overwrite", v1alpha1.OverrideAnnotation(east)+"="+patch)
	}
	override("quantity", `[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"requests":{"cpu":"1e20000000"}}}]`)
	override("fraction", `[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"requests":{"memory":"1e-2000000000"}}}]`)
	double := `{"op":"copy","from":"/spec","path":"/spec/a"},{"op":"copy","from":"/spec","path":"/spec/b"}`
	override("doubling", "["+strings.TrimSuffix(strings.Repeat(double+",", 100), ",")+"]")

	thief := newThief(t, env.shared, east)
	url := thief.server + "/clusters/" + env.shared.provider + "/apis/tmc.kcp.io/v1alpha1/clusterregistrations/" + east + "/status"
	for _, field := range []string{"allocatable", "requested"} {
		status, answer, err := thief.try(t.Context(), attempt{method: http.MethodPatch, url: url, body: fmt.Sprintf(`{"status":{%q:{"cpu":"1e20000000"}}}`, field)})
		check(t, err)
		if status != http.StatusUnprocessableEntity || !strings.Contains(answer, "status."+field+".cpu") {
			t.Errorf("kcp answers %d, want %d for what takes hours to add:\n%s", status, http.StatusUnprocessableEntity, answer)
		}
	}

	bystander.apply(t, some(deployment("web")))
	bystander.rollOut(t, "web", east, west)
	kcp.eventuallyHas(t, "deployment/quantity", syncedPath, "False", "InvalidOverride", "resources.requests.cpu", "exponent")
	kcp.eventuallyHas(t, "deployment/fraction", syncedPath, "False", "InvalidOverride", "resources.requests.memory", "exponent")
	kcp.eventuallyHas(t, "deployment/doubling", syncedPath, "False", "InvalidOverride", "operation", "copy")

	// Who mends his override is served.
	kcp.kubectl(t, "annotate", "deployment/quantity", "--overwrite", v1alpha1.OverrideAnnotation(east)+
		`=[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"requests":{"cpu":"10m"}}}]`)
	mallory.rollOut(t, "quantity", east, west)
}

const crossingPolicy = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{namespaceSelector: {}}]}]
  egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}]}]
`

// TestSelectorsReachNoNamespaceOfOtherTenant asks the cluster which namespaces the selectors of a tenant's copy
// select.
func TestSelectorsReachNoNamespaceOfOtherTenant(t *testing.T) {
	t.Parallel()
	attacker, victim := newTenant(t, env.shared, "reaching"), newTenant(t, env.shared, "reached")
	for _, u := range []*tenant{attacker, victim} {
		u.apply(t, some(deployment("web")))
		u.rollOut(t, "web", east, west)
	}
	attacker.inKCP().kubectl(t, "label", "namespace", attacker.namespace, "tmc.kcp.io/workspace="+victim.logicalCluster, "admission.gatekeeper.sh/ignore=true")
	attacker.inKCP().apply(t, crossingPolicy)
	atEast := attacker.onCluster(east)
	atEast.eventually(t, "namespace/"+attacker.namespace, `{.metadata.labels.tmc\.kcp\.io/workspace} {.metadata.labels.admission\.gatekeeper\.sh/ignore}`, attacker.logicalCluster)
	atEast.eventually(t, "networkpolicy/web", "{.spec.ingress[0].from[*].namespaceSelector.matchExpressions[0].key}", "tmc.kcp.io/workspace tmc.kcp.io/managed-by")

	selected := func(selector string) []string {
		return strings.Fields(atEast.kubectl(t, "get", "namespaces", "--selector="+selector, "--output=jsonpath={.items[*].metadata.name}"))
	}
	const expression = "{.spec.ingress[0].from[%d].namespaceSelector.matchExpressions[0]%s}"
	read := func(i int, field string) string {
		return atEast.kubectl(t, "get", "networkpolicy/web", "--output=jsonpath="+fmt.Sprintf(expression, i, field))
	}
	own := selected(fmt.Sprintf("%s in (%s)", read(0, ".key"), read(0, ".values[0]")))
	if !slices.Equal(own, []string{attacker.namespace}) || read(0, ".operator") != "In" {
		t.Errorf("the first selects %v, want %s alone", own, attacker.namespace)
	}
	nobodys := selected("!" + read(1, ".key"))
	if slices.Contains(nobodys, victim.namespace) || !slices.Contains(nobodys, "kube-system") || read(1, ".operator") != "DoesNotExist" {
		t.Errorf("the second selects %v, want the cluster's own, and not %s", nobodys, victim.namespace)
	}

	// An override is not the last word about that.
	attacker.inKCP().kubectl(t, "annotate", "networkpolicy/web", v1alpha1.OverrideAnnotation(east)+
		`=[{"op":"replace","path":"/spec/ingress/0/from","value":[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"`+victim.namespace+`"}}}]}]`)
	atEast.eventually(t, "networkpolicy/web", "{.spec.ingress[0].from[*].namespaceSelector.matchLabels}|{.spec.ingress[0].from[*].namespaceSelector.matchExpressions[*].key}",
		strings.TrimSuffix(strings.Repeat(`{"kubernetes.io/metadata.name":"`+victim.namespace+`"} `, 2), " ")+"|tmc.kcp.io/workspace tmc.kcp.io/managed-by")
}
