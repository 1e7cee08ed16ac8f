package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// monitoring is a namespace of a cluster's people, with an account that may do everything there.
const monitoring = `
{apiVersion: v1, kind: Namespace, metadata: {name: %[1]s}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: prometheus, namespace: %[1]s}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: %[1]s}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin},
  subjects: [{kind: ServiceAccount, name: prometheus, namespace: %[1]s}]}
`

// intruder is a Deployment that would run as the account of monitoring.
const intruder = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      serviceAccountName: prometheus
      hostPID: true
      containers: [{name: main, image: "` + image + `", securityContext: {privileged: true}}]
`

// allowing sets the namespaces of a cluster that copies come into although tmc did not make them.
func (in *installation) allowing(t *testing.T, clusterName, patterns string) {
	t.Helper()
	in.inProvider(t).kubectl(t, "patch", "cr", clusterName, "--type=merge", `--patch={"spec":{"allowedNamespaces":`+patterns+`}}`)
}

// TestNamespaceOfClusterIsNotEnteredByTenant gives a tenant's namespace the name of one that belongs to a cluster's
// people, and a Deployment in it an account of theirs. It tries each mode in which the two would be one namespace.
func TestNamespaceOfClusterIsNotEnteredByTenant(t *testing.T) {
	t.Parallel()
	entered := "entered-" + north
	in := newInstallation(t, "entered", entered)
	check(t, in.start(t.Context()))
	for _, mode := range []v1alpha1.NamespaceMode{v1alpha1.NamespaceModeExclusive, v1alpha1.NamespaceModeShared} {
		t.Run(string(mode), func(t *testing.T) {
			in.setMode(t, entered, mode)
			in.allowing(t, entered, `["default"]`)
			namespace := unique("monitoring")
			operator := side{north, env.clusters[north].kubeconfig, namespace}
			operator.apply(t, fmt.Sprintf(monitoring, namespace))
			before := operator.kubectl(t, "get", "namespace", namespace, "--output=jsonpath={.metadata.resourceVersion}")
			u := newTenantIn(t, in, unique("intruder"), namespace)
			u.inKCP().apply(t, fmt.Sprintf(intruder, "first"))
			words := []string{"namespace " + namespace, "was not made by tmc", "spec.allowedNamespaces of ClusterRegistration " + entered}
			u.eventuallyNotAllowed(t, "first", words...)
			isGone(t, "the intruder", u.copyOn(entered, "first"))
			if after := operator.kubectl(t, "get", "namespace", namespace, "--output=jsonpath={.metadata.resourceVersion}"); after != before {
				t.Errorf("the namespace of the cluster's people has been written to: it was %s, and is %s", before, after)
			}

			in.allowing(t, entered, `["default","`+strings.TrimRight(namespace, "0123456789")+`*"]`)
			u.rollOut(t, "first", entered)

			// As after an upgrade: it is there, and not listed.
			in.allowing(t, entered, `null`)
			u.eventuallyNotAllowed(t, "first", append(words, "is kept up", "nothing new comes in")...)
			u.kubectl(t, "scale", "deployment", "first", "--replicas=2")
			u.rollOut(t, "first", entered)
			u.inKCP().apply(t, fmt.Sprintf(intruder, "second"))
			u.eventuallyNotAllowed(t, "second", words...)
			isGone(t, "what is new", u.copyOn(entered, "second"))
			u.kubectl(t, "delete", "deployment", "first", "second", "--timeout=120s") // nothing holds them
			isGone(t, "the first", u.copyOn(entered, "first"))
			operator.eventuallyThere(t, "serviceaccount/prometheus")
		})
	}
}

// eventuallyNotAllowed waits until the user has been told that a Deployment may not be where it would be, with the words. That its account
// is not in kcp is told before that.
func (u *tenant) eventuallyNotAllowed(t *testing.T, name string, words ...string) {
	t.Helper()
	u.inKCP().eventuallyHas(t, "deployment/"+name, syncedPath, append(words, "False")...)
	u.eventuallyEvent(t, name, "NamespaceNotAllowed", words...)
}

// TestNamespaceWithForgedMarksIsNotEntered copies the labels and annotations of a namespace that tmc made, as
// restoring a backup without managedFields does, and then hands the namespace over to tmc.
func TestNamespaceWithForgedMarksIsNotEntered(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "forged")
	operator := u.onCluster(east)
	marked := fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {tmc.kcp.io/managed-by: tmc-syncer},
		annotations: {tmc.kcp.io/source-cluster: %s, tmc.kcp.io/source-name: %[1]s, tmc.kcp.io/target-cluster: east}}}`, u.namespace, u.logicalCluster)
	operator.apply(t, marked)
	u.apply(t, some(deployment("web", on(east))))
	u.eventuallyRefused(t, "web", "NamespaceNotAllowed", east, "namespace "+u.namespace)
	isGone(t, "the copy", u.copyOn(east, "web"))

	check(t, env.clusters[east].kubectlInput(t, marked, "apply", "--server-side", "--force-conflicts", "--field-manager="+v1alpha1.FieldManager, "--filename=-"))
	u.rollOut(t, "web", east)
	u.eventuallySynced(t, "web")
	u.kubectl(t, "delete", "deployment", "web", "--timeout=120s")
	operator.eventuallyGone(t, "namespace/"+u.namespace)
}

// claimOf is a claim of a volume; marksOf are the marks that its copy has, and an entry of managedFields that says that tmc applied them, as JSON.
const claimOf = `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data, annotations: {tmc.kcp.io/target-clusters: east}},
  spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`

func marksOf(u *tenant, name string) string {
	origin := transform.Origin{Workspace: u.logicalCluster, Namespace: u.namespace, Name: name, Cluster: east}
	return fmt.Sprintf(`{"name":"forged","labels":{"tmc.kcp.io/managed-by":"tmc-syncer","tmc.kcp.io/source-hash":%q,"app":"db"},
		"annotations":{"tmc.kcp.io/source-cluster":%q,"tmc.kcp.io/source-namespace":%q,"tmc.kcp.io/source-name":%q,"tmc.kcp.io/target-cluster":"east"},
		"managedFields":[{"manager":"tmc-syncer","operation":"Apply","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{
			"f:annotations":{"f:tmc.kcp.io/source-cluster":{},"f:tmc.kcp.io/source-namespace":{},"f:tmc.kcp.io/source-name":{},"f:tmc.kcp.io/target-cluster":{}},
			"f:labels":{"f:tmc.kcp.io/managed-by":{},"f:tmc.kcp.io/source-hash":{}}}}}]}`,
		origin.Hash(), origin.Workspace, origin.Namespace, origin.Name)
}

// TestForgedCopyDoesNotBlockDeletion makes objects that say that they are the copy of another tenant's: claims that a
// StatefulSet makes, and one that got onto the cluster in another way, with all that such an object can carry.
func TestForgedCopyDoesNotBlockDeletion(t *testing.T) {
	t.Parallel()
	victim, attacker := newTenant(t, env.shared, "victim"), newTenant(t, env.shared, "attacker")
	victim.inKCP().apply(t, claimOf)
	victim.onCluster(east).eventuallyThere(t, "pvc/data")

	claims := `[{"op":"add","path":"/spec/volumeClaimTemplates","value":[{"metadata":` + marksOf(victim, "data") + `,"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}]}]`
	attacker.inKCP().apply(t, fmt.Sprintf(`
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, annotations: {tmc.kcp.io/target-clusters: east, override.tmc.kcp.io/east: '%s'}}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: main, image: "`+image+`"}]}}
`, claims))
	atEast := attacker.onCluster(east)
	forged := atEast.eventuallyThere(t, "pvc/forged-db-0")
	if got := atEast.kubectl(t, "get", "statefulset/db", "pvc/forged-db-0", "--output=jsonpath={.items[0].spec.volumeClaimTemplates[*].metadata} {.items[1].metadata}"); strings.Contains(got, victim.logicalCluster) {
		t.Errorf("what is made for the attacker names the victim: %s", got)
	}

	byHand := `{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":` + marksOf(victim, "data") + `,"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}`
	check(t, env.clusters[east].kubectlInput(t, byHand, "--namespace="+attacker.namespace, "create", "--filename=-"))
	uid := atEast.kubectl(t, "get", "pvc/forged", "--output=jsonpath="+uidPath)
	// What tmc's safety stands on: who makes an object owns all of it, whatever managedFields it brings along.
	const entry = `{.metadata.labels.tmc\.kcp\.io/source-hash} {.metadata.managedFields[?(@.manager=="tmc-syncer")].fieldsV1}`
	if got := atEast.kubectl(t, "get", "pvc/forged", "--show-managed-fields", "--output=jsonpath="+entry); got == "" || strings.Contains(got, "source-hash") {
		t.Errorf("the forged claim has the marks and an entry of tmc's: %q, want the marks and none that owns them", got)
	}

	victim.kubectl(t, "delete", "pvc", "data", "--timeout=60s")
	victim.onCluster(east).isNotThere(t, "pvc/data")
	for name, want := range map[string]string{"forged": uid, "forged-db-0": forged} {
		got, err := atEast.get(t.Context(), "pvc/"+name, "{.metadata.uid} {.metadata.deletionTimestamp}")
		if check(t, err); strings.TrimSpace(got) != want {
			t.Errorf("the claim %s, which is not tmc's, was %s and is %q", name, want, got)
		}
	}
}

// TestForgedCopyIsReportedAsConflict puts a forged copy where the copy is to go.
func TestForgedCopyIsReportedAsConflict(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "impostor")
	u.apply(t, some(deployment("web", on(east))))
	u.rollOut(t, "web", east)
	atEast := u.onCluster(east)
	forged := strings.Replace(marksOf(u, "data"), `"name":"forged"`, `"name":"data"`, 1)
	check(t, env.clusters[east].kubectlInput(t, `{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":`+forged+`,"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}`,
		"--namespace="+u.namespace, "create", "--filename=-"))
	uid := atEast.kubectl(t, "get", "pvc/data", "--output=jsonpath={.metadata.uid} {.metadata.resourceVersion}")
	u.inKCP().apply(t, claimOf)
	u.inKCP().eventuallyHas(t, "pvc/data", syncedPath, "False", "Conflict", "data is in the way", "was not made by tmc")
	u.kubectl(t, "delete", "pvc", "data", "--timeout=60s")
	if got := atEast.kubectl(t, "get", "pvc/data", "--output=jsonpath={.metadata.uid} {.metadata.resourceVersion}"); got != uid {
		t.Errorf("what was in the way was %s, and is %s", uid, got)
	}
}

// TestOverrideCannotMakeServiceAccountToken overrides the type of a Secret with the one into which a cluster writes
// tokens.
func TestOverrideCannotMakeServiceAccountToken(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "minted")
	const override = `[{"op":"replace","path":"/type","value":"kubernetes.io/service-account-token"},{"op":"add","path":"/metadata/annotations/kubernetes.io~1service-account.name","value":"default"}]`
	u.inKCP().apply(t, `{apiVersion: v1, kind: Secret, type: Opaque, metadata: {name: minted, annotations: {tmc.kcp.io/target-clusters: east, override.tmc.kcp.io/east: '`+override+`'}}}`)
	u.eventuallyEvent(t, "minted", "InvalidOverride", "never synced", "token of a ServiceAccount")
	u.onCluster(east).isNotThere(t, "secret/minted")
	u.kubectl(t, "delete", "secret", "minted", "--timeout=60s")
}

// kubectlInput runs kubectl on the cluster with something on stdin.
func (c *cluster) kubectlInput(t *testing.T, input string, args ...string) error {
	t.Helper()
	_, _, err := framework.KubectlInput(t.Context(), strings.NewReader(input), c.kubeconfig, args...)
	return err
}
