package framework

import (
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
)

func TestPortsAreLeasedToOneHolder(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	const holders, count = 20, 10
	leases := make([]*PortLease, holders)
	var group sync.WaitGroup
	for i := range leases {
		group.Go(func() {
			lease, err := ReservePorts(count)
			if err != nil {
				t.Errorf("reserve ports: %v", err)
				return
			}
			leases[i] = lease
		})
	}
	group.Wait()
	var all []int
	for _, lease := range leases {
		if lease == nil {
			continue
		}
		all = append(all, lease.Ports()...)
		if err := lease.Release(); err != nil {
			t.Errorf("release: %v", err)
		}
	}
	slices.Sort(all)
	if unique := slices.Compact(slices.Clone(all)); len(unique) != holders*count {
		t.Errorf("%d different ports among %d: %v", len(unique), len(all), all)
	}
}

func TestPortsAreFreeAfterRelease(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	lease, err := ReservePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	port := lease.Ports()[0]
	other, err := ReservePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Release() }()
	if err := lockByte(other.file, port); !errors.Is(err, errLocked) {
		t.Errorf("lock of a leased port: got error %v, want %v", err, errLocked)
	}
	if err := lease.Release(); err != nil {
		t.Fatal(err)
	}
	if err := lockByte(other.file, port); err != nil {
		t.Errorf("lock of a released port: %v", err)
	}
}

func TestPortsInUseAreNotLeased(t *testing.T) {
	for _, host := range []string{"127.0.0.1", ""} {
		listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		_, text, err := net.SplitHostPort(listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		if portUnused(port) {
			t.Errorf("port %d with a listener on %q counts as unused", port, host)
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		if !portUnused(port) {
			t.Errorf("port %d counts as used after the end of its listener", port)
		}
	}
}
