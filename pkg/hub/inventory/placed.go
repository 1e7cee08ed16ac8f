package inventory

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

const (
	// clusterIndex finds what is on a cluster, or held by its syncer.
	clusterIndex = "on-cluster"
	// namesakesIndex finds what is placed anywhere by kind, namespace and name, whatever the
	// workspace.
	namesakesIndex = "namesakes"
	// placementsIndex finds the WorkloadPlacements of a namespace.
	placementsIndex = "placements"
)

var placementKind = schema.GroupKind{Group: v1alpha1.GroupName, Kind: "WorkloadPlacement"}

// EachOn calls visit for every object that is placed on the cluster or held by its
// syncer.
func (i *Inventory) EachOn(cluster string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	i.upstream.EachBy(clusterIndex, cluster, visit)
}

// EachNamesake calls visit for every object of other workspaces that has the kind, the
// namespace and the name of this one, and is placed on the cluster. Unless workspaces are
// kept apart there, they want one place.
func (i *Inventory) EachNamesake(key kcp.ObjectKey, obj *unstructured.Unstructured, cluster string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	i.upstream.EachBy(namesakesIndex, namesakesValue(obj), func(otherKey kcp.ObjectKey, other *unstructured.Unstructured) {
		isPlaced := other.GetLabels()[v1alpha1.PlacementLabel(cluster)] == v1alpha1.PlacementLabelValue
		if isPlaced && otherKey.Workspace != key.Workspace && otherKey.Resource == key.Resource {
			visit(otherKey, other)
		}
	})
}

// Placements returns the WorkloadPlacements of a namespace, in no order. Those that
// cannot be read, which their schema does not let be, are left out.
func (i *Inventory) Placements(workspace logicalcluster.Name, namespace string) []*v1alpha1.WorkloadPlacement {
	var placements []*v1alpha1.WorkloadPlacement
	i.upstream.EachBy(placementsIndex, workspace.String()+"|"+namespace, func(_ kcp.ObjectKey, obj *unstructured.Unstructured) {
		placement := &v1alpha1.WorkloadPlacement{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, placement); err == nil {
			placements = append(placements, placement)
		}
	})
	return placements
}

func clusterValues(upstreamObj *unstructured.Unstructured) []string {
	clusters := sets.New(v1alpha1.PlacedClusters(upstreamObj.GetLabels())...)
	clusters.Insert(v1alpha1.HoldingClusters(upstreamObj.GetFinalizers())...)
	return sets.List(clusters)
}

func namesakesValues(upstreamObj *unstructured.Unstructured) []string {
	if len(v1alpha1.PlacedClusters(upstreamObj.GetLabels())) == 0 {
		return nil
	}
	return []string{namesakesValue(upstreamObj)}
}

func namesakesValue(upstreamObj *unstructured.Unstructured) string {
	return upstreamObj.GroupVersionKind().GroupKind().String() + "|" + upstreamObj.GetNamespace() + "/" + upstreamObj.GetName()
}

func placementsValues(upstreamObj *unstructured.Unstructured) []string {
	if upstreamObj.GroupVersionKind().GroupKind() != placementKind {
		return nil
	}
	return []string{logicalcluster.From(upstreamObj).String() + "|" + upstreamObj.GetNamespace()}
}
