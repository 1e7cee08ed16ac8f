package guard

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/manifests"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// resources are the resources of the policies' kinds.
var resources = map[string]schema.GroupVersionResource{
	"ValidatingAdmissionPolicy":        v1alpha1.PoliciesResource,
	"ValidatingAdmissionPolicyBinding": v1alpha1.PolicyBindingsResource,
}

// wanted is one policy, or the binding of one, as each workspace should have it.
type wanted struct {
	resource schema.GroupVersionResource
	object   *unstructured.Unstructured
	// digest is the digest of the object's spec.
	digest string
}

// in returns the key of the policy in a workspace.
func (w wanted) in(workspace logicalcluster.Name) kcp.ObjectKey {
	return kcp.ObjectKey{Workspace: workspace, Resource: w.resource, Name: w.object.GetName()}
}

// wantedOf returns the policies that each workspace should have. provider is the logical cluster with the APIExports.
func wantedOf(provider logicalcluster.Name) ([]wanted, error) {
	objects, err := manifests.ConsumerPolicies(provider)
	if err != nil {
		return nil, err
	}
	all := make([]wanted, 0, len(objects))
	for _, object := range objects {
		resource, known := resources[object.GetKind()]
		if !known {
			return nil, fmt.Errorf("%s %s is no policy", object.GetKind(), object.GetName())
		}
		all = append(all, wanted{resource: resource, object: object, digest: digestOf(object)})
	}
	return all, nil
}

// state is how a live policy compares with the wanted one.
type state int

const (
	// missing is a policy that does not exist.
	missing state = iota
	// going is a policy that is being deleted: anybody may still change it, and nobody can keep it.
	going
	// changed is a policy with another spec.
	changed
	// equal is a policy with the wanted spec.
	equal
)

// compare compares a live policy, nil for none. digest returns the digest of its spec.
func (w wanted) compare(live *unstructured.Unstructured, digest func(*unstructured.Unstructured) string) state {
	switch {
	case live == nil:
		return missing
	case live.GetDeletionTimestamp() != nil:
		return going
	case digest(live) != w.digest:
		return changed
	default:
		return equal
	}
}

// onto returns the live policy with the wanted spec as a whole: what is left over in a spec would deny, or let pass,
// what it should not. All beside the spec stays, such as somebody's labels: it has no effect.
func (w wanted) onto(live *unstructured.Unstructured) *unstructured.Unstructured {
	next := live.DeepCopy()
	next.Object["spec"] = runtime.DeepCopyJSONValue(w.object.Object["spec"])
	return next
}

// digestOf returns a digest of a policy's spec, the same before and after an API server has set defaults. A field that
// tmc does not know changes the digest: it may weaken the policy.
func digestOf(policy *unstructured.Unstructured) string {
	spec, _, _ := unstructured.NestedFieldCopy(policy.Object, "spec")
	if fields, isObject := spec.(map[string]any); isObject && policy.GetKind() == "ValidatingAdmissionPolicy" {
		setDefaults(fields)
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return "" // this never happens to decoded JSON, and equals no wanted digest
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// setDefaults sets the API server's defaults (SetDefaults_ValidatingAdmissionPolicySpec, SetDefaults_MatchResources and
// SetDefaults_Rule in k8s.io/kubernetes, pkg/apis/admissionregistration/v1/defaults.go).
func setDefaults(spec map[string]any) {
	setDefault(spec, "failurePolicy", "Fail")
	constraints, isObject := spec["matchConstraints"].(map[string]any)
	if !isObject {
		return
	}
	setDefault(constraints, "matchPolicy", "Equivalent")
	setDefault(constraints, "namespaceSelector", map[string]any{})
	setDefault(constraints, "objectSelector", map[string]any{})
	for _, list := range []string{"resourceRules", "excludeResourceRules"} {
		rules, _ := constraints[list].([]any)
		for _, rule := range rules {
			if fields, isObject := rule.(map[string]any); isObject {
				setDefault(fields, "scope", "*")
			}
		}
	}
}

func setDefault(fields map[string]any, name string, value any) {
	if fields[name] == nil {
		fields[name] = value
	}
}

// names are the names of tmc's policies and their bindings. They do not depend on the provider.
var names = func() sets.Set[string] {
	all, err := wantedOf("any")
	if err != nil {
		panic(err) // an embedded file is broken
	}
	names := sets.New[string]()
	for _, w := range all {
		names.Insert(w.object.GetName())
	}
	return names
}()

// digestField is where Slim puts the digest of a policy's spec. No policy of an API server has such a field.
const digestField = "digest"

// Slim removes from a policy of a consumer's workspace, in place, all but its identity and, if its name is one of
// tmc's, the digest of its spec: consumers may have any number of policies. It leaves other objects alone, and those
// that are slim already: an informer transforms what it lists twice (WatchList in client-go's reflector, which
// transforms for its own store, and the informer's queue).
func Slim(obj *unstructured.Unstructured) {
	if _, isPolicy := resources[obj.GetKind()]; !isPolicy || obj.GroupVersionKind().Group != v1alpha1.PoliciesResource.Group {
		return
	}
	if _, isSlim := obj.Object[digestField]; isSlim {
		return
	}
	slim := &unstructured.Unstructured{Object: map[string]any{}}
	slim.SetAPIVersion(obj.GetAPIVersion())
	slim.SetKind(obj.GetKind())
	slim.SetName(obj.GetName())
	slim.SetUID(obj.GetUID())
	slim.SetResourceVersion(obj.GetResourceVersion())
	slim.SetDeletionTimestamp(obj.GetDeletionTimestamp())
	slim.SetAnnotations(map[string]string{logicalcluster.AnnotationKey: logicalcluster.From(obj).String()})
	if names.Has(obj.GetName()) {
		slim.Object[digestField] = digestOf(obj)
	}
	obj.Object = slim.Object
}

// cachedDigest returns the digest in a policy that Slim has slimmed.
func cachedDigest(slim *unstructured.Unstructured) string {
	digest, _, _ := unstructured.NestedString(slim.Object, digestField)
	return digest
}
