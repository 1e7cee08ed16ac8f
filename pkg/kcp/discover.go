package kcp

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/kcp-dev/logicalcluster/v3"
	kcpclientset "github.com/kcp-dev/sdk/client/clientset/versioned"
)

// Resource is a resource that kcp serves.
type Resource struct {
	schema.GroupVersionResource

	// Kind is the kind of its objects.
	Kind string
	// Namespaced is whether its objects lie in namespaces.
	Namespaced bool
	// HasStatus is whether it has a status subresource. Where it has, spec changes
	// count generations.
	HasStatus bool
}

// discover returns what is served at the URL of config, of each resource the
// version that the server prefers. It fails when only a part of it can be told.
func discover(ctx context.Context, config *rest.Config) ([]Resource, error) {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &endsWith{next, ctx} })
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("discovery client for %s: %w", config.Host, err)
	}
	groups, lists, err := client.ServerGroupsAndResources()
	if err != nil {
		return nil, err
	}
	byVersion := map[string]*metav1.APIResourceList{}
	for _, list := range lists {
		byVersion[list.GroupVersion] = list
	}
	var resources []Resource
	for _, group := range groups {
		resources = append(resources, resourcesOf(group, byVersion)...)
	}
	return resources, nil
}

// resourcesOf returns the resources of a group. Its versions come in the order of
// preference.
func resourcesOf(group *metav1.APIGroup, byVersion map[string]*metav1.APIResourceList) []Resource {
	var resources []Resource
	seen := sets.New[string]()
	for _, version := range group.Versions {
		list := byVersion[version.GroupVersion]
		if list == nil {
			continue
		}
		statuses := sets.New[string]()
		for _, served := range list.APIResources {
			if name, isStatus := strings.CutSuffix(served.Name, "/status"); isStatus {
				statuses.Insert(name)
			}
		}
		for _, served := range list.APIResources {
			if strings.Contains(served.Name, "/") || seen.Has(served.Name) {
				continue
			}
			seen.Insert(served.Name)
			resources = append(resources, Resource{
				GroupVersionResource: schema.GroupVersionResource{Group: group.Name, Version: version.Version, Resource: served.Name},
				Kind:                 served.Kind,
				Namespaced:           served.Namespaced,
				HasStatus:            statuses.Has(served.Name),
			})
		}
	}
	return resources
}

// endsWith ends requests with a context: discovery clients take none.
type endsWith struct {
	http.RoundTripper

	ctx context.Context //nolint:containedctx // see above
}

// RoundTrip implements http.RoundTripper.
func (t *endsWith) RoundTrip(request *http.Request) (*http.Response, error) {
	return t.RoundTripper.RoundTrip(request.WithContext(t.ctx))
}

// boundResources returns the resources that the workspace of config has from the
// export: those that it binds, and those that it lets the export claim. Nothing
// when the export is not bound there. With them it returns the name of the workspace, empty
// when there is no binding that could tell it.
func boundResources(ctx context.Context, config *rest.Config, export string) (logicalcluster.Name, sets.Set[schema.GroupResource], error) {
	client, err := kcpclientset.NewForConfig(config)
	if err != nil {
		return "", nil, fmt.Errorf("client for %s: %w", config.Host, err)
	}
	bindings, err := client.ApisV1alpha2().APIBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", nil, fmt.Errorf("listing the APIBindings of %s: %w", config.Host, err)
	}
	workspace, bound := logicalcluster.Name(""), sets.New[schema.GroupResource]()
	for _, binding := range bindings.Items {
		workspace = logicalcluster.From(&binding)
		if binding.Spec.Reference.Export == nil || binding.Spec.Reference.Export.Name != export {
			continue
		}
		for _, resource := range binding.Status.BoundResources {
			bound.Insert(schema.GroupResource{Group: resource.Group, Resource: resource.Resource})
		}
		for _, claim := range binding.Status.AppliedPermissionClaims {
			bound.Insert(schema.GroupResource{Group: claim.Group, Resource: claim.Resource})
		}
	}
	return workspace, bound, nil
}
