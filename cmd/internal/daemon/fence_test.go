package daemon

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"
)

func TestFencePass(t *testing.T) {
	cases := map[string]struct {
		reason  string
		prepare func(f *Fence)
		want    error
		after   time.Duration
	}{
		"never held":          {"another one may be at work", func(*Fence) {}, ErrNotLeading, 0},
		"held":                {"it was renewed in time", func(f *Fence) { f.hold(time.Now().Add(time.Second)) }, nil, 0},
		"held no more":        {"another one has it", func(f *Fence) { f.hold(time.Now().Add(time.Second)); f.hold(time.Time{}) }, ErrNotLeading, 0},
		"renewed meanwhile":   {"nobody else has had it", func(f *Fence) { f.hold(time.Now()); later(f, time.Minute, time.Now().Add(2*time.Minute)) }, nil, time.Minute},
		"lost meanwhile":      {"another one has it by now", func(f *Fence) { f.hold(time.Now()); later(f, time.Minute, time.Time{}) }, ErrNotLeading, time.Minute},
		"renewed, but before": {"the answer came late", func(f *Fence) { f.hold(time.Now()); later(f, time.Minute, time.Now().Add(time.Second)) }, context.DeadlineExceeded, time.Hour},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, began := &Fence{}, time.Now()
				c.prepare(f)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				if err := f.pass(ctx); !errors.Is(err, c.want) || time.Since(began) != c.after {
					t.Errorf("%s: got %v after %s, want %v after %s", c.reason, err, time.Since(began), c.want, c.after)
				}
			})
		})
	}
}

// later changes until when the lease is held, after a time.
func later(f *Fence, after time.Duration, until time.Time) {
	time.AfterFunc(after, func() { f.hold(until) })
}

func TestFenceGuard(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer server.Close()
	f := &Fence{}
	client, err := rest.HTTPClientFor(f.Guard(&rest.Config{Host: server.URL}))
	if err != nil {
		t.Fatal(err)
	}
	send := func(method string) error {
		body := &closing{Reader: strings.NewReader("{}")}
		request, err := http.NewRequestWithContext(t.Context(), method, server.URL, body)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err == nil {
			_ = response.Body.Close()
		}
		if !body.isClosed {
			t.Errorf("the body of a %s is left open", method)
		}
		return err
	}
	writes := []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	for _, method := range writes {
		if err := send(method); !errors.Is(err, ErrNotLeading) {
			t.Errorf("%s without the lease gives %v, want %v", method, err, ErrNotLeading)
		}
	}
	if err := send(http.MethodGet); err != nil || asked != 1 {
		t.Errorf("the server was asked %d times, want once, to read (%v)", asked, err)
	}
	f.hold(time.Now().Add(time.Hour))
	for _, method := range writes {
		if err := send(method); err != nil {
			t.Errorf("%s with the lease gives %v", method, err)
		}
	}
}

// closing is a body that knows whether it was closed.
type closing struct {
	io.Reader

	isClosed bool
}

func (c *closing) Close() error {
	c.isClosed = true
	return nil
}
