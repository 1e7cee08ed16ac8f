package main

import (
	"fmt"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// withImmutability adds to the spec of a kind's schema the rules that keep the
// properties that the table calls immutable. It fails when the schema does not have one
// of them: the rule would have gone out of date unseen.
func withImmutability(schema apiextensionsv1.JSONSchemaProps, k kind) (apiextensionsv1.JSONSchemaProps, error) {
	if len(k.immutable) == 0 {
		return schema, nil
	}
	schema = *schema.DeepCopy()
	spec := schema.Properties["spec"]
	if !slices.Contains(schema.Required, "spec") {
		return schema, fmt.Errorf("%s are immutable, but the whole spec is not required", strings.Join(k.immutable, ", "))
	}
	for _, path := range k.immutable {
		if !hasProperty(spec, path) {
			return schema, fmt.Errorf("spec.%s is said to be immutable, and is not in the schema", path)
		}
	}
	spec.XValidations = append(spec.XValidations, immutabilityRules(k)...)
	schema.Properties["spec"] = spec
	return schema, nil
}

// immutabilityRules returns one rule about all immutable properties of a kind if it has
// a message for all, one rule for each otherwise.
func immutabilityRules(k kind) apiextensionsv1.ValidationRules {
	if k.immutableMessage != "" {
		forbidden := apiextensionsv1.FieldValueForbidden
		return apiextensionsv1.ValidationRules{{Rule: unchanged(k.immutable...), Message: k.immutableMessage, Reason: &forbidden}}
	}
	var rules apiextensionsv1.ValidationRules
	for _, path := range k.immutable {
		rules = append(rules, apiextensionsv1.ValidationRule{
			Rule: unchanged(path), Message: "field is immutable", FieldPath: "." + path,
		})
	}
	return rules
}

// unchanged returns the CEL expression that the given properties, as paths with dots,
// are as they were. `self == oldSelf` at a property itself would say less: such a rule
// is not evaluated when the property was added or removed.
func unchanged(paths ...string) string {
	var terms []string
	for _, path := range paths {
		present, wasPresent := presence("self", path), presence("oldSelf", path)
		terms = append(terms, fmt.Sprintf("%[1]s == %[2]s && (!%[1]s || self.%[3]s == oldSelf.%[3]s)", present, wasPresent, path))
	}
	return strings.Join(terms, " && ")
}

// presence returns the CEL expression that the property at a path below variable, and
// each on the way there, is present.
func presence(variable, path string) string {
	var terms []string
	for name := range strings.SplitSeq(path, ".") {
		variable += "." + name
		terms = append(terms, "has("+variable+")")
	}
	if len(terms) == 1 {
		return terms[0]
	}
	return "(" + strings.Join(terms, " && ") + ")"
}

// hasProperty tells whether a schema has the property at a path.
func hasProperty(schema apiextensionsv1.JSONSchemaProps, path string) bool {
	for name := range strings.SplitSeq(path, ".") {
		property, ok := schema.Properties[name]
		if !ok {
			return false
		}
		schema = property
	}
	return true
}
