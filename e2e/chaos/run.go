package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/e2e/chaos/proxy"
)

// NoFaults as the only kind of faults, has operations alone: what is wrong then is not because of a fault.
const NoFaults = "none"

// workspaceEnds is how long kcp may take after a run to end the workspaces that were deleted in it: it looks at them again after
// up to some minutes when servers were away. What tmc has to remove from clusters for that is compared after each round.
const workspaceEnds = 5 * time.Minute

// RunOptions say how long and how hard a run is.
type RunOptions struct {
	// Seed is that of all that is drawn.
	Seed uint64
	// Faults is how many there are in all, and PerRound in one round at most.
	Faults, PerRound int
	// Until is when no further round begins; zero for no such time.
	Until time.Time
	// Pace is the time in which one fault begins, on average.
	Pace time.Duration
	// Operations is how many operations there are for each fault.
	Operations float64
	// Settle is how long it may take, after healing, until all is as it should be.
	Settle time.Duration
	// Quiet is how long nothing may be written then, and Patience how long that may take to come.
	Quiet, Patience time.Duration
	// Clear has all that the tenants have deleted in the end, so that another run may follow.
	Clear bool
	// Kinds are the kinds of faults that are drawn; empty for all.
	Kinds []string
	// Log gets a line for each thing that happens.
	Log io.Writer
}

// Totals are what a run has come to.
type Totals struct {
	Seed                       uint64
	Rounds, Faults, Operations int
	// Looks is how many successes of a roll-out were looked into, Blind those for which a cluster could not be read, and Behind
	// those of a status that was older than the last cluster, for LongestBehind at most.
	Looks, Blind, Behind int
	LongestBehind        time.Duration
	// Settled is how long each round took to be as it should be after healing, and Rested until nothing was written.
	Settled, Rested []time.Duration
}

func (t Totals) String() string {
	return fmt.Sprintf("seed %d: %d rounds, %d faults among %d operations; %d successes of roll-outs looked into (%d blind; %d of a status from before the last cluster, for %s at most); settled after %v, at rest after %v",
		t.Seed, t.Rounds, t.Faults, t.Operations, t.Looks, t.Blind, t.Behind, t.LongestBehind.Round(time.Millisecond), t.Settled, t.Rested)
}

// runner is a run.
type runner struct {
	ground   *Ground
	options  RunOptions
	planner  *Planner
	faults   *rand.Rand
	tenants  *tenants
	eyes     *eyes
	rollouts *rollouts
	excuses  Excuses
	began    time.Time
	totals   Totals
	identity uids
	errs     []error
	// deaths is how many ends of programs have been told.
	deaths int
	// base are what the roles took after the first round.
	base map[Role]load
	mu   sync.Mutex
	// touched are the copies that faults have meddled with, and when last.
	touched map[CopyKey]meddling
	// ever are all with which a fault has meddled since the beginning.
	ever map[CopyKey]bool
}

type meddling struct {
	what string
	at   time.Time
}

// Run runs operations among faults on a ground, and compares after each round. A round after which all was as it should be in
// the end, and something else was wrong, does not end the run. The error says all that was wrong.
func Run(ctx context.Context, g *Ground, options RunOptions) (Totals, error) {
	r, err := newRunner(g, options)
	if err != nil {
		return Totals{}, err
	}
	defer r.rollouts.stop()
	r.logf("seed %d: %d faults, %d a round, one in %s, %.1f operations for each", options.Seed, options.Faults, options.PerRound, options.Pace, options.Operations)
	if err := r.setUp(ctx); err != nil {
		return r.totals, fmt.Errorf("seed %d: set up: %w", options.Seed, err)
	}
	for r.totals.Faults < options.Faults && (options.Until.IsZero() || time.Now().Before(options.Until)) {
		if err := r.round(ctx, min(options.PerRound, options.Faults-r.totals.Faults)); err != nil {
			err = fmt.Errorf("seed %d, round %d: %w", options.Seed, r.totals.Rounds, err)
			r.logf("FAILED: %v", err)
			if r.errs = append(r.errs, err); errors.As(err, &stuckError{}) || ctx.Err() != nil {
				return r.sum(), errors.Join(r.errs...)
			}
		}
	}
	r.logf("%s", r.sum())
	r.end(ctx)
	return r.sum(), errors.Join(r.errs...)
}

// end waits until the workspaces that tenants have deleted are gone, and clears what there is where that is asked for. It notes what
// was wrong.
func (r *runner) end(ctx context.Context) {
	endsCtx, cancel := context.WithTimeout(ctx, workspaceEnds)
	defer cancel()
	if err := r.tenants.awaitEnds(endsCtx); err != nil {
		r.errs = append(r.errs, fmt.Errorf("seed %d: %w", r.options.Seed, err))
	}
	if !r.options.Clear {
		return
	}
	if err := r.clear(ctx); err != nil {
		r.errs = append(r.errs, fmt.Errorf("seed %d, all deleted: %w", r.options.Seed, err))
	}
}

// stuckError is that of a run that cannot go on: what there is stays as it should not be.
type stuckError struct{ error }

func (e stuckError) Unwrap() error { return e.error }

// clear has the tenants of a run delete their namespaces and the operator open all clusters, and compares once more: nothing
// may be left but what is somebody else's. That goes last. Another run may follow then.
func (r *runner) clear(ctx context.Context) error {
	var ops []Op
	for _, name := range ClusterNames {
		ops = append(ops, r.planner.next(Op{Verb: SetFleet, Cluster: name, State: Open}))
		r.planner.state.Fleet[name] = Open
	}
	for namespace := range r.planner.state.Namespaces {
		ops = append(ops, r.planner.next(Op{Verb: DeleteNamespace, Namespace: namespace}))
		delete(r.planner.state.Namespaces, namespace)
	}
	opsCtx, cancel := context.WithTimeout(ctx, 2*r.options.Settle)
	defer cancel()
	r.tenants.carryOut(opsCtx, time.Now(), ops)
	world, err := r.settle(ctx, r.options.Settle)
	return errors.Join(r.failures(), err, asError("violations", touched(r.excuses.Foreign, world.Copies, r.everMeddled)), r.eyes.foreignersLeave(ctx, r.excuses.Foreign))
}

func newRunner(g *Ground, options RunOptions) (*runner, error) {
	r := &runner{
		ground: g, options: options, planner: NewPlanner(options.Seed), began: time.Now(), touched: map[CopyKey]meddling{}, ever: map[CopyKey]bool{},
		faults: rand.New(rand.NewPCG(options.Seed, 0x6661)),
		totals: Totals{Seed: options.Seed},
	}
	r.tenants = &tenants{admin: g.KCP, bind: g.Bind, log: r.logf, all: map[string]*tenant{}}
	var err error
	if r.eyes, err = newEyes(r.tenants, g.Clusters); err != nil {
		return nil, err
	}
	r.rollouts = newRollouts(r.eyes.clusters)
	r.rollouts.log, r.rollouts.meddled = r.logf, r.meddled
	r.tenants.met = func(who *tenant) { r.rollouts.watch(context.Background(), who) }
	r.tenants.left = r.rollouts.forget
	r.deaths = len(g.Deaths())
	return r, nil
}

// logf writes a line, with the time since the beginning and that of the day, which the programs' logs have.
func (r *runner) logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	_, _ = fmt.Fprintf(r.options.Log, "%s %7.1fs %s\n", now.Format("15:04:05.000"), now.Sub(r.began).Seconds(), fmt.Sprintf(format, args...))
}

func (r *runner) sum() Totals {
	r.rollouts.mu.Lock()
	defer r.rollouts.mu.Unlock()
	t := r.totals
	t.Looks, t.Blind, t.Behind, t.LongestBehind = r.rollouts.looks, r.rollouts.blind, r.rollouts.behind, r.rollouts.longest
	return t
}

// meddled returns how a fault has meddled with a copy within the last time.
func (r *runner) meddled(at CopyKey, within time.Duration) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.touched[at]; time.Since(m.at) < within {
		return m.what
	}
	return ""
}

// everMeddled reports whether a fault of this run has meddled with an object.
func (r *runner) everMeddled(at CopyKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ever[at]
}

// setUp makes the tenants and what they begin with, and what others have on the clusters.
func (r *runner) setUp(ctx context.Context) error {
	round := r.planner.SetUp()
	r.totals.Rounds++
	opsCtx, cancel := context.WithTimeout(ctx, 4*r.options.Settle)
	defer cancel()
	r.tenants.carryOut(opsCtx, time.Now(), round.Ops)
	if err := r.failures(); err != nil {
		return err
	}
	world, err := r.settle(ctx, 3*r.options.Settle)
	if err != nil {
		return err
	}
	r.identity = uidsOf(world)
	r.excuses.Foreign, r.excuses.ForeignNamespaces, err = r.eyes.foreigners(ctx)
	return err
}

// failures returns what went wrong with operations.
func (r *runner) failures() error {
	errs, done := r.tenants.take()
	r.totals.Operations = done
	return errors.Join(errs...)
}

// round runs one round and compares.
func (r *runner) round(ctx context.Context, faults int) error {
	before := r.planner.State()
	length := time.Duration(faults) * r.options.Pace
	round := r.planner.Round(faults, int(float64(faults)*r.options.Operations), length)
	r.totals.Rounds++
	r.logf("round %d: %d faults, %d operations in %s", round.Number, faults, len(round.Ops), length)
	drawn, err := r.drawFaults(faults)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.touched = map[CopyKey]meddling{}
	r.mu.Unlock()

	begin := time.Now()
	opsCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	operations := make(chan struct{})
	go func() {
		defer close(operations)
		r.tenants.carryOut(opsCtx, begin, round.Ops)
	}()
	r.happen(ctx, begin, round, drawn)
	r.totals.Faults += faults
	healed, err := r.heal(ctx)
	if err != nil {
		return err
	}
	select {
	case <-operations:
	case <-time.After(2 * r.options.Settle):
		r.logf("operations are not done %s after healing", 2*r.options.Settle)
		cancel()
		<-operations
	}
	return r.compare(ctx, before, round, healed)
}

// drawFaults draws the faults of a round, in advance.
func (r *runner) drawFaults(n int) ([]Fault, error) {
	if slices.Equal(r.options.Kinds, []string{NoFaults}) {
		return nil, nil
	}
	faults := make([]Fault, n)
	for i := range faults {
		if len(r.options.Kinds) == 0 {
			faults[i] = r.ground.NewFault(r.faults)
			continue
		}
		var err error
		if faults[i], err = r.ground.NewFaultOf(oneOf(r.faults, r.options.Kinds...), r.faults); err != nil {
			return nil, err
		}
	}
	return faults, nil
}

// happen has the faults begin at their times, and end when they have lasted or the round is over.
func (r *runner) happen(ctx context.Context, begin time.Time, round Round, faults []Fault) {
	ctx, cancel := context.WithDeadline(ctx, begin.Add(round.Length+10*time.Second))
	defer cancel()
	var group sync.WaitGroup
	for i, fault := range faults {
		group.Go(func() {
			if !sleep(ctx, time.Until(begin.Add(round.FaultTimes[i]))) {
				return
			}
			r.happenOne(ctx, begin.Add(round.Length), i+1, fault)
		})
	}
	group.Wait()
	sleep(ctx, time.Until(begin.Add(round.Length)))
}

// sleep waits, and reports whether the context lasted.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (r *runner) happenOne(ctx context.Context, end time.Time, number int, fault Fault) {
	r.logf("fault %d begins: %s, for %s", number, fault.Name, fault.Lasts)
	if err := fault.Begin(ctx); err != nil {
		// What it meant to meddle with may be out of reach because of another fault.
		r.logf("fault %d could not begin: %v", number, err)
	}
	r.note(number, fault)
	sleep(ctx, min(fault.Lasts, time.Until(end)))
	err := fault.Heal(ctx)
	r.note(number, fault)
	if err != nil { // what ends it may be away because of another fault: the ground ends all in the end
		r.logf("fault %d could not end yet: %v", number, err)
		return
	}
	r.logf("fault %d is healed", number)
}

// note remembers what a fault has meddled with.
func (r *runner) note(number int, fault Fault) {
	objects := fault.Touched()
	if len(objects) > 0 {
		r.logf("fault %d has touched %v", number, objects)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, object := range objects {
		if kind := kindOf(object.Resource); object.Cluster != "" && kind != "" {
			at := copyKey(object.Cluster, object.Namespace, Key{kind, object.Name})
			r.touched[at] = meddling{what: strings.TrimSpace(r.touched[at].what + " " + object.What), at: time.Now()}
			r.ever[at] = true
		}
	}
}

// kindOf returns the kind of a resource in the form deployments.apps, "" for one that no tenant uses.
func kindOf(resource string) Kind {
	for kind, gvr := range resources {
		if gvr.GroupResource().String() == resource || gvr.Resource == resource {
			return kind
		}
	}
	return ""
}

// heal ends all faults, and returns when that was so.
func (r *runner) heal(ctx context.Context) (time.Time, error) {
	began := time.Now()
	for err := r.ground.Heal(ctx); err != nil; err = r.ground.Heal(ctx) {
		r.logf("not healed yet: %v", err)
		if time.Since(began) > time.Minute || ctx.Err() != nil {
			return time.Time{}, stuckError{fmt.Errorf("healing: %w", err)}
		}
	}
	r.logf("all is healed after %s", time.Since(began).Round(time.Millisecond))
	return time.Now(), nil
}

// compare compares what there is after a round with what there is to be.
func (r *runner) compare(ctx context.Context, before State, round Round, healed time.Time) error {
	operationsErr := r.failures()
	if operationsErr != nil { // nobody knows what there is to be
		operationsErr = stuckError{operationsErr}
	}
	r.mu.Lock()
	r.excuses.Meddled = map[CopyKey]string{}
	for at, m := range r.touched {
		r.excuses.Meddled[at] = m.what
	}
	r.mu.Unlock()
	operated := time.Now()
	world, err := r.settle(ctx, r.options.Settle)
	r.totals.Settled = append(r.totals.Settled, time.Since(healed).Round(100*time.Millisecond))
	problems := r.rollouts.takeViolations()
	if err != nil && world.Copies == nil || errors.As(err, &stuckError{}) {
		return errors.Join(operationsErr, err, asError("violations", problems))
	}
	r.logf("all is as it should be %s after healing, %s after the last operation", time.Since(healed).Round(time.Millisecond), time.Since(operated).Round(time.Millisecond))
	problems = append(problems, touched(r.excuses.Foreign, world.Copies, r.everMeddled)...)
	now := uidsOf(world)
	problems = append(problems, madeAnew(r.identity, now, mover(before, round), r.excuses.Meddled)...)
	r.identity = now
	deaths := r.ground.Deaths()
	for _, death := range deaths[min(r.deaths, len(deaths)):] {
		problems = append(problems, fmt.Sprintf("%s ended by itself at %s with %d: %s", death.Program, death.At.Format("15:04:05.000"), death.Code, death.Log))
	}
	r.deaths = len(deaths)
	problems = append(problems, r.rest(ctx, healed)...)
	problems = append(problems, r.growth(ctx)...)
	return errors.Join(operationsErr, err, asError("violations", problems))
}

func asError(what string, problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%d %s:\n%s", len(problems), what, strings.Join(problems, "\n"))
}

// settle waits until nothing is wrong, and returns the world as it is then. A round that takes longer fails; it is waited on
// for as long again, to tell what comes late from what never comes.
func (r *runner) settle(ctx context.Context, within time.Duration) (World, error) {
	state, began := r.planner.State(), time.Now()
	var late []string
	told := began
	for {
		world, err := r.eyes.world(ctx)
		problems := []string{}
		if err != nil {
			problems = append(problems, fmt.Sprintf("could not look: %v", err))
		} else {
			problems = Judge(state, world, r.excuses)
		}
		took := time.Since(began)
		switch {
		case len(problems) == 0 && late == nil:
			return world, nil
		case len(problems) == 0:
			return world, fmt.Errorf("all is as it should be after %s, and should have been after %s; what was wrong then:\n%s",
				took.Round(100*time.Millisecond), within, strings.Join(late, "\n"))
		case took > 3*within:
			return world, stuckError{fmt.Errorf("after %s it still is not as it should be; after %s:\n%s\nnow:\n%s\n%s", took.Round(time.Second), within,
				strings.Join(late, "\n"), strings.Join(problems, "\n"), r.details(world, problems))}
		case took > within && late == nil:
			late = problems
			r.logf("not as it should be after %s:\n%s", within, strings.Join(problems, "\n"))
		}
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			r.logf("%d things are not as they should be yet: %s", len(problems), strings.Join(problems[:min(len(problems), 5)], "; "))
		}
		if !sleep(ctx, 500*time.Millisecond) {
			return world, ctx.Err()
		}
	}
}

// details are the objects that problems name, in full.
func (r *runner) details(world World, problems []string) string {
	var b strings.Builder
	all := strings.Join(problems, "\n")
	for namespace, objects := range world.Upstream {
		for key, object := range objects {
			if strings.Contains(all, namespace.String()+" "+key.String()) || strings.Contains(all, namespace.Name+" "+key.String()) {
				fmt.Fprintf(&b, "kcp %s %s: %s\n", namespace, key, text(brief(object)))
			}
		}
	}
	for at, object := range world.Copies {
		if strings.Contains(all, at.Namespace+" "+at.Key.String()) {
			fmt.Fprintf(&b, "%s: %s\n", at, text(brief(object)))
		}
	}
	return b.String()
}

// brief leaves out the owners of fields.
func brief(object *unstructured.Unstructured) map[string]any {
	object = object.DeepCopy()
	object.SetManagedFields(nil)
	return object.Object
}

// rest waits until nothing has been written for a while.
func (r *runner) rest(ctx context.Context, healed time.Time) []string {
	if r.options.Quiet == 0 {
		return nil
	}
	began := time.Now()
	for {
		before, from := r.ground.Writes(), r.versions(ctx)
		if !sleep(ctx, r.options.Quiet) {
			return nil
		}
		written := writesSince(before, r.ground.Writes())
		if len(written) == 0 {
			r.totals.Rested = append(r.totals.Rested, time.Since(healed).Round(100*time.Millisecond)-r.options.Quiet)
			r.logf("nothing was written for %s, from %s after healing", r.options.Quiet, time.Since(healed).Round(time.Millisecond)-r.options.Quiet)
			return nil
		}
		moved := movedSince(from, r.versions(ctx))
		r.logf("%s after healing, in %s, was written: %v; moved: %v", time.Since(healed).Round(time.Second), r.options.Quiet, written, moved)
		if time.Since(began) > r.options.Patience {
			return []string{fmt.Sprintf("writes at rest, in %s, %s after healing: %v; moved: %v", r.options.Quiet, time.Since(healed).Round(time.Second), written, moved)}
		}
	}
}

// writesSince returns how often what was written between two counts.
func writesSince(before, after map[proxy.Count]int64) []string {
	var written []string
	for count, n := range after {
		if more := n - before[count]; more > 0 {
			written = append(written, fmt.Sprintf("%d × %+v", more, count))
		}
	}
	slices.Sort(written)
	return written
}

// versions returns the resource versions of all objects.
func (r *runner) versions(ctx context.Context) map[string]string {
	world, err := r.eyes.world(ctx)
	if err != nil {
		return nil
	}
	all := map[string]string{}
	for namespace, objects := range world.Upstream {
		for key, object := range objects {
			all["kcp "+namespace.String()+" "+key.String()] = object.GetResourceVersion()
		}
	}
	for at, object := range world.Copies {
		all[at.String()] = object.GetResourceVersion()
	}
	return all
}

func movedSince(before, after map[string]string) []string {
	var moved []string
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if before[name] != after[name] {
			moved = append(moved, name)
		}
	}
	return moved
}

// load is what the replicas of a role take together: which of them leads changes.
type load struct {
	memory            int64
	goroutines, files int
}

// growth compares what the programs take with what they took after the first round.
//
// The replicas of a role are added up, for one leads and the other waits. A program that was killed begins anew, so that what
// grows over a run shows in those that were not. Goroutines and files may be a quarter and 40 more: watches that were broken
// off end within a minute. Memory may be half as much again and 48 MiB more: a collection leaves up to twice what lives.
func (r *runner) growth(ctx context.Context) []string {
	now := map[Role]load{}
	var line []string
	for _, program := range r.ground.Programs {
		reading, err := program.Read(ctx)
		if err != nil {
			return []string{fmt.Sprintf("reading what %s takes: %v", program.Name, err)}
		}
		role := Role(string(program.Role) + " " + program.Cluster)
		l := now[role]
		l.memory, l.goroutines, l.files = l.memory+reading.Memory, l.goroutines+reading.Goroutines, l.files+reading.Files
		now[role] = l
		line = append(line, fmt.Sprintf("%s %d MiB, %d goroutines, %d files, %d connections", program.Name, reading.Memory>>20, reading.Goroutines, reading.Files, reading.Connections))
	}
	r.logf("the programs take: %s", strings.Join(line, "; "))
	if r.base == nil {
		r.base = now
		return nil
	}
	var problems []string
	for role, l := range now {
		was := r.base[role]
		if l.goroutines > was.goroutines*5/4+40 || l.files > was.files*5/4+40 || l.memory > was.memory*3/2+48<<20 {
			problems = append(problems, fmt.Sprintf("%s takes more and more: %d MiB, %d goroutines, %d files; after the first round %d MiB, %d goroutines, %d files",
				role, l.memory>>20, l.goroutines, l.files, was.memory>>20, was.goroutines, was.files))
		}
	}
	return problems
}

// split splits a list with commas; nothing is no entry.
func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}
