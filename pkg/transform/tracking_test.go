package transform

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestTrackersKeysAreSortedAndDocumented(t *testing.T) {
	document, err := os.ReadFile("../../docs/adapting.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, tracker := range Trackers() {
		if !slices.IsSorted(tracker.Keys) {
			t.Errorf("%s: %q", tracker.Name, tracker.Keys)
		}
		for _, key := range tracker.Keys {
			domain, name, _ := strings.Cut(key, "/")
			if seen[key] || isWritten(key) || validateDrops([]string{key}, nil) != nil || strings.HasPrefix(key, "app.kubernetes.io/") {
				t.Errorf("%s: %s is there twice, or cannot be, or is a plain label", tracker.Name, key)
			}
			seen[key] = true
			if !strings.Contains(string(document), "`"+domain+"/`") || !strings.Contains(string(document), "`"+name+"`") {
				t.Errorf("docs/adapting.md lacks %s of %s", key, tracker.Name)
			}
		}
	}
}

// tracked is an object with the marks of several tools, wherever labels and annotations may be.
const tracked = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: front
  namespace: default
  labels:
    app: front
    team: a
    example.com/tier: web
    app.kubernetes.io/instance: front
    app.kubernetes.io/managed-by: Helm
    applyset.kubernetes.io/part-of: applyset-x-v1
    argocd.argoproj.io/instance: front
    kustomize.toolkit.fluxcd.io/name: apps
    kustomize.toolkit.fluxcd.io/namespace: flux-system
  annotations:
    note: hi
    example.com/owner: us
    argocd.argoproj.io/sync-options: Prune=false
    argocd.argoproj.io/tracking-id: "front:apps/Deployment:default/front"
    kustomize.toolkit.fluxcd.io/prune: disabled
    meta.helm.sh/release-name: front
    meta.helm.sh/release-namespace: default
    helm.sh/hook: post-install
spec:
  selector: {matchLabels: {app: front, applyset.kubernetes.io/part-of: x, team: a}}
  template:
    metadata:
      labels: {app: front, applyset.kubernetes.io/part-of: x, team: a}
      annotations: {"argocd.argoproj.io/tracking-id": pods}
    spec: {containers: []}
`

func TestMarksOfDeploymentToolsStayUpstream(t *testing.T) {
	ours := map[string]string{"argocd.argoproj.io/instance": "clusters"}
	cases := map[string]struct {
		reason, rule, override string
		// lost are keys that are not there beside the tools', kept what is there although it is theirs, or is there with that value.
		lost []string
		kept map[string]string
	}{
		"no rule":             {reason: "exactly the tools' own marks stay"},
		"keys":                {"whole keys, not those that begin alike", "dropLabels: [team, app.kubernetes.io/instance, ap]\ndropAnnotations: [note]", "", []string{"team", "app.kubernetes.io/instance", "note"}, nil},
		"domains":             {"all of a domain, and no other", "dropLabels: [example.com/, kubernetes.io/]\ndropAnnotations: [example.com/, com/]", "", []string{"example.com/tier", "example.com/owner"}, nil},
		"each its own":        {"labels are not annotations", "dropLabels: [note]\ndropAnnotations: [team]", "", nil, nil},
		"added and dropped":   {"what the rule adds stays", "dropLabels: [team]\nlabels: {team: a, argocd.argoproj.io/instance: clusters}", "", nil, ours},
		"an override adds":    {"it comes after the rule", "dropLabels: [team]", `[{"op":"add","path":"/metadata/labels/team","value":"b"},{"op":"add","path":"/metadata/labels/argocd.argoproj.io~1instance","value":"clusters"}]`, nil, map[string]string{"team": "b", "argocd.argoproj.io/instance": "clusters"}},
		"an override removes": {"overrides that were written before marks stayed upstream do not fail", "", `[{"op":"test","path":"/metadata/annotations/argocd.argoproj.io~1tracking-id","value":"front:apps/Deployment:default/front"},{"op":"remove","path":"/metadata/annotations/argocd.argoproj.io~1tracking-id"},{"op":"remove","path":"/metadata/labels/team"}]`, []string{"team"}, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := object(t, tracked)
			if tc.override != "" {
				annotations := obj.GetAnnotations()
				annotations[v1alpha1.OverrideAnnotation("east")] = tc.override
				obj.SetAnnotations(annotations)
			}
			got := transformed(t, inputOf(obj, ruleOf(t, tc.rule)))
			want := parsed(t, tracked)
			for _, field := range []string{"labels", "annotations"} {
				entries := child(want, "metadata", field)
				maps.DeleteFunc(entries, func(key string, _ any) bool { return trackingKeys.Has(key) || slices.Contains(tc.lost, key) })
				if field == "labels" {
					for key, value := range tc.kept {
						entries[key] = value
					}
				}
			}
			if diff := cmp.Diff(content(&unstructured.Unstructured{Object: want}), content(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestMarksChangeNoOtherCopy(t *testing.T) {
	plain := object(t, tracked)
	for _, field := range []string{"labels", "annotations"} {
		maps.DeleteFunc(child(plain.Object, "metadata", field), func(key string, _ any) bool { return trackingKeys.Has(key) })
	}
	want := transformed(t, inputOf(plain, v1alpha1.TransformRule{}))
	got := transformed(t, inputOf(plain, ruleOf(t, "dropLabels: [absent]\ndropAnnotations: [absent.example.com/]")))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("an upgrade, or a rule that drops nothing, would write it anew (-want +got):\n%s", diff)
	}
	// The last of its labels is a mark: the map stays, as it does where there has been none.
	bare := object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {labels: {applyset.kubernetes.io/part-of: x}, annotations: {"example.com/a": null}}}`)
	got = transformed(t, inputOf(bare, ruleOf(t, "dropAnnotations: [example.com/]")))
	if diff := cmp.Diff(map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}, content(got)); diff != "" {
		t.Errorf("a null counts as the empty text (-want +got):\n%s", diff)
	}
}

func TestMarksOfNamespacesStayUpstream(t *testing.T) {
	upstream := BareNamespace("team")
	upstream.SetLabels(map[string]string{"team": "a", "example.com/tier": "b", "applyset.kubernetes.io/part-of": "x", "argocd.argoproj.io/managed-by": "argocd"})
	cases := map[string]struct {
		reason, rule string
		want         []string
	}{
		"All":              {"everything is not the marks of tools", "namespaceLabels: ['*']", []string{"example.com/tier", "team"}},
		"named":            {"who names them wants them", "namespaceLabels: [applyset.kubernetes.io/part-of, argocd.argoproj.io/*]", []string{"applyset.kubernetes.io/part-of", "argocd.argoproj.io/managed-by"}},
		"named and all":    {"likewise", "namespaceLabels: ['*', applyset.kubernetes.io/part-of]", []string{"applyset.kubernetes.io/part-of", "example.com/tier", "team"}},
		"dropped":          {"to drop wins over to let down", "namespaceLabels: ['*', team]\ndropLabels: [team, example.com/]", nil},
		"added":            {"and to add over both", "namespaceLabels: ['*']\ndropLabels: [team, example.com/]\nlabels: {team: b}", []string{"team"}},
		"of the other map": {"labels are no annotations", "namespaceLabels: [team]\ndropAnnotations: [team]", []string{"team"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := DesiredNamespace(upstream, Origin{Workspace: "ws", Name: "team", Cluster: "east"}, ruleOf(t, tc.rule))
			if err != nil {
				t.Fatal(err)
			}
			labels := got.GetLabels()
			maps.DeleteFunc(labels, func(key, _ string) bool { return v1alpha1.IsMark(key) })
			if diff := cmp.Diff(tc.want, slices.Sorted(maps.Keys(labels)), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestIsRecord(t *testing.T) {
	cases := map[string]bool{
		"{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: shop}}":                                                                   false,
		"{apiVersion: v1, kind: Secret, metadata: {name: sh.helm.release.v1.web.v3, namespace: shop}, type: helm.sh/release.v1}":                 true,
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: sh.helm.release.v1.web.v3, namespace: shop}}":                                        true,
		"{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: shop, labels: {applyset.kubernetes.io/id: x}}}":                           true,
		"{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: shop, labels: {applyset.kubernetes.io/part-of: x}}}":                      false,
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop, labels: {kapp.k14s.io/is-app: ''}}}":                             true,
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop, annotations: {control-plane.alpha.kubernetes.io/leader: '{}'}}}": true,
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt, namespace: shop}}":                                                 true,
		"{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: kube-public}}":                                                         true,
	}
	for text, want := range cases {
		if got := IsRecord(object(t, text)); got != want {
			t.Errorf("%s: %t, want %t", text, got, want)
		}
	}
}
