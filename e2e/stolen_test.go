package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/bootstrap"
)

// thief has the credentials for kcp that a cluster has, and nothing else.
type thief struct {
	client *http.Client
	// view is the URL of the virtual workspace of the cluster's own export, server that of kcp itself.
	view, server string
}

// viewURL returns the URL of the virtual workspace of an export.
func (in *installation) viewURL(t *testing.T, export string) string {
	t.Helper()
	view, err := in.inProvider(t).get(t.Context(), "apiexportendpointslice "+export, "{.status.endpoints[0].url}")
	check(t, err)
	if view == "" {
		t.Fatalf("the endpoint slice of %s has no URL", export)
	}
	return view
}

// newThief reads the credentials from the Secret that the manifest of a cluster made there.
func newThief(t *testing.T, in *installation, clusterName string) thief {
	t.Helper()
	secret, err := in.clusters[clusterName].client.CoreV1().Secrets(in.syncerNamespace(clusterName)).Get(t.Context(), bootstrap.SecretName, metav1.GetOptions{})
	check(t, err)
	config, err := clientcmd.RESTConfigFromKubeConfig(secret.Data[bootstrap.KubeconfigKey])
	check(t, err)
	client, err := rest.HTTPClientFor(config)
	check(t, err)
	registration := &v1alpha1.ClusterRegistration{}
	check(t, json.Unmarshal([]byte(in.inProvider(t).kubectl(t, "get", "clusterregistration", clusterName, "--output=json")), registration))
	view := in.viewURL(t, registration.Spec.ExportFor(clusterName))
	server, _, _ := strings.Cut(config.Host, "/clusters/")
	return thief{client: client, view: view, server: server}
}

// attempt is a request that somebody makes who has stolen a cluster's credentials. A PATCH is a merge patch.
type attempt struct {
	method, url, body string
	// words are in the refusal.
	words string
}

// try makes the request and returns the answer.
func (s thief) try(ctx context.Context, a attempt) (status int, answer string, err error) {
	request, err := http.NewRequestWithContext(ctx, a.method, a.url, bytes.NewReader([]byte(a.body)))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/json")
	if a.method == http.MethodPatch {
		request.Header.Set("Content-Type", string(types.MergePatchType))
	}
	response, err := s.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, string(content), err
}

// tryAll makes each of the requests as a case of its own. It fails unless kcp answers all of them with the attempt's
// words and a status that is good; want says which these are.
func (s thief) tryAll(t *testing.T, want string, isGood func(status int) bool, attempts map[string]attempt) {
	t.Helper()
	for name, a := range attempts {
		t.Run(name, func(t *testing.T) {
			status, answer, err := s.try(t.Context(), a)
			check(t, err)
			if !isGood(status) || !strings.Contains(answer, a.words) {
				t.Errorf("kcp answers %d, want %s with the words %q:\n%s", status, want, a.words, answer)
			}
		})
	}
}

// TestStolenUpstreamCredentialOpensNothingElse uses east's credentials for kcp for what they are not meant.
func TestStolenUpstreamCredentialOpensNothingElse(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "stolen")
	u.kubectl(t, "create", "secret", "generic", "private", "--from-literal=password=confidential")
	u.apply(t, some(deployment("web"), deployment("theirs", on(west))))
	u.rollOut(t, "web", east, west)
	u.rollOut(t, "theirs", west)
	before := get(t, u.upstream("theirs"))

	s := newThief(t, env.shared, east)
	const get, post, patch, remove = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	var (
		core        = s.view + "/clusters/" + u.logicalCluster + "/api/v1/namespaces/" + u.namespace
		deployments = s.view + "/clusters/" + u.logicalCluster + "/apis/apps/v1/namespaces/" + u.namespace + "/deployments"
		// The workspace itself.
		tenants       = s.server + "/clusters/" + u.workspace + "/api/v1/namespaces/" + u.namespace
		web, theirs   = deployments + "/web", deployments + "/theirs"
		provider      = s.server + "/clusters/" + env.shared.provider
		registrations = provider + "/apis/tmc.kcp.io/v1alpha1/clusterregistrations"
		leases        = provider + "/apis/coordination.k8s.io/v1/namespaces/tmc-heartbeats/leases"
		accounts      = provider + "/api/v1/namespaces/tmc-syncers/serviceaccounts"
	)
	const token = `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":600}}`
	isForbidden := func(status int) bool { return status == http.StatusForbidden }
	s.tryAll(t, "403", isForbidden, map[string]attempt{
		"create a ConfigMap":        {post, core + "/configmaps", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"evil"}}`, "cannot create"},
		"create an event":           {post, core + "/events", `{"apiVersion":"v1","kind":"Event","metadata":{"name":"evil"},"involvedObject":{"name":"web"}}`, "cannot create"},
		"Delete":                    {remove, web, "", "cannot delete"},
		"DeleteAll":                 {remove, deployments, "", "cannot deletecollection"},
		"the spec":                  {patch, web, `{"spec":{"replicas":9}}`, "may not change anything outside of metadata"},
		"a label":                   {patch, web, `{"metadata":{"labels":{"cluster.tmc.kcp.io/north":"sync"}}}`, "may not change labels"},
		"the other cluster's label": {patch, web, `{"metadata":{"labels":{"cluster.tmc.kcp.io/west":null}}}`, "may not change labels"},
		"an annotation":             {patch, web, `{"metadata":{"annotations":{"tmc.kcp.io/target-clusters":"east"}}}`, "no other annotation than status.tmc.kcp.io/east"},
		"the other's report":        {patch, web, `{"metadata":{"annotations":{"status.tmc.kcp.io/west":"{}"}}}`, "no other annotation than status.tmc.kcp.io/east"},
		"the other's finalizer":     {patch, web, `{"metadata":{"finalizers":["syncer.tmc.kcp.io/east"]}}`, "no other finalizer than syncer.tmc.kcp.io/east"},
		"an owner":                  {patch, web, `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"x"}]}}`, "may not change labels, owners"},
		"a report that is too long": {patch, web, `{"metadata":{"annotations":{"status.tmc.kcp.io/east":"` + strings.Repeat("x", 16385) + `"}}}`, "may take 16 KiB"},
		"the status":                {patch, web + "/status", `{"status":{"availableReplicas":9}}`, "cannot patch"},
		"the tenant's workspace":    {post, tenants + "/configmaps", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"evil"}}`, "forbidden"},
		"the tenants Secret":        {remove, tenants + "/secrets/private", "", "forbidden"},
		"rights in the workspace":   {post, s.server + "/clusters/" + u.workspace + "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"evil"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"}}`, "forbidden"},
		"another workspace":         {get, s.server + "/clusters/root/api/v1/secrets", "", "forbidden"},
		"EverySecret":               {get, provider + "/api/v1/secrets", "", "cannot list"},
		"the other's registration":  {get, registrations + "/west", "", "cannot get"},
		"all registrations":         {get, registrations, "", "cannot list"},
		"its own spec":              {patch, registrations + "/east", `{"spec":{"allowedWorkspaces":["root:x"]}}`, "cannot patch"},
		"the other's status":        {patch, registrations + "/west/status", `{"status":{"nodes":0}}`, "cannot patch"},
		"a new registration":        {post, registrations, `{"apiVersion":"tmc.kcp.io/v1alpha1","kind":"ClusterRegistration","metadata":{"name":"evil"}}`, "cannot create"},
		"DeleteItself":              {remove, registrations + "/east", "", "cannot delete"},
		"the others Lease":          {patch, leases + "/west", `{"spec":{"holderIdentity":"x"}}`, "cannot patch"},
		"a Lease more":              {post, leases, `{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"evil"}}`, "cannot create"},
		"the other's token":         {post, accounts + "/west/token", token, "cannot create"},
		"an account more":           {post, accounts, `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"evil"}}`, "cannot create"},
		"more rights":               {patch, provider + "/apis/rbac.authorization.k8s.io/v1/clusterroles/tmc-syncer-east", `{"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]}`, "cannot patch"},
		"the export":                {patch, provider + "/apis/apis.kcp.io/v1alpha2/apiexports/tmc.kcp.io", `{"spec":{"permissionClaims":[]}}`, "cannot patch"},
	})

	// What is placed elsewhere is not in the view, so that there is nothing to refuse.
	isMissing := func(status int) bool { return status == http.StatusNotFound }
	s.tryAll(t, "404", isMissing, map[string]attempt{
		"what is not placed here": {patch, theirs, `{"metadata":{"annotations":{"status.tmc.kcp.io/east":"{}"}}}`, ""},
		"a placement of its own":  {patch, theirs, `{"metadata":{"labels":{"cluster.tmc.kcp.io/east":"sync"}}}`, ""},
		"a Secret of the tenants": {patch, core + "/secrets/private", `{"data":{"password":"YQ=="}}`, ""},
	})

	// Where these do not pass, the refusals say nothing.
	isDone := func(status int) bool { return status < http.StatusMultipleChoices }
	s.tryAll(t, "it to be done", isDone, map[string]attempt{
		"ItsReport":       {patch, web, `{"metadata":{"annotations":{"status.tmc.kcp.io/east":"{}"}}}`, ""},
		"ItsWorkload":     {get, web, "", ""},
		"ItsRegistration": {get, registrations + "/east", "", ""},
		"its own status":  {patch, registrations + "/east/status", `{"status":{"nodes":8}}`, ""},
		"ItsLease":        {patch, leases + "/east", `{"metadata":{"annotations":{"a":"b"}}}`, ""},
		"ItsToken":        {post, accounts + "/east/token", token, ""},
	})
	u.eventuallySynced(t, "web") // the syncer has put its report right
	if after, err := u.deployment(t.Context(), "theirs"); err != nil || after.ResourceVersion != before.ResourceVersion {
		t.Errorf("what is west's was written to (%v): before %s; after %s", err, describe(before), describe(after))
	}
}
