package install

import (
	"context"
	"fmt"

	"github.com/kcp-dev/logicalcluster/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

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
	return s.applyPolicies(ctx, workspace, policies)
}

// applyConsumerPolicies puts the policies about kcp's own kinds into the consumer's workspace. Who may bind may
// not be allowed to make policies: the workspace can be used without them, and the caller is told.
func (s *server) applyConsumerPolicies(ctx context.Context, binding *apisv1alpha2.APIBinding) error {
	policies, err := manifests.ConsumerPolicies(logicalcluster.Name(binding.Status.APIExportClusterName))
	if err != nil {
		return err
	}
	err = s.applyPolicies(ctx, s.workspace, policies)
	if isDenied(err) {
		s.notice(fmt.Sprintf("you may not make ValidatingAdmissionPolicies in workspace %s, so that kcp does not check there who writes tmc's own labels, "+
			"annotations and finalizers: have an administrator of the workspace run `kubectl tmc bind` again", s.workspace))
		return nil
	}
	return err
}

// applyPolicies puts policies and their bindings into a workspace.
func (s *server) applyPolicies(ctx context.Context, workspace string, policies []*unstructured.Unstructured) error {
	return s.applyAll(ctx, workspace, stepsOf(policies, mergePolicy))
}
