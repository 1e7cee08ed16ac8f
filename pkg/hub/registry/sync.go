package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// emptyInterval is how often to check whether a cluster that is being removed is empty.
const emptyInterval = time.Second

// sync is a turn for one cluster: it evaluates whether the cluster is ready, and removes it
// when its registration is being deleted.
func (r *Registry) sync(ctx context.Context, name string) (time.Duration, error) {
	registration, again := r.evaluate(ctx, name)
	switch {
	case registration == nil:
		return 0, nil
	case registration.DeletionTimestamp == nil:
		return again, errors.Join(r.addFinalizer(ctx, registration), r.writeReady(ctx, registration))
	case !slices.Contains(registration.Finalizers, v1alpha1.RegistryFinalizer):
		return 0, nil // it goes
	default:
		return emptyInterval, r.remove(ctx, registration)
	}
}

// evaluate evaluates whether a cluster is ready, and returns its registration, nil when it
// has none, and when to evaluate it again.
func (r *Registry) evaluate(ctx context.Context, name string) (*v1alpha1.ClusterRegistration, time.Duration) {
	r.mu.Lock()
	c := r.clusters[name]
	if c == nil || c.registration == nil {
		r.mu.Unlock()
		return nil, 0
	}
	before := c.readiness
	var again time.Duration
	c.readiness, again = c.evaluate(r.watchFailed, r.now(), r.config.SilentAfter)
	if c.readiness.status != before.status || c.silentSince.IsZero() {
		c.silentSince = r.now()
		r.fleet.Store(nil)
	}
	registration, now := c.registration, c.readiness
	r.mu.Unlock()
	if now.status != before.status {
		klog.FromContext(ctx).Info("A cluster's readiness has changed", "cluster", name, "ready", now.status, "reason", now.reason, "message", now.message)
		r.notify(name)
	}
	return registration, again
}

// addFinalizer adds our finalizer: a cluster is emptied before its registration goes.
func (r *Registry) addFinalizer(ctx context.Context, registration *v1alpha1.ClusterRegistration) error {
	if slices.Contains(registration.Finalizers, v1alpha1.RegistryFinalizer) {
		return nil
	}
	return r.patchFinalizers(ctx, registration, append(slices.Clone(registration.Finalizers), v1alpha1.RegistryFinalizer))
}

// remove lets a registration go once nothing is on the cluster any more. When people say
// that the cluster will never come back, it takes off what is on it.
func (r *Registry) remove(ctx context.Context, registration *v1alpha1.ClusterRegistration) error {
	if !r.placed.HasSynced() {
		return nil // what is not seen yet may be there
	}
	keys := r.placed.Keys(registration.Name)
	if registration.Annotations[v1alpha1.ReleaseAnnotation] == "true" && len(keys) > 0 {
		klog.FromContext(ctx).Info("Releasing what is on the cluster", "cluster", registration.Name, "objects", len(keys))
		var errs []error
		for _, key := range keys {
			errs = append(errs, r.placed.Release(ctx, key, registration.Name))
		}
		return errors.Join(errs...)
	}
	if len(keys) > 0 {
		return nil
	}
	err := r.leases.Delete(ctx, registration.Name, metav1.DeleteOptions{})
	if err != nil && !kcp.IsMissingObject(err, registration.Name) {
		return fmt.Errorf("deleting the Lease of cluster %s: %w", registration.Name, err)
	}
	klog.FromContext(ctx).Info("Nothing is on the cluster any more: letting its registration go", "cluster", registration.Name)
	return r.patchFinalizers(ctx, registration, slices.DeleteFunc(slices.Clone(registration.Finalizers), func(finalizer string) bool {
		return finalizer == v1alpha1.RegistryFinalizer
	}))
}

// writeReady writes the Ready condition when it is not what was evaluated.
func (r *Registry) writeReady(ctx context.Context, registration *v1alpha1.ClusterRegistration) error {
	r.mu.RLock()
	var now readiness
	if c := r.clusters[registration.Name]; c != nil {
		now = c.readiness
	}
	r.mu.RUnlock()
	conditions := slices.Clone(registration.Status.Conditions)
	changed := apimeta.SetStatusCondition(&conditions, metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: now.status, Reason: now.reason, Message: now.message,
		LastTransitionTime: metav1.NewTime(r.now()),
	})
	if !changed {
		return nil
	}
	return r.patch(ctx, registration, map[string]any{"status": map[string]any{"conditions": conditions}}, "status")
}

func (r *Registry) patchFinalizers(ctx context.Context, registration *v1alpha1.ClusterRegistration, finalizers []string) error {
	return r.patch(ctx, registration, map[string]any{"metadata": map[string]any{
		"finalizers": finalizers, "resourceVersion": registration.ResourceVersion,
	}})
}

// patch writes to a registration, unless it is gone or another one by now.
func (r *Registry) patch(ctx context.Context, registration *v1alpha1.ClusterRegistration, content map[string]any, subresources ...string) error {
	metadata, _ := content["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
	}
	metadata["uid"] = registration.UID
	content["metadata"] = metadata
	data, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("encoding a patch of ClusterRegistration %s: %w", registration.Name, err)
	}
	_, err = r.registrations.Patch(ctx, registration.Name, types.MergePatchType, data, metav1.PatchOptions{FieldManager: v1alpha1.ControllerFieldManager}, subresources...)
	if kcp.IsMissingObject(err, registration.Name) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("patching ClusterRegistration %s: %w", registration.Name, err)
	}
	return nil
}
