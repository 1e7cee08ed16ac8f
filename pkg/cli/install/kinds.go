package install

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	apisv1alpha1 "github.com/kcp-dev/sdk/apis/apis/v1alpha1"
	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

var schemaResource = apisv1alpha1.SchemeGroupVersion.WithResource("apiresourceschemas")

// servedKind is a resource that consumers have by the APIExport.
type servedKind struct {
	schema.GroupResource

	// identityHash is that of the export that brings it; empty when it is kcp's own.
	identityHash string
}

// servedKinds returns the resources whose objects can be synced, sorted: what the export
// brings, and what it claims of what there is.
func (s *server) servedKinds(ctx context.Context, export *apisv1alpha2.APIExport) ([]servedKind, error) {
	var kinds []servedKind
	for _, resource := range export.Spec.Resources {
		kind := servedKind{schema.GroupResource{Group: resource.Group, Resource: resource.Name}, export.Status.IdentityHash}
		if !v1alpha1.IsSynced(kind.GroupResource, true) {
			continue
		}
		var definition struct {
			Spec struct {
				Scope string `json:"scope"`
			} `json:"spec"`
		}
		if err := s.get(ctx, s.options.ProviderWorkspace, schemaResource, resource.Schema, &definition); err != nil {
			return nil, fmt.Errorf("the schema of %s: %w", kind, err)
		}
		if v1alpha1.IsSynced(kind.GroupResource, definition.Spec.Scope == "Namespaced") {
			kinds = append(kinds, kind)
		}
	}
	clusterScoped, err := s.clusterScoped()
	if err != nil {
		return nil, err
	}
	for _, claim := range export.Spec.PermissionClaims {
		kind := servedKind{schema.GroupResource{Group: claim.Group, Resource: claim.Resource}, claim.IdentityHash}
		if v1alpha1.IsSynced(kind.GroupResource, !slices.Contains(clusterScoped, kind.GroupResource)) {
			kinds = append(kinds, kind)
		}
	}
	slices.SortFunc(kinds, compareKinds)
	return kinds, nil
}

// clusterScoped returns the resources in no namespace that every workspace has, the
// provider's, too.
func (s *server) clusterScoped() ([]schema.GroupResource, error) {
	client, err := s.discovery(s.options.ProviderWorkspace)
	if err != nil {
		return nil, err
	}
	_, lists, err := client.ServerGroupsAndResources()
	// Groups that are broken are not kcp's own.
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, s.explain(s.options.ProviderWorkspace, err)
	}
	var found []schema.GroupResource
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, resource := range list.APIResources {
			if !resource.Namespaced {
				found = append(found, schema.GroupResource{Group: version.Group, Resource: resource.Name})
			}
		}
	}
	return found, nil
}

// chooseKinds returns those of the served kinds that are wanted, as in "deployments" or
// "deployments.apps"; all when none are. A name that stands for none, or for more than
// one, is an error that says what there is.
func chooseKinds(served []servedKind, wanted []string) ([]servedKind, error) {
	if len(wanted) == 0 {
		return served, nil
	}
	var chosen []servedKind
	for _, name := range wanted {
		matches := kindsCalled(served, name)
		switch {
		case len(matches) == 0:
			return nil, fmt.Errorf("kind %q is not served; there are: %s", name, listKinds(served, ", "))
		case len(matches) > 1:
			return nil, fmt.Errorf("kind %q may be %s: say which", name, listKinds(matches, " or "))
		case !slices.Contains(chosen, matches[0]):
			chosen = append(chosen, matches[0])
		}
	}
	slices.SortFunc(chosen, compareKinds)
	return chosen, nil
}

// kindsCalled returns the kinds that a name may stand for: the one of which it is the
// whole name, or else those of which it is the name in any group.
func kindsCalled(served []servedKind, name string) []servedKind {
	var matches []servedKind
	for _, kind := range served {
		if kind.String() == name {
			return []servedKind{kind}
		}
		if kind.Resource == name {
			matches = append(matches, kind)
		}
	}
	return matches
}

func compareKinds(a, b servedKind) int { return strings.Compare(a.String(), b.String()) }

func listKinds(kinds []servedKind, separator string) string {
	var names []string
	for _, kind := range kinds {
		names = append(names, kind.String())
	}
	return strings.Join(names, separator)
}

// resourcesOf returns the resources of kinds.
func resourcesOf(kinds []servedKind) []schema.GroupResource {
	var resources []schema.GroupResource
	for _, kind := range kinds {
		resources = append(resources, kind.GroupResource)
	}
	return resources
}
