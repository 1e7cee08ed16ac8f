package manifests

import (
	"context"
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/cel-go/cel"
	celtypes "github.com/google/cel-go/common/types"
	"github.com/kcp-dev/logicalcluster/v3"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/admission"
	admissioncel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// The specs of this file have the policies judge requests with the API server's own packages, in the way of its own
// plugin (k8s.io/apiserver, pkg/admission/plugin/policy/validating).

// provider is the logical cluster of the provider workspace in all specs.
const provider logicalcluster.Name = "provider"

// oldestCEL is what kcp v0.31 takes of new policies: it is made from Kubernetes v1.35, and one version behind that.
var oldestCEL = version.MajorMinor(1, 34)

// judge is one policy as an API server has it.
type judge struct {
	policy      *admissionregistrationv1.ValidatingAdmissionPolicy
	conditions  matchconditions.Matcher
	validations admissioncel.ConditionEvaluator
	messages    admissioncel.ConditionEvaluator
}

// expression is a CEL expression, with its name where it is a variable, and the type that it has to have.
type expression struct {
	name, text string
	celType    *cel.Type
}

func (e *expression) GetName() string          { return e.name }
func (e *expression) GetExpression() string    { return e.text }
func (e *expression) ReturnTypes() []*cel.Type { return []*cel.Type{e.celType} }

// newJudge returns the policy of a name. It fails the test when an API server would not take the policy.
func newJudge(t *testing.T, name string) judge {
	t.Helper()
	policy := policyOf(t, name)
	compiler, err := admissioncel.NewCompositedCompiler(environment.MustBaseEnvSet(oldestCEL))
	if err != nil {
		t.Fatal(err)
	}
	var none admissioncel.OptionalVariableDeclarations
	for _, variable := range policy.Spec.Variables {
		compiled := compiler.CompileAndStoreVariable(&expression{variable.Name, variable.Expression, cel.AnyType}, none, environment.NewExpressions)
		if compiled.Error != nil {
			t.Fatalf("policy %s, variable %s: %v", name, variable.Name, compiled.Error)
		}
	}
	compile := func(expressions []admissioncel.ExpressionAccessor) admissioncel.ConditionEvaluator {
		evaluator := compiler.CompileCondition(expressions, none, environment.NewExpressions)
		for _, err := range evaluator.CompilationErrors() {
			t.Fatalf("policy %s: %v", name, err)
		}
		return evaluator
	}
	var conditions, validations, messages []admissioncel.ExpressionAccessor
	for i := range policy.Spec.MatchConditions {
		conditions = append(conditions, (*matchconditions.MatchCondition)(&policy.Spec.MatchConditions[i]))
	}
	for _, validation := range policy.Spec.Validations {
		validations = append(validations, &expression{text: validation.Expression, celType: cel.BoolType})
		if validation.MessageExpression == "" {
			messages = append(messages, nil)
			continue
		}
		messages = append(messages, &expression{text: validation.MessageExpression, celType: cel.StringType})
	}
	return judge{
		policy:      policy,
		conditions:  matchconditions.NewMatcher(compile(conditions), policy.Spec.FailurePolicy, "policy", "validate", name),
		validations: compile(validations),
		messages:    compile(messages),
	}
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

// request is a request that a policy judges. Where before is nil, it creates; where after is nil, it deletes.
type request struct {
	user          user.Info
	resource      schema.GroupVersionResource
	subresource   string
	before, after *unstructured.Unstructured
	// manager is the field manager of an update, empty for none.
	manager string
}

func (r request) attributes() *admission.VersionedAttributes {
	operation, object, old := admission.Update, runtime.Object(r.after), runtime.Object(r.before)
	some := r.after
	switch {
	case r.before == nil:
		operation, old = admission.Create, nil
	case r.after == nil:
		operation, object, some = admission.Delete, nil, r.before
	}
	var options runtime.Object
	if r.manager != "" {
		options = &metav1.UpdateOptions{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "UpdateOptions"}, FieldManager: r.manager}
	}
	kind := some.GroupVersionKind()
	return &admission.VersionedAttributes{
		Attributes: admission.NewAttributesRecord(object, old, kind, some.GetNamespace(), some.GetName(),
			r.resource, r.subresource, operation, options, false, r.user),
		VersionedObject: object, VersionedOldObject: old, VersionedKind: kind,
	}
}

// concerns tells whether the policy is asked about a request at all.
func (j judge) concerns(attributes admission.Attributes) bool {
	matches := func(all []admissionregistrationv1.NamedRuleWithOperations) bool {
		return slices.ContainsFunc(all, func(rule admissionregistrationv1.NamedRuleWithOperations) bool {
			rule.Scope = new(admissionregistrationv1.AllScopes)
			return (&rules.Matcher{Rule: rule.RuleWithOperations, Attr: attributes}).Matches()
		})
	}
	constraints := j.policy.Spec.MatchConstraints
	return matches(constraints.ResourceRules) && !matches(constraints.ExcludeResourceRules)
}

// judge returns why a request is denied; nothing when it is not. An expression that fails denies, too, and fails the
// test: nobody could make sense of what it says.
func (j judge) judge(t *testing.T, r request) string {
	t.Helper()
	attributes := r.attributes()
	if !j.concerns(attributes) {
		return ""
	}
	ctx := context.Background()
	match := j.conditions.Match(ctx, attributes, nil, nil)
	if match.Error != nil {
		t.Fatal(match.Error)
	}
	if !match.Matches {
		return ""
	}
	evaluate := func(evaluator admissioncel.ConditionEvaluator) []admissioncel.EvaluationResult {
		admissionRequest := admissioncel.CreateAdmissionRequest(attributes, metav1.GroupVersionResource(r.resource), metav1.GroupVersionKind(attributes.VersionedKind))
		results, _, err := evaluator.ForInput(ctx, attributes, admissionRequest, admissioncel.OptionalVariableBindings{}, nil, celconfig.RuntimeCELCostBudget)
		if err != nil {
			t.Fatal(err)
		}
		return results
	}
	results, messages := evaluate(j.validations), evaluate(j.messages)
	for i, result := range results {
		if result.Error != nil {
			t.Fatalf("%s: %v", j.policy.Spec.Validations[i].Expression, result.Error)
		}
		if result.EvalResult == celtypes.True {
			continue
		}
		if message := messages[i]; message.Error == nil && message.EvalResult != nil {
			return message.EvalResult.Value().(string)
		}
		return j.policy.Spec.Validations[i].Message
	}
	return ""
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

var deploymentsResource = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

// object reads an object from YAML.
func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	result := &unstructured.Unstructured{}
	if err := result.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	return result
}

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

func TestASyncerMayWriteItsReportAndItsFinalizer(t *testing.T) {
	east := serviceAccount(provider, "tmc-syncers", "east")
	tests := map[string]struct {
		reason, before, patch string
	}{
		"a report":                  {patch: "metadata: {annotations: {status.tmc.kcp.io/east: '{}'}}"},
		"the longest report":        {patch: "metadata: {annotations: {status.tmc.kcp.io/east: '" + strings.Repeat("x", v1alpha1.MaxReportSize) + "'}}"},
		"another report":            {before: "metadata: {annotations: {status.tmc.kcp.io/east: old}}", patch: "metadata: {annotations: {status.tmc.kcp.io/east: new}}"},
		"its finalizer":             {patch: "metadata: {finalizers: [syncer.tmc.kcp.io/west, example.com/theirs, syncer.tmc.kcp.io/east]}"},
		"its finalizer, first of":   {patch: "metadata: {finalizers: [syncer.tmc.kcp.io/east, syncer.tmc.kcp.io/west, example.com/theirs]}"},
		"its finalizer and report":  {reason: "that is how it lets go", before: "metadata: {annotations: {status.tmc.kcp.io/east: old}, finalizers: [syncer.tmc.kcp.io/east]}", patch: "metadata: {annotations: {status.tmc.kcp.io/east: null}, finalizers: null}"},
		"the first annotation":      {before: "metadata: {annotations: null}", patch: "metadata: {annotations: {status.tmc.kcp.io/east: '{}'}}"},
		"the last annotation":       {before: "metadata: {annotations: {team: null, kcp.io/cluster: null, tmc.kcp.io/placement: null, replicas.tmc.kcp.io/west: null, status.tmc.kcp.io/west: null, deletion.tmc.kcp.io/west: null, status.tmc.kcp.io/east: x}}", patch: "metadata: {annotations: null}"},
		"nothing":                   {patch: "{}"},
		"who owns which fields":     {reason: "it follows from what is written", patch: "metadata: {managedFields: [{manager: tmc-syncer, operation: Update}]}"},
		"what kcp labels by itself": {reason: "whoever writes first after a change of the claims", patch: "metadata: {labels: {claimed.internal.apis.kcp.io/abc: def}}"},
		"on an object that is on its way out": {
			before: "metadata: {deletionTimestamp: '2026-01-02T03:04:05Z', deletionGracePeriodSeconds: 0, finalizers: [syncer.tmc.kcp.io/east]}",
			patch:  "metadata: {finalizers: null}",
		},
	}
	policy := newJudge(t, "tmc-syncers")
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before := patched(t, object(t, placed), tc.before)
			r := request{user: east, resource: deploymentsResource, before: before, after: patched(t, before, tc.patch)}
			if denied := policy.judge(t, r); denied != "" {
				t.Errorf("denied: %s; %s", denied, tc.reason)
			}
		})
	}
}

func TestASyncerMayWriteNothingElse(t *testing.T) {
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
		"a share":                  {"metadata: {annotations: {replicas.tmc.kcp.io/east: '3'}}", "status.tmc.kcp.io/east"},
		"no annotations":           {"metadata: {annotations: null}", "status.tmc.kcp.io/east"},
		"a report that is too big": {"metadata: {annotations: {status.tmc.kcp.io/east: '" + strings.Repeat("x", v1alpha1.MaxReportSize+1) + "'}}", "16 KiB"},
		"another's finalizer":      {"metadata: {finalizers: [syncer.tmc.kcp.io/west, example.com/theirs, syncer.tmc.kcp.io/north]}", "syncer.tmc.kcp.io/east"},
		"no finalizer of another":  {"metadata: {finalizers: [example.com/theirs]}", "syncer.tmc.kcp.io/east"},
		"no finalizers":            {"metadata: {finalizers: null}", "syncer.tmc.kcp.io/east"},
	}
	policy := newJudge(t, "tmc-syncers")
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before := object(t, placed)
			r := request{resource: deploymentsResource, before: before, after: patched(t, before, tc.patch)}
			for _, r.user = range []user.Info{
				serviceAccount(provider, "tmc-syncers", "east"),
				impersonated(provider, "tmc-syncers", "east"),
			} {
				if denied := policy.judge(t, r); !strings.Contains(denied, tc.says) {
					t.Errorf("got %q, want it denied with %q", denied, tc.says)
				}
			}
			for _, other := range others() {
				r.user = other
				if denied := policy.judge(t, r); denied != "" {
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

func TestASyncerMayNotWriteElsewhere(t *testing.T) {
	report := "metadata: {annotations: {status.tmc.kcp.io/east: '{}'}}"
	on := func(text string) *unstructured.Unstructured { return object(t, text) }
	update := func(before *unstructured.Unstructured) request {
		return request{before: before, after: patched(t, before, report)}
	}
	gvr := func(group, version, resource string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Group: group, Version: version, Resource: resource}
	}
	tests := map[string]struct {
		request  request
		resource schema.GroupVersionResource
		says     string
	}{
		"where it is not placed": {update(patched(t, on(placed), "metadata: {labels: {cluster.tmc.kcp.io/east: null}}")), deploymentsResource, "cluster.tmc.kcp.io/east"},
		"where it was placed":    {update(patched(t, on(placed), "metadata: {labels: {cluster.tmc.kcp.io/east: gone}}")), deploymentsResource, "cluster.tmc.kcp.io/east"},
		"without any label":      {update(patched(t, on(placed), "metadata: {labels: null}")), deploymentsResource, "cluster.tmc.kcp.io/east"},
		"on a namespace":         {update(on("{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {cluster.tmc.kcp.io/east: sync}}}")), gvr("", "v1", "namespaces"), "placed on its cluster"},
		"something new":          {request{after: on(placed)}, deploymentsResource, "only update"},
		"its end":                {request{before: on(placed)}, deploymentsResource, "only update"},
		"an event":               {request{after: on("{apiVersion: v1, kind: Event, metadata: {name: e, namespace: shop}}")}, gvr("", "v1", "events"), "only update"},
		"a status":               {request{subresource: "status", before: on(placed), after: on(placed)}, deploymentsResource, "not their status"},
		"a scale":                {request{subresource: "scale", before: on(placed), after: on(placed)}, deploymentsResource, "not their status"},
		"an APIBinding":          {update(on("{apiVersion: apis.kcp.io/v1alpha2, kind: APIBinding, metadata: {name: tmc.kcp.io}}")), gvr("apis.kcp.io", "v1alpha2", "apibindings"), "placed on its cluster"},
		"a Secret's data": {
			request{before: on("{apiVersion: v1, kind: Secret, data: {a: eA==}, metadata: {name: s, labels: {cluster.tmc.kcp.io/east: sync}}}"), after: on("{apiVersion: v1, kind: Secret, data: {a: eQ==}, metadata: {name: s, labels: {cluster.tmc.kcp.io/east: sync}}}")},
			gvr("", "v1", "secrets"), "outside of metadata",
		},
		"its report on a ConfigMap": {update(on("{apiVersion: v1, kind: ConfigMap, data: {a: b}, metadata: {name: c, labels: {cluster.tmc.kcp.io/east: sync}}}")), gvr("", "v1", "configmaps"), ""},
		"its heartbeat":             {request{after: on("{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: east, namespace: tmc-heartbeats}}")}, gvr("coordination.k8s.io", "v1", "leases"), ""},
		"its registration's status": {
			request{subresource: "status", before: on("{apiVersion: tmc.kcp.io/v1alpha1, kind: ClusterRegistration, metadata: {name: east}}"), after: on("{apiVersion: tmc.kcp.io/v1alpha1, kind: ClusterRegistration, metadata: {name: east}, status: {a: b}}")},
			gvr("tmc.kcp.io", "v1alpha1", "clusterregistrations"), "",
		},
		"its new token": {request{subresource: "token", after: on("{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, metadata: {name: east, namespace: tmc-syncers}}")}, gvr("", "v1", "serviceaccounts"), ""},
	}
	policy := newJudge(t, "tmc-syncers")
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := tc.request
			r.user, r.resource = serviceAccount(provider, "tmc-syncers", "east"), tc.resource
			denied := policy.judge(t, r)
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

func TestAConsumerMayNotWriteWhatIsTMCs(t *testing.T) {
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
				r := request{resource: deploymentsResource, subresource: subresource, before: before, after: patched(t, before, tc.patch)}
				for _, r.user = range consumers {
					if denied := policy.judge(t, r); !strings.Contains(denied, tc.key) {
						t.Errorf("%s %v: got %q, want it denied, and %s named", r.user.GetName(), r.user.GetExtra(), denied, tc.key)
					}
				}
				for _, r.user = range tmc {
					if denied := policy.judge(t, r); denied != "" {
						t.Errorf("%s %v: denied: %s", r.user.GetName(), r.user.GetExtra(), denied)
					}
				}
			}
		})
	}
}

// TestEveryKeyOfTMCIsGuarded takes the keys from where they are defined.
func TestEveryKeyOfTMCIsGuarded(t *testing.T) {
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
		for operation, r := range map[string]request{"set": {before: before, after: after}, "made with": {after: after}, "removed": {before: after, after: before}} {
			r.resource, r.user = deploymentsResource, &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}}
			if denied := policy.judge(t, r); !strings.HasSuffix(denied, ": "+key) {
				t.Errorf("%s %s: got %q", key, operation, denied)
			}
		}
	}
}

func annotate(o *unstructured.Unstructured, key string) {
	o.SetAnnotations(map[string]string{key: "x"})
}

func TestAConsumerIsToldWhatToLeaveOut(t *testing.T) {
	policy := newJudge(t, "tmc-consumers")
	alice := &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}}
	copied := patched(t, object(t, placed), "metadata: {namespace: other, uid: null, resourceVersion: null}")
	denied := policy.judge(t, request{user: alice, resource: deploymentsResource, after: copied})
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

func TestAConsumerMayWriteWhatIsHis(t *testing.T) {
	alice := &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}}
	before := object(t, placed)
	fresh := object(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop, annotations: {tmc.kcp.io/target-clusters: east, override.tmc.kcp.io/east: '[]', tmc.kcp.io/replace: 'true'}, finalizers: [example.com/theirs]}}")
	tests := map[string]request{
		"a new object":                  {after: fresh},
		"a new object without anything": {after: object(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}")},
		"where it goes":                 {before: before, after: patched(t, before, "metadata: {annotations: {tmc.kcp.io/target-clusters: west}}")},
		"what it is like on a cluster":  {before: before, after: patched(t, before, "metadata: {annotations: {override.tmc.kcp.io/east: '[]'}}")},
		"how its status is made":        {before: before, after: patched(t, before, "metadata: {annotations: {tmc.kcp.io/status-strategy: latest, tmc.kcp.io/replace: 'true'}}")},
		"his labels and annotations":    {before: before, after: patched(t, before, "metadata: {labels: {app: api, tier: web}, annotations: {team: red}}")},
		"his finalizers":                {before: before, after: patched(t, before, "metadata: {finalizers: [syncer.tmc.kcp.io/west]}")},
		"the spec":                      {before: before, after: patched(t, before, "spec: {replicas: 9}")},
		"the scale":                     {subresource: "scale", before: object(t, "{apiVersion: autoscaling/v1, kind: Scale, metadata: {name: web}, spec: {replicas: 1}}"), after: object(t, "{apiVersion: autoscaling/v1, kind: Scale, metadata: {name: web}, spec: {replicas: 2}}")},
		"its end":                       {before: before},
		"what has no metadata":          {after: object(t, "{apiVersion: authorization.k8s.io/v1, kind: SelfSubjectAccessReview, spec: {}}")},
	}
	policy := newJudge(t, "tmc-consumers")
	for name, r := range tests {
		t.Run(name, func(t *testing.T) {
			r.user, r.resource = alice, deploymentsResource
			if denied := policy.judge(t, r); denied != "" {
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
		if strings.Contains(string(data), "u003cprovider") || strings.Contains(string(data), providerPlaceholder) {
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
	secret := schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	cases := map[string]struct {
		resource    schema.GroupVersionResource
		subresource string
		operation   admission.Operation
		want        bool
	}{
		"a Secret":               {secret, "", admission.Update, true},
		"a new ConfigMap":        {schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, "", admission.Create, true},
		"an account's token":     {schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}, "token", admission.Create, true},
		"a namespace":            {schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, "finalize", admission.Update, true},
		"what the provider's do": {deploymentsResource, "", admission.Update, false},
		"a Role":                 {schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}, "", admission.Create, false},
	}
	seen := 0
	for _, object := range objects {
		if object.GetKind() != "ValidatingAdmissionPolicy" {
			continue
		}
		seen++
		j := judge{policy: into[admissionregistrationv1.ValidatingAdmissionPolicy](t, object)}
		j.policy.Spec.MatchConstraints.ExcludeResourceRules = nil // what a syncer may do in the provider workspace
		for name, tc := range cases {
			attributes := admission.NewAttributesRecord(nil, nil, schema.GroupVersionKind{}, "shop", "a", tc.resource, tc.subresource, tc.operation, nil, false, nil)
			if got := j.concerns(attributes); got != tc.want {
				t.Errorf("policy %s, %s: asked: %t, want %t", object.GetName(), name, got, tc.want)
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d policies, want tmc-consumers and tmc-syncers", seen)
	}
}
