// Package policytest has ValidatingAdmissionPolicies judge requests with the API server's own packages, in the way of its
// own plugin (k8s.io/apiserver, pkg/admission/plugin/policy/validating). It is for tests: nothing else imports it, or
// programs would have those packages in them.
package policytest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/cel-go/cel"
	celtypes "github.com/google/cel-go/common/types"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
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
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// Policy is a policy as an API server has it.
type Policy struct {
	spec                  admissionregistrationv1.ValidatingAdmissionPolicySpec
	conditions            matchconditions.Matcher
	validations, messages admissioncel.ConditionEvaluator
}

// expression is a CEL expression, with its name where it is a variable, and the type that it has to have.
type expression struct {
	name, text string
	celType    *cel.Type
}

func (e *expression) GetName() string          { return e.name }
func (e *expression) GetExpression() string    { return e.text }
func (e *expression) ReturnTypes() []*cel.Type { return []*cel.Type{e.celType} }

// Compile returns a policy as an API server of some version of Kubernetes has it: the oldest that is to take it. It fails
// the test when that would not.
func Compile(tb testing.TB, policy *admissionregistrationv1.ValidatingAdmissionPolicy, oldest *version.Version) *Policy {
	tb.Helper()
	compiled, err := compile(policy, oldest)
	if err != nil {
		tb.Fatal(err)
	}
	return compiled
}

func compile(policy *admissionregistrationv1.ValidatingAdmissionPolicy, oldest *version.Version) (*Policy, error) {
	compiler, err := admissioncel.NewCompositedCompiler(environment.MustBaseEnvSet(oldest))
	if err != nil {
		return nil, err
	}
	var none admissioncel.OptionalVariableDeclarations
	var problems []error
	for _, variable := range policy.Spec.Variables {
		// The compiler takes reserved words, and the validation of policies does not (isCELIdentifier in Kubernetes'
		// pkg/apis/admissionregistration/validation).
		if escaped, _ := apiservercel.Escape(variable.Name); escaped != variable.Name {
			problems = append(problems, fmt.Errorf("variable %s: the name is reserved", variable.Name))
		}
		compiled := compiler.CompileAndStoreVariable(&expression{variable.Name, variable.Expression, cel.AnyType}, none, environment.NewExpressions)
		if compiled.Error != nil {
			problems = append(problems, fmt.Errorf("variable %s: %w", variable.Name, compiled.Error))
		}
	}
	conditionsOf := func(expressions []admissioncel.ExpressionAccessor) admissioncel.ConditionEvaluator {
		evaluator := compiler.CompileCondition(expressions, none, environment.NewExpressions)
		problems = append(problems, evaluator.CompilationErrors()...)
		return evaluator
	}
	var conditions, validations, messages []admissioncel.ExpressionAccessor
	for i := range policy.Spec.MatchConditions {
		conditions = append(conditions, (*matchconditions.MatchCondition)(&policy.Spec.MatchConditions[i]))
	}
	for _, validation := range policy.Spec.Validations {
		validations = append(validations, &expression{text: validation.Expression, celType: cel.BoolType})
		var message admissioncel.ExpressionAccessor
		if validation.MessageExpression != "" {
			message = &expression{text: validation.MessageExpression, celType: cel.StringType}
		}
		messages = append(messages, message)
	}
	matcher := matchconditions.NewMatcher(conditionsOf(conditions), policy.Spec.FailurePolicy, "policy", "validate", policy.Name)
	result := &Policy{spec: policy.Spec, conditions: matcher, validations: conditionsOf(validations), messages: conditionsOf(messages)}
	if len(problems) > 0 {
		return nil, fmt.Errorf("policy %s: %w", policy.Name, errors.Join(problems...))
	}
	return result, nil
}

// Request is a request that a policy judges. Where Before is nil, it creates; where After is nil, it deletes.
type Request struct {
	User          user.Info
	Resource      schema.GroupVersionResource
	Subresource   string
	Before, After *unstructured.Unstructured
	// Namespace is the namespace that the object is in, nil for objects that are in none, and where the policy reads
	// nothing of it.
	Namespace *unstructured.Unstructured
	// Manager is the field manager of an update, empty for none.
	Manager string
}

func (r Request) attributes() *admission.VersionedAttributes {
	operation, object, old, some := admission.Update, runtime.Object(r.After), runtime.Object(r.Before), r.After
	switch {
	case r.Before == nil:
		operation, old = admission.Create, nil
	case r.After == nil:
		operation, object, some = admission.Delete, nil, r.Before
	}
	var options runtime.Object
	if r.Manager != "" {
		options = &metav1.UpdateOptions{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "UpdateOptions"}, FieldManager: r.Manager}
	}
	kind, namespace := some.GroupVersionKind(), some.GetNamespace()
	if kind.Kind == "Namespace" {
		namespace = some.GetName()
	}
	return &admission.VersionedAttributes{
		Attributes: admission.NewAttributesRecord(object, old, kind, namespace, some.GetName(),
			r.Resource, r.Subresource, operation, options, false, r.User),
		VersionedObject: object, VersionedOldObject: old, VersionedKind: kind,
	}
}

// Verdict is what a policy says of a request.
type Verdict struct {
	// Asked reports whether the rules of the policy are about the request. Where they are not, it denies nothing.
	Asked bool
	// Messages are those of the validations that deny it, in the order of the policy.
	Messages []string
	// Cost is what it costs to judge the request, in CEL's units: some 10 to 100 ns each.
	Cost int64
}

// Denied reports whether the policy denies the request.
func (v Verdict) Denied() bool { return len(v.Messages) > 0 }

// Message is what whoever makes the request is told, empty when it is not denied: an API server gives the first one.
func (v Verdict) Message() string {
	if !v.Denied() {
		return ""
	}
	return v.Messages[0]
}

// Judge returns what the policy says of a request. An expression that fails denies, too, and fails the test: nobody
// could make sense of what it says.
func (p *Policy) Judge(tb testing.TB, r Request) Verdict {
	tb.Helper()
	attributes := r.attributes()
	constraints := p.spec.MatchConstraints
	if !matches(constraints.ResourceRules, attributes) || matches(constraints.ExcludeResourceRules, attributes) {
		return Verdict{}
	}
	if match := p.conditions.Match(tb.Context(), attributes, nil, nil); match.Error != nil {
		tb.Fatal(match.Error)
	} else if !match.Matches {
		return Verdict{Asked: true}
	}
	var namespace *corev1.Namespace
	if r.Namespace != nil {
		namespace = &corev1.Namespace{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(r.Namespace.Object, namespace); err != nil {
			tb.Fatal(err)
		}
	}
	budget := int64(celconfig.RuntimeCELCostBudget)
	evaluate := func(evaluator admissioncel.ConditionEvaluator) []admissioncel.EvaluationResult {
		request := admissioncel.CreateAdmissionRequest(attributes, metav1.GroupVersionResource(r.Resource), metav1.GroupVersionKind(attributes.VersionedKind))
		results, left, err := evaluator.ForInput(tb.Context(), attributes, request, admissioncel.OptionalVariableBindings{},
			admissioncel.CreateNamespaceObject(namespace), budget)
		if err != nil {
			tb.Fatal(err)
		}
		budget = left
		return results
	}
	results, messages := evaluate(p.validations), evaluate(p.messages)
	verdict := Verdict{Asked: true, Cost: celconfig.RuntimeCELCostBudget - budget}
	for i, result := range results {
		if result.Error != nil {
			tb.Fatalf("%s: %v", p.spec.Validations[i].Expression, result.Error)
		}
		if result.EvalResult != celtypes.True {
			verdict.Messages = append(verdict.Messages, messageOf(p.spec.Validations[i], messages[i]))
		}
	}
	return verdict
}

// messageOf returns what a validation says that denies, given what came of its message expression.
func messageOf(validation admissionregistrationv1.Validation, evaluated admissioncel.EvaluationResult) string {
	if evaluated.Error == nil && evaluated.EvalResult != nil {
		return evaluated.EvalResult.Value().(string)
	}
	if validation.Message != "" {
		return validation.Message
	}
	return "failed expression: " + validation.Expression
}

// matches reports whether one of the rules is about a request.
func matches(all []admissionregistrationv1.NamedRuleWithOperations, attributes admission.Attributes) bool {
	return slices.ContainsFunc(all, func(rule admissionregistrationv1.NamedRuleWithOperations) bool {
		rule.Scope = new(admissionregistrationv1.AllScopes)
		return (&rules.Matcher{Rule: rule.RuleWithOperations, Attr: attributes}).Matches()
	})
}
