package manifests

import (
	"bytes"
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
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	apisv1alpha1 "github.com/kcp-dev/sdk/apis/apis/v1alpha1"
	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"
)

//go:embed kcp
var files embed.FS

// Schemas returns the APIResourceSchemas that the APIExport refers to, by file name.
// Their names change with their content. It fails when an embedded file is broken.
func Schemas() ([]*apisv1alpha1.APIResourceSchema, error) {
	objects, err := read("kcp/schemas")
	if err != nil {
		return nil, err
	}
	return typed[apisv1alpha1.APIResourceSchema](objects)
}

// Export returns the APIExport. It fails when the embedded file is broken.
func Export() (*apisv1alpha2.APIExport, error) {
	objects, err := readFile("kcp/apiexport-tmc.kcp.io.yaml")
	if err != nil {
		return nil, err
	}
	exports, err := typed[apisv1alpha2.APIExport](objects)
	if err != nil {
		return nil, err
	}
	if len(exports) != 1 {
		return nil, fmt.Errorf("expected one APIExport, found %d", len(exports))
	}
	return exports[0], nil
}

// CRDs returns the CustomResourceDefinitions of the provider workspace: what it has for
// itself, and does not export. It fails when an embedded file is broken.
func CRDs() ([]*apiextensionsv1.CustomResourceDefinition, error) {
	objects, err := read("kcp/crds")
	if err != nil {
		return nil, err
	}
	return typed[apiextensionsv1.CustomResourceDefinition](objects)
}

// Namespaces returns the namespaces of the provider workspace. It fails when the
// embedded file is broken.
func Namespaces() ([]*unstructured.Unstructured, error) {
	return readFile("kcp/namespaces.yaml")
}

// RBAC returns the RBAC objects of the provider workspace, in the order in which they
// are to be applied. It fails when an embedded file is broken.
func RBAC() ([]*unstructured.Unstructured, error) {
	return read("kcp/rbac")
}

// providerPlaceholder stands in the policies for the logical cluster's name of the
// provider workspace, by which kcp says whose a ServiceAccount is.
const providerPlaceholder = "<provider>"

// Policies returns the ValidatingAdmissionPolicies and their bindings for the provider
// workspace of the given name, which is that of its logical cluster and not its path. kcp
// asks them about the kinds that consumers have by the APIExport. It fails when the name
// is empty, for policies for nobody would hold nothing back, and when an embedded file is
// broken.
func Policies(provider logicalcluster.Name) ([]*unstructured.Unstructured, error) {
	return readFor(provider, "kcp/policies")
}

// readFor returns the objects of a folder for the provider workspace of the given name; more
// are further placeholders, each with what is to stand there.
func readFor(provider logicalcluster.Name, dir string, more ...string) ([]*unstructured.Unstructured, error) {
	if provider.Empty() {
		return nil, errors.New("the logical cluster of the provider workspace has no name")
	}
	fill := strings.NewReplacer(append(more, providerPlaceholder, provider.String())...)
	return readWith(dir, func(data []byte) []byte { return []byte(fill.Replace(string(data))) })
}

// audiencesPlaceholder stands in the policy about syncers' accounts for the audiences of kcp.
const audiencesPlaceholder = "<audiences>"

// AccountPolicies returns the ValidatingAdmissionPolicy, and its binding, about what syncers may
// do in the provider workspace itself. provider is as with Policies; audiences are those that
// kcp gives a token for which none are asked. It fails when the name is empty, and when an
// embedded file is broken.
func AccountPolicies(provider logicalcluster.Name, audiences []string) ([]*unstructured.Unstructured, error) {
	quoted := make([]string, 0, len(audiences))
	for _, audience := range audiences {
		quoted = append(quoted, strconv.Quote(audience))
	}
	return readFor(provider, "kcp/accounts", audiencesPlaceholder, "["+strings.Join(quoted, ", ")+"]")
}

// patchesPolicy is about bound kinds alone: what is built into kcp merges patches as
// Kubernetes does.
const patchesPolicy = "tmc-patches"

// ConsumerPolicies returns those of Policies, and their bindings, that consumers'
// workspaces need as well: about kcp's own kinds, which the APIExport claims, kcp asks the
// policies of the workspace that the object is in (kcp,
// pkg/admission/validatingadmissionpolicy). They are about nothing else there.
func ConsumerPolicies(provider logicalcluster.Name) ([]*unstructured.Unstructured, error) {
	policies, err := Policies(provider)
	if err != nil {
		return nil, err
	}
	export, err := Export()
	if err != nil {
		return nil, err
	}
	var claimed []any
	for _, claim := range export.Spec.PermissionClaims {
		if claim.Group == "" {
			claimed = append(claimed, claim.Resource, claim.Resource+"/*")
		}
	}
	policies = slices.DeleteFunc(policies, func(policy *unstructured.Unstructured) bool { return policy.GetName() == patchesPolicy })
	for _, policy := range policies {
		if err := narrow(policy, claimed); err != nil {
			return nil, fmt.Errorf("policy %s: %w", policy.GetName(), err)
		}
	}
	return policies, nil
}

// ConsumerRBAC returns what lets the hub see, in a consumer's workspace, whether that is at
// the path that it says: provider is as with Policies. It fails when the name is empty, and
// when an embedded file is broken.
func ConsumerRBAC(provider logicalcluster.Name) ([]*unstructured.Unstructured, error) {
	return readFor(provider, "kcp/consumers")
}

// narrow has a policy be about resources of the core group alone. It leaves its binding
// as it is.
func narrow(policy *unstructured.Unstructured, resources []any) error {
	path := []string{"spec", "matchConstraints", "resourceRules"}
	rules, found, err := unstructured.NestedSlice(policy.Object, path...)
	if !found || err != nil {
		return err
	}
	for _, rule := range rules {
		fields, isObject := rule.(map[string]any)
		if !isObject {
			return errors.New("a rule of its matchConstraints is no object")
		}
		fields["apiGroups"], fields["resources"] = []any{""}, resources
	}
	return unstructured.SetNestedSlice(policy.Object, rules, path...)
}

// urlPlaceholder stands in the webhook's configuration for the URL at which kcp reaches it.
const urlPlaceholder = "<url>"

// Repair returns what kcp needs to ask tmc-controller to repair patches, at a URL: the Secret that it keeps its
// certificates in, and the MutatingWebhookConfiguration. It fails when the embedded file is broken.
func Repair(url string) ([]*unstructured.Unstructured, error) {
	return readWith("kcp/repair", func(data []byte) []byte {
		return bytes.ReplaceAll(data, []byte(urlPlaceholder), []byte(url))
	})
}

// read returns the objects of all files of a directory, in the order of the names.
func read(dir string) ([]*unstructured.Unstructured, error) {
	return readWith(dir, func(data []byte) []byte { return data })
}

// readWith is read with the files as edit leaves them.
func readWith(dir string, edit func([]byte) []byte) ([]*unstructured.Unstructured, error) {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, entry := range entries {
		name := dir + "/" + entry.Name()
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		found, err := decode(edit(data))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

// readFile returns the objects of one file.
func readFile(name string) ([]*unstructured.Unstructured, error) {
	data, err := files.ReadFile(name)
	if err != nil {
		return nil, err
	}
	objects, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return objects, nil
}

// decode returns the objects of YAML, which may have several documents.
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

// typed returns the objects as Go types. It is strict: a field that the type does not
// have is an error.
func typed[T any](objects []*unstructured.Unstructured) ([]*T, error) {
	var result []*T
	for _, object := range objects {
		into := new(T)
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, into, true); err != nil {
			return nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		result = append(result, into)
	}
	return result, nil
}
