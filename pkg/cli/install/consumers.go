package install

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kcp-dev/logicalcluster/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	apisv1alpha1 "github.com/kcp-dev/sdk/apis/apis/v1alpha1"
)

// consumerBinding is the APIBinding of a workspace that has an APIExport bound.
type consumerBinding struct {
	// workspace is the name of the logical cluster; path is what the binding says that people
	// call it, for messages. A tenant may write that: nothing is decided by it, and no command
	// that somebody is told to run has it.
	workspace, path string
	name            string
	uid             types.UID
	// claims are those that it accepts or rejects.
	claims []any
}

// pathAnnotation holds the path of the workspace that an object is in.
const pathAnnotation = "kcp.io/path"

// bindingsOf returns the bindings of an APIExport in all workspaces, sorted, as its virtual
// workspaces show them.
func (s *server) bindingsOf(ctx context.Context, export string) ([]consumerBinding, error) {
	var slice apisv1alpha1.APIExportEndpointSlice
	err := s.get(ctx, s.options.ProviderWorkspace, endpointSliceResource, export, &slice)
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []consumerBinding
	for _, endpoint := range slice.Status.APIExportEndpoints {
		bindings, err := s.bindingsAt(ctx, endpoint.URL)
		if err != nil {
			return nil, fmt.Errorf("listing the bindings of APIExport %s: %w", export, err)
		}
		found = append(found, bindings...)
	}
	slices.SortFunc(found, func(a, b consumerBinding) int { return strings.Compare(a.path+"|"+a.name, b.path+"|"+b.name) })
	return found, nil
}

// bindingsAt returns the bindings that a virtual workspace shows.
func (s *server) bindingsAt(ctx context.Context, url string) ([]consumerBinding, error) {
	config := rest.CopyConfig(s.config)
	config.Host = url + logicalcluster.Wildcard.RequestPath()
	client, err := dynamic.NewForConfigAndClient(config, s.http)
	if err != nil {
		return nil, err
	}
	list, err := client.Resource(bindingResource).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var found []consumerBinding
	for i := range list.Items {
		item := &list.Items[i]
		// An error means that the field is no list: the API server sees to that.
		claims, _, _ := unstructured.NestedSlice(item.Object, "spec", "permissionClaims")
		workspace := logicalcluster.From(item).String()
		path := cmp.Or(saidPath(item), workspace)
		found = append(found, consumerBinding{workspace, path, item.GetName(), item.GetUID(), claims})
	}
	return found, nil
}

// saidPath returns the path that a binding says, empty when that is none.
func saidPath(binding metav1.Object) string {
	if said := binding.GetAnnotations()[pathAnnotation]; said != "*" && logicalcluster.NewPath(said).IsValid() {
		return said
	}
	return ""
}
