package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestHealthAndMetricsHandlers(t *testing.T) {
	ready := false
	health, metrics := health(func() bool { return ready }), metrics()
	answers := func(handler http.Handler, path string) int {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return recorder.Code
	}
	cases := map[string]struct {
		reason  string
		handler http.Handler
		path    string
		ready   bool
		want    int
	}{
		"Alive":                    {"it runs", health, "/healthz", false, 200},
		"not ready":                {"it does not work yet", health, "/readyz", false, 503},
		"Ready":                    {"it works", health, "/readyz", true, 200},
		"metrics with health":      {"kubelets ask for health from anywhere, and so can everybody", health, "/metrics", true, 404},
		"profiles with health":     {"they tell what is in memory", health, "/debug/pprof/heap", true, 404},
		"Metrics":                  {"who scrapes is let in", metrics, "/metrics", true, 200},
		"health with metrics":      {"it has an address of its own", metrics, "/healthz", true, 404},
		"profiles with metrics":    {"nobody has asked for them", metrics, "/debug/pprof/heap", true, 404},
		"nothing else for scraper": {"there is nothing", metrics, "/", true, 404},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			ready = c.ready
			if got := answers(c.handler, c.path); got != c.want {
				t.Errorf("%s: %s answers %d, want %d", c.reason, c.path, got, c.want)
			}
		})
	}
}

func TestRunFailsWhenAnAddressIsTaken(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err = Run(ctx, Config{Address: "127.0.0.1:0", MetricsAddress: taken.Addr().String(), Ready: func() bool { return true }})
	var failed *net.OpError
	if !errors.As(err, &failed) || failed.Op != "listen" {
		t.Errorf("got %v, want that the address of metrics cannot be listened on", err)
	}
}
