package bootstrap

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// RBAC says which kinds a syncer may write, and cannot say which objects: who may write
// copies of a kind may write every object of that kind. The policy is the cluster's own say
// in that. It holds the syncer's account, whoever has its token, to what bears tmc's marks,
// in namespaces that bear them or that are listed. It cannot hold what the account reads,
// for no admission is asked about that, nor what the pods of a copy may do, which Pod
// Security is for.

// What is done with an object.
const (
	isMade    = `request.operation == "CREATE"`
	isChanged = `request.operation == "UPDATE"`
	isDeleted = `request.operation == "DELETE"`
)

// protectedNamespaces are those by which a cluster lives. Nothing from kcp comes into them,
// whatever is listed.
var protectedNamespaces = []string{metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease}

// The marks, as CEL strings. Which object bears which is for pkg/transform to say.
var (
	managedBy = quote(v1alpha1.ManagedByLabel)
	byUs      = quote(v1alpha1.ManagedByValue)
	madeFor   = quote(v1alpha1.TargetClusterAnnotation)
)

// admissionPolicy returns the policy, and the binding that has the API server deny by it.
func admissionPolicy(o Options) []runtime.Object {
	unnamespaced := metav1.ObjectMeta{Name: clusterWide(o), Labels: labels(o)}
	return []runtime.Object{
		&admissionregistrationv1.ValidatingAdmissionPolicy{
			TypeMeta:   typeOf(admissionregistrationv1.SchemeGroupVersion, "ValidatingAdmissionPolicy"),
			ObjectMeta: unnamespaced,
			Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
				FailurePolicy:    new(admissionregistrationv1.Fail),
				MatchConstraints: everyWrite(),
				MatchConditions: []admissionregistrationv1.MatchCondition{{
					Name: "is-the-syncer", Expression: "request.userInfo.username == " + quote(username(o)),
				}},
				Variables:   policyVariables(o),
				Validations: slices.Concat(validationsOfAll(), validationsOfCopies(), validationsOfNamespaces()),
			},
		},
		&admissionregistrationv1.ValidatingAdmissionPolicyBinding{
			TypeMeta:   typeOf(admissionregistrationv1.SchemeGroupVersion, "ValidatingAdmissionPolicyBinding"),
			ObjectMeta: unnamespaced,
			Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
				PolicyName:        clusterWide(o),
				ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			},
		},
	}
}

// username is what an API server calls the syncer's account (MakeUsername in
// k8s.io/apiserver/pkg/authentication/serviceaccount).
func username(o Options) string { return "system:serviceaccount:" + o.Namespace + ":" + Name }

// everyWrite matches all that is written, subresources included. Who asks who he is and
// what he may do writes nothing.
func everyWrite() *admissionregistrationv1.MatchResources {
	of := func(groups ...string) []admissionregistrationv1.NamedRuleWithOperations {
		return []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.OperationAll},
			Rule:       admissionregistrationv1.Rule{APIGroups: groups, APIVersions: []string{"*"}, Resources: []string{"*/*"}},
		}}}
	}
	return &admissionregistrationv1.MatchResources{
		ResourceRules:        of("*"),
		ExcludeResourceRules: of("authentication.k8s.io", "authorization.k8s.io"),
	}
}

// policyVariables returns what the validations are made of. Those that are of a cluster come
// first: an overlay of the kustomize base replaces them by their place.
func policyVariables(o Options) []admissionregistrationv1.Variable {
	of := func(name, expression string) admissionregistrationv1.Variable {
		return admissionregistrationv1.Variable{Name: name, Expression: expression}
	}
	return []admissionregistrationv1.Variable{
		of("cluster", quote(o.Cluster)),
		of("listed", quote(patternOf(o.PolicyNamespaces))),
		of("formerNames", list(o.FormerNames)),
		of("kinds", list(sortedNames(o.Kinds))),
		of("resource", `request.resource.group == "" ? request.resource.resource : request.resource.resource + "." + request.resource.group`),
		of("isSubresource", `has(request.subResource) && request.subResource != ""`),
		of("isNamespace", `variables.resource == "namespaces" && !variables.isSubresource`),
		of("inNamespace", `variables.isNamespace ? (object != null ? object.metadata.name : oldObject.metadata.name) : has(request.namespace) ? request.namespace : ""`),
		of("isOwn", "variables.inNamespace == "+quote(o.Namespace)+" && !variables.isSubresource && object != null && ("+
			// The Lease of its replicas, and the Secret that it keeps its token in.
			`variables.resource == "leases.coordination.k8s.io" && object.metadata.name == `+quote(Name)+" || "+
			`variables.resource == "secrets" && `+isChanged+" && object.metadata.name == "+quote(SecretName)+")"),
		of("isCopy", "!variables.isOwn && !variables.isNamespace"),
		of("labels", metadataOf("object", "labels")),
		of("annotations", metadataOf("object", "annotations")),
		of("oldLabels", metadataOf("oldObject", "labels")),
		of("oldAnnotations", metadataOf("oldObject", "annotations")),
		// Of the namespace that is written, or written into, as it is.
		of("namespaceLabels", "variables.isNamespace ? variables.oldLabels : "+metadataOf("namespaceObject", "labels")),
		of("namespaceAnnotations", "variables.isNamespace ? variables.oldAnnotations : "+metadataOf("namespaceObject", "annotations")),
		// tmc has made the namespace, or noted there whose it is.
		of("isMade", hasValue("namespaceLabels", managedBy, byUs)),
		of("isTmcs", managedBy+" in variables.namespaceLabels || "+madeFor+" in variables.namespaceAnnotations"),
		of("isListed", "variables.inNamespace.matches(variables.listed)"),
		of("isProtected", "variables.inNamespace in "+list(append(slices.Clone(protectedNamespaces), o.Namespace))+
			// Another syncer's own: of one that tmc has made, the labels are a tenant's.
			" || !variables.isMade && "+hasValue("namespaceLabels", quote(nameLabel), quote(Name))),
	}
}

// validationsOfAll are about every write.
func validationsOfAll() []admissionregistrationv1.Validation {
	return []admissionregistrationv1.Validation{
		denyUnless("the syncer writes no subresources", "!variables.isSubresource"),
		denyUnless("the syncer writes nothing in the namespaces that the cluster lives by, and in its own nothing but its Lease and its token",
			"variables.isOwn || !variables.isProtected"),
	}
}

// validationsOfCopies are about the objects in namespaces.
func validationsOfCopies() []admissionregistrationv1.Validation {
	hash, workspace, name := quote(v1alpha1.SourceHashLabel), quote(v1alpha1.SourceWorkspaceAnnotation), quote(v1alpha1.SourceNameAnnotation)
	of := func(operation, message, expression string) admissionregistrationv1.Validation {
		return denyUnless(message, "!variables.isCopy || !("+operation+") || "+expression)
	}
	return []admissionregistrationv1.Validation{
		denyUnless("the syncer writes namespaces and the kinds that the cluster was joined with, and no others",
			"!variables.isCopy || variables.resource in variables.kinds"),
		// Who has lost one of the two marks is known by the other (isOurs in pkg/agent/syncer), and gets it back.
		of(isChanged+" || "+isDeleted, "the syncer changes and deletes what bears tmc's marks, and this is somebody else's",
			hash+" in variables.oldLabels || "+workspace+" in variables.oldAnnotations && "+name+" in variables.oldAnnotations && "+madeFor+" in variables.oldAnnotations"),
		of(isChanged, "the syncer changes copies that were made under its cluster's name, and no others",
			unlessNot("oldAnnotations", madeFor, "variables.oldAnnotations["+madeFor+"] == variables.cluster")),
		of(isDeleted, "the syncer deletes copies that were made under its cluster's name, or a former one, and no others", unlessNot("oldAnnotations", madeFor, isOfItsNames)),
		of(isMade+" || "+isChanged, "the syncer makes and changes objects so that they bear tmc's marks, for its cluster",
			hasValue("labels", managedBy, byUs)+" && "+hash+" in variables.labels && "+workspace+" in variables.annotations && "+name+" in variables.annotations && "+
				hasValue("annotations", madeFor, "variables.cluster")),
		of(isMade, "the syncer makes objects in namespaces that bear tmc's mark, or that the policy lists: kubectl tmc join --allow-namespaces lists this one, in a manifest to apply",
			"variables.isTmcs || variables.isListed"),
		of(isMade+" || "+isChanged, "the syncer makes no Secrets with tokens of ServiceAccounts",
			`variables.resource != "secrets" || !has(object.type) || object.type != `+quote(string(corev1.SecretTypeServiceAccountToken))),
	}
}

// isOfItsNames is that what there was before was made for the cluster, under any of its names.
var isOfItsNames = "(variables.oldAnnotations[" + madeFor + "] == variables.cluster || variables.oldAnnotations[" + madeFor + "] in variables.formerNames)"

// validationsOfNamespaces are about the namespaces themselves. Those that tmc makes are like
// copies. On others it may note whose they are, where that is listed, and take that back.
func validationsOfNamespaces() []admissionregistrationv1.Validation {
	isMadeAfter := hasValue("labels", managedBy, byUs)
	of := func(operation, message, expression string) admissionregistrationv1.Validation {
		return denyUnless(message, "!variables.isNamespace || !("+operation+") || "+expression)
	}
	return []admissionregistrationv1.Validation{
		of(isMade, "the syncer makes namespaces that bear tmc's mark, for its cluster", isMadeAfter+" && "+hasValue("annotations", madeFor, "variables.cluster")),
		of(isDeleted, "the syncer deletes namespaces that tmc has made, and no others", "variables.isMade"),
		of(isChanged+" || "+isDeleted, "the syncer changes and deletes namespaces that were made or noted under its cluster's name, or a former one, and no others",
			unlessNot("oldAnnotations", madeFor, isOfItsNames)),
		of(isChanged, "the syncer changes namespaces that bear tmc's mark, or that the policy lists: kubectl tmc join --allow-namespaces lists this one, in a manifest to apply",
			"variables.isTmcs || variables.isListed"),
		of(isChanged, "the syncer makes or notes namespaces under its cluster's name, and no other", unlessNot("annotations", madeFor, "variables.annotations["+madeFor+"] == variables.cluster")),
		of(isChanged, "what tmc has made keeps the mark of that, and nothing else gets it", "variables.isMade == ("+isMadeAfter+")"),
		of(isChanged, "the syncer changes nothing but tmc's own labels and annotations of a namespace that tmc has not made",
			"variables.isMade || "+isSameButTmcs("labels", "oldLabels")+" && "+isSameButTmcs("annotations", "oldAnnotations")),
		of(isChanged, "the syncer changes neither owners nor finalizers of a namespace",
			isSame("metadata.finalizers")+" && "+isSame("metadata.ownerReferences")+" && "+isSame("spec")),
	}
}

// denyUnless denies what does not hold, with the message.
func denyUnless(message, expression string) admissionregistrationv1.Validation {
	return admissionregistrationv1.Validation{Expression: expression, Message: message, Reason: new(metav1.StatusReasonForbidden)}
}

// hasValue is that a map has a key, and that value under it.
func hasValue(variable, key, value string) string {
	return fmt.Sprintf("%[2]s in variables.%[1]s && variables.%[1]s[%[2]s] == %[3]s", variable, key, value)
}

// unlessNot is that a map does not have a key, or else what is said of it.
func unlessNot(variable, key, otherwise string) string {
	return fmt.Sprintf("!(%s in variables.%s) || %s", key, variable, otherwise)
}

// metadataOf is a map in the metadata of an object, empty where there is no such map or object.
func metadataOf(object, name string) string {
	return fmt.Sprintf("%[1]s != null && has(%[1]s.metadata) && has(%[1]s.metadata.%[2]s) ? %[1]s.metadata.%[2]s : {}", object, name)
}

// isSameButTmcs is that two maps are the same, less the keys of tmc.
func isSameButTmcs(now, before string) string {
	return fmt.Sprintf("variables.%[1]s.all(k, k.startsWith(%[3]s) || k in variables.%[2]s && variables.%[1]s[k] == variables.%[2]s[k]) && "+
		"variables.%[2]s.all(k, k.startsWith(%[3]s) || k in variables.%[1]s)", now, before, quote(v1alpha1.GroupName+"/"))
}

// isSame is that a field of the object is not changed, or not there before and after.
func isSame(path string) string {
	return fmt.Sprintf("(has(object.%[1]s) ? has(oldObject.%[1]s) && object.%[1]s == oldObject.%[1]s : !has(oldObject.%[1]s))", path)
}

// patternOf returns the regular expression of names in which "*" stands for any characters.
// Without any, no name matches it.
func patternOf(globs []string) string {
	if len(globs) == 0 {
		return "^$"
	}
	patterns := make([]string, len(globs))
	for i, glob := range globs {
		patterns[i] = strings.ReplaceAll(regexp.QuoteMeta(glob), `\*`, ".*")
	}
	slices.Sort(patterns)
	return "^(" + strings.Join(slices.Compact(patterns), "|") + ")$"
}

// quote returns a CEL string. What comes in is names, keys and patterns of names, which Go and CEL quote alike.
func quote(text string) string { return strconv.Quote(text) }

// list returns a CEL list of strings, sorted.
func list(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quote(name)
	}
	slices.Sort(quoted)
	return "[" + strings.Join(slices.Compact(quoted), ", ") + "]"
}
