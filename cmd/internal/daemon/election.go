package daemon

import (
	"context"
	"errors"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// Why this is not client-go's leaderelection: there, who loses a Lease may only end; a holder that cannot reach the server for
// RenewDeadline has lost it, although nobody else has it; and one that stands by looks at random times, up to 2.2 periods
// apart, so that a Lease has to be renewed twice as often for the same time without a leader. What is in the Lease is the
// same, and each understands the other.

// election is one program's part in an election.
type election struct {
	Lease

	client         coordinationclient.LeaseInterface
	name, identity string
	fence          *Fence
	// held is the Lease as this program wrote it last, while it holds it.
	held *coordinationv1.Lease
}

const (
	// looks is how often one that stands by looks in each RetryPeriod.
	looks = 3
	// retryAfter is the longest wait after a renewal that failed.
	retryAfter = 250 * time.Millisecond
	// releaseTimeout bounds giving the Lease back.
	releaseTimeout = 2 * time.Second
)

// acquire stands by until this program holds the Lease, and reports whether it does; it does not when ctx has ended.
func (e *election) acquire(ctx context.Context) bool {
	var seen sighting
	unread := controller.Outage{Begins: "Cannot read or take the lease, will try again", Ends: "The lease can be read again"}
	for {
		left, isHeld, err := e.look(ctx, &seen)
		switch {
		case isHeld:
			return true
		case err != nil && !apierrors.IsConflict(err) && ctx.Err() == nil:
			unread.Begin(ctx, err)
		case err == nil:
			unread.End(ctx)
		}
		if !sleep(ctx, left) {
			return false
		}
	}
}

// sighting is what was seen of a Lease, and since when it has been so.
type sighting struct {
	spec *coordinationv1.LeaseSpec
	// at is by the monotonic clock: the clock of the holder may be wrong.
	at time.Time
}

// look takes the Lease if it is nobody's, or has not been renewed for as long as its holder said. Otherwise it returns after how long
// to look again.
func (e *election) look(ctx context.Context, seen *sighting) (again time.Duration, isHeld bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.RenewDeadline)
	defer cancel()
	again = wait.Jitter(e.RetryPeriod/looks, 0.1)
	lease, err := e.client.Get(ctx, e.name, metav1.GetOptions{})
	if kcp.IsMissingObject(err, e.name) {
		isHeld, err = e.create(ctx)
		return again, isHeld, err
	}
	if err != nil {
		return again, false, err
	}
	if holder := holderOf(lease); holder != "" && holder != e.identity {
		now := time.Now()
		if seen.spec == nil || !apiequality.Semantic.DeepEqual(*seen.spec, lease.Spec) {
			*seen = sighting{lease.Spec.DeepCopy(), now}
			e.fence.see()
		}
		if left := durationOf(lease) - now.Sub(seen.at); left > 0 {
			return min(again, left), false, nil
		}
	}
	isHeld, err = e.take(ctx, lease)
	return again, isHeld, err
}

func holderOf(lease *coordinationv1.Lease) string {
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

func durationOf(lease *coordinationv1.Lease) time.Duration {
	if lease.Spec.LeaseDurationSeconds == nil {
		return 0
	}
	return time.Duration(*lease.Spec.LeaseDurationSeconds) * time.Second
}

// create makes the Lease, held by this program, and reports whether that was done.
func (e *election) create(ctx context.Context) (bool, error) {
	asked := time.Now()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: e.name}, Spec: e.spec(asked, 0)}
	created, err := e.client.Create(ctx, lease, metav1.CreateOptions{})
	return e.took(created, asked, err)
}

// take has the Lease held by this program if it is as it was read, and reports whether that was done.
func (e *election) take(ctx context.Context, lease *coordinationv1.Lease) (bool, error) {
	asked, transitions := time.Now(), int32(0)
	if lease.Spec.LeaseTransitions != nil {
		transitions = *lease.Spec.LeaseTransitions
	}
	lease = lease.DeepCopy()
	lease.Spec = e.spec(asked, transitions+1)
	updated, err := e.client.Update(ctx, lease, metav1.UpdateOptions{})
	return e.took(updated, asked, err)
}

func (e *election) took(lease *coordinationv1.Lease, asked time.Time, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	e.held = lease
	e.fence.see()
	e.fence.hold(asked.Add(e.RenewDeadline))
	return true, nil
}

// spec returns that of a Lease which this program takes.
func (e *election) spec(now time.Time, transitions int32) coordinationv1.LeaseSpec {
	return coordinationv1.LeaseSpec{
		HolderIdentity: new(e.identity), LeaseDurationSeconds: new(int32(e.Duration.Seconds())),
		AcquireTime: new(metav1.NewMicroTime(now)), RenewTime: new(metav1.NewMicroTime(now)), LeaseTransitions: new(transitions),
	}
}

// workWhileHeld runs work until it ends, or ctx does, or the Lease is lost, and returns when it has ended. Until then it renews the
// Lease, also of work that is slow to end. It reports whether the Lease was lost; otherwise it has given it back.
func (e *election) workWhileHeld(ctx context.Context, work func(context.Context) error) (isLost bool, _ error) {
	working, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- work(working) }()

	holding, stopHolding := context.WithCancel(context.WithoutCancel(ctx))
	defer stopHolding()
	held := make(chan bool, 1)
	go func() {
		isHeld := e.hold(holding)
		if !isHeld {
			stop()
		}
		held <- isHeld
	}()

	err := <-ended
	wasStopped := working.Err() != nil
	stopHolding()
	isHeld := <-held
	if isHeld {
		e.release(ctx)
	}
	e.fence.hold(time.Time{})
	return !isHeld && wasStopped && ctx.Err() == nil, err
}

// hold renews the Lease until ctx ends, and reports whether it is still held then. It returns as soon as that is not so.
func (e *election) hold(ctx context.Context) bool {
	unsure := controller.Outage{
		Begins: "Cannot renew the lease: nothing is written until that is done, or another one has taken it",
		Ends:   "The lease is renewed again, and nobody else has held it meanwhile",
	}
	next := e.RetryPeriod
	for sleep(ctx, next) {
		asked := time.Now()
		isHeld, err := e.renew(ctx, asked)
		switch {
		case !isHeld:
			e.fence.hold(time.Time{})
			return false
		case err == nil:
			e.fence.hold(asked.Add(e.RenewDeadline))
			unsure.End(ctx)
			next = max(e.RetryPeriod-time.Since(asked), 0)
		default:
			if !e.fence.isOpen() && ctx.Err() == nil {
				unsure.Begin(ctx, err)
			}
			next = min(e.RetryPeriod, retryAfter)
		}
	}
	return true
}

// renew says that this program is alive, and reports whether it still holds the Lease: it does until somebody else is seen to, or
// nobody. It fails when the server does not answer.
func (e *election) renew(ctx context.Context, now time.Time) (isHeld bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.RenewDeadline)
	defer cancel()
	return e.write(ctx, func(spec *coordinationv1.LeaseSpec) { spec.RenewTime = new(metav1.NewMicroTime(now)) })
}

// release gives the Lease back, so that nobody waits for it to run out. The work has ended.
func (e *election) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	_, err := e.write(ctx, func(spec *coordinationv1.LeaseSpec) {
		spec.HolderIdentity, spec.LeaseDurationSeconds, spec.RenewTime = nil, new(int32(1)), new(metav1.NewMicroTime(time.Now()))
	})
	if err != nil {
		klog.FromContext(ctx).Error(err, "Cannot give the lease back: it runs out")
	}
}

// write changes the Lease as this program holds it, and reports whether it does. A conflict is an earlier write of its own whose answer
// was lost, or somebody else's who does not hold it: the Lease says who holds it.
func (e *election) write(ctx context.Context, change func(*coordinationv1.LeaseSpec)) (isHeld bool, _ error) {
	var errs []error
	for range 2 {
		lease := e.held.DeepCopy()
		change(&lease.Spec)
		written, err := e.client.Update(ctx, lease, metav1.UpdateOptions{})
		if err == nil {
			e.held = written
			return true, nil
		}
		if kcp.IsMissingObject(err, e.name) {
			return false, nil
		}
		if errs = append(errs, err); !apierrors.IsConflict(err) {
			break
		}
		now, err := e.client.Get(ctx, e.name, metav1.GetOptions{})
		switch {
		case kcp.IsMissingObject(err, e.name), err == nil && holderOf(now) != e.identity:
			return false, nil
		case err != nil:
			return true, err
		}
		e.held = now
	}
	return true, errors.Join(errs...)
}

// sleep waits, and reports whether ctx has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
