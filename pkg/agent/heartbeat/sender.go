package heartbeat

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// sender sends heartbeats while its cluster answers. While it does not know whether the
// cluster is alive, it sends none.
type sender struct {
	interval time.Duration
	// due reports whether heartbeats are to be sent at all.
	due func() bool
	// answers asks the cluster, renew tells kcp.
	answers func(context.Context) error
	renew   func(context.Context) error
	// clusterSilent lasts while the cluster does not answer, kcpSilent while kcp does not.
	clusterSilent, kcpSilent controller.Outage
}

func newSender(interval time.Duration, due func() bool, answers, renew func(context.Context) error) *sender {
	return &sender{
		interval: interval, due: due, answers: answers, renew: renew,
		clusterSilent: controller.Outage{Begins: "The cluster does not answer: no heartbeat until it does", Ends: "The cluster answers again"},
		kcpSilent:     controller.Outage{Begins: "Cannot tell kcp that the cluster is alive, will try again", Ends: "kcp is told again that the cluster is alive"},
	}
}

// run sends one heartbeat every interval until ctx ends.
func (s *sender) run(ctx context.Context) {
	ticker := time.NewTicker(s.interval)
	defer ticker.Stop()
	for {
		if s.due() {
			s.send(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// send tries until it has sent a heartbeat, and logs when that takes longer than an interval.
// It waits for a slow server: giving up early and asking again would keep the server slow.
func (s *sender) send(ctx context.Context) {
	start := time.Now()
	delays := wait.Backoff{Duration: s.interval / 50, Factor: 2, Steps: 10, Cap: s.interval / 2}
	for {
		outage, err := s.try(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		if time.Since(start) >= s.interval {
			outage.Begin(ctx, err)
		}
		if !sleep(ctx, delays.Step()) {
			return
		}
	}
}

// try sends a heartbeat. With its error it returns the outage that the error is a part of.
func (s *sender) try(ctx context.Context) (*controller.Outage, error) {
	if err := bounded(ctx, s.answers); err != nil {
		return &s.clusterSilent, err
	}
	s.clusterSilent.End(ctx)
	if err := bounded(ctx, s.renew); err != nil {
		return &s.kcpSilent, err
	}
	s.kcpSilent.End(ctx)
	return nil, nil
}

func bounded(ctx context.Context, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return request(ctx)
}

// lease is the cluster's Lease in the provider workspace.
type lease struct {
	client   coordinationclient.LeaseInterface
	name     string
	duration time.Duration
	now      func() time.Time
}

// renew writes that the cluster is alive now. It writes once, and reads nothing.
func (l *lease) renew(ctx context.Context, holder types.UID) error {
	spec := coordinationv1.LeaseSpec{
		HolderIdentity:       new(string(holder)), // another cluster may have had the name
		LeaseDurationSeconds: new(int32(max(1, l.duration.Round(time.Second).Seconds()))),
		RenewTime:            new(metav1.NewMicroTime(l.now())),
	}
	patch, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		return fmt.Errorf("encoding Lease %s: %w", l.name, err)
	}
	_, err = l.client.Patch(ctx, l.name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: v1alpha1.FieldManager})
	if kcp.IsMissingObject(err, l.name) {
		return l.create(ctx, spec)
	}
	if err != nil {
		return fmt.Errorf("renewing Lease %s/%s: %w", v1alpha1.HeartbeatNamespace, l.name, err)
	}
	return nil
}

// create makes the Lease when it is missing. The syncer of a cluster that was joined may not do
// that, for RBAC cannot limit it to a name: `kubectl tmc join` makes the Lease.
func (l *lease) create(ctx context.Context, spec coordinationv1.LeaseSpec) error {
	created := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: l.name}, Spec: spec}
	_, err := l.client.Create(ctx, created, metav1.CreateOptions{FieldManager: v1alpha1.FieldManager})
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Errorf("there is no Lease %s/%s, and kcp does not let the syncer make it: run `kubectl tmc join %s` again: %w",
			v1alpha1.HeartbeatNamespace, l.name, l.name, err)
	case err != nil:
		return fmt.Errorf("creating Lease %s/%s: %w", v1alpha1.HeartbeatNamespace, l.name, err)
	default:
		return nil
	}
}
