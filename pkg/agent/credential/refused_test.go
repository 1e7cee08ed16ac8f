package credential

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestKeeperLogsARefusalOnce(t *testing.T) {
	inAWorld(t, ofADay, func(w *world) {
		expires := readToken(w.stored()).expires
		k := w.running()
		w.passes(time.Minute)
		w.kcp.change(func(u *upstreamSide) { u.revoked[w.stored()] = true })
		w.passes(time.Hour)
		if k.Refused() {
			t.Error("refused before it has asked")
		}
		_ = w.kcp.ask(k)
		w.passes(time.Hour)
		if !k.Refused() {
			t.Error("not refused by who answers 401")
		}
		w.wants("told of", w.said("kcp refuses the credentials of this cluster", "kubectl tmc join east … | kubectl apply -f -", expires.UTC().Format(time.RFC3339)), 1)
		if w.counts().reads < 350 || w.counts().reads > 362 {
			t.Errorf("looked for another token %d times in an hour, want once in 10 s", w.counts().reads)
		}
		w.wants("tokens asked for", len(w.counts().lives), 0)

		w.east.change(func(d *downstreamSide) { d.put(kubeconfig(lasting(time.Hour))) }) // which ends sooner
		w.passes(refusedInterval)
		w.inUse(k, w.stored())
		w.wants("told of in the end", w.said("kcp accepts the credentials of this cluster again"), 1)
		w.passes(life)
		w.wants("told of", w.said("kcp refuses"), 1)
	})
}

func TestKeeperWithAnExpiredToken(t *testing.T) {
	ended := func() string { return jwt(subject, time.Now().Add(-2*life), time.Now().Add(-life)) }
	inAWorld(t, ended, func(w *world) {
		k := w.running()
		w.passes(time.Hour)
		w.wants("told of", w.said("kcp refuses", "expired at"), 1)
		if asked := w.counts().asked; asked > 365 {
			t.Errorf("kcp was asked %d times in an hour, want once in 10 s", asked)
		}
		w.wants("writes", w.counts().writes, 0)
		w.east.change(func(d *downstreamSide) { d.put(kubeconfig(ofADay())) })
		w.passes(refusedInterval)
		w.inUse(k, w.stored())
		w.passes(life)
		w.inUse(k, w.stored())
		if len(w.counts().lives) == 0 {
			t.Error("the new token was not renewed")
		}
	})
}

func TestKeeperReadsTheFileWithoutASecret(t *testing.T) {
	inAWorld(t, ofADay, func(w *world) {
		file := filepath.Join(t.TempDir(), "kubeconfig")
		k := w.running(func(c *Config) { c.Secret, c.Downstream, c.KubeconfigFile = "", nil, file })
		w.kcp.change(func(u *upstreamSide) { u.revoked[w.stored()] = true })
		_ = w.kcp.ask(k)
		w.passes(time.Minute)
		w.wants("told of", w.said("Cannot tell whether there is another token", file), 1)
		token := ofADay()
		if err := os.WriteFile(file, kubeconfig(token), 0o600); err != nil {
			t.Fatal(err)
		}
		w.passes(refusedInterval)
		w.inUse(k, token)
		w.wants("told of in the end", w.said("Looked for another token for kcp again"), 1)
	})
}

// A kcp that has just started may know nobody for a while.
func TestKeeperKeepsATokenThatIsNotStoredYet(t *testing.T) {
	inAWorld(t, ofADay, func(w *world) {
		first := w.stored()
		k := w.running()
		w.east.change(func(d *downstreamSide) {
			d.fails = func(verb string) error {
				if verb == "patch" {
					return errApart
				}
				return nil
			}
		})
		w.passes(life * 97 / 100)
		second := k.current().value
		w.kcp.change(func(u *upstreamSide) { u.unknowing = true })
		_ = w.kcp.ask(k)
		w.passes(life / 20) // the first has ended
		w.kcp.change(func(u *upstreamSide) { u.unknowing = false })
		w.passes(refusedInterval)
		if second == first || w.stored() != first {
			t.Fatal("there is no new token, or it is stored")
		}
		w.inUse(k, second)
	})
}

// One shard of kcp may refuse what another accepts.
func TestKeeperLogsLittleWhenAnswersDiffer(t *testing.T) {
	inAWorld(t, ofADay, func(w *world) {
		k := w.running()
		for range 3600 {
			k.answered("Bearer "+k.current().value, time.Now(), 401)
			w.passes(100 * time.Millisecond)
			_ = w.kcp.ask(k)
			w.passes(100 * time.Millisecond)
		}
		if said := w.said("kcp refuses"); said < 2 || said > 73 {
			t.Errorf("said %d times in 12 minutes that kcp refuses, want at most once in 10 s", said)
		}
	})
}

func TestKeeperAnswered(t *testing.T) {
	cases := map[string]struct {
		reason  string
		before  bool
		token   string
		early   bool
		status  int
		refused bool
	}{
		"unauthorized":             {reason: "that is what it says", token: "now", status: 401, refused: true},
		"still unauthorized":       {reason: "nothing has changed", before: true, token: "now", status: 401, refused: true},
		"ok":                       {reason: "it works", before: true, token: "now", status: 200},
		"forbidden":                {reason: "kcp knows who asks", before: true, token: "now", status: 403},
		"not found":                {reason: "kcp has looked", before: true, token: "now", status: 404},
		"forbidden from the start": {reason: "kcp knows who asks", token: "now", status: 403},
		"a broken proxy":           {reason: "kcp was not asked", before: true, token: "now", status: 503, refused: true},
		"a busy proxy":             {reason: "kcp was not asked", before: true, token: "now", status: 429, refused: true},
		"the token before":         {reason: "it is not used any more", token: "old", status: 401},
		"the token before worked":  {reason: "it is not used any more", before: true, token: "old", status: 200, refused: true},
		"asked before":             {reason: "it was revoked meanwhile", before: true, token: "now", early: true, status: 200, refused: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			inAWorld(t, func() string { return "now" }, func(w *world) {
				k := w.keeper()
				asked := time.Now()
				w.passes(time.Second)
				if c.before {
					k.answered("Bearer now", time.Now(), 401)
				}
				w.passes(time.Second)
				if !c.early {
					asked = time.Now()
				}
				k.answered("Bearer "+c.token, asked, c.status)
				if k.Refused() != c.refused {
					t.Errorf("%s: refused is %t, want %t", c.reason, k.Refused(), c.refused)
				}
			})
		})
	}
}
