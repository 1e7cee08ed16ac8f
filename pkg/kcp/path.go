package kcp

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-dev/logicalcluster/v3"
	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"
	"github.com/kcp-dev/sdk/apis/core"
)

var apiBindings = apisv1alpha2.SchemeGroupVersion.WithResource("apibindings")

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
		if path := SaidPath(&bindings.Items[i]); path != "" {
			return path, nil
		}
	}
	return "", nil
}

// longestPath is more than any path of workspaces that people use takes.
const longestPath = 256

// SaidPath returns the path that an object says its workspace has, empty when it is none, or
// longer than 256 bytes. Whoever administers the workspace may write any.
func SaidPath(obj metav1.Object) string {
	said := obj.GetAnnotations()[core.LogicalClusterPathAnnotationKey]
	if path := logicalcluster.NewPath(said); len(said) <= longestPath && path != logicalcluster.Wildcard && path.IsValid() {
		return said
	}
	return ""
}
