package manifests

import (
	"fmt"
	"regexp"
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
)

// costly are the variables of tmc-patches that stay variables. They go through manifests with regular expressions, and
// outcome uses them all: what one expression may cost is bounded, and each variable counts by itself.
var costly = sets.New("oldTexts", "texts", "oldItems", "items", "oldKeys", "newKeys", "innerTexts", "innerItems", "inner", "fields", "outcome")

// reference finds where an expression uses a variable of its policy, and the variable's name.
var reference = regexp.MustCompile(`\bvariables\.(\w+)`)

// inline puts the variables of a policy into the expressions that use them.
//
// kcp v0.31.2 ends (`concurrent map read and map write`) when it compiles two policies with variables at the same
// moment: the Kubernetes in it, v1.35, keeps the types of all policies' variables in one map (compositionEnvTemplate in
// k8s.io/apiserver, pkg/admission/plugin/policy/validating/plugin.go). Each workspace has its own compiler. From v1.36
// on each policy has its own map, and this can go.
//
// Policies have no "let". A list of one entry that is mapped does the same: [1 + 2].map(x, x * x)[0] is 9. It evaluates
// a variable once for each expression that uses it, whether the value is needed or not. So no variable may fail, and
// none may be slow where nobody needs it.
func inline(policy *unstructured.Unstructured) error {
	spec := &admissionregistrationv1.ValidatingAdmissionPolicySpec{}
	fields, _, err := unstructured.NestedMap(policy.Object, "spec")
	if err != nil {
		return err
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(fields, spec, true); err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	variables := spec.Variables
	spec.Variables = nil
	for i, variable := range variables {
		if costly.Has(variable.Name) {
			variable.Expression = let(variables[:i], variable.Expression)
			spec.Variables = append(spec.Variables, variable)
		}
	}
	for i := range spec.Validations {
		validation := &spec.Validations[i]
		validation.Expression = let(variables, validation.Expression)
		validation.MessageExpression = let(variables, validation.MessageExpression)
	}
	if fields, err = runtime.DefaultUnstructuredConverter.ToUnstructured(spec); err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	return unstructured.SetNestedMap(policy.Object, fields, "spec")
}

// let returns the expression with those of the variables that it uses, and that these use, except for costly ones. A
// variable uses only those before it.
func let(variables []admissionregistrationv1.Variable, expression string) string {
	used := sets.New[string]()
	inlined := func(text string) string {
		return reference.ReplaceAllStringFunc(text, func(match string) string {
			name := reference.FindStringSubmatch(match)[1]
			if costly.Has(name) {
				return match
			}
			used.Insert(name)
			return name
		})
	}
	result := inlined(expression)
	for _, variable := range slices.Backward(variables) {
		if used.Has(variable.Name) {
			result = fmt.Sprintf("[%s].map(%s, %s)[0]", inlined(variable.Expression), variable.Name, result)
		}
	}
	return result
}
