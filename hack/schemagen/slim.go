package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// kcp keeps each schema in memory several times, for its own API and again for each
// APIExport whose virtual workspace serves the kind: an isolated cluster costs what the
// schemas of its kinds do. What follows is left out of them.

// absentProperties are properties that no object of ours may have, by the definition that
// has them.
var absentProperties = map[string][]string{
	// "ephemeral containers not allowed in pod template": ValidatePodTemplateSpec
	// (pkg/apis/core/validation/validation.go). They are a sixth of a workload's schema.
	"io.k8s.api.core.v1.PodSpec": {"ephemeralContainers"},
}

// opaqueDefinitions are objects of which the schema says nothing: whatever is in them is
// kept, and the clusters check it. They are the volume sources that Kubernetes calls
// deprecated or has no plugin for any more (Volume in staging/src/k8s.io/api/core/v1/types.go).
var opaqueDefinitions = []string{
	"io.k8s.api.core.v1.AWSElasticBlockStoreVolumeSource",
	"io.k8s.api.core.v1.AzureDiskVolumeSource",
	"io.k8s.api.core.v1.AzureFileVolumeSource",
	"io.k8s.api.core.v1.CephFSVolumeSource",
	"io.k8s.api.core.v1.CinderVolumeSource",
	"io.k8s.api.core.v1.FlexVolumeSource",
	"io.k8s.api.core.v1.FlockerVolumeSource",
	"io.k8s.api.core.v1.GCEPersistentDiskVolumeSource",
	"io.k8s.api.core.v1.GitRepoVolumeSource",
	"io.k8s.api.core.v1.GlusterfsVolumeSource",
	"io.k8s.api.core.v1.PhotonPersistentDiskVolumeSource",
	"io.k8s.api.core.v1.PortworxVolumeSource",
	"io.k8s.api.core.v1.QuobyteVolumeSource",
	"io.k8s.api.core.v1.RBDVolumeSource",
	"io.k8s.api.core.v1.ScaleIOVolumeSource",
	"io.k8s.api.core.v1.StorageOSVolumeSource",
	"io.k8s.api.core.v1.VsphereVirtualDiskVolumeSource",
}

// slimmed returns the schema of a kind with the properties that the table calls opaque or
// defaultsOnly reduced to that. It fails when the schema does not have one of them.
func slimmed(schema apiextensionsv1.JSONSchemaProps, k kind) (apiextensionsv1.JSONSchemaProps, error) {
	schema = *schema.DeepCopy()
	for _, path := range k.opaque {
		if err := reduce(&schema, path, func(property apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
			return anyObject(property.Description)
		}); err != nil {
			return schema, err
		}
	}
	for _, path := range k.defaultsOnly {
		if err := reduce(&schema, path, func(property apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
			reduced, found := defaultsOf(property)
			if !found {
				reduced = anyObject("")
			}
			reduced.Description = property.Description
			return reduced
		}); err != nil {
			return schema, err
		}
	}
	return schema, nil
}

// reduce replaces the property at a path of the schema, in place, by what to makes of it.
func reduce(schema *apiextensionsv1.JSONSchemaProps, path string, to func(apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps) error {
	name, rest, isDeeper := strings.Cut(path, ".")
	property, ok := schema.Properties[name]
	if !ok {
		return fmt.Errorf("the property %s, of which less is to be said, is not in the schema", path)
	}
	if !isDeeper {
		schema.Properties[name] = to(property)
		return nil
	}
	if err := reduce(&property, rest, to); err != nil {
		return err
	}
	schema.Properties[name] = property
	return nil
}

// defaultsOf returns the schema that fills in the same defaults and takes everything, and
// whether there are defaults at all. A field that it does not know is kept as it is.
func defaultsOf(schema apiextensionsv1.JSONSchemaProps) (apiextensionsv1.JSONSchemaProps, bool) {
	reduced := apiextensionsv1.JSONSchemaProps{Type: schema.Type, Nullable: schema.Nullable, XIntOrString: schema.XIntOrString, Default: schema.Default}
	found := schema.Default != nil
	if schema.Type == objectType {
		reduced.XPreserveUnknownFields = new(true)
	}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		property, has := defaultsOf(schema.Properties[name])
		if !has {
			continue
		}
		if reduced.Properties == nil {
			reduced.Properties = map[string]apiextensionsv1.JSONSchemaProps{}
		}
		reduced.Properties[name], found = property, true
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		items, has := defaultsOf(*schema.Items.Schema)
		reduced.Items, found = &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &items}, found || has
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		if values, has := defaultsOf(*schema.AdditionalProperties.Schema); has {
			// Beside values of one schema there are no unknown fields.
			reduced.AdditionalProperties, found = &apiextensionsv1.JSONSchemaPropsOrBool{Allows: true, Schema: &values}, true
			reduced.XPreserveUnknownFields = nil
		}
	}
	return reduced, found
}
