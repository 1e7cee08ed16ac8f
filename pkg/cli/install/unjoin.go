package install

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// UnjoinOptions say which cluster to remove.
type UnjoinOptions struct {
	Options

	// Cluster is the name of the cluster.
	Cluster string
}

// Unjoin deletes what Join has made for a cluster that is not registered any more: its account, by which its tokens
// end, with its permissions and its Lease; and, unless other clusters of its group use it, its view: the entry in the
// WorkspaceType of tenants, the APIExport, and its APIBindings in workspaces where the caller may delete them. It tells
// the caller of the others. Unjoin fails when the cluster is still registered, for its syncer could not clean up any
// more, and when the caller may not do it.
func Unjoin(ctx context.Context, options UnjoinOptions) error {
	s, err := newServer(options.Options)
	if err != nil {
		return err
	}
	if err := v1alpha1.ValidateClusterName(options.Cluster); err != nil {
		return err
	}
	var registration metav1.PartialObjectMetadata
	err = s.get(ctx, s.provider, v1alpha1.ClusterRegistrationsResource, options.Cluster, &registration)
	if err == nil {
		return fmt.Errorf("cluster %s is still registered in workspace %s: remove it first", options.Cluster, s.provider)
	}
	if !kcp.IsMissing(err) {
		return err
	}
	// The view goes first: otherwise it would be bound anew.
	if err := s.alignAll(ctx, options.Cluster); err != nil {
		return err
	}
	// The last step goes first: permissions before the account that they are given to.
	for _, step := range slices.Backward(account{cluster: options.Cluster}.steps()) {
		if err := s.remove(ctx, map[string]string{v1alpha1.ClusterLabel: options.Cluster}, step.desired); err != nil {
			return err
		}
	}
	return nil
}
