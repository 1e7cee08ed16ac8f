package chaos

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// Verb says what an operation does.
type Verb string

// The verbs.
const (
	// Create makes an object, and waits for a former one of the name to be gone.
	Create Verb = "create"
	// Change patches an object.
	Change Verb = "change"
	// Delete deletes an object, without waiting.
	Delete Verb = "delete"
	// Recreate deletes an object and creates it again at once.
	Recreate Verb = "delete and create"
	// RecreateNamespace deletes a namespace with all that is in it, waits for its end and makes it anew, empty.
	RecreateNamespace Verb = "delete and create namespace"
	// DeleteNamespace deletes a namespace with all that is in it, and waits for its end.
	DeleteNamespace Verb = "delete namespace"
	// SetFleet has the operator of the clusters open, cordon or drain one.
	SetFleet Verb = "set cluster"
	// CreateWorkspace makes a workspace, binds it and makes its namespaces.
	CreateWorkspace Verb = "create and bind workspace"
	// DeleteWorkspace deletes a workspace with all that is in it, and waits for its end.
	DeleteWorkspace Verb = "delete workspace"
)

// FleetState is what the operator of the clusters wants of one.
type FleetState string

// The states of a cluster.
const (
	Open     FleetState = "open"
	Cordoned FleetState = "cordoned"
	Drained  FleetState = "drained"
)

// NamespaceKey names a namespace of a workspace.
type NamespaceKey struct{ Workspace, Name string }

func (n NamespaceKey) String() string { return n.Workspace + "|" + n.Name }

// Op is one operation of a tenant or, SetFleet, of the operator of the clusters.
type Op struct {
	// Seq numbers the operations of a run. The operations on one object, and those on one namespace against those on its
	// objects, are carried out in this order.
	Seq int
	// At is when the operation is to begin, after the beginning of its round. It begins later when one before is not done.
	At        time.Duration
	Verb      Verb
	Namespace NamespaceKey
	// Why says what is changed, for people.
	Why string
	// Was and Now are the object before and after.
	Was, Now Wanted
	// Foreground has what belongs to a deleted object go first.
	Foreground bool
	// Cluster and State are those of SetFleet.
	Cluster string
	State   FleetState
}

func (o Op) String() string {
	switch o.Verb {
	case SetFleet:
		return fmt.Sprintf("#%d %s %s: %s", o.Seq, o.Verb, o.Cluster, o.State)
	case CreateWorkspace, DeleteWorkspace:
		return fmt.Sprintf("#%d %s %s", o.Seq, o.Verb, o.Namespace.Workspace)
	case RecreateNamespace, DeleteNamespace:
		return fmt.Sprintf("#%d %s %s", o.Seq, o.Verb, o.Namespace)
	default:
		return fmt.Sprintf("#%d %s %s %s%s", o.Seq, o.Verb, o.Namespace, o.Now.Key, o.Why)
	}
}

// Round is a part of a run after which everything is healed and compared.
type Round struct {
	Number int
	// Length is how long faults and operations begin.
	Length time.Duration
	Ops    []Op
	// FaultTimes are when the faults begin.
	FaultTimes []time.Duration
}

// Planner makes rounds from a seed. All that it decides comes from one generator of random numbers, and nothing from what
// happens: the same seed and sizes give the same operations at the same times.
type Planner struct {
	r      *rand.Rand
	seq    int
	rounds int
	state  State
	// gone is the number of the last workspace that came and went.
	gone int
}

// State is what the tenants and the operator want, after the operations that were planned.
type State struct {
	// Namespaces are the tenants', with their objects, those that do not exist included.
	Namespaces map[NamespaceKey]map[Key]Wanted
	Fleet      map[string]FleetState
}

func (s State) clone() State {
	namespaces := map[NamespaceKey]map[Key]Wanted{}
	for key, objects := range s.Namespaces {
		namespaces[key] = maps.Clone(objects)
	}
	return State{Namespaces: namespaces, Fleet: maps.Clone(s.Fleet)}
}

// The workspaces that last as long as a run. Each has a namespace that lasts and one that is deleted now and then.
var (
	workspaces = []string{"team-a", "team-b"}
	lasting    = "main"
	passing    = "temp"
)

// clash is a Deployment of the first workspace that is in the way of an object of somebody else on the first cluster.
var clash = Key{Deployment, "clash"}

// slots are the objects that a namespace may have.
func slots(namespace NamespaceKey) []Key {
	keys := []Key{
		{ConfigMap, "conf-0"}, {Secret, "sec-0"}, {Deployment, "web-0"}, {Deployment, "web-1"}, {StatefulSet, "db-0"}, {Job, "job-0"},
		{ConfigMap, "loose-0"}, {Service, "web-0"}, {WorkloadPlacement, "a"}, {ConfigMap, "conf-1"},
	}
	if namespace.Name == namespaceName(namespace.Workspace, lasting) {
		keys = append(keys, Key{Deployment, "web-2"}, Key{WorkloadPlacement, "b"}, Key{Job, "job-1"})
	}
	return keys
}

// namespaceName is that of a namespace of a workspace. On clusters, a namespace is that of one workspace.
func namespaceName(workspace, name string) string { return workspace + "-" + name }

// NewPlanner returns the planner of a seed.
func NewPlanner(seed uint64) *Planner {
	fleet := map[string]FleetState{}
	for _, name := range ClusterNames {
		fleet[name] = Open
	}
	return &Planner{
		r:     rand.New(rand.NewPCG(seed, 0x7463)),
		state: State{Namespaces: map[NamespaceKey]map[Key]Wanted{}, Fleet: fleet},
	}
}

// State returns what is wanted after the rounds that were planned.
func (p *Planner) State() State { return p.state.clone() }

// SetUp plans the first round: the workspaces and some of their objects, without faults.
func (p *Planner) SetUp() Round {
	p.rounds++
	round := Round{Number: p.rounds}
	for _, workspace := range workspaces {
		round.Ops = append(round.Ops, p.workspaceOps(workspace, 0)...)
		for _, name := range []string{lasting, passing} {
			round.Ops = append(round.Ops, p.fill(NamespaceKey{workspace, namespaceName(workspace, name)}, 0)...)
		}
	}
	return round
}

// Round plans a round of faults with operations among them.
func (p *Planner) Round(faults, operations int, length time.Duration) Round {
	p.rounds++
	round := Round{Number: p.rounds, Length: length}
	for range faults {
		round.FaultTimes = append(round.FaultTimes, time.Duration(p.r.Int64N(int64(length))))
	}
	slices.Sort(round.FaultTimes)
	times := make([]time.Duration, operations)
	for i := range times {
		times[i] = time.Duration(p.r.Int64N(int64(length)))
	}
	slices.Sort(times)
	round.Ops = p.comeAndGo(length)
	if p.rounds == 2 {
		round.Ops = append(round.Ops, p.clash())
	}
	for _, at := range times {
		round.Ops = append(round.Ops, p.draw(at)...)
	}
	slices.SortStableFunc(round.Ops, func(a, b Op) int { return cmp.Compare(a.At, b.At) })
	return round
}

// comeAndGo plans a workspace that lives for a part of the round. Its namespaces have the names of the one before.
func (p *Planner) comeAndGo(length time.Duration) []Op {
	p.gone++
	workspace := fmt.Sprintf("gone-%d", p.gone)
	namespace := NamespaceKey{workspace, namespaceName("gone", lasting)}
	from := time.Duration(p.r.Int64N(int64(length / 8)))
	// kcp itself takes a while to end a workspace.
	to := length/2 + time.Duration(p.r.Int64N(int64(length/4)))
	ops := []Op{p.next(Op{At: from, Verb: CreateWorkspace, Namespace: namespace})}
	p.state.Namespaces[namespace] = map[Key]Wanted{}
	for _, key := range []Key{{ConfigMap, "conf-0"}, {Deployment, "web-0"}, {Deployment, "web-1"}, {Job, "job-0"}} {
		ops = append(ops, p.create(namespace, key, from))
	}
	ops = append(ops, p.next(Op{At: to, Verb: DeleteWorkspace, Namespace: namespace}))
	delete(p.state.Namespaces, namespace)
	return ops
}

// clash plans the Deployment whose name somebody else has on one cluster.
func (p *Planner) clash() Op {
	namespace := NamespaceKey{workspaces[0], namespaceName(workspaces[0], lasting)}
	op := p.create(namespace, clash, 0)
	op.Now.Targets, op.Now.Group, op.Now.Mounts, op.Now.Replicas = new("*"), "", nil, 1
	p.state.Namespaces[namespace][clash] = op.Now
	return op
}

// next gives an operation its number.
func (p *Planner) next(op Op) Op {
	p.seq++
	op.Seq = p.seq
	return op
}

func (p *Planner) workspaceOps(workspace string, at time.Duration) []Op {
	for _, name := range []string{lasting, passing} {
		p.state.Namespaces[NamespaceKey{workspace, namespaceName(workspace, name)}] = map[Key]Wanted{}
	}
	return []Op{p.next(Op{At: at, Verb: CreateWorkspace, Namespace: NamespaceKey{Workspace: workspace}})}
}

// fill plans the objects that a namespace begins with.
func (p *Planner) fill(namespace NamespaceKey, at time.Duration) []Op {
	var ops []Op
	for _, key := range slots(namespace) {
		if key.Kind == WorkloadPlacement && key.Name == "b" || key.Name == "conf-1" {
			continue
		}
		ops = append(ops, p.create(namespace, key, at))
	}
	return ops
}

// create plans an object's creation.
func (p *Planner) create(namespace NamespaceKey, key Key, at time.Duration) Op {
	was := p.state.Namespaces[namespace][key]
	was.Key = key
	op := p.next(Op{At: at, Verb: Create, Namespace: namespace, Was: was})
	now := Wanted{Key: key, Exists: true, Op: op.Seq, Incarnation: op.Seq, Version: was.Version + 1}
	switch {
	case key.Kind == WorkloadPlacement:
		p.drawPlacement(&now)
	case key.Kind.isWorkload():
		now.Replicas, now.Counts = 1+p.r.Int64N(3), 1+p.r.Int64N(2)
		p.drawTargets(&now)
		now.Group = oneOf(p.r, "", "a", "b", "a")
		now.Mounts = p.drawMounts(namespace)
	case key.Name == "loose-0":
		now.Targets = new("*")
	}
	op.Now = now
	p.state.Namespaces[namespace][key] = now
	return op
}

func oneOf[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// drawTargets draws the annotation that names clusters.
func (p *Planner) drawTargets(w *Wanted) {
	w.Targets = oneOf(p.r, nil, nil, nil, new("*"), new("east"), new("west,east"), new("north,west"), new("north"))
}

// drawPlacement draws what a WorkloadPlacement says. It always has at least two clusters to choose from.
func (p *Planner) drawPlacement(w *Wanted) {
	w.Clusters = oneOf(p.r, nil, []string{"east", "west"}, []string{"east", "north"}, []string{"north", "west"})
	w.Number = int64(p.r.IntN(3))
	w.Divided = p.r.IntN(2) == 0
}

// drawMounts draws what pods mount, of what there is.
func (p *Planner) drawMounts(namespace NamespaceKey) []Key {
	var mounts []Key
	for _, key := range []Key{{ConfigMap, "conf-0"}, {Secret, "sec-0"}, {ConfigMap, "conf-1"}} {
		if p.state.Namespaces[namespace][key].Exists && p.r.IntN(2) == 0 {
			mounts = append(mounts, key)
		}
	}
	return mounts
}

// draw draws one operation, and with a namespace that was made anew those that fill it.
func (p *Planner) draw(at time.Duration) []Op {
	switch n := p.r.IntN(100); {
	case n < 5:
		return []Op{p.drawFleet(at)}
	case n < 8:
		return p.drawNamespace(at)
	default:
		return []Op{p.drawObject(at)}
	}
}

// drawFleet opens what is closed, or closes one cluster.
func (p *Planner) drawFleet(at time.Duration) Op {
	cluster, state := oneOf(p.r, ClusterNames...), oneOf(p.r, Cordoned, Drained)
	for _, name := range ClusterNames {
		if p.state.Fleet[name] != Open {
			cluster, state = name, Open
		}
	}
	p.state.Fleet[cluster] = state
	return p.next(Op{At: at, Verb: SetFleet, Cluster: cluster, State: state})
}

func (p *Planner) drawNamespace(at time.Duration) []Op {
	workspace := oneOf(p.r, workspaces...)
	namespace := NamespaceKey{workspace, namespaceName(workspace, passing)}
	ops := []Op{p.next(Op{At: at, Verb: RecreateNamespace, Namespace: namespace})}
	for key, object := range p.state.Namespaces[namespace] {
		p.state.Namespaces[namespace][key] = Wanted{Key: key, Version: object.Version}
	}
	return append(ops, p.fill(namespace, at)...)
}

// drawObject draws an operation on one object.
func (p *Planner) drawObject(at time.Duration) Op {
	workspace := oneOf(p.r, workspaces...)
	namespace := NamespaceKey{workspace, namespaceName(workspace, oneOf(p.r, lasting, lasting, passing))}
	key := oneOf(p.r, p.weighted(namespace)...)
	was := p.state.Namespaces[namespace][key]
	if !was.Exists {
		return p.create(namespace, key, at)
	}
	switch n := p.r.IntN(100); {
	case n < 8 && p.mayGo(namespace, key):
		op := p.next(Op{At: at, Verb: Delete, Namespace: namespace, Was: was, Foreground: p.r.IntN(4) == 0})
		op.Now = Wanted{Key: key, Version: was.Version}
		p.state.Namespaces[namespace][key] = op.Now
		return op
	case n < 18 && key != clash && key.Kind != WorkloadPlacement:
		op := p.create(namespace, key, at)
		op.Verb, op.Foreground = Recreate, p.r.IntN(4) == 0
		return op
	default:
		return p.change(namespace, was, at)
	}
}

// weighted returns the objects of a namespace, those that more happens to more often.
func (p *Planner) weighted(namespace NamespaceKey) []Key {
	var keys []Key
	for _, key := range slots(namespace) {
		n := 1
		if key.Kind == Deployment {
			n = 4
		}
		if key.Kind == StatefulSet {
			n = 2
		}
		for range n {
			keys = append(keys, key)
		}
	}
	if p.state.Namespaces[namespace][clash].Exists {
		keys = append(keys, clash)
	}
	return keys
}

// mayGo reports whether the object may be away for long: nothing that stays mounts it.
func (p *Planner) mayGo(namespace NamespaceKey, key Key) bool {
	if key == clash {
		return false
	}
	for _, other := range p.state.Namespaces[namespace] {
		if other.Exists && other.mounts(key) {
			return false
		}
	}
	return true
}

// change plans a patch.
func (p *Planner) change(namespace NamespaceKey, was Wanted, at time.Duration) Op {
	op := p.next(Op{At: at, Verb: Change, Namespace: namespace, Was: was})
	now := was
	now.Op = op.Seq
	switch {
	case was.Kind == WorkloadPlacement:
		p.drawPlacement(&now)
		op.Why = fmt.Sprintf(" clusters %v, number %d, divided %t", now.Clusters, now.Number, now.Divided)
	case was.Key == clash:
		now.Version++
		op.Why = " image " + image(now.Version)
	case was.Kind.isScalable():
		op.Why = p.changeScalable(namespace, &now)
	case was.Kind == Job:
		op.Why = p.changePlace(&now)
	default:
		now.Version++
		op.Why = fmt.Sprintf(" data v%d", now.Version)
		if p.r.IntN(3) == 0 {
			now.Note = fmt.Sprint("n", op.Seq)
			op.Why += " note " + now.Note
		}
	}
	op.Now = now
	p.state.Namespaces[namespace][was.Key] = now
	return op
}

func (p *Planner) changeScalable(namespace NamespaceKey, now *Wanted) string {
	switch n := p.r.IntN(100); {
	case n < 35:
		now.Version++
		return " image " + image(now.Version)
	case n < 60:
		now.Replicas = int64(p.r.IntN(5))
		return fmt.Sprintf(" replicas %d", now.Replicas)
	case n < 70:
		now.Note = oneOf(p.r, "", fmt.Sprint("n", now.Op))
		return " note " + now.Note
	case n < 80:
		now.Mounts = p.drawMounts(namespace)
		now.Version++
		return fmt.Sprintf(" mounts %v, image %s", now.Mounts, image(now.Version))
	default:
		return p.changePlace(now)
	}
}

// changePlace changes what says where a workload goes.
func (p *Planner) changePlace(now *Wanted) string {
	if p.r.IntN(3) == 0 {
		now.Group = oneOf(p.r, "", "a", "b")
		now.Targets = nil
		return fmt.Sprintf(" group %q, no targets", now.Group)
	}
	p.drawTargets(now)
	if p.r.IntN(8) == 0 {
		now.Targets = new("")
	}
	if now.Targets == nil {
		return " no targets"
	}
	return fmt.Sprintf(" targets %q", *now.Targets)
}
