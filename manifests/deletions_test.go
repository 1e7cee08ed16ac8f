package manifests

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/kcp-tmc/tmc/manifests/policytest"
)

// going is an object that two clusters are letting go of.
const going = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  uid: 0f3e
  generation: 2
  deletionTimestamp: "2026-01-02T03:04:05Z"
  labels: {app: web}
  annotations: {team: blue}
  finalizers: [syncer.tmc.kcp.io/west, syncer.tmc.kcp.io/east]
  managedFields: [{manager: kubectl, operation: Update}]
spec: {replicas: 3, template: {spec: {containers: [{name: app, image: web:1}]}}}
status: {replicas: 3}
`

// letsGo is what whoever writes to it is told.
const letsGo = "Deployment web is being deleted, and its clusters are letting go of it (west, east); try again in a moment"

func TestDeletionsPolicy(t *testing.T) {
	const (
		theirs  = "metadata: {finalizers: [syncer.tmc.kcp.io/west, example.com/drain, syncer.tmc.kcp.io/east]}"
		servers = "metadata: {finalizers: [syncer.tmc.kcp.io/west, syncer.tmc.kcp.io/east, orphan, apis.kcp.io/x, tmc.kcp.io/y]}"
		scaled  = "spec: {replicas: 4}"
	)
	cases := map[string]struct {
		before, patch, manager string
		// want is the message, empty when it is not denied.
		want string
	}{
		"the spec is not changed":                {"", scaled, "", letsGo},
		"nor is a field taken away":              {"", "spec: null", "", letsGo},
		"nor one added":                          {"", "data: {a: b}", "", letsGo},
		"whoever does it":                        {"", scaled, "kubectl-edit", letsGo},
		"also with metadata":                     {"", "{spec: {replicas: 4}, metadata: {labels: {app: api}}}", "", letsGo},
		"also with a finalizer less":             {"", "{spec: {replicas: 4}, metadata: {finalizers: [syncer.tmc.kcp.io/west]}}", "", letsGo},
		"also with finalizers of the server":     {servers, scaled, "", letsGo},
		"what changes nothing is an apply":       {"", "{}", "helm", letsGo},
		"of whomever":                            {"", "{}", "", letsGo},
		"also if kcp's cache has a key":          {"metadata: {annotations: {kcp.io/original-api-version: apps/v1}}", "metadata: {annotations: {kcp.io/original-api-version: null}}", "argocd-controller", letsGo},
		"whoever it is":                          {"", "metadata: {annotations: {kcp.io/original-api-version: apps/v1, kcp.io/shard: one}}", "", letsGo},
		"another key of its domain may come":     {"", "metadata: {annotations: {kcp.io/path: 'root:a'}}", "", ""},
		"also if it owns other fields then":      {"", "metadata: {managedFields: [{manager: helm, operation: Apply}]}", "argocd-controller", letsGo},
		"helm changes labels for it to last":     {"", "metadata: {labels: {helm.sh/chart: h-2}}", "helm", letsGo},
		"so does Flux":                           {"", "metadata: {labels: {a: b}}", "helm-controller", letsGo},
		"so does a server-side apply":            {"", "metadata: {annotations: {team: red}}", "kubectl", letsGo},
		"so does a client-side one":              {"", "metadata: {annotations: {team: red}}", "kubectl-client-side-apply", letsGo},
		"an apply that takes finalizers off may": {"", "metadata: {finalizers: [syncer.tmc.kcp.io/west]}", "kubectl", ""},
		"an annotation may be changed":           {"", "metadata: {annotations: {team: red}}", "kubectl-annotate", ""},
		"a label may":                            {"", "metadata: {labels: {app: api}}", "", ""},
		"an owner may":                           {"", "metadata: {ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: o, uid: u}]}", "", ""},
		"finalizers may":                         {"", "metadata: {finalizers: [syncer.tmc.kcp.io/west]}", "", ""},
		"somebody else's finalizer keeps it":     {theirs, scaled, "", ""},
		"then an apply may change nothing":       {theirs, "{}", "helm", ""},
		"then that finalizer may go":             {theirs, "metadata: {finalizers: [syncer.tmc.kcp.io/west, syncer.tmc.kcp.io/east]}", "", ""},
		"what no cluster holds is kcp's matter":  {"metadata: {finalizers: [orphan]}", scaled, "", ""},
		"what has no finalizers as well":         {"metadata: {finalizers: null}", scaled, "", ""},
		"what is not being deleted is changed":   {"metadata: {deletionTimestamp: null}", scaled, "", ""},
		"a status is of no matter":               {"", "{status: {replicas: 4}, metadata: {annotations: {team: red}}}", "", ""},
		"the message names whom it can name":     {"metadata: {finalizers: [syncer.tmc.kcp.io/a, tmc.kcp.io/b]}", scaled, "", strings.Replace(letsGo, "west, east", "a", 1)},
		"a name that looks like kcp's is not":    {"metadata: {finalizers: [syncer.tmc.kcp.io/a, notkcp.io/b]}", scaled, "", ""},
	}
	policy := newJudge(t, "tmc-deletions")
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := patched(t, object(t, going), tc.before)
			r := policytest.Request{Resource: deploymentsResource, Before: before, After: patched(t, before, tc.patch), Manager: tc.manager}
			for _, r.User = range []user.Info{
				&user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}},
				&user.DefaultInfo{Name: "kcp-admin", Groups: []string{"system:kcp:admin"}},
				serviceAccount("consumer", "default", "tmc-controller"),
			} {
				if got := judgedQuickly(t, policy, r).Message(); got != tc.want {
					t.Errorf("%s: got %q, want %q", r.User.GetName(), got, tc.want)
				}
			}
			for _, r.User = range []user.Info{serviceAccount(provider, "default", "tmc-controller"), serviceAccount(provider, "tmc-syncers", "east")} {
				if got := policy.Judge(t, r).Message(); got != "" {
					t.Errorf("%s: got %q", r.User.GetName(), got)
				}
			}
		})
	}
}

func TestDeletionsPolicyKeepsWishes(t *testing.T) {
	const stay = "the finalizers orphan and foregroundDeletion stay until tmc has noted them"
	cases := map[string]struct{ finalizers, note, left, want string }{
		"orphan is not noted":                    {"orphan, syncer.tmc.kcp.io/a", "", "syncer.tmc.kcp.io/a", stay},
		"orphan is noted":                        {"orphan, syncer.tmc.kcp.io/a", "Orphan", "syncer.tmc.kcp.io/a", ""},
		"something else is noted":                {"orphan, syncer.tmc.kcp.io/a", "Foreground", "syncer.tmc.kcp.io/a", stay},
		"foreground is not noted":                {"foregroundDeletion, syncer.tmc.kcp.io/a", "", "syncer.tmc.kcp.io/a", stay},
		"foreground is noted":                    {"foregroundDeletion, syncer.tmc.kcp.io/a", "Foreground", "syncer.tmc.kcp.io/a", ""},
		"it is to be orphaned by now":            {"foregroundDeletion, syncer.tmc.kcp.io/a", "Orphan", "syncer.tmc.kcp.io/a", ""},
		"something else goes":                    {"orphan, syncer.tmc.kcp.io/a, example.com/x", "", "orphan, syncer.tmc.kcp.io/a", ""},
		"nobody holds it":                        {"orphan", "", "", ""},
		"somebody else's finalizer is no matter": {"orphan, syncer.tmc.kcp.io/a, example.com/x", "", "syncer.tmc.kcp.io/a, example.com/x", stay},
		"all go":                                 {"orphan, syncer.tmc.kcp.io/a", "", "", stay},
	}
	policy := newJudge(t, "tmc-deletions")
	collector := &user.DefaultInfo{Name: "system:apiserver", Groups: []string{"system:masters"}}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := patched(t, object(t, going), "metadata: {annotations: {tmc.kcp.io/propagation: '"+tc.note+"'}, finalizers: ["+tc.finalizers+"]}")
			after := patched(t, before, "metadata: {finalizers: ["+tc.left+"]}")
			if tc.note == "" {
				before, after = patched(t, before, "metadata: {annotations: null}"), patched(t, after, "metadata: {annotations: null}")
			}
			r := policytest.Request{User: collector, Resource: deploymentsResource, Before: before, After: after}
			if got := policy.Judge(t, r).Message(); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestDeletionsPolicyOfAConfigMap(t *testing.T) {
	before := object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: shop, deletionTimestamp: '2026-01-02T03:04:05Z', finalizers: [syncer.tmc.kcp.io/a]}, data: {a: b}}")
	r := policytest.Request{
		User: &user.DefaultInfo{Name: "alice"}, Resource: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"},
		Before: before, After: patched(t, before, "data: {a: c}"),
	}
	if got := newJudge(t, "tmc-deletions").Judge(t, r).Message(); !strings.HasPrefix(got, "ConfigMap c is being deleted") {
		t.Errorf("got %q", got)
	}
}

func TestDeletionsPolicyCost(t *testing.T) {
	policy := newJudge(t, "tmc-deletions")
	many := func(name string) *unstructured.Unstructured {
		obj := object(t, going)
		for i := range 5000 { // of before there were bounds
			obj.SetFinalizers(append(obj.GetFinalizers(), fmt.Sprintf(name, i)))
		}
		return obj
	}
	for what, before := range map[string]*unstructured.Unstructured{"somebody's": many("example.com/f%d"), "clusters'": many("syncer.tmc.kcp.io/c%d")} {
		t.Run(what, func(t *testing.T) {
			r := policytest.Request{User: &user.DefaultInfo{Name: "alice"}, Resource: deploymentsResource, Before: before, After: patched(t, before, "spec: {replicas: 4}")}
			verdict := judgedQuickly(t, policy, r)
			if isTheirs := what == "somebody's"; verdict.Denied() == isTheirs {
				t.Errorf("got %q", verdict.Message())
			}
		})
	}
}
