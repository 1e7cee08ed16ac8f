package main

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// A kube-apiserver takes null for absent. From what is created, kcp drops a null that the schema does not allow; from
// a server-side apply, and from a list within a patch, it does not, and refuses the object. Charts render such nulls
// (limits: null). So the schema allows them in the spec, wherever null means nothing else to it than absent.

// withNullables returns the schema of a kind with the properties of spec nullable that may be absent, but for those with
// which null and absent would not be the same: those that a rule or an alternative asks for or compares, those with
// a default or an enum, and the keys of lists.
func withNullables(schema apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
	spec, ok := schema.Properties["spec"]
	if !ok {
		return schema
	}
	schema = *schema.DeepCopy()
	allowNulls(&spec, asked{}.within(schema).of("spec").within(spec), nil)
	schema.Properties["spec"] = spec
	return schema
}

// asked are the paths, by their elements, that rules ask for below a place in a schema. One that ends with present is asked
// for whether it is there, and not for what is in it.
type asked []string

const present = ".*"

var (
	// rulePath finds what a rule asks for: has or size, whose argument it is, a variable, a path below it, and a method that
	// is called on that.
	rulePath = regexp.MustCompile(`(\b(?:has|size)\()?\b(\w+)((?:\.\w+)*)(\()?`)
	// isMacro matches the macros that go through the items of a list or a map.
	isMacro = regexp.MustCompile(`^(?:all|exists)$`)
	// ruleMacro finds a path of which a macro goes through the items, and the variable that is each of them.
	ruleMacro = regexp.MustCompile(`\b((?:self|oldSelf)((?:\.\w+)*)\.(?:all|exists)\()(\w+),`)
)

// askedBy returns what a rule asks for.
func askedBy(rule string) asked {
	roots := map[string]string{"self": "", "oldSelf": ""}
	for _, macro := range ruleMacro.FindAllStringSubmatch(rule, -1) {
		roots[macro[3]] = macro[2]
	}
	rule = ruleMacro.ReplaceAllString(rule, "$1") // what names the variable does not ask for it
	var paths asked
	for _, match := range rulePath.FindAllStringSubmatch(rule, -1) {
		root, known := roots[match[2]]
		if !known {
			continue
		}
		path, method := root+match[3], ""
		if match[4] != "" {
			at := strings.LastIndex(path, ".")
			path, method = path[:max(at, 0)], path[at+1:]
		}
		if match[1] != "" || path != "" && isMacro.MatchString(method) {
			path += present
		}
		paths = append(paths, strings.TrimPrefix(path, "."))
	}
	return paths
}

// within returns what is asked for below a schema, with what its own rules and alternatives ask for.
func (a asked) within(schema apiextensionsv1.JSONSchemaProps) asked {
	a = slices.Clone(a)
	for _, rule := range schema.XValidations {
		a = append(a, askedBy(rule.Rule)...)
	}
	for _, alternatives := range [][]apiextensionsv1.JSONSchemaProps{schema.OneOf, schema.AnyOf, schema.AllOf} {
		for _, alternative := range alternatives {
			for _, name := range alternative.Required {
				a = append(a, name+present)
			}
			a = append(a, asked{}.within(alternative)...)
		}
	}
	return a
}

// of returns what is asked for below a property.
func (a asked) of(name string) asked {
	var below asked
	for _, path := range a {
		if first, rest, _ := strings.Cut(path, "."); first == name {
			below = append(below, rest)
		}
	}
	return below
}

// whole reports whether all of a value is asked for, whatever is in it.
func (a asked) whole() bool { return slices.Contains(a, "") }

// allowNulls makes the properties within a schema nullable, in place. asked is what rules ask for there, keys are the keys of
// the list that it is the items of.
func allowNulls(schema *apiextensionsv1.JSONSchemaProps, asked asked, keys []string) {
	if asked.whole() {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		property, of := schema.Properties[name], asked.of(name)
		within := of.within(property)
		mayBeAbsent := !slices.Contains(schema.Required, name) && !slices.Contains(keys, name)
		if mayBeAbsent && len(of) == 0 && property.Default == nil && len(property.Enum) == 0 {
			property.Nullable = true
		}
		allowNulls(&property, within, nil)
		schema.Properties[name] = property
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		items := *schema.Items.Schema
		allowNulls(&items, asked.within(items), schema.XListMapKeys)
		schema.Items = &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &items}
	}
}
