package aggregate

import (
	"cmp"
	"math"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Cause is why an object does not run as it should, and which clusters say so. Those that give the same reason in the same words
// are one.
type Cause struct {
	// Cause has the reason and the words of the clusters. Its Count is how many pods it is true of on all of them together.
	protocol.Cause

	// Clusters are those that give it, sorted.
	Clusters []string

	// wanted is how many pods these clusters are to have together, 0 where that is not known of one of them.
	wanted int64
	// rank is the place that a cluster gives it at worst: 0 comes first. weight is of how many pods it is true at least, and of no more
	// than what a cluster has before it.
	rank   int
	weight int64
}

// String says the cause in a line: "east, west: 4 of 6 pods: ImagePullBackOff: …".
func (c *Cause) String() string { return list(c.Clusters, ", ") + ": " + c.Of(c.wanted) }

// coarse says the cause in a line that stays as it is while only numbers change.
func (c *Cause) coarse() string {
	said := protocol.Cause{Reason: c.Reason, Message: c.Message}
	return strings.Join(c.Clusters[:min(len(c.Clusters), mostNames)], ", ") + ": " + said.Of(0)
}

// Causes returns why an object does not run as it should, as the clusters say whose numbers its status shows: that of most pods first,
// and none before what a cluster calls worse.
func Causes(in Input) []Cause {
	m, _ := gather(in)
	return causesOf(&m, m.shown)
}

// causesOf puts together the causes of some clusters.
func causesOf(m *merge, entries []protocol.Entry) []Cause {
	type identity struct{ reason, message string }
	var causes []Cause
	at := map[identity]int{}
	for _, e := range entries {
		weight := int64(math.MaxInt32)
		for rank, cause := range e.Report.Causes {
			id := identity{cause.Reason, cause.Message}
			i, isThere := at[id]
			if !isThere {
				i, at[id] = len(causes), len(causes)
				causes = append(causes, Cause{Cause: protocol.Cause{Reason: cause.Reason, Message: cause.Message}, rank: rank})
			}
			if cause.Count > 0 { // or it keeps all of them from running
				weight = min(weight, clamp(cause.Count))
			}
			causes[i].add(e.Cluster, cause.Count, clamp(m.kind.PodsOf(e.Report)))
			causes[i].rank, causes[i].weight = min(causes[i].rank, rank), clamp(causes[i].weight+weight)
		}
	}
	slices.SortFunc(causes, m.order)
	return causes
}

// add adds what a cluster says that is to have so many pods.
func (c *Cause) add(cluster string, count, wanted int64) {
	c.Count = clamp(c.Count + clamp(count))
	if len(c.Clusters) > 0 && c.Clusters[len(c.Clusters)-1] == cluster {
		return // it says so twice
	}
	if wanted > 0 && (c.wanted > 0 || len(c.Clusters) == 0) {
		c.wanted = clamp(c.wanted + wanted)
	} else {
		c.wanted = 0
	}
	c.Clusters = append(c.Clusters, cluster)
}

// order is the order of causes. Without numbers it is one that stays.
func (m *merge) order(a, b Cause) int {
	byWeight := cmp.Compare(b.weight, a.weight)
	if m.in.Coarse {
		byWeight = 0
	}
	return cmp.Or(byWeight, cmp.Compare(a.rank, b.rank), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Message, b.Message))
}

// why says why the object does not run as it should on some clusters, the first few of the causes, and notes that it is said. It is
// empty where they give none. Those of one reason may be left out, for they are said.
func (m *merge) why(entries []protocol.Entry, butOf string) string {
	causes := causesOf(m, entries)
	m.isWhySaid = m.isWhySaid || len(causes) > 0
	var said []string
	for _, c := range causes {
		switch {
		case c.Reason == butOf:
		case m.in.Coarse:
			said = append(said, c.coarse())
		default:
			said = append(said, c.String())
		}
	}
	if m.in.Coarse {
		return strings.Join(said[:min(len(said), mostNames)], "; ")
	}
	return list(said, "; ")
}

// because adds to a message why that is so, where clusters say it.
func (m *merge) because(message, separator string, entries []protocol.Entry, butOf string) string {
	why := m.why(entries, butOf)
	if message == "" || why == "" {
		return message + why
	}
	return message + separator + why
}

// quoted is the message of a condition that is not as it should be: what clusters say of it, and, where the kind has that, why.
func (m *merge) quoted(c kinds.Condition, reason string, quotes []string, of []protocol.Entry) string {
	message := list(quotes, "; ")
	if c.Causes {
		message = m.because(message, "; ", of, reason)
	}
	return message
}

// hindered says why the object does not run as it should where none of its kind's own conditions does: a condition of another type
// must not turn, and Synced is about copies, which are as they should be.
func (m *merge) hindered() []condition {
	causes := causesOf(m, m.shown)
	if m.isWhySaid || len(causes) == 0 {
		return nil
	}
	return []condition{{v1alpha1.ConditionHindered, metav1.ConditionTrue, causes[0].Reason, m.why(m.shown, "")}}
}
