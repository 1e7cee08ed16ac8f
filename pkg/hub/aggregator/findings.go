package aggregator

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/hub/inventory"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// missing returns a problem for each thing that the object cannot do without and that its clusters will not have.
func (a *Aggregator) missing(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) []protocol.Problem {
	placed := protocol.Read(upstreamObj).Labelled()
	if len(placed) == 0 {
		return nil
	}
	var problems []protocol.Problem
	for _, need := range a.config.Inventory.Needs(key, upstreamObj) {
		if why := a.whyMissing(need, placed); why != "" && !need.Optional {
			problems = append(problems, protocol.Problem{
				Reason:  protocol.ReasonMissing,
				Message: fmt.Sprintf("it names %s %q, which %s", need.Key.Resource.Resource, need.Key.Name, why),
			})
		}
	}
	return problems
}

// whyMissing says why what an object names is not on its clusters, empty when it is, or when those where it is not make it
// themselves.
func (a *Aggregator) whyMissing(need inventory.Need, clusters []string) string {
	why := a.whyNotThere(need, clusters)
	if why == "" {
		return ""
	}
	lacking := slices.DeleteFunc(slices.Clone(clusters), func(cluster string) bool { return a.provides(cluster, need.Key) })
	switch {
	case len(lacking) == len(clusters):
		return why
	case len(lacking) == 0:
		return ""
	case need.Object == nil:
		return why + ", and which is not made by cluster " + strings.Join(lacking, ", ")
	default:
		return a.whyNotThere(need, lacking)
	}
}

// provides reports whether the registration of a cluster says that something there makes the object.
func (a *Aggregator) provides(cluster string, key kcp.ObjectKey) bool {
	provided := protocol.ParseProvided(a.config.Registry.Cluster(cluster).Provides)
	return protocol.AnyHas(provided, key.Resource.GroupResource(), key.Namespace, key.Name)
}

// reasonBadProvided is the reason of the events on annotations provided-by-cluster that cannot be read.
const reasonBadProvided = "InvalidProvidedByCluster"

// badProvided says what in the user's annotation provided-by-cluster names nothing that kcp serves.
func (a *Aggregator) badProvided(upstreamObj *unstructured.Unstructured) []string {
	provided, wrong := protocol.Read(upstreamObj).ProvidedByCluster()
	for _, p := range provided {
		isServed := false
		for resource := range a.config.Upstream.Resources() {
			isServed = isServed || p.Names(resource.GroupResource())
		}
		if !isServed {
			wrong = append(wrong, fmt.Sprintf("annotation %s: %q is no kind that kcp serves here, expected %s",
				v1alpha1.ProvidedByClusterAnnotation, p.Kind, protocol.ExpectedProvided))
		}
	}
	return wrong
}

// whyNotThere says why what an object names is not on one of the clusters, empty when it is.
func (a *Aggregator) whyNotThere(need inventory.Need, clusters []string) string {
	if need.Object == nil {
		return "does not exist"
	}
	if never := transform.IsNeverSynced(need.Object); never != "" {
		return "is never synced: " + never
	}
	object := protocol.Read(need.Object)
	if value, named := object.Targets(); named {
		for _, cluster := range clusters {
			if !object.IsLabelled(cluster) {
				return fmt.Sprintf("is not placed on cluster %s: its annotation %s is %q", cluster, v1alpha1.TargetClustersAnnotation, value)
			}
		}
	}
	for _, cluster := range clusters {
		if why := a.leftOut(need.Key, cluster); why != "" && !object.HasEntered(cluster) {
			kind := need.Object.GroupVersionKind().GroupKind()
			return "is not placed on cluster " + cluster + ": " + placement.SayLeftOut([]string{cluster}, why, kind, a.config.TenantType)
		}
	}
	return ""
}

// leftOut returns why the cluster's syncer does not see an object of the key, empty when it does. A cluster that is not
// registered is silent, and that is said elsewhere.
func (a *Aggregator) leftOut(key kcp.ObjectKey, name string) v1alpha1.LeftOut {
	cluster := a.config.Registry.Cluster(name)
	if cluster.Name == "" {
		return ""
	}
	return cluster.WhyLeftOut(a.config.Bindings.LeftOut(key.Workspace, cluster.Export, key.Resource.GroupResource()), key.Resource)
}

// unseen returns a problem for each reason why syncers do not see the object on the clusters that it is placed on: what
// they report is not renewed, and what they hold they do not let go of. For an object that is on no cluster, and would else
// be on some, it returns why they are left out. What is on some clusters and misses others is well: its placement
// annotation and an event tell which.
func (a *Aggregator) unseen(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) []protocol.Problem {
	leftOut, object := map[string]v1alpha1.LeftOut{}, protocol.Read(upstreamObj)
	placed := object.Labelled()
	for _, cluster := range placed {
		if why := a.leftOut(key, cluster); why.HidesWhatIsThere() {
			leftOut[cluster] = why
		}
	}
	if len(placed) == 0 {
		leftOut = object.Placement().LeftOut
	}
	reasons := slices.Compact(slices.Sorted(maps.Values(leftOut)))
	var problems []protocol.Problem
	for i, message := range placement.SayAllLeftOut(leftOut, upstreamObj.GroupVersionKind().GroupKind(), a.config.TenantType) {
		problems = append(problems, protocol.Problem{Reason: string(reasons[i]), Message: message}) // in the same order
	}
	return problems
}
