package framework

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// Ports are taken from below the range that Linux gives to outgoing connections (32768 and up): a
// connection of somebody else cannot land on one between its choice and its use.
const (
	firstPort = 20000
	lastPort  = 32767
)

// PortLease is a number of TCP ports on this machine that no other lease holds, in this process or in
// another one of the same user.
type PortLease struct {
	file  *os.File
	ports []int
}

// ReservePorts leases count ports on which nothing listens. They stay leased until Release, or until
// the process ends. It fails when there are not that many left.
func ReservePorts(count int) (*PortLease, error) {
	path := filepath.Join(os.TempDir(), "tmc-ports-"+strconv.Itoa(os.Getuid()))
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("reserve ports: %w", err)
	}
	lease := &PortLease{file: file}
	// Start anywhere, so that leases side by side seldom try the same port.
	size := lastPort - firstPort + 1
	offset := rand.IntN(size)
	for i := 0; i < size && len(lease.ports) < count; i++ {
		port := firstPort + (offset+i)%size
		err := lockByte(file, port)
		if errors.Is(err, errLocked) {
			continue
		}
		if err != nil {
			return nil, errors.Join(err, lease.Release())
		}
		if !portUnused(port) {
			continue // its lock is kept until the release, which does no harm
		}
		lease.ports = append(lease.ports, port)
	}
	if len(lease.ports) < count {
		err := fmt.Errorf("reserve ports: found only %d of %d free ones", len(lease.ports), count)
		return nil, errors.Join(err, lease.Release())
	}
	return lease, nil
}

// Ports returns the leased ports, always in the same order.
func (l *PortLease) Ports() []int { return l.ports }

// Release gives the ports back. It must be called once, after whatever used them has ended.
func (l *PortLease) Release() error {
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("release ports: %w", err)
	}
	return nil
}

// loopback is where everything listens that nobody else has to reach.
const loopback = "127.0.0.1"

// portUnused reports whether a server could listen on the port, on the loopback address and on all.
func portUnused(port int) bool {
	for _, host := range []string{loopback, ""} {
		// A listener is there or not at once: there is nothing to cancel.
		listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return false
		}
		if err := listener.Close(); err != nil {
			return false
		}
	}
	return true
}
