package aggregator

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

func TestAggregatorUnseen(t *testing.T) {
	const hint = " not bound here: kubectl tmc bind, or make the workspace of type root:tmc:tmc-tenant"
	cases := map[string]struct {
		reason  string
		labels  map[string]string
		noted   string
		leftOut map[string]v1alpha1.LeftOut
		want    []protocol.Problem
	}{
		"Seen":                 {"all is well", map[string]string{"cluster.tmc.kcp.io/east": "sync"}, "", nil, nil},
		"not bound any more":   {"what it reports is not renewed", map[string]string{"cluster.tmc.kcp.io/east": "sync"}, "", map[string]v1alpha1.LeftOut{"cluster-east": v1alpha1.LeftOutNotBound}, []protocol.Problem{{Reason: "NotBound", Message: "east is" + hint}}},
		"on one of two":        {"a fleet with an unbound cluster does not look broken", map[string]string{"cluster.tmc.kcp.io/west": "sync"}, `{"leftOut":{"east":"NotBound"}}`, map[string]v1alpha1.LeftOut{"cluster-east": v1alpha1.LeftOutNotBound}, nil},
		"on none":              {"it goes nowhere", nil, `{"leftOut":{"east":"NotBound","west":"NotBound"}}`, nil, []protocol.Problem{{Reason: "NotBound", Message: "east, west are" + hint}}},
		"the kind is not ours": {"its copy is changed no more", map[string]string{"cluster.tmc.kcp.io/few": "sync"}, "", nil, []protocol.Problem{{Reason: "KindNotServed", Message: "few does not take Deployment.apps"}}},
		"not registered":       {"that is said elsewhere", map[string]string{"cluster.tmc.kcp.io/nope": "sync"}, "", map[string]v1alpha1.LeftOut{"": v1alpha1.LeftOutNotBound}, nil},
		"no policies there":    {"what runs is seen as before", map[string]string{"cluster.tmc.kcp.io/east": "sync"}, "", map[string]v1alpha1.LeftOut{"cluster-east": v1alpha1.LeftOutPoliciesMissing}, nil},
		"no policies":          {"nothing enters", nil, `{"leftOut":{"east":"PoliciesMissing"}}`, nil, []protocol.Problem{{Reason: "PoliciesMissing", Message: "nothing new enters east from here until the workspace has tmc's ValidatingAdmissionPolicies as they were made: tmc-controller puts them in"}}},
		"not accepted":         {"his binding is of before the upgrade", nil, `{"leftOut":{"east":"PoliciesNotAccepted"}}`, nil, []protocol.Problem{{Reason: "PoliciesNotAccepted", Message: "nothing new enters east from here, for the workspace's APIBinding tmc.kcp.io does not accept the claims on ValidatingAdmissionPolicies: kubectl tmc bind"}}},
		"Tampered":             {"it is written again", nil, `{"leftOut":7`, nil, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeHub()
			f.leftOut = tc.leftOut
			f.clusters = map[string]placement.Cluster{
				"east": {Name: "east", Export: "cluster-east"}, "west": {Name: "west", Export: "cluster-west"},
				"few": {Name: "few", Export: v1alpha1.APIExportName, Resources: sets.New("configmaps/v1")},
			}
			key := f.add("ws", deployments, "Deployment", "web", annotated(v1alpha1.PlacementAnnotation, tc.noted), func(obj *unstructured.Unstructured) { obj.SetLabels(tc.labels) })
			a := f.aggregator()
			a.seen.unplaced(key, began.Add(-time.Hour))
			if diff := cmp.Diff(tc.want, a.unseen(key, f.objects[key])); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if _, err := a.sync(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			if len(f.written) != 1 {
				t.Errorf("its status is written %d times", len(f.written))
			}
		})
	}
}

// mounting has a workload run pods that mount a ConfigMap.
func mounting(name string, optional bool) change {
	return func(obj *unstructured.Unstructured) {
		volume := map[string]any{"name": "v", "configMap": map[string]any{"name": name, "optional": optional}}
		spec := map[string]any{"containers": []any{}, "volumes": []any{volume}}
		obj.Object["spec"] = map[string]any{"template": map[string]any{"spec": spec}}
	}
}

func TestAggregatorMissing(t *testing.T) {
	cases := map[string]struct {
		name     string
		optional bool
		placed   change
		settings []change // of the ConfigMap "settings"
		leftOut  v1alpha1.LeftOut
		want     string
	}{
		"what does not exist":                   {name: "none", placed: on("east"), want: `it names configmaps "none", which does not exist`},
		"what is optional is not missed":        {name: "none", optional: true, placed: on("east")},
		"what is placed nowhere misses nothing": {name: "none", placed: on()},
		"what is there":                         {name: "settings", placed: on("east"), settings: []change{on("east")}},
		"what is never synced":                  {name: "kube-root-ca.crt", placed: on("east")},
		"what is kept elsewhere by its annotation": {
			name: "settings", placed: on("east", "west"), settings: []change{on("east"), annotated(v1alpha1.TargetClustersAnnotation, "east")},
			want: `it names configmaps "settings", which is not placed on cluster west: its annotation tmc.kcp.io/target-clusters is "east"`,
		},
		"what cannot enter the cluster": {
			name: "settings", placed: on("east"), settings: []change{on()}, leftOut: v1alpha1.LeftOutKindNotAccepted,
			want: `it names configmaps "settings", which is not placed on cluster east: east is bound here without ConfigMap: kubectl tmc bind`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeHub()
			f.clusters = map[string]placement.Cluster{"east": {Name: "east", Export: "cluster-east"}}
			f.leftOut = map[string]v1alpha1.LeftOut{"cluster-east": tc.leftOut}
			key := f.add("ws", deployments, "Deployment", "web", mounting(tc.name, tc.optional), tc.placed)
			f.add("ws", configMaps, "ConfigMap", "settings", tc.settings...)
			var got []string
			for _, problem := range f.aggregator().missing(key, f.objects[key]) {
				got = append(got, problem.Reason+": "+problem.Message)
			}
			want := "MissingDependency: " + tc.want
			if text := strings.Join(got, "; "); text != want && (tc.want != "" || text != "") {
				t.Errorf("got %q, want %q", text, want)
			}
		})
	}
	t.Run("what clusters make", func(t *testing.T) {
		for name, tc := range map[string]struct {
			east, west []string
			settings   []change // of the ConfigMap "made", nil where there is none
			want       string
		}{
			"by nobody":                {want: `it names configmaps "made", which does not exist`},
			"by both":                  {east: []string{"configmaps/made"}, west: []string{"app/configmap/m*"}},
			"by one":                   {east: []string{"configmaps/made"}, want: `it names configmaps "made", which does not exist, and which is not made by cluster west`},
			"of another name":          {east: []string{"configmaps/other"}, west: []string{"secrets/made", "nonsense"}, want: `it names configmaps "made", which does not exist`},
			"where it may not go":      {east: []string{"configmaps/made"}, settings: []change{on("west"), annotated(v1alpha1.TargetClustersAnnotation, "west")}},
			"where it may go, but not": {east: []string{"configmaps/made"}, settings: []change{on(), annotated(v1alpha1.TargetClustersAnnotation, "")}, want: `it names configmaps "made", which is not placed on cluster west: its annotation tmc.kcp.io/target-clusters is ""`},
		} {
			f := newFakeHub()
			f.clusters = map[string]placement.Cluster{"east": {Name: "east", Provides: tc.east}, "west": {Name: "west", Provides: tc.west}}
			key := f.add("ws", deployments, "Deployment", "web", mounting("made", false), on("east", "west"))
			if tc.settings != nil {
				f.add("ws", configMaps, "ConfigMap", "made", tc.settings...)
			}
			got := ""
			for _, problem := range f.aggregator().missing(key, f.objects[key]) {
				got += problem.Message
			}
			if got != tc.want {
				t.Errorf("%s: got %q, want %q", name, got, tc.want)
			}
		}
	})
	t.Run("what its user says that clusters make", func(t *testing.T) {
		f := newFakeHub()
		key := f.add("ws", deployments, "Deployment", "web", mounting("made", false), on("east"), annotated(v1alpha1.ProvidedByClusterAnnotation, "cm/made,secert/a,b"))
		if _, err := f.aggregator().sync(t.Context(), key); err != nil || len(f.told) != 2 {
			t.Fatalf("%v: %q", err, f.told)
		}
		for i, want := range []string{`"b", expected KIND/NAME`, `"secert" is no kind that kcp serves here`} {
			if !strings.HasPrefix(f.told[i], "ws: InvalidProvidedByCluster: annotation tmc.kcp.io/provided-by-cluster: ") || !strings.Contains(f.told[i], want) {
				t.Errorf("told %q, want %q", f.told[i], want)
			}
		}
		if problems := f.aggregator().missing(key, f.objects[key]); problems != nil {
			t.Errorf("it misses %v", problems)
		}
	})
	t.Run("a Secret that is never synced", func(t *testing.T) {
		f := newFakeHub()
		key := f.add("ws", deployments, "Deployment", "web", mounting("openshift-service-ca.crt", false), on("east"))
		f.add("ws", configMaps, "ConfigMap", "openshift-service-ca.crt")
		if got := f.aggregator().missing(key, f.objects[key]); len(got) != 1 || !strings.Contains(got[0].Message, "which is never synced: ") {
			t.Errorf("got %v", got)
		}
	})
}
