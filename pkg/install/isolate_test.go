package install

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// fieldOf returns a text of an object.
func fieldOf(fields map[string]any, path ...string) string {
	value, _, _ := unstructured.NestedString(fields, path...)
	return value
}

// runs has the fake say that the syncer of a cluster runs with an APIExport; "" if it does not say.
func (f *fakeKCP) runs(cluster, export string) {
	f.change("root:tmc", "clusterregistrations", cluster, func(fields map[string]any) {
		status := map[string]any{"clusterUID": "uid-" + cluster}
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

func TestClustersOfAGroupShareAView(t *testing.T) {
	fake, config := initialized(t, "")
	joined, _ := mustJoin(t, fake, joinOptions(config, inGroup("eu-prod"), func(o *JoinOptions) { o.Kinds = []string{"deployments"} }))
	if joined.Export != "group-eu-prod" || fake.stored("root:tmc", "apiexports", "cluster-east") != nil {
		t.Errorf("got the export %s", joined.Export)
	}
	if resources, label := claimsOf(fake, "group-eu-prod"); !slices.Equal(resources, []string{"namespaces", "deployments"}) || label != "group.tmc.kcp.io/eu-prod" {
		t.Errorf("it claims %v by %s", resources, label)
	}
	registration := fake.stored("root:tmc", "clusterregistrations", "east")
	if fieldOf(registration, "spec", "isolation") != "Group" || fieldOf(registration, "spec", "isolationGroup") != "eu-prod" {
		t.Errorf("the registration says %v", registration["spec"])
	}
	mustJoin(t, fake, joinOptions(config, inGroup("eu-prod"), func(o *JoinOptions) { o.Cluster, o.Kinds = "west", []string{"jobs", "deployments"} }))
	if resources, _ := claimsOf(fake, "group-eu-prod"); !slices.Equal(resources, []string{"namespaces", "deployments", "jobs"}) {
		t.Errorf("with west it claims %v, want what either of them takes", resources)
	}
	mustJoin(t, fake, joinOptions(config, inGroup("eu-prod"), func(o *JoinOptions) { o.Cluster = "north" }))
	if resources, _ := claimsOf(fake, "group-eu-prod"); len(resources) != 1+len(allKinds(t, fake)) {
		t.Errorf("with one that takes all kinds it claims %v", resources)
	}
	for _, cluster := range []string{"east", "west", "north"} {
		if may := mayUse(fake, cluster); may != "group-eu-prod" {
			t.Errorf("%s may use %s", cluster, may)
		}
	}
	if diff := cmp.Diff([]string{"tmc.kcp.io", "group-eu-prod"}, tenantExports(fake)); diff != "" {
		t.Errorf("what tenants have bound (-want +got)\n%s", diff)
	}

	// The last that leaves takes the view along.
	unjoin := func(cluster string) {
		fake.remove("clusterregistrations", cluster)
		if err := Unjoin(context.Background(), UnjoinOptions{Options: (&recorder{}).options(config), Cluster: cluster}); err != nil {
			t.Fatal(err)
		}
	}
	unjoin("north")
	if resources, _ := claimsOf(fake, "group-eu-prod"); !slices.Equal(resources, []string{"namespaces", "deployments", "jobs"}) {
		t.Errorf("without north it claims %v", resources)
	}
	unjoin("west")
	unjoin("east")
	if fake.stored("root:tmc", "apiexports", "group-eu-prod") != nil || fake.stored("root:tmc", "clusterroles", "tmc-bind-group-eu-prod") != nil {
		t.Error("the view of a group without clusters is there")
	}
	if diff := cmp.Diff([]string{"tmc.kcp.io"}, tenantExports(fake)); diff != "" {
		t.Errorf("what tenants have bound (-want +got)\n%s", diff)
	}
}

// allKinds returns the resources that can be synced.
func allKinds(t *testing.T, fake *fakeKCP) []any {
	t.Helper()
	claims, _, _ := unstructured.NestedSlice(fake.stored("root:tmc", "apiexports", "tmc.kcp.io"), "spec", "resources")
	// ConfigMaps, Secrets and ServiceAccounts come by claims; workloadplacements do not go down.
	return append(claims, nil, nil)
}

func TestAnotherIsolationComesBeforeTheOneBeforeGoes(t *testing.T) {
	fake, config := initialized(t, "root:team-a")
	mustJoin(t, fake, joinOptions(config))
	fake.runs("east", "tmc.kcp.io")

	joined, writes := mustJoin(t, fake, joinOptions(config, isolate))
	if joined.Export != "cluster-east" || !slices.Equal(joined.Former, []string{"tmc.kcp.io"}) {
		t.Errorf("got %s, and before %v", joined.Export, joined.Former)
	}
	order := []string{
		"create root:tmc apiexports/cluster-east", "update root:tmc workspacetypes/tmc-tenant", "update root:tmc clusterroles/tmc-syncer-east",
		`patch root:tmc clusterregistrations/east {"spec":{"isolation":"Cluster"}}`,
	}
	at := -1
	for _, write := range order {
		next := slices.Index(writes, write)
		if next <= at {
			t.Errorf("%q is not where it should be in %v", write, writes)
		}
		at = next
	}
	if may := mayUse(fake, "east"); may != "cluster-east tmc.kcp.io" {
		t.Errorf("while the syncer runs as before, its account may use %s", may)
	}
	if _, writes = mustJoin(t, fake, joinOptions(config, isolate)); len(writes) > 0 {
		t.Errorf("nothing has happened meanwhile, and it wrote %v", writes)
	}
	fake.runs("east", "cluster-east")
	if _, writes = mustJoin(t, fake, joinOptions(config, isolate)); !slices.Equal(writes, []string{"update root:tmc clusterroles/tmc-syncer-east"}) || mayUse(fake, "east") != "cluster-east" {
		t.Errorf("when it runs with the manifest, it wrote %v, and the account may use %s", writes, mayUse(fake, "east"))
	}

	mustJoin(t, fake, joinOptions(config, inGroup("eu-prod")))
	if fake.stored("root:tmc", "apiexports", "cluster-east") == nil || mayUse(fake, "east") != "group-eu-prod cluster-east" {
		t.Errorf("the view is taken from a syncer that uses it: %s", mayUse(fake, "east"))
	}
	// It makes up its mind before the manifest is applied.
	mustJoin(t, fake, joinOptions(config, inGroup("us-prod")))
	if fake.stored("root:tmc", "apiexports", "group-eu-prod") != nil || mayUse(fake, "east") != "group-us-prod cluster-east" {
		t.Errorf("what nobody has used is there: %s", mayUse(fake, "east"))
	}
	fake.runs("east", "group-us-prod")
	if err := Init(context.Background(), (&recorder{}).options(config)); err != nil {
		t.Fatal(err)
	}
	if fake.stored("root:tmc", "apiexports", "cluster-east") != nil || mayUse(fake, "east") != "group-us-prod" {
		t.Errorf("init leaves what nobody uses: %s", mayUse(fake, "east"))
	}
	if diff := cmp.Diff([]string{"tmc.kcp.io", "group-us-prod"}, tenantExports(fake)); diff != "" {
		t.Errorf("what tenants have bound (-want +got)\n%s", diff)
	}
	_, writes = mustJoin(t, fake, joinOptions(config))
	if want := `patch root:tmc clusterregistrations/east {"spec":{"isolation":"Shared","isolationGroup":null}}`; !slices.Contains(writes, want) {
		t.Errorf("shared again, it wrote %v", writes)
	}
	fake.runs("east", "tmc.kcp.io")
	mustJoin(t, fake, joinOptions(config))
	if fake.stored("root:tmc", "apiexports", "group-us-prod") != nil || mayUse(fake, "east") != "tmc.kcp.io" {
		t.Errorf("the group has no cluster, and the account may use %s", mayUse(fake, "east"))
	}
}

func TestWhatASyncerSaysOfItselfGivesItNothing(t *testing.T) {
	fake, config := initialized(t, "")
	mustJoin(t, fake, joinOptions(config, isolate, func(o *JoinOptions) { o.Cluster = "west" }))
	mustJoin(t, fake, joinOptions(config, isolate))
	for _, export := range []string{"tmc.kcp.io", "cluster-west"} {
		fake.runs("east", export)
		if _, writes := mustJoin(t, fake, joinOptions(config, isolate)); len(writes) > 0 || mayUse(fake, "east") != "cluster-east" {
			t.Errorf("it says that it uses %s, and may use %s", export, mayUse(fake, "east"))
		}
	}
}

func TestASyncerThatDoesNotSayWhatItUsesKeepsAll(t *testing.T) {
	fake, config := initialized(t, "")
	mustJoin(t, fake, joinOptions(config))
	fake.runs("east", "")
	mustJoin(t, fake, joinOptions(config, isolate))
	if may := mayUse(fake, "east"); may != "cluster-east tmc.kcp.io" {
		t.Errorf("it may use %s", may)
	}
}

func TestAClusterWhoseSyncerHasNeverRunChangesAtOnce(t *testing.T) {
	fake, config := initialized(t, "")
	mustJoin(t, fake, joinOptions(config, isolate))
	joined, _ := mustJoin(t, fake, joinOptions(config))
	if len(joined.Former) > 0 || mayUse(fake, "east") != "tmc.kcp.io" || fake.stored("root:tmc", "apiexports", "cluster-east") != nil {
		t.Errorf("got %+v, and it may use %s", joined, mayUse(fake, "east"))
	}
}

func TestInitHasViewsClaimWhatIsServedLater(t *testing.T) {
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
	if err := s.updateViews(context.Background(), "root:tmc"); err != nil {
		t.Fatal(err)
	}
	if resources, _ := claimsOf(fake, "cluster-east"); !slices.Contains(resources, "widgets") {
		t.Errorf("the one that takes all kinds claims %v", resources)
	}
	if resources, _ := claimsOf(fake, "cluster-west"); !slices.Equal(resources, []string{"namespaces", "jobs"}) {
		t.Errorf("the one with kinds claims %v", resources)
	}
	if writes := fake.takeWrites(); !slices.Equal(writes, []string{"update root:tmc apiexports/cluster-east"}) {
		t.Errorf("it wrote %v", writes)
	}
}

func TestNoTokenIsMadeThatIsNotWanted(t *testing.T) {
	fake, config := initialized(t, "")
	mustJoin(t, fake, joinOptions(config, isolate))
	joined, writes := mustJoin(t, fake, joinOptions(config, isolate, func(o *JoinOptions) { o.NoToken = true }))
	if joined.Token != "" || fake.tokens != 1 || len(writes) > 0 {
		t.Errorf("got %q after %d tokens, and writes %v", joined.Token, fake.tokens, writes)
	}
}

func TestViewsThatSomebodyElseHasMadeAreLeftAlone(t *testing.T) {
	fake, config := initialized(t, "")
	mustJoin(t, fake, joinOptions(config, isolate))
	fake.change("root:tmc", "apiexports", "cluster-east", func(fields map[string]any) { delete(fields["metadata"].(map[string]any), "labels") })
	fake.remove("clusterregistrations", "east")
	if err := Unjoin(context.Background(), UnjoinOptions{Options: (&recorder{}).options(config), Cluster: "east"}); err != nil {
		t.Fatal(err)
	}
	if fake.stored("root:tmc", "apiexports", "cluster-east") == nil {
		t.Error("an APIExport without the label is deleted")
	}
}

func TestUnjoinLeavesNoDeadBindings(t *testing.T) {
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
}

func TestBindWhatIsNamed(t *testing.T) {
	_, config := initialized(t, "root:team-a")
	for _, options := range []BindOptions{{IsolatedClusters: []string{"E"}}, {IsolationGroups: []string{"E"}}} {
		options.Options = (&recorder{}).options(config)
		wantError(t, Bind(context.Background(), options), nil, `"E"`)
	}
	err := Bind(context.Background(), BindOptions{Options: (&recorder{}).options(config), IsolationGroups: []string{"eu"}})
	wantError(t, err, apierrors.IsNotFound, "no APIExport group-eu", "kubectl tmc join")
}

func TestKindsOfAView(t *testing.T) {
	kind := func(group, resource string) servedKind {
		return servedKind{GroupResource: schema.GroupResource{Group: group, Resource: resource}}
	}
	served := []servedKind{kind("", "configmaps"), kind("apps", "deployments"), kind("batch", "jobs")}
	for name, tc := range map[string]struct {
		annotations map[string]string
		want        string
	}{
		"NothingIsSaid":    {nil, "configmaps,deployments.apps,jobs.batch"},
		"One":              {map[string]string{"kinds.tmc.kcp.io/east": "jobs.batch"}, "jobs.batch"},
		"Two":              {map[string]string{"kinds.tmc.kcp.io/east": "jobs.batch", "kinds.tmc.kcp.io/west": "configmaps,jobs.batch"}, "configmaps,jobs.batch"},
		"OneTakesAll":      {map[string]string{"kinds.tmc.kcp.io/east": "jobs.batch", "kinds.tmc.kcp.io/west": "*"}, "configmaps,deployments.apps,jobs.batch"},
		"NotServedAnyMore": {map[string]string{"kinds.tmc.kcp.io/east": "gadgets,configmaps"}, "configmaps"},
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

func TestWorkspacesOfTheTenantsTypeAreBoundToWhatJoinsLater(t *testing.T) {
	fake, config := initialized(t, "root:team-a")
	for _, workspace := range []string{"root:typed", "root:barred"} {
		fake.makeTenant(t, config, workspace)
	}
	if err := Bind(context.Background(), BindOptions{Options: (&recorder{}).options(config)}); err != nil {
		t.Fatal(err)
	}
	fake.forbidden["create root:barred/apibindings"] = true
	fake.takeWrites()
	var told recorder
	_, writes := mustJoin(t, fake, joinOptions(config, isolate, func(o *JoinOptions) { o.Options = told.options(config) }))
	bound, registered := slices.Index(writes, "create root:typed apibindings/cluster-east"), slices.Index(writes, "create root:tmc clusterregistrations/east")
	if bound < 0 || bound > registered {
		t.Errorf("the hub learns of the cluster before workspaces are bound: %v", writes)
	}
	if fake.stored("root:team-a", "apibindings", "cluster-east") != nil {
		t.Error("a workspace is bound that is not of the type")
	}
	if len(told.warnings) != 1 || !strings.Contains(told.warnings[0], "in workspace root:barred") || !strings.Contains(told.warnings[0], "kubectl tmc bind --server") {
		t.Errorf("it says %q", told.warnings)
	}
	fake.forbidden = map[string]bool{}
	if err := Init(context.Background(), (&recorder{}).options(config)); err != nil {
		t.Fatal(err)
	}
	if writes := fake.takeWrites(); !slices.Equal(writes, []string{"create root:barred apibindings/cluster-east"}) {
		t.Errorf("init wrote %v", writes)
	}
	// What is claimed anew is accepted anew.
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
	writes = fake.takeWrites()
	slices.Sort(writes)
	if err != nil || !slices.Equal(writes, []string{"update root:barred apibindings/cluster-east", "update root:typed apibindings/cluster-east"}) {
		t.Errorf("got %v, and writes %v", err, writes)
	}
}
