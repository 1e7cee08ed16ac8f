package main

import (
	"fmt"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// withImmutability adds to the spec of a kind's schema the rules that keep the
// properties that the table calls immutable. It fails when the schema does not have one
// of them, for the rule would have gone out of date unseen, and when one may hold
// a null: CEL takes two objects with the same null for different, so that no update
// would be taken any more, not even one of the metadata.
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
		property, ok := propertyAt(spec, path)
		if !ok {
			return schema, fmt.Errorf("spec.%s is said to be immutable, and is not in the schema", path)
		}
		if holdsNull(property) {
			return schema, fmt.Errorf("spec.%s is said to be immutable, and something in it may be null", path)
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
	return same("self", "oldSelf", paths...)
}

// same returns the CEL expression that the given properties, as paths with dots, are the
// same in two variables: absent from both or equal.
func same(one, other string, paths ...string) string {
	var terms []string
	for _, path := range paths {
		terms = append(terms, fmt.Sprintf("%[1]s == %[2]s && (!%[1]s || %[3]s.%[5]s == %[4]s.%[5]s)",
			presence(one, path), presence(other, path), one, other, path))
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

// propertyAt returns the schema of the property at a path, and whether there is one.
func propertyAt(schema apiextensionsv1.JSONSchemaProps, path string) (apiextensionsv1.JSONSchemaProps, bool) {
	for name := range strings.SplitSeq(path, ".") {
		property, ok := schema.Properties[name]
		if !ok {
			return schema, false
		}
		schema = property
	}
	return schema, true
}

// holdsNull reports whether a value of the schema, or something within it, may be null.
func holdsNull(schema apiextensionsv1.JSONSchemaProps) bool {
	if schema.Nullable {
		return true
	}
	for _, property := range schema.Properties {
		if holdsNull(property) {
			return true
		}
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		return holdsNull(*schema.Items.Schema)
	}
	return schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil && holdsNull(*schema.AdditionalProperties.Schema)
}
