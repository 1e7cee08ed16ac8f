package install

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// fieldOf returns a text of an object.
func fieldOf(fields map[string]any, path ...string) string {
	value, _, _ := unstructured.NestedString(fields, path...)
	return value
}

// eastRuns has the fake say that the syncer of east runs with an APIExport; "" if it does not say.
func (f *fakeKCP) eastRuns(export string) {
	f.change("root:tmc", "clusterregistrations", "east", func(fields map[string]any) {
		status := map[string]any{"clusterUID": "uid-east"}
		if export != "" {
			status["export"] = export
		}
		fields["status"] = status
	})
}

// claimsOf returns the resources that an APIExport claims, and the label that it selects by.
func claimsOf(fake *fakeKCP, export string) (resources []string, label string) {
	claims, _, _ := unstructured.NestedSlice(fake.stored("root:tmc", "apiexports", export), "spec", "permissionClaims")
	for _, claim := range claims {
		fields := claim.(map[string]any)
		resources = append(resources, fields["resource"].(string))
		labels, _, _ := unstructured.NestedMap(fields, "defaultSelector", "matchLabels")
		for key := range labels {
			label = key
		}
	}
	return resources, label
}

// mayUse returns the APIExports whose content a cluster's account may see.
func mayUse(fake *fakeKCP, cluster string) string {
	for _, rule := range rulesOf(fake.stored("root:tmc", "clusterroles", "tmc-syncer-"+cluster)) {
		if names, ok := strings.CutPrefix(rule, "get,list,watch,patch apiexports/content.apis.kcp.io "); ok {
			return strings.Trim(names, "[]")
		}
	}
	return ""
}

// hasExport reports whether the provider workspace has an APIExport.
func hasExport(fake *fakeKCP, export string) bool {
	return fake.stored("root:tmc", "apiexports", export) != nil
}

// wantClaims fails unless an APIExport claims just the resources.
func wantClaims(t *testing.T, fake *fakeKCP, export, when string, resources ...string) {
	t.Helper()
	claimed, _ := claimsOf(fake, export)
	if diff := cmp.Diff(resources, claimed); diff != "" {
		t.Errorf("%s, APIExport %s claims (-want +got)\n%s", when, export, diff)
	}
}

// wantUse fails unless a cluster's account may use just the APIExports.
func wantUse(t *testing.T, fake *fakeKCP, cluster, when, exports string) {
	t.Helper()
	if may := mayUse(fake, cluster); may != exports {
		t.Errorf("%s, the account of %s may use %s, want %s", when, cluster, may, exports)
	}
}

// wantTenantExports fails unless workspaces of the tenants' type have just the APIExports bound.
func wantTenantExports(t *testing.T, fake *fakeKCP, exports ...string) {
	t.Helper()
	if diff := cmp.Diff(exports, tenantExports(fake)); diff != "" {
		t.Errorf("what tenants have bound (-want +got)\n%s", diff)
	}
}

// wantOrder fails unless all of the wanted writes were made, one after the other.
func wantOrder(t *testing.T, writes []string, wanted ...string) {
	t.Helper()
	at := -1
	for _, write := range wanted {
		next := slices.Index(writes, write)
		if next <= at {
			t.Errorf("%q is not where it should be in %v", write, writes)
		}
		at = next
	}
}

// joinToGroup joins a cluster to the group eu-prod, with kinds or with all of them.
func joinToGroup(t *testing.T, fake *fakeKCP, config *rest.Config, cluster string, kinds ...string) Joined {
	t.Helper()
	joined, _ := mustJoin(t, fake, joinOptions(config, inGroup("eu-prod"), func(o *JoinOptions) { o.Cluster, o.Kinds = cluster, kinds }))
	return joined
}

func TestJoinGroup(t *testing.T) {
	t.Run("clusters of a group share a view", func(t *testing.T) {
		fake, config := initialized(t, "")
		joined := joinToGroup(t, fake, config, "east", "deployments")
		if joined.Export != "group-eu-prod" || hasExport(fake, "cluster-east") {
			t.Errorf("got the export %s", joined.Export)
		}
		wantClaims(t, fake, "group-eu-prod", "with east", "namespaces", "deployments")
		if _, label := claimsOf(fake, "group-eu-prod"); label != "group.tmc.kcp.io/eu-prod" {
			t.Errorf("it claims by %s", label)
		}
		registration := fake.stored("root:tmc", "clusterregistrations", "east")
		if fieldOf(registration, "spec", "isolation") != "Group" || fieldOf(registration, "spec", "isolationGroup") != "eu-prod" {
			t.Errorf("the registration says %v", registration["spec"])
		}
		joinToGroup(t, fake, config, "west", "jobs", "deployments")
		wantClaims(t, fake, "group-eu-prod", "with west, too", "namespaces", "deployments", "jobs")
		joinToGroup(t, fake, config, "north")
		if resources, _ := claimsOf(fake, "group-eu-prod"); len(resources) != 1+len(allKinds(t, fake)) {
			t.Errorf("with one that takes all kinds it claims %v", resources)
		}
		for _, cluster := range []string{"east", "west", "north"} {
			wantUse(t, fake, cluster, "in the group", "group-eu-prod")
		}
		wantTenantExports(t, fake, "tmc.kcp.io", "group-eu-prod")
	})
	t.Run("the view goes with the last cluster of the group", func(t *testing.T) {
		fake, config := initialized(t, "")
		joinToGroup(t, fake, config, "east", "deployments")
		joinToGroup(t, fake, config, "west", "jobs", "deployments")
		joinToGroup(t, fake, config, "north")
		unjoin := func(cluster string) {
			fake.remove("clusterregistrations", cluster)
			if err := Unjoin(context.Background(), UnjoinOptions{Options: (&recorder{}).options(config), Cluster: cluster}); err != nil {
				t.Fatal(err)
			}
		}
		unjoin("north")
		wantClaims(t, fake, "group-eu-prod", "without north", "namespaces", "deployments", "jobs")
		unjoin("west")
		unjoin("east")
		if hasExport(fake, "group-eu-prod") || fake.stored("root:tmc", "clusterroles", "tmc-bind-group-eu-prod") != nil {
			t.Error("the view of a group without clusters is there")
		}
		wantTenantExports(t, fake, "tmc.kcp.io")
	})
	t.Run("a cluster of a group can be shared again", func(t *testing.T) {
		fake, config := isolatedEast(t)
		mustJoin(t, fake, joinOptions(config, inGroup("us-prod")))
		fake.eastRuns("group-us-prod")
		initWith(t, fake, (&recorder{}).options(config), nil)

		_, writes := mustJoin(t, fake, joinOptions(config))
		if want := `patch root:tmc clusterregistrations/east {"spec":{"isolation":"Shared","isolationGroup":null}}`; !slices.Contains(writes, want) {
			t.Errorf("shared again, it wrote %v", writes)
		}
		fake.eastRuns("tmc.kcp.io")
		mustJoin(t, fake, joinOptions(config))
		if hasExport(fake, "group-us-prod") {
			t.Error("the view of a group without clusters is there")
		}
		wantUse(t, fake, "east", "when its syncer runs shared", "tmc.kcp.io")
	})
}

// TestJoinsSideBySide has west joined while the join of east has not written the registration yet: nothing of east's goes.
func TestJoinsSideBySide(t *testing.T) {
	joinWest := func(t *testing.T, fake *fakeKCP, config *rest.Config) {
		t.Helper()
		mustJoin(t, fake, joinOptions(config, isolate, func(o *JoinOptions) { o.Cluster = "west" }))
	}
	t.Run("a new cluster", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		mustJoin(t, fake, joinOptions(config, isolate))
		fake.remove("clusterregistrations", "east")

		joinWest(t, fake, config)
		if !hasExport(fake, "cluster-east") {
			t.Error("the view of the cluster that is being joined is gone")
		}
		wantTenantExports(t, fake, "tmc.kcp.io", "cluster-east", "cluster-west")
		if err := Unjoin(t.Context(), UnjoinOptions{Options: (&recorder{}).options(config), Cluster: "east"}); err != nil {
			t.Fatal(err)
		}
		if hasExport(fake, "cluster-east") {
			t.Error("the view is there when its cluster is removed")
		}
	})
	t.Run("a cluster of a group", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		mustJoin(t, fake, joinOptions(config, inGroup("eu-prod")))
		fake.remove("clusterregistrations", "east")

		mustJoin(t, fake, joinOptions(config, inGroup("eu-prod"), func(o *JoinOptions) { o.Cluster, o.Kinds = "west", []string{"jobs"} }))
		if members := fake.stored("root:tmc", "apiexports", "group-eu-prod")["metadata"].(map[string]any)["annotations"].(map[string]any); members["kinds.tmc.kcp.io/east"] != "*" {
			t.Errorf("the view has forgotten the kinds of the cluster that is being joined: %v", members)
		}
	})
	t.Run("another isolation", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		mustJoin(t, fake, joinOptions(config))
		fake.eastRuns("tmc.kcp.io")
		mustJoin(t, fake, joinOptions(config, isolate))
		fake.change("root:tmc", "clusterregistrations", "east", func(fields map[string]any) {
			fields["spec"] = map[string]any{"isolation": "Shared"}
		})

		joinWest(t, fake, config)
		wantUse(t, fake, "east", "when west has joined", "cluster-east tmc.kcp.io")
		if !hasExport(fake, "cluster-east") {
			t.Error("the view of the cluster that is being joined is gone")
		}
	})
}

// allKinds returns the resources that can be synced.
func allKinds(t *testing.T, fake *fakeKCP) []any {
	t.Helper()
	claims, _, _ := unstructured.NestedSlice(fake.stored("root:tmc", "apiexports", "tmc.kcp.io"), "spec", "resources")
	claims = slices.DeleteFunc(claims, func(claim any) bool {
		return slices.Contains([]any{"replicasets", "controllerrevisions", "pods"}, claim.(map[string]any)["name"])
	})
	// ConfigMaps, Secrets and ServiceAccounts come by claims; workloadplacements do not go down.
	return append(claims, nil, nil)
}

func TestJoinIsolation(t *testing.T) {
	t.Run("another isolation comes before the earlier one goes", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		mustJoin(t, fake, joinOptions(config))
		fake.eastRuns("tmc.kcp.io")

		joined, writes := mustJoin(t, fake, joinOptions(config, isolate))
		if joined.Export != "cluster-east" || !slices.Equal(joined.Former, []string{"tmc.kcp.io"}) {
			t.Errorf("got %s, and before %v", joined.Export, joined.Former)
		}
		wantOrder(t, writes,
			"update root:tmc clusterroles/tmc-syncer-east", "create root:tmc apiexports/cluster-east", "update root:tmc workspacetypes/tmc-tenant",
			`patch root:tmc clusterregistrations/east {"spec":{"isolation":"Cluster"}}`)
		wantUse(t, fake, "east", "while the syncer runs as before", "cluster-east tmc.kcp.io")
		if _, writes = mustJoin(t, fake, joinOptions(config, isolate)); len(writes) > 0 {
			t.Errorf("nothing has happened meanwhile, and it wrote %v", writes)
		}
		fake.eastRuns("cluster-east")
		_, writes = mustJoin(t, fake, joinOptions(config, isolate))
		if diff := cmp.Diff([]string{"update root:tmc clusterroles/tmc-syncer-east"}, writes); diff != "" {
			t.Errorf("when the syncer runs with the manifest, writes (-want +got)\n%s", diff)
		}
		wantUse(t, fake, "east", "when its syncer runs with the manifest", "cluster-east")
	})
	t.Run("a view stays while a syncer uses it", func(t *testing.T) {
		fake, config := isolatedEast(t)
		mustJoin(t, fake, joinOptions(config, inGroup("eu-prod")))
		if !hasExport(fake, "cluster-east") {
			t.Error("the view is taken from a syncer that uses it")
		}
		wantUse(t, fake, "east", "before the manifest of the group is applied", "group-eu-prod cluster-east")

		// Another group is chosen before the manifest is applied.
		mustJoin(t, fake, joinOptions(config, inGroup("us-prod")))
		if hasExport(fake, "group-eu-prod") {
			t.Error("what nobody has used is there")
		}
		wantUse(t, fake, "east", "before the manifest of the other group is applied", "group-us-prod cluster-east")

		fake.eastRuns("group-us-prod")
		initWith(t, fake, (&recorder{}).options(config), nil)
		if hasExport(fake, "cluster-east") {
			t.Error("init leaves what nobody uses")
		}
		wantUse(t, fake, "east", "after init", "group-us-prod")
		wantTenantExports(t, fake, "tmc.kcp.io", "group-us-prod")
	})
	t.Run("what a syncer reports of itself gives it nothing", func(t *testing.T) {
		fake, config := initialized(t, "")
		mustJoin(t, fake, joinOptions(config, isolate, func(o *JoinOptions) { o.Cluster = "west" }))
		mustJoin(t, fake, joinOptions(config, isolate))
		for _, export := range []string{"tmc.kcp.io", "cluster-west"} {
			fake.eastRuns(export)
			if _, writes := mustJoin(t, fake, joinOptions(config, isolate)); len(writes) > 0 || mayUse(fake, "east") != "cluster-east" {
				t.Errorf("it says that it uses %s, and may use %s", export, mayUse(fake, "east"))
			}
		}
	})
	t.Run("a syncer that does not report its export keeps all", func(t *testing.T) {
		fake, config := initialized(t, "")
		mustJoin(t, fake, joinOptions(config))
		fake.eastRuns("")
		mustJoin(t, fake, joinOptions(config, isolate))
		wantUse(t, fake, "east", "when its syncer does not say", "cluster-east tmc.kcp.io")
	})
	t.Run("a cluster whose syncer has never run changes at once", func(t *testing.T) {
		fake, config := initialized(t, "")
		mustJoin(t, fake, joinOptions(config, isolate))
		joined, _ := mustJoin(t, fake, joinOptions(config))
		if len(joined.Former) > 0 || mayUse(fake, "east") != "tmc.kcp.io" || hasExport(fake, "cluster-east") {
			t.Errorf("got %+v, and it may use %s", joined, mayUse(fake, "east"))
		}
	})
	t.Run("no token is made that is not wanted", func(t *testing.T) {
		fake, config := initialized(t, "")
		mustJoin(t, fake, joinOptions(config, isolate))
		joined, writes := mustJoin(t, fake, joinOptions(config, isolate, func(o *JoinOptions) { o.NoToken = true }))
		if joined.Token != "" || fake.tokens != 1 || len(writes) > 0 {
			t.Errorf("got %q after %d tokens, and writes %v", joined.Token, fake.tokens, writes)
		}
	})
}

// isolatedEast returns a fake kcp where east was shared, is isolated, and its syncer runs so.
func isolatedEast(t *testing.T) (*fakeKCP, *rest.Config) {
	t.Helper()
	fake, config := initialized(t, "root:team-a")
	mustJoin(t, fake, joinOptions(config))
	fake.eastRuns("tmc.kcp.io")
	mustJoin(t, fake, joinOptions(config, isolate))
	fake.eastRuns("cluster-east")
	mustJoin(t, fake, joinOptions(config, isolate))
	return fake, config
}

func TestInitViews(t *testing.T) {
	t.Run("views claim what is served later", func(t *testing.T) {
		fake, config := initialized(t, "")
		mustJoin(t, fake, joinOptions(config, isolate))
		mustJoin(t, fake, joinOptions(config, isolate, func(o *JoinOptions) { o.Cluster, o.Kinds = "west", []string{"jobs"} }))
		fake.change("root:tmc", "apiexports", "tmc.kcp.io", func(fields map[string]any) {
			spec := fields["spec"].(map[string]any)
			spec["permissionClaims"] = append(spec["permissionClaims"].([]any), map[string]any{"group": "example.com", "resource": "widgets", "identityHash": "w", "verbs": []any{"*"}})
		})
		// Init would take the claim away again, which no manifest has: this is its last part.
		s, err := newServer((&recorder{}).options(config))
		if err != nil {
			t.Fatal(err)
		}
		fake.takeWrites()
		if err := s.updateViews(context.Background()); err != nil {
			t.Fatal(err)
		}
		if resources, _ := claimsOf(fake, "cluster-east"); !slices.Contains(resources, "widgets") {
			t.Errorf("the one that takes all kinds claims %v", resources)
		}
		wantClaims(t, fake, "cluster-west", "joined with kinds", "namespaces", "jobs")
		if writes := fake.takeWrites(); !slices.Equal(writes, []string{"update root:tmc apiexports/cluster-east"}) {
			t.Errorf("it wrote %v", writes)
		}
	})
}

func TestUnjoinViews(t *testing.T) {
	t.Run("an export without the label is somebody else's", func(t *testing.T) {
		fake, config := initialized(t, "")
		mustJoin(t, fake, joinOptions(config, isolate))
		fake.change("root:tmc", "apiexports", "cluster-east", func(fields map[string]any) { delete(fields["metadata"].(map[string]any), "labels") })
		fake.remove("clusterregistrations", "east")
		if err := Unjoin(context.Background(), UnjoinOptions{Options: (&recorder{}).options(config), Cluster: "east"}); err != nil {
			t.Fatal(err)
		}
		if !hasExport(fake, "cluster-east") {
			t.Error("an APIExport without the label is deleted")
		}
	})
	t.Run("no dead bindings are left", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		mustJoin(t, fake, joinOptions(config, isolate))
		for _, workspace := range []string{"root:team-a", "root:team-b"} {
			fake.workspaces[workspace] = true
			bound := (&recorder{}).options(config)
			bound.Config.Host = strings.Replace(config.Host, "root:team-a", workspace, 1)
			if err := Bind(context.Background(), BindOptions{Options: bound}); err != nil {
				t.Fatal(err)
			}
		}
		fake.remove("clusterregistrations", "east")
		fake.forbidden["delete root:team-b/apibindings"] = true
		fake.takeWrites()
		var told recorder
		if err := Unjoin(context.Background(), UnjoinOptions{Options: told.options(config), Cluster: "east"}); err != nil {
			t.Fatal(err)
		}
		writes := fake.takeWrites()
		if writes[0] != "update root:tmc workspacetypes/tmc-tenant" {
			t.Errorf("the first write is %q: workspaces would be bound anew", writes[0])
		}
		if fake.stored("root:team-a", "apibindings", "cluster-east") != nil {
			t.Errorf("a binding is left that leads nowhere: %v", writes)
		}
		if fake.stored("root:team-a", "apibindings", "tmc.kcp.io") == nil {
			t.Error("the binding that brings the kinds is gone")
		}
		if len(told.warnings) != 1 || !strings.Contains(told.warnings[0], "workspace root:team-b") || !strings.Contains(told.warnings[0], "/clusters/root:team-b delete apibinding cluster-east") {
			t.Errorf("it says %q", told.warnings)
		}
	})
}

func TestBindViews(t *testing.T) {
	t.Run("named views are bound", func(t *testing.T) {
		_, config := initialized(t, "root:team-a")
		for _, options := range []BindOptions{{IsolatedClusters: []string{"E"}}, {IsolationGroups: []string{"E"}}} {
			options.Options = (&recorder{}).options(config)
			wantError(t, Bind(context.Background(), options), nil, `"E"`)
		}
		err := Bind(context.Background(), BindOptions{Options: (&recorder{}).options(config), IsolationGroups: []string{"eu"}})
		wantError(t, err, apierrors.IsNotFound, "no APIExport group-eu", "kubectl tmc join")
	})
	t.Run("the kinds are bound before the views that claim them", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		mustJoin(t, fake, joinOptions(config, isolate))
		const kinds = "root:team-a/apibindings/tmc.kcp.io"
		tooEarly, once := 0, sync.Once{}
		fake.react = func(_ string, object *unstructured.Unstructured) {
			if object.GetKind() != "APIBinding" {
				return
			}
			bound := fake.objects[kinds]
			if object.GetName() == "cluster-east" && (bound == nil || fieldOf(bound.Object, "status", "phase") != "Bound") {
				tooEarly++
			}
			if object.GetName() == "tmc.kcp.io" {
				once.Do(func() { set(t, object, "Binding", "status", "phase") })
			}
		}
		told := &recorder{}
		options := told.options(config)
		options.OnWaiting = func(string) {
			fake.mutex.Lock()
			defer fake.mutex.Unlock()
			set(t, fake.objects[kinds], "Bound", "status", "phase")
		}
		if err := Bind(t.Context(), BindOptions{Options: options}); err != nil {
			t.Fatal(err)
		}
		if tooEarly > 0 || fake.stored("root:team-a", "apibindings", "cluster-east") == nil {
			t.Errorf("the view was bound %d times before the kinds", tooEarly)
		}
	})
	t.Run("a view that is being unbound is bound anew", func(t *testing.T) {
		fake, config := initialized(t, "root:team-a")
		mustJoin(t, fake, joinOptions(config, isolate))
		bind := func() []string {
			told := &recorder{}
			if err := Bind(t.Context(), BindOptions{Options: told.options(config)}); err != nil {
				t.Fatal(err)
			}
			return told.warnings
		}
		if warnings := bind(); len(warnings) > 0 {
			t.Fatalf("nothing is going: %v", warnings)
		}
		fake.change("root:team-a", "apibindings", "cluster-east", func(fields map[string]any) {
			metadata := fields["metadata"].(map[string]any)
			metadata["deletionTimestamp"], metadata["finalizers"] = "2026-01-01T00:00:00Z", []any{v1alpha1.InUseFinalizer}
		})
		if warnings := bind(); len(warnings) != 1 || !strings.Contains(warnings[0], "APIBinding cluster-east of workspace root:team-a was deleted") {
			t.Errorf("it says %v", warnings)
		}
		if binding := fake.stored("root:team-a", "apibindings", "cluster-east"); binding == nil || fieldOf(binding, "metadata", "deletionTimestamp") != "" {
			t.Errorf("the binding is %v", binding)
		}
	})
}

func TestKindsOf(t *testing.T) {
	kind := func(group, resource string) servedKind {
		return servedKind{GroupResource: schema.GroupResource{Group: group, Resource: resource}}
	}
	served := []servedKind{kind("", "configmaps"), kind("apps", "deployments"), kind("batch", "jobs")}
	for name, tc := range map[string]struct {
		annotations map[string]string
		want        string
	}{
		"nothing is said":     {nil, "configmaps,deployments.apps,jobs.batch"},
		"One":                 {map[string]string{"kinds.tmc.kcp.io/east": "jobs.batch"}, "jobs.batch"},
		"Two":                 {map[string]string{"kinds.tmc.kcp.io/east": "jobs.batch", "kinds.tmc.kcp.io/west": "configmaps,jobs.batch"}, "configmaps,jobs.batch"},
		"one takes all":       {map[string]string{"kinds.tmc.kcp.io/east": "jobs.batch", "kinds.tmc.kcp.io/west": "*"}, "configmaps,deployments.apps,jobs.batch"},
		"not served any more": {map[string]string{"kinds.tmc.kcp.io/east": "gadgets,configmaps"}, "configmaps"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := listKinds(kindsOf(tc.annotations, served), ","); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// makeTenant has the fake make a workspace of the tenants' type, with what kcp binds then.
func (f *fakeKCP) makeTenant(t *testing.T, config *rest.Config, workspace string) {
	t.Helper()
	f.workspaces[workspace] = true
	bound := (&recorder{}).options(config)
	bound.Config.Host = f.url + clustersPath + workspace
	if err := Bind(context.Background(), BindOptions{Options: bound}); err != nil {
		t.Fatal(err)
	}
	self := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "core.kcp.io/v1alpha1", "kind": "LogicalCluster"}}
	self.SetName("cluster")
	self.SetAnnotations(map[string]string{"internal.tenancy.kcp.io/type": "root:tmc:tmc-tenant"})
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.objects[workspace+"/logicalclusters/cluster"] = self
	binding := f.objects[workspace+"/apibindings/tmc.kcp.io"]
	binding.SetName("tmc.kcp.io-x7k2p")
	delete(f.objects, workspace+"/apibindings/tmc.kcp.io")
	f.objects[workspace+"/apibindings/tmc.kcp.io-x7k2p"] = binding
	f.writes = nil
}

// withTenants returns a fake kcp with two workspaces of the tenants' type, and one that is bound and not of the type.
func withTenants(t *testing.T) (*fakeKCP, *rest.Config) {
	t.Helper()
	fake, config := initialized(t, "root:team-a")
	for _, workspace := range []string{"root:typed", "root:barred"} {
		fake.makeTenant(t, config, workspace)
	}
	if err := Bind(context.Background(), BindOptions{Options: (&recorder{}).options(config)}); err != nil {
		t.Fatal(err)
	}
	fake.takeWrites()
	return fake, config
}

func TestBindTenants(t *testing.T) {
	t.Run("workspaces of the type are bound to what joins later", func(t *testing.T) {
		fake, config := withTenants(t)
		fake.forbidden["create root:barred/apibindings"] = true
		var told recorder
		_, writes := mustJoin(t, fake, joinOptions(config, isolate, func(o *JoinOptions) { o.Options = told.options(config) }))
		// The hub learns of the cluster when workspaces are bound.
		wantOrder(t, writes, "create root:typed apibindings/cluster-east", "create root:tmc clusterregistrations/east")
		if fake.stored("root:team-a", "apibindings", "cluster-east") != nil {
			t.Error("a workspace is bound that is not of the type")
		}
		if len(told.warnings) != 1 || !strings.Contains(told.warnings[0], "in workspace root:barred") || !strings.Contains(told.warnings[0], "kubectl tmc bind --server") {
			t.Errorf("it says %q", told.warnings)
		}
		fake.forbidden = map[string]bool{}
		if writes := initWith(t, fake, (&recorder{}).options(config), nil); !slices.Equal(writes, []string{"create root:barred apibindings/cluster-east"}) {
			t.Errorf("init wrote %v", writes)
		}
	})
	t.Run("workspaces of the type accept new claims", func(t *testing.T) {
		fake, config := withTenants(t)
		mustJoin(t, fake, joinOptions(config, isolate))
		fake.change("root:tmc", "apiexports", "cluster-east", func(fields map[string]any) {
			spec := fields["spec"].(map[string]any)
			claims := spec["permissionClaims"].([]any)
			spec["permissionClaims"] = claims[:len(claims)-1]
		})
		s, err := newServer((&recorder{}).options(config))
		if err != nil {
			t.Fatal(err)
		}
		views, err := s.viewExports(context.Background())
		if err == nil {
			err = s.bindTenants(context.Background(), views)
		}
		writes := fake.takeWrites()
		slices.Sort(writes)
		if err != nil || !slices.Equal(writes, []string{"update root:barred apibindings/cluster-east", "update root:typed apibindings/cluster-east"}) {
			t.Errorf("got %v, and writes %v", err, writes)
		}
	})
}
