package e2e

import (
	"encoding/json"
	"net/http"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// The clusters whose policies list what this file's cases say, and nothing else: each case has a syncer, an account and a
// policy of its own.
const (
	guardedNorth = "guarded-" + north
	listingNorth = "listing-" + north
)

// newPoliced installs tmc with such a cluster. Whatever its policy has to hold, kcp would allow.
func newPoliced(t *testing.T, clusterName, policyNamespaces string) *installation {
	t.Helper()
	in := &installation{name: unique("guarded"), clusters: clustersOf([]string{clusterName}), policyNamespaces: policyNamespaces}
	in.installFor(t)
	in.inProvider(t).kubectl(t, "patch", "cr", clusterName, "--type=merge", `--patch={"spec":{"allowedNamespaces":["*"]}}`)
	check(t, in.start(t.Context()))
	return in
}

// newClusterThief returns a thief with the account that the syncer of a cluster has on the cluster itself.
func newClusterThief(t *testing.T, in *installation, clusterName string) thief {
	t.Helper()
	syncer := &joined{on: in.clusters[clusterName], namespace: in.syncerNamespace(clusterName)}
	kubeconfig, err := syncer.accountsKubeconfig(t.Context(), t.TempDir())
	check(t, err)
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	check(t, err)
	client, err := rest.HTTPClientFor(config)
	check(t, err)
	return thief{client: client, server: config.Host}
}

// theirs is what an operator runs on a cluster.
const theirs = `
{apiVersion: apps/v1, kind: Deployment, metadata: {name: theirs}, spec: {selector: {matchLabels: {app: theirs}},
  template: {metadata: {labels: {app: theirs}}, spec: {containers: [{name: main, image: "` + image + `"}]}}}}
---
{apiVersion: v1, kind: Secret, metadata: {name: theirs}, stringData: {password: confidential}}
`

// encoded returns JSON.
func encoded(t *testing.T, object any) string {
	t.Helper()
	data, err := json.Marshal(object)
	check(t, err)
	return string(data)
}

// forged is a copy as the syncer of the cluster would make it, in a namespace of the cluster.
func forged(t *testing.T, clusterName, namespace, manifest string) string {
	t.Helper()
	upstreamObj := &unstructured.Unstructured{}
	check(t, json.Unmarshal([]byte(manifest), &upstreamObj.Object))
	origin := transform.Origin{Workspace: "forged", Namespace: namespace, Name: upstreamObj.GetName(), Cluster: clusterName}
	desired, err := transform.Desired(transform.Input{Object: upstreamObj, Origin: origin})
	check(t, err)
	return encoded(t, desired)
}

// forgedNote is a patch that says of a namespace that it is a workspace's.
func forgedNote(t *testing.T, clusterName, namespace string) string {
	t.Helper()
	note, err := transform.NotedNamespace(namespace, transform.Origin{Workspace: "forged", Name: namespace, Cluster: clusterName})
	check(t, err)
	return encoded(t, map[string]any{"metadata": map[string]any{"labels": note.GetLabels(), "annotations": note.GetAnnotations()}})
}

// TestStolenDownstreamAccountReachesOnlyObjectsOfTmc uses the account that a syncer has on its cluster for what the
// account's role allows, and the cluster's own policy does not.
func TestStolenDownstreamAccountReachesOnlyObjectsOfTmc(t *testing.T) {
	t.Parallel()
	listed, operators := unique("listed"), unique("operators")
	in := newPoliced(t, guardedNorth, listed)
	on := env.clusters[north]
	for _, namespace := range []string{listed, operators} {
		check(t, on.kubectl(t, "create", "namespace", namespace))
	}
	side{north, on.kubeconfig, operators}.apply(t, theirs)
	u := newTenant(t, in, "guarded")
	u.apply(t, some(deployment("web")))
	u.rollOut(t, "web", guardedNorth)

	s := newClusterThief(t, in, guardedNorth)
	const post, patch, remove = http.MethodPost, http.MethodPatch, http.MethodDelete
	var (
		namespaces  = s.server + "/api/v1/namespaces"
		deployments = func(namespace string) string {
			return s.server + "/apis/apps/v1/namespaces/" + namespace + "/deployments"
		}
		secrets = func(namespace string) string { return namespaces + "/" + namespace + "/secrets" }
		own     = in.syncerNamespace(guardedNorth)
	)
	const workload = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"evil","uid":"u"},"spec":{"replicas":0,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"main","image":"x"}]}}}}`
	evil := func(namespace string) string { return forged(t, guardedNorth, namespace, workload) }
	copied := &unstructured.Unstructured{}
	check(t, json.Unmarshal([]byte(evil(operators)), &copied.Object))
	marks := encoded(t, map[string]any{"metadata": map[string]any{"labels": copied.GetLabels(), "annotations": copied.GetAnnotations()}})
	minted := &unstructured.Unstructured{}
	check(t, json.Unmarshal([]byte(forged(t, guardedNorth, u.namespace, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"evil","uid":"u"}}`)), &minted.Object))
	// No syncer would make it.
	minted.Object["type"] = string(corev1.SecretTypeServiceAccountToken)
	annotations := minted.GetAnnotations()
	annotations[corev1.ServiceAccountNameKey] = metav1.NamespaceDefault
	minted.SetAnnotations(annotations)
	isForbidden := func(status int) bool { return status == http.StatusForbidden }
	s.tryAll(t, "403", isForbidden, map[string]attempt{
		"a foreign Deployment":           {patch, deployments(operators) + "/theirs", `{"spec":{"replicas":9}}`, "somebody else's"},
		"a foreign Deployment marked":    {patch, deployments(operators) + "/theirs", marks, "somebody else's"},
		"a foreign Deployment's end":     {remove, deployments(operators) + "/theirs", "", "somebody else's"},
		"a foreign Secret":               {patch, secrets(operators) + "/theirs", `{"data":{"password":"YQ=="}}`, "somebody else's"},
		"a foreign Secret's end":         {remove, secrets(operators) + "/theirs", "", "somebody else's"},
		"a workload without marks":       {post, deployments(u.namespace), workload, "bear tmc's marks"},
		"a workload where it may not":    {post, deployments(operators), evil(operators), "or that the policy lists"},
		"a workload in kube system":      {post, deployments(metav1.NamespaceSystem), evil(metav1.NamespaceSystem), "the cluster lives by"},
		"a workload in its own":          {post, deployments(own), evil(own), "its own nothing but"},
		"a Secret in its own":            {post, secrets(own), forged(t, guardedNorth, own, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"evil","uid":"u"}}`), "its own nothing but"},
		"a token of an account":          {post, secrets(u.namespace), encoded(t, minted), "tokens of ServiceAccounts"},
		"a note where it may not":        {patch, namespaces + "/" + operators, forgedNote(t, guardedNorth, operators), "or that the policy lists"},
		"a note on kube system":          {patch, namespaces + "/" + metav1.NamespaceSystem, forgedNote(t, guardedNorth, metav1.NamespaceSystem), "the cluster lives by"},
		"a namespace without marks":      {post, namespaces, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"evil"}}`, "bear tmc's mark"},
		"a label on a foreign namespace": {patch, namespaces + "/" + listed, `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}`, "nothing but tmc's own"},
		"a foreign namespace as made":    {patch, namespaces + "/" + listed, `{"metadata":{"labels":{"tmc.kcp.io/managed-by":"tmc-syncer"}}}`, "nothing else gets it"},
		"a foreign namespace's end":      {remove, namespaces + "/" + operators, "", "that tmc has made"},
		"kube-system's end":              {remove, namespaces + "/" + metav1.NamespaceSystem, "", "may not be deleted"}, // by Kubernetes itself
	})
	s.tryAll(t, "403 by RBAC", isForbidden, map[string]attempt{
		"rights on the cluster": {post, s.server + "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"evil"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"}}`, "cannot create"},
		"its policy's end":      {remove, s.server + "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/tmc-syncer-" + own, "", "cannot delete"},
		"a token of another":    {post, namespaces + "/" + operators + "/serviceaccounts/default/token", `{}`, "cannot create"},
	})

	// What a syncer does passes, so that it is not for another reason that those do not.
	isDone := func(status int) bool { return status < http.StatusMultipleChoices }
	for _, a := range []attempt{
		{post, deployments(u.namespace), evil(u.namespace), ""},
		{patch, deployments(u.namespace) + "/evil", `{"spec":{"paused":true}}`, ""},
		{remove, deployments(u.namespace) + "/evil", "", ""},
		{patch, namespaces + "/" + listed, forgedNote(t, guardedNorth, listed), ""},
	} {
		status, answer, err := s.try(t.Context(), a)
		if err != nil || !isDone(status) {
			t.Errorf("%s %s answers %d (%v), want it to be done:\n%s", a.method, a.url, status, err, answer)
		}
	}
	u.apply(t, some(deployment("web", withNewImage)))
	u.rollOut(t, "web", guardedNorth)
}

// TestDownstreamPolicyRefusesUnlistedNamespaces uses a namespace that an operator has made and that kcp allows, while
// the cluster's own policy does not list it.
func TestDownstreamPolicyRefusesUnlistedNamespaces(t *testing.T) {
	t.Parallel()
	listed, operators := unique("listed"), unique("operators")
	in := newPoliced(t, listingNorth, "listed-*")
	for _, namespace := range []string{listed, operators} {
		check(t, env.clusters[north].kubectl(t, "create", "namespace", namespace))
	}
	u := newTenantIn(t, in, unique("guarded"), operators)
	u.apply(t, some(deployment("web")))
	u.eventuallyRefused(t, "web", "Forbidden", listingNorth, "ValidatingAdmissionPolicy", "or that the policy lists")
	isGone(t, "what was refused", u.copyOn(listingNorth, "web"))
	if marks := u.onCluster(listingNorth).marks(t); marks != "" {
		t.Errorf("the namespace says %q, want nothing", marks)
	}

	other := newTenantIn(t, in, unique("guarded"), listed)
	other.apply(t, some(deployment("web")))
	other.rollOut(t, "web", listingNorth)
	other.onCluster(listingNorth).isMarkedFor(t, other)
	other.eventuallySynced(t, "web")

	// A change behind its back is mended, also of the marks.
	at := other.onCluster(listingNorth)
	at.kubectl(t, "label", "deployment", "web", v1alpha1.ManagedByLabel+"-", v1alpha1.SourceHashLabel+"-")
	at.kubectl(t, "scale", "deployment", "web", "--replicas=0")
	other.apply(t, some(deployment("web", withNewImage)))
	other.rollOut(t, "web", listingNorth)
	eventuallyIs(t, "the marks to be back", other.copyOn(listingNorth, "web"), func(d *appsv1.Deployment) bool {
		return d.Labels[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue && d.Labels[v1alpha1.SourceHashLabel] != ""
	})
	other.kubectl(t, "delete", "deployment", "web", "--timeout=120s")
	at.eventuallyIs(t, "namespace/"+listed, "{.metadata.labels} {.metadata.annotations}", "to have no mark of tmc", func(got string) bool {
		return got != "" && !hasWords(got, []string{v1alpha1.GroupName})
	})
}
