package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/manifests"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// recorder keeps what is reported.
type recorder struct {
	results  []Result
	waiting  []string
	warnings []string
}

// options returns options for the configuration, with root:tmc as provider, that report
// to the recorder.
func (r *recorder) options(config *rest.Config) Options {
	return Options{
		Config: config, ProviderWorkspace: "root:tmc", Timeout: 5 * time.Second,
		OnApplied: func(result Result) { r.results = append(r.results, result) },
		OnWaiting: func(message string) { r.waiting = append(r.waiting, message) },
		OnNotice:  func(message string) { r.warnings = append(r.warnings, message) },
	}
}

// actions returns the reported results by kind and name.
func (r *recorder) actions() map[string]Action {
	actions := map[string]Action{}
	for _, result := range r.results {
		actions[result.Kind+" "+result.Name] = result.Action
	}
	return actions
}

// initializing is done once: to send all the schemas takes a while.
var initializing sync.Once

// afterInit is what the fake has then.
var afterInit *fakeKCP

// initialized returns a fake kcp with the kcp side installed.
func initialized(t *testing.T, workspace string) (*fakeKCP, *rest.Config) {
	t.Helper()
	initializing.Do(func() {
		fake, config := newFakeKCP(t, workspace)
		if err := Init(context.Background(), (&recorder{}).options(config)); err != nil {
			t.Fatal(err)
		}
		// What is in schemas is long, and nobody looks at it again.
		for key, object := range fake.objects {
			if strings.Contains(key, "/apiresourceschemas/") {
				unstructured.RemoveNestedField(object.Object, "spec", "versions")
			}
		}
		afterInit = fake
	})
	if afterInit == nil {
		t.Fatal("it could not be installed")
	}
	fake, config := newFakeKCP(t, workspace)
	fake.version, fake.workspaces = afterInit.version, maps.Clone(afterInit.workspaces)
	for key, object := range afterInit.objects {
		fake.objects[key] = object.DeepCopy()
		if strings.Contains(key, "/apiexportendpointslices/") { // it is served here
			fake.objects[key] = endpointSlice(fake.url, object.GetName())
		}
	}
	return fake, config
}

func TestInit(t *testing.T) {
	t.Run("it makes everything in the provider workspace", func(t *testing.T) {
		fake, config := newFakeKCP(t, "root:team-a")
		var got recorder
		if err := Init(context.Background(), got.options(config)); err != nil {
			t.Fatal(err)
		}
		for name, action := range got.actions() {
			if action != Created {
				t.Errorf("%s is %s, want it created", name, action)
			}
		}
		if notes := strings.Join(got.warnings, "\n"); !strings.Contains(notes, "statusCounters: PerCluster") || !strings.Contains(notes, "--status-counters=per-cluster") {
			t.Errorf("the notes do not say what helm --wait needs: %q", notes)
		}
		if first := got.results[0].String(); first != "workspace.tenancy.kcp.io/tmc created" {
			t.Errorf("the first that is reported is %q, want the workspace", first)
		}
		for _, write := range fake.takeWrites() {
			if !strings.HasPrefix(write, "create root:tmc ") && write != "create root workspaces/tmc" {
				t.Errorf("%q is outside of the provider workspace", write)
			}
		}
	})
	t.Run("a second run writes nothing", func(t *testing.T) {
		fake, config := initialized(t, "")
		var got recorder
		if err := Init(context.Background(), got.options(config)); err != nil {
			t.Fatal(err)
		}
		if writes := fake.takeWrites(); len(writes) > 0 {
			t.Errorf("it wrote %v", writes)
		}
		for name, action := range got.actions() {
			if action != Unchanged {
				t.Errorf("%s is reported as %s", name, action)
			}
		}
	})
	t.Run("what differs is repaired", func(t *testing.T) {
		fake, config := initialized(t, "")
		fake.change("root:tmc", "clusterroles", "tmc-bind", func(fields map[string]any) { fields["rules"] = []any{} })
		fake.change("root:tmc", "apiexports", "tmc.kcp.io", func(fields map[string]any) {
			spec := fields["spec"].(map[string]any)
			spec["resources"] = []any{
				map[string]any{"group": "apps", "name": "deployments", "schema": "v0-old.deployments.apps", "storage": map[string]any{"crd": map[string]any{}}},
				map[string]any{"group": "widgets.io", "name": "widgets", "schema": "v1.widgets.widgets.io"},
			}
		})
		fake.change("root:tmc", "customresourcedefinitions", "clusterregistrations.tmc.kcp.io", func(fields map[string]any) {
			version := fields["spec"].(map[string]any)["versions"].([]any)[0].(map[string]any)
			version["deprecated"] = true
		})
		if err := Init(context.Background(), (&recorder{}).options(config)); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"update root:tmc customresourcedefinitions/clusterregistrations.tmc.kcp.io",
			"update root:tmc clusterroles/tmc-bind",
			"update root:tmc apiexports/tmc.kcp.io",
		}
		if diff := cmp.Diff(want, fake.takeWrites()); diff != "" {
			t.Errorf("writes (-want +got)\n%s", diff)
		}
		fake.change("root:tmc", "apiexports", "tmc.kcp.io", func(fields map[string]any) {
			resources, _, _ := unstructured.NestedSlice(fields, "spec", "resources")
			foreign := slices.ContainsFunc(resources, func(resource any) bool { return resource.(map[string]any)["name"] == "widgets" })
			if len(resources) < 2 || resources[0].(map[string]any)["schema"] == "v0-old.deployments.apps" || !foreign {
				t.Errorf("got the resources %v, want the new schema and the widgets of others", resources)
			}
		})
	})
	t.Run("a write is repeated when another writer was faster", func(t *testing.T) {
		fake, config := initialized(t, "")
		fake.change("root:tmc", "apiexports", "tmc.kcp.io", func(fields map[string]any) {
			delete(fields["spec"].(map[string]any), "permissionClaims")
		})
		interfered := false
		interfering := rest.CopyConfig(config)
		interfering.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(request *http.Request) (*http.Response, error) {
				if request.Method == http.MethodPut && !interfered {
					interfered = true
					fake.change("root:tmc", "apiexports", "tmc.kcp.io", func(fields map[string]any) {
						fields["metadata"].(map[string]any)["resourceVersion"] = "9000"
					})
				}
				return next.RoundTrip(request)
			})
		})
		if err := Init(context.Background(), (&recorder{}).options(interfering)); err != nil {
			t.Fatal(err)
		}
		if writes := fake.takeWrites(); !interfered || len(writes) != 1 {
			t.Errorf("got the writes %v, want one after the conflict", writes)
		}
	})
	t.Run("access to the parent workspace is not needed", func(t *testing.T) {
		fake, config := initialized(t, "")
		fake.forbidden["* root/workspaces"] = true
		if err := Init(context.Background(), (&recorder{}).options(config)); err != nil {
			t.Errorf("it fails although the provider workspace can be used: %v", err)
		}
	})
}

func TestBind(t *testing.T) {
	// TestBindIsNotRefusedForAClaimThatComesIntoForce has kcp refuse a binding that it admits while a claim on bindings comes
	// into force, and another for good.
	t.Run("a claim that comes into force meanwhile does not refuse it", func(t *testing.T) {
		_, config := initialized(t, "root:team-a")
		refused := 0
		racing := rest.CopyConfig(config)
		racing.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(request *http.Request) (*http.Response, error) {
				if request.Method != http.MethodPost || !strings.HasSuffix(request.URL.Path, "/apibindings") || refused > 1 {
					return next.RoundTrip(request)
				}
				refused++
				body := `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"details":{"kind":"apibindings"},` +
					`"message":"forbidden: metadata.labels[claimed.internal.apis.kcp.io/2gb]: Invalid value: \"\": must be \"671\""}`
				return &http.Response{
					StatusCode: http.StatusForbidden, Header: http.Header{"Content-Type": {"application/json"}},
					Body: io.NopCloser(strings.NewReader(body)), Request: request,
				}, nil
			})
		})
		if err := Bind(context.Background(), BindOptions{Options: (&recorder{}).options(racing)}); err != nil || refused != 2 {
			t.Errorf("got %v after %d refusals, want it bound after 2", err, refused)
		}
	})
	t.Run("it makes the binding", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		var got recorder
		if err := Bind(context.Background(), BindOptions{Options: got.options(config)}); err != nil {
			t.Fatal(err)
		}
		want := append([]string{"create root:team-a apibindings/tmc.kcp.io"}, consumerWrites("root:team-a")...)
		if diff := cmp.Diff(want, fake.takeWrites()); diff != "" {
			t.Errorf("writes (-want +got)\n%s", diff)
		}
		acceptsAll(t, fake)
		if err := Bind(context.Background(), BindOptions{Options: got.options(config)}); err != nil {
			t.Fatal(err)
		}
		if writes := fake.takeWrites(); len(writes) > 0 {
			t.Errorf("binding again wrote %v", writes)
		}
	})
	t.Run("policies that the caller may not make are left to the hub", func(t *testing.T) {
		for _, resource := range []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings"} {
			t.Run(resource, func(t *testing.T) {
				fake, config := initialized(t, "root:team-a")
				fake.forbidden["* root:team-a/"+resource] = true
				var got recorder
				if err := Bind(context.Background(), BindOptions{Options: got.options(config)}); err != nil {
					t.Fatalf("the workspace can be used without: %v", err)
				}
				if len(got.warnings) > 0 {
					t.Errorf("the hub does it, and yet it says %q", got.warnings)
				}
				acceptsAll(t, fake)
				dropPolicyClaims(fake, "root:tmc", "apiexports", "tmc.kcp.io")
				if err := Bind(context.Background(), BindOptions{Options: got.options(config)}); err != nil {
					t.Fatal(err)
				}
				if len(got.warnings) != 1 || !strings.Contains(got.warnings[0], "root:team-a") || !strings.Contains(got.warnings[0], "kubectl tmc init") {
					t.Errorf("with an APIExport of before, it says %q, want what to do", got.warnings)
				}
			})
		}
	})
	t.Run("roles that the caller may not make are left out", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		fake.forbidden["* root:team-a/clusterroles"] = true
		var got recorder
		if err := Bind(context.Background(), BindOptions{Options: got.options(config)}); err != nil {
			t.Fatalf("the workspace can be used without: %v", err)
		}
		if len(got.warnings) != 1 || !strings.Contains(got.warnings[0], "ClusterRoles in workspace root:team-a") || !strings.Contains(got.warnings[0], "kubectl tmc bind") {
			t.Errorf("got the warnings %q, want one that says what to do", got.warnings)
		}
		acceptsAll(t, fake)
	})
	t.Run("the hub's path reader may see the workspace and nothing else", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		if err := Bind(context.Background(), BindOptions{Options: (&recorder{}).options(config)}); err != nil {
			t.Fatal(err)
		}
		fake.change("root:team-a", "clusterrolebindings", "tmc-paths", func(fields map[string]any) {
			subjects, _, _ := unstructured.NestedSlice(fields, "subjects")
			want := []any{map[string]any{
				"apiGroup": "rbac.authorization.k8s.io", "kind": "User",
				"name": "system:kcp:serviceaccount:" + logicalName("root:tmc") + ":default:" + v1alpha1.PathReader,
			}}
			if diff := cmp.Diff(want, subjects); diff != "" {
				t.Errorf("subjects (-want +got)\n%s", diff)
			}
		})
		fake.change("root:team-a", "clusterroles", "tmc-paths", func(fields map[string]any) {
			rules, _, _ := unstructured.NestedSlice(fields, "rules")
			want := []any{
				map[string]any{"nonResourceURLs": []any{"/"}, "verbs": []any{"access"}},
				map[string]any{"apiGroups": []any{"core.kcp.io"}, "resources": []any{"logicalclusters"}, "resourceNames": []any{"cluster"}, "verbs": []any{"get"}},
			}
			if diff := cmp.Diff(want, rules); diff != "" {
				t.Errorf("rules (-want +got)\n%s", diff)
			}
		})
	})
	t.Run("access to the provider workspace is not needed", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		fake.forbidden["* root:tmc/apiexports"] = true
		if err := Bind(context.Background(), BindOptions{Options: (&recorder{}).options(config)}); err != nil {
			t.Fatal(err)
		}
		want := append([]string{"create root:team-a apibindings/tmc.kcp.io", "update root:team-a apibindings/tmc.kcp.io"}, consumerWrites("root:team-a")...)
		if diff := cmp.Diff(want, fake.takeWrites()); diff != "" {
			t.Errorf("the claims are taken from the binding's status then (-want +got)\n%s", diff)
		}
		acceptsAll(t, fake)
		if err := Bind(context.Background(), BindOptions{Options: (&recorder{}).options(config)}); err != nil {
			t.Fatal(err)
		}
		if writes := fake.takeWrites(); len(writes) > 0 {
			t.Errorf("binding again wrote %v", writes)
		}
	})
}

// roundTripper is a function as http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

func TestInitFails(t *testing.T) {
	tests := map[string]struct {
		reason  string
		change  func(fake *fakeKCP, options *Options)
		message []string
		is      func(error) bool
	}{
		"without the parent workspace": {
			change:  func(_ *fakeKCP, o *Options) { o.ProviderWorkspace = "root:org:tmc" },
			message: []string{"root:org:tmc", "root:org", "make its parent first"}, is: apierrors.IsForbidden,
		},
		"on an old kcp": {
			change:  func(f *fakeKCP, _ *Options) { f.gitVersion = "v1.33.3+kcp-v0.28.1" },
			message: []string{"v0.28.1", "v0.31"},
		},
		"with what is no path": {
			change:  func(_ *fakeKCP, o *Options) { o.ProviderWorkspace = "Not/A:path" },
			message: []string{"Not/A:path"},
		},
		"without permission": {
			change:  func(f *fakeKCP, _ *Options) { f.forbidden["create root:tmc/apiexports"] = true },
			message: []string{"root:tmc", "APIExport tmc.kcp.io", "may not"}, is: apierrors.IsForbidden,
		},
		"when the workspace never gets ready": {
			change: func(f *fakeKCP, _ *Options) {
				f.react = func(_ string, object *unstructured.Unstructured) {
					if object.GetKind() == "Workspace" {
						set(f.t, object, "Initializing", "status", "phase")
					}
				}
			},
			message: []string{"gave up", "root:tmc", "Initializing"}, is: timedOut,
		},
		"when the registry's names are taken": {
			change: func(f *fakeKCP, _ *Options) {
				f.react = func(_ string, object *unstructured.Unstructured) {
					if object.GetKind() == "CustomResourceDefinition" {
						set(f.t, object, []any{map[string]any{"type": "NamesAccepted", "status": "False", "reason": "ShortNamesConflict", "message": "cr is taken"}}, "status", "conditions")
					}
				}
			},
			message: []string{"gave up", "clusterregistrations.tmc.kcp.io", "cr is taken"}, is: timedOut,
		},
		"when the registry is never served": {
			change: func(f *fakeKCP, _ *Options) {
				f.react = func(_ string, object *unstructured.Unstructured) {
					if object.GetKind() == "CustomResourceDefinition" {
						unstructured.RemoveNestedField(object.Object, "status")
					}
				}
			},
			message: []string{"gave up", "clusterregistrations.tmc.kcp.io", "not established"}, is: timedOut,
		},
		"when the export never gets its identity": {
			change: func(f *fakeKCP, _ *Options) {
				f.react = func(_ string, object *unstructured.Unstructured) {
					if object.GetKind() == "APIExport" {
						set(f.t, object, []any{map[string]any{"type": "IdentityValid", "status": "False", "reason": "IdentityVerificationFailed"}}, "status", "conditions")
					}
				}
			},
			message: []string{"gave up", "tmc.kcp.io", "IdentityVerificationFailed"}, is: timedOut,
		},
		"without a configuration": {
			change: func(_ *fakeKCP, o *Options) { o.Config = nil }, message: []string{"no client configuration"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			fake, config := newFakeKCP(t, "")
			options := (&recorder{}).options(config)
			options.Timeout = 600 * time.Millisecond
			tc.change(fake, &options)
			wantError(t, Init(context.Background(), options), tc.is, tc.message...)
		})
	}
}

// timedOut reports whether an error is that the time is over.
func timedOut(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

// wantError checks that there is an error, of a kind, that says all of the parts.
func wantError(t *testing.T, err error, is func(error) bool, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	if is != nil && !is(err) {
		t.Errorf("%q is of another kind", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

func TestServerForeign(t *testing.T) {
	t.Run("a server that is not kcp is named", func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		defer server.Close()
		options := (&recorder{}).options(&rest.Config{Host: server.URL})
		wantError(t, Init(context.Background(), options), nil, server.URL, "does not look like a kcp server")
		options.Config.Host += "/clusters/root"
		wantError(t, Bind(context.Background(), BindOptions{Options: options}), nil, server.URL, "does not look like a kcp server")
	})
}

// consumerWrites are the writes that make what guards a consumer's workspace: what lets the hub see its path, and the policies.
func consumerWrites(workspace string) []string {
	writes := []string{"create " + workspace + " clusterroles/tmc-paths", "create " + workspace + " clusterrolebindings/tmc-paths"}
	for _, name := range []string{"tmc-consumers", "tmc-deletions", "tmc-syncers"} {
		writes = append(writes,
			"create "+workspace+" validatingadmissionpolicies/"+name,
			"create "+workspace+" validatingadmissionpolicybindings/"+name)
	}
	return writes
}

func TestInitPolicies(t *testing.T) {
	t.Run("policies are about the accounts of the provider", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		if err := Bind(context.Background(), BindOptions{Options: (&recorder{}).options(config)}); err != nil {
			t.Fatal(err)
		}
		for _, workspace := range []string{"root:tmc", "root:team-a"} {
			for _, name := range []string{"tmc-consumers", "tmc-deletions", "tmc-syncers"} {
				fake.change(workspace, "validatingadmissionpolicies", name, func(fields map[string]any) {
					conditions, _, _ := unstructured.NestedSlice(fields, "spec", "matchConditions")
					if !strings.Contains(fmt.Sprint(conditions), "'"+logicalName("root:tmc")+"' in request.userInfo.extra") {
						t.Errorf("policy %s of workspace %s does not name the logical cluster of root:tmc: %v", name, workspace, conditions)
					}
				})
			}
		}
	})
	t.Run("the policy about patches is in the provider workspace", func(t *testing.T) {
		fake, _ := initialized(t, "root:team-a")
		fake.change("root:tmc", "validatingadmissionpolicies", "tmc-patches", func(map[string]any) {})
		fake.change("root:tmc", "validatingadmissionpolicybindings", "tmc-patches", func(fields map[string]any) {
			if name, _, _ := unstructured.NestedString(fields, "spec", "policyName"); name != "tmc-patches" {
				t.Errorf("its binding is about %q", name)
			}
		})
	})
	t.Run("workspaces of the tenants' type accept new claims", func(t *testing.T) {
		fake, config := withTenants(t)
		bound := (&recorder{}).options(config)
		bound.Config = &rest.Config{Host: fake.url + clustersPath + "root:team-a"}
		if err := Bind(context.Background(), BindOptions{Options: bound}); err != nil {
			t.Fatal(err)
		}
		for _, workspace := range []string{"root:typed", "root:team-a"} {
			fake.store(workspace, "apibindings", newBinding("others", "root:others", view{export: "others"}, nil))
		}
		fake.takeWrites()
		dropPolicyClaims(fake, "root:typed", "apibindings", "tmc.kcp.io-x7k2p")
		dropPolicyClaims(fake, "root:barred", "apibindings", "tmc.kcp.io-x7k2p")
		dropPolicyClaims(fake, "root:team-a", "apibindings", "tmc.kcp.io")
		fake.forbidden["update root:barred/apibindings"] = true
		var told recorder
		if writes := initWith(t, fake, told.options(config), nil); !slices.Equal(writes, []string{"update root:typed apibindings/tmc.kcp.io-x7k2p"}) {
			t.Errorf("init wrote %v", writes)
		}
		if len(told.warnings) != 3 || !strings.Contains(told.warnings[0], "root:barred") || strings.Count(told.warnings[1], `(called "root:team-a")`) != 1 {
			t.Errorf("it says %q", told.warnings)
		}
	})
	t.Run("permission to make policies is needed", func(t *testing.T) {
		fake, config := newFakeKCP(t, "")
		fake.forbidden["create root:tmc/validatingadmissionpolicies"] = true
		err := Init(context.Background(), (&recorder{}).options(config))
		wantError(t, err, apierrors.IsForbidden, "ValidatingAdmissionPolicy tmc-consumers", "root:tmc")
	})
}

// dropPolicyClaims makes an export, or a binding, one of before policies were claimed.
func dropPolicyClaims(fake *fakeKCP, workspace, resource, name string) {
	fake.change(workspace, resource, name, func(fields map[string]any) {
		spec := fields["spec"].(map[string]any)
		spec["permissionClaims"] = slices.DeleteFunc(spec["permissionClaims"].([]any), func(claim any) bool {
			return claim.(map[string]any)["group"] == "admissionregistration.k8s.io"
		})
	})
}

// acceptsAll checks that the binding of root:team-a accepts just what the export claims.
func acceptsAll(t *testing.T, fake *fakeKCP) {
	t.Helper()
	export := manifests.Export()
	fake.change("root:team-a", "apibindings", "tmc.kcp.io", func(fields map[string]any) {
		claims, _, _ := unstructured.NestedSlice(fields, "spec", "permissionClaims")
		if len(claims) != len(export.Spec.PermissionClaims) {
			t.Errorf("%d claims are accepted, the export has %d", len(claims), len(export.Spec.PermissionClaims))
		}
		for _, claim := range claims {
			if claim.(map[string]any)["state"] != "Accepted" {
				t.Errorf("%v is not accepted", claim)
			}
		}
	})
}

func TestBindFails(t *testing.T) {
	tests := map[string]struct {
		workspace string
		change    func(fake *fakeKCP, options *Options)
		message   []string
		is        func(error) bool
	}{
		"without a workspace": {
			change: func(*fakeKCP, *Options) {}, message: []string{"points to no workspace", "/clusters/"},
		},
		"in a workspace that does not exist": {
			workspace: "root:nowhere", change: func(*fakeKCP, *Options) {}, message: []string{"root:nowhere"}, is: apierrors.IsForbidden,
		},
		"without an export": {
			workspace: "root:team-a",
			change:    func(_ *fakeKCP, o *Options) { o.ProviderWorkspace = "root" },
			message:   []string{"workspace root has no APIExport tmc.kcp.io", "kubectl tmc init"}, is: apierrors.IsNotFound,
		},
		"without permission to bind": {
			workspace: "root:team-a",
			change:    func(f *fakeKCP, _ *Options) { f.forbidden["create root:team-a/apibindings"] = true },
			message:   []string{"cannot be bound in workspace root:team-a", "verb bind", "kubectl tmc init"}, is: apierrors.IsForbidden,
		},
		"while the binding is being deleted": {
			workspace: "root:team-a",
			change: func(f *fakeKCP, _ *Options) {
				f.store("root:team-a", "apibindings", newBinding("tmc.kcp.io", "root:tmc", workloads, nil))
				f.change("root:team-a", "apibindings", "tmc.kcp.io", func(fields map[string]any) {
					fields["metadata"].(map[string]any)["deletionTimestamp"] = "2026-01-01T00:00:00Z"
				})
			},
			message: []string{"APIBinding tmc.kcp.io", "being deleted"},
		},
		"when kcp does not come to an end": {
			workspace: "root:team-a",
			change: func(f *fakeKCP, _ *Options) {
				f.react = func(_ string, object *unstructured.Unstructured) {
					set(f.t, object, []any{map[string]any{"type": "APIExportValid", "status": "False", "reason": "APIExportNotFound"}}, "status", "conditions")
				}
			},
			message: []string{"gave up", "the APIBindings of workspace root:team-a", "APIBinding tmc.kcp.io", "APIExportNotFound"}, is: timedOut,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			fake, config := initialized(t, tc.workspace)
			options := (&recorder{}).options(config)
			options.Timeout = 600 * time.Millisecond
			tc.change(fake, &options)
			wantError(t, Bind(context.Background(), BindOptions{Options: options}), tc.is, tc.message...)
		})
	}
}

func TestServerWaitFor(t *testing.T) {
	t.Run("what is waited for is said once, in plain words", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		looks := 0
		fake.react = func(_ string, object *unstructured.Unstructured) {
			looks++
			set(fake.t, object, []any{map[string]any{"type": "APIExportValid", "status": "False", "reason": fmt.Sprintf("Inner%d", looks)}}, "status", "conditions")
		}
		r := &recorder{}
		options := r.options(config)
		options.Timeout = 600 * time.Millisecond
		err := Bind(t.Context(), BindOptions{Options: options})
		wantError(t, err, timedOut, "APIExportValid=False Inner", "InitialBindingCompleted", "run the command again", "--timeout")
		want := []string{"waiting for the kinds that applications are made of, in workspace root:team-a"}
		if diff := cmp.Diff(want, r.waiting); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("states that change are not told", func(t *testing.T) {
		r, looks := &recorder{}, 0
		s := &server{options: r.options(nil)}
		err := s.waitFor(t.Context(), "rain", func(context.Context) (progress, error) {
			looks++
			return progress{done: looks == 3, state: fmt.Sprintf("look %d", looks)}, nil
		})
		if diff := cmp.Diff([]string{"waiting for rain"}, r.waiting); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
	t.Run("waiting ends with the context", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		ctx, cancel := context.WithCancelCause(context.Background())
		interrupted := errors.New("interrupted")
		fake.react = func(_ string, object *unstructured.Unstructured) {
			unstructured.RemoveNestedField(object.Object, "status")
		}
		options := (&recorder{}).options(config)
		options.OnWaiting = func(string) { cancel(interrupted) }
		err := Bind(ctx, BindOptions{Options: options})
		wantError(t, err, func(err error) bool { return errors.Is(err, interrupted) }, "cut short")
	})
}
