package proxy

import (
	"net"
	"sync"
)

// gate lets through or holds.
type gate struct {
	mu sync.Mutex
	// holds counts who holds it, and opened is closed when that is nobody.
	holds  int
	opened chan struct{}
}

func newGate() *gate {
	g := &gate{opened: make(chan struct{})}
	close(g.opened)
	return g
}

// hold closes the gate until the function that it returns is called.
func (g *gate) hold() (release func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.holds == 0 {
		g.opened = make(chan struct{})
	}
	g.holds++
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.holds--; g.holds == 0 {
			close(g.opened)
		}
	})
}

// wait returns when the gate is open, or done is closed.
func (g *gate) wait(done <-chan struct{}) {
	for {
		g.mu.Lock()
		opened, isOpen := g.opened, g.holds == 0
		g.mu.Unlock()
		if isOpen {
			return
		}
		select {
		case <-opened:
		case <-done:
			return
		}
	}
}

// heldConn is a connection of a client, whose bytes the gates of its Link hold back. What has been held arrives when they
// open, as after a partition that the connection has survived.
type heldConn struct {
	net.Conn

	link *Link
	once sync.Once
	done chan struct{}
}

// Read returns what has come from the client, once it may arrive.
func (c *heldConn) Read(data []byte) (int, error) {
	n, err := c.Conn.Read(data)
	c.link.requests.wait(c.done)
	return n, err
}

// Write sends to the client, once that may be.
func (c *heldConn) Write(data []byte) (int, error) {
	c.link.responses.wait(c.done)
	return c.Conn.Write(data)
}

// Close ends the connection.
func (c *heldConn) Close() error {
	c.once.Do(func() {
		close(c.done)
		c.link.forget(c)
	})
	return c.Conn.Close()
}

// reset ends the connection with a RST, as when the other side is gone.
func (c *heldConn) reset() {
	resetConn(c.Conn)
	_ = c.Close()
}

func resetConn(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
