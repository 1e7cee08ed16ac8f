package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/e2e/chaos/proxy"
)

// chance returns what reports, of each of a row of requests, whether a fault meets it, with a probability: the row is drawn,
// so that the same fault meets the same places in it.
func chance(r *rand.Rand, probability float64) func() bool {
	var mu sync.Mutex
	row := rand.New(rand.NewPCG(r.Uint64(), r.Uint64()))
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		return row.Float64() < probability
	}
}

// drawPercent draws a probability between a tenth and one.
func drawPercent(r *rand.Rand) (percent int, probability float64) {
	percent = 10 * (1 + r.IntN(10))
	return percent, float64(percent) / 100
}

// withRule is a fault that is a rule of the links of programs to one of their servers.
func (g *Ground) withRule(r *rand.Rand, what string, rule proxy.Rule) Fault {
	programs, links, host := g.drawLinks(r)
	var ends releases
	return Fault{
		Name:  fmt.Sprintf("%s, between %s and %s", what, listOf(programs), host),
		Lasts: between(r, time.Second, g.options.Longest), Hits: Hits{Programs: namesOf(programs)},
		Begin: func(context.Context) error {
			for _, link := range links {
				ends.add(link.Add(rule))
			}
			return nil
		},
		Heal: func(context.Context) error {
			ends.call()
			return nil
		},
	}
}

// drawCut resets connections in the middle of answers.
func drawCut(g *Ground, r *rand.Rand) Fault {
	percent, probability := drawPercent(r)
	part := float64(1+r.IntN(9)) / 10
	return g.withRule(r, fmt.Sprintf("%d %% of answers are reset after %.1f of them", percent, part), proxy.Rule{
		Match: func(request proxy.Request) bool { return request.Verb != watchVerb }, Chance: chance(r, probability), Cut: part,
	})
}

// watchVerb is the verb of watches.
const watchVerb = "watch"

// drawReset resets all connections at once, several times.
func drawReset(g *Ground, r *rand.Rand) Fault {
	programs, links, host := g.drawLinks(r)
	reset := func(context.Context) error {
		for _, link := range links {
			link.Reset()
		}
		return nil
	}
	return Fault{
		Name:  fmt.Sprintf("all connections between %s and %s are reset, twice", listOf(programs), host),
		Lasts: between(r, 0, g.options.Longest/2), Hits: Hits{Programs: namesOf(programs)},
		Begin: reset, Heal: reset,
	}
}

// drawLatency has all that goes between programs and a server take longer.
func drawLatency(g *Ground, r *rand.Rand) Fault {
	delay := pick(r, 200*time.Millisecond, time.Second, time.Second, 3*time.Second)
	return g.withRule(r, fmt.Sprintf("answers and events come %s later", delay), proxy.Rule{Delay: delay})
}

// drawErrors has a server answer with an error: all, what writes, or what reads.
func drawErrors(g *Ground, r *rand.Rand) Fault {
	code := pick(r, http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusInternalServerError)
	percent, probability := drawPercent(r)
	answer := proxy.Fails(code)
	answer.IsPlain = r.IntN(3) == 0
	if code != http.StatusInternalServerError {
		answer.RetryAfter = r.IntN(3)
	}
	what := pick(r, "requests", "writes", "reads")
	return g.withRule(r, fmt.Sprintf("%d %% of %s are answered with %d, Retry-After %d", percent, what, code, answer.RetryAfter), proxy.Rule{
		Match: func(request proxy.Request) bool {
			return what == "requests" || request.IsWrite() == (what == "writes")
		},
		Chance: chance(r, probability), Answer: answer,
	})
}

// drawTimeout has programs not hear of writes that have been carried out.
func drawTimeout(g *Ground, r *rand.Rand) Fault {
	after := pick(r, proxy.AfterTimeout, proxy.AfterReset, proxy.AfterNothing)
	what := map[proxy.After]string{
		proxy.AfterTimeout: "are answered with 504", proxy.AfterReset: "end with the connection", proxy.AfterNothing: "are never answered",
	}[after]
	percent, probability := drawPercent(r)
	return g.withRule(r, fmt.Sprintf("%d %% of writes are carried out and %s", percent, what), proxy.Rule{
		Match: func(request proxy.Request) bool { return request.IsWrite() }, Chance: chance(r, probability), After: after,
	})
}

// drawMute has watches stay open and hear nothing. What they missed comes late, or the watches are found broken.
func drawMute(g *Ground, r *rand.Rand) Fault {
	programs, links, host := g.drawLinks(r)
	percent := pick(r, 30, 100, 100)
	// Which kinds are deaf depends on their names alone, so that a watch stays so.
	salt := r.Uint32()
	isDeaf := func(request proxy.Request) bool {
		return request.Verb == watchVerb && int(hashOf(request.Resource, salt)%100) < percent
	}
	breaks := r.IntN(2) == 0
	after := "what they missed comes later"
	if breaks {
		after = "they are found broken"
	}
	var ends releases
	return Fault{
		Name:  fmt.Sprintf("watches of %d %% of the kinds hear nothing, and %s, between %s and %s", percent, after, listOf(programs), host),
		Lasts: between(r, time.Second, g.options.Longest), Hits: Hits{Programs: namesOf(programs)},
		Begin: func(context.Context) error {
			for _, link := range links {
				if breaks {
					// Before they hear again.
					ends.add(func() { link.EndWatches(isDeaf, nil) })
				}
				ends.add(link.Add(proxy.Rule{Match: isDeaf, Mute: true}))
			}
			return nil
		},
		Heal: func(context.Context) error {
			ends.call()
			return nil
		},
	}
}

// hashOf is a number that depends on a name and the salt (FNV-1a).
func hashOf(name string, salt uint32) uint32 {
	hash := salt ^ 2166136261
	for _, c := range []byte(name) {
		hash = (hash ^ uint32(c)) * 16777619
	}
	return hash
}

// drawGone ends watches with 410 Gone, has new ones hear that in part, and has the rest of lists be gone, whose pages are
// small.
func drawGone(g *Ground, r *rand.Rand) Fault {
	programs, links, host := g.drawLinks(r)
	percent, probability := drawPercent(r)
	asEvent, pageSize := r.IntN(3) > 0, int64(1+r.IntN(5))
	isResumed := func(request proxy.Request) bool {
		version := request.Query.Get("resourceVersion")
		return request.Verb == watchVerb && version != "" && version != "0"
	}
	isList := func(request proxy.Request) bool { return request.Verb == "list" }
	isRest := func(request proxy.Request) bool { return isList(request) && request.Query.Get("continue") != "" }
	isInitial := func(request proxy.Request) bool {
		return request.Verb == watchVerb && request.Query.Get("sendInitialEvents") == "true"
	}
	rules := []proxy.Rule{
		{Match: isResumed, Chance: chance(r, probability), Answer: proxy.Gone(asEvent)},
		{Match: isRest, Chance: chance(r, probability/2), Answer: proxy.Gone(false)},
		{Match: isList, PageSize: pageSize},
		// As an older server, so that there are lists.
		{Match: isInitial, Chance: chance(r, 0.5), Answer: &proxy.Answer{
			Code: http.StatusUnprocessableEntity, Reason: "Invalid", Message: "sendInitialEvents is forbidden for watch: chaos",
		}},
	}
	var ends releases
	return Fault{
		Name:  fmt.Sprintf("410 Gone for all open watches and %d %% of new ones, pages of %d, between %s and %s", percent, pageSize, listOf(programs), host),
		Lasts: between(r, 0, g.options.Longest), Hits: Hits{Programs: namesOf(programs)},
		Begin: func(context.Context) error {
			for _, link := range links {
				for _, rule := range rules {
					ends.add(link.Add(rule))
				}
				link.EndWatches(nil, proxy.Gone(true))
			}
			return nil
		},
		Heal: func(context.Context) error {
			ends.call()
			return nil
		},
	}
}

// drawStarting has the virtual workspaces of kcp answer as those of a shard that starts: that they are not there, or that
// nobody may use them, whatever there is.
func drawStarting(g *Ground, r *rand.Rand) Fault {
	programs := g.drawPrograms(r)
	percent, probability := drawPercent(r)
	answer := pick(r,
		proxy.Answer{Code: http.StatusNotFound, Message: "404 page not found", IsPlain: true},
		proxy.Answer{Code: http.StatusForbidden, Reason: "Forbidden", Message: "access denied: chaos"},
		proxy.Answer{Code: http.StatusNotFound, Reason: "NotFound", Message: "the server could not find the requested resource"},
		proxy.Answer{Code: http.StatusUnauthorized, Reason: "Unauthorized", Message: "Unauthorized"},
	)
	rule := proxy.Rule{
		Match: func(request proxy.Request) bool { return request.IsVirtual }, Chance: chance(r, probability), Answer: &answer,
	}
	var ends releases
	return Fault{
		Name:  fmt.Sprintf("virtual workspaces answer %d %% of requests of %s with %d (%s)", percent, listOf(programs), answer.Code, answer.Message),
		Lasts: between(r, time.Second, g.options.Longest), Hits: Hits{Programs: namesOf(programs)},
		Begin: func(context.Context) error {
			for _, p := range programs {
				ends.add(p.links[kcpHost].Add(rule))
				p.links[kcpHost].Reset()
			}
			return nil
		},
		Heal: func(context.Context) error {
			ends.call()
			return nil
		},
	}
}

// endpointSlices is the resource that says where kcp's virtual workspaces are.
const endpointSlices = "apiexportendpointslices"

// drawShard has the shard leave the endpoint slices, and come back.
func drawShard(g *Ground, r *rand.Rand) Fault {
	programs := g.drawPrograms(r)
	isSlices := func(request proxy.Request) bool { return request.Resource == endpointSlices }
	isWatch := func(request proxy.Request) bool { return isSlices(request) && request.Verb == watchVerb }
	var ends releases
	return Fault{
		Name:  fmt.Sprintf("the shard leaves the endpoint slices that %s see", listOf(programs)),
		Lasts: between(r, time.Second, g.options.Longest), Hits: Hits{Programs: namesOf(programs)},
		Begin: func(context.Context) error {
			for _, p := range programs {
				link := p.links[kcpHost]
				// Whoever watches reads anew, with the rule and without.
				ends.add(link.Add(proxy.Rule{Match: isSlices, Edit: withoutEndpoints}))
				ends.add(func() { link.EndWatches(isWatch, proxy.Gone(true)) })
				link.EndWatches(isWatch, proxy.Gone(true))
			}
			return nil
		},
		Heal: func(context.Context) error {
			ends.call()
			return nil
		},
	}
}

// withoutEndpoints takes the endpoints out of an endpoint slice, or of a list of them.
func withoutEndpoints(object map[string]any) {
	items, isList := object["items"].([]any)
	if !isList {
		items = []any{object}
	}
	for _, item := range items {
		if fields, ok := item.(map[string]any); ok {
			_ = unstructured.SetNestedSlice(fields, []any{}, "status", "endpoints")
		}
	}
}
