package manifests

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/kcp-dev/logicalcluster/v3"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	apisv1alpha1 "github.com/kcp-dev/sdk/apis/apis/v1alpha1"
	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

//go:embed kcp
var files embed.FS

// Schemas returns the APIResourceSchemas that the APIExport refers to, by file name. The name of a schema changes with
// its content.
func Schemas() []*apisv1alpha1.APIResourceSchema {
	return typed[apisv1alpha1.APIResourceSchema](read("kcp/schemas"))
}

// Export returns the APIExport that brings tmc's kinds.
func Export() *apisv1alpha2.APIExport {
	return typed[apisv1alpha2.APIExport](read("kcp/apiexport-tmc.kcp.io.yaml"))[0]
}

// CRDs returns the CustomResourceDefinitions of the provider workspace: kinds that it uses itself and does not export.
func CRDs() []*apiextensionsv1.CustomResourceDefinition {
	return typed[apiextensionsv1.CustomResourceDefinition](read("kcp/crds"))
}

// Namespaces returns the namespaces of the provider workspace.
func Namespaces() []*unstructured.Unstructured { return read("kcp/namespaces.yaml") }

// RBAC returns the RBAC objects of the provider workspace, in the order in which they are to be applied.
func RBAC() []*unstructured.Unstructured { return read("kcp/rbac") }

// Policies returns the ValidatingAdmissionPolicies for the provider workspace, and their bindings. kcp evaluates them for
// the kinds that consumers have by the APIExport. provider is the name of the provider workspace's logical cluster, not
// its path. Policies fails when that is empty: such policies would restrict nobody.
func Policies(provider logicalcluster.Name) ([]*unstructured.Unstructured, error) {
	return readFor(provider, "kcp/policies")
}

// AccountPolicies returns the ValidatingAdmissionPolicy, and its binding, about what syncers may do in the provider
// workspace itself. provider is as in Policies; audiences are those of a token that is requested without any. It fails as
// Policies does.
func AccountPolicies(provider logicalcluster.Name, audiences []string) ([]*unstructured.Unstructured, error) {
	quoted := make([]string, 0, len(audiences))
	for _, audience := range audiences {
		quoted = append(quoted, strconv.Quote(audience))
	}
	return readFor(provider, "kcp/accounts", "<audiences>", "["+strings.Join(quoted, ", ")+"]")
}

// patchesPolicy and readOnlyPolicy are about bound kinds only: kcp merges patches of its own kinds as Kubernetes does, and
// none of those is for reading alone.
const (
	patchesPolicy  = "tmc-patches"
	readOnlyPolicy = "tmc-read-only"
)

var boundOnly = sets.New(patchesPolicy, readOnlyPolicy)

// ConsumerPolicies returns the policies, and their bindings, for a consumer's workspace. kcp evaluates the policies of
// an object's own workspace for kcp's own kinds, which the APIExport claims (kcp,
// pkg/admission/validatingadmissionpolicy); the returned policies are about those kinds only. It fails as Policies does.
func ConsumerPolicies(provider logicalcluster.Name) ([]*unstructured.Unstructured, error) {
	policies, err := Policies(provider)
	if err != nil {
		return nil, err
	}
	var claimed []any
	for _, claim := range Export().Spec.PermissionClaims {
		if claim.Group == "" {
			claimed = append(claimed, claim.Resource, claim.Resource+"/*")
		}
	}
	policies = slices.DeleteFunc(policies, func(policy *unstructured.Unstructured) bool { return boundOnly.Has(policy.GetName()) })
	for _, policy := range policies {
		if err := narrow(policy, claimed); err != nil {
			return nil, fmt.Errorf("policy %s: %w", policy.GetName(), err)
		}
	}
	return policies, nil
}

// narrow restricts a policy to resources of the core group. It does not change a policy's binding.
func narrow(policy *unstructured.Unstructured, resources []any) error {
	path := []string{"spec", "matchConstraints", "resourceRules"}
	rules, found, err := unstructured.NestedSlice(policy.Object, path...)
	if !found || err != nil {
		return err
	}
	for i, rule := range rules {
		fields, isObject := rule.(map[string]any)
		if !isObject {
			return fmt.Errorf("spec.matchConstraints.resourceRules[%d]: expected an object", i)
		}
		fields["apiGroups"], fields["resources"] = []any{""}, resources
	}
	return unstructured.SetNestedSlice(policy.Object, rules, path...)
}

// ConsumerRBAC returns the RBAC objects of a consumer's workspace. They let the hub see whether the workspace is at the
// path that it claims. provider is as in Policies, and it fails as Policies does.
func ConsumerRBAC(provider logicalcluster.Name) ([]*unstructured.Unstructured, error) {
	return readFor(provider, "kcp/consumers")
}

// Repair returns what kcp needs to ask tmc-controller, at a URL, to repair patches: a Secret for the certificates, and
// the MutatingWebhookConfiguration.
func Repair(url string) []*unstructured.Unstructured { return read("kcp/repair", "<url>", url) }

// readFor returns the objects of a folder for the provider workspace with the given name. more are further placeholders,
// each followed by its value. Policies have their variables inlined.
func readFor(provider logicalcluster.Name, dir string, more ...string) ([]*unstructured.Unstructured, error) {
	if provider.Empty() {
		return nil, errors.New("the logical cluster of the provider workspace has no name")
	}
	objects := read(dir, append(more, "<provider>", provider.String())...)
	for _, object := range objects {
		if object.GetKind() != "ValidatingAdmissionPolicy" {
			continue
		}
		if err := inline(object); err != nil {
			return nil, fmt.Errorf("policy %s: %w", object.GetName(), err)
		}
	}
	return objects, nil
}

// read returns the objects of an embedded file, or of all files of a folder in the order of their names, with
// placeholders replaced. placeholders alternate with their values. It panics when a file is broken, which the tests of
// this package would find.
func read(name string, placeholders ...string) []*unstructured.Unstructured {
	var objects []*unstructured.Unstructured
	err := fs.WalkDir(files, name, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		found, err := decode([]byte(strings.NewReplacer(placeholders...).Replace(string(data))))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		objects = append(objects, found...)
		return nil
	})
	if err != nil {
		panic(fmt.Errorf("reading the embedded manifests: %w", err))
	}
	return objects
}

// decode returns the objects of YAML, which may have several documents. It fails when the text is not YAML or holds
// something that is not an object.
func decode(data []byte) ([]*unstructured.Unstructured, error) {
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
}

// typed returns embedded objects as Go types. It panics when an object has a field that its type does not have.
func typed[T any](objects []*unstructured.Unstructured) []*T {
	result := make([]*T, len(objects))
	for i, object := range objects {
		result[i] = new(T)
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, result[i], true); err != nil {
			panic(fmt.Errorf("reading the embedded manifests: %s %s: %w", object.GetKind(), object.GetName(), err))
		}
	}
	return result
}

// Kinds returns the kinds that are synced of what the APIExport serves and claims, sorted by group and resource. It
// leaves out namespaces, which are synced with what is in them.
func Kinds() []schema.GroupResource {
	export := Export()
	var kinds []schema.GroupResource
	for _, resource := range export.Spec.Resources {
		kinds = append(kinds, schema.GroupResource{Group: resource.Group, Resource: resource.Name})
	}
	for _, claim := range export.Spec.PermissionClaims {
		kinds = append(kinds, schema.GroupResource{Group: claim.Group, Resource: claim.Resource})
	}
	kinds = slices.DeleteFunc(kinds, func(kind schema.GroupResource) bool {
		return !v1alpha1.IsSynced(kind, kind != v1alpha1.NamespacesResource.GroupResource())
	})
	slices.SortFunc(kinds, func(a, b schema.GroupResource) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Resource, b.Resource))
	})
	return slices.Compact(kinds)
}
