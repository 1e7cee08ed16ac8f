package view

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Event is an event of an object.
type Event struct {
	Type, Reason, From, Message string
	// Last is when it happened last, Count how often.
	Last  time.Time
	Count int64
}

// mostEvents is how many events are described, the newest.
const mostEvents = 10

// page is a text under way, with two blanks for each level.
type page struct{ strings.Builder }

func (p *page) linef(level int, format string, args ...any) {
	// Messages may have lines of their own, which are not ours.
	text := Line(strings.TrimRight(fmt.Sprintf(format, args...), " "))
	_, _ = p.WriteString(strings.Repeat("  ", level) + text + "\n")
}

// field writes a name and its value; nothing when the value is empty.
func (p *page) field(level int, name, value string) {
	if value != "" {
		p.linef(level, "%-*s %s", 16-2*level, name+":", value)
	}
}

// Describe says all that is known of where an object is and how it fares there. tenantType is the path of the WorkspaceType
// whose workspaces have all clusters bound.
func Describe(w Workload, events []Event, tenantType string, now time.Time) string {
	p := &page{}
	p.field(0, "Name", w.Name)
	p.field(0, "Namespace", w.Namespace)
	p.field(0, "Kind", fmt.Sprintf("%s (%s)", w.Kind, w.APIVersion))
	p.field(0, "Generation", w.generations())
	switch {
	case len(w.Holders) > 0:
		p.field(0, "Deleted", "yes, and runs on while these finalizers are on it: "+strings.Join(w.Holders, ", "))
	case w.Deleting:
		p.field(0, "Deleted", "yes, and waits for the clusters that it is on")
	}
	p.field(0, "Ready", strings.TrimPrefix(w.Ready(), none))
	p.field(0, "Placed by", w.placedBy())
	p.field(0, "Missing", w.PlacementMessage)
	p.leftOut(w, tenantType)
	p.clusters(w)
	p.conditions(0, "Conditions", w.Conditions)
	p.events(events, now)
	p.problems(w.Problems)
	return p.String()
}

// leftOut says which clusters the object cannot enter, and what to do; nothing where it is said already that it misses
// them.
func (p *page) leftOut(w Workload, tenantType string) {
	said := placement.SayAllLeftOut(w.LeftOut, w.kind.GroupKind(), tenantType)
	said = slices.DeleteFunc(said, func(line string) bool { return strings.Contains(w.PlacementMessage, line) })
	if w.MoreLeftOut && len(said) > 0 {
		said = append(said, "there are others")
	}
	p.field(0, "Left out", strings.Join(said, "; "))
}

func (w *Workload) generations() string {
	switch {
	case w.Generation == 0:
		return ""
	case w.ObservedGeneration == 0:
		return fmt.Sprint(w.Generation)
	default:
		return fmt.Sprintf("%d, observed %d", w.Generation, w.ObservedGeneration)
	}
}

// placedBy says who decided, in words.
func (w *Workload) placedBy() string {
	switch {
	case w.TargetClusters != nil:
		return fmt.Sprintf("its annotation target-clusters=%q", *w.TargetClusters)
	case w.by == protocol.ByNobody:
		return "not told"
	case w.by == protocol.ByDefault:
		return "default, for nothing else places it"
	default:
		return w.PlacedBy
	}
}

func (p *page) clusters(w Workload) {
	if len(w.Clusters) == 0 {
		p.field(0, "Clusters", "none")
		return
	}
	p.linef(0, "Clusters:")
	for _, o := range w.Clusters {
		p.linef(1, "%s", o.headline())
		p.field(2, "Why", o.Why)
		if o.Share != nil {
			p.field(2, "Share", fmt.Sprintf("%d of the replicas", *o.Share))
		}
		p.report(o, w.Generation)
	}
}

// headline names the cluster, and says how the object and it stand to each other.
func (o OnCluster) headline() string {
	if cell := o.Cell(); cell != string(o.State) {
		return fmt.Sprintf("%s  %s  %s", o.Name, o.State, cell)
	}
	return fmt.Sprintf("%s  %s", o.Name, o.State)
}

// report writes what a cluster says.
func (p *page) report(o OnCluster, generation int64) {
	if o.Unreported != "" {
		p.field(2, "Report", o.Unreported)
		return
	}
	p.field(2, "Applied", o.applied(generation))
	var counters []string
	for _, name := range slices.Sorted(maps.Keys(o.Counters)) {
		counters = append(counters, fmt.Sprintf("%s=%d", name, o.Counters[name]))
	}
	p.field(2, "Counters", strings.Join(counters, " "))
	if len(o.Causes) > 0 {
		p.linef(2, "Why it does not run:")
	}
	for _, cause := range o.Causes {
		p.linef(3, "%s", cause.text)
	}
	p.conditions(2, "Not as they should be", problemsOf(o.Conditions))
	if len(o.Problems) > 0 {
		p.linef(2, "Problems:")
	}
	for _, problem := range o.Problems {
		p.linef(3, "%s", problem)
	}
}

// applied says how the copy stands to the object's present generation, 0 for kinds without generations.
func (o OnCluster) applied(generation int64) string {
	switch {
	case o.onlyProblems && o.Silent:
		return "not known"
	case o.onlyProblems && o.State == protocol.Leaving:
		return "" // it may be there yet or not: the headline says that it leaves
	case o.onlyProblems:
		return "taken up, and no problem reported, which is all that is reported of kinds without a status"
	case o.lag == protocol.NoCopy:
		return "nothing as it should be"
	}
	applied := ""
	if generation > 0 {
		applied = fmt.Sprintf("generation %d of %d, ", o.Generation, generation)
	}
	switch {
	case !o.UpToDate:
		return applied + "not up to date"
	case o.isLagging():
		return applied + "up to date, not observed there yet"
	case o.tells:
		return applied + "up to date, observed there"
	default:
		return applied + "up to date"
	}
}

func (p *page) conditions(level int, title string, conditions []Condition) {
	if len(conditions) == 0 {
		return
	}
	p.linef(level, "%s:", title)
	for _, c := range conditions {
		p.linef(level+1, "%s", c)
	}
}

// events writes the newest events, the newest last.
func (p *page) events(events []Event, now time.Time) {
	if len(events) == 0 {
		p.field(0, "Events", "none")
		return
	}
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b Event) int { return a.Last.Compare(b.Last) })
	p.linef(0, "Events:")
	for _, e := range events[max(0, len(events)-mostEvents):] {
		times := ""
		if e.Count > 1 {
			times = fmt.Sprintf(" (x%d)", e.Count)
		}
		from := e.From
		if from != "" {
			from += ": "
		}
		p.linef(1, "%s ago%s  %s  %s  %s%s", age(e.Last, now), times, e.Type, e.Reason, from, e.Message)
	}
}

func (p *page) problems(problems []Problem) {
	if len(problems) == 0 {
		p.field(0, "What is wrong", "nothing")
		return
	}
	p.linef(0, "What is wrong:")
	for _, problem := range problems {
		p.linef(1, "%s", problem)
	}
}
