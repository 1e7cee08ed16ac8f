package inventory

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

func TestThePathOfAWorkspaceIsWhatItsBindingOrKCPSays(t *testing.T) {
	group := schema.GroupResource{Group: "core.kcp.io", Resource: "logicalclusters"}
	cases := map[string]struct {
		reason string
		noted  string
		answer string
		err    error
		// want is empty while the path is not known.
		want string
	}{
		"TheBindingSays":     {"nobody is asked", "root:a", "", errors.New("asked"), "root:a"},
		"KCPSays":            {"its LogicalCluster has it", "", "root:b", nil, "root:b"},
		"KCPRefuses":         {"its name has to do", "", "", apierrors.NewForbidden(group, "cluster", nil), "ws"},
		"KCPSaysNothing":     {"likewise", "", "", nil, "ws"},
		"KCPFails":           {"it is asked again", "", "", errors.New("not reachable"), ""},
		"TheWorkspaceIsGone": {"there is nobody to ask", "", "", apierrors.NewNotFound(group, "cluster"), ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var told []logicalcluster.Name
			p := newPaths(func(context.Context, logicalcluster.Name) (string, error) { return tc.answer, tc.err },
				func(workspace logicalcluster.Name) { told = append(told, workspace) })
			binding := &unstructured.Unstructured{}
			binding.SetAnnotations(map[string]string{pathAnnotation: tc.noted})
			p.OnUpstream(kcp.ObjectKey{Workspace: "ws", Resource: v1alpha1.APIBindingsResource, Name: "tmc.kcp.io"}, nil, binding)
			if _, err := p.sync(t.Context(), "ws"); (err != nil) != (name == "KCPFails") {
				t.Errorf("%s: error %v", tc.reason, err)
			}
			path, known := p.Path("ws")
			if path != tc.want || known != (tc.want != "") || len(told) != map[bool]int{true: 1}[known] {
				t.Errorf("%s: path %q (known: %t), told of %v; want %q", tc.reason, path, known, told, tc.want)
			}
		})
	}
}
