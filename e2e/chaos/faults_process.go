package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// between draws a duration, in steps of 100 ms.
func between(r *rand.Rand, shortest, longest time.Duration) time.Duration {
	const step = 100 * time.Millisecond
	if longest <= shortest {
		return shortest
	}
	return shortest + time.Duration(r.Int64N(int64((longest-shortest)/step)+1))*step
}

// pick draws one of several.
func pick[T any](r *rand.Rand, choices ...T) T { return choices[r.IntN(len(choices))] }

// drawPrograms draws the hubs or the syncers of a cluster: one replica of them, or both.
func (g *Ground) drawPrograms(r *rand.Rand) []*Program {
	return g.drawReplicas(r, pick(r, "hub", "east", "north", "west"))
}

// drawReplicas draws one or both of the hubs, or of the syncers of a cluster.
func (g *Ground) drawReplicas(r *rand.Rand, of string) []*Program {
	var all []*Program
	for _, p := range g.Programs {
		if p.Cluster == of || (of == "hub" && p.Role == RoleHub) {
			all = append(all, p)
		}
	}
	switch at := r.IntN(len(all) + 2); {
	case at < len(all):
		return all[at : at+1]
	default:
		return all
	}
}

func namesOf(programs []*Program) []string {
	names := make([]string, 0, len(programs))
	for _, p := range programs {
		names = append(names, p.Name)
	}
	return names
}

func listOf(programs []*Program) string { return strings.Join(namesOf(programs), ", ") }

// eachProgram does the same to several programs at the same time.
func eachProgram(programs []*Program, do func(*Program) error) error {
	var group errgroup.Group
	for _, p := range programs {
		group.Go(func() error { return do(p) })
	}
	return group.Wait()
}

// drawKill kills programs, and starts them again after a while.
func drawKill(g *Ground, r *rand.Rand) Fault {
	programs := g.drawPrograms(r)
	return Fault{
		Name:  "kill -9 " + listOf(programs),
		Lasts: between(r, 0, g.options.Longest/2), Hits: Hits{Programs: namesOf(programs)},
		Begin: func(ctx context.Context) error {
			return eachProgram(programs, func(p *Program) error { return p.takeDown(ctx) })
		},
		Heal: func(ctx context.Context) error {
			return eachProgram(programs, func(p *Program) error { return p.bringUp(ctx) })
		},
	}
}

// drawStop stops programs in their tracks, and lets them run on.
func drawStop(g *Ground, r *rand.Rand) Fault {
	programs := g.drawPrograms(r)
	return Fault{
		Name:  "SIGSTOP " + listOf(programs),
		Lasts: between(r, time.Second, g.options.Longest), Hits: Hits{Programs: namesOf(programs)},
		Begin: func(ctx context.Context) error {
			return eachProgram(programs, func(p *Program) error { return p.stop(ctx) })
		},
		Heal: func(ctx context.Context) error {
			return eachProgram(programs, func(p *Program) error { return p.resume(ctx) })
		},
	}
}

// drawServerKill kills servers that are not tmc's.
func drawServerKill(g *Ground, r *rand.Rand) Fault {
	s, hits := g.drawServer(r)
	return Fault{
		Name:  "kill -9 " + s.name,
		Lasts: between(r, 0, g.options.Longest/4), Hits: hits,
		Begin: s.takeDown, Heal: s.bringUp,
	}
}

// drawServerStop stops a server in its tracks.
func drawServerStop(g *Ground, r *rand.Rand) Fault {
	s, hits := g.drawServer(r)
	return Fault{
		Name:  "SIGSTOP " + s.name,
		Lasts: between(r, time.Second, g.options.Longest), Hits: hits,
		Begin: s.stop, Heal: s.resume,
	}
}

// drawServer draws kcp, a kube-apiserver, or the etcd of one of them.
func (g *Ground) drawServer(r *rand.Rand) (*server, Hits) {
	name := pick(r, kcpServer, kcpEtcdServer, "", "")
	if name != "" {
		return g.servers[name], Hits{KCP: true}
	}
	cluster := pick(r, ClusterNames...)
	return g.servers[cluster+"/"+pick(r, apiServer, etcdServer)], Hits{Clusters: []string{cluster}}
}

// drawClock has the clocks of programs jump, and back.
func drawClock(g *Ground, r *rand.Rand) Fault {
	programs := g.drawPrograms(r)
	wrong := pick(r, 3*time.Second, 20*time.Second, 2*time.Minute, time.Hour, 25*time.Hour)
	if r.IntN(2) == 0 {
		wrong = -wrong
	}
	set := func(wrong time.Duration) error {
		return eachProgram(programs, func(p *Program) error { return p.setClock(wrong) })
	}
	return Fault{
		Name:  fmt.Sprintf("the clock of %s is wrong by %s", listOf(programs), wrong),
		Lasts: between(r, time.Second, g.options.Longest),
		Begin: func(context.Context) error { return set(wrong) },
		Heal:  func(context.Context) error { return set(0) },
	}
}

// drawFull has an etcd refuse what would take space.
func drawFull(g *Ground, r *rand.Rand) Fault {
	name, hits := kcpServer, Hits{KCP: true}
	if r.IntN(2) == 0 {
		name = pick(r, ClusterNames...)
		hits = Hits{Clusters: []string{name}}
	}
	return Fault{
		Name:  fmt.Sprintf("the etcd of %s is full", name),
		Lasts: between(r, time.Second, g.options.Longest), Hits: hits,
		Begin: func(ctx context.Context) error { return g.refuseWrites(ctx, name, true) },
		Heal:  func(ctx context.Context) error { return g.refuseWrites(ctx, name, false) },
	}
}
