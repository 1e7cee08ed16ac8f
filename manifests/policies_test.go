package manifests

import (
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/kcp-dev/logicalcluster/v3"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/authentication/user"
	"sigs.k8s.io/yaml"

	"github.com/kcp-tmc/tmc/manifests/policytest"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/yamltest"
)

// provider is the logical cluster of the provider workspace in all specs.
const provider logicalcluster.Name = "provider"

// oldestCEL is what kcp v0.31 takes of new policies: it is made from Kubernetes v1.35, and one version behind that.
var oldestCEL = version.MajorMinor(1, 34)

// newJudge returns the policy of a name. It fails the test when an API server would not take the policy.
func newJudge(t *testing.T, name string) *policytest.Policy {
	t.Helper()
	return policytest.Compile(t, policyOf(t, name), oldestCEL)
}

// policyOf returns an embedded policy, and fails the test unless a binding enforces it everywhere.
func policyOf(t *testing.T, name string) *admissionregistrationv1.ValidatingAdmissionPolicy {
	t.Helper()
	objects := allPolicies(t)
	var policy *admissionregistrationv1.ValidatingAdmissionPolicy
	bound := false
	for _, object := range objects {
		switch object.GetKind() {
		case "ValidatingAdmissionPolicy":
			if object.GetName() == name {
				policy = into[admissionregistrationv1.ValidatingAdmissionPolicy](t, object)
			}
		case "ValidatingAdmissionPolicyBinding":
			spec := into[admissionregistrationv1.ValidatingAdmissionPolicyBinding](t, object).Spec
			bound = bound || spec.PolicyName == name && spec.MatchResources == nil && slices.Contains(spec.ValidationActions, admissionregistrationv1.Deny)
		}
	}
	if policy == nil || !bound {
		t.Fatalf("there is no policy %s, or no binding that denies by it", name)
	}
	return policy
}

// into returns the object as its Go type. It is strict: a field that is misspelt would hold nothing back.
func into[T any](t *testing.T, object *unstructured.Unstructured) *T {
	t.Helper()
	result := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, result, true); err != nil {
		t.Fatalf("%s %s: %v", object.GetKind(), object.GetName(), err)
	}
	return result
}

// By these, kcp says in which workspace a ServiceAccount is.
const (
	whose  = "authentication.kcp.io/cluster-name"
	scopes = "authentication.kcp.io/scopes"
)

// serviceAccount returns a ServiceAccount as kcp describes it, in whatever workspace it makes a request.
func serviceAccount(workspace logicalcluster.Name, namespace, name string) *user.DefaultInfo {
	return &user.DefaultInfo{
		Name:   "system:serviceaccount:" + namespace + ":" + name,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
		Extra:  map[string][]string{whose: {workspace.String()}, scopes: {"cluster:" + workspace.String()}},
	}
}

// placed is an object that is on east and on west, and reported by both.
const placed = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  uid: 0f3e
  generation: 2
  resourceVersion: "7"
  labels: {app: web, cluster.tmc.kcp.io/east: sync, cluster.tmc.kcp.io/west: sync, group.tmc.kcp.io/eu: sync}
  annotations:
    kcp.io/cluster: abc
    team: blue
    tmc.kcp.io/placement: '{}'
    replicas.tmc.kcp.io/west: "2"
    status.tmc.kcp.io/west: '{"v":1}'
    deletion.tmc.kcp.io/west: "2026-01-02T03:04:05Z"
  finalizers: [syncer.tmc.kcp.io/west, example.com/theirs]
  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owner, uid: 1a2b}]
  managedFields: [{manager: kubectl, operation: Update}]
spec: {replicas: 3, template: {spec: {containers: [{name: app, image: web:1}]}}}
status: {replicas: 3}
`

// object reads an object from YAML.
var object = yamltest.Object

var deploymentsResource = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

// patched returns the object with a merge patch, in YAML.
func patched(t *testing.T, before *unstructured.Unstructured, patch string) *unstructured.Unstructured {
	t.Helper()
	if patch == "" {
		return before
	}
	original, err := before.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	change, err := yaml.YAMLToJSON([]byte(patch))
	if err != nil {
		t.Fatal(err)
	}
	merged, err := jsonpatch.MergePatch(original, change)
	if err != nil {
		t.Fatal(err)
	}
	return object(t, string(merged))
}

func TestSyncersPolicyAllows(t *testing.T) {
	east := serviceAccount(provider, "tmc-syncers", "east")
	tests := map[string]struct {
		reason, before, patch string
	}{
		"a report":                 {patch: "metadata: {annotations: {status.tmc.kcp.io/east: '{}'}}"},
		"the longest report":       {patch: "metadata: {annotations: {status.tmc.kcp.io/east: '" + strings.Repeat("x", protocol.MaxReportSize) + "'}}"},
		"another report":           {before: "metadata: {annotations: {status.tmc.kcp.io/east: old}}", patch: "metadata: {annotations: {status.tmc.kcp.io/east: new}}"},
		"its finalizer":            {patch: "metadata: {finalizers: [syncer.tmc.kcp.io/west, example.com/theirs, syncer.tmc.kcp.io/east]}"},
		"its finalizer, first of":  {patch: "metadata: {finalizers: [syncer.tmc.kcp.io/east, syncer.tmc.kcp.io/west, example.com/theirs]}"},
		"its finalizer and report": {reason: "that is how it lets go", before: "metadata: {annotations: {status.tmc.kcp.io/east: old}, finalizers: [syncer.tmc.kcp.io/east]}", patch: "metadata: {annotations: {status.tmc.kcp.io/east: null}, finalizers: null}"},
		"the first annotation":     {before: "metadata: {annotations: null}", patch: "metadata: {annotations: {status.tmc.kcp.io/east: '{}'}}"},
		"the last annotation":      {before: "metadata: {annotations: {team: null, kcp.io/cluster: null, tmc.kcp.io/placement: null, replicas.tmc.kcp.io/west: null, status.tmc.kcp.io/west: null, deletion.tmc.kcp.io/west: null, status.tmc.kcp.io/east: x}}", patch: "metadata: {annotations: null}"},
		"nothing":                  {patch: "{}"},
		"who owns which fields":    {reason: "it follows from what is written", patch: "metadata: {managedFields: [{manager: tmc-syncer, operation: Update}]}"},
		"what kcp had written into the old one": {
			reason: "it is in its cache since a restart", before: "metadata: {annotations: {kcp.io/original-api-version: apps/v1, kcp.io/shard: one}}",
			patch: "metadata: {annotations: {kcp.io/original-api-version: null, kcp.io/shard: null, status.tmc.kcp.io/east: '{}'}, finalizers: [syncer.tmc.kcp.io/west, example.com/theirs]}",
		},
		"what kcp has written into the new one": {reason: "it was read with it", patch: "metadata: {annotations: {kcp.io/original-api-version: apps/v1, kcp.io/cluster: abc, status.tmc.kcp.io/east: '{}'}}"},
		"what kcp labels by itself":             {reason: "whoever writes first after a change of the claims", patch: "metadata: {labels: {claimed.internal.apis.kcp.io/abc: def}}"},
		"on an object that is on its way out": {
			before: "metadata: {deletionTimestamp: '2026-01-02T03:04:05Z', deletionGracePeriodSeconds: 0, finalizers: [syncer.tmc.kcp.io/east]}",
			patch:  "metadata: {finalizers: null}",
		},
	}
	policy := newJudge(t, "tmc-syncers")
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before := patched(t, object(t, placed), tc.before)
			r := policytest.Request{User: east, Resource: deploymentsResource, Before: before, After: patched(t, before, tc.patch)}
			if denied := policy.Judge(t, r).Message(); denied != "" {
				t.Errorf("denied: %s; %s", denied, tc.reason)
			}
		})
	}
}

func TestSyncersPolicyDenies(t *testing.T) {
	tests := map[string]struct{ patch, says string }{
		"the spec":                 {"spec: {replicas: 4}", "outside of metadata"},
		"deep in the spec":         {"spec: {template: {spec: {containers: [{name: app, image: web:2}]}}}", "outside of metadata"},
		"a field that is new":      {"data: {a: b}", "outside of metadata"},
		"a field that was there":   {"spec: null", "outside of metadata"},
		"the status":               {"status: {replicas: 4}", "outside of metadata"},
		"the kind":                 {"kind: StatefulSet", "outside of metadata"},
		"a label":                  {"metadata: {labels: {app: api}}", "labels"},
		"its own placement":        {"metadata: {labels: {cluster.tmc.kcp.io/east: null}}", "labels"},
		"its group's label":        {"metadata: {labels: {group.tmc.kcp.io/eu: null}}", "labels"},
		"a placement":              {"metadata: {labels: {cluster.tmc.kcp.io/north: sync}}", "labels"},
		"all labels":               {"metadata: {labels: null}", "labels"},
		"the owner":                {"metadata: {ownerReferences: null}", "owners"},
		"an owner":                 {"metadata: {ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: other, uid: 3c}]}", "owners"},
		"the name to begin with":   {"metadata: {generateName: a-}", "anything else in metadata"},
		"another's report":         {"metadata: {annotations: {status.tmc.kcp.io/west: '{}'}}", "status.tmc.kcp.io/east"},
		"a report of nobody":       {"metadata: {annotations: {status.tmc.kcp.io/north: '{}'}}", "status.tmc.kcp.io/east"},
		"no report of another":     {"metadata: {annotations: {status.tmc.kcp.io/west: null}}", "status.tmc.kcp.io/east"},
		"an annotation":            {"metadata: {annotations: {tmc.kcp.io/target-clusters: east}}", "status.tmc.kcp.io/east"},
		"a part of a partition":    {"metadata: {annotations: {partition.tmc.kcp.io/east: '0/3'}}", "status.tmc.kcp.io/east"},
		"a share":                  {"metadata: {annotations: {replicas.tmc.kcp.io/east: '3'}}", "status.tmc.kcp.io/east"},
		"another version":          {"metadata: {annotations: {kcp.io/original-api-version: apps/v9}}", "status.tmc.kcp.io/east"},
		"another key of kcp's":     {"metadata: {annotations: {kcp.io/path: 'root:theirs'}}", "status.tmc.kcp.io/east"},
		"a key like kcp's":         {"metadata: {annotations: {kcp.io/original-api-versions: apps/v1}}", "status.tmc.kcp.io/east"},
		"kcp's and another":        {"metadata: {annotations: {kcp.io/original-api-version: apps/v1, team: red}}", "status.tmc.kcp.io/east"},
		"no annotations":           {"metadata: {annotations: null}", "status.tmc.kcp.io/east"},
		"a report that is too big": {"metadata: {annotations: {status.tmc.kcp.io/east: '" + strings.Repeat("x", protocol.MaxReportSize+1) + "'}}", "16 KiB"},
		"another's finalizer":      {"metadata: {finalizers: [syncer.tmc.kcp.io/west, example.com/theirs, syncer.tmc.kcp.io/north]}", "syncer.tmc.kcp.io/east"},
		"no finalizer of another":  {"metadata: {finalizers: [example.com/theirs]}", "syncer.tmc.kcp.io/east"},
		"no finalizers":            {"metadata: {finalizers: null}", "syncer.tmc.kcp.io/east"},
	}
	policy := newJudge(t, "tmc-syncers")
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before := object(t, placed)
			r := policytest.Request{Resource: deploymentsResource, Before: before, After: patched(t, before, tc.patch)}
			for _, r.User = range []user.Info{
				serviceAccount(provider, "tmc-syncers", "east"),
				impersonated(provider, "tmc-syncers", "east"),
			} {
				if denied := policy.Judge(t, r).Message(); !strings.Contains(denied, tc.says) {
					t.Errorf("got %q, want it denied with %q", denied, tc.says)
				}
			}
			for _, other := range others() {
				r.User = other
				if denied := policy.Judge(t, r).Message(); denied != "" {
					t.Errorf("%s of %v is taken for a syncer: %s", other.GetName(), other.GetExtra(), denied)
				}
			}
		})
	}
}

// others are users that are no syncers, however they are called.
func others() []user.Info {
	return []user.Info{
		serviceAccount("consumer", "tmc-syncers", "east"),
		serviceAccount(provider, "default", "tmc-controller"),
		serviceAccount(provider, "tmc-syncers-too", "east"),
		&user.DefaultInfo{Name: "system:serviceaccount:tmc-syncers:east", Groups: []string{"system:authenticated"}},
		&user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}},
	}
}

func TestSyncersPolicyElsewhere(t *testing.T) {
	report := "metadata: {annotations: {status.tmc.kcp.io/east: '{}'}}"
	on := func(text string) *unstructured.Unstructured { return object(t, text) }
	update := func(before *unstructured.Unstructured) policytest.Request {
		return policytest.Request{Before: before, After: patched(t, before, report)}
	}
	gvr := func(group, version, resource string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Group: group, Version: version, Resource: resource}
	}
	tests := map[string]struct {
		request  policytest.Request
		resource schema.GroupVersionResource
		says     string
	}{
		"where it is not placed": {update(patched(t, on(placed), "metadata: {labels: {cluster.tmc.kcp.io/east: null}}")), deploymentsResource, "cluster.tmc.kcp.io/east"},
		"where it was placed":    {update(patched(t, on(placed), "metadata: {labels: {cluster.tmc.kcp.io/east: gone}}")), deploymentsResource, "cluster.tmc.kcp.io/east"},
		"without any label":      {update(patched(t, on(placed), "metadata: {labels: null}")), deploymentsResource, "cluster.tmc.kcp.io/east"},
		"on a namespace":         {update(on("{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {cluster.tmc.kcp.io/east: sync}}}")), gvr("", "v1", "namespaces"), "placed on its cluster"},
		"something new":          {policytest.Request{After: on(placed)}, deploymentsResource, "only update"},
		"its end":                {policytest.Request{Before: on(placed)}, deploymentsResource, "only update"},
		"an event":               {policytest.Request{After: on("{apiVersion: v1, kind: Event, metadata: {name: e, namespace: shop}}")}, gvr("", "v1", "events"), "only update"},
		"a status":               {policytest.Request{Subresource: "status", Before: on(placed), After: on(placed)}, deploymentsResource, "not their status"},
		"a scale":                {policytest.Request{Subresource: "scale", Before: on(placed), After: on(placed)}, deploymentsResource, "not their status"},
		"an APIBinding":          {update(on("{apiVersion: apis.kcp.io/v1alpha2, kind: APIBinding, metadata: {name: tmc.kcp.io}}")), gvr("apis.kcp.io", "v1alpha2", "apibindings"), "placed on its cluster"},
		"a Secret's data": {
			policytest.Request{Before: on("{apiVersion: v1, kind: Secret, data: {a: eA==}, metadata: {name: s, labels: {cluster.tmc.kcp.io/east: sync}}}"), After: on("{apiVersion: v1, kind: Secret, data: {a: eQ==}, metadata: {name: s, labels: {cluster.tmc.kcp.io/east: sync}}}")},
			gvr("", "v1", "secrets"), "outside of metadata",
		},
		"its report on a ConfigMap": {update(on("{apiVersion: v1, kind: ConfigMap, data: {a: b}, metadata: {name: c, labels: {cluster.tmc.kcp.io/east: sync}}}")), gvr("", "v1", "configmaps"), ""},
		"its heartbeat":             {policytest.Request{After: on("{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: east, namespace: tmc-heartbeats}}")}, gvr("coordination.k8s.io", "v1", "leases"), ""},
		"its registration's status": {
			policytest.Request{Subresource: "status", Before: on("{apiVersion: tmc.kcp.io/v1alpha1, kind: ClusterRegistration, metadata: {name: east}}"), After: on("{apiVersion: tmc.kcp.io/v1alpha1, kind: ClusterRegistration, metadata: {name: east}, status: {a: b}}")},
			gvr("tmc.kcp.io", "v1alpha1", "clusterregistrations"), "",
		},
		"its new token": {policytest.Request{Subresource: "token", After: on("{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, metadata: {name: east, namespace: tmc-syncers}}")}, gvr("", "v1", "serviceaccounts"), ""},
	}
	policy := newJudge(t, "tmc-syncers")
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := tc.request
			r.User, r.Resource = serviceAccount(provider, "tmc-syncers", "east"), tc.resource
			denied := policy.Judge(t, r).Message()
			if tc.says == "" && denied != "" || !strings.Contains(denied, tc.says) {
				t.Errorf("got %q, want %q", denied, tc.says)
			}
		})
	}
}

// ownKeys are patches that each write, change or remove one of tmc's keys, and what is written about.
var ownKeys = map[string]struct{ patch, key string }{
	"forge a report":        {"metadata: {annotations: {status.tmc.kcp.io/west: '{}'}}", "status.tmc.kcp.io/west"},
	"make up a report":      {"metadata: {annotations: {status.tmc.kcp.io/north: '{}'}}", "status.tmc.kcp.io/north"},
	"take off a report":     {"metadata: {annotations: {status.tmc.kcp.io/west: null}}", "status.tmc.kcp.io/west"},
	"give a part":           {"metadata: {annotations: {partition.tmc.kcp.io/west: '0/9'}}", "partition.tmc.kcp.io/west"},
	"change a share":        {"metadata: {annotations: {replicas.tmc.kcp.io/west: '9'}}", "replicas.tmc.kcp.io/west"},
	"send a cluster away":   {"metadata: {annotations: {deletion.tmc.kcp.io/east: now}}", "deletion.tmc.kcp.io/east"},
	"keep a cluster":        {"metadata: {annotations: {deletion.tmc.kcp.io/west: null}}", "deletion.tmc.kcp.io/west"},
	"explain the placement": {"metadata: {annotations: {tmc.kcp.io/placement: '{\"by\":\"me\"}'}}", "tmc.kcp.io/placement"},
	"place it":              {"metadata: {labels: {cluster.tmc.kcp.io/north: sync}}", "cluster.tmc.kcp.io/north"},
	"change a placement":    {"metadata: {labels: {cluster.tmc.kcp.io/west: other}}", "cluster.tmc.kcp.io/west"},
	"take off a placement":  {"metadata: {labels: {cluster.tmc.kcp.io/west: null}}", "cluster.tmc.kcp.io/west"},
	"show it to a group":    {"metadata: {labels: {group.tmc.kcp.io/us: sync}}", "group.tmc.kcp.io/us"},
	"change what it sees":   {"metadata: {labels: {group.tmc.kcp.io/eu: other}}", "group.tmc.kcp.io/eu"},
	"hide it from a group":  {"metadata: {labels: {group.tmc.kcp.io/eu: null}}", "group.tmc.kcp.io/eu"},
	"hold it":               {"metadata: {finalizers: [syncer.tmc.kcp.io/west, example.com/theirs, syncer.tmc.kcp.io/north]}", "syncer.tmc.kcp.io/north"},
	"let go of it":          {"metadata: {finalizers: [example.com/theirs]}", "syncer.tmc.kcp.io/west"},
	"replace all of it":     {"metadata: {labels: null, annotations: null, finalizers: null}", "status.tmc.kcp.io/west"},
}

// impersonated is a syncer that a consumer says he is, as kcp marks him.
func impersonated(workspace logicalcluster.Name, namespace, name string) user.Info {
	account := serviceAccount(workspace, namespace, name)
	account.Extra[scopes] = append(account.Extra[scopes], "cluster:consumer")
	return account
}

func TestConsumersPolicyDenies(t *testing.T) {
	consumers := []user.Info{
		&user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}},
		serviceAccount("consumer", "default", "tmc-controller"),
		serviceAccount("consumer", "tmc-syncers", "east"),
		serviceAccount(provider, "default", "other"),
		impersonated(provider, "default", "tmc-controller"),
		impersonated(provider, "tmc-syncers", "east"),
		&user.DefaultInfo{
			Name: "system:serviceaccount:tmc-syncers:east", Groups: []string{"system:authenticated"},
			Extra: map[string][]string{"authentication.kubernetes.io/cluster-name": {provider.String()}, scopes: {"cluster:" + provider.String()}},
		},
		&user.DefaultInfo{Name: "system:apiserver", Groups: []string{"system:authenticated"}},
	}
	tmc := []user.Info{
		serviceAccount(provider, "default", "tmc-controller"),
		serviceAccount(provider, "tmc-syncers", "east"),
		&user.DefaultInfo{Name: "system:apiserver", Groups: []string{"system:authenticated", "system:masters"}},
		&user.DefaultInfo{Name: "kcp-admin", Groups: []string{"system:kcp:admin", "system:authenticated"}},
	}
	policy := newJudge(t, "tmc-consumers")
	for name, tc := range ownKeys {
		t.Run(name, func(t *testing.T) {
			before := object(t, placed)
			for _, subresource := range []string{"", "status"} {
				r := policytest.Request{Resource: deploymentsResource, Subresource: subresource, Before: before, After: patched(t, before, tc.patch)}
				for _, r.User = range consumers {
					if denied := policy.Judge(t, r).Message(); !strings.Contains(denied, tc.key) {
						t.Errorf("%s %v: got %q, want it denied, and %s named", r.User.GetName(), r.User.GetExtra(), denied, tc.key)
					}
				}
				for _, r.User = range tmc {
					if denied := policy.Judge(t, r).Message(); denied != "" {
						t.Errorf("%s %v: denied: %s", r.User.GetName(), r.User.GetExtra(), denied)
					}
				}
			}
		})
	}
}

// TestConsumersPolicyKeys takes the keys from where they are defined.
func TestConsumersPolicyKeys(t *testing.T) {
	policy := newJudge(t, "tmc-consumers")
	before := object(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}")
	with := map[string]func(*unstructured.Unstructured, string){
		v1alpha1.PlacementLabel("c"):     func(o *unstructured.Unstructured, key string) { o.SetLabels(map[string]string{key: "sync"}) },
		v1alpha1.Finalizer("c"):          func(o *unstructured.Unstructured, key string) { o.SetFinalizers([]string{key}) },
		v1alpha1.StatusAnnotation("c"):   annotate,
		v1alpha1.DeletionAnnotation("c"): annotate,
		v1alpha1.ReplicasAnnotation("c"): annotate,
		v1alpha1.PlacementAnnotation:     annotate,
	}
	for key, set := range with {
		after := before.DeepCopy()
		set(after, key)
		for operation, r := range map[string]policytest.Request{"set": {Before: before, After: after}, "made with": {After: after}, "removed": {Before: after, After: before}} {
			r.Resource, r.User = deploymentsResource, &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}}
			if denied := policy.Judge(t, r).Message(); !strings.HasSuffix(denied, ": "+key) {
				t.Errorf("%s %s: got %q", key, operation, denied)
			}
		}
	}
}

func annotate(o *unstructured.Unstructured, key string) {
	o.SetAnnotations(map[string]string{key: "x"})
}

func TestConsumersPolicyMessage(t *testing.T) {
	policy := newJudge(t, "tmc-consumers")
	alice := &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}}
	copied := patched(t, object(t, placed), "metadata: {namespace: other, uid: null, resourceVersion: null}")
	denied := policy.Judge(t, policytest.Request{User: alice, Resource: deploymentsResource, After: copied}).Message()
	for _, key := range []string{
		"cluster.tmc.kcp.io/east", "cluster.tmc.kcp.io/west", "tmc.kcp.io/placement", "replicas.tmc.kcp.io/west",
		"status.tmc.kcp.io/west", "deletion.tmc.kcp.io/west", "syncer.tmc.kcp.io/west",
	} {
		if !strings.Contains(denied, key) {
			t.Errorf("%q does not name %s", denied, key)
		}
	}
	for _, key := range []string{"kcp.io/cluster", "team", "app", "example.com/theirs"} {
		if strings.Contains(denied, " "+key) {
			t.Errorf("%q names %s, which is not tmc's", denied, key)
		}
	}
}

func TestConsumersPolicyAllows(t *testing.T) {
	alice := &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}}
	before := object(t, placed)
	fresh := object(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, annotations: {tmc.kcp.io/target-clusters: east, override.tmc.kcp.io/east: '[]', tmc.kcp.io/replace: 'true'}, finalizers: [example.com/theirs]}}")
	tests := map[string]policytest.Request{
		"a new object":                  {After: fresh},
		"a new object without anything": {After: object(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}")},
		"where it goes":                 {Before: before, After: patched(t, before, "metadata: {annotations: {tmc.kcp.io/target-clusters: west}}")},
		"what it is like on a cluster":  {Before: before, After: patched(t, before, "metadata: {annotations: {override.tmc.kcp.io/east: '[]'}}")},
		"how its status is made":        {Before: before, After: patched(t, before, "metadata: {annotations: {tmc.kcp.io/status-strategy: latest, tmc.kcp.io/status-counters: per-cluster, tmc.kcp.io/replace: 'true'}}")},
		"his labels and annotations":    {Before: before, After: patched(t, before, "metadata: {labels: {app: api, tier: web}, annotations: {team: red}}")},
		"his finalizers":                {Before: before, After: patched(t, before, "metadata: {finalizers: [syncer.tmc.kcp.io/west]}")},
		"the spec":                      {Before: before, After: patched(t, before, "spec: {replicas: 9}")},
		"the scale":                     {Subresource: "scale", Before: object(t, "{apiVersion: autoscaling/v1, kind: Scale, metadata: {name: web}, spec: {replicas: 1}}"), After: object(t, "{apiVersion: autoscaling/v1, kind: Scale, metadata: {name: web}, spec: {replicas: 2}}")},
		"its end":                       {Before: before},
		"what has no metadata":          {After: object(t, "{apiVersion: authorization.k8s.io/v1, kind: SelfSubjectAccessReview, spec: {}}")},
	}
	policy := newJudge(t, "tmc-consumers")
	for name, r := range tests {
		t.Run(name, func(t *testing.T) {
			r.User, r.Resource = alice, deploymentsResource
			if denied := policy.Judge(t, r).Message(); denied != "" {
				t.Errorf("denied: %s", denied)
			}
		})
	}
}

func TestPoliciesNeedAProvider(t *testing.T) {
	if _, err := Policies(""); err == nil {
		t.Error("policies for nobody are given out: they would hold no syncer back")
	}
	objects, err := Policies(provider)
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		data, err := object.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "u003cprovider") || strings.Contains(string(data), "<provider>") {
			t.Errorf("%s %s does not name its provider", object.GetKind(), object.GetName())
		}
	}
}

// TestConsumerPolicies has the policies of consumers' workspaces judge requests there: about kcp's own kinds they say
// what those of the provider workspace say about the others, and about the rest they are not asked.
func TestConsumerPolicies(t *testing.T) {
	objects, err := ConsumerPolicies(provider)
	if err != nil {
		t.Fatal(err)
	}
	some := object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}")
	core := corev1.SchemeGroupVersion.WithResource
	cases := map[string]struct {
		request policytest.Request
		want    bool
	}{
		"a Secret":               {policytest.Request{Resource: core("secrets"), Before: some, After: some}, true},
		"a new ConfigMap":        {policytest.Request{Resource: core("configmaps"), After: some}, true},
		"an account's token":     {policytest.Request{Resource: core("serviceaccounts"), Subresource: "token", After: some}, true},
		"a namespace":            {policytest.Request{Resource: core("namespaces"), Subresource: "finalize", Before: some, After: some}, true},
		"what the provider's do": {policytest.Request{Resource: deploymentsResource, Before: some, After: some}, false},
		"a Role":                 {policytest.Request{Resource: rbacv1.SchemeGroupVersion.WithResource("roles"), After: some}, false},
	}
	seen := 0
	for _, object := range objects {
		if object.GetKind() != "ValidatingAdmissionPolicy" {
			continue
		}
		seen++
		policy := into[admissionregistrationv1.ValidatingAdmissionPolicy](t, object)
		policy.Spec.MatchConstraints.ExcludeResourceRules = nil // what a syncer may do in the provider workspace
		compiled := policytest.Compile(t, policy, oldestCEL)
		for name, tc := range cases {
			if object.GetName() == "tmc-deletions" && tc.request.Before == nil {
				tc.want = false // it is about changes
			}
			tc.request.User = &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}}
			if got := compiled.Judge(t, tc.request).Asked; got != tc.want {
				t.Errorf("policy %s, %s: asked: %t, want %t", object.GetName(), name, got, tc.want)
			}
		}
	}
	if seen != 3 {
		t.Errorf("%d policies, want tmc-consumers, tmc-deletions and tmc-syncers", seen)
	}
}
