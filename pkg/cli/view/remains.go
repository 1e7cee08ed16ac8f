package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// Kind is a kind whose objects may be on a cluster.
type Kind struct {
	Kind     string
	Resource schema.GroupVersionResource
}

// Remain is an object that is on a cluster, or may still be there.
type Remain struct {
	// Workspace is the name of its logical cluster, WorkspacePath the path that the workspace says it has. Whoever
	// administers the workspace may have it say another one.
	Workspace     string `json:"workspace"`
	WorkspacePath string `json:"workspacePath,omitempty"`
	Kind          string `json:"kind"`
	Namespace     string `json:"namespace,omitempty"`
	Name          string `json:"name"`
	// ClusterNamespace and ClusterName are what its copy is called on the cluster.
	ClusterNamespace string `json:"clusterNamespace,omitempty"`
	ClusterName      string `json:"clusterName"`
}

// RemainOf names an object that is on the cluster, and its copy under the cluster's rule.
func RemainOf(obj metav1.Object, kind, workspace, cluster string, rule v1alpha1.TransformRule) Remain {
	origin := transform.Origin{Workspace: workspace, Namespace: obj.GetNamespace(), Name: obj.GetName(), Cluster: cluster}
	namespace, name := origin.Target(rule)
	return Remain{
		Workspace: workspace, Kind: kind, Namespace: obj.GetNamespace(), Name: obj.GetName(),
		ClusterNamespace: namespace, ClusterName: name,
	}
}

// String names the object: namespace/kind/name.
func (r Remain) String() string { return path(r.Namespace, strings.ToLower(r.Kind), r.Name) }

// Copy names the copy: namespace/kind/name.
func (r Remain) Copy() string {
	return path(r.ClusterNamespace, strings.ToLower(r.Kind), r.ClusterName)
}

// In is the workspace by the name of its logical cluster, and in parentheses the path that it says it has.
func (r Remain) In() string {
	if r.WorkspacePath == "" || r.WorkspacePath == r.Workspace {
		return r.Workspace
	}
	return r.Workspace + " (" + r.WorkspacePath + ")"
}

func path(elements ...string) string {
	return strings.Join(slices.DeleteFunc(elements, func(e string) bool { return e == "" }), "/")
}

// SortRemains sorts by workspace, namespace, kind and name.
func SortRemains(remains []Remain) {
	slices.SortFunc(remains, func(a, b Remain) int {
		return cmp.Or(cmp.Compare(a.In(), b.In()), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
}

// RemainsText lists the remains, which are sorted, by workspace: the first of them, and how many more there are.
func RemainsText(remains []Remain, most int) string {
	p := &page{}
	workspace := ""
	for _, r := range remains[:min(len(remains), most)] {
		if r.In() != workspace {
			workspace = r.In()
			p.linef(0, "workspace %s:", workspace)
		}
		text := r.String()
		if r.Copy() != text {
			text += ", there " + r.Copy()
		}
		p.linef(1, "%s", text)
	}
	if more := len(remains) - most; more > 0 {
		p.linef(0, "and %d more; -o json lists all", more)
	}
	return p.String()
}

// WhyThere says why an object is still on a cluster that everything is to leave, as far as its annotations do.
func WhyThere(obj metav1.Object, cluster string) string {
	object := protocol.Read(obj)
	entry := object.Entries([]string{cluster}, protocol.Facts{})[0]
	switch {
	case object.IsDeleting() && !object.IsEnding():
		return "it has been deleted, and runs on while these finalizers are on it: " + strings.Join(object.Holders(), ", ")
	case entry.State != protocol.Leaving:
		return cmp.Or(said(entry.Why, object.Placement().Message), "it has not been asked to leave yet")
	case len(entry.Report.Problems) > 0:
		return said(entry.Report.Problems[0].Reason, entry.Report.Problems[0].Message)
	case entry.LeavingSince != "":
		return fmt.Sprintf("its syncer was asked to remove the copy at %s, and has not yet", entry.LeavingSince)
	default:
		return "its syncer has not removed the copy yet"
	}
}
