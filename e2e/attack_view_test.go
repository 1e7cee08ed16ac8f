package e2e

import (
	"encoding/json"
	"net/http"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The clusters of TestStolenCredentialReadsWhatDocumentationSays: two of a group, and one that is shared.
const (
	tableEast  = "table-" + east
	tableWest  = "table-" + west
	tableNorth = "table-" + north
)

// builderToken is the credential of a ServiceAccount of the workspace, which kcp fills in. Nothing places it.
const builderToken = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: builder}
---
apiVersion: v1
kind: Secret
metadata: {name: builder-token, annotations: {kubernetes.io/service-account.name: builder}}
type: kubernetes.io/service-account-token
`

// TestStolenCredentialReadsWhatDocumentationSays reads what the table in docs/security.md says about the credentials
// of a cluster in a group and of a shared one: what they read of objects that are placed elsewhere or nowhere.
// TestIsolationHidesWhatIsPlacedElsewhere is about an isolated cluster.
func TestStolenCredentialReadsWhatDocumentationSays(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, "table", tableEast, tableWest, tableNorth)
	for name, flag := range map[string]string{tableEast: "--group=table", tableWest: "--group=table", tableNorth: "--shared"} {
		in.joinAgain(t, name, flag)
	}
	check(t, in.start(t.Context()))
	u := newTenant(t, in, "table")
	for _, name := range []string{"ours", "groups", "theirs", "nobodys"} {
		u.kubectl(t, "create", "secret", "generic", name, "--from-literal=password=confidential")
	}
	u.inKCP().apply(t, builderToken)
	u.inKCP().eventuallyIs(t, "secret/builder-token", "{.data.token}", "to be filled in", func(got string) bool { return got != "" })
	u.apply(t, some(deployment("ours", on(tableEast), withSecret("ours")), deployment("groups", on(tableWest), withSecret("groups")), deployment("theirs", on(tableNorth), withSecret("theirs"))))
	u.rollOut(t, "ours", tableEast)
	u.rollOut(t, "groups", tableWest)
	u.rollOut(t, "theirs", tableNorth)

	t.Run("of a group", func(t *testing.T) {
		s := newThief(t, in, tableEast)
		s.readsJust(t, u, map[string]bool{"ours": true, "groups": true, "theirs": false, "nobodys": false, "builder-token": false})
		// It writes on what is on its own cluster alone.
		secrets := s.view + "/clusters/" + u.logicalCluster + "/api/v1/namespaces/" + u.namespace + "/secrets/"
		s.tryAll(t, "403", func(status int) bool { return status == http.StatusForbidden }, map[string]attempt{
			"a report on its neighbours": {http.MethodPatch, secrets + "groups", `{"metadata":{"annotations":{"status.tmc.kcp.io/` + tableEast + `":"{}"}}}`, "placed on its cluster"},
			"its neighbour's report":     {http.MethodPatch, secrets + "ours", `{"metadata":{"annotations":{"status.tmc.kcp.io/` + tableWest + `":"{}"}}}`, "no other annotation"},
		})
	})
	t.Run("shared", func(t *testing.T) {
		s := newThief(t, in, tableNorth)
		s.readsJust(t, u, map[string]bool{"ours": true, "groups": true, "theirs": true, "nobodys": true, "builder-token": true})
		s.kindsThatItReads(t)
	})
}

// readsJust fails the test unless the thief reads, of the tenant's Secrets, those that are true, one by one and in a list of all
// workspaces.
func (s thief) readsJust(t *testing.T, u *tenant, want map[string]bool) {
	t.Helper()
	secrets := s.view + "/clusters/" + u.logicalCluster + "/api/v1/namespaces/" + u.namespace + "/secrets"
	listed := map[string]bool{}
	status, answer, err := s.try(t.Context(), attempt{method: http.MethodGet, url: s.view + "/clusters/*/api/v1/secrets"})
	if check(t, err); status != http.StatusOK {
		t.Fatalf("listing Secrets: kcp answers %d:\n%.300s", status, answer)
	}
	var list metav1.PartialObjectMetadataList
	check(t, json.Unmarshal([]byte(answer), &list))
	for _, item := range list.Items {
		if item.Annotations["kcp.io/cluster"] == u.logicalCluster {
			listed[item.Name] = true
		}
	}
	for name, reads := range want {
		code := map[bool]int{true: http.StatusOK, false: http.StatusNotFound}[reads]
		s.answers(t, secrets+"/"+name, code)
		if listed[name] != reads {
			t.Errorf("the list of all Secrets has %s: %t, want %t", name, listed[name], reads)
		}
	}
}

// kindsThatItReads fails the test unless a shared credential reads what the APIExport serves and claims, and nothing else.
func (s thief) kindsThatItReads(t *testing.T) {
	t.Helper()
	for api, want := range map[string]int{
		"/api/v1/configmaps":                               http.StatusOK,
		"/api/v1/serviceaccounts":                          http.StatusOK,
		"/api/v1/namespaces":                               http.StatusOK,
		"/apis/apps/v1/deployments":                        http.StatusOK,
		"/apis/apis.kcp.io/v1alpha2/apibindings":           http.StatusOK,
		"/apis/tmc.kcp.io/v1alpha1/workloadplacements":     http.StatusOK,
		"/apis/rbac.authorization.k8s.io/v1/clusterroles":  http.StatusNotFound,
		"/apis/core.kcp.io/v1alpha1/logicalclusters":       http.StatusNotFound,
		"/apis/tenancy.kcp.io/v1alpha1/workspaces":         http.StatusNotFound,
		"/apis/coordination.k8s.io/v1/leases":              http.StatusNotFound,
		"/apis/apis.kcp.io/v1alpha2/apiexports":            http.StatusNotFound,
		"/apis/authentication.k8s.io/v1/selfsubjectreview": http.StatusNotFound,
	} {
		s.answers(t, s.view+"/clusters/*"+api, want)
	}
}
