package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/bootstrap"
)

// thief has the credentials for kcp that a cluster has, and nothing else.
type thief struct {
	kubeconfig string
	// view is the URL of the export's virtual workspace, server that of kcp itself.
	view, server string
	provider     string
}

// newThief takes the credentials out of the Secret that the manifest of a cluster has made there.
func newThief(t *testing.T, in *installation, clusterName string) thief {
	t.Helper()
	secret, err := in.clusters[clusterName].client.CoreV1().Secrets(in.syncerNamespace(clusterName)).Get(t.Context(), bootstrap.SecretName, metav1.GetOptions{})
	check(t, err)
	kubeconfig := filepath.Join(t.TempDir(), "stolen.kubeconfig")
	check(t, os.WriteFile(kubeconfig, secret.Data[bootstrap.KubeconfigKey], 0o600))
	config, err := clientcmd.LoadFromFile(kubeconfig)
	check(t, err)
	server, _, _ := strings.Cut(config.Clusters[config.Contexts[config.CurrentContext].Cluster].Server, "/clusters/")
	view, err := in.inProvider(t).get(t.Context(), "apiexportendpointslice "+v1alpha1.APIExportName, "{.status.endpoints[0].url}")
	check(t, err)
	if view == "" {
		t.Fatal("the endpoint slice has no URL")
	}
	return thief{kubeconfig: kubeconfig, view: view, server: server, provider: in.provider}
}

// tries does something at a URL.
func (s thief) tries(ctx context.Context, a attempt) (string, error) {
	args := append([]string{"--server=" + a.url}, strings.Fields(a.args)...)
	stdout, _, err := framework.KubectlInput(ctx, strings.NewReader(a.input), s.kubeconfig, args...)
	return stdout, err
}

// in returns the URL of a workspace by its path.
func (s thief) in(workspace string) string { return s.server + "/clusters/" + workspace }

// attempt is something that somebody tries who has stolen a cluster's credentials.
type attempt struct {
	// url is the server, args are kubectl's, and input is what it reads.
	url, args, input string
	// words are in the refusal.
	words []string
}

// TestACredentialThatIsStolenFromAClusterOpensNothingElse tries what east's credentials for kcp are not for.
func TestACredentialThatIsStolenFromAClusterOpensNothingElse(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "stolen")
	u.kubectl(t, "create", "secret", "generic", "private", "--from-literal=password=confidential")
	u.apply(t, some(deployment("web"), deployment("theirs", on(west))))
	u.rollOut(t, "web", east, west)
	u.rollOut(t, "theirs", west)
	before := get(t, u.upstream("theirs"))

	s := newThief(t, env.shared, east)
	tenants, provider := s.view+"/clusters/"+u.logicalCluster, s.in(s.provider)
	in := "--namespace=" + u.namespace
	web, theirs := in+" patch deployment web --type=merge --patch=", in+" patch deployment theirs --type=merge --patch="
	const (
		forbidden    = "forbidden"
		registration = "{apiVersion: tmc.kcp.io/v1alpha1, kind: ClusterRegistration, metadata: {name: evil}}"
		event        = "{apiVersion: v1, kind: Event, metadata: {name: evil}, reason: Evil, message: evil, involvedObject: {kind: Deployment, name: web}}"
	)
	attempts := map[string]attempt{
		"CreateAWorkload":       {tenants, in + " create configmap evil", "", []string{forbidden}},
		"CreateAnEvent":         {tenants, in + " create --filename=-", event, []string{forbidden}},
		"DeleteAWorkload":       {tenants, in + " delete deployment web", "", []string{forbidden}},
		"TheSpec":               {tenants, web + `{"spec":{"replicas":9}}`, "", []string{"may not change anything outside of metadata"}},
		"ALabel":                {tenants, web + `{"metadata":{"labels":{"cluster.tmc.kcp.io/north":"sync"}}}`, "", []string{"may not change labels"}},
		"TheOtherClustersLabel": {tenants, web + `{"metadata":{"labels":{"cluster.tmc.kcp.io/west":null}}}`, "", []string{"may not change labels"}},
		"AnAnnotation":          {tenants, web + `{"metadata":{"annotations":{"tmc.kcp.io/target-clusters":"east"}}}`, "", []string{"no other annotation than status.tmc.kcp.io/east"}},
		"TheOthersReport":       {tenants, web + `{"metadata":{"annotations":{"status.tmc.kcp.io/west":"{}"}}}`, "", []string{"no other annotation than status.tmc.kcp.io/east"}},
		"TheOthersFinalizer":    {tenants, web + `{"metadata":{"finalizers":["syncer.tmc.kcp.io/east"]}}`, "", []string{"no other finalizer than syncer.tmc.kcp.io/east"}},
		"AnOwner":               {tenants, web + `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"x"}]}}`, "", []string{"may not change labels, owners"}},
		"TheStatus":             {tenants, in + " patch deployment web --subresource=status --type=merge --patch=" + `{"status":{"availableReplicas":9}}`, "", []string{"not their status"}},
		"WhatIsNotPlacedHere":   {tenants, theirs + `{"metadata":{"annotations":{"status.tmc.kcp.io/east":"{}"}}}`, "", []string{"only update what is placed on its cluster"}},
		"APlacementOfItsOwn":    {tenants, theirs + `{"metadata":{"labels":{"cluster.tmc.kcp.io/east":"sync"}}}`, "", []string{"placed on its cluster"}},
		"ASecretOfTheTenants":   {tenants, in + ` patch secret private --type=merge --patch={"data":{"password":"YQ=="}}`, "", []string{"placed on its cluster"}},
		"TheTenantsWorkspace":   {s.in(u.workspace), "get --raw=/clusters/" + u.workspace + "/api/v1/secrets", "", []string{forbidden}},
		"AnotherWorkspace":      {s.in("root"), "get --raw=/clusters/root/api/v1/secrets", "", []string{forbidden}},
		"EverySecret":           {provider, "get secrets --all-namespaces", "", []string{forbidden}},
		"TheOthersRegistration": {provider, "get clusterregistration " + west, "", []string{forbidden}},
		"AllRegistrations":      {provider, "get clusterregistrations", "", []string{forbidden}},
		"ItsOwnSpec":            {provider, "patch clusterregistration east --type=merge --patch=" + `{"spec":{"allowedWorkspaces":["root:x"]}}`, "", []string{forbidden}},
		"TheOthersStatus":       {provider, "patch clusterregistration west --subresource=status --type=merge --patch=" + `{"status":{"nodes":0}}`, "", []string{forbidden}},
		"ANewRegistration":      {provider, "create --filename=-", registration, []string{forbidden}},
		"DeleteItself":          {provider, "delete clusterregistration east", "", []string{forbidden}},
		"TheOthersLease":        {provider, "--namespace=tmc-heartbeats patch lease west --type=merge --patch=" + `{"spec":{"holderIdentity":"x"}}`, "", []string{forbidden}},
		"ALeaseMore":            {provider, "--namespace=tmc-heartbeats get leases", "", []string{forbidden}},
		"TheOthersToken":        {provider, "--namespace=tmc-syncers create token west", "", []string{forbidden}},
		"AnAccountMore":         {provider, "--namespace=tmc-syncers create serviceaccount more", "", []string{forbidden}},
		"MoreRights":            {provider, "create clusterrolebinding more --clusterrole=cluster-admin --user=x", "", []string{forbidden}},
		"TheExport":             {provider, `patch apiexport tmc.kcp.io --type=merge --patch={"spec":{"permissionClaims":[]}}`, "", []string{forbidden}},
	}
	for name, a := range attempts {
		t.Run(name, func(t *testing.T) {
			out, err := s.tries(t.Context(), a)
			if err == nil {
				t.Fatalf("kcp lets it: %s", out)
			}
			if !hasWords(strings.ToLower(err.Error()), lower(a.words)) {
				t.Errorf("refused for another reason, want %q in:\n%s", a.words, err)
			}
		})
	}

	t.Run("what it is for", func(t *testing.T) {
		for _, allowed := range []attempt{
			{url: tenants, args: web + `{"metadata":{"annotations":{"status.tmc.kcp.io/east":"{}"}}}`},
			{url: tenants, args: in + " get deployment web"},
			{url: provider, args: "get clusterregistration east"},
			{url: provider, args: "patch clusterregistration east --subresource=status --type=merge --patch=" + `{"status":{"nodes":1}}`},
			{url: provider, args: "--namespace=tmc-heartbeats patch lease east --type=merge --patch=" + `{"metadata":{"annotations":{"a":"b"}}}`},
			{url: provider, args: "--namespace=tmc-syncers create token east"},
		} {
			if _, err := s.tries(t.Context(), allowed); err != nil {
				t.Errorf("the credentials do not do what they are for, so that the refusals say nothing: %v", err)
			}
		}
		u.eventuallySynced(t, "web") // its true syncer has put the report right
	})
	if after := get(t, u.upstream("theirs")); after.ResourceVersion != before.ResourceVersion {
		t.Errorf("what is west's was written to: before %s; after %s", describe(before), describe(after))
	}
}

func lower(words []string) []string {
	lowered := make([]string, len(words))
	for i, word := range words {
		lowered[i] = strings.ToLower(word)
	}
	return lowered
}
