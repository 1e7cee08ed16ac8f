package placement

import (
	"cmp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// snapshot is a request, read once. It changes nothing of the request.
type snapshot struct {
	Request

	object protocol.Object
	kind   *kinds.Kind
	// clusters are those of the request, sorted by name.
	clusters []*Cluster
	known    map[string]*Cluster
	// on are the clusters that the object is on and not leaving. present are those, and the assumed.
	on, present sets.Set[string]
	// draining are those of on that the last decision kept only until the object is available elsewhere.
	draining sets.Set[string]
	// closed is set when the object enters no cluster any more: it is being deleted, or it has come to its end and would be
	// run again.
	closed bool
}

func newSnapshot(request Request) *snapshot {
	object := protocol.Read(request.Object)
	kind := request.Kinds.Of(request.Object.GroupVersionKind().GroupKind())
	if request.Fleet == nil {
		request.Fleet = NewFleet(slices.Clone(request.Clusters))
	}
	s := &snapshot{
		Request: request, object: object, kind: kind,
		clusters: request.Fleet.clusters, known: request.Fleet.byName,
		on:     sets.New(object.Placed()...),
		closed: object.IsDeleting() || kind.HasEnded(request.Object),
	}
	s.present = s.on.Clone().Insert(request.Assumed.Clusters...)
	for _, name := range append(object.Present(), request.Assumed.Clusters...) {
		switch cluster, known := s.known[name]; {
		case !known, s.leftOut(cluster) == "":
		case object.HasEntered(name):
			s.present.Insert(name)
		default:
			s.present.Delete(name) // it was decided before the cluster was left out
		}
	}
	s.draining = sets.New(object.Kept()...).Intersection(s.on)
	return s
}

// allowed reports whether the workspace may use the cluster.
func (s *snapshot) allowed(cluster *Cluster) bool {
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

// candidates are the clusters that a filter leaves, and why it rules the others out.
type candidates struct {
	// staying are those that the object is on and need not leave. open are those that it may enter.
	staying, open []*Cluster
	// rejected say, by name and why, which others would do but for their state.
	rejected []string
	// leftOut are those that the object would enter, and whose syncers would not see it.
	leftOut map[string]v1alpha1.LeftOut
	// outside counts the others by why they are not meant at all.
	outside map[string]int
}

// filter returns the candidates for the terms of a placement.
func (s *snapshot) filter(t terms) candidates {
	c := candidates{outside: map[string]int{}, leftOut: map[string]v1alpha1.LeftOut{}}
	for _, cluster := range s.clusters {
		if why := s.whyOutside(cluster, t); why != "" {
			c.outside[why]++
			continue
		}
		why := s.whyEvicted(cluster, t)
		isLeftOut := s.isLeftOut(cluster, why)
		switch closed := cmp.Or(why, whyClosed(cluster, t)); {
		case why == "" && s.present.Has(cluster.Name):
			c.staying = append(c.staying, cluster)
		case isLeftOut && !s.closed:
			c.leftOut[cluster.Name] = s.leftOut(cluster)
		case isLeftOut:
		case closed != "":
			c.rejected = append(c.rejected, cluster.Name+": "+closed)
		case !s.closed:
			c.open = append(c.open, cluster)
		}
	}
	return c
}

// isLeftOut reports whether the object would enter a cluster if its syncer saw it. Whether the cluster is ready comes and goes.
func (s *snapshot) isLeftOut(cluster *Cluster, why string) bool {
	return (why == "" || why == notReady) && s.leftOut(cluster) != ""
}

// leftOut returns why the object cannot enter a cluster, empty when it can.
func (s *snapshot) leftOut(cluster *Cluster) v1alpha1.LeftOut {
	if s.LeftOut == nil {
		return cluster.LeftOut
	}
	return s.LeftOut(cluster)
}

// whyOutside returns why the placement does not mean a cluster at all, empty when it does.
func (s *snapshot) whyOutside(cluster *Cluster, t terms) string {
	switch {
	case !s.allowed(cluster):
		return "not for this workspace"
	case !t.selector.selects(cluster):
		return "not in the selector"
	default:
		return ""
	}
}

// leavesOut reports whether the object is not on the cluster, and cannot enter it because its syncer would not see it.
func (s *snapshot) leavesOut(cluster *Cluster) bool {
	return !s.closed && s.leftOut(cluster) != "" && !s.object.HasEntered(cluster.Name)
}

// whyEvicted returns why even what is on the cluster has to leave, empty when it may stay.
func (s *snapshot) whyEvicted(cluster *Cluster, t terms) string {
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

// whyClosed returns why what is not on the cluster cannot enter, empty when it may.
func whyClosed(cluster *Cluster, t terms) string {
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

// forever is how long something is tolerated that is tolerated without an end.
const forever = time.Duration(1<<63 - 1)

// timeLeft returns how long the cluster is tolerated from now on, and the taint that ends it. It returns forever when no taint
// does, and 0 or less when the time is over.
func (s *snapshot) timeLeft(cluster *Cluster, tolerations []v1alpha1.Toleration) (time.Duration, v1alpha1.Taint) {
	least, by := forever, v1alpha1.Taint{}
	for _, taint := range cluster.Taints {
		if taint.Effect != v1alpha1.TaintNoExecute {
			continue
		}
		if left := s.timeLeftOf(taint, tolerations); left < least {
			least, by = left, taint
		}
	}
	return least, by
}

func (s *snapshot) timeLeftOf(taint v1alpha1.Taint, tolerations []v1alpha1.Toleration) time.Duration {
	limit := tolerance(taint, tolerations)
	if taint.Key == v1alpha1.TaintUnreachable && !tolerated(taint, tolerations) {
		limit = s.FailoverAfter
	}
	if limit <= 0 || limit == forever || taint.TimeAdded == nil {
		return limit
	}
	// Neither of the two exceeds longest, so that they can be subtracted.
	return limit - max(s.Now.Sub(taint.TimeAdded.Time), -longest)
}

// longest is what longer tolerationSeconds are cut to.
const longest = 100 * 365 * 24 * time.Hour

// tolerance returns how long, from when it was added, a NoExecute taint is tolerated. As in Kubernetes (getMinTolerationTime in
// k8s.io/kubernetes/pkg/controller/tainteviction), the shortest time of the tolerations that match it counts, and those without
// a time do not shorten it.
func tolerance(taint v1alpha1.Taint, tolerations []v1alpha1.Toleration) time.Duration {
	limit := time.Duration(0)
	matched := false
	for _, toleration := range tolerations {
		if !matches(toleration, taint) {
			continue
		}
		if !matched {
			limit, matched = forever, true
		}
		if seconds := toleration.TolerationSeconds; seconds != nil {
			limit = min(limit, time.Duration(min(max(*seconds, 0), int64(longest/time.Second)))*time.Second)
		}
	}
	return limit
}

// tolerated reports whether any toleration matches the taint.
func tolerated(taint v1alpha1.Taint, tolerations []v1alpha1.Toleration) bool {
	return slices.ContainsFunc(tolerations, func(toleration v1alpha1.Toleration) bool { return matches(toleration, taint) })
}

func matches(toleration v1alpha1.Toleration, taint v1alpha1.Taint) bool {
	if toleration.Effect != "" && toleration.Effect != taint.Effect {
		return false
	}
	if toleration.Operator == corev1.TolerationOpExists {
		return toleration.Key == "" || toleration.Key == taint.Key
	}
	return toleration.Key == taint.Key && toleration.Value == taint.Value
}
