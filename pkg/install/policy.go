package install

import (
	"context"
	"fmt"

	"github.com/kcp-dev/logicalcluster/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/manifests"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// The policies are put into the provider workspace and into those of consumers. Which of
// them kcp asks depends on its version and on the kind: up to v0.29 always those of the
// workspace that the object is in; from v0.30 on, for the kinds that are bound, those of
// the export's workspace (kcp, pkg/admission/validatingadmissionpolicy). ConfigMaps,
// Secrets, ServiceAccounts and namespaces are built in, not bound, so that the consumer's
// own count for them with every version.

// applyProviderPolicies puts the policies into the provider workspace, where the export is
// already.
func (s *server) applyProviderPolicies(ctx context.Context, workspace string) error {
	var export apisv1alpha2.APIExport
	if err := s.get(ctx, workspace, exportResource, v1alpha1.APIExportName, &export); err != nil {
		return err
	}
	return s.applyPolicies(ctx, workspace, logicalcluster.From(&export))
}

// applyConsumerPolicies puts the policies into the consumer's workspace. Who may bind may
// not be allowed to make policies: the workspace can be used without them, and the caller is told.
func (s *server) applyConsumerPolicies(ctx context.Context, binding *apisv1alpha2.APIBinding) error {
	err := s.applyPolicies(ctx, s.workspace, logicalcluster.Name(binding.Status.APIExportClusterName))
	if apierrors.IsForbidden(err) && !isForeign(err) {
		s.notice(fmt.Sprintf("you may not make ValidatingAdmissionPolicies in workspace %s, so that kcp does not check there who writes tmc's own labels, "+
			"annotations and finalizers: have an administrator of the workspace run `kubectl tmc bind` again", s.workspace))
		return nil
	}
	return err
}

// applyPolicies puts the policies into a workspace. They are about the ServiceAccounts of
// the provider's logical cluster.
func (s *server) applyPolicies(ctx context.Context, workspace string, provider logicalcluster.Name) error {
	policies, err := manifests.Policies(provider)
	if err != nil {
		return err
	}
	var steps []step
	for _, policy := range policies {
		steps = append(steps, step{policy, mergePolicy})
	}
	return s.applyAll(ctx, workspace, steps)
}
