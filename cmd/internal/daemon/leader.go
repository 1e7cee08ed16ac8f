package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// ErrLeadershipLost ends a program that has lost its lease: another one may be doing its work.
var ErrLeadershipLost = errors.New("the lease of leader election was lost")

// Lease is the flags of leader election.
type Lease struct {
	// Duration, RenewDeadline and RetryPeriod are those of client-go's
	// LeaderElectionConfig.
	Duration, RenewDeadline, RetryPeriod time.Duration
}

// NewLease returns the defaults, which are those of Kubernetes' own controllers.
func NewLease() Lease {
	return Lease{Duration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second}
}

// AddFlags adds the flags.
func (l *Lease) AddFlags(flags *pflag.FlagSet) {
	flags.DurationVar(&l.Duration, "leader-elect-lease-duration", l.Duration, "How long a lease is valid that is not renewed.")
	flags.DurationVar(&l.RenewDeadline, "leader-elect-renew-deadline", l.RenewDeadline, "How long the holder tries to renew before it gives up.")
	flags.DurationVar(&l.RetryPeriod, "leader-elect-retry-period", l.RetryPeriod, "How long to wait between tries.")
}

// Validate returns what is wrong with the flags.
func (l *Lease) Validate() error {
	if l.Duration <= l.RenewDeadline || l.RenewDeadline <= l.RetryPeriod || l.RetryPeriod <= 0 {
		return fmt.Errorf("--leader-elect-lease-duration (%s) must exceed --leader-elect-renew-deadline (%s), that --leader-elect-retry-period (%s), and that 0", l.Duration, l.RenewDeadline, l.RetryPeriod)
	}
	return nil
}

// Lead waits for the Lease of that name, runs work while it holds the Lease, and gives it back when ctx or the work ends.
// It returns the work's error, and ErrLeadershipLost when it loses the Lease.
func (l *Lease) Lead(ctx context.Context, client kubernetes.Interface, namespace, name string, work func(context.Context) error) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("identity for leader election: %w", err)
	}
	electing, cancel := context.WithCancel(ctx)
	defer cancel()
	// The elector runs the work in a goroutine of its own and does not wait for it: working is locked while it runs.
	var working sync.Mutex
	var worked error
	isOver := false // the work has ended by itself
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: name,
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: name},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())},
		},
		LeaseDuration:   l.Duration,
		RenewDeadline:   l.RenewDeadline,
		RetryPeriod:     l.RetryPeriod,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				working.Lock()
				defer working.Unlock()
				worked = work(ctx)
				isOver = ctx.Err() == nil
				cancel() // the lease ends with the work
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("leader election: %w", err)
	}
	elector.Run(electing)
	cancel()
	working.Lock() // the work ends with the lease
	defer working.Unlock()
	if ctx.Err() == nil && !isOver {
		return errors.Join(ErrLeadershipLost, worked)
	}
	return worked
}
