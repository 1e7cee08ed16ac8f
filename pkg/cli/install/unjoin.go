package install

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/util/retry"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// UnjoinOptions say which cluster to take out.
type UnjoinOptions struct {
	Options

	// Cluster is the name of the cluster.
	Cluster string
}

// Unjoin takes away what Join has made for a cluster that is not registered any more:
// its account, by which its tokens end, with its permissions, its Lease, and what
// isolated it, unless other clusters of its group use it: the entry in the WorkspaceType of
// tenants, the APIExport, and its APIBindings in workspaces where the caller may delete
// them; of others, the caller is told. What is gone already is left out. It fails when the cluster is still
// registered, for its syncer could not leave any more, and when the caller may not do
// it.
func Unjoin(ctx context.Context, options UnjoinOptions) error {
	if !logicalcluster.NewPath(options.ProviderWorkspace).IsValid() {
		return fmt.Errorf("%q is not the path of a workspace, such as root:tmc", options.ProviderWorkspace)
	}
	if err := v1alpha1.ValidateClusterName(options.Cluster); err != nil {
		return err
	}
	s, err := newServer(options.Options)
	if err != nil {
		return err
	}
	if err := s.checkGone(ctx, options.Cluster); err != nil {
		return err
	}
	// First of all what would have its view bound anew.
	if err := s.settleAll(ctx); err != nil {
		return err
	}
	objects, err := joinedObjects(options.Cluster)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := s.remove(ctx, map[string]string{v1alpha1.ClusterLabel: options.Cluster}, object); err != nil {
			return err
		}
	}
	return nil
}

// joinedObjects returns what Join makes for a cluster, besides its registration and what
// is there for all clusters: the last first, and the permissions before whom they are
// given to.
func joinedObjects(cluster string) ([]*unstructured.Unstructured, error) {
	account, err := accountSteps(account{cluster: cluster})
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, step := range slices.Backward(account) {
		if step.desired.GetLabels()[v1alpha1.ClusterLabel] == cluster {
			objects = append(objects, step.desired)
		}
	}
	return objects, nil
}

// checkGone fails while the cluster is registered.
func (s *server) checkGone(ctx context.Context, cluster string) error {
	var registration metav1.PartialObjectMetadata
	err := s.get(ctx, s.options.ProviderWorkspace, v1alpha1.ClusterRegistrationsResource, cluster, &registration)
	switch {
	case isMissing(err):
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("cluster %s is still registered in workspace %s: remove it first", cluster, s.options.ProviderWorkspace)
	}
}

// unbind has workspaces of the tenants' type no longer bind exports, if there is such
// a type.
func (s *server) unbind(ctx context.Context, exports []string) error {
	desired, err := newTenantType(s.options.ProviderWorkspace)
	if err != nil {
		return err
	}
	var tenants metav1.PartialObjectMetadata
	err = s.get(ctx, s.options.ProviderWorkspace, workspaceTypeResource, desired.GetName(), &tenants)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = s.apply(ctx, s.options.ProviderWorkspace, desired, withoutExports(s.options.ProviderWorkspace, exports))
	return err
}

// remove deletes an object that was made by joining, and has the marks of that.
func (s *server) remove(ctx context.Context, marks map[string]string, object *unstructured.Unstructured) error {
	client, err := s.resource(s.options.ProviderWorkspace, object)
	if err != nil {
		return err
	}
	isDeleted := false
	err = retry.OnError(raceBackoff, isRace, func() error {
		live, err := client.Get(ctx, object.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		// A Lease may be the syncer's own work.
		if live.GetKind() != "Lease" && !labels.SelectorFromSet(marks).Matches(labels.Set(live.GetLabels())) {
			return nil
		}
		isDeleted = true
		return client.Delete(ctx, object.GetName(), metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(live.GetUID()))})
	})
	switch {
	case isMissing(err):
		return nil
	case err != nil:
		return s.explain(s.options.ProviderWorkspace, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err))
	case isDeleted:
		s.applied(s.options.ProviderWorkspace, object, Deleted)
	}
	return nil
}
