package install

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"
	conditionsv1alpha1 "github.com/kcp-dev/sdk/apis/third_party/conditions/apis/conditions/v1alpha1"
)

// newBinding returns an APIBinding that binds a view and accepts its claims. A claim is accepted with the default
// selector of the provider, which has no effect in a binding: kcp v0.31 recognises a claim, and labels objects for it, by
// all that the export says of it but the verbs (ToLabelKeyAndValue in github.com/kcp-dev/sdk,
// apis/apis/v1alpha2/permissionclaims; v0.32 leaves the selector out).
func newBinding(name, provider string, bound view, claims []apisv1alpha2.PermissionClaim) *apisv1alpha2.APIBinding {
	binding := &apisv1alpha2.APIBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: apisv1alpha2.SchemeGroupVersion.String(), Kind: "APIBinding"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: apisv1alpha2.APIBindingSpec{Reference: apisv1alpha2.BindingReference{
			Export: &apisv1alpha2.ExportBindingReference{Path: provider, Name: bound.export},
		}},
	}
	for _, claim := range claims {
		binding.Spec.PermissionClaims = append(binding.Spec.PermissionClaims, apisv1alpha2.AcceptablePermissionClaim{
			ScopedPermissionClaim: apisv1alpha2.ScopedPermissionClaim{PermissionClaim: claim, Selector: bound.selector()},
			State:                 apisv1alpha2.ClaimAccepted,
		})
	}
	return binding
}

// bindingFor returns the name of the binding to use for an export: one that the workspace has for it already, for
// instance from its type, or else the name of the export. It fails when that name is taken.
func bindingFor(bindings []apisv1alpha2.APIBinding, provider, export string) (name string, exists bool, err error) {
	for _, binding := range bindings {
		if reference := binding.Spec.Reference.Export; reference != nil && reference.Path == provider && reference.Name == export {
			return binding.Name, true, nil
		}
		if binding.Name == export {
			err = fmt.Errorf("APIBinding %s is there already and binds %s: delete it first", export, referenceOf(binding))
		}
	}
	if err != nil {
		return "", false, err
	}
	return export, false, nil
}

// boundViews returns the views whose exports are bound. It leaves out bindings whose export is gone, which a cluster
// that was taken out may leave behind.
func boundViews(bindings []apisv1alpha2.APIBinding, provider string) []view {
	var views []view
	for _, binding := range bindings {
		reference := binding.Spec.Reference.Export
		valid, known := findCondition(binding.Status.Conditions, apisv1alpha2.APIExportValid)
		isGone := known && valid.Status == corev1.ConditionFalse && valid.Reason == apisv1alpha2.APIExportNotFoundReason
		if reference == nil || reference.Path != provider || isGone {
			continue
		}
		if view, ok := viewNamed(reference.Name); ok {
			views = append(views, view)
		}
	}
	return views
}

// referenceOf names what a binding binds, for people.
func referenceOf(binding apisv1alpha2.APIBinding) string {
	reference := binding.Spec.Reference.Export
	switch {
	case reference == nil:
		return "no APIExport"
	case reference.Path == "":
		return "APIExport " + reference.Name + " of its own workspace"
	default:
		return "APIExport " + reference.Name + " of workspace " + reference.Path
	}
}

// bindingProgress returns how far kcp has come with a binding. It is done when the export is bound in its newest form and
// all accepted claims are in force.
func bindingProgress(binding *apisv1alpha2.APIBinding) progress {
	for _, needed := range []conditionsv1alpha1.ConditionType{
		apisv1alpha2.APIExportValid, apisv1alpha2.InitialBindingCompleted, apisv1alpha2.BindingUpToDate, apisv1alpha2.PermissionClaimsApplied,
	} {
		condition, known := findCondition(binding.Status.Conditions, needed)
		switch {
		case !known:
			return progress{state: fmt.Sprintf("kcp has not said %s yet", needed)}
		case condition.Status != corev1.ConditionTrue:
			return progress{state: strings.TrimSpace(condition.Reason + " " + condition.Message)}
		}
	}
	for _, accepted := range binding.Spec.PermissionClaims {
		isApplied := slices.ContainsFunc(binding.Status.AppliedPermissionClaims, func(applied apisv1alpha2.ScopedPermissionClaim) bool {
			return applied.EqualGRI(accepted.PermissionClaim)
		})
		if accepted.State == apisv1alpha2.ClaimAccepted && !isApplied {
			return progress{state: fmt.Sprintf("the claim on %s is not in force yet", accepted.PermissionClaim)}
		}
	}
	return progress{
		done:  binding.Status.Phase == apisv1alpha2.APIBindingPhaseBound,
		state: fmt.Sprintf("its phase is %q", binding.Status.Phase),
	}
}

// conflictIn returns kcp's message about an API that the binding cannot bring because the workspace has it from
// elsewhere; empty when there is no such conflict.
func conflictIn(binding *apisv1alpha2.APIBinding) string {
	for _, condition := range binding.Status.Conditions {
		if condition.Status == corev1.ConditionFalse && condition.Reason == apisv1alpha2.NamingConflictsReason {
			return condition.Message
		}
	}
	return ""
}

// ownersOf names the bindings, other than the one named self, that brought one of the resources into their workspace.
func ownersOf(resources []apisv1alpha2.ResourceSchema, bindings []apisv1alpha2.APIBinding, self string) []string {
	var owners []string
	for _, binding := range bindings {
		brings := slices.ContainsFunc(binding.Status.BoundResources, func(bound apisv1alpha2.BoundAPIResource) bool {
			return slices.ContainsFunc(resources, func(resource apisv1alpha2.ResourceSchema) bool {
				return resource.Group == bound.Group && resource.Name == bound.Resource
			})
		})
		if brings && binding.Name != self {
			owners = append(owners, fmt.Sprintf("APIBinding %s (%s)", binding.Name, referenceOf(binding)))
		}
	}
	return owners
}

// findCondition returns the condition of a type, and whether there is one.
func findCondition(all conditionsv1alpha1.Conditions, conditionType conditionsv1alpha1.ConditionType) (conditionsv1alpha1.Condition, bool) {
	for _, condition := range all {
		if condition.Type == conditionType {
			return condition, true
		}
	}
	return conditionsv1alpha1.Condition{}, false
}
