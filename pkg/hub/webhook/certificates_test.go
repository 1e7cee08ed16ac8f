package webhook

import (
	"crypto/x509"
	"maps"
	"strings"
	"testing"
	"time"
)

const host = "hub.example.com"

// start is when the tests begin.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// world is the Secret and the configuration, and what keeps them.
type world struct {
	now          time.Time
	data         map[string][]byte
	trusted      []byte
	trustedSince time.Time
	host         string
}

// finish carries out plans until there is nothing more to do, and returns when to check again. It verifies after each
// step that what is served is trusted.
func (w *world) finish(tb testing.TB) time.Duration {
	tb.Helper()
	for range 10 {
		read, err := decode(w.data)
		if err != nil {
			tb.Fatal(err)
		}
		next, err := situation{now: w.now, kept: read, trusted: w.trusted, trustedSince: w.trustedSince, host: w.host}.next()
		if err != nil {
			tb.Fatal(err)
		}
		switch {
		case next.kept != nil:
			if w.data, err = next.kept.encode(); err != nil {
				tb.Fatal(err)
			}
		case next.trusted != nil:
			w.trusted, w.trustedSince = next.trusted, w.now
		default:
			return next.again
		}
		w.check(tb)
	}
	tb.Fatal("there is always something to do")
	return 0
}

// check fails when what is served is not trusted by who has trusted nothing newer.
func (w *world) check(tb testing.TB) {
	tb.Helper()
	if served := w.serving(tb); served != nil {
		verify(tb, served.certificate, w.trusted, w.host, w.now)
	}
}

func (w *world) serving(tb testing.TB) *pair {
	tb.Helper()
	read, err := decode(w.data)
	if err != nil {
		tb.Fatal(err)
	}
	return read.serving
}

// verify does what kcp does when it connects.
func verify(tb testing.TB, served *x509.Certificate, trusted []byte, name string, now time.Time) {
	tb.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(trusted)
	if _, err := served.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, CurrentTime: now}); err != nil {
		tb.Fatalf("at %s: %v", now, err)
	}
}

func TestPlanOverYearsHasNoGap(t *testing.T) {
	t.Parallel()
	w := &world{now: start, host: host}
	w.finish(t)
	if w.serving(t) == nil {
		t.Fatal("nothing is served at the start")
	}
	var authorities, certificates int
	lastTrusted, lastServed := string(w.trusted), w.serving(t).certificate
	for w.now.Before(start.Add(3 * authorityLife)) {
		// What kcp trusted a moment ago must do for what is served now: it reads it from a cache.
		before := w.trusted
		w.now = w.now.Add(12 * time.Hour)
		w.finish(t)
		served := w.serving(t).certificate
		verify(t, served, before, host, w.now)
		if string(w.trusted) != lastTrusted {
			authorities, lastTrusted = authorities+1, string(w.trusted)
		}
		if !served.Equal(lastServed) {
			certificates, lastServed = certificates+1, served
		}
		if count := strings.Count(lastTrusted, "BEGIN"); count > 2 {
			t.Fatalf("%d authorities are trusted", count)
		}
	}
	// Every authority changes the bundle when it comes and when it goes.
	if authorities < 6 || authorities > 9 || certificates < 50 || certificates > 60 {
		t.Errorf("in three years the bundle changed %d times and the certificate %d times", authorities, certificates)
	}
}

func TestPlanAtRestWritesNothing(t *testing.T) {
	t.Parallel()
	w := &world{now: start, host: host}
	w.finish(t)
	before := string(w.data[authoritiesKey]) + string(w.data["tls.crt"]) + string(w.trusted)
	w.now = w.now.Add(24 * time.Hour)
	if again := w.finish(t); again <= 0 || again > checkInterval {
		t.Errorf("it looks again after %s", again)
	}
	if string(w.data[authoritiesKey])+string(w.data["tls.crt"])+string(w.trusted) != before {
		t.Error("something was written")
	}
}

func TestPlanRenewsWhen(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*world){
		"the host is another":        func(w *world) { w.host = "192.0.2.1" },
		"two thirds are over":        func(w *world) { w.now = w.now.Add(servingLife*2/3 + time.Hour) },
		"the certificate is gone":    func(w *world) { delete(w.data, "tls.crt") },
		"everything has expired":     func(w *world) { w.now = w.now.Add(2 * authorityLife) },
		"the Secret was made empty":  func(w *world) { w.data = nil },
		"somebody emptied the trust": func(w *world) { w.trusted, w.data = nil, nil },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{now: start, host: host}
			w.finish(t)
			before := w.serving(t).certificate
			change(w)
			// What is served is out of date until it is put right.
			if read, err := decode(w.data); err != nil || read.serving == nil || w.now.After(read.serving.certificate.NotAfter) || w.host != host {
				delete(w.data, "tls.crt")
			}
			w.finish(t)
			after := w.serving(t)
			if after == nil || after.certificate.Equal(before) {
				t.Fatal("there is no new certificate")
			}
			verify(t, after.certificate, w.trusted, w.host, w.now)
		})
	}
}

func TestPlanNewAuthority(t *testing.T) {
	t.Parallel()
	w := &world{now: start, host: host}
	w.finish(t)
	w.now = start.Add(authorityLife * 2 / 3)
	delete(w.data, "tls.crt")
	old := string(w.trusted)
	w.finish(t)
	if !strings.HasPrefix(string(w.trusted), old) || len(w.trusted) == len(old) {
		t.Fatal("the new authority is not beside the old one")
	}
	verify(t, w.serving(t).certificate, []byte(old), host, w.now)
	w.now = w.now.Add(trustDelay)
	delete(w.data, "tls.crt")
	w.finish(t)
	verify(t, w.serving(t).certificate, w.trusted[len(old):], host, w.now)
}

func TestDecode(t *testing.T) {
	t.Parallel()
	w := &world{now: start, host: host}
	w.finish(t)
	other := &world{now: start, host: host}
	other.finish(t)
	for name, change := range map[string]func(map[string][]byte){
		"no certificate at all": func(d map[string][]byte) { d[authoritiesKey] = []byte("x") },
		"no key":                func(d map[string][]byte) { d[authorityKeysKey] = nil },
		"another's key":         func(d map[string][]byte) { d["tls.key"] = other.data["tls.key"] },
	} {
		data := maps.Clone(w.data)
		change(data)
		if _, err := decode(data); err == nil {
			t.Errorf("%s: there is no error", name)
		}
	}
}
