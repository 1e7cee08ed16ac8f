package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Count is what requests are counted by.
type Count struct {
	// Program is that of the Proxy, and Server the host that it knows the server by.
	Program, Server string
	// Verb, Group, Resource and Subresource are those of the Request.
	Verb, Group, Resource, Subresource string
	// Code is what the server answered, 0 where it has not.
	Code int
}

// Link is the way of one program to one server.
type Link struct {
	program string
	target  Target
	server  *http.Server
	// transport leads to the server.
	transport *http.Transport
	// incoming are connections that a client has been promised.
	incoming chan net.Conn
	closed   chan struct{}
	running  sync.WaitGroup
	// requests and responses hold what comes from the client, and what goes to it.
	requests, responses *gate

	mu      sync.Mutex
	conns   map[*heldConn]bool
	streams map[*stream]bool
	rules   []*installed
	counts  map[Count]int64
	// token is that of the last request, and asked when that came.
	token string
	asked time.Time
}

// connKey is the context's key of the client's connection.
type connKey struct{}

func newLink(program string, target Target, certificate tls.Certificate) *Link {
	l := &Link{
		program: program, target: target,
		transport: &http.Transport{
			TLSClientConfig: target.TLS, ForceAttemptHTTP2: true, DisableCompression: true, MaxIdleConnsPerHost: 100,
			DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext,
		},
		incoming: make(chan net.Conn), closed: make(chan struct{}),
		requests: newGate(), responses: newGate(),
		conns: map[*heldConn]bool{}, streams: map[*stream]bool{}, counts: map[Count]int64{},
	}
	l.server = &http.Server{
		Handler:     http.HandlerFunc(l.serve),
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		ErrorLog:    log.New(io.Discard, "", 0), // of connections that were reset
		IdleTimeout: 2 * time.Minute,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn.(*tls.Conn).NetConn())
		},
	}
	l.running.Go(func() { _ = l.server.ServeTLS(l, "", "") })
	return l
}

// Program is the name of the program.
func (l *Link) Program() string { return l.program }

// Server is the name by which the program knows the server.
func (l *Link) Server() string { return l.target.Host }

// take answers a client that wants to be connected.
func (l *Link) take(conn net.Conn) {
	held := &heldConn{Conn: conn, link: l, done: make(chan struct{})}
	l.mu.Lock()
	l.conns[held] = true
	l.mu.Unlock()
	l.requests.wait(held.done)
	// A client whose server does not listen is not to believe that it does.
	probe, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(context.Background(), "tcp", l.target.Server.Host)
	if err != nil {
		held.reset()
		return
	}
	_ = probe.Close()
	if _, err := io.WriteString(held, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		_ = held.Close()
		return
	}
	select {
	case l.incoming <- held:
	case <-l.closed:
		_ = held.Close()
	}
}

// Accept implements net.Listener.
func (l *Link) Accept() (net.Conn, error) {
	select {
	case conn := <-l.incoming:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *Link) Close() error { return nil }

// Addr implements net.Listener.
func (l *Link) Addr() net.Addr { return &net.TCPAddr{} }

// close ends the link.
func (l *Link) close() {
	close(l.closed)
	l.Reset()
	_ = l.server.Close()
	l.transport.CloseIdleConnections()
	l.running.Wait()
}

func (l *Link) forget(conn *heldConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, conn)
}

// Hold holds all that goes between the two, until release is called: requests do not arrive, responses do not, or neither.
func (l *Link) Hold(requests, responses bool) (release func()) {
	var releases []func()
	if requests {
		releases = append(releases, l.requests.hold())
	}
	if responses {
		releases = append(releases, l.responses.hold())
	}
	return func() {
		for _, release := range releases {
			release()
		}
	}
}

// Reset resets all connections of the program to the server.
func (l *Link) Reset() {
	l.mu.Lock()
	conns := slices.Collect(maps.Keys(l.conns))
	l.mu.Unlock()
	for _, conn := range conns {
		conn.reset()
	}
}

// Connections returns how many connections the program has to the server.
func (l *Link) Connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// LastToken returns the bearer token of the last request, whatever was answered, and when that came.
func (l *Link) LastToken() (token string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token, l.asked
}

// Counts returns how many requests have reached the server.
func (l *Link) Counts() map[Count]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.counts)
}

// Add lets a rule work until remove is called.
func (l *Link) Add(rule Rule) (remove func()) {
	in := &installed{Rule: rule, over: make(chan struct{})}
	l.mu.Lock()
	l.rules = append(l.rules, in)
	l.mu.Unlock()
	return sync.OnceFunc(func() {
		close(in.over)
		l.mu.Lock()
		l.rules = slices.DeleteFunc(l.rules, func(other *installed) bool { return other == in })
		l.mu.Unlock()
		l.wakeStreams()
	})
}

// EndWatches ends the open watches that match: with an answer as event, or without one by the end of the connection.
func (l *Link) EndWatches(match func(Request) bool, answer *Answer) {
	l.mu.Lock()
	var ended []*stream
	for s := range l.streams {
		if match == nil || match(s.request) {
			ended = append(ended, s)
		}
	}
	l.mu.Unlock()
	for _, s := range ended {
		s.end(answer)
	}
}

// effectOn notes a request, and adds up what the rules say of it.
func (l *Link) effectOn(request Request) effect {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.token, l.asked = request.Token, time.Now()
	var all effect
	for _, rule := range l.rules {
		if rule.matches(request) && (rule.Chance == nil || rule.Chance()) {
			all.add(rule)
		}
	}
	return all
}

// delayOf returns how much later the events of a watch are to come.
func (l *Link) delayOf(request Request) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var delay time.Duration
	for _, rule := range l.rules {
		if rule.matches(request) {
			delay += rule.Delay
		}
	}
	return delay
}

// isMute reports whether a watch is to hear nothing.
func (l *Link) isMute(request Request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.rules, func(rule *installed) bool { return rule.Mute && rule.matches(request) })
}

func (l *Link) wakeStreams() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.streams {
		s.wakeUp()
	}
}

// count counts a request that has been passed on.
func (l *Link) count(request Request, code int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[Count{
		Program: l.program, Server: l.target.Host, Verb: request.Verb,
		Group: request.Group, Resource: request.Resource, Subresource: request.Subresource, Code: code,
	}]++
}

// rewrite replaces the server's true URL where clients are to follow it.
func (l *Link) rewrite(request Request, body []byte) []byte {
	if !slices.Contains(l.target.Rewrite, request.Resource) {
		return body
	}
	return bytes.ReplaceAll(body, []byte(l.target.Server.String()), []byte("https://"+l.target.Host))
}
