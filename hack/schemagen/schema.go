package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/yaml"

	apisv1alpha1 "github.com/kcp-dev/sdk/apis/apis/v1alpha1"
	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// schemaFor returns the APIResourceSchema of one kind, from its OpenAPI document or
// from its CustomResourceDefinition under root.
func schemaFor(k kind, openAPI []byte, root string) (*apisv1alpha1.APIResourceSchema, error) {
	spec, err := specFor(k, openAPI, root)
	if err != nil {
		return nil, err
	}
	name, err := schemaName(k, *spec)
	if err != nil {
		return nil, err
	}
	return &apisv1alpha1.APIResourceSchema{
		TypeMeta:   metav1.TypeMeta{APIVersion: apisv1alpha1.SchemeGroupVersion.String(), Kind: "APIResourceSchema"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: approval(k.group)},
		Spec:       *spec,
	}, nil
}

// approval returns the annotation without which an API server takes no definition of
// a kind in the community's groups (kubernetes/enhancements, KEP-1111), nil for others.
func approval(group string) map[string]string {
	if !apihelpers.IsProtectedCommunityGroup(group) {
		return nil
	}
	return map[string]string{apiextensionsv1.KubeAPIApprovedAnnotation: "unapproved, served by tmc"}
}

// specFor returns the spec of a kind's schema.
func specFor(k kind, openAPI []byte, root string) (*apisv1alpha1.APIResourceSchemaSpec, error) {
	if k.crdFile != "" {
		return specFromCRD(k, root)
	}
	schema, err := builtInSchema(k, openAPI)
	if err != nil {
		return nil, err
	}
	version := apisv1alpha1.APIResourceVersion{
		Name: k.version, Served: true, Storage: true,
		Subresources:             k.subresources,
		AdditionalPrinterColumns: k.columns,
	}
	if err := version.SetSchema(&schema); err != nil {
		return nil, err
	}
	return &apisv1alpha1.APIResourceSchemaSpec{
		Group: k.group,
		Names: apiextensionsv1.CustomResourceDefinitionNames{
			Kind: k.kind, ListKind: k.kind + "List", Plural: k.resource, Singular: k.singular,
			ShortNames: k.shortNames, Categories: k.categories,
		},
		Scope:    k.scope,
		Versions: []apisv1alpha1.APIResourceVersion{version},
	}, nil
}

// builtInSchema returns the schema of a built-in kind, with all that the table says of it.
func builtInSchema(k kind, openAPI []byte) (apiextensionsv1.JSONSchemaProps, error) {
	schema, err := convertKind(openAPI, k, definitionOverlays)
	if err != nil {
		return schema, err
	}
	schema, err = withImmutability(schema, k)
	if err != nil {
		return schema, err
	}
	schema, err = withConditions(schema, k)
	if err != nil {
		return schema, err
	}
	return slimmed(withNullables(schema), k)
}

// specFromCRD returns the spec that says the same as a CustomResourceDefinition.
func specFromCRD(k kind, root string) (*apisv1alpha1.APIResourceSchemaSpec, error) {
	crd, err := definitionFrom(k, root)
	if err != nil {
		return nil, err
	}
	schema, err := apisv1alpha1.CRDToAPIResourceSchema(crd, "v1")
	if err != nil {
		return nil, fmt.Errorf("converting %s: %w", k.crdFile, err)
	}
	return &schema.Spec, nil
}

// definitionFrom returns the CustomResourceDefinition of a kind's crdFile, with the
// kind's overlay laid over its schemas, and without the marks of what wrote the file.
func definitionFrom(k kind, root string) (*apiextensionsv1.CustomResourceDefinition, error) {
	data, err := os.ReadFile(filepath.Join(root, k.crdFile))
	if err != nil {
		return nil, err
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(data, crd); err != nil {
		return nil, fmt.Errorf("%s is no CustomResourceDefinition: %w", k.crdFile, err)
	}
	crd.Annotations = approval(k.group)
	for i := range crd.Spec.Versions {
		schema := crd.Spec.Versions[i].Schema
		if schema == nil || schema.OpenAPIV3Schema == nil {
			continue
		}
		laid, err := layOver(*schema.OpenAPIV3Schema, k.overlay)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.crdFile, err)
		}
		schema.OpenAPIV3Schema = &laid
	}
	return crd, nil
}

// schemaName returns a name that is another one when the content is another one,
// because kcp lets nobody change a schema. The form prefix.resource.group, with "core"
// for the core group, is kcp's (admission of APIResourceSchemas).
func schemaName(k kind, spec apisv1alpha1.APIResourceSchemaSpec) (string, error) {
	data, err := json.Marshal(spec)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return fmt.Sprintf("%s-%s.%s", k.version, hex.EncodeToString(sum[:4]), resourceName(k)), nil
}

// resourceName returns resource.group as kcp writes it in names.
func resourceName(k kind) string {
	if k.group == "" {
		return k.resource + ".core"
	}
	return k.resource + "." + k.group
}

// exportOf returns the APIExport that serves what the schemas describe.
func exportOf(schemas []*apisv1alpha1.APIResourceSchema) *apisv1alpha2.APIExport {
	export := &apisv1alpha2.APIExport{
		TypeMeta:   metav1.TypeMeta{APIVersion: apisv1alpha2.SchemeGroupVersion.String(), Kind: "APIExport"},
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.APIExportName},
		Spec: apisv1alpha2.APIExportSpec{
			PermissionClaims: permissionClaims,
			// What consumersRole does not allow, no consumer may do, whatever permissions he
			// has in his workspace.
			MaximalPermissionPolicy: &apisv1alpha2.MaximalPermissionPolicy{Local: &apisv1alpha2.LocalAPIExportPolicy{}},
		},
	}
	for _, schema := range schemas {
		export.Spec.Resources = append(export.Spec.Resources, apisv1alpha2.ResourceSchema{
			Name: schema.Spec.Names.Plural, Group: schema.Spec.Group, Schema: schema.Name,
			Storage: apisv1alpha2.ResourceSchemaStorage{CRD: &apisv1alpha2.ResourceSchemaStorageCRD{}},
		})
	}
	return export
}

// get is the verb of who may read one object by its name.
const get = "get"

// consumersRole returns the role that says the most that consumers may do with what the
// schemas describe: everything, but of the status they may only read what the hub has
// written there. kcp asks for it in the workspace of the APIExport, with prefixed names of
// users and groups (kcp, pkg/authorization/maximal_permission_policy_authorizer.go).
func consumersRole(schemas []*apisv1alpha1.APIResourceSchema) *rbacv1.ClusterRole {
	role := &rbacv1.ClusterRole{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"},
		ObjectMeta: metav1.ObjectMeta{Name: "tmc-consumers"},
	}
	for _, schema := range schemas {
		resource := schema.Spec.Names.Plural
		everything, statuses := []string{resource}, []string{}
		for _, version := range schema.Spec.Versions {
			if version.Subresources.Scale != nil {
				everything = append(everything, resource+"/scale")
			}
			if version.Subresources.Status != nil {
				statuses = append(statuses, resource+"/status")
			}
		}
		role.Rules = append(role.Rules,
			rbacv1.PolicyRule{APIGroups: []string{schema.Spec.Group}, Resources: sets.List(sets.New(everything...)), Verbs: []string{rbacv1.VerbAll}})
		if len(statuses) > 0 {
			role.Rules = append(role.Rules,
				rbacv1.PolicyRule{APIGroups: []string{schema.Spec.Group}, Resources: sets.List(sets.New(statuses...)), Verbs: []string{get}})
		}
	}
	return role
}
