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

// RBAC restricts which kinds a syncer may write, and cannot restrict which objects. The policy does: whoever has the
// token of the syncer's account can write only objects with tmc's marks, in namespaces with these marks or that are
// listed. The policy cannot restrict what the account reads, because reads are not admitted, nor what the pods of a
// copy may do, which is for Pod Security.

// The operations of a request.
const (
	isMade    = `request.operation == "CREATE"`
	isChanged = `request.operation == "UPDATE"`
	isDeleted = `request.operation == "DELETE"`
)

// protectedNamespaces are those of the cluster itself. Nothing from kcp comes into them, even if they are listed.
var protectedNamespaces = []string{metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease}

// The marks, as CEL strings. pkg/transform sets them.
var (
	managedBy = quote(v1alpha1.ManagedByLabel)
	byUs      = quote(v1alpha1.ManagedByValue)
	madeFor   = quote(v1alpha1.TargetClusterAnnotation)
)

// admissionPolicy returns the policy and its binding.
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

// username returns the user name of the syncer's account (MakeUsername in
// k8s.io/apiserver/pkg/authentication/serviceaccount).
func username(o Options) string { return "system:serviceaccount:" + o.Namespace + ":" + Name }

// everyWrite matches all writes, also of subresources. It leaves out the creation of reviews, which writes nothing.
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

// policyVariables returns the variables of the validations. The variables that differ between clusters come first: an
// overlay of the kustomize base replaces them by index.
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
			// These are the Lease of its replicas, and the Secret with its token.
			`variables.resource == "leases.coordination.k8s.io" && object.metadata.name == `+quote(Name)+" || "+
			`variables.resource == "secrets" && `+isChanged+" && object.metadata.name == "+quote(SecretName)+")"),
		of("isCopy", "!variables.isOwn && !variables.isNamespace"),
		of("labels", metadataOf("object", "labels")),
		of("annotations", metadataOf("object", "annotations")),
		of("oldLabels", metadataOf("oldObject", "labels")),
		of("oldAnnotations", metadataOf("oldObject", "annotations")),
		// These are about the present state of the namespace that is written, or written into.
		of("namespaceLabels", "variables.isNamespace ? variables.oldLabels : "+metadataOf("namespaceObject", "labels")),
		of("namespaceAnnotations", "variables.isNamespace ? variables.oldAnnotations : "+metadataOf("namespaceObject", "annotations")),
		// tmc has made the namespace, or noted there which workspace uses it.
		of("isMade", hasValue("namespaceLabels", managedBy, byUs)),
		of("isTmcs", managedBy+" in variables.namespaceLabels || "+madeFor+" in variables.namespaceAnnotations"),
		of("isListed", "variables.inNamespace.matches(variables.listed)"),
		of("isProtected", "variables.inNamespace in "+list(append(slices.Clone(protectedNamespaces), o.Namespace))+
			// This is the namespace of another syncer. The labels of a namespace that tmc has made are a tenant's.
			" || !variables.isMade && "+hasValue("namespaceLabels", quote(nameLabel), quote(Name))),
	}
}

// validationsOfAll returns the validations of every write.
func validationsOfAll() []admissionregistrationv1.Validation {
	return []admissionregistrationv1.Validation{
		denyUnless("the syncer writes no subresources", "!variables.isSubresource"),
		denyUnless("the syncer writes nothing in the namespaces that the cluster lives by, and in its own nothing but its Lease and its token",
			"variables.isOwn || !variables.isProtected"),
	}
}

// validationsOfCopies returns the validations of objects in namespaces.
func validationsOfCopies() []admissionregistrationv1.Validation {
	hash, workspace, name := quote(v1alpha1.SourceHashLabel), quote(v1alpha1.SourceWorkspaceAnnotation), quote(v1alpha1.SourceNameAnnotation)
	of := func(operation, message, expression string) admissionregistrationv1.Validation {
		return denyUnless(message, "!variables.isCopy || !("+operation+") || "+expression)
	}
	return []admissionregistrationv1.Validation{
		denyUnless("the syncer writes namespaces and the kinds that the cluster was joined with, and no others",
			"!variables.isCopy || variables.resource in variables.kinds"),
		// A copy that has lost one of the two marks is recognised by the other, and gets it back (isOurs in
		// pkg/agent/syncer).
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

// isOfItsNames is true of an old object that was made for the cluster, under any of its names.
var isOfItsNames = "(variables.oldAnnotations[" + madeFor + "] == variables.cluster || variables.oldAnnotations[" + madeFor + "] in variables.formerNames)"

// validationsOfNamespaces returns the validations of namespaces. Those that tmc makes are like copies. On others that
// are listed, a syncer may note which workspace uses them, and remove the note.
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

// denyUnless returns the validation that denies a request with the message unless the expression is true.
func denyUnless(message, expression string) admissionregistrationv1.Validation {
	return admissionregistrationv1.Validation{Expression: expression, Message: message, Reason: new(metav1.StatusReasonForbidden)}
}

// hasValue is true when a map has that value under a key.
func hasValue(variable, key, value string) string {
	return fmt.Sprintf("%[2]s in variables.%[1]s && variables.%[1]s[%[2]s] == %[3]s", variable, key, value)
}

// unlessNot is true when a map does not have a key, and otherwise what otherwise is.
func unlessNot(variable, key, otherwise string) string {
	return fmt.Sprintf("!(%s in variables.%s) || %s", key, variable, otherwise)
}

// metadataOf is a map of an object's metadata, empty if there is no such map or object.
func metadataOf(object, name string) string {
	return fmt.Sprintf("%[1]s != null && has(%[1]s.metadata) && has(%[1]s.metadata.%[2]s) ? %[1]s.metadata.%[2]s : {}", object, name)
}

// isSameButTmcs is true when two maps are equal except for tmc's keys.
func isSameButTmcs(now, before string) string {
	return fmt.Sprintf("variables.%[1]s.all(k, k.startsWith(%[3]s) || k in variables.%[2]s && variables.%[1]s[k] == variables.%[2]s[k]) && "+
		"variables.%[2]s.all(k, k.startsWith(%[3]s) || k in variables.%[1]s)", now, before, quote(v1alpha1.GroupName+"/"))
}

// isSame is true when a field of the object does not change.
func isSame(path string) string {
	return fmt.Sprintf("(has(object.%[1]s) ? has(oldObject.%[1]s) && object.%[1]s == oldObject.%[1]s : !has(oldObject.%[1]s))", path)
}

// patternOf returns the regular expression of names in which "*" stands for any characters. It matches nothing if there
// are none.
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

// quote returns a CEL string. Go and CEL quote names, keys and patterns of names in the same way.
func quote(text string) string { return strconv.Quote(text) }

// list returns a sorted CEL list of strings.
func list(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quote(name)
	}
	slices.Sort(quoted)
	return "[" + strings.Join(slices.Compact(quoted), ", ") + "]"
}
