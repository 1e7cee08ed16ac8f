package daemon

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// Lease is the flags of leader election.
type Lease struct {
	// Duration is how long a Lease is valid that is not renewed. It is written in whole seconds.
	Duration time.Duration
	// RenewDeadline is how long after a renewal its holder writes.
	RenewDeadline time.Duration
	// RetryPeriod is how often the holder renews.
	RetryPeriod time.Duration
}

// NewLease returns the defaults: who is killed is replaced within some 3.5 s, for 40 renewals a minute.
func NewLease() Lease {
	return Lease{Duration: 3 * time.Second, RenewDeadline: 2500 * time.Millisecond, RetryPeriod: 1500 * time.Millisecond}
}

// AddFlags adds the flags.
func (l *Lease) AddFlags(flags *pflag.FlagSet) {
	flags.DurationVar(&l.Duration, "leader-elect-lease-duration", l.Duration, "How long a lease is valid that is not renewed: so long after the last renewal another replica takes over. Whole seconds.")
	flags.DurationVar(&l.RenewDeadline, "leader-elect-renew-deadline", l.RenewDeadline, "How long after its last renewal the holder goes on writing. After that it waits until it has renewed the lease, or has lost it.")
	flags.DurationVar(&l.RetryPeriod, "leader-elect-retry-period", l.RetryPeriod, "How often the holder renews the lease, each time with one write. A replica that stands by reads it three times as often.")
}

// Validate returns what is wrong with the flags.
func (l *Lease) Validate() error {
	if l.Duration <= l.RenewDeadline || l.RenewDeadline <= l.RetryPeriod || l.RetryPeriod <= 0 {
		return fmt.Errorf("--leader-elect-lease-duration (%s) must exceed --leader-elect-renew-deadline (%s), that --leader-elect-retry-period (%s), and that 0", l.Duration, l.RenewDeadline, l.RetryPeriod)
	}
	if l.Duration%time.Second != 0 {
		return fmt.Errorf("--leader-elect-lease-duration: %s, expected whole seconds", l.Duration)
	}
	return nil
}

// LeaseConfig returns a copy of a configuration for the client that Lead takes. It has connections of its own, of HTTP/1.1: of
// one that hangs, no more is lost than the request that waits on it.
func LeaseConfig(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.NextProtos = []string{"http/1.1"}
	return config
}

// Lead stands by for the Lease of that name and runs work while it holds it, again and again. It gives the Lease back when ctx
// or the work ends, and returns the work's error. When it loses the Lease, it stops the work, waits for it, and stands by
// again. The Fence lets the work write while the Lease is certainly held: when the Lease cannot be renewed and nobody else takes it, the
// work goes on and its writes wait. The client must not pass the Fence.
func (l *Lease) Lead(ctx context.Context, client kubernetes.Interface, namespace, name string, fence *Fence, work func(context.Context) error) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("identity for leader election: %w", err)
	}
	if err := l.Validate(); err != nil {
		return fmt.Errorf("leader election: %w", err)
	}
	return l.lead(ctx, &election{
		Lease: *l, client: client.CoordinationV1().Leases(namespace), name: name,
		identity: host + "_" + string(uuid.NewUUID()), fence: fence,
	}, work)
}

// lead is Lead.
func (l *Lease) lead(ctx context.Context, e *election, work func(context.Context) error) error {
	for {
		logger := klog.FromContext(ctx).WithValues("lease", e.name, "identity", e.identity)
		logger.Info("Standing by for the lease")
		if !e.acquire(ctx) {
			return nil // ended while it stood by
		}
		logger.Info("Holding the lease")
		isLost, err := e.workWhileHeld(ctx, work)
		if !isLost {
			return err
		}
		logger.Info("The lease was lost, and what was under way has ended", "error", err)
	}
}
