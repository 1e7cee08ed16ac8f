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
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// lease is the cluster's Lease in the provider workspace.
type lease struct {
	client   coordinationclient.LeaseInterface
	name     string
	duration time.Duration
	now      func() time.Time
}

// renew says that the cluster is alive now. It writes once, and reads nothing.
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
	if apierrors.IsNotFound(err) {
		return l.create(ctx, spec)
	}
	if err != nil {
		return fmt.Errorf("renewing Lease %s/%s: %w", v1alpha1.HeartbeatNamespace, l.name, err)
	}
	return nil
}

// create makes the Lease that is missing. The syncer of a cluster that was joined may
// not, for RBAC cannot limit that to a name: its Lease came with its account.
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
