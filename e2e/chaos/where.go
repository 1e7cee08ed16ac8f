package chaos

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// misplaced says what is wrong with where an object is.
//
// Where the tenant and the operator leave a choice, the clusters that the workspace shows are believed, as long as they are
// among those that may be.
func (j *judgement) misplaced(namespace NamespaceKey, objects map[Key]Wanted, wanted Wanted, upstream *unstructured.Unstructured, placed []string) []string {
	if !wanted.Kind.isWorkload() && wanted.Targets == nil {
		return j.notFollowing(namespace, objects, wanted, placed)
	}
	if wanted.Kind == Job && (condition(upstream, "Complete") == isTrue || condition(upstream, "Failed") == isTrue) {
		// It enters no cluster any more, and may have ended before what is wanted now was written.
		return outside(placed, j.notDrained(ClusterNames))
	}
	return j.notMeant(objects, wanted, placed)
}

// notMeant compares where a workload is with where the tenant and the operator mean it to be.
func (j *judgement) notMeant(objects map[Key]Wanted, wanted Wanted, placed []string) []string {
	may := j.notDrained(meant(objects, wanted))
	var must []string
	for _, name := range may {
		if j.state.Fleet[name] == Open {
			must = append(must, name)
		}
	}
	problems := outside(placed, may)
	p, decides := placement(objects, wanted)
	if decides && (p.Number > 0 || p.Divided) {
		return append(problems, wrongNumber(p, wanted, len(placed), len(must), len(may))...)
	}
	for _, name := range must {
		if !slices.Contains(placed, name) {
			problems = append(problems, fmt.Sprintf("want %s as well", name))
		}
	}
	return problems
}

// wrongNumber says whether a placement has an object on too few or too many clusters.
func wrongNumber(p, wanted Wanted, placed, must, may int) []string {
	number := int(p.Number)
	if number == 0 {
		number = len(ClusterNames)
	}
	least, most := min(number, must), min(number, may)
	if p.Divided && wanted.Kind.isScalable() {
		// A cluster that gets no replicas is no place for it. It has none to give with 0, and some cluster has all otherwise.
		least = 0
		if wanted.Replicas > 0 && must > 0 {
			least = 1
		}
	}
	if placed < least || placed > most {
		return []string{fmt.Sprintf("want %d to %d clusters", least, most)}
	}
	return nil
}

// meant returns the clusters that a tenant means.
func meant(objects map[Key]Wanted, wanted Wanted) []string {
	if wanted.Targets != nil {
		var names []string
		for name := range strings.SplitSeq(*wanted.Targets, ",") {
			switch name {
			case "":
			case "*":
				return ClusterNames
			default:
				names = append(names, name)
			}
		}
		return names
	}
	if p, decides := placement(objects, wanted); decides && p.Clusters != nil {
		return p.Clusters
	}
	return ClusterNames
}

// notDrained leaves out the clusters that everything is to leave.
func (j *judgement) notDrained(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return j.state.Fleet[name] == Drained })
}

// outside says which clusters are none of those that may be.
func outside(placed, may []string) []string {
	var problems []string
	for _, name := range placed {
		if !slices.Contains(may, name) {
			problems = append(problems, fmt.Sprintf("may be on %v alone", may))
		}
	}
	return problems
}

// notFollowing compares where an object is that goes along with workloads with where these are.
func (j *judgement) notFollowing(namespace NamespaceKey, objects map[Key]Wanted, wanted Wanted, placed []string) []string {
	want := map[string]bool{}
	for _, other := range objects {
		upstream := j.world.Upstream[namespace][other.Key]
		if !other.Exists || !other.leads(wanted.Key) || upstream == nil {
			continue
		}
		on, _ := placedOn(upstream)
		for _, name := range on {
			want[name] = true
		}
	}
	var problems []string
	for _, name := range ClusterNames {
		switch has := slices.Contains(placed, name); {
		case want[name] && !has:
			problems = append(problems, fmt.Sprintf("want %s as well, where a workload is that needs it", name))
		case !want[name] && has:
			problems = append(problems, fmt.Sprintf("want it not on %s, where nothing needs it", name))
		}
	}
	return problems
}

// leads reports whether an object goes along with the workload.
func (w Wanted) leads(key Key) bool {
	return w.mounts(key) || key.Kind == Service && w.Kind.isScalable() && w.Name == key.Name
}
