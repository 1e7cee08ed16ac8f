package scheduler

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// ledger is what the scheduler knows of all objects at once: what was decided about each, where it is, and what that comes to for a
// cluster, a namespace, a placement, and what is needed. It is kept with each event and each decision, so that nothing has to go
// through all objects for one of them. Of what a namespace or an object has to have all of, it is completed from the caches once
// (observe, decideAll): their events may come later than the first question. The Scheduler's mu guards it.
type ledger struct {
	records map[kcp.ObjectKey]*record
	// on are the objects on each cluster: those that occupy it.
	on map[string]map[*record]struct{}
	// workloads counts the workloads that are decided to be on each cluster, written or not.
	workloads map[string]int
	// groups are by what their members have in common: their namespace, or an object that they name.
	groups map[kcp.ObjectKey]*group
	// books are by the placements that have decided.
	books map[kcp.ObjectKey]*book
	// eager are the objects that changes of clusters concern on which they are not, by their interest and the placement that has decided
	// about them, the zero key where none has.
	eager map[placement.Interest]map[kcp.ObjectKey]map[*record]struct{}
	// observed are the namespaces of which all objects are in the ledger, complete those, and the objects that others name, of
	// which all members are decided.
	observed, complete map[kcp.ObjectKey]bool
	// waiting are the objects that wait to enter a cluster, by what they wait for.
	waiting map[kcp.ObjectKey]map[kcp.ObjectKey]struct{}
}

func newLedger() *ledger {
	return &ledger{
		records: map[kcp.ObjectKey]*record{}, on: map[string]map[*record]struct{}{}, workloads: map[string]int{},
		groups: map[kcp.ObjectKey]*group{}, books: map[kcp.ObjectKey]*book{},
		eager:    map[placement.Interest]map[kcp.ObjectKey]map[*record]struct{}{},
		observed: map[kcp.ObjectKey]bool{}, complete: map[kcp.ObjectKey]bool{},
		waiting: map[kcp.ObjectKey]map[kcp.ObjectKey]struct{}{},
	}
}

// record is one object.
type record struct {
	key kcp.ObjectKey
	// isDecided is set once the object was decided about; decided is what came of it.
	isDecided bool
	decided   decided
	// follows is where the object was to be that follows others, when that was asked last, and isLed whether something places any of them.
	follows []string
	isLed   bool

	entry entry
}

// decided is what of a decision the scheduler uses later.
type decided struct {
	follows  bool
	clusters []string
	isMoving bool // it is kept somewhere until it is available elsewhere
	by       protocol.DecidedBy
	// placement is the name of the WorkloadPlacement that has decided.
	placement string
	interest  placement.Interest
	// assumed is what of it is not on the object yet.
	assumed placement.Assumed
}

// entry is what one object adds to the sums.
type entry struct {
	isDeleting, follows, isWorkload bool
	// occupied are the clusters that it is on, is to be on, or has not left yet, decided those that it is to be on.
	occupied, decided []string
	// groups are its namespace and what it names.
	groups []kcp.ObjectKey
	// assignedTo is the placement that has it, and assigned where, as RoundRobin counts.
	assignedTo kcp.ObjectKey
	assigned   []string
	// explainedBy is the placement that the object says has decided about it, kind its kind, placed where it is, and isMissing whether the
	// placement lacks something.
	explainedBy kcp.ObjectKey
	kind        string
	placed      []string
	isMissing   bool
	interest    placement.Interest
	interestIn  kcp.ObjectKey
}

// group is what objects come to that have a namespace in common, or name the same object.
type group struct {
	// clusters counts the members on each.
	clusters map[string]int
	// followers are the members that follow others themselves, and are not being deleted; led counts the other ones that are placed
	// by something.
	followers map[*record]int
	led       int
	members   int
}

// book is what objects come to that one placement has decided about.
type book struct {
	// assigned and placed count them on each cluster.
	assigned, placed map[string]int
	explained        map[*record]int
}

func (b *book) isEmpty() bool { return len(b.assigned) == 0 && len(b.explained) == 0 }

// recordOf returns the record of an object, which is made if there is none.
func (l *ledger) recordOf(key kcp.ObjectKey) *record {
	r := l.records[key]
	if r == nil {
		r = &record{key: key}
		l.records[key] = r
	}
	return r
}

// set replaces what an object adds to the sums, and returns the namespace and the objects for which it makes a difference. What stays is
// counted twice in between, so that no sum is 0 that has not become it.
func (l *ledger) set(r *record, now entry) (moved []kcp.ObjectKey) {
	before := r.entry
	dirty := map[kcp.ObjectKey]bool{}
	l.count(r, &now, 1, dirty)
	l.count(r, &before, -1, dirty)
	for _, cluster := range now.occupied {
		if l.on[cluster] == nil {
			l.on[cluster] = map[*record]struct{}{}
		}
		l.on[cluster][r] = struct{}{}
	}
	for _, cluster := range before.occupied {
		if !slices.Contains(now.occupied, cluster) {
			if delete(l.on[cluster], r); len(l.on[cluster]) == 0 {
				delete(l.on, cluster)
			}
		}
	}
	if before.interest != now.interest || before.interestIn != now.interestIn {
		l.setInterest(r, before.interest, before.interestIn, false)
		l.setInterest(r, now.interest, now.interestIn, true)
	}
	r.entry = now
	return slices.Collect(maps.Keys(dirty))
}

func (l *ledger) setInterest(r *record, interest placement.Interest, in kcp.ObjectKey, has bool) {
	if interest == placement.InterestNone {
		return
	}
	byPlacement := l.eager[interest]
	if byPlacement == nil {
		byPlacement = map[kcp.ObjectKey]map[*record]struct{}{}
		l.eager[interest] = byPlacement
	}
	if has {
		if byPlacement[in] == nil {
			byPlacement[in] = map[*record]struct{}{}
		}
		byPlacement[in][r] = struct{}{}
	} else if delete(byPlacement[in], r); len(byPlacement[in]) == 0 {
		delete(byPlacement, in)
	}
}

// count adds an entry to the sums, or takes it off, and notes the groups in which a cluster, or who is placed, comes or goes.
func (l *ledger) count(r *record, e *entry, by int, dirty map[kcp.ObjectKey]bool) {
	if e.isWorkload {
		for _, cluster := range e.decided {
			add(l.workloads, cluster, by)
		}
	}
	for _, key := range e.groups {
		if l.countGroup(r, key, e, by) {
			dirty[key] = true
		}
	}
	if e.assignedTo.Name != "" {
		b := l.bookOf(e.assignedTo)
		for _, cluster := range e.assigned {
			add(b.assigned, cluster, by)
		}
		l.tidy(e.assignedTo)
	}
	if e.explainedBy.Name != "" {
		b := l.bookOf(e.explainedBy)
		add(b.explained, r, by)
		for _, cluster := range e.placed {
			add(b.placed, cluster, by)
		}
		l.tidy(e.explainedBy)
	}
}

// countGroup is count for one group. It reports whether that makes a difference.
func (l *ledger) countGroup(r *record, key kcp.ObjectKey, e *entry, by int) (differs bool) {
	g := l.groups[key]
	if g == nil {
		g = &group{clusters: map[string]int{}, followers: map[*record]int{}}
		l.groups[key] = g
	}
	for _, cluster := range e.occupied {
		differs = add(g.clusters, cluster, by) || differs
	}
	switch {
	case !e.follows:
		g.led += by
		differs = differs || g.led == 0 || g.led == by
	case !e.isDeleting:
		differs = add(g.followers, r, by) || differs
	}
	if g.members += by; g.members == 0 {
		delete(l.groups, key)
	}
	return differs
}

// add adds to a sum, and reports whether it has become 0, or is not 0 any more. No sum of 0 is kept.
func add[K comparable](sums map[K]int, key K, by int) (differs bool) {
	before := sums[key]
	if before+by == 0 {
		delete(sums, key)
		return before != 0
	}
	sums[key] = before + by
	return before == 0
}

func (l *ledger) bookOf(key kcp.ObjectKey) *book {
	b := l.books[key]
	if b == nil {
		b = &book{assigned: map[string]int{}, placed: map[string]int{}, explained: map[*record]int{}}
		l.books[key] = b
	}
	return b
}

func (l *ledger) tidy(key kcp.ObjectKey) {
	if b := l.books[key]; b != nil && b.isEmpty() {
		delete(l.books, key)
	}
}

// forget drops an object that is gone, and returns for what that makes a difference.
func (l *ledger) forget(key kcp.ObjectKey) (moved []kcp.ObjectKey) {
	delete(l.observed, key)
	delete(l.complete, key)
	r := l.records[key]
	if r == nil {
		return nil
	}
	moved = l.set(r, entry{})
	delete(l.records, key)
	return moved
}

// assigned returns how many objects, the one of the key aside, a placement has on a cluster.
func (l *ledger) assigned(key, placement kcp.ObjectKey, cluster string) int {
	b := l.books[placement]
	if b == nil {
		return 0
	}
	number := b.assigned[cluster]
	if r := l.records[key]; r != nil && r.entry.assignedTo == placement && slices.Contains(r.entry.assigned, cluster) {
		number--
	}
	return number
}

// decidedBy returns the objects that say that a placement has decided about them, sorted by kind and name.
func (l *ledger) decidedBy(placement kcp.ObjectKey) []*record {
	b := l.books[placement]
	if b == nil {
		return nil
	}
	records := slices.Collect(maps.Keys(b.explained))
	slices.SortFunc(records, func(a, b *record) int {
		return cmp.Or(strings.Compare(a.entry.kind, b.entry.kind), strings.Compare(a.key.Name, b.key.Name))
	})
	return records
}

// entryOf returns what an object adds to the sums.
func (s *Scheduler) entryOf(r *record, upstreamObj *unstructured.Unstructured) entry {
	object := protocol.Read(upstreamObj)
	e := entry{
		isDeleting: object.IsDeleting(), follows: !r.isDecided || r.decided.follows, decided: r.decided.clusters,
		isWorkload: s.config.Kinds.IsWorkload(upstreamObj.GroupVersionKind().GroupKind()),
		interest:   r.decided.interest, kind: upstreamObj.GetKind(),
	}
	e.occupied = shared(object.Present(), r.decided.clusters, !e.isDeleting)
	if r.key.Namespace == "" {
		return e // a namespace
	}
	e.groups = append(s.config.Inventory.NeedKeys(r.key, upstreamObj), namespaceOf(r.key))
	said := object.Placement()
	if said.By == protocol.ByPlacement {
		e.explainedBy, e.placed, e.isMissing = placementKey(r.key, said.Name), object.Placed(), said.Message != ""
	}
	name := r.decided.placement
	if r.decided.by == protocol.ByNobody {
		name = said.Name
	}
	if name != "" {
		e.assignedTo = placementKey(r.key, name)
		e.assigned = shared(object.Labelled(), r.decided.assumed.Clusters, true)
	}
	if e.interest != placement.InterestNone && r.decided.placement != "" {
		e.interestIn = placementKey(r.key, r.decided.placement)
	}
	return e
}

// shared returns the names in either of two sorted lists, sorted: those of the first alone unless both count. Where they are the same it
// keeps the second, which others keep as well.
func shared(a, b []string, both bool) []string {
	switch {
	case !both:
		return a
	case slices.Equal(a, b) || len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

func placementKey(of kcp.ObjectKey, name string) kcp.ObjectKey {
	return kcp.ObjectKey{Workspace: of.Workspace, Resource: v1alpha1.WorkloadPlacementsResource, Namespace: of.Namespace, Name: name}
}

// note enters an object into the ledger as it is, and queues what it makes a difference for: its namespace, and what it names. It reports
// whether it is on other clusters than before, or follows others now, or does not any more: that makes a difference for what follows it.
func (s *Scheduler) note(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) (moved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.enterLedger(s.ledger.recordOf(key), upstreamObj)
}

// enterLedger is note, with mu held.
func (s *Scheduler) enterLedger(r *record, upstreamObj *unstructured.Unstructured) (moved bool) {
	before := r.entry
	for _, key := range s.ledger.set(r, s.entryOf(r, upstreamObj)) {
		s.objects.Enqueue(key)
	}
	return before.isDeleting != r.entry.isDeleting || before.follows != r.entry.follows || !slices.Equal(before.occupied, r.entry.occupied)
}

// isNewsOf reports whether what an object follows is elsewhere than when that was asked last.
func (s *Scheduler) isNewsOf(key kcp.ObjectKey, follows led) bool {
	clusters := sets.List(follows.clusters)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.ledger.recordOf(key)
	if r.isLed == follows.isPlaced && slices.Equal(r.follows, clusters) {
		return false
	}
	r.follows, r.isLed = clusters, follows.isPlaced
	return true
}

// forget drops what is known of an object that is gone.
func (s *Scheduler) forget(key kcp.ObjectKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, moved := range s.ledger.forget(key) {
		s.objects.Enqueue(moved)
	}
}

// OnLost drops what is known of an object that is unknown from now on: its shard is not served any more. When it comes back, so does the
// object, if it is still there.
func (s *Scheduler) OnLost(key kcp.ObjectKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ledger.forget(key)
}

// observe has all objects of a namespace in the ledger.
func (s *Scheduler) observe(workspace logicalcluster.Name, namespace string) {
	key := namespaceOf(kcp.ObjectKey{Workspace: workspace, Namespace: namespace})
	if s.marked(s.ledger.observed, key) {
		return
	}
	s.config.Upstream.EachIn(workspace, namespace, func(inside kcp.ObjectKey, upstreamObj *unstructured.Unstructured) {
		if !isPlaceable(inside) {
			return
		}
		s.mu.Lock()
		isKnown := s.ledger.records[inside] != nil
		s.mu.Unlock()
		if !isKnown {
			s.note(inside, upstreamObj)
			s.forgetIfGone(inside)
		}
	})
	s.mark(s.ledger.observed, key)
}

// decideAll has all members of a group decided: each visits them.
func (s *Scheduler) decideAll(of kcp.ObjectKey, each func(visit func(kcp.ObjectKey, *unstructured.Unstructured))) {
	if s.marked(s.ledger.complete, of) {
		return
	}
	each(func(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) {
		if isPlaceable(key) {
			s.lastDecision(key, upstreamObj)
			s.note(key, upstreamObj)
			s.forgetIfGone(key)
		}
	})
	s.mark(s.ledger.complete, of)
}

func (s *Scheduler) marked(marks map[kcp.ObjectKey]bool, key kcp.ObjectKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return marks[key]
}

func (s *Scheduler) mark(marks map[kcp.ObjectKey]bool, key kcp.ObjectKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	marks[key] = true
}

// forgetIfGone drops an object that was entered from the caches and has left them meanwhile: its event may have come before that.
func (s *Scheduler) forgetIfGone(key kcp.ObjectKey) {
	if s.config.Upstream.Cached(key) == nil {
		s.forget(key)
	}
}

// waitFor notes that an object waits for others to be on a cluster. It is noted before they are looked at, or their event could come in
// between.
func (s *Scheduler) waitFor(key kcp.ObjectKey, others []kcp.ObjectKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range others {
		if s.ledger.waiting[other] == nil {
			s.ledger.waiting[other] = map[kcp.ObjectKey]struct{}{}
		}
		s.ledger.waiting[other][key] = struct{}{}
	}
}

// waitNoMore notes that an object waits for others no more.
func (s *Scheduler) waitNoMore(key kcp.ObjectKey, others []kcp.ObjectKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range others {
		if delete(s.ledger.waiting[other], key); len(s.ledger.waiting[other]) == 0 {
			delete(s.ledger.waiting, other)
		}
	}
}

// enqueueWaiting queues what waits for an object. What goes on waiting notes so again.
func (s *Scheduler) enqueueWaiting(key kcp.ObjectKey) {
	s.mu.Lock()
	waiting := s.ledger.waiting[key]
	delete(s.ledger.waiting, key)
	s.mu.Unlock()
	for waiter := range waiting {
		s.objects.Enqueue(waiter)
	}
}
