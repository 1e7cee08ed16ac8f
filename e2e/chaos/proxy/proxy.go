package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// greetTimeout bounds how long a client may take to say where it wants to be connected to, and dialTimeout how long that
// takes.
const (
	greetTimeout = 30 * time.Second
	dialTimeout  = 5 * time.Second
)

// Proxy is the way of one program to all its servers.
type Proxy struct {
	name      string
	authority *Authority
	listener  net.Listener
	running   sync.WaitGroup

	mu    sync.Mutex
	links map[string]*Link
}

// New makes the proxy of a program, which listens at once. Close ends it.
func New(ctx context.Context, name string, authority *Authority) (*Proxy, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy of %s: %w", name, err)
	}
	p := &Proxy{name: name, authority: authority, listener: listener, links: map[string]*Link{}}
	p.running.Go(p.accept)
	return p, nil
}

// Env returns the variables by which a program uses the proxy.
func (p *Proxy) Env() []string {
	address := "http://" + p.listener.Addr().String()
	return []string{"HTTPS_PROXY=" + address, "https_proxy=" + address, "NO_PROXY=none.invalid", "no_proxy=none.invalid"}
}

// Target is a server that programs reach.
type Target struct {
	// Host is the name by which programs know it, at port 443. It must not be one of this machine's own, which clients reach
	// without a proxy.
	Host string
	// Server is the server's true URL.
	Server *url.URL
	// TLS is how the server is verified.
	TLS *tls.Config
	// Rewrite has the server's true URL be replaced by the one that programs know in what is read of these resources.
	Rewrite []string
}

// Link adds a server that the program reaches.
func (p *Proxy) Link(target Target) (*Link, error) {
	certificate, err := p.authority.issue(target.Host)
	if err != nil {
		return nil, err
	}
	link := newLink(p.name, target, certificate)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links[target.Host+":443"] = link
	return link, nil
}

// Close ends the proxy and all connections, and waits for that.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.mu.Lock()
	links := p.links
	p.links = nil
	p.mu.Unlock()
	for _, link := range links {
		link.close()
	}
	p.running.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.running.Go(func() { p.greet(conn) })
	}
}

// greet reads where the client wants to be connected to, and gives the connection to that Link.
func (p *Proxy) greet(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(greetTimeout))
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil || request.Method != http.MethodConnect {
		resetConn(conn)
		return
	}
	p.mu.Lock()
	link := p.links[request.Host]
	p.mu.Unlock()
	if link == nil {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 502 no server %s\r\n\r\n", request.Host)
		_ = conn.Close()
		return
	}
	_ = conn.SetDeadline(time.Time{})
	link.take(conn)
}
