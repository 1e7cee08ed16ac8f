package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// ground is a server, a client that reaches it as server.test, and what is between.
type ground struct {
	*Link

	client *http.Client
	// writes counts the writes that the server has carried out.
	writes atomic.Int64
	// events are what watches hear.
	events chan string
	server *httptest.Server
}

// newGround starts a server that answers lists, watches and writes, with HTTP/2 or without.
func newGround(t *testing.T, isHTTP2 bool) *ground {
	t.Helper()
	g := &ground{events: make(chan string, 10)}
	g.server = httptest.NewUnstartedServer(http.HandlerFunc(g.serve))
	g.server.EnableHTTP2, g.server.Config.ErrorLog = isHTTP2, log.New(io.Discard, "", 0)
	g.server.StartTLS()
	t.Cleanup(g.server.Close)
	authority, err := NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := New(t.Context(), "program", authority)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(g.events)
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	serverURL, err := url.Parse(g.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(g.server.Certificate())
	g.Link, err = proxy.Link(Target{
		Host: "server.test", Server: serverURL, TLS: &tls.Config{RootCAs: trusted}, Rewrite: []string{"shards"},
	})
	if err != nil {
		t.Fatal(err)
	}
	proxyURL, err := url.Parse(strings.TrimPrefix(proxy.Env()[0], "HTTPS_PROXY="))
	if err != nil {
		t.Fatal(err)
	}
	known := x509.NewCertPool()
	known.AppendCertsFromPEM(authority.PEM())
	transport := &http.Transport{Proxy: http.ProxyURL(proxyURL), TLSClientConfig: &tls.Config{RootCAs: known}, ForceAttemptHTTP2: isHTTP2}
	t.Cleanup(transport.CloseIdleConnections)
	g.client = &http.Client{Transport: transport}
	return g
}

// serve is the server: watches hear the events, writes are counted, and lists name the query and the server.
func (g *ground) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodGet:
		_, _ = io.Copy(io.Discard, r.Body)
		g.writes.Add(1)
		_, _ = io.WriteString(w, `{"kind":"Done"}`)
	case r.URL.Query().Get("watch") == "true":
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case event, isOpen := <-g.events:
				if !isOpen {
					return
				}
				_, _ = fmt.Fprintf(w, `{"type":"MODIFIED","object":{"name":%q}}`+"\n", event)
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{
			"kind": "List", "items": []any{"one"}, "query": r.URL.RawQuery, "accept": r.Header.Get("Accept"), "at": g.server.URL + "/x",
		})
	}
}

const (
	listPath  = "/api/v1/namespaces/shop/pods"
	watchPath = listPath + "?watch=true"
)

// do sends a request and returns the code and the body.
func (g *ground) do(t *testing.T, method, path string) (int, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return g.doWithin(ctx, method, path)
}

func (g *ground) doWithin(ctx context.Context, method, path string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, method, "https://server.test"+path, strings.NewReader("{}"))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Accept", "application/vnd.kubernetes.protobuf, application/json")
	request.Header.Set("Authorization", "Bearer secret")
	response, err := g.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// watch opens a watch, whose lines come through the channel until it ends.
func (g *ground) watch(t *testing.T) <-chan string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://server.test"+watchPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := g.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	lines := make(chan string, 10)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(response.Body)
		for scanner.Scan() {
			lines <- scanner.Text()
		}
		if err := scanner.Err(); err != nil {
			lines <- "broken"
		}
	}()
	return lines
}

// hears fails unless the next line has the words.
func hears(t *testing.T, lines <-chan string, words string) {
	t.Helper()
	select {
	case line, isOpen := <-lines:
		if !isOpen && words != "" || !strings.Contains(line, words) {
			t.Fatalf("heard %q, want %q", line, words)
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("heard nothing, want %q", words)
	}
}

// hearsNothing fails when there is a line.
func hearsNothing(t *testing.T, lines <-chan string) {
	t.Helper()
	select {
	case line, isOpen := <-lines:
		t.Fatalf("heard %q (open: %t), want nothing", line, isOpen)
	case <-time.After(100 * time.Millisecond):
	}
}

// each runs a case over both versions of HTTP.
func each(t *testing.T, run func(t *testing.T, g *ground)) {
	t.Helper()
	t.Run("HTTP/1.1", func(t *testing.T) { run(t, newGround(t, false)) })
	t.Run("HTTP/2", func(t *testing.T) { run(t, newGround(t, true)) })
}

func TestLinkPasses(t *testing.T) {
	each(t, func(t *testing.T, g *ground) {
		code, body, err := g.do(t, http.MethodGet, listPath+"?limit=500")
		if err != nil || code != http.StatusOK || !strings.Contains(body, `"query":"limit=500"`) || !strings.Contains(body, `"accept":"application/json"`) {
			t.Fatalf("got %d %s, %v", code, body, err)
		}
		if _, _, err := g.do(t, http.MethodPatch, listPath+"/web/status"); err != nil {
			t.Fatal(err)
		}
		lines := g.watch(t)
		g.events <- "a"
		hears(t, lines, `"a"`)
		if token, at := g.LastToken(); token != "" || at.IsZero() {
			t.Errorf("the watch had the token %q at %s", token, at)
		}
		_, body, err = g.do(t, http.MethodGet, "/clusters/root/apis/core.kcp.io/v1alpha1/shards")
		if err != nil || !strings.Contains(body, `"at":"https://server.test/x"`) {
			t.Errorf("URLs lead past the proxy: %s, %v", body, err)
		}
		counts := g.Counts()
		for _, want := range []Count{
			{Verb: "list", Resource: "pods", Code: 200},
			{Verb: "patch", Resource: "pods", Subresource: "status", Code: 200},
			{Verb: "watch", Resource: "pods", Code: 200},
			{Verb: "list", Group: "core.kcp.io", Resource: "shards", Code: 200},
		} {
			want.Program, want.Server = "program", "server.test"
			if counts[want] != 1 {
				t.Errorf("%+v is counted %d times, of %v", want, counts[want], counts)
			}
		}
	})
}

func TestLinkHolds(t *testing.T) {
	each(t, func(t *testing.T, g *ground) {
		lines := g.watch(t)
		g.events <- "a"
		hears(t, lines, `"a"`)
		if _, _, err := g.do(t, http.MethodGet, listPath); err != nil { // there is a connection for what follows
			t.Fatal(err)
		}

		release := g.Hold(false, true)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, _, err := g.doWithin(ctx, http.MethodPost, listPath); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a response came through: %v", err)
		}
		if got := g.writes.Load(); got != 1 {
			t.Errorf("%d requests arrived, want 1", got)
		}
		g.events <- "b"
		hearsNothing(t, lines)
		release()
		hears(t, lines, `"b"`)

		release = g.Hold(true, false)
		ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, _, err := g.doWithin(ctx, http.MethodPost, listPath); err == nil {
			t.Error("an answer came to a request that did not arrive")
		}
		if got := g.writes.Load(); got != 1 {
			t.Errorf("%d requests arrived, want 1", got)
		}
		release()
		if _, _, err := g.do(t, http.MethodPost, listPath); err != nil {
			t.Errorf("after the partition: %v", err)
		}
	})
}

func TestLinkResets(t *testing.T) {
	each(t, func(t *testing.T, g *ground) {
		lines := g.watch(t)
		if g.Connections() != 1 {
			t.Errorf("there are %d connections", g.Connections())
		}
		g.Reset()
		hears(t, lines, "broken")
		if g.Connections() != 0 {
			t.Errorf("there are still %d connections", g.Connections())
		}
		if _, _, err := g.do(t, http.MethodGet, listPath); err != nil {
			t.Errorf("over a new connection: %v", err)
		}
	})
}

func TestLinkToDeadServer(t *testing.T) {
	g := newGround(t, true)
	if _, _, err := g.do(t, http.MethodGet, listPath); err != nil {
		t.Fatal(err)
	}
	g.server.CloseClientConnections()
	g.server.Listener.Close()
	for range 2 { // over the open connection, and over a new one
		if code, _, err := g.do(t, http.MethodGet, listPath); err == nil {
			t.Errorf("a dead server answered %d", code)
		}
	}
}

func TestRules(t *testing.T) {
	isWrite := func(request Request) bool { return request.IsWrite() }
	cases := map[string]struct {
		rule         Rule
		method, path string
		// code and words are of the answer, 0 for none; writes is how many writes the server sees.
		code   int
		words  string
		writes int64
	}{
		"an error":                              {Rule{Answer: Fails(503)}, http.MethodGet, listPath, 503, "ServiceUnavailable", 0},
		"an error that is no Status":            {Rule{Answer: &Answer{Code: 404, Message: "404 page not found", IsPlain: true}}, http.MethodGet, listPath, 404, "404 page not found\n", 0},
		"only for others":                       {Rule{Match: isWrite, Answer: Fails(503)}, http.MethodGet, listPath, 200, "one", 0},
		"by chance not":                         {Rule{Chance: func() bool { return false }, Answer: Fails(503)}, http.MethodGet, listPath, 200, "one", 0},
		"410 for the rest of a list":            {Rule{Answer: Gone(false)}, http.MethodGet, listPath + "?continue=x", 410, "Expired", 0},
		"410 as an event":                       {Rule{Answer: Gone(true)}, http.MethodGet, watchPath, 200, `"type":"ERROR"`, 0},
		"a write that times out":                {Rule{Match: isWrite, After: AfterTimeout}, http.MethodPut, listPath + "/web", 504, "Timeout", 1},
		"a write that ends in a reset":          {Rule{Match: isWrite, After: AfterReset}, http.MethodPut, listPath + "/web", 0, "", 1},
		"a write that is never answered":        {Rule{Match: isWrite, After: AfterNothing}, http.MethodPut, listPath + "/web", 0, "", 1},
		"an answer that breaks off":             {Rule{Cut: 0.5}, http.MethodGet, listPath, 0, "", 0},
		"smaller pages":                         {Rule{PageSize: 2}, http.MethodGet, listPath + "?limit=500", 200, `"query":"limit=2"`, 0},
		"no pages for who asks for none":        {Rule{PageSize: 2}, http.MethodGet, listPath, 200, `"query":""`, 0},
		"something else in an answer":           {Rule{Edit: func(object map[string]any) { object["items"] = []any{"two"} }}, http.MethodGet, listPath, 200, "two", 0},
		"latency leaves the answer as is":       {Rule{Delay: 20 * time.Millisecond}, http.MethodGet, listPath, 200, "one", 0},
		"429 says when to try again":            {Rule{Answer: &Answer{Code: 429, RetryAfter: 2}}, http.MethodGet, listPath, 429, `"retryAfterSeconds":2`, 0},
		"the mute do not mute what is no watch": {Rule{Mute: true}, http.MethodGet, listPath, 200, "one", 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, g *ground) {
				remove := g.Add(c.rule)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				code, body, err := g.doWithin(ctx, c.method, c.path)
				if (c.code == 0) != (err != nil) || c.code != 0 && c.code != code || !strings.Contains(body, c.words) {
					t.Errorf("got %d %q, %v", code, body, err)
				}
				if got := g.writes.Load(); got != c.writes {
					t.Errorf("the server saw %d writes, want %d", got, c.writes)
				}
				remove()
				if c.rule.After == AfterNothing { // its end resets the connection of a client that has not given up yet
					_, _, _ = g.do(t, http.MethodGet, listPath)
				}
				if code, body, err := g.do(t, http.MethodGet, listPath); err != nil || code != http.StatusOK || !strings.Contains(body, "one") {
					t.Errorf("afterwards: %d %q, %v", code, body, err)
				}
			})
		})
	}
}

func TestRulesOfWatches(t *testing.T) {
	each(t, func(t *testing.T, g *ground) {
		lines := g.watch(t)
		remove := g.Add(Rule{Match: func(request Request) bool { return request.Verb == "watch" }, Mute: true})
		g.events <- "a"
		hearsNothing(t, lines)
		remove()
		hears(t, lines, `"a"`)

		remove = g.Add(Rule{Delay: 150 * time.Millisecond})
		g.events <- "b"
		hearsNothing(t, lines)
		hears(t, lines, `"b"`)
		remove()

		g.EndWatches(func(request Request) bool { return request.Resource == "nodes" }, Gone(true))
		hearsNothing(t, lines)
		g.EndWatches(func(request Request) bool { return request.Namespace == "shop" }, Gone(true))
		hears(t, lines, `"code":410`)
		hears(t, lines, "")

		remove = g.Add(Rule{Edit: func(object map[string]any) { object["name"] = "edited" }})
		defer remove()
		lines = g.watch(t)
		g.events <- "c"
		hears(t, lines, "edited")
		g.EndWatches(nil, nil)
		hears(t, lines, "broken")
	})
}

func TestParse(t *testing.T) {
	cases := map[string]struct {
		method, target string
		want           string
		workspace      string
		isVirtual      bool
		isWrite        bool
	}{
		"a list":                   {"GET", "/api/v1/namespaces/shop/configmaps", "list configmaps shop", "", false, false},
		"a watch":                  {"GET", "/apis/apps/v1/deployments?watch=true", "watch deployments", "", false, false},
		"a status":                 {"PATCH", "/apis/apps/v1/namespaces/shop/deployments/web/status", "patch deployments/status shop/web", "", false, true},
		"a namespace":              {"GET", "/api/v1/namespaces/shop", "get namespaces shop", "", false, false},
		"all namespaces":           {"GET", "/api/v1/namespaces", "list namespaces", "", false, false},
		"the end of a namespace":   {"PUT", "/api/v1/namespaces/shop/finalize", "update namespaces/finalize shop", "", false, true},
		"a workspace":              {"POST", "/clusters/root:tmc/api/v1/namespaces/default/events", "create events default", "root:tmc", false, true},
		"a virtual workspace":      {"GET", "/services/apiexport/2jk/cluster-east/clusters/*/apis/apps/v1/deployments?watch=1", "watch deployments", "*", true, false},
		"one object":               {"DELETE", "/apis/batch/v1/namespaces/shop/jobs/once", "delete jobs shop/once", "", false, true},
		"all of a kind":            {"DELETE", "/apis/batch/v1/namespaces/shop/jobs", "deletecollection jobs shop", "", false, true},
		"discovery":                {"GET", "/clusters/root/apis/apps/v1", "get /clusters/root/apis/apps/v1", "root", false, false},
		"no resource":              {"GET", "/version", "get /version", "", false, false},
		"what is no resource":      {"POST", "/somewhere", "post /somewhere", "", false, true},
		"a method that is unknown": {"OPTIONS", "/api/v1/pods", "options pods", "", false, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := parse(httptest.NewRequest(c.method, c.target, nil))
			if got.String() != c.want || got.Workspace != c.workspace || got.IsVirtual != c.isVirtual || got.IsWrite() != c.isWrite {
				t.Errorf("got %q in %q, virtual %t, write %t", got.String(), got.Workspace, got.IsVirtual, got.IsWrite())
			}
		})
	}
}
