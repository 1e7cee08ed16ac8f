package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kcp-tmc/tmc/e2e/chaos/proxy"
)

// drawLinks draws the links of programs to one of their servers.
func (g *Ground) drawLinks(r *rand.Rand) (programs []*Program, links []*proxy.Link, host string) {
	programs, host = g.drawPrograms(r), kcpHost
	if programs[0].Role == RoleSyncer && r.IntN(2) == 0 {
		host = clusterHost(programs[0].Cluster)
	}
	for _, p := range programs {
		links = append(links, p.links[host])
	}
	return programs, links, host
}

// releases are what ends a fault of links.
type releases struct {
	mu  sync.Mutex
	all []func()
}

func (e *releases) add(release func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, release)
}

func (e *releases) call() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, release := range e.all {
		release()
	}
	e.all = nil
}

// drawPartition holds what goes between programs and a server, in one direction or both. What was held arrives in the end,
// or the connections are found broken.
func drawPartition(g *Ground, r *rand.Rand) Fault {
	programs, links, host := g.drawLinks(r)
	way := pick(r, "both ways", "both ways", "responses are lost", "requests are lost")
	breaks := r.IntN(2) == 0
	after := "goes on afterwards"
	if breaks {
		after = "is broken afterwards"
	}
	var ends releases
	return Fault{
		Name:  fmt.Sprintf("partition between %s and %s, %s, %s", listOf(programs), host, way, after),
		Lasts: between(r, time.Second, g.options.Longest), Hits: Hits{Programs: namesOf(programs)},
		Begin: func(context.Context) error {
			for _, link := range links {
				ends.add(link.Hold(way != "responses are lost", way != "requests are lost"))
				if breaks {
					ends.add(link.Reset)
				}
			}
			return nil
		},
		Heal: func(context.Context) error {
			ends.call()
			return nil
		},
	}
}
