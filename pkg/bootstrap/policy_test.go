package bootstrap

import (
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/kcp-tmc/tmc/manifests/policytest"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
	"github.com/kcp-tmc/tmc/pkg/yamltest"
)

// oldestCEL is the oldest Kubernetes that has the policies.
var oldestCEL = version.MajorMinor(1, 30)

// newJudge returns the policy of the options. It fails the test when an API server would not take it, or when nothing
// binds it.
func newJudge(tb testing.TB, o Options) *policytest.Policy {
	tb.Helper()
	objects := admissionPolicy(o)
	policy, binding := objects[0].(*admissionregistrationv1.ValidatingAdmissionPolicy), objects[1].(*admissionregistrationv1.ValidatingAdmissionPolicyBinding)
	if binding.Spec.PolicyName != policy.Name || binding.Spec.MatchResources != nil || !slices.Contains(binding.Spec.ValidationActions, admissionregistrationv1.Deny) {
		tb.Fatalf("the binding does not have policy %s deny: %v", policy.Name, binding.Spec)
	}
	return policytest.Compile(tb, policy, oldestCEL)
}

// write is a request that the policy judges. Where before is nil, it creates; where after is nil, it deletes.
type write struct {
	resource, subresource string
	before, after         *unstructured.Unstructured
	// into is the namespace that it is in, nil for that of objects that lie in none.
	into *unstructured.Unstructured
	// as makes the request, nil for the syncer's account.
	as user.Info
}

var syncersAccount = &user.DefaultInfo{Name: "system:serviceaccount:tmc-system:tmc-syncer", Groups: []string{"system:serviceaccounts", "system:authenticated"}}

// request is the write as the policy is asked about it.
func (w write) request() policytest.Request {
	if w.as == nil {
		w.as = syncersAccount
	}
	return policytest.Request{
		User: w.as, Resource: schema.ParseGroupResource(w.resource).WithVersion("v1"), Subresource: w.subresource,
		Before: w.before, After: w.after, Namespace: w.into,
	}
}

// object reads an object from YAML.
var object = yamltest.Object

// with returns the object with labels and annotations more, or less where a value is empty.
func with(obj *unstructured.Unstructured, labels, annotations map[string]string) *unstructured.Unstructured {
	changed := obj.DeepCopy()
	merge := func(all, changes map[string]string) map[string]string {
		if all == nil {
			all = map[string]string{}
		}
		for key, value := range changes {
			all[key] = value
			if value == "" {
				delete(all, key)
			}
		}
		return all
	}
	changed.SetLabels(merge(changed.GetLabels(), labels))
	changed.SetAnnotations(merge(changed.GetAnnotations(), annotations))
	return changed
}

// copyOf is what the syncer of a cluster applies for an object of a workspace.
func copyOf(tb testing.TB, cluster, text string) *unstructured.Unstructured {
	tb.Helper()
	upstreamObj := object(tb, text)
	desired, err := transform.Desired(transform.Input{
		Object: upstreamObj, Origin: transform.Origin{Workspace: "w1", Namespace: upstreamObj.GetNamespace(), Name: upstreamObj.GetName(), Cluster: cluster},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return desired
}

// made and noted are what the syncer of a cluster applies to the namespace shop, which it makes, and to one that it
// does not.
func made(tb testing.TB, cluster string) *unstructured.Unstructured {
	tb.Helper()
	desired, err := transform.DesiredNamespace(object(tb, "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: blue}}}"),
		transform.Origin{Workspace: "w1", Name: "shop", Cluster: cluster}, v1alpha1.TransformRule{})
	if err != nil {
		tb.Fatal(err)
	}
	return desired
}

func noted(tb testing.TB, cluster, workspace string, on *unstructured.Unstructured) *unstructured.Unstructured {
	tb.Helper()
	note, err := transform.NotedNamespace(on.GetName(), transform.Origin{Workspace: workspace, Name: "upstream", Cluster: cluster})
	if err != nil {
		tb.Fatal(err)
	}
	return with(on, note.GetLabels(), note.GetAnnotations())
}

const (
	web       = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, uid: u1, generation: 2, labels: {app: web}}, spec: {replicas: 2}}"
	settings  = "{apiVersion: v1, kind: Secret, metadata: {name: settings, namespace: shop, uid: u2}, type: Opaque, data: {a: Yg==}}"
	operators = "{apiVersion: v1, kind: Namespace, metadata: {name: monitoring, labels: {team: ops}, annotations: {note: theirs}}, spec: {finalizers: [kubernetes]}}"
	listed    = "{apiVersion: v1, kind: Namespace, metadata: {name: listed-1, labels: {team: ops}, annotations: {note: theirs}}, spec: {finalizers: [kubernetes]}}"
	theirs    = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: prometheus, namespace: monitoring, uid: u3}, spec: {replicas: 1}}"

	deployments = "deployments.apps"
)

// lost takes marks off an object, as somebody may.
func lost(obj *unstructured.Unstructured, keys ...string) *unstructured.Unstructured {
	none := map[string]string{}
	for _, key := range keys {
		none[key] = ""
	}
	return with(obj, none, none)
}

// guarded are the options of a cluster with a policy.
func guarded(changes ...func(*Options)) Options {
	return joining(append(changes, func(o *Options) {
		o.AdmissionPolicy, o.PolicyNamespaces, o.FormerNames = true, []string{"listed-*", "kube-system", "kube-public"}, []string{"east-1"}
	})...)
}

func TestPolicyAllows(t *testing.T) {
	shop, ops, lists := made(t, "east"), object(t, operators), object(t, listed)
	copied, secret := copyOf(t, "east", web), copyOf(t, "east", settings)
	changed := with(copied, nil, map[string]string{v1alpha1.SourceGenerationAnnotation: "3"})
	inListed := copied.DeepCopy()
	inListed.SetNamespace(lists.GetName())
	free, err := transform.FreeNamespace("shop", "east", v1alpha1.TransformRule{})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason string
		write  write
	}{
		"make a copy":                  {"in a namespace that tmc has made", write{resource: deployments, after: copied, into: shop}},
		"make a Secret":                {"it is a kind like others", write{resource: "secrets", after: secret, into: shop}},
		"make one in a noted one":      {"whose it is stands there", write{resource: deployments, after: copied, into: noted(t, "east", "w1", ops)}},
		"make one in a listed one":     {"where workspaces share it, nothing is noted; and an API server sees a note a moment late", write{resource: deployments, after: inListed, into: lists}},
		"make one where a mark is off": {"somebody has taken the label off", write{resource: deployments, after: copied, into: lost(shop, v1alpha1.ManagedByLabel)}},
		"change a copy":                {"the object has changed", write{resource: deployments, before: copied, after: changed, into: shop}},
		"change one from before":       {"what was there before namespaces had to be listed is kept up", write{resource: deployments, before: copied, after: changed, into: ops}},
		"delete without the label":     {"the hash and the annotations tell", write{resource: deployments, before: lost(copied, v1alpha1.ManagedByLabel), into: shop}},
		"delete without labels":        {"the annotations tell", write{resource: deployments, before: lost(copied, v1alpha1.ManagedByLabel, v1alpha1.SourceHashLabel), into: shop}},
		"mend all labels":              {"the annotations tell", write{resource: deployments, before: lost(copied, v1alpha1.ManagedByLabel, v1alpha1.SourceHashLabel, "app"), after: copied, into: shop}},
		"mend all annotations": {"the hash tells", write{
			resource: deployments, before: lost(copied, v1alpha1.SourceWorkspaceAnnotation, v1alpha1.SourceNameAnnotation, v1alpha1.SourceNamespaceAnnotation, v1alpha1.TargetClusterAnnotation),
			after: copied, into: shop,
		}},
		"remove a copy":          {"its object is gone", write{resource: deployments, before: copied, into: shop}},
		"remove one from before": {"wherever it is", write{resource: deployments, before: copied, into: ops}},
		"remove a former names":  {"it was abandoned", write{resource: deployments, before: copyOf(t, "east-1", web), into: shop}},
		"make a namespace":       {"with what the user chose for it", write{resource: "namespaces", after: shop}},
		"change a namespace":     {"the user chose something else", write{resource: "namespaces", before: shop, after: with(shop, map[string]string{"team": "", "other": "a"}, map[string]string{"x": "y"})}},
		"free a namespace":       {"it is kept for what is in it", write{resource: "namespaces", before: shop, after: free}},
		"free a former names":    {"it was abandoned", write{resource: "namespaces", before: made(t, "east-1"), after: free}},
		"remove a namespace":     {"it is empty", write{resource: "namespaces", before: shop}},
		"note whose it is":       {"it is listed", write{resource: "namespaces", before: lists, after: noted(t, "east", "w1", lists)}},
		"NoteAnother":            {"its workspace has left", write{resource: "namespaces", before: noted(t, "east", "w1", ops), after: noted(t, "east", "w2", ops)}},
		"give it away":           {"nothing of it is left there", write{resource: "namespaces", before: noted(t, "east", "w1", ops), after: ops}},
		"mend a note":            {"somebody has taken the label off", write{resource: "namespaces", before: lost(noted(t, "east", "w1", ops), v1alpha1.ManagedByLabel), after: noted(t, "east", "w1", ops)}},
		"make its Lease":         {"one of its replicas leads", write{resource: "leases.coordination.k8s.io", after: object(t, "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: tmc-syncer, namespace: tmc-system}}")}},
		"renew its token":        {"into its own Secret", write{resource: "secrets", before: object(t, "{apiVersion: v1, kind: Secret, metadata: {name: tmc-syncer-kcp, namespace: tmc-system}, data: {kubeconfig: YQ==}}"), after: object(t, "{apiVersion: v1, kind: Secret, metadata: {name: tmc-syncer-kcp, namespace: tmc-system}, data: {kubeconfig: Yg==}}")}},
		"ask what it may":        {"that writes nothing", write{resource: "selfsubjectaccessreviews.authorization.k8s.io", after: object(t, "{apiVersion: authorization.k8s.io/v1, kind: SelfSubjectAccessReview, metadata: {}}")}},
	}
	policy := newJudge(t, guarded())
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if denied := policy.Judge(t, c.write.request()).Message(); denied != "" {
				t.Errorf("%s: denied, %s", c.reason, denied)
			}
		})
	}
}

func TestPolicyDenies(t *testing.T) {
	shop, ops, lists := made(t, "east"), object(t, operators), object(t, listed)
	copied, foreign := copyOf(t, "east", web), object(t, theirs)
	// As copies are, but there.
	at := func(namespace string) *unstructured.Unstructured {
		moved := copied.DeepCopy()
		moved.SetNamespace(namespace)
		return moved
	}
	named := func(name string, labels map[string]string) *unstructured.Unstructured {
		return with(object(t, "{apiVersion: v1, kind: Namespace, metadata: {name: "+name+"}}"), labels, nil)
	}
	token := copyOf(t, "east", settings)
	token.Object["type"] = "kubernetes.io/service-account-token"
	finalized := noted(t, "east", "w1", lists)
	finalized.Object["spec"] = map[string]any{}
	owned := with(shop, nil, map[string]string{"x": "y"})
	owned.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "x"}})
	role := copyOf(t, "east", "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: all, namespace: shop, uid: u4}, rules: []}")
	clusterRole := object(t, "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: evil}}")
	theirSecret := object(t, "{apiVersion: v1, kind: Secret, metadata: {name: tokens, namespace: tmc-system}, type: Opaque}")
	anotherSyncers := named("tmc-other", map[string]string{"app.kubernetes.io/name": "tmc-syncer"})
	cases := map[string]struct {
		write write
		says  string
	}{
		"a foreign Deployment":                  {write{resource: deployments, before: foreign, after: with(foreign, map[string]string{"a": "b"}, nil), into: ops}, "somebody else's"},
		"a foreign Deployment made ours":        {write{resource: deployments, before: foreign, after: with(foreign, copied.GetLabels(), copied.GetAnnotations()), into: ops}, "somebody else's"},
		"a foreign one in our namespace":        {write{resource: deployments, before: foreign, after: with(foreign, copied.GetLabels(), copied.GetAnnotations()), into: shop}, "somebody else's"},
		"a foreign Deployment's end":            {write{resource: deployments, before: foreign, into: ops}, "somebody else's"},
		"a foreign Secret":                      {write{resource: "secrets", before: theirSecret, after: theirSecret, into: named("tmc-system", nil)}, "its own nothing but"},
		"half a mark":                           {write{resource: deployments, before: with(foreign, map[string]string{v1alpha1.ManagedByLabel: "tmc-syncer"}, map[string]string{v1alpha1.SourceNameAnnotation: "web"}), into: ops}, "somebody else's"},
		"another cluster's copy":                {write{resource: deployments, before: copyOf(t, "west", web), after: copied, into: shop}, "under its cluster's name"},
		"a copy of a former name":               {write{resource: deployments, before: copyOf(t, "east-1", web), after: copied, into: shop}, "under its cluster's name"},
		"the end of another cluster's copy":     {write{resource: deployments, before: copyOf(t, "west", web), into: shop}, "or a former one"},
		"without marks":                         {write{resource: deployments, after: object(t, web), into: shop}, "bear tmc's marks"},
		"without the label":                     {write{resource: deployments, after: lost(copied, v1alpha1.ManagedByLabel), into: shop}, "bear tmc's marks"},
		"without the hash":                      {write{resource: deployments, after: lost(copied, v1alpha1.SourceHashLabel), into: shop}, "bear tmc's marks"},
		"without its workspace":                 {write{resource: deployments, after: lost(copied, v1alpha1.SourceWorkspaceAnnotation), into: shop}, "bear tmc's marks"},
		"for another cluster":                   {write{resource: deployments, after: copyOf(t, "west", web), into: shop}, "bear tmc's marks"},
		"marks taken off":                       {write{resource: deployments, before: copied, after: lost(copied, v1alpha1.ManagedByLabel), into: shop}, "bear tmc's marks"},
		"in a foreign namespace":                {write{resource: deployments, after: at("monitoring"), into: ops}, "or that the policy lists"},
		"in a namespace of that prefix":         {write{resource: deployments, after: at("not-listed-1"), into: named("not-listed-1", nil)}, "or that the policy lists"},
		"in kube system":                        {write{resource: deployments, after: at("kube-system"), into: named("kube-system", nil)}, "the cluster lives by"},
		"in a marked kube system":               {write{resource: deployments, after: at("kube-system"), into: noted(t, "east", "w1", named("kube-system", nil))}, "the cluster lives by"},
		"in kube public":                        {write{resource: deployments, after: at("kube-public"), into: named("kube-public", nil)}, "the cluster lives by"},
		"in kube node Lease":                    {write{resource: deployments, after: at("kube-node-lease"), into: named("kube-node-lease", nil)}, "the cluster lives by"},
		"in its own namespace":                  {write{resource: deployments, after: at("tmc-system"), into: named("tmc-system", nil)}, "its own nothing but"},
		"in another syncer's namespace":         {write{resource: deployments, after: at("tmc-other"), into: anotherSyncers}, "the cluster lives by"},
		"its Secret's end":                      {write{resource: "secrets", before: object(t, "{apiVersion: v1, kind: Secret, metadata: {name: tmc-syncer-kcp, namespace: tmc-system}}"), into: named("tmc-system", nil)}, "its own nothing but"},
		"another Lease":                         {write{resource: "leases.coordination.k8s.io", after: object(t, "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: other, namespace: tmc-system}}"), into: named("tmc-system", nil)}, "its own nothing but"},
		"a Lease elsewhere":                     {write{resource: "leases.coordination.k8s.io", after: object(t, "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: tmc-syncer, namespace: shop}}"), into: shop}, "kinds that the cluster was joined with"},
		"a token of an account":                 {write{resource: "secrets", after: token, into: shop}, "tokens of ServiceAccounts"},
		"ask for a token":                       {write{resource: "serviceaccounts", subresource: "token", after: object(t, "{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, metadata: {name: prometheus, namespace: shop}}"), into: shop}, "no subresources"},
		"a status":                              {write{resource: deployments, subresource: "status", before: copied, after: copied, into: shop}, "no subresources"},
		"Rights":                                {write{resource: "roles.rbac.authorization.k8s.io", after: role, into: shop}, "kinds that the cluster was joined with"},
		"rights on the cluster":                 {write{resource: "clusterrolebindings.rbac.authorization.k8s.io", after: clusterRole}, "kinds that the cluster was joined with"},
		"its own policy's end":                  {write{resource: "validatingadmissionpolicies.admissionregistration.k8s.io", before: object(t, "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: tmc-syncer}}")}, "kinds that the cluster was joined with"},
		"a pod":                                 {write{resource: "pods", after: copyOf(t, "east", "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop, uid: u5}}"), into: shop}, "kinds that the cluster was joined with"},
		"a foreign namespace's end":             {write{resource: "namespaces", before: ops}, "that tmc has made"},
		"a noted namespace's end":               {write{resource: "namespaces", before: noted(t, "east", "w1", ops)}, "that tmc has made"},
		"the end of another syncer's namespace": {write{resource: "namespaces", before: made(t, "west")}, "or a former one"},
		"kube-system's end":                     {write{resource: "namespaces", before: named("kube-system", nil)}, "the cluster lives by"},
		"a namespace without marks":             {write{resource: "namespaces", after: named("free", nil)}, "bear tmc's mark"},
		"a namespace for another cluster":       {write{resource: "namespaces", after: made(t, "west")}, "bear tmc's mark"},
		"a note that is not listed":             {write{resource: "namespaces", before: ops, after: noted(t, "east", "w1", ops)}, "or that the policy lists"},
		"a note on kube system":                 {write{resource: "namespaces", before: named("kube-system", nil), after: noted(t, "east", "w1", named("kube-system", nil))}, "the cluster lives by"},
		"a note on its own":                     {write{resource: "namespaces", before: named("tmc-system", nil), after: noted(t, "east", "w1", named("tmc-system", nil))}, "the cluster lives by"},
		"a note over anothers":                  {write{resource: "namespaces", before: noted(t, "west", "w1", lists), after: noted(t, "east", "w1", lists)}, "or a former one"},
		"a note for another cluster":            {write{resource: "namespaces", before: lists, after: noted(t, "west", "w1", lists)}, "under its cluster's name, and no other"},
		"a note and more":                       {write{resource: "namespaces", before: lists, after: with(noted(t, "east", "w1", lists), map[string]string{"pod-security.kubernetes.io/enforce": "privileged"}, nil)}, "nothing but tmc's own"},
		"a note and less":                       {write{resource: "namespaces", before: lists, after: with(noted(t, "east", "w1", lists), map[string]string{"team": ""}, nil)}, "nothing but tmc's own"},
		"a note and an annotation":              {write{resource: "namespaces", before: lists, after: with(noted(t, "east", "w1", lists), nil, map[string]string{"note": "mine"})}, "nothing but tmc's own"},
		"a note that it was made":               {write{resource: "namespaces", before: lists, after: with(noted(t, "east", "w1", lists), map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}, nil)}, "nothing else gets it"},
		"a noted one that was made":             {write{resource: "namespaces", before: noted(t, "east", "w1", ops), after: with(noted(t, "east", "w1", ops), map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}, nil)}, "nothing else gets it"},
		"a note and its finalizer":              {write{resource: "namespaces", before: lists, after: finalized}, "neither owners nor finalizers"},
		"an owner of a namespace":               {write{resource: "namespaces", before: shop, after: owned}, "neither owners nor finalizers"},
		"a finalized namespace":                 {write{resource: "namespaces", subresource: "finalize", before: shop, after: shop}, "no subresources"},
		"a made one's mark is taken off":        {write{resource: "namespaces", before: shop, after: lost(shop, v1alpha1.ManagedByLabel)}, "keeps the mark"},
		"a made one becomes another's":          {write{resource: "namespaces", before: shop, after: with(shop, nil, map[string]string{v1alpha1.TargetClusterAnnotation: "west"})}, "under its cluster's name, and no other"},
		"a made one of another name is taken":   {write{resource: "namespaces", before: made(t, "west"), after: shop}, "or a former one"},
	}
	policy := newJudge(t, guarded())
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if denied := policy.Judge(t, c.write.request()).Message(); !strings.Contains(denied, c.says) || denied == "" {
				t.Errorf("got %q, want it denied with %q", denied, c.says)
			}
			for _, other := range []string{"system:serviceaccount:tmc-other:tmc-syncer", "system:serviceaccount:tmc-system:default", "alice"} {
				c.write.as = &user.DefaultInfo{Name: other}
				if denied := policy.Judge(t, c.write.request()).Message(); denied != "" {
					t.Errorf("%s is taken for the syncer: %s", other, denied)
				}
			}
		})
	}
}

func TestPolicyDefault(t *testing.T) {
	policy := newJudge(t, joining(func(o *Options) { o.AdmissionPolicy = true }))
	ops := object(t, operators)
	if denied := policy.Judge(t, write{resource: "namespaces", before: ops, after: noted(t, "east", "w1", ops)}.request()).Message(); denied == "" {
		t.Error("a namespace that tmc has not made can be entered though nobody lists it")
	}
	everywhere := newJudge(t, joining(func(o *Options) { o.AdmissionPolicy, o.PolicyNamespaces = true, []string{"*"} }))
	if denied := everywhere.Judge(t, write{resource: "namespaces", before: ops, after: noted(t, "east", "w1", ops)}.request()).Message(); denied != "" {
		t.Errorf("with all of them listed: %s", denied)
	}
	system := object(t, "{apiVersion: v1, kind: Namespace, metadata: {name: kube-system}}")
	if denied := everywhere.Judge(t, write{resource: "namespaces", before: system, after: noted(t, "east", "w1", system)}.request()).Message(); denied == "" {
		t.Error("with all of them listed, so is kube-system")
	}
}

// BenchmarkThePolicy is what the policy adds to a write: of a copy, and of somebody else.
func BenchmarkThePolicy(b *testing.B) {
	policy := newJudge(b, guarded())
	shop, copied := made(b, "east"), copyOf(b, "east", web)
	for name, w := range map[string]write{
		"Copy":   {resource: deployments, before: copied, after: with(copied, nil, map[string]string{v1alpha1.SourceGenerationAnnotation: "3"}), into: shop},
		"Others": {resource: deployments, before: copied, after: copied, into: shop, as: &user.DefaultInfo{Name: "alice"}},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if denied := policy.Judge(b, w.request()).Message(); denied != "" {
					b.Fatal(denied)
				}
			}
		})
	}
}
