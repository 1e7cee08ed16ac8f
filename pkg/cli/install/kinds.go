package install

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// servedKind is a resource that consumers have by the APIExport.
type servedKind struct {
	schema.GroupResource

	// identityHash is that of the export that brings it; empty when it is kcp's own.
	identityHash string
}

// servedKinds returns the resources whose objects can be synced, sorted: what the export brings, and what it claims of
// kcp's own resources.
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
		if err := s.get(ctx, s.provider, kcp.ResourceSchemasResource, resource.Schema, &definition); err != nil {
			return nil, fmt.Errorf("the schema of %s: %w", kind, err)
		}
		if v1alpha1.IsSynced(kind.GroupResource, definition.Spec.Scope == "Namespaced") {
			kinds = append(kinds, kind)
		}
	}
	// The provider workspace has the same kinds of kcp's own as any other workspace.
	resources, err := s.resources(s.provider)
	if err != nil {
		return nil, err
	}
	clusterScoped := map[schema.GroupResource]bool{}
	for _, resource := range resources {
		if !resource.Namespaced {
			clusterScoped[schema.GroupResource{Group: resource.Group, Resource: resource.Name}] = true
		}
	}
	for _, claim := range export.Spec.PermissionClaims {
		kind := servedKind{schema.GroupResource{Group: claim.Group, Resource: claim.Resource}, claim.IdentityHash}
		if v1alpha1.IsSynced(kind.GroupResource, !clusterScoped[kind.GroupResource]) {
			kinds = append(kinds, kind)
		}
	}
	slices.SortFunc(kinds, compareKinds)
	return kinds, nil
}

// chooseKinds returns those of the served kinds that are wanted, as in "deployments" or "deployments.apps"; all when
// none are. A name that means no kind, or more than one, is an error that says what is served.
func chooseKinds(served []servedKind, wanted []string) ([]servedKind, error) {
	if len(wanted) == 0 {
		return served, nil
	}
	var chosen []servedKind
	for _, name := range wanted {
		var matches []servedKind
		for _, kind := range served {
			if kind.String() == name { // the whole name wins over the same name in other groups
				matches = []servedKind{kind}
				break
			}
			if kind.Resource == name {
				matches = append(matches, kind)
			}
		}
		switch {
		case len(matches) == 0:
			return nil, fmt.Errorf("--kinds: kind %q is not served; there are: %s", name, listKinds(served, ", "))
		case len(matches) > 1:
			return nil, fmt.Errorf("--kinds: kind %q may be %s: say which", name, listKinds(matches, " or "))
		case !slices.Contains(chosen, matches[0]):
			chosen = append(chosen, matches[0])
		}
	}
	slices.SortFunc(chosen, compareKinds)
	return chosen, nil
}

func compareKinds(a, b servedKind) int { return strings.Compare(a.String(), b.String()) }

// listKinds returns the names of kinds, or of anything with names, for people.
func listKinds[T fmt.Stringer](kinds []T, separator string) string {
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = kind.String()
	}
	return strings.Join(names, separator)
}
