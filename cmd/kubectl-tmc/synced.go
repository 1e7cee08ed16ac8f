package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
)

// syncedResources returns the resources of a workspace whose objects are synced: those of the kinds that are known, and what
// else the workspace has bound of tmc. What it serves beside that is its own. It fails when that is not known, or is nothing.
func syncedResources(ctx context.Context, config *rest.Config, client dynamic.Interface, known kinds.Kinds) ([]schema.GroupVersionResource, error) {
	serving, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for %s: %w", config.Host, err)
	}
	lists, err := serving.ServerPreferredNamespacedResources()
	if len(lists) == 0 && err != nil {
		return nil, err
	}
	resources, servesWorkloads := syncedOf(lists, known, boundResources(ctx, client))
	if !servesWorkloads {
		return nil, errNotBound
	}
	return resources, nil
}

// syncedOf returns those of the resources that a workspace serves which are synced, and whether workloads are among them.
func syncedOf(lists []*metav1.APIResourceList, known kinds.Kinds, bound sets.Set[schema.GroupResource]) (resources []schema.GroupVersionResource, servesWorkloads bool) {
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue // a version that cannot be read cannot be listed
		}
		for _, served := range list.APIResources {
			resource, kind := version.WithResource(served.Name), known.Of(version.WithKind(served.Kind).GroupKind())
			if isListed(resource, served) && (kind.IsKnown() || bound.Has(resource.GroupResource())) {
				resources = append(resources, resource)
				servesWorkloads = servesWorkloads || kind.Workload
			}
		}
	}
	return resources, servesWorkloads
}

// isListed reports whether a resource that a workspace serves can be listed, and may be synced.
func isListed(resource schema.GroupVersionResource, served metav1.APIResource) bool {
	canBe := !strings.Contains(served.Name, "/") && (len(served.Verbs) == 0 || slices.Contains(served.Verbs, "list"))
	return canBe && v1alpha1.IsSynced(resource.GroupResource(), true)
}

var errNotBound = errors.New("the workspace serves no workloads: point the kubeconfig at one that `kubectl tmc bind` has bound")

// boundResources returns what the workspace has bound of tmc's APIExport; nothing when the caller may not know.
func boundResources(ctx context.Context, client dynamic.Interface) sets.Set[schema.GroupResource] {
	bound := sets.New[schema.GroupResource]()
	_ = eachItem(ctx, client.Resource(v1alpha1.APIBindingsResource), func(obj *unstructured.Unstructured) error {
		binding := &apisv1alpha2.APIBinding{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, binding); err != nil {
			return err
		}
		if reference := binding.Spec.Reference.Export; reference == nil || reference.Name != v1alpha1.APIExportName {
			return nil
		}
		for _, resource := range binding.Status.BoundResources {
			bound.Insert(schema.GroupResource{Group: resource.Group, Resource: resource.Resource})
		}
		return nil
	})
	return bound
}
