package daemon

import (
	"context"
	"errors"
	"strings"
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
	return Lease{Duration: 300 * time.Millisecond, RenewDeadline: 200 * time.Millisecond, RetryPeriod: 20 * time.Millisecond}
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
			err := lease.Lead(t.Context(), client, "default", "tmc", func(ctx context.Context) error {
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
	err := lease.Lead(ctx, fake.NewClientset(), "default", "tmc", func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		worked = true
		return nil
	})
	if err != nil || !worked {
		t.Errorf("it ends with %v, and has waited for the work: %t", err, worked)
	}
}

func TestLeadFailsWhenTheLeaseIsLost(t *testing.T) {
	client := fake.NewClientset()
	var refuses atomic.Bool
	client.PrependReactor("update", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		return refuses.Load(), nil, apierrors.NewInternalError(errWork)
	})
	lease := short()
	err := lease.Lead(t.Context(), client, "default", "tmc", func(ctx context.Context) error {
		refuses.Store(true)
		<-ctx.Done()
		return errWork
	})
	if !errors.Is(err, ErrLeadershipLost) || !errors.Is(err, errWork) {
		t.Errorf("the error is %v, want %v, and that of the work", err, ErrLeadershipLost)
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
	lease := short()
	err := lease.Lead(ctx, client, "default", "tmc", func(context.Context) error {
		t.Error("it works while another leads")
		return nil
	})
	if err != nil || holder(t.Context(), t, client) != "another" {
		t.Errorf("it ends with %v, and the lease is held by %q", err, holder(t.Context(), t, client))
	}
}

func TestLeadRefusesALeaseThatCannotBe(t *testing.T) {
	lease := Lease{}
	if err := lease.Lead(t.Context(), fake.NewClientset(), "default", "tmc", nil); err == nil || !strings.Contains(err.Error(), "leader election") {
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
	for _, arg := range []string{"--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s", "--leader-elect-retry-period=0s"} {
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
