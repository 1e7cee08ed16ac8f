package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
)

// Fault is something that goes wrong for a while. All of it has been drawn: it does the same whenever it happens, but for
// what it finds then.
type Fault struct {
	// Kind is one of FaultKinds, and Name says all of its parameters.
	Kind, Name string
	// Lasts is how long it is to be left before it is healed.
	Lasts time.Duration
	// Begin brings it about, and Heal ends it: it returns when what was away is back. Heal may be called more than once, and
	// without Begin.
	Begin, Heal func(context.Context) error
	// Hits is what cannot be reached meanwhile.
	Hits Hits
	// Touched returns the objects that it has changed or deleted, after Begin.
	Touched func() []Object
}

// Hits is what cannot be reached during a Fault.
type Hits struct {
	// Programs are the names of those that do not run, or do not reach their servers.
	Programs []string
	// Clusters are those whose API server does not answer anybody, or takes no writes.
	Clusters []string
	// KCP is set when kcp does not answer anybody, or takes no writes.
	KCP bool
}

// Object is an object of kcp or of a cluster.
type Object struct {
	// Cluster is empty in kcp, and Workspace in a cluster.
	Cluster, Workspace string
	// Resource is in the form deployments.apps.
	Resource, Namespace, Name string
	// UID is the one it had.
	UID types.UID
	// What is what was done to it: deleted, edited, …
	What string
}

// String names the object and what was done to it.
func (o Object) String() string {
	return fmt.Sprintf("%s%s %s %s/%s %s", o.Cluster, o.Workspace, o.Resource, o.Namespace, o.Name, o.What)
}

// opened is a fault that has begun.
type opened struct {
	name string
	heal func(context.Context) error
}

// maker draws the parameters of one kind of fault.
type maker struct {
	kind string
	// weight is how often it is drawn, among all.
	weight int
	draw   func(g *Ground, r *rand.Rand) Fault
}

// FaultKinds returns the kinds of faults that there are.
func FaultKinds() []string {
	kinds := make([]string, 0, len(makers()))
	for _, m := range makers() {
		kinds = append(kinds, m.kind)
	}
	return kinds
}

// NewFault draws a fault. It depends on r alone.
func (g *Ground) NewFault(r *rand.Rand) Fault {
	all := makers()
	sum := 0
	for _, m := range all {
		sum += m.weight
	}
	at := r.IntN(sum)
	for _, m := range all {
		if at -= m.weight; at < 0 {
			return g.draw(m, r)
		}
	}
	panic("unreachable")
}

// NewFaultOf draws a fault of a kind. It fails for a kind that there is not.
func (g *Ground) NewFaultOf(kind string, r *rand.Rand) (Fault, error) {
	all := makers()
	at := slices.IndexFunc(all, func(m maker) bool { return m.kind == kind })
	if at < 0 {
		return Fault{}, fmt.Errorf("no kind of fault %q: there are %s", kind, strings.Join(FaultKinds(), ", "))
	}
	return g.draw(all[at], r), nil
}

// draw draws a fault, and has the ground know when it is open.
func (g *Ground) draw(m maker, r *rand.Rand) Fault {
	f := m.draw(g, r)
	f.Kind = m.kind
	begin, heal := f.Begin, f.Heal
	var mu sync.Mutex
	var open *opened
	// end ends it once.
	end := func(ctx context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if open == nil {
			return nil
		}
		if err := heal(ctx); err != nil {
			return fmt.Errorf("heal %s: %w", f.Name, err)
		}
		g.mu.Lock()
		delete(g.open, open)
		g.mu.Unlock()
		open = nil
		return nil
	}
	f.Begin = func(ctx context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		open = &opened{name: f.Name, heal: end}
		g.mu.Lock()
		g.open[open] = true
		g.mu.Unlock()
		if err := begin(ctx); err != nil {
			return fmt.Errorf("begin %s: %w", f.Name, err)
		}
		return nil
	}
	f.Heal = end
	if f.Touched == nil {
		f.Touched = func() []Object { return nil }
	}
	return f
}

// healTimeout bounds how long healing may take: kcp's start above all.
const healTimeout = 2 * time.Minute

// Heal ends all that is open, and returns when all servers serve and all programs run.
func (g *Ground) Heal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healTimeout)
	defer cancel()
	g.mu.Lock()
	var group errgroup.Group
	for open := range g.open {
		group.Go(func() error { return open.heal(ctx) })
	}
	g.mu.Unlock()
	if err := group.Wait(); err != nil {
		return err
	}
	if err := g.revive(ctx); err != nil {
		return err
	}
	if err := g.waitServers(ctx); err != nil {
		return err
	}
	if err := g.restartNodes(ctx); err != nil {
		return err
	}
	var errs []error
	for _, p := range g.Programs {
		errs = append(errs, p.run())
	}
	return errors.Join(errs...)
}
