package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// referencePrefix starts a $ref in an OpenAPI v3 document.
	referencePrefix = "#/components/schemas/"

	// objectType is the type of a schema with properties.
	objectType = "object"

	quantityDefinition    = "io.k8s.apimachinery.pkg.api.resource.Quantity"
	intOrStringDefinition = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"

	// quantityPattern is what a quantity in string form looks like: the grammar in the
	// doc comment of apimachinery's resource.Quantity. Exponents are bounded: parsing
	// "1e99999999999" keeps a server busy for minutes, and no quantity is that large.
	quantityPattern = `^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,3})?$`
)

// document is the part of an OpenAPI v3 document that the conversion reads. Keywords
// that JSONSchemaProps does not know (x-kubernetes-patch-strategy, x-kubernetes-unions,
// …) are those that a structural schema must not have; decoding drops them.
type document struct {
	Components struct {
		Schemas map[string]apiextensionsv1.JSONSchemaProps `json:"schemas"`
	} `json:"components"`
}

// groupVersionKinds is the extension that says which definition is which kind.
type groupVersionKinds struct {
	Components struct {
		Schemas map[string]struct {
			Kinds []metav1.GroupVersionKind `json:"x-kubernetes-group-version-kind"`
		} `json:"schemas"`
	} `json:"components"`
}

// converter makes structural schemas of OpenAPI definitions.
type converter struct {
	definitions map[string]apiextensionsv1.JSONSchemaProps
	// overlays are laid over definitions by name.
	overlays map[string]string
}

// convertKind returns the structural schema of one built-in kind from the OpenAPI v3
// document of its group version. It fails when the document does not have the kind or
// uses a keyword that the conversion does not know.
func convertKind(openAPI []byte, k kind, overlays map[string]string) (apiextensionsv1.JSONSchemaProps, error) {
	var none apiextensionsv1.JSONSchemaProps
	var doc document
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		return none, fmt.Errorf("the OpenAPI document is not readable: %w", err)
	}
	name, err := definitionOf(openAPI, k)
	if err != nil {
		return none, err
	}
	c := converter{definitions: doc.Components.Schemas, overlays: overlays}
	schema, err := c.definition(name, nil)
	if err != nil {
		return none, err
	}
	// kcp fills in the rest of the top-level metadata itself, and allows nothing but
	// the type here.
	schema.Properties["metadata"] = apiextensionsv1.JSONSchemaProps{Type: objectType}
	return layOver(schema, k.overlay)
}

// definitionOf returns the name of the definition that is the kind.
func definitionOf(openAPI []byte, k kind) (string, error) {
	var doc groupVersionKinds
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		return "", fmt.Errorf("the OpenAPI document is not readable: %w", err)
	}
	for name, definition := range doc.Components.Schemas {
		// Definitions for several kinds are those that every group has, like DeleteOptions.
		if len(definition.Kinds) != 1 {
			continue
		}
		gvk := definition.Kinds[0]
		if gvk.Group == k.group && gvk.Version == k.version && gvk.Kind == k.kind {
			return name, nil
		}
	}
	return "", fmt.Errorf("the OpenAPI document has no kind %s in %s", k.kind, groupVersion(k.group, k.version))
}

// definition returns the structural schema of a named definition. within are the
// definitions that it is being inlined into.
func (c *converter) definition(name string, within []string) (apiextensionsv1.JSONSchemaProps, error) {
	if schema, ok := wellKnown(name); ok {
		return schema, nil
	}
	source, ok := c.definitions[name]
	if !ok {
		return source, fmt.Errorf("definition %s is missing", name)
	}
	if slices.Contains(within, name) || slices.Contains(opaqueDefinitions, name) {
		return anyObject(source.Description), nil
	}
	for _, property := range absentProperties[name] {
		if _, ok := source.Properties[property]; !ok {
			return source, fmt.Errorf("%s: the property %s, which is left out, is not there any more", name, property)
		}
		source.Properties = maps.Clone(source.Properties)
		delete(source.Properties, property)
	}
	schema, err := c.schema(source, append(slices.Clip(within), name))
	if err != nil {
		return schema, fmt.Errorf("%s: %w", name, err)
	}
	overlay, ok := c.overlays[name]
	if !ok {
		return schema, nil
	}
	schema, err = layOver(schema, overlay)
	if err != nil {
		return schema, fmt.Errorf("%s: %w", name, err)
	}
	return schema, nil
}

// wellKnown returns the schemas of the definitions that JSON schema cannot express in
// the form in which they are published, and whether name is one of them.
func wellKnown(name string) (apiextensionsv1.JSONSchemaProps, bool) {
	switch name {
	case quantityDefinition:
		// Published as string or number. Only integers and strings can be told apart
		// from the rest in a structural schema.
		return apiextensionsv1.JSONSchemaProps{XIntOrString: true, Pattern: quantityPattern}, true
	case intOrStringDefinition:
		// The integer is an int32, and neither a port nor a number of pods is negative.
		return apiextensionsv1.JSONSchemaProps{XIntOrString: true, Minimum: new(0.0), Maximum: new(float64(math.MaxInt32))}, true
	default:
		return apiextensionsv1.JSONSchemaProps{}, false
	}
}

// anyObject is an object of which nothing is said: everything in it is kept.
func anyObject(description string) apiextensionsv1.JSONSchemaProps {
	return apiextensionsv1.JSONSchemaProps{Type: objectType, Description: description, XPreserveUnknownFields: new(true)}
}

// schema returns source with references inlined and without what a structural schema
// must not have.
func (c *converter) schema(source apiextensionsv1.JSONSchemaProps, within []string) (apiextensionsv1.JSONSchemaProps, error) {
	if reference := referenceIn(source); reference != "" {
		return c.reference(reference, source, within)
	}
	if err := refuseUnknown(source); err != nil {
		return source, err
	}
	schema := *source.DeepCopy()
	if isZero(schema.Default) {
		schema.Default = nil
	}
	if schema.Type == objectType && len(schema.Properties) == 0 && schema.AdditionalProperties == nil {
		return anyObject(schema.Description), nil
	}
	if err := c.children(&schema, within); err != nil {
		return schema, err
	}
	return schema, keyDefaults(source, &schema, c.definitions)
}

// reference inlines the referenced definition. What stands beside the reference is
// about this use of the definition and goes before what the definition says.
func (c *converter) reference(name string, source apiextensionsv1.JSONSchemaProps, within []string) (apiextensionsv1.JSONSchemaProps, error) {
	schema, err := c.definition(name, within)
	if err != nil {
		return schema, err
	}
	if source.Description != "" {
		schema.Description = source.Description
	}
	if !isZero(source.Default) {
		schema.Default = source.Default
	}
	return schema, nil
}

// children converts the schemas within schema, in place.
func (c *converter) children(schema *apiextensionsv1.JSONSchemaProps, within []string) error {
	for name, property := range schema.Properties {
		converted, err := c.schema(property, within)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		schema.Properties[name] = converted
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		items, err := c.schema(*schema.Items.Schema, within)
		if err != nil {
			return fmt.Errorf("items: %w", err)
		}
		schema.Items.Schema = &items
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		values, err := c.schema(*schema.AdditionalProperties.Schema, within)
		if err != nil {
			return fmt.Errorf("additionalProperties: %w", err)
		}
		schema.AdditionalProperties.Schema = &values
	}
	return nil
}

// keyDefaults returns the keys of a list of type map back the zero defaults that were
// taken away: a structural schema wants each key to be required or defaulted
// (apiextensions-apiserver, validation of x-kubernetes-list-map-keys).
func keyDefaults(source apiextensionsv1.JSONSchemaProps, schema *apiextensionsv1.JSONSchemaProps, definitions map[string]apiextensionsv1.JSONSchemaProps) error {
	if len(schema.XListMapKeys) == 0 || schema.Items == nil || schema.Items.Schema == nil {
		return nil
	}
	items := *source.Items.Schema
	if reference := referenceIn(items); reference != "" {
		items = definitions[reference]
	}
	for _, key := range schema.XListMapKeys {
		property, ok := schema.Items.Schema.Properties[key]
		if !ok {
			return fmt.Errorf("the list's key %s is no property of its items", key)
		}
		if slices.Contains(schema.Items.Schema.Required, key) || property.Default != nil {
			continue
		}
		property.Default = items.Properties[key].Default
		schema.Items.Schema.Properties[key] = property
	}
	return nil
}

// referenceIn returns the name of the definition that the schema refers to, plainly or
// as the only element of allOf (which is how OpenAPI v3 puts a description beside it).
func referenceIn(schema apiextensionsv1.JSONSchemaProps) string {
	reference := schema.Ref
	if reference == nil && len(schema.AllOf) == 1 {
		reference = schema.AllOf[0].Ref
	}
	if reference == nil {
		return ""
	}
	return strings.TrimPrefix(*reference, referencePrefix)
}

// refuseUnknown fails on keywords that a structural schema allows only under
// conditions: a new kind that needs one must be thought about.
func refuseUnknown(schema apiextensionsv1.JSONSchemaProps) error {
	switch {
	case len(schema.AllOf) > 0, len(schema.AnyOf) > 0, len(schema.OneOf) > 0, schema.Not != nil:
		return errors.New("allOf, anyOf, oneOf and not are not known to the conversion")
	case len(schema.Definitions) > 0, len(schema.Dependencies) > 0, len(schema.PatternProperties) > 0:
		return errors.New("definitions, dependencies and patternProperties are not known to the conversion")
	default:
		return nil
	}
}

// isZero reports whether a published default is a Go zero value. Go types have one
// wherever a field is no pointer ("" for a required name, {} for a struct): it does not
// mean that an API server fills it in, and would make every required field optional.
func isZero(value *apiextensionsv1.JSON) bool {
	if value == nil {
		return true
	}
	return slices.Contains([]string{`""`, "0", "false", "{}", "[]", "null"}, string(value.Raw))
}

// groupVersion returns the group version as it stands in apiVersion.
func groupVersion(group, version string) string {
	if group == "" {
		return version
	}
	return group + "/" + version
}
