package aggregator

import (
	"encoding/json"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
)

// leftOut returns why the cluster's syncer does not see an object of the key, empty when it
// does. Of a cluster that is not registered, other things are said.
func (a *Aggregator) leftOut(key kcp.ObjectKey, name string) v1alpha1.LeftOut {
	cluster := a.registry.Cluster(name)
	if cluster.Name == "" {
		return ""
	}
	return cluster.WhyLeftOut(a.bindings.LeftOut(key.Workspace, cluster.Export, key.Resource.GroupResource()), key.Resource)
}

// unseen returns a problem for each reason why syncers do not see the object on the
// clusters that it is placed on: what they report is not renewed, and what they hold they
// do not let go of. Of an object that is on no cluster, and would else be on some, it
// returns why they are left out. What is on some clusters and misses others is well: its
// placement annotation and an event tell which.
func (a *Aggregator) unseen(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) []v1alpha1.Problem {
	leftOut := map[string]v1alpha1.LeftOut{}
	placed := v1alpha1.PlacedClusters(upstreamObj.GetLabels())
	for _, cluster := range placed {
		if why := a.leftOut(key, cluster); why.HidesWhatIsThere() {
			leftOut[cluster] = why
		}
	}
	if len(placed) == 0 {
		var reason v1alpha1.PlacementReason
		// What nobody can read says nothing, and is written again.
		_ = json.Unmarshal([]byte(upstreamObj.GetAnnotations()[v1alpha1.PlacementAnnotation]), &reason)
		leftOut = reason.LeftOut
	}
	if len(leftOut) == 0 {
		return nil
	}
	kind := upstreamObj.GroupVersionKind().GroupKind()
	reasons := slices.Compact(slices.Sorted(maps.Values(leftOut)))
	problems := make([]v1alpha1.Problem, 0, len(reasons))
	for i, message := range placement.SayAllLeftOut(leftOut, kind, a.tenantType) {
		problems = append(problems, v1alpha1.Problem{Reason: string(reasons[i]), Message: message}) // in the same order
	}
	return problems
}
