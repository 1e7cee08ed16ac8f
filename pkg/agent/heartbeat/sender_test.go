package heartbeat

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// beating is a sender whose two sides can be broken.
type beating struct {
	t                   *testing.T
	asked, renewed      atomic.Int32
	idle, silent, apart atomic.Bool
	said                log
}

var errApart = errors.New("connection refused")

// start lets it beat once a second.
func (b *beating) start() {
	p := newSender(time.Second, func() bool { return !b.idle.Load() },
		func(ctx context.Context) error {
			b.asked.Add(1)
			if b.silent.Load() {
				<-ctx.Done() // a cluster that is gone lets one wait
				return ctx.Err()
			}
			return nil
		},
		func(context.Context) error {
			if b.apart.Load() {
				return errApart
			}
			b.renewed.Add(1)
			return nil
		})
	go p.run(b.said.into(b.t.Context()))
}

// during returns how many beats there were meanwhile.
func (b *beating) during(duration time.Duration) int {
	before := b.renewed.Load()
	time.Sleep(duration)
	synctest.Wait()
	return int(b.renewed.Load() - before)
}

func inABubble(t *testing.T, test func(b *beating)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &beating{t: t}
		b.start()
		time.Sleep(100 * time.Millisecond) // counts begin in between two beats
		synctest.Wait()
		test(b)
	})
}

func TestSenderInterval(t *testing.T) {
	inABubble(t, func(b *beating) {
		if b.renewed.Load() != 1 {
			b.t.Errorf("%d beats at the start, want one at once", b.renewed.Load())
		}
		if beats := b.during(time.Minute); beats != 60 || b.asked.Load() != 61 {
			b.t.Errorf("%d beats in 60 intervals, and the cluster was asked %d times", beats, b.asked.Load())
		}
		if len(b.said.lines) > 0 {
			b.t.Errorf("said %q while nothing happened", b.said.lines)
		}
	})
}

func TestSenderSilentCluster(t *testing.T) {
	inABubble(t, func(b *beating) {
		b.silent.Store(true)
		if beats := b.during(time.Minute); beats != 0 {
			b.t.Errorf("%d beats while the cluster did not answer", beats)
		}
		b.silent.Store(false)
		if beats := b.during(time.Minute); beats < 59 {
			b.t.Errorf("%d beats in a minute in which the cluster answered", beats)
		}
		if begins, ends := b.said.times("The cluster does not answer"), b.said.times("The cluster answers again"); begins != 1 || ends != 1 {
			b.t.Errorf("the beginning was said %d times and the end %d times, want once each: %q", begins, ends, b.said.lines)
		}
	})
}

func TestSenderShortOutage(t *testing.T) {
	inABubble(t, func(b *beating) {
		b.during(750 * time.Millisecond)
		b.apart.Store(true)
		b.during(400 * time.Millisecond) // over the beat that is due
		b.apart.Store(false)
		if beats := b.during(400 * time.Millisecond); beats != 1 {
			b.t.Errorf("%d beats after the break, want the one that it delayed", beats)
		}
		if len(b.said.lines) > 0 {
			b.t.Errorf("said %q of a break of no consequence", b.said.lines)
		}
	})
}

func TestSenderLongOutage(t *testing.T) {
	inABubble(t, func(b *beating) {
		b.apart.Store(true)
		b.during(time.Minute)
		b.apart.Store(false)
		if beats := b.during(time.Minute); beats < 59 {
			b.t.Errorf("%d beats in a minute in which kcp answered", beats)
		}
		if begins, ends := b.said.times("Cannot tell kcp", errApart.Error()), b.said.times("is told again"); begins != 1 || ends != 1 {
			b.t.Errorf("the beginning was said %d times and the end %d times, want once each: %q", begins, ends, b.said.lines)
		}
	})
}

func TestSenderUnclaimedCluster(t *testing.T) {
	inABubble(t, func(b *beating) {
		b.idle.Store(true)
		if beats := b.during(time.Minute); beats != 0 || b.asked.Load() != 1 {
			b.t.Errorf("%d beats, and the cluster was asked %d times, after one beat", beats, b.asked.Load())
		}
	})
}

func TestLeaseRenew(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	stale := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.HeartbeatNamespace, Name: east},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: new(string(another))},
	}
	for name, c := range map[string]struct {
		client *kubefake.Clientset
		verbs  []string
	}{
		"there is one": {kubefake.NewClientset(stale), []string{"patch"}},
		"there is an empty one": {
			kubefake.NewClientset(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.HeartbeatNamespace, Name: east}}), []string{"patch"},
		},
		"there is none": {kubefake.NewClientset(), []string{"patch", "create"}},
	} {
		t.Run(name, func(t *testing.T) {
			leases := c.client.CoordinationV1().Leases(v1alpha1.HeartbeatNamespace)
			l := &lease{client: leases, name: east, duration: 40 * time.Second, now: func() time.Time { return now }}
			if err := l.renew(t.Context(), ours); err != nil {
				t.Fatal(err)
			}
			actions := c.client.Actions()
			if len(actions) != len(c.verbs) || actions[len(actions)-1].GetVerb() != c.verbs[len(c.verbs)-1] {
				t.Errorf("got %v, want %v", actions, c.verbs)
			}
			stored, err := leases.Get(t.Context(), east, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if spec := stored.Spec; *spec.HolderIdentity != string(ours) || *spec.LeaseDurationSeconds != 40 || !spec.RenewTime.Time.Equal(now) {
				t.Errorf("got %+v", spec)
			}
		})
	}
}

// TestLeaseRenewMeetsAStartingKCP has a kcp that starts say that it serves nothing: no Lease is made for that.
func TestLeaseRenewMeetsAStartingKCP(t *testing.T) {
	client := kubefake.NewClientset()
	starting := apierrors.NewGenericServerResponse(404, "patch", coordinationv1.Resource("leases"), east, "404 page not found", 0, true)
	client.PrependReactor("patch", "leases", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, starting })
	l := &lease{client: client.CoordinationV1().Leases(v1alpha1.HeartbeatNamespace), name: east, duration: 40 * time.Second, now: time.Now}
	if err := l.renew(t.Context(), ours); !errors.Is(err, starting) || len(client.Actions()) != 1 {
		t.Errorf("got %v, after %v", err, client.Actions())
	}
}

func TestLeaseRenewMayNotCreate(t *testing.T) {
	client := kubefake.NewClientset()
	client.PrependReactor("create", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(coordinationv1.Resource("leases"), east, errors.New("no"))
	})
	l := &lease{client: client.CoordinationV1().Leases(v1alpha1.HeartbeatNamespace), name: east, duration: 40 * time.Second, now: time.Now}
	err := l.renew(t.Context(), ours)
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "there is no Lease tmc-heartbeats/east") || !strings.Contains(err.Error(), "`kubectl tmc join east`") {
		t.Errorf("got %v", err)
	}
}
