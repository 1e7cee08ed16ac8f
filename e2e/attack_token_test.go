package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// revokedEast is the cluster of TestRevokedCredentialIsRefused.
const revokedEast = "revoked-" + east

// withToken is the thief with another token.
func (s thief) withToken(token string) thief {
	s.client = &http.Client{Transport: bearing{token, s.client.Transport}}
	return s
}

// bearing replaces the credentials of every request by a token.
type bearing struct {
	token string
	under http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b bearing) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	// The transport below sets its own only where there is none.
	request.Header.Set("Authorization", "Bearer "+b.token)
	return b.under.RoundTrip(request)
}

// tokenFor is the body of a TokenRequest.
func tokenFor(spec string) string {
	return `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":` + spec + `}`
}

// TestStolenTokenCannotMakeBetterToken requests, with east's token, tokens that its syncer does not need, and reports
// facts about the cluster that would end its syncer.
func TestStolenTokenCannotMakeBetterToken(t *testing.T) {
	t.Parallel()
	newTenant(t, env.shared, "better") // who binds gives the view of the cluster a URL
	s := newThief(t, env.shared, east)
	provider := s.server + "/clusters/" + env.shared.provider
	own := provider + "/api/v1/namespaces/tmc-syncers/serviceaccounts/east/token"
	status := provider + "/apis/tmc.kcp.io/v1alpha1/clusterregistrations/east/status"
	const post, patch = http.MethodPost, http.MethodPatch
	isForbidden := func(status int) bool { return status == http.StatusForbidden }
	s.tryAll(t, "403", isForbidden, map[string]attempt{
		"a token for ten years":         {post, own, tokenFor(`{"expirationSeconds":315360000}`), "valid for a day"},
		"a token for two days":          {post, own, tokenFor(`{"expirationSeconds":172800}`), "valid for a day"},
		"a token for somebody else":     {post, own, tokenFor(`{"expirationSeconds":600,"audiences":["vault"]}`), "no other audience"},
		"a bound token":                 {post, own, tokenFor(`{"expirationSeconds":600,"boundObjectRef":{"kind":"Secret","apiVersion":"v1","name":"x"}}`), "bound to another object"},
		"the name of another cluster":   {patch, status, `{"status":{"clusterUID":"another"}}`, "whose cluster it is"},
		"the name of no cluster":        {patch, status, `{"status":{"clusterUID":null}}`, "whose cluster it is"},
		"the view of all":               {patch, status, `{"status":{"export":"tmc.kcp.io"}}`, "as its registration has it"},
		"the view of another":           {patch, status, `{"status":{"export":"cluster-west"}}`, "as its registration has it"},
		"that its cluster is not ready": {patch, status, `{"status":{"conditions":[]}}`, "the hub's to write"},
	})
	isDone := func(status int) bool { return status < http.StatusMultipleChoices }
	s.tryAll(t, "it to be done", isDone, map[string]attempt{
		"a token for a day": {post, own, tokenFor(`{"expirationSeconds":86400}`), ""},
		"AnyToken":          {post, own, tokenFor(`{}`), ""},
	})
}

// TestRevokedCredentialIsRefused has a thief renew a stolen token and claim the cluster's name. The operator then
// revokes the token.
func TestRevokedCredentialIsRefused(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, "revoked", revokedEast)
	syncer := in.syncers[revokedEast]
	check(t, in.controller.start())
	u := newTenant(t, in, "revoked")
	s := newThief(t, in, revokedEast)
	provider := s.server + "/clusters/" + in.provider
	uid := func(ctx context.Context) (string, error) {
		return in.inProvider(t).get(ctx, "clusterregistration/"+revokedEast, "{.status.clusterUID}")
	}

	// Before its syncer has begun, the credential says that the name is another cluster's.
	code, answer, err := s.try(t.Context(), attempt{http.MethodPatch, provider + "/apis/tmc.kcp.io/v1alpha1/clusterregistrations/" + revokedEast + "/status",
		`{"status":{"clusterUID":"thief"}}`, ""})
	if check(t, err); code != http.StatusOK {
		t.Fatalf("kcp answers %d:\n%s", code, answer)
	}
	again := s.renewed(t, provider, revokedEast)
	version := attempt{method: http.MethodGet, url: provider + "/version"}
	if code, answer, err := again.try(t.Context(), version); err != nil || code != http.StatusOK {
		t.Fatalf("kcp answers %d to a token that was renewed (%v):\n%s", code, err, answer)
	}

	joinedAgain, err := in.join(t.Context(), revokedEast, in.clusters[revokedEast], in.syncerNamespace(revokedEast), "--revoke")
	check(t, err)
	for name, thief := range map[string]thief{"the stolen token": s, "the one that was made with it": again} {
		if code, answer, err := thief.try(t.Context(), version); err != nil || code != http.StatusUnauthorized {
			t.Errorf("%s: kcp answers %d, want %d (%v):\n%s", name, code, http.StatusUnauthorized, err, answer)
		}
	}
	if got, err := uid(t.Context()); err != nil || got != "" {
		t.Errorf("the name is that of cluster %q (%v), want it nobody's", got, err)
	}

	// Its syncer begins with the old manifest, says so, and works when it has the new one.
	check(t, syncer.start())
	syncer.eventuallyLogs(t, "kcp refuses the credentials", "kubectl tmc join "+revokedEast)
	check(t, joinedAgain.start(t.Context()))
	check(t, syncer.waitReady(t.Context()))
	check(t, in.waitClusters(t.Context(), revokedEast))
	u.apply(t, some(deployment("web", on(revokedEast))))
	u.rollOut(t, "web", revokedEast)

	t.Run("while it runs", func(t *testing.T) { revokesWhileItRuns(t, in, syncer, u) })
}

// revokesWhileItRuns revokes the tokens of a running syncer.
func revokesWhileItRuns(t *testing.T, in *installation, syncer *program, u *tenant) {
	eventuallyIs(t, "its controller to be through with it", u.copyOn(revokedEast, "web"), isThrough)
	before := get(t, u.copyOn(revokedEast, "web"))
	joinedAgain, err := in.join(t.Context(), revokedEast, in.clusters[revokedEast], in.syncerNamespace(revokedEast), "--revoke")
	check(t, err)
	syncer.eventuallyReadyz(t, http.StatusServiceUnavailable)
	u.checkUntouched(t, revokedEast, before)
	check(t, joinedAgain.start(t.Context()))
	syncer.eventuallyReadyz(t, http.StatusOK)
	u.apply(t, some(deployment("web", on(revokedEast), withNewImage)))
	u.rollOut(t, "web", revokedEast)
	if after := get(t, u.copyOn(revokedEast, "web")); after.UID != before.UID {
		t.Error("the copy was made anew")
	}
	eventually(t, "the name to be the cluster's again", soon, func(ctx context.Context) (bool, string, error) {
		got, err := in.inProvider(t).get(ctx, "clusterregistration/"+revokedEast, "{.status.clusterUID} {.status.export}")
		return strings.HasSuffix(got, " "+v1alpha1.ClusterExport(revokedEast)) && !strings.HasPrefix(got, " "), got, err
	})
}

// renewed is the thief with another token of the same account, which he has made with his own.
func (s thief) renewed(t *testing.T, provider, clusterName string) thief {
	t.Helper()
	code, answer, err := s.try(t.Context(), attempt{http.MethodPost, provider + "/api/v1/namespaces/tmc-syncers/serviceaccounts/" + clusterName + "/token",
		tokenFor(`{"expirationSeconds":86400}`), ""})
	if check(t, err); code != http.StatusCreated {
		t.Fatalf("kcp answers %d:\n%s", code, answer)
	}
	var made authenticationv1.TokenRequest
	check(t, json.Unmarshal([]byte(answer), &made))
	return s.withToken(made.Status.Token)
}
