package install

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"
	conditionsv1alpha1 "github.com/kcp-dev/sdk/apis/third_party/conditions/apis/conditions/v1alpha1"
)

// bindingTo returns a binding named name of an export.
func bindingTo(name, path, export string) apisv1alpha2.APIBinding {
	return apisv1alpha2.APIBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: apisv1alpha2.APIBindingSpec{Reference: apisv1alpha2.BindingReference{
			Export: &apisv1alpha2.ExportBindingReference{Path: path, Name: export},
		}},
	}
}

func TestBindingFor(t *testing.T) {
	type want struct {
		Name   string
		Exists bool
		Fails  bool
	}
	tests := map[string]struct {
		reason   string
		bindings []apisv1alpha2.APIBinding
		want     want
	}{
		"a new one is named like the export": {
			bindings: []apisv1alpha2.APIBinding{bindingTo("other", "root", "other")},
			want:     want{Name: "tmc.kcp.io"},
		},
		"the existing one is used": {
			bindings: []apisv1alpha2.APIBinding{bindingTo("tmc.kcp.io", "root:tmc", "tmc.kcp.io")},
			want:     want{Name: "tmc.kcp.io", Exists: true},
		},
		"one of another name is used": {
			reason:   "the workspace's type may have brought it; a second would conflict with it",
			bindings: []apisv1alpha2.APIBinding{bindingTo("tmc.kcp.io-x7k2p", "root:tmc", "tmc.kcp.io")},
			want:     want{Name: "tmc.kcp.io-x7k2p", Exists: true},
		},
		"a name that is taken is an error": {
			reason:   "what a binding refers to cannot be changed",
			bindings: []apisv1alpha2.APIBinding{bindingTo("tmc.kcp.io", "root:tmc2", "tmc.kcp.io")},
			want:     want{Fails: true},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			name, exists, err := bindingFor(tc.bindings, "root:tmc", "tmc.kcp.io")
			if diff := cmp.Diff(tc.want, want{name, exists, err != nil}); diff != "" {
				t.Errorf("%s: (-want +got)\n%s\n%v", tc.reason, diff, err)
			}
		})
	}
}

// bound returns a binding with which everything is in order, changed by the functions.
func bound(changes ...func(*apisv1alpha2.APIBinding)) *apisv1alpha2.APIBinding {
	events := apisv1alpha2.PermissionClaim{GroupResource: apisv1alpha2.GroupResource{Resource: "events"}, Verbs: []string{"create"}}
	binding := newBinding("tmc.kcp.io", "root:tmc", workloads, []apisv1alpha2.PermissionClaim{events})
	binding.Status = apisv1alpha2.APIBindingStatus{
		Phase:                   apisv1alpha2.APIBindingPhaseBound,
		AppliedPermissionClaims: []apisv1alpha2.ScopedPermissionClaim{{PermissionClaim: events}},
	}
	for _, conditionType := range []conditionsv1alpha1.ConditionType{
		apisv1alpha2.APIExportValid, apisv1alpha2.InitialBindingCompleted, apisv1alpha2.BindingUpToDate, apisv1alpha2.PermissionClaimsApplied,
	} {
		binding.Status.Conditions = append(binding.Status.Conditions, conditionsv1alpha1.Condition{Type: conditionType, Status: corev1.ConditionTrue})
	}
	for _, change := range changes {
		change(binding)
	}
	return binding
}

// isFalse makes a condition of the binding false.
func isFalse(conditionType conditionsv1alpha1.ConditionType, reason, message string) func(*apisv1alpha2.APIBinding) {
	return func(binding *apisv1alpha2.APIBinding) {
		for i := range binding.Status.Conditions {
			condition := &binding.Status.Conditions[i]
			if condition.Type == conditionType {
				condition.Status, condition.Reason, condition.Message = corev1.ConditionFalse, reason, message
			}
		}
	}
}

func TestBindingProgress(t *testing.T) {
	tests := map[string]struct {
		binding *apisv1alpha2.APIBinding
		done    bool
		// says is part of the state.
		says string
	}{
		"bound, up to date, claims in force": {binding: bound(), done: true},
		"kcp has not looked at it yet": {
			binding: bound(func(b *apisv1alpha2.APIBinding) { b.Status = apisv1alpha2.APIBindingStatus{} }), says: "APIExportValid",
		},
		"the export is missing": {
			binding: bound(isFalse(apisv1alpha2.APIExportValid, "APIExportNotFound", "there is none")), says: "APIExportNotFound there is none",
		},
		"the kinds are not served yet": {
			binding: bound(isFalse(apisv1alpha2.InitialBindingCompleted, "WaitingForEstablished", "deployments")), says: "deployments",
		},
		"the export has newer schemas": {
			binding: bound(isFalse(apisv1alpha2.BindingUpToDate, "WaitingForEstablished", "v2.deployments.apps")), says: "v2.deployments.apps",
		},
		"claims are not in force": {
			binding: bound(isFalse(apisv1alpha2.PermissionClaimsApplied, "InternalError", "no luck")), says: "no luck",
		},
		"claims were accepted after kcp has looked": {
			binding: bound(func(b *apisv1alpha2.APIBinding) { b.Status.AppliedPermissionClaims = nil }), says: "events",
		},
		"a rejected claim need not be in force": {
			binding: bound(func(b *apisv1alpha2.APIBinding) {
				b.Status.AppliedPermissionClaims = nil
				b.Spec.PermissionClaims[0].State = apisv1alpha2.ClaimRejected
			}), done: true,
		},
		"the phase comes last": {
			binding: bound(func(b *apisv1alpha2.APIBinding) { b.Status.Phase = apisv1alpha2.APIBindingPhaseBinding }), says: "Binding",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := bindingProgress(tc.binding)
			if got.done != tc.done || !strings.Contains(got.state, tc.says) {
				t.Errorf("got %+v, want done: %t and a state with %q", got, tc.done, tc.says)
			}
		})
	}
}

func TestBindingConflict(t *testing.T) {
	conflict := bound(isFalse(apisv1alpha2.BindingUpToDate, apisv1alpha2.NamingConflictsReason, "taken"))
	if got := conflictIn(conflict); got != "taken" {
		t.Errorf("got %q, want what kcp says", got)
	}
	if got := conflictIn(bound()); got != "" {
		t.Errorf("got %q of a binding without conflict", got)
	}

	brings := func(binding apisv1alpha2.APIBinding, group, resource string) apisv1alpha2.APIBinding {
		binding.Status.BoundResources = []apisv1alpha2.BoundAPIResource{{Group: group, Resource: resource}}
		return binding
	}
	bindings := []apisv1alpha2.APIBinding{
		brings(bindingTo("tmc.kcp.io", "root:tmc", "tmc.kcp.io"), "apps", "deployments"),
		brings(bindingTo("kubernetes", "root:compute", "kubernetes"), "apps", "deployments"),
		brings(bindingTo("own", "", "own"), "apps", "deployments"),
		brings(bindingTo("widgets", "root:widgets", "widgets"), "widgets.io", "deployments"),
	}
	want := []string{"APIBinding kubernetes (APIExport kubernetes of workspace root:compute)", "APIBinding own (APIExport own of its own workspace)"}
	got := ownersOf([]apisv1alpha2.ResourceSchema{{Group: "apps", Name: "deployments"}}, bindings, "tmc.kcp.io")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestNewBinding(t *testing.T) {
	claim := apisv1alpha2.PermissionClaim{
		GroupResource: apisv1alpha2.GroupResource{Group: "apps", Resource: "deployments"}, IdentityHash: "hash", Verbs: []string{"get"},
		DefaultSelector: &apisv1alpha2.PermissionClaimSelector{LabelSelector: metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}},
	}
	binding := newBinding("name", "root:tmc", workloads, []apisv1alpha2.PermissionClaim{claim})
	got := binding.Spec.PermissionClaims[0]
	if got.State != apisv1alpha2.ClaimAccepted || !got.Selector.MatchAll {
		t.Errorf("got %+v, want it accepted, for all objects, whatever the provider proposes", got)
	}
	if diff := cmp.Diff(claim, got.PermissionClaim); diff != "" {
		t.Errorf("kcp would not know the claim again (-want +got)\n%s", diff)
	}
}
