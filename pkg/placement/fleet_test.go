package placement

import (
	"testing"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestFleet(t *testing.T) {
	f := NewFleet([]Cluster{{Name: "west"}, {Name: "east", Location: "eu"}})
	if names := f.All()[0].Name + f.All()[1].Name; names != "eastwest" {
		t.Errorf("it is not sorted: %s", names)
	}
	if f.Cluster("east").Location != "eu" || f.Cluster("north").Name != "" {
		t.Error("it does not find its clusters, or finds others")
	}
	if f.IsRestricted() || !NewFleet([]Cluster{{AllowedWorkspaces: []string{"root:a"}}}).IsRestricted() {
		t.Error("it does not tell whether a cluster is for some workspaces only")
	}
	// A fleet that is shared decides as the clusters themselves do, and what a request says of them counts.
	clusters := []Cluster{{Name: "east", Ready: true, Workloads: 7}, {Name: "west", Ready: true}}
	r := request(deployment(), clusters, &v1alpha1.WorkloadPlacement{Spec: v1alpha1.WorkloadPlacementSpec{
		NumberOfClusters: new(int32(1)), Strategy: v1alpha1.StrategyLeastLoaded,
	}})
	sameClusters(t, "least loaded", []string{"west"}, Decide(r).Clusters)
	r.Fleet = NewFleet(clusters)
	r.Workloads = func(cluster string) int { return map[string]int{"west": 9}[cluster] }
	sameClusters(t, "least loaded, as the request says", []string{"east"}, Decide(r).Clusters)
	r.LeftOut = func(cluster *Cluster) v1alpha1.LeftOut {
		return map[string]v1alpha1.LeftOut{"east": v1alpha1.LeftOutNotBound}[cluster.Name]
	}
	sameClusters(t, "left out, as the request says", []string{"west"}, Decide(r).Clusters)
}
