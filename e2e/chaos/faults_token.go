package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/kcp-tmc/tmc/e2e/chaos/proxy"
	"github.com/kcp-tmc/tmc/e2e/framework"
)

// drawToken has the tokens of a cluster's syncers end: those for kcp, because an administrator has revoked them or they have
// expired, or those for the cluster. In the end somebody stores new ones.
func drawToken(g *Ground, r *rand.Rand) Fault {
	cluster := pick(r, ClusterNames...)
	draw := pick(r, g.revoked, g.expired, g.expired, g.clusterExpired)
	fault := draw(cluster)
	fault.Lasts = between(r, time.Second, g.options.Longest)
	fault.Hits = Hits{Programs: namesOf(g.syncersOf(cluster))}
	return fault
}

// syncersOf returns the syncers of a cluster.
func (g *Ground) syncersOf(cluster string) []*Program {
	var syncers []*Program
	for _, p := range g.Programs {
		if p.Cluster == cluster {
			syncers = append(syncers, p)
		}
	}
	return syncers
}

// revoked ends all tokens that a cluster has for kcp. The manifest with a new one is applied later.
func (g *Ground) revoked(cluster string) Fault {
	done := make(chan struct{})
	var manifest string
	return Fault{
		Name: "the tokens of " + cluster + " for kcp are revoked",
		Begin: func(ctx context.Context) error {
			// It waits until kcp has forgotten the old ones, which takes it 10 s, and fails while kcp is away.
			ctx = context.WithoutCancel(ctx)
			g.ends.Go(func() {
				defer close(done)
				ctx, cancel := context.WithTimeout(ctx, healTimeout)
				defer cancel()
				go func() { // it ends with ctx
					select {
					case <-g.ending:
						cancel()
					case <-ctx.Done():
					}
				}()
				manifest, _ = g.joinManifest(ctx, cluster, "--revoke")
			})
			return nil
		},
		Heal: func(ctx context.Context) error {
			select {
			case <-done:
			case <-ctx.Done():
				return ctx.Err()
			}
			if manifest != "" && g.giveManifest(ctx, cluster, manifest) == nil {
				return nil
			}
			return g.joinAnew(ctx, cluster)
		},
	}
}

// joinAnew has a cluster join again until that has worked.
func (g *Ground) joinAnew(ctx context.Context, cluster string) error {
	return framework.Eventually(ctx, cluster+" to join again", healTimeout, func(ctx context.Context) (bool, string, error) {
		err := g.join(ctx, cluster)
		return err == nil, "", err
	})
}

// expired has kcp refuse whatever tokens a cluster has, until a new one has been stored.
func (g *Ground) expired(cluster string) Fault {
	j := g.joined[cluster]
	var old atomic.Value
	isRefused := func(token string) bool {
		stored := j.kcpToken()
		return stored == old.Load() || token != stored
	}
	rule := proxy.Rule{
		Match:  func(request proxy.Request) bool { return isRefused(request.Token) },
		Answer: proxy.Fails(http.StatusUnauthorized),
	}
	var ends releases
	return Fault{
		Name: "the tokens of " + cluster + " for kcp have expired",
		Begin: func(context.Context) error {
			old.Store(j.kcpToken())
			for _, p := range g.syncersOf(cluster) {
				ends.add(p.links[kcpHost].Add(rule))
			}
			return nil
		},
		Heal: func(ctx context.Context) error {
			defer ends.call()
			if err := g.joinAnew(ctx, cluster); err != nil {
				return err
			}
			// Healing is tried again: what was asked with the token before this one is over.
			return g.waitTaken(ctx, cluster, time.Now())
		},
	}
}

// waitTaken waits until the syncers of a cluster that have asked kcp anything since the last token was stored do so with that one. One
// that stands by asks nothing.
func (g *Ground) waitTaken(ctx context.Context, cluster string, stored time.Time) error {
	what := fmt.Sprintf("the syncers of %s to use the new token", cluster)
	return framework.Eventually(ctx, what, usesNewToken, func(context.Context) (bool, string, error) {
		for _, p := range g.syncersOf(cluster) {
			token, asked := p.links[kcpHost].LastToken()
			if asked.After(stored) && token != g.joined[cluster].kcpToken() {
				return false, p.Name + " uses an old one", nil
			}
		}
		return true, "", nil
	})
}

// usesNewToken is how soon syncers are to use a token that has been stored: they look every 10 s while theirs is refused.
const usesNewToken = 30 * time.Second

// clusterExpired has a cluster refuse the token of its syncers, until they have a new one.
func (g *Ground) clusterExpired(cluster string) Fault {
	var ends releases
	return Fault{
		Name: "the token of " + cluster + "'s syncers for their cluster has expired",
		Begin: func(context.Context) error {
			old, err := os.ReadFile(g.joined[cluster].file(clusterToken))
			if err != nil {
				return err
			}
			for _, p := range g.syncersOf(cluster) {
				ends.add(p.links[clusterHost(cluster)].Add(proxy.Rule{
					Match:  func(request proxy.Request) bool { return request.Token == string(old) },
					Answer: proxy.Fails(http.StatusUnauthorized),
				}))
			}
			return nil
		},
		Heal: func(ctx context.Context) error {
			defer ends.call()
			return framework.Eventually(ctx, cluster+" to give a token", healTimeout, func(ctx context.Context) (bool, string, error) {
				err := g.giveClusterToken(ctx, cluster)
				return err == nil, "", err
			})
		},
	}
}
