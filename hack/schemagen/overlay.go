package main

import (
	"encoding/json"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// layOver lays overlay, a JSON schema in YAML, over base, in the manner of a JSON
// merge patch (RFC 7386): objects are merged, everything else is replaced, but that the
// rules of x-kubernetes-validations are added to those that base has from other
// overlays. An overlay may add keywords, but it must not speak of a property that base
// does not have: it would have gone out of date unseen. An empty overlay changes nothing.
func layOver(base apiextensionsv1.JSONSchemaProps, overlay string) (apiextensionsv1.JSONSchemaProps, error) {
	var result, patch apiextensionsv1.JSONSchemaProps
	if err := yaml.UnmarshalStrict([]byte(overlay), &patch); err != nil {
		return result, fmt.Errorf("the overlay is no schema: %w", err)
	}
	baseFields, err := toMap(base)
	if err != nil {
		return result, err
	}
	patchFields := map[string]any{}
	if err := yaml.Unmarshal([]byte(overlay), &patchFields); err != nil {
		return result, fmt.Errorf("the overlay is no schema: %w", err)
	}
	if err := mergeSchema(baseFields, patchFields, ""); err != nil {
		return result, err
	}
	data, err := json.Marshal(baseFields)
	if err != nil {
		return result, err
	}
	return result, json.Unmarshal(data, &result)
}

// mergeSchema merges the keywords of the schema patch into base; path is for errors.
func mergeSchema(base, patch map[string]any, path string) error {
	for keyword, value := range patch {
		if rules, ok := value.([]any); ok && keyword == "x-kubernetes-validations" {
			existing, _ := base[keyword].([]any)
			base[keyword] = append(existing, rules...)
			continue
		}
		nested, isObject := value.(map[string]any)
		if !isObject || keyword == "default" {
			base[keyword] = value
			continue
		}
		existing, ok := base[keyword].(map[string]any)
		if !ok {
			return fmt.Errorf("the overlay's %s.%s is not in the schema", path, keyword)
		}
		if err := mergeNested(existing, nested, keyword, path); err != nil {
			return err
		}
	}
	return nil
}

// mergeNested merges below a keyword: under "properties" each name holds a schema, and
// any other keyword with an object (items, additionalProperties) is a schema itself.
func mergeNested(existing, patch map[string]any, keyword, path string) error {
	if keyword != "properties" {
		return mergeSchema(existing, patch, path+"."+keyword)
	}
	for name, value := range patch {
		property, ok := existing[name].(map[string]any)
		propertyPatch, isObject := value.(map[string]any)
		if !ok || !isObject {
			return fmt.Errorf("the overlay's property %s.%s is not in the schema", path, name)
		}
		if err := mergeSchema(property, propertyPatch, path+"."+name); err != nil {
			return err
		}
	}
	return nil
}

// toMap returns value as its JSON reads.
func toMap(value any) (map[string]any, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	fields := map[string]any{}
	return fields, json.Unmarshal(data, &fields)
}
