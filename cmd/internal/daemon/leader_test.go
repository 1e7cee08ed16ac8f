package daemon

import (
	"context"
	"errors"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/pflag"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

var errWork = errors.New("the work failed")

// short is a lease that is soon lost.
func short() Lease {
	return Lease{Duration: time.Second, RenewDeadline: 200 * time.Millisecond, RetryPeriod: 20 * time.Millisecond}
}

// holder returns who holds the lease, empty for nobody.
func holder(ctx context.Context, t *testing.T, client *fake.Clientset) string {
	t.Helper()
	lease, err := client.CoordinationV1().Leases("default").Get(ctx, "tmc", metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && lease.Spec.HolderIdentity == nil {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return *lease.Spec.HolderIdentity
}

func TestLeadReturnsTheErrorOfTheWork(t *testing.T) {
	for name, want := range map[string]error{"it ends": nil, "it fails": errWork} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			lease := NewLease()
			err := lease.Lead(t.Context(), client, "default", "tmc", &Fence{}, func(ctx context.Context) error {
				if holder(ctx, t, client) == "" {
					t.Error("it works without the lease")
				}
				return want
			})
			if !errors.Is(err, want) || (err != nil) != (want != nil) {
				t.Errorf("the error is %v, want %v", err, want)
			}
			if held := holder(t.Context(), t, client); held != "" {
				t.Errorf("the lease is still held by %s", held)
			}
		})
	}
}

func TestLeadEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	lease := NewLease()
	worked := false
	err := lease.Lead(ctx, fake.NewClientset(), "default", "tmc", &Fence{}, func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		worked = true
		return nil
	})
	if err != nil || !worked {
		t.Errorf("it ends with %v, and has waited for the work: %t", err, worked)
	}
}

// stolen has another program hold the lease.
func stolen(ctx context.Context, t *testing.T, client *fake.Clientset, seconds int32) {
	t.Helper()
	lease, err := client.CoordinationV1().Leases("default").Get(ctx, "tmc", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = new("another"), new(seconds)
	if _, err := client.CoordinationV1().Leases("default").Update(ctx, lease, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// conflicting is a clientset in which an update of what has changed is a conflict, as on a server.
func conflicting() *fake.Clientset {
	client := fake.NewClientset()
	var mu sync.Mutex
	version := 0
	client.PrependReactor("*", "leases", func(action clienttesting.Action) (bool, runtime.Object, error) {
		write, ok := action.(interface{ GetObject() runtime.Object })
		if !ok {
			return false, nil, nil
		}
		mu.Lock()
		defer mu.Unlock()
		lease := write.GetObject().(*coordinationv1.Lease)
		if action.GetVerb() == "update" {
			if present, err := client.Tracker().Get(action.GetResource(), "default", lease.Name); err == nil && present.(*coordinationv1.Lease).ResourceVersion != lease.ResourceVersion {
				return true, nil, apierrors.NewConflict(action.GetResource().GroupResource(), lease.Name, errWork)
			}
		}
		version++
		lease.ResourceVersion = strconv.Itoa(version)
		return false, nil, nil
	})
	return client
}

// TestLeadStandsByAgain loses the lease 50 times: each time the work is stopped and waited for, and nothing is left of it.
func TestLeadStandsByAgain(t *testing.T) {
	const rounds = 50
	client, fence := conflicting(), &Fence{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var working atomic.Int32
	goroutines, round := 0, 0
	lease := Lease{Duration: time.Second, RenewDeadline: 100 * time.Millisecond, RetryPeriod: 3 * time.Millisecond}
	err := lease.Lead(ctx, client, "default", "tmc", fence, func(ctx context.Context) error {
		if working.Add(1) != 1 {
			t.Error("it works twice at a time")
		}
		defer working.Add(-1)
		if round++; round == 2 {
			goroutines = goruntime.NumGoroutine()
		}
		if round > rounds {
			cancel()
			return nil
		}
		if err := fence.pass(ctx); err != nil {
			t.Errorf("it cannot write while it leads: %v", err)
		}
		stolen(ctx, t, client, 0) // and not renewed
		<-ctx.Done()
		if err := fence.pass(context.WithoutCancel(ctx)); !errors.Is(err, ErrNotLeading) {
			t.Errorf("a write after the lease was lost gives %v, want %v", err, ErrNotLeading)
		}
		return errWork // as what was interrupted may say
	})
	if err != nil || round != rounds+1 {
		t.Errorf("it ends with %v after %d rounds, want %d", err, round, rounds+1)
	}
	if now := goruntime.NumGoroutine(); now > goroutines {
		t.Errorf("%d goroutines after the last round, %d in the second", now, goroutines)
	}
}

// TestLeadWaitsWhileNobodyAnswers has the server of the lease away for longer than the lease lasts: nothing is written meanwhile, and
// the work goes on after it.
func TestLeadWaitsWhileNobodyAnswers(t *testing.T) {
	client, fence := conflicting(), &Fence{}
	var isAway atomic.Bool
	client.PrependReactor("*", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		return isAway.Load(), nil, apierrors.NewInternalError(errWork)
	})
	lease := short()
	err := lease.Lead(t.Context(), client, "default", "tmc", fence, func(ctx context.Context) error {
		isAway.Store(true)
		for fence.isOpen() {
			time.Sleep(time.Millisecond)
		}
		written := make(chan error, 1)
		go func() { written <- fence.pass(ctx) }()
		select {
		case err := <-written:
			t.Errorf("a write passes without the lease (%v)", err)
		case <-time.After(lease.Duration):
		}
		isAway.Store(false)
		return <-written
	})
	if err != nil {
		t.Error(err)
	}
}

// TestLeadTakesItsOwnWriteForItsOwn has the answer of a renewal be lost: the next one is a conflict, and no loss.
func TestLeadTakesItsOwnWriteForItsOwn(t *testing.T) {
	client := conflicting()
	var count atomic.Int32
	lease := short()
	err := lease.Lead(t.Context(), client, "default", "tmc", &Fence{}, func(ctx context.Context) error {
		mine, err := client.CoordinationV1().Leases("default").Get(ctx, "tmc", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if _, err := client.CoordinationV1().Leases("default").Update(ctx, mine, metav1.UpdateOptions{}); err != nil {
			return err // it may have been renewed in between
		}
		select {
		case <-ctx.Done():
			t.Error("it has lost the lease to itself")
		case <-time.After(10 * lease.RetryPeriod):
		}
		count.Add(1)
		return nil
	})
	if err != nil && !apierrors.IsConflict(err) || err == nil && count.Load() != 1 {
		t.Error(err)
	}
}

// TestLeadTakesOver has one that stands by take the lease of another that renews it no more, when it has run out and no sooner,
// whatever the clocks say.
func TestLeadTakesOver(t *testing.T) {
	for name, renewed := range map[string]time.Time{"its clock is right": time.Now(), "its clock is ahead": time.Now().Add(time.Hour), "its clock is behind": time.Now().Add(-time.Hour)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := fake.NewClientset(&coordinationv1.Lease{
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "tmc"},
				Spec: coordinationv1.LeaseSpec{
					HolderIdentity: new("another"), LeaseDurationSeconds: new(int32(1)), RenewTime: new(metav1.NewMicroTime(renewed)), LeaseTransitions: new(int32(4)),
				},
			})
			lease, began := short(), time.Now()
			err := lease.Lead(t.Context(), client, "default", "tmc", &Fence{}, func(ctx context.Context) error {
				if after := time.Since(began); after < time.Second || after > 2*time.Second {
					t.Errorf("it took over after %s, want after a second", after)
				}
				now, err := client.CoordinationV1().Leases("default").Get(ctx, "tmc", metav1.GetOptions{})
				if err != nil || *now.Spec.LeaseTransitions != 5 {
					t.Errorf("the lease is %+v (%v), want it to have changed hands 5 times", now, err)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLeadWaitsForAnother(t *testing.T) {
	client := fake.NewClientset(&coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "tmc"},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: new("another"), LeaseDurationSeconds: new(int32(3600)), RenewTime: new(metav1.NewMicroTime(time.Now())),
		},
	})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	lease, fence := short(), &Fence{}
	if fence.HasSeen() {
		t.Error("it knows a lease that it has not read")
	}
	err := lease.Lead(ctx, client, "default", "tmc", fence, func(context.Context) error {
		t.Error("it works while another leads")
		return nil
	})
	if err != nil || holder(t.Context(), t, client) != "another" || !fence.HasSeen() {
		t.Errorf("it ends with %v, has read the lease: %t, and that is held by %q", err, fence.HasSeen(), holder(t.Context(), t, client))
	}
}

func TestLeadRefusesALeaseThatCannotBe(t *testing.T) {
	lease := Lease{}
	if err := lease.Lead(t.Context(), fake.NewClientset(), "default", "tmc", &Fence{}, nil); err == nil || !strings.Contains(err.Error(), "leader election") {
		t.Errorf("the error is %v, want one about leader election", err)
	}
}

func TestLeaseFlags(t *testing.T) {
	lease := NewLease()
	flags := pflag.NewFlagSet("daemon", pflag.ContinueOnError)
	lease.AddFlags(flags)
	if err := lease.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	args := []string{"--leader-elect-lease-duration=4s", "--leader-elect-renew-deadline=3s", "--leader-elect-retry-period=2s"}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	if want := (Lease{4 * time.Second, 3 * time.Second, 2 * time.Second}); lease != want {
		t.Errorf("%v make it %v, want %v", args, lease, want)
	}
	for _, arg := range []string{"--leader-elect-lease-duration=3s", "--leader-elect-lease-duration=3500ms", "--leader-elect-renew-deadline=2s", "--leader-elect-retry-period=0s"} {
		bad := lease
		flags := pflag.NewFlagSet("daemon", pflag.ContinueOnError)
		bad.AddFlags(flags)
		name, _, _ := strings.Cut(arg, "=")
		if err := flags.Parse([]string{arg}); err != nil {
			t.Fatal(err)
		}
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: the error is %v, want one that names it", arg, err)
		}
	}
}
