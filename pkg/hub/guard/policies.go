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

// resources are those of the policies' kinds.
var resources = map[string]schema.GroupVersionResource{
	"ValidatingAdmissionPolicy":        v1alpha1.PoliciesResource,
	"ValidatingAdmissionPolicyBinding": v1alpha1.PolicyBindingsResource,
}

// wanted is one policy, or the binding of one, as each workspace is to have it.
type wanted struct {
	resource schema.GroupVersionResource
	object   *unstructured.Unstructured
	// digest is that of its spec.
	digest string
}

// in returns the key of the policy in a workspace.
func (w wanted) in(workspace logicalcluster.Name) kcp.ObjectKey {
	return kcp.ObjectKey{Workspace: workspace, Resource: w.resource, Name: w.object.GetName()}
}

// wantedOf returns what each workspace is to have where the logical cluster of that name holds
// the APIExports.
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

// state is what stands under the name of a policy.
type state int

const (
	// missing is that there is nothing.
	missing state = iota
	// going is that it is being deleted: anybody may still change it, and nobody bring it back.
	going
	// changed is that it is not as tmc has made it.
	changed
	// standing is that it is as it is to be.
	standing
)

// judge says what stands under a policy's name. digest returns the digest of what there is.
func (w wanted) judge(found *unstructured.Unstructured, digest func(*unstructured.Unstructured) string) state {
	switch {
	case found == nil:
		return missing
	case found.GetDeletionTimestamp() != nil:
		return going
	case digest(found) != w.digest:
		return changed
	default:
		return standing
	}
}

// onto returns the live policy as it is to be: the spec becomes that of w as a whole, for what
// is left over in it would deny, or let pass, what it should not. Somebody's labels, and
// whatever else stands beside the spec, changes nothing, and stays.
func (w wanted) onto(live *unstructured.Unstructured) *unstructured.Unstructured {
	next := live.DeepCopy()
	next.Object["spec"] = runtime.DeepCopyJSONValue(w.object.Object["spec"])
	return next
}

// digestOf returns a digest of a policy's spec, the same before and after an API server has
// filled in its defaults. A field that it does not know counts: it may weaken the policy.
func digestOf(policy *unstructured.Unstructured) string {
	spec, _, _ := unstructured.NestedFieldCopy(policy.Object, "spec")
	if fields, isObject := spec.(map[string]any); isObject && policy.GetKind() == "ValidatingAdmissionPolicy" {
		setDefaults(fields)
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return "" // what has come as JSON can be encoded; and this is like nothing that is wanted
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// setDefaults fills in what the API server does (SetDefaults_ValidatingAdmissionPolicySpec,
// SetDefaults_MatchResources and SetDefaults_Rule in k8s.io/kubernetes,
// pkg/apis/admissionregistration/v1/defaults.go).
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

// names are those of tmc's policies and their bindings, whatever the provider.
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

// digestField holds, of a policy that Slim has slimmed, the digest of its spec. No API server
// gives a policy such a field.
const digestField = "digest"

// Slim has a policy of a consumer's workspace, in place, say no more than which it is and,
// where its name is one of tmc's, the digest of its spec: consumers may have any number of
// their own. Other objects it leaves alone, and what it has slimmed already: an informer hands
// it what it lists twice (WatchList in client-go's reflector, which transforms for its own
// store, and the informer's queue).
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

// cachedDigest returns the digest of a policy that Slim has slimmed.
func cachedDigest(slim *unstructured.Unstructured) string {
	digest, _, _ := unstructured.NestedString(slim.Object, digestField)
	return digest
}
