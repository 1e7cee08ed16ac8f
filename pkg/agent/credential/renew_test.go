package credential

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestRenewAtHalfOfALife(t *testing.T) {
	inAWorld(t, ofADay, func(w *world) {
		first := w.stored()
		k := w.running()
		w.passes(life/2 - time.Second)
		w.inUse(k, first)
		w.wants("tokens asked for in the first half", len(w.counts().lives), 0)
		w.wants("reads in the first half", w.counts().reads, 0)
		w.passes(life / 9)
		if w.stored() == first {
			t.Error("the Secret has the first token still")
		}
		w.inUse(k, w.stored())
		w.passes(10 * life)
		w.inUse(k, w.stored())
		if asked := len(w.counts().lives); asked < 17 || asked > 22 || asked != w.counts().writes {
			t.Errorf("%d tokens asked for in eleven lifetimes, %d stored, want two a lifetime", asked, w.counts().writes)
		}
		for _, asked := range w.counts().lives {
			if asked != life {
				t.Errorf("asked for a token that lasts %s, want %s as the first", asked, life)
			}
		}
		if got := string(w.east.read().Data["theirs"]); got != "kept" {
			t.Errorf("what else is in the Secret has become %q", got)
		}
		w.wants("told of in the end", w.said("Renewed the token"), w.counts().writes)
	})
}

func TestRenewAsksForNoShortLife(t *testing.T) {
	inAWorld(t, func() string { return lasting(time.Minute) }, func(w *world) {
		w.running()
		w.passes(40 * time.Second)
		if len(w.counts().lives) != 1 || w.counts().lives[0] != 10*time.Minute {
			t.Errorf("asked for %v, want once for the ten minutes that are the least", w.counts().lives)
		}
	})
}

func TestRenewAVeryLongToken(t *testing.T) {
	inAWorld(t, func() string { return lasting(7 * life) }, func(w *world) {
		k := w.running()
		w.passes(6*life + life/2 - time.Second)
		w.wants("tokens asked for before", len(w.counts().lives), 0)
		w.passes(life / 9)
		w.inUse(k, w.stored())
		if asked := w.counts().lives; len(asked) != 1 || asked[0] != v1alpha1.MaxTokenLifetime {
			t.Errorf("asked for %v, want once for the longest that is given", asked)
		}
		w.wants("failures told of", w.said("Cannot renew"), 0)
	})
}

func TestRenewOncePerReplicas(t *testing.T) {
	inAWorld(t, ofADay, func(w *world) {
		one, other := w.running(), w.running()
		w.passes(10*life + life/4)
		if asked := len(w.counts().lives); asked < 16 || asked > 24 {
			t.Errorf("two replicas have asked for %d tokens in ten lifetimes, want two a lifetime", asked)
		}
		for _, k := range []*Keeper{one, other} {
			if err := w.kcp.ask(k); err != nil {
				t.Errorf("kcp answers %v", err)
			}
		}
		w.wants("found refused", w.said("kcp refuses"), 0)
	})
}

func TestRenewTakesUpALongerToken(t *testing.T) {
	inAWorld(t, ofADay, func(w *world) {
		k := w.running()
		w.passes(life / 4)
		w.east.change(func(d *downstreamSide) { d.put(kubeconfig(ofADay())) })
		w.passes(life * 7 / 20)
		w.inUse(k, w.stored())
		w.wants("tokens asked for", len(w.counts().lives), 0)
		w.wants("told of", w.said("Took up another token"), 1)
	})
}

func TestRenewUsesWhatCannotBeStored(t *testing.T) {
	inAWorld(t, ofADay, func(w *world) {
		w.east.change(func(d *downstreamSide) { d.fails = func(string) error { return errApart } })
		first := w.stored()
		k := w.running()
		w.passes(life * 7 / 10)
		w.wants("tokens asked for", len(w.counts().lives), 1)
		if k.current().value == first {
			t.Error("the new token is not used")
		}
		w.wants("told of", w.said("Cannot renew the token", errApart.Error()), 1)
		w.east.change(func(d *downstreamSide) { d.fails = func(string) error { return nil } })
		w.passes(3 * time.Minute)
		w.inUse(k, w.stored())
		w.wants("told of in the end", w.said("renewed and stored again"), 1)
		w.wants("tokens asked for", len(w.counts().lives), 1)
	})
}

func TestRenewAfterALostAnswer(t *testing.T) {
	inAWorld(t, ofADay, func(w *world) {
		w.east.answer = func() error { return errApart }
		k := w.running()
		w.passes(life * 7 / 10)
		w.inUse(k, w.stored())
		w.wants("writes", w.counts().writes, 1)
		w.wants("told of", w.said("Cannot renew"), 1)
		w.wants("told of in the end", w.said("renewed and stored again"), 1)
	})
}

func TestRenewKeepsOthersWrites(t *testing.T) {
	cases := map[string]struct {
		reason string
		theirs func() []byte
		wins   bool
	}{
		"a longer token":  {"another replica was faster", func() []byte { return kubeconfig(lasting(2 * life)) }, true},
		"a shorter token": {"another replica has asked before", func() []byte { return kubeconfig(lasting(life / 2)) }, false},
		"no news":         {"a label, say", nil, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			inAWorld(t, ofADay, func(w *world) {
				k := w.running()
				var theirs string
				w.east.change(func(d *downstreamSide) {
					d.between = func() {
						if d.reads != 2 { // the one before the write
							return
						}
						data := d.secret.Data[SecretKey]
						if c.theirs != nil {
							data = c.theirs()
						}
						d.put(data)
						found, _ := tokenIn(data, server)
						theirs = found.value
					}
				})
				w.passes(life * 7 / 10)
				w.inUse(k, w.stored())
				if got := w.stored() == theirs; got != c.wins {
					t.Errorf("%s: theirs is in use: %t, want %t", c.reason, got, c.wins)
				}
				w.wants("told of as a failure", w.said("Cannot renew"), 0)
			})
		})
	}
}

func TestRenewKeepsWhatItCannotDecode(t *testing.T) {
	cases := map[string][]byte{
		"no kubeconfig":  []byte("ceci n'est pas"),
		"Nothing":        nil,
		"NoToken":        kubeconfig(""),
		"another server": []byte(`{"clusters":[{"name":"a","cluster":{"server":"https://other"}}],"users":[{"name":"a","user":{"token":"theirs"}}],"contexts":[{"name":"a","context":{"cluster":"a","user":"a"}}],"current-context":"a"}`),
	}
	for name, theirs := range cases {
		t.Run(name, func(t *testing.T) {
			inAWorld(t, ofADay, func(w *world) {
				k := w.running()
				w.east.change(func(d *downstreamSide) { d.put(theirs) })
				w.passes(life * 7 / 10)
				w.wants("writes", w.counts().writes, 0)
				w.wants("told of", w.said("Cannot renew", "tmc-system/tmc-syncer-kcp", "kubeconfig"), 1)
				if err := w.kcp.ask(k); err != nil || k.current().value == "theirs" {
					t.Errorf("kcp answers %v to %s", err, payload(k.current().value))
				}
			})
		})
	}
}

func TestRenewTriesAgain(t *testing.T) {
	inAWorld(t, ofADay, func(w *world) {
		first := w.stored()
		w.kcp.fails = func() error { return errApart }
		k := w.running()
		w.passes(life * 6 / 10)
		w.wants("told of", w.said("Cannot renew", "tmc-syncers/east", errApart.Error()), 1)
		before := w.counts().asked
		w.passes(time.Hour)
		if asked := w.counts().asked - before; asked < 25 || asked > 65 {
			t.Errorf("kcp was asked %d times in an hour, want once in two minutes at most", asked)
		}
		w.kcp.change(func(u *upstreamSide) { u.fails = func() error { return nil } })
		w.passes(3 * time.Minute)
		if w.stored() == first {
			t.Error("the Secret has the first token still")
		}
		w.inUse(k, w.stored())
	})
}

func TestRenewResetsItsDelays(t *testing.T) {
	inAWorld(t, ofADay, func(w *world) {
		k := w.keeper()
		turn := func(fails error) time.Duration {
			w.kcp.fails = func() error { return fails }
			w.passes(max(time.Until(k.due), time.Until(k.retry)))
			k.turn(w.ctx)
			return time.Until(k.retry)
		}
		for range 5 {
			turn(errApart)
		}
		if waits := turn(errApart); waits < 30*time.Second {
			t.Errorf("waits %s after six failures", waits)
		}
		turn(nil)
		w.wants("writes", w.counts().writes, 1)
		if waits := turn(errApart); waits > 2*time.Second {
			t.Errorf("waits %s after one failure", waits)
		}
	})
}

// TestRenewShortTokensByKCPsClock restarts a syncer, whose clock is not kcp's, when its token of the least life is nine minutes old,
// and when it is new.
func TestRenewShortTokensByKCPsClock(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"right": 0, "ten minutes ahead": 10 * time.Minute, "ten minutes behind": -10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			issue := func() string { return jwt(subject, time.Now().Add(ahead), time.Now().Add(ahead+shortestLife)) }
			inAWorld(t, issue, func(w *world) {
				w.kcp.ahead = ahead
				w.passes(shortestLife / 20)
				for range 3 {
					ctx, cancel := context.WithCancel(w.ctx)
					k := w.keeper()
					go k.Run(ctx)
					w.inUse(k, w.stored())
					w.passes(time.Minute)
					cancel()
					synctest.Wait()
				}
				w.wants("tokens asked for by restarts with a young token", len(w.counts().lives), 0)
				w.passes(shortestLife/2 + shortestLife/10)
				first := w.stored()
				k := w.running()
				w.inUse(k, w.stored())
				w.passes(time.Second)
				if w.stored() == first {
					t.Error("an old token was not renewed")
				}
				w.passes(time.Hour)
				w.inUse(k, w.stored())
				w.wants("refusals told of", w.said("kcp refuses"), 0)
			})
		})
	}
}

func TestRenewNoTokenThatDoesNotEnd(t *testing.T) {
	cases := map[string]string{
		"a static token":         "abcdef",
		"a token without an end": jwt(subject, time.Now(), time.Time{}),
		"two dots":               "not.a.token",
		"an unreadable payload":  "not.aGVsbG8.token",
	}
	for name, token := range cases {
		t.Run(name, func(t *testing.T) {
			inAWorld(t, func() string { return token }, func(w *world) {
				k := w.running()
				w.passes(1000 * life)
				w.inUse(k, token)
				w.wants("reads", w.counts().reads, 0)
				w.wants("lines", len(w.logs.Data()), 0)
			})
		})
	}
}

func TestRenewNothingWithoutASecret(t *testing.T) {
	inAWorld(t, ofADay, func(w *world) {
		k := w.running(func(c *Config) { c.Secret, c.Namespace, c.Downstream = "", "", nil })
		w.passes(life - time.Second)
		w.wants("tokens asked for", len(w.counts().lives), 0)
		w.inUse(k, w.stored())
	})
}

func TestRenewNoTokenOfAnotherUser(t *testing.T) {
	person := func() string { return jwt("somebody@example.com", time.Now(), time.Now().Add(life)) }
	inAWorld(t, person, func(w *world) {
		w.running()
		w.passes(life * 7 / 10)
		w.wants("tokens asked for", len(w.counts().lives), 0)
		w.wants("told of", w.said("Cannot renew", "somebody@example.com"), 1)
	})
}

// The clocks of kcp and of the cluster are each their own.
func TestRenewWhenClocksDiffer(t *testing.T) {
	for name, ahead := range map[string]time.Duration{
		"a minute ahead": time.Minute, "AMinuteBehind": -time.Minute, "HoursAhead": 11 * time.Hour, "HoursBehind": -11 * time.Hour,
		"YearsBehind": -10000 * time.Hour, "YearsAhead": 10000 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			begins := func() string { return jwt(subject, time.Now().Add(ahead), time.Now().Add(ahead+life)) }
			inAWorld(t, begins, func(w *world) {
				w.kcp.ahead = ahead
				k := w.running()
				w.passes(5 * life)
				w.inUse(k, w.stored())
				w.wants("found refused", w.said("kcp refuses"), 0)
				if asked := len(w.counts().lives); asked < 8 || asked > 11 {
					t.Errorf("asked for %d tokens in five lifetimes, want two a lifetime", asked)
				}
			})
		})
	}
}

func TestRenewRefusesAShorterToken(t *testing.T) {
	cases := map[string]func(time.Duration) string{
		"AtOnce":     func(time.Duration) string { return lasting(0) },
		"in an hour": func(time.Duration) string { return lasting(time.Hour) },
		"NoToken":    func(time.Duration) string { return "" },
	}
	for name, given := range cases {
		t.Run(name, func(t *testing.T) {
			inAWorld(t, ofADay, func(w *world) {
				w.kcp.claims = given
				first := w.stored()
				k := w.running()
				w.passes(life * 7 / 10)
				w.inUse(k, first)
				w.wants("writes", w.counts().writes, 0)
				w.wants("told of", w.said("Cannot renew", "expected it to outlast"), 1)
				if asked := len(w.counts().lives); asked > 200 {
					t.Errorf("kcp was asked for %d tokens in five hours at most", asked)
				}
			})
		})
	}
}

// Wherever the agent dies, its Secret has a token that works.
func TestRenewAfterACrash(t *testing.T) {
	for step := 1; step <= 5; step++ {
		inAWorld(t, ofADay, func(w *world) {
			ctx, die := context.WithCancel(w.ctx)
			steps := 0
			next := func() error {
				if steps++; steps >= step {
					die()
				}
				return ctx.Err()
			}
			w.kcp.fails = next
			w.east.fails = func(string) error { return next() }
			go w.keeper().Run(ctx)
			w.passes(life * 7 / 10)
			if step < 5 && ctx.Err() == nil { // a read, a request, a read, a write
				t.Fatalf("did not die at step %d", step)
			}
			die()
			synctest.Wait()
			w.kcp.fails = func() error { return nil }
			w.east.fails = func(string) error { return nil }
			k := w.running()
			w.passes(3 * life)
			w.inUse(k, w.stored())
			w.wants("found refused", w.said("kcp refuses"), 0)
		})
	}
}
