package install

import (
	"context"
	"fmt"
	"slices"

	"github.com/kcp-dev/logicalcluster/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/manifests"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// applyProviderPolicies puts the policies into the provider workspace, where the export is
// already.
func (s *server) applyProviderPolicies(ctx context.Context, workspace string) error {
	var export apisv1alpha2.APIExport
	if err := s.get(ctx, workspace, exportResource, v1alpha1.APIExportName, &export); err != nil {
		return err
	}
	policies, err := manifests.Policies(logicalcluster.From(&export))
	if err != nil {
		return err
	}
	accounts, err := s.accountPolicies(ctx, logicalcluster.From(&export))
	if err != nil {
		return err
	}
	return s.applyPolicies(ctx, workspace, append(policies, accounts...))
}

// accountPolicies returns the policy about syncers' accounts, which names the audiences that kcp gives a token for which
// none are asked: a token of an account that can do nothing tells.
func (s *server) accountPolicies(ctx context.Context, provider logicalcluster.Name) ([]*unstructured.Unstructured, error) {
	request, err := s.requestToken(ctx, metav1.NamespaceDefault, v1alpha1.PathReader, MinTokenLifetime)
	if err != nil {
		return nil, fmt.Errorf("asking which audiences kcp's tokens have: %w", err)
	}
	return manifests.AccountPolicies(provider, request.Spec.Audiences)
}

// applyConsumerPolicies puts the policies about kcp's own kinds into the consumer's workspace. Who may bind may
// not be allowed to make policies: then tmc-controller puts them in, as it does where they are taken away, unless the
// APIExport is one of before that, about which the caller is told.
func (s *server) applyConsumerPolicies(ctx context.Context, binding *apisv1alpha2.APIBinding) error {
	policies, err := manifests.ConsumerPolicies(logicalcluster.Name(binding.Status.APIExportClusterName))
	if err != nil {
		return err
	}
	err = s.applyPolicies(ctx, s.workspace, policies)
	if !isDenied(err) {
		return err
	}
	isClaimed := slices.ContainsFunc(binding.Status.AppliedPermissionClaims, func(claim apisv1alpha2.ScopedPermissionClaim) bool {
		return v1alpha1.IsPolicy(schema.GroupResource{Group: claim.Group, Resource: claim.Resource})
	})
	if !isClaimed {
		s.notice(fmt.Sprintf("you may not make ValidatingAdmissionPolicies in workspace %s, and the APIExport does not let tmc-controller make them: "+
			"nothing is placed from here until `kubectl tmc init` has run with this version, and then `kubectl tmc bind` again", s.workspace))
	}
	return nil
}

// applyConsumerRBAC lets the hub see whether the consumer's workspace is at the path that it says. Who may bind may not be
// allowed to make roles: the workspace can be used without, and the caller is told.
func (s *server) applyConsumerRBAC(ctx context.Context, binding *apisv1alpha2.APIBinding) error {
	objects, err := manifests.ConsumerRBAC(logicalcluster.Name(binding.Status.APIExportClusterName))
	if err != nil {
		return err
	}
	err = s.applyAll(ctx, s.workspace, stepsOf(objects, overlayObject))
	if isDenied(err) {
		s.notice(fmt.Sprintf("you may not make ClusterRoles in workspace %s, so that clusters which are for workspaces by their paths may not be for this one: "+
			"have an administrator of the workspace run `kubectl tmc bind` again", s.workspace))
		return nil
	}
	return err
}

// applyPolicies puts policies and their bindings into a workspace.
func (s *server) applyPolicies(ctx context.Context, workspace string, policies []*unstructured.Unstructured) error {
	return s.applyAll(ctx, workspace, stepsOf(policies, mergePolicy))
}
