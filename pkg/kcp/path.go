package kcp

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-dev/logicalcluster/v3"
	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"
)

var apiBindings = apisv1alpha2.SchemeGroupVersion.WithResource("apibindings")

// pathAnnotation is where kcp notes the path of a workspace on its APIBindings.
const pathAnnotation = "kcp.io/path"

// ToldPath returns the path of a workspace as one of its APIBindings tells it, empty when
// none does. A virtual workspace serves the bindings of its own export whatever that
// claims. The tenant may have written the annotation: the path is for people to read, and
// decides nothing. It fails as Live does.
func (u *Upstream) ToldPath(ctx context.Context, workspace logicalcluster.Name) (string, error) {
	s, err := u.sourceOf(workspace)
	if err != nil {
		return "", err
	}
	bindings, err := s.in(workspace).Resource(apiBindings).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("asking kcp for the path of workspace %s: %w", workspace, err)
	}
	for i := range bindings.Items {
		if path := bindings.Items[i].GetAnnotations()[pathAnnotation]; isPath(path) {
			return path, nil
		}
	}
	return "", nil
}

// longestPath is more than any path of workspaces that people use takes.
const longestPath = 256

// isPath tells whether a text may be the path of a workspace: tenants write any.
func isPath(text string) bool {
	path := logicalcluster.NewPath(text)
	return text != "" && len(text) <= longestPath && path != logicalcluster.Wildcard && path.IsValid()
}
