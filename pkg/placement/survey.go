package placement

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// survey is a request as the rules look at it. It changes nothing of the request.
type survey struct {
	Request

	// clusters are those of the request by name: no rule depends on their order.
	clusters []*Cluster
	known    map[string]*Cluster
	// annotations are the object's, copied once: the accessor copies them each time.
	annotations map[string]string
	// on are the clusters that the object is on and not leaving; present are those,
	// and the assumed.
	on, present sets.Set[string]
	// waning are those of on where it was last decided to stay only until it is
	// available elsewhere.
	waning sets.Set[string]
	// identity tells the object from all others, and stays.
	identity string
	// closed is whether the object enters nothing any more: it is on its way out, or it
	// is a Job that has come to its end, and would be run again.
	closed bool
}

func look(request Request) *survey {
	s := &survey{
		Request:     request,
		known:       make(map[string]*Cluster, len(request.Clusters)),
		annotations: request.Object.GetAnnotations(),
		closed:      request.Object.GetDeletionTimestamp() != nil || hasEnded(request.Object),
		on:          sets.New[string](),
	}
	for i := range request.Clusters {
		cluster := &request.Clusters[i]
		s.clusters = append(s.clusters, cluster)
		s.known[cluster.Name] = cluster
	}
	slices.SortFunc(s.clusters, func(a, b *Cluster) int { return cmp.Compare(a.Name, b.Name) })
	for _, cluster := range v1alpha1.PlacedClusters(request.Object.GetLabels()) {
		if _, leaving := s.annotations[v1alpha1.DeletionAnnotation(cluster)]; !leaving {
			s.on.Insert(cluster)
		}
	}
	s.present = s.on.Clone().Insert(request.Assumed.Clusters...)
	for _, cluster := range s.clusters {
		switch {
		case cluster.LeftOut == "":
		case IsThere(request.Object, cluster.Name):
			s.present.Insert(cluster.Name)
		default:
			s.present.Delete(cluster.Name) // what was decided before it was left out
		}
	}
	if s.identity = string(request.Object.GetUID()); s.identity == "" {
		s.identity = request.Object.GetNamespace() + "/" + request.Object.GetName()
	}
	s.waning = waning(s.annotations[v1alpha1.PlacementAnnotation]).Intersection(s.on)
	return s
}

var jobKind = schema.GroupKind{Group: "batch", Kind: "Job"}

// hasEnded tells of an object whether it is a Job that will do nothing more, as its
// merged status says: that outlives the reports of the clusters that it leaves.
func hasEnded(upstreamObj *unstructured.Unstructured) bool {
	if upstreamObj.GroupVersionKind().GroupKind() != jobKind {
		return false
	}
	conditions, _, _ := unstructured.NestedSlice(upstreamObj.Object, "status", "conditions")
	return slices.ContainsFunc(conditions, func(entry any) bool {
		condition, _ := entry.(map[string]any)
		isEnd := condition["type"] == "Complete" || condition["type"] == "Failed"
		return isEnd && condition["status"] == "True"
	})
}

// waning reads from the placement annotation where the object stays only for a while.
func waning(annotation string) sets.Set[string] {
	clusters := sets.New[string]()
	if !strings.Contains(annotation, v1alpha1.ReasonKept) {
		return clusters
	}
	var reason v1alpha1.PlacementReason
	if err := json.Unmarshal([]byte(annotation), &reason); err != nil {
		return clusters // it is rewritten
	}
	for cluster, text := range reason.Clusters {
		if text == v1alpha1.ReasonKept {
			clusters.Insert(cluster)
		}
	}
	return clusters
}

// allowed reports whether the workspace may use the cluster.
func (s *survey) allowed(cluster *Cluster) bool {
	if len(cluster.AllowedWorkspaces) == 0 {
		return true
	}
	return s.Workspace != "" && slices.ContainsFunc(cluster.AllowedWorkspaces, func(path string) bool {
		if above, ok := strings.CutSuffix(path, "*"); ok {
			return strings.HasPrefix(s.Workspace, above)
		}
		return s.Workspace == path
	})
}

// question is what the clusters answer to the terms of a placement.
type question struct {
	// staying are those that the object is on and need not leave; open are those that
	// it may enter.
	staying, open []*Cluster
	// barred say, by name and why, which others would do but for their state.
	barred []string
	// leftOut are those that the object would enter, and cannot be seen from.
	leftOut map[string]v1alpha1.LeftOut
	// outside counts the others by why they do not come into question.
	outside map[string]int
}

// Why a cluster does not come into question at all.
const (
	notAllowed  = "not for this workspace"
	notSelected = "not in the selector"
)

func (s *survey) ask(t terms) question {
	q := question{outside: map[string]int{}, leftOut: map[string]v1alpha1.LeftOut{}}
	for _, cluster := range s.clusters {
		if why := s.outside(cluster, t); why != "" {
			q.outside[why]++
			continue
		}
		why := s.evicts(cluster, t)
		if why == "" && s.present.Has(cluster.Name) {
			q.staying = append(q.staying, cluster)
			continue
		}
		// Whether it is ready as well comes and goes, and is not the point.
		if cluster.LeftOut != "" && (why == "" || why == notReady) {
			if !s.closed {
				q.leftOut[cluster.Name] = cluster.LeftOut
			}
			continue
		}
		if why = cmp.Or(why, s.keepsOut(cluster, t)); why != "" {
			q.barred = append(q.barred, cluster.Name+": "+why)
			continue
		}
		if !s.closed {
			q.open = append(q.open, cluster)
		}
	}
	return q
}

// leavesOut reports whether the object is not on the cluster, and cannot enter it because
// its syncer would not see it.
func (s *survey) leavesOut(cluster *Cluster) bool {
	return cluster.LeftOut != "" && !s.closed && !IsThere(s.Object, cluster.Name)
}

// outside returns why a cluster is not meant at all, empty when it is.
func (s *survey) outside(cluster *Cluster, t terms) string {
	switch {
	case !s.allowed(cluster):
		return notAllowed
	case !t.selector.selects(cluster):
		return notSelected
	default:
		return ""
	}
}

// evicts returns why even what is on the cluster has to leave, empty when it stays.
func (s *survey) evicts(cluster *Cluster, t terms) string {
	if cluster.Draining {
		return "draining"
	}
	if t.weight(cluster) == 0 {
		return "weight 0"
	}
	if left, taint := s.timeLeft(cluster, t.Tolerations); left <= 0 {
		return taintText(taint)
	}
	return ""
}

// keepsOut returns why what is not on the cluster cannot enter, empty when it can.
func (s *survey) keepsOut(cluster *Cluster, t terms) string {
	if !cluster.Ready {
		return notReady
	}
	for _, taint := range cluster.Taints {
		if taint.Effect == v1alpha1.TaintNoSchedule && !tolerated(taint, t.Tolerations) {
			return taintText(taint)
		}
	}
	return ""
}
