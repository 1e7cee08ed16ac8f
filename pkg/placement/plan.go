package placement

import (
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// GroupsOf returns the isolation groups whose views show what is placed on a cluster.
type GroupsOf func(cluster string) []string

func (groupsOf GroupsOf) all(clusters sets.Set[string]) []string {
	groups := sets.New[string]()
	for cluster := range clusters {
		groups.Insert(groupsOf(cluster)...)
	}
	return sets.List(groups)
}

// Plan returns what to write on the upstream object so that it moves to where the decision has it. Enter are the clusters
// of the decision that it may enter now.
//
// A cluster is entered by its label, with its share of the replicas. It is left in two steps: an annotation asks its syncer
// to remove its copy; once the syncer's finalizer is gone, label and annotations go. Without the label, the syncer would not
// see the object any more. A cluster that the object comes back to before it has left reports anew: until it does, nobody knows
// whether the copy that it has reported of is there. The label of an isolation group stays as long as that of any of its
// clusters.
func Plan(upstreamObj metav1.Object, decision Decision, enter []string, groupsOf GroupsOf, now time.Time) *protocol.Change {
	object := protocol.Read(upstreamObj)
	change := object.NewChange()
	entered := sets.New(enter...)
	for _, cluster := range decision.Clusters {
		if object.HasEntered(cluster) {
			entered.Insert(cluster)
		}
	}
	labelled := entered.Clone()
	for _, cluster := range sets.List(entered.Union(sets.New(object.Mentioned()...))) {
		switch {
		case entered.Has(cluster):
			change.Place(cluster)
			if slices.Contains(decision.Returning, cluster) {
				change.SetReport(cluster, nil)
			}
			if !slices.Contains(decision.Kept, cluster) { // what it runs there, it runs until it leaves
				change.SetShare(cluster, decision.share(cluster))
				change.SetPart(cluster, decision.part(cluster))
			}
		case object.IsHeld(cluster):
			change.AskToLeave(cluster, now)
			labelled.Insert(cluster)
		default:
			change.Forget(cluster)
		}
	}
	change.SetGroups(groupsOf.all(labelled))
	if decision.By == protocol.ByNobody || len(entered) > 0 || len(decision.Clusters) == 0 { // it is said with the first label
		change.Explain(decision.explanation(object.Placement(), entered))
	}
	return change
}

// share returns the cluster's share of the replicas, nil where they are not divided.
func (d Decision) share(cluster string) *int64 {
	if share, divided := d.Shares[cluster]; divided {
		return &share
	}
	return nil
}

// part returns the cluster's part of the partition, nil where that is the whole.
func (d Decision) part(cluster string) *protocol.Part {
	if part, divided := d.Parts[cluster]; divided {
		return &part
	}
	return nil
}

// explanation returns what the object is to say about why it is on the clusters that it has entered. present is what it says.
func (d Decision) explanation(present protocol.Placement, entered sets.Set[string]) protocol.Placement {
	placement := protocol.Placement{By: d.By, Name: d.Placement, Clusters: map[string]string{}, Message: d.Unsatisfied}
	if d.Shares != nil {
		placement.Replicas = new(int64)
		for _, share := range d.Shares {
			*placement.Replicas += share
		}
	}
	for cluster := range entered {
		placement.Clusters[cluster] = d.Reasons[cluster]
	}
	for _, cluster := range d.Kept {
		if entered.Has(cluster) {
			placement.Kept = append(placement.Kept, cluster)
		}
	}
	placement.LeftOut = firstLeftOut(d.LeftOut, present.LeftOut)
	placement.MoreLeftOut = len(d.LeftOut) > v1alpha1.MaxLeftOut
	for cluster, why := range present.LeftOut {
		// What is about to be entered stays until then, for there to be one write.
		if slices.Contains(d.Clusters, cluster) && !entered.Has(cluster) {
			placement.LeftOut[cluster] = why
		}
	}
	return placement
}

// firstLeftOut returns those of the clusters that are left out that the object names. Those that it names already come
// first: where hundreds are left out, one that comes or goes is no reason to write every object.
func firstLeftOut(leftOut, named map[string]v1alpha1.LeftOut) map[string]v1alpha1.LeftOut {
	first := map[string]v1alpha1.LeftOut{}
	clusters := slices.Sorted(maps.Keys(leftOut))
	slices.SortStableFunc(clusters, func(a, b string) int { return namedFirst(named, a) - namedFirst(named, b) })
	for _, cluster := range clusters[:min(len(clusters), v1alpha1.MaxLeftOut)] {
		first[cluster] = leftOut[cluster]
	}
	return first
}

func namedFirst(named map[string]v1alpha1.LeftOut, cluster string) int {
	if _, isNamed := named[cluster]; isNamed {
		return 0
	}
	return 1
}

// Retire returns what to write on an object that is being deleted, and so moves no more: the view of each group of its clusters
// has to show it, its syncers have to see what is to become of what belongs to it, and Helm may not take it for what it makes anew.
// A placement label that somebody has taken off comes back while the cluster's syncer holds the object: without it, the syncer would
// never see that it has to let go.
func Retire(upstreamObj metav1.Object, groupsOf GroupsOf) *protocol.Change {
	object := protocol.Read(upstreamObj)
	change := object.NewChange()
	for _, cluster := range object.Held() {
		change.Show(cluster)
	}
	change.SetGroups(groupsOf.all(sets.New(object.Present()...)))
	if len(object.Held()) > 0 {
		change.NotePropagation()
		change.Disown()
	}
	return change
}

// Forget returns what takes everything of a cluster off an object, its syncer's finalizer included: the cluster never comes
// back to let go of it.
func Forget(upstreamObj metav1.Object, cluster string, groupsOf GroupsOf) *protocol.Change {
	object := protocol.Read(upstreamObj)
	change := object.NewChange()
	change.Forget(cluster)
	change.Release(cluster)
	change.SetGroups(groupsOf.all(sets.New(object.Present()...).Delete(cluster)))
	return change
}

// Occupied returns the clusters that an object is on, is to be on, or has not left yet: what it needs stays there until it
// has.
func Occupied(upstreamObj metav1.Object, decision Decision) sets.Set[string] {
	object := protocol.Read(upstreamObj)
	occupied := sets.New(object.Present()...)
	if !object.IsDeleting() {
		occupied.Insert(decision.Clusters...)
	}
	return occupied
}
