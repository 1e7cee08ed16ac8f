package install

import (
	"context"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// joinOptions returns options to join east, with changes.
func joinOptions(config *rest.Config, changes ...func(*JoinOptions)) JoinOptions {
	// The fake does without TLS, which a syncer would not.
	options := JoinOptions{Options: (&recorder{}).options(config), Cluster: "east", Shared: true, Server: "https://kcp.example.com"}
	for _, change := range changes {
		change(&options)
	}
	return options
}

// isolate joins with a view of its own, inGroup with that of a group.
func isolate(o *JoinOptions) { o.Shared = false }

func inGroup(group string) func(*JoinOptions) {
	return func(o *JoinOptions) { o.Shared, o.Group = false, group }
}

// mustJoin joins, and returns what was written.
func mustJoin(t *testing.T, fake *fakeKCP, options JoinOptions) (Joined, []string) {
	t.Helper()
	joined, err := Join(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	return joined, fake.takeWrites()
}

func TestJoin(t *testing.T) {
	t.Run("it makes what a syncer needs", func(t *testing.T) {
		fake, config := initialized(t, "")
		joined, writes := mustJoin(t, fake, joinOptions(config))
		want := []string{
			"create root:tmc serviceaccounts/tmc-syncers/east",
			"create root:tmc clusterroles/tmc-syncer-east",
			"create root:tmc clusterrolebindings/tmc-syncer-east",
			"create root:tmc roles/tmc-heartbeats/tmc-syncer-east",
			"create root:tmc rolebindings/tmc-heartbeats/tmc-syncer-east",
			"create root:tmc roles/tmc-syncers/tmc-syncer-east",
			"create root:tmc rolebindings/tmc-syncers/tmc-syncer-east",
			"create root:tmc leases/tmc-heartbeats/east",
			"create root:tmc clusterregistrations/east",
		}
		if diff := cmp.Diff(want, writes); diff != "" {
			t.Errorf("writes (-want +got)\n%s", diff)
		}
		wantJoined := Joined{
			Access: Access{Server: "https://kcp.example.com/clusters/root:tmc", User: "east", Token: "token-1"},
			Export: "tmc.kcp.io", Former: []string{}, Expires: tokenEpoch.Add(24 * time.Hour),
			Kinds: []schema.GroupResource{
				{Resource: "configmaps"}, {Group: "batch", Resource: "cronjobs"}, {Group: "apps", Resource: "daemonsets"}, {Group: "apps", Resource: "deployments"},
				{Group: "autoscaling", Resource: "horizontalpodautoscalers"}, {Group: "networking.k8s.io", Resource: "ingresses"}, {Group: "batch", Resource: "jobs"},
				{Group: "networking.k8s.io", Resource: "networkpolicies"}, {Resource: "persistentvolumeclaims"}, {Group: "policy", Resource: "poddisruptionbudgets"},
				{Resource: "secrets"}, {Resource: "serviceaccounts"}, {Resource: "services"}, {Group: "apps", Resource: "statefulsets"},
			},
		}
		if diff := cmp.Diff(wantJoined, joined); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
	t.Run("a registered cluster is changed as the options say", func(t *testing.T) {
		cases := map[string]struct {
			reason string
			change func(*JoinOptions)
			want   []string
		}{
			"Nothing":       {"what people have said stays", func(*JoinOptions) {}, nil},
			"what is so":    {"it is in order", func(o *JoinOptions) { o.Location, o.Labels = "eu", map[string]string{"tier": "gold"} }, nil},
			"Namespaces":    {"they may be used", func(o *JoinOptions) { o.AllowedNamespaces = []string{"default"} }, []string{`patch root:tmc clusterregistrations/east {"spec":{"allowedNamespaces":["default"]}}`}},
			"no namespaces": {"none are listed, and none are wanted", func(o *JoinOptions) { o.AllowedNamespaces = []string{} }, nil},
			"a location":    {"it has moved", func(o *JoinOptions) { o.Location = "us" }, []string{`patch root:tmc clusterregistrations/east {"spec":{"location":"us"}}`}},
			"another label": {"others stay", func(o *JoinOptions) { o.Labels = map[string]string{"gpu": "", "tier": "gold"} }, []string{`patch root:tmc clusterregistrations/east {"metadata":{"labels":{"gpu":""}}}`}},
		}
		for name, tc := range cases {
			t.Run(name, func(t *testing.T) {
				fake, config := initialized(t, "")
				mustJoin(t, fake, joinOptions(config, func(o *JoinOptions) { o.Location, o.Labels = "eu", map[string]string{"tier": "gold"} }))
				_, writes := mustJoin(t, fake, joinOptions(config, tc.change))
				if diff := cmp.Diff(tc.want, writes); diff != "" {
					t.Errorf("%s (-want +got)\n%s", tc.reason, diff)
				}
			})
		}
	})
	t.Run("what differs is repaired", func(t *testing.T) {
		fake, config := initialized(t, "")
		mustJoin(t, fake, joinOptions(config))
		fake.change("root:tmc", "clusterroles", "tmc-syncer-east", func(fields map[string]any) {
			fields["rules"] = append(fields["rules"].([]any), map[string]any{"apiGroups": []any{"*"}, "resources": []any{"*"}, "verbs": []any{"*"}})
		})
		fake.change("root:tmc", "leases", "tmc-heartbeats/east", func(fields map[string]any) {
			fields["spec"] = map[string]any{"holderIdentity": "somebody"}
		})
		fake.remove("namespaces", "tmc-syncers")
		_, writes := mustJoin(t, fake, joinOptions(config))
		if diff := cmp.Diff([]string{"create root:tmc namespaces/tmc-syncers", "update root:tmc clusterroles/tmc-syncer-east"}, writes); diff != "" {
			t.Errorf("writes (-want +got)\n%s", diff)
		}
	})
}

func TestAccountRules(t *testing.T) {
	fake, config := initialized(t, "")
	mustJoin(t, fake, joinOptions(config, func(o *JoinOptions) { o.FormerNames = []string{"old", "older", "old"} }))
	want := map[string][]string{
		"clusterroles/tmc-syncer-east": {
			"get,list,watch apiexportendpointslices.apis.kcp.io [tmc.kcp.io]",
			"get,list,watch,patch apiexports/content.apis.kcp.io [tmc.kcp.io]",
			"get,list,watch clusterregistrations.tmc.kcp.io [east]",
			"patch clusterregistrations/status.tmc.kcp.io [east]",
			"get clusterregistrations.tmc.kcp.io [old older]",
		},
		"roles/tmc-heartbeats/tmc-syncer-east": {"patch leases.coordination.k8s.io [east]"},
		"roles/tmc-syncers/tmc-syncer-east":    {"create serviceaccounts/token. [east]"},
	}
	for name, rules := range want {
		resource, object, _ := strings.Cut(name, "/")
		if diff := cmp.Diff(rules, rulesOf(fake.stored("root:tmc", resource, object))); diff != "" {
			t.Errorf("%s: a permission needs a reason (-want +got)\n%s", name, diff)
		}
		binding := fake.stored("root:tmc", strings.TrimSuffix(resource, "s")+"bindings", object)
		wantSubjects := []any{map[string]any{"kind": "ServiceAccount", "namespace": "tmc-syncers", "name": "east"}}
		if diff := cmp.Diff(wantSubjects, binding["subjects"]); diff != "" {
			t.Errorf("the subjects of %s (-want +got)\n%s", name, diff)
		}
	}
}

// rulesOf returns the rules of a role: verbs, resource and names.
func rulesOf(role map[string]any) []string {
	join := func(list any, separator string) string {
		var words []string
		items, _ := list.([]any)
		for _, item := range items {
			words = append(words, item.(string))
		}
		return strings.Join(words, separator)
	}
	var rules []string
	items, _ := role["rules"].([]any)
	for _, item := range items {
		rule := item.(map[string]any)
		rules = append(rules, join(rule["verbs"], ",")+" "+join(rule["resources"], ",")+"."+join(rule["apiGroups"], ",")+" ["+join(rule["resourceNames"], " ")+"]")
	}
	return rules
}

func TestJoinAgain(t *testing.T) {
	for name, changes := range map[string][]func(*JoinOptions){
		"Shared":     nil,
		"Isolated":   {isolate},
		"in a group": {inGroup("eu-prod")},
		"with all that can be said": {func(o *JoinOptions) {
			o.Location, o.Labels, o.FormerNames, o.Kinds = "eu", map[string]string{"tier": "gold"}, []string{"old"}, []string{"jobs"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			fake, config := initialized(t, "")
			first, _ := mustJoin(t, fake, joinOptions(config, changes...))
			second, writes := mustJoin(t, fake, joinOptions(config, changes...))
			if len(writes) > 0 {
				t.Errorf("it wrote %v", writes)
			}
			if first.Token == second.Token {
				t.Error("the token is the old one")
			}
			if first.IsAgain || !second.IsAgain {
				t.Errorf("had an account before: %t the first time, %t the second", first.IsAgain, second.IsAgain)
			}
			first.Token, first.IsAgain = second.Token, true
			if diff := cmp.Diff(first, second); diff != "" {
				t.Errorf("(-first +second)\n%s", diff)
			}
		})
	}
}

func TestJoinDryRun(t *testing.T) {
	for name, isolated := range map[string]bool{"Shared": false, "Isolated": true} {
		t.Run(name, func(t *testing.T) {
			fake, config := initialized(t, "")
			var got recorder
			options := joinOptions(config, func(o *JoinOptions) { o.Options, o.DryRun, o.Shared = got.options(config), true, !isolated })
			joined, writes := mustJoin(t, fake, options)
			if len(writes) > 0 || fake.tokens > 0 {
				t.Errorf("wrote %v, and %d tokens", writes, fake.tokens)
			}
			if joined.Token != PlaceholderToken || !joined.Expires.IsZero() {
				t.Errorf("got the token %q until %s", joined.Token, joined.Expires)
			}
			if action := got.actions()["ClusterRole tmc-syncer-east"]; action != Created {
				t.Errorf("the role is told of as %q", action)
			}
		})
	}
}

func TestJoinIsolated(t *testing.T) {
	fake, config := initialized(t, "")
	mustJoin(t, fake, joinOptions(config, isolate, func(o *JoinOptions) { o.Cluster = "west" }))
	joined, writes := mustJoin(t, fake, joinOptions(config, isolate))
	if joined.Export != "cluster-east" || !slices.Contains(writes, "create root:tmc apiexports/cluster-east") {
		t.Errorf("got the export %s, and wrote %v", joined.Export, writes)
	}
	selector := map[string]any{"matchLabels": map[string]any{"cluster.tmc.kcp.io/east": "sync"}}
	follow := []any{"get", "list", "watch", "patch"}
	want := []any{
		map[string]any{"resource": "namespaces", "verbs": []any{"get", "list", "watch"}, "defaultSelector": selector},
		map[string]any{"group": "apps", "resource": "deployments", "identityHash": "hash", "verbs": follow, "defaultSelector": selector},
		map[string]any{"resource": "secrets", "verbs": follow, "defaultSelector": selector},
	}
	export := fake.stored("root:tmc", "apiexports", "cluster-east")
	spec := export["spec"].(map[string]any)
	claims, _ := spec["permissionClaims"].([]any)
	if len(spec) != 1 || len(claims) != 1+len(joined.Kinds) {
		t.Errorf("it has %d fields, and claims %d kinds, want namespaces and the %d that come to it", len(spec), len(claims), len(joined.Kinds))
	}
	if diff := cmp.Diff(want, claimsOn(claims, "namespaces", "deployments", "secrets")); diff != "" {
		t.Errorf("what the export claims (-want +got)\n%s", diff)
	}
	if rules := rulesOf(fake.stored("root:tmc", "clusterroles", "tmc-syncer-east")); !slices.Contains(rules, "get,list,watch,patch apiexports/content.apis.kcp.io [cluster-east]") ||
		strings.Contains(strings.Join(rules, ""), "[tmc.kcp.io]") {
		t.Errorf("it may see more than its own export: %v", rules)
	}
	if rules := rulesOf(fake.stored("root:tmc", "clusterroles", "tmc-bind-cluster-east")); !slices.Equal(rules, []string{"bind apiexports.apis.kcp.io [cluster-east]"}) {
		t.Errorf("who binds may do %v", rules)
	}
	if isolation := fieldOf(fake.stored("root:tmc", "clusterregistrations", "east"), "spec", "isolation"); isolation != "Cluster" {
		t.Errorf("the registration says %q", isolation)
	}
	if diff := cmp.Diff([]string{"tmc.kcp.io", "cluster-west", "cluster-east"}, tenantExports(fake)); diff != "" {
		t.Errorf("what tenants have bound (-want +got)\n%s", diff)
	}
}

// claimsOn returns those of the claims that are on the resources.
func claimsOn(claims []any, resources ...string) []any {
	return slices.DeleteFunc(claims, func(claim any) bool {
		resource, _ := claim.(map[string]any)["resource"].(string)
		return !slices.Contains(resources, resource)
	})
}

// tenantExports returns what workspaces of the tenants' type have bound.
func tenantExports(fake *fakeKCP) []string {
	var exports []string
	bindings, _, _ := unstructured.NestedSlice(fake.stored("root:tmc", "workspacetypes", "tmc-tenant"), "spec", "defaultAPIBindings")
	for _, binding := range bindings {
		exports = append(exports, binding.(map[string]any)["export"].(string))
	}
	return exports
}

func TestJoinFails(t *testing.T) {
	cases := map[string]struct {
		change  func(fake *fakeKCP, o *JoinOptions)
		message []string
		is      func(error) bool
	}{
		"with a bad name":                  {change: func(_ *fakeKCP, o *JoinOptions) { o.Cluster = "East_1" }, message: []string{`"East_1"`, "cluster name"}},
		"with a name that would overwrite": {change: func(_ *fakeKCP, o *JoinOptions) { o.Cluster = "register" }, message: []string{"tmc-syncer-register"}},
		"with a bad former name":           {change: func(_ *fakeKCP, o *JoinOptions) { o.FormerNames = []string{"-"} }, message: []string{"--former-name", `"-"`}},
		"with a bad label":                 {change: func(_ *fakeKCP, o *JoinOptions) { o.Labels = map[string]string{"a b": ""} }, message: []string{"labels", "a b"}},
		"with a long location":             {change: func(_ *fakeKCP, o *JoinOptions) { o.Location = strings.Repeat("x", 64) }, message: []string{"location", "63"}},
		"with a token for two days":        {change: func(_ *fakeKCP, o *JoinOptions) { o.TokenLifetime = 48 * time.Hour }, message: []string{"48h0m0s", "24h0m0s"}},
		"that revokes and makes no token":  {change: func(_ *fakeKCP, o *JoinOptions) { o.Revoke, o.NoToken = true, true }, message: []string{"--revoke", "--no-token"}},
		"with a token for no time":         {change: func(_ *fakeKCP, o *JoinOptions) { o.TokenLifetime = time.Minute }, message: []string{"1m0s", "10m0s"}},
		"with what is no path":             {change: func(_ *fakeKCP, o *JoinOptions) { o.ProviderWorkspace = "A b" }, message: []string{`"A b"`, "root:tmc"}},
		"without TLS":                      {change: func(_ *fakeKCP, o *JoinOptions) { o.Server = "" }, message: []string{"http://127.0.0.1", "https"}},
		"with an unknown kind": {
			change: func(_ *fakeKCP, o *JoinOptions) { o.Kinds = []string{"deployments", "gadgets"} }, message: []string{`"gadgets"`, "deployments.apps", "secrets"},
		},
		"with what is not synced": {change: func(_ *fakeKCP, o *JoinOptions) { o.Kinds = []string{"events"} }, message: []string{`"events"`, "not served"}},
		"where nothing is installed": {
			change: func(_ *fakeKCP, o *JoinOptions) { o.ProviderWorkspace = "root" }, message: []string{"workspace root", "kubectl tmc init"}, is: apierrors.IsNotFound,
		},
		"where there is no workspace, or no access": {
			change: func(_ *fakeKCP, o *JoinOptions) { o.ProviderWorkspace = "root:other" }, message: []string{"workspace root:other", "kubectl tmc init", "access"}, is: apierrors.IsForbidden,
		},
		"where the export is not ready": {
			change: func(f *fakeKCP, _ *JoinOptions) {
				f.change("root:tmc", "apiexports", "tmc.kcp.io", func(fields map[string]any) { delete(fields, "status") })
			},
			message: []string{"tmc.kcp.io", "not ready", "kubectl tmc init"},
		},
		"without permission": {
			change: func(f *fakeKCP, _ *JoinOptions) { f.forbidden["create root:tmc/clusterroles"] = true }, message: []string{"ClusterRole tmc-syncer-east", "may not"}, is: apierrors.IsForbidden,
		},
		"without permission for tokens": {
			change: func(f *fakeKCP, _ *JoinOptions) {
				f.react = func(_ string, object *unstructured.Unstructured) {
					if object.GetKind() == "Lease" {
						f.forbidden["create root:tmc/serviceaccounts"] = true
					}
				}
			},
			message: []string{"token for ServiceAccount tmc-syncers/east", "may not"}, is: apierrors.IsForbidden,
		},
		"while the cluster is being removed": {
			change: func(f *fakeKCP, o *JoinOptions) {
				if _, err := Join(context.Background(), *o); err != nil {
					f.t.Error(err)
				}
				f.change("root:tmc", "clusterregistrations", "east", func(fields map[string]any) {
					fields["metadata"].(map[string]any)["deletionTimestamp"] = "2026-01-01T00:00:00Z"
				})
			},
			message: []string{"ClusterRegistration east", "being deleted"},
		},
		"shared and in a group": {change: func(_ *fakeKCP, o *JoinOptions) { o.Group = "eu-prod" }, message: []string{"--shared", "--group eu-prod"}},
		"in a group of a bad name": {
			change: func(_ *fakeKCP, o *JoinOptions) { inGroup("EU")(o) }, message: []string{`"EU"`, "isolation group"},
		},
		"in a group of a long name": {
			change: func(_ *fakeKCP, o *JoinOptions) { inGroup(strings.Repeat("g", 51))(o) }, message: []string{"isolation group", "50"},
		},
		"on an old kcp": {
			change:  func(f *fakeKCP, _ *JoinOptions) { f.gitVersion = "v1.33.3+kcp-v0.28.1" },
			message: []string{"v0.28.1", "v0.31"},
		},
		"on who knows what": {
			change:  func(f *fakeKCP, _ *JoinOptions) { f.gitVersion = "v1.36.3" },
			message: []string{`"v1.36.3"`, "v0.31"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			fake, config := initialized(t, "")
			options := joinOptions(config)
			tc.change(fake, &options)
			_, err := Join(context.Background(), options)
			wantError(t, err, tc.is, tc.message...)
		})
	}
}

func TestChooseKinds(t *testing.T) {
	kind := func(group, resource string) servedKind {
		return servedKind{GroupResource: schema.GroupResource{Group: group, Resource: resource}}
	}
	served := []servedKind{kind("apps", "deployments"), kind("", "services"), kind("serving.knative.dev", "services"), kind("a.io", "widgets"), kind("b.io", "widgets")}
	cases := map[string]struct {
		wanted []string
		want   string
		err    string
	}{
		"All":                      {nil, "deployments.apps services services.serving.knative.dev widgets.a.io widgets.b.io", ""},
		"short or whole":           {[]string{"widgets.b.io", "deployments"}, "deployments.apps widgets.b.io", ""},
		"Twice":                    {[]string{"deployments.apps", "deployments"}, "deployments.apps", ""},
		"the whole name of one":    {[]string{"services"}, "services", ""},
		"the other of the name":    {[]string{"services.serving.knative.dev"}, "services.serving.knative.dev", ""},
		"Either":                   {[]string{"widgets"}, "", `kind "widgets" may be widgets.a.io or widgets.b.io`},
		"None":                     {[]string{"gadgets"}, "", `kind "gadgets" is not served; there are: deployments.apps, services`},
		"an empty one":             {[]string{""}, "", `kind "" is not served`},
		"one of another group":     {[]string{"deployments.extensions"}, "", "is not served"},
		"one in the singular form": {[]string{"deployment"}, "", "is not served"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := chooseKinds(served, tc.wanted)
			if tc.err != "" {
				wantError(t, err, nil, tc.err)
				return
			}
			if err != nil || listKinds(got, " ") != tc.want {
				t.Errorf("got %v and %v, want %s", got, err, tc.want)
			}
		})
	}
}

// certificate returns the certificate of a server of httptest, in PEM.
func certificate(t *testing.T) []byte {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

func TestAccess(t *testing.T) {
	ca := certificate(t)
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	noCA := filepath.Join(t.TempDir(), "none")
	kcp := func(tls rest.TLSClientConfig) *rest.Config {
		return &rest.Config{Host: "https://kcp:6443/clusters/root:team-a", TLSClientConfig: tls}
	}
	cases := map[string]struct {
		config  *rest.Config
		options JoinOptions
		want    Access
		err     string
	}{
		"the kubeconfig's data": {config: kcp(rest.TLSClientConfig{CAData: ca}), want: Access{CAData: ca}},
		"the kubeconfig's file": {config: kcp(rest.TLSClientConfig{CAFile: file}), want: Access{CAData: ca}},
		"the systems":           {config: kcp(rest.TLSClientConfig{})},
		"Another":               {config: kcp(rest.TLSClientConfig{CAFile: noCA}), options: JoinOptions{CAData: ca}, want: Access{CAData: ca}},
		"the server's name":     {config: kcp(rest.TLSClientConfig{ServerName: "front"}), want: Access{ServerName: "front"}},
		"another server": {
			config: kcp(rest.TLSClientConfig{CAData: ca, ServerName: "front"}), options: JoinOptions{Server: "https://public.example.com/kcp/clusters/root"},
			want: Access{Server: "https://public.example.com/kcp/clusters/root:tmc", CAData: ca},
		},
		"no scheme":       {config: &rest.Config{Host: "kcp:6443"}},
		"no verification": {config: kcp(rest.TLSClientConfig{Insecure: true}), err: "insecure-skip-tls-verify"},
		"verification all the same": {
			config: kcp(rest.TLSClientConfig{Insecure: true}), options: JoinOptions{CAData: ca}, want: Access{CAData: ca},
		},
		"a file that is missing": {config: kcp(rest.TLSClientConfig{CAFile: noCA}), err: "certificate-authority"},
		"no certificate":         {config: kcp(rest.TLSClientConfig{}), options: JoinOptions{CAData: []byte("hello")}, err: "no certificate in PEM"},
		"PlainText":              {config: kcp(rest.TLSClientConfig{}), options: JoinOptions{Server: "http://kcp"}, err: `"http://kcp"`},
		"no server":              {config: kcp(rest.TLSClientConfig{}), options: JoinOptions{Server: "https://"}, err: "https://HOST"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			base, _ := splitHost(tc.config.Host)
			tc.options.Cluster, tc.options.ProviderWorkspace = "east", "root:tmc"
			got, err := (&server{config: tc.config, base: base}).access(tc.options)
			if tc.err != "" {
				wantError(t, err, nil, tc.err)
				return
			}
			tc.want.User = "east"
			if tc.want.Server == "" {
				tc.want.Server = "https://kcp:6443/clusters/root:tmc"
			}
			if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
				t.Errorf("got %v (-want +got)\n%s", err, diff)
			}
		})
	}
}

func TestAccessKubeconfig(t *testing.T) {
	access := Access{Server: "https://kcp:6443/clusters/root:tmc", ServerName: "front", CAData: certificate(t), User: "east", Token: "secret"}
	data, err := access.Kubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	again, err := access.Kubeconfig()
	if err != nil || string(again) != string(data) {
		t.Errorf("it is another one each time: %v", err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	want := &rest.Config{Host: access.Server, BearerToken: "secret", TLSClientConfig: rest.TLSClientConfig{CAData: access.CAData, ServerName: "front"}}
	if diff := cmp.Diff(want.String(), config.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if config.BearerToken != "secret" {
		t.Errorf("the token is %q", config.BearerToken)
	}
}

func TestUnjoin(t *testing.T) {
	t.Run("it deletes what join has made", func(t *testing.T) {
		for name, isolated := range map[string]bool{"Shared": false, "Isolated": true} {
			t.Run(name, func(t *testing.T) {
				fake, config := initialized(t, "")
				mustJoin(t, fake, joinOptions(config, isolate, func(o *JoinOptions) { o.Cluster = "west" }))
				before := slices.Sorted(maps.Keys(fake.objects))
				mustJoin(t, fake, joinOptions(config, func(o *JoinOptions) { o.Shared = !isolated }))
				fake.remove("clusterregistrations", "east")

				var got recorder
				options := UnjoinOptions{Options: got.options(config), Cluster: "east"}
				if err := Unjoin(context.Background(), options); err != nil {
					t.Fatal(err)
				}
				fake.remove("apiexportendpointslices", "cluster-east") // kcp does
				if diff := cmp.Diff(before, slices.Sorted(maps.Keys(fake.objects))); diff != "" {
					t.Errorf("what is there (-before +after)\n%s", diff)
				}
				if action := got.actions()["ServiceAccount east"]; action != Deleted {
					t.Errorf("the account is told of as %q", action)
				}
				if diff := cmp.Diff([]string{"tmc.kcp.io", "cluster-west"}, tenantExports(fake)); diff != "" {
					t.Errorf("what tenants have bound (-want +got)\n%s", diff)
				}
				fake.takeWrites()
				if err := Unjoin(context.Background(), options); err != nil {
					t.Fatal(err)
				}
				if writes := fake.takeWrites(); len(writes) > 0 {
					t.Errorf("doing so again wrote %v", writes)
				}
			})
		}
	})
	t.Run("it leaves what is not the cluster's", func(t *testing.T) {
		fake, config := initialized(t, "")
		if err := Unjoin(context.Background(), UnjoinOptions{Options: (&recorder{}).options(config), Cluster: "register"}); err != nil {
			t.Fatal(err)
		}
		if writes := fake.takeWrites(); len(writes) > 0 {
			t.Errorf("it wrote %v", writes)
		}
	})
}

func TestUnjoinFails(t *testing.T) {
	cases := map[string]struct {
		change  func(fake *fakeKCP, o *UnjoinOptions)
		message []string
		is      func(error) bool
	}{
		"while the cluster is registered": {change: func(*fakeKCP, *UnjoinOptions) {}, message: []string{"east is still registered"}},
		"with a bad name":                 {change: func(_ *fakeKCP, o *UnjoinOptions) { o.Cluster = "" }, message: []string{"cluster name"}},
		"with what is no path":            {change: func(_ *fakeKCP, o *UnjoinOptions) { o.ProviderWorkspace = "" }, message: []string{"root:tmc"}},
		"without permission": {
			change: func(f *fakeKCP, _ *UnjoinOptions) {
				f.remove("clusterregistrations", "east")
				f.forbidden["delete root:tmc/serviceaccounts"] = true
			},
			message: []string{"ServiceAccount east", "may not"}, is: apierrors.IsForbidden,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			fake, config := initialized(t, "")
			mustJoin(t, fake, joinOptions(config))
			options := UnjoinOptions{Options: (&recorder{}).options(config), Cluster: "east"}
			tc.change(fake, &options)
			wantError(t, Unjoin(context.Background(), options), tc.is, tc.message...)
		})
	}
}

func TestBindIsolated(t *testing.T) {
	t.Run("isolated clusters see what is placed there", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		mustJoin(t, fake, joinOptions(config, isolate))
		mustJoin(t, fake, joinOptions(config, func(o *JoinOptions) { o.Cluster = "west" }))
		for range 2 {
			if err := Bind(context.Background(), BindOptions{Options: (&recorder{}).options(config)}); err != nil {
				t.Fatal(err)
			}
		}
		want := slices.Concat([]string{"create root:team-a apibindings/cluster-east", "create root:team-a apibindings/tmc.kcp.io"}, consumerWrites("root:team-a"))
		writes := fake.takeWrites()
		slices.Sort(writes[:2]) // they are made side by side
		if diff := cmp.Diff(want, writes); diff != "" {
			t.Errorf("writes (-want +got)\n%s", diff)
		}
		showsWhatIsPlacedOn(t, fake, "east")
	})
	t.Run("a caller who may not see the clusters binds those he names", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		mustJoin(t, fake, joinOptions(config, isolate))
		mustJoin(t, fake, joinOptions(config, isolate, func(o *JoinOptions) { o.Cluster = "west" }))
		fake.forbidden["* root:tmc/apiexports"] = true
		var notices []string
		options := (&recorder{}).options(config)
		options.OnNotice = func(message string) { notices = append(notices, message) }
		bind := func(named ...string) {
			t.Helper()
			if err := Bind(context.Background(), BindOptions{Options: options, IsolatedClusters: named}); err != nil {
				t.Fatal(err)
			}
		}
		bind("east")
		showsWhatIsPlacedOn(t, fake, "east")
		if fake.stored("root:team-a", "apibindings", "cluster-west") != nil {
			t.Error("a cluster is bound that nobody can know of")
		}
		fake.takeWrites()
		bind()
		if writes := fake.takeWrites(); len(writes) > 0 {
			t.Errorf("binding again wrote %v", writes)
		}
		if len(notices) != 2 || !strings.Contains(notices[1], "you may not see which clusters of workspace root:tmc are isolated") || !strings.Contains(notices[1], "(cluster-east)") {
			t.Errorf("it said %q", notices)
		}
	})
	t.Run("a binding of a removed cluster is left alone", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		mustJoin(t, fake, joinOptions(config, isolate))
		options := BindOptions{Options: (&recorder{}).options(config)}
		if err := Bind(context.Background(), options); err != nil {
			t.Fatal(err)
		}
		fake.remove("apiexports", "cluster-east")
		fake.change("root:team-a", "apibindings", "cluster-east", func(fields map[string]any) {
			fields["status"].(map[string]any)["conditions"] = []any{map[string]any{"type": "APIExportValid", "status": "False", "reason": "APIExportNotFound"}}
		})
		for name, forbidden := range map[string]bool{"who sees the exports": false, "who does not": true} {
			fake.forbidden["* root:tmc/apiexports"] = forbidden
			fake.takeWrites()
			if err := Bind(context.Background(), options); err != nil || len(fake.takeWrites()) > 0 {
				t.Errorf("%s: got %v, want the binding that was left behind to be left alone", name, err)
			}
		}
	})
	t.Run("a cluster that is not isolated is an error", func(t *testing.T) {
		_, config := initialized(t, "root:team-a")
		err := Bind(context.Background(), BindOptions{Options: (&recorder{}).options(config), IsolatedClusters: []string{"esat"}})
		wantError(t, err, apierrors.IsNotFound, "no APIExport cluster-esat", "kubectl tmc join")
	})
}

// showsWhatIsPlacedOn checks the claims that root:team-a accepts of a cluster's export.
func showsWhatIsPlacedOn(t *testing.T, fake *fakeKCP, cluster string) {
	t.Helper()
	claims, _, _ := unstructured.NestedSlice(fake.stored("root:team-a", "apibindings", "cluster-"+cluster), "spec", "permissionClaims")
	if len(claims) < 10 {
		t.Errorf("%d claims are accepted", len(claims))
	}
	for _, claim := range claims {
		fields := claim.(map[string]any)
		want := map[string]any{"matchLabels": map[string]any{"cluster.tmc.kcp.io/" + cluster: "sync"}}
		if diff := cmp.Diff(want, fields["selector"]); diff != "" || fields["state"] != "Accepted" || fields["defaultSelector"] == nil {
			t.Errorf("%v is accepted (-want +got)\n%s", claim, diff)
		}
	}
}
