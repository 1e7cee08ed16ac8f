package guard

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// initializing is the part of kcp that an Initializer uses: the LogicalClusters that kcp initializes.
type initializing interface {
	// Provider returns the name of the logical cluster that holds the WorkspaceType.
	Provider() logicalcluster.Name
	Cached(key kcp.ObjectKey) *unstructured.Unstructured
	Patch(ctx context.Context, key kcp.ObjectKey, patchType types.PatchType, patch []byte, subresources ...string) (*unstructured.Unstructured, error)
}

// Initializer has kcp give workspaces of the tenants' WorkspaceType to their users only when tmc's policies are in
// force there. A Guard makes the policies, as everywhere: it may as soon as kcp has bound tmc in the workspace.
type Initializer struct {
	upstream initializing
	inForce  func(workspace logicalcluster.Name) bool
	// turnOn patches the WorkspaceType, so that kcp waits in each new workspace of the type.
	turnOn func(ctx context.Context, patch []byte) error
	loop   *controller.Controller[kcp.ObjectKey]
}

// NewInitializer returns an Initializer over the LogicalClusters of upstream. config is for the same kcp, and guard
// knows where the policies are in force.
func NewInitializer(upstream initializing, config *rest.Config, provider logicalcluster.Path, guard *Guard) (*Initializer, error) {
	client, err := kcp.NewClient(config, provider, dynamic.NewForConfig)
	if err != nil {
		return nil, err
	}
	i := &Initializer{upstream: upstream, inForce: guard.InForce}
	i.turnOn = func(ctx context.Context, patch []byte) error {
		_, err := client.Resource(kcp.WorkspaceTypesResource).
			Patch(ctx, v1alpha1.TenantWorkspaceType, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: v1alpha1.ControllerFieldManager})
		return err
	}
	i.loop = controller.New("initializer", i.sync)
	return i, nil
}

// Run works until ctx ends.
func (i *Initializer) Run(ctx context.Context) { i.loop.Run(ctx, workers) }

// OnUpstream takes note of the WorkspaceType, and of LogicalClusters that kcp initializes. It is an upstream.Handler.
func (i *Initializer) OnUpstream(key kcp.ObjectKey, _, newObj *unstructured.Unstructured) {
	switch {
	case newObj == nil: // the workspace is ready, or gone
	case key.Resource == kcp.WorkspaceTypesResource && isOn(newObj):
	default:
		i.loop.Enqueue(key)
	}
}

// OnWorkspace takes note of a workspace where the policies have come into force. It is a handler of the Guard.
func (i *Initializer) OnWorkspace(workspace logicalcluster.Name) {
	key := kcp.ObjectKey{Workspace: workspace, Resource: kcp.LogicalClustersResource, Name: kcp.LogicalClusterName}
	if i.upstream.Cached(key) != nil {
		i.loop.Enqueue(key)
	}
}

func (i *Initializer) sync(ctx context.Context, key kcp.ObjectKey) (time.Duration, error) {
	if key.Resource == kcp.WorkspaceTypesResource {
		klog.FromContext(ctx).Info("Having kcp wait for the policies in new workspaces of the tenants' type")
		err := i.turnOn(ctx, []byte(`{"spec":{"initializer":true}}`))
		if apierrors.IsForbidden(err) {
			return 0, fmt.Errorf("run `kubectl tmc init` for the permission: %w", err)
		}
		return 0, err
	}
	self := i.upstream.Cached(key)
	if self == nil || !i.inForce(key.Workspace) {
		return 0, nil
	}
	patch, err := withoutInitializer(self, i.upstream.Provider().String()+":"+v1alpha1.TenantWorkspaceType)
	if err != nil || patch == nil {
		return 0, err
	}
	_, err = i.upstream.Patch(ctx, key, types.MergePatchType, patch, "status")
	if kcp.IsMissingObject(err, key.Name) {
		return 0, nil // it is gone, or another hub was faster
	}
	return 0, err
}

// isOn reports whether kcp waits for the Initializer, as a WorkspaceType says.
func isOn(workspaceType *unstructured.Unstructured) bool {
	on, _, _ := unstructured.NestedBool(workspaceType.Object, "spec", "initializer")
	return on
}

// withoutInitializer returns a patch that removes an initializer from a LogicalCluster, nil when it has no such
// initializer. The patch fails when the LogicalCluster has changed. kcp refuses the removal of other initializers. It
// calls the initializer of a WorkspaceType <logical cluster>:<name> (InitializerForType in github.com/kcp-dev/sdk,
// apis/tenancy/initialization).
func withoutInitializer(self *unstructured.Unstructured, initializer string) ([]byte, error) {
	// An error means that the field is no list, which its schema does not let it be.
	all, _, _ := unstructured.NestedStringSlice(self.Object, "status", "initializers")
	others := slices.DeleteFunc(slices.Clone(all), func(one string) bool { return one == initializer })
	if len(others) == len(all) {
		return nil, nil
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": self.GetUID(), "resourceVersion": self.GetResourceVersion()},
		"status":   map[string]any{"initializers": others},
	})
}
