package revisions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/revisions"
)

// mostCollisions is how many names of others a revision passes by. Two are rare: the name has a hash of the template.
const mostCollisions = 5

// errBehind says that something is not in kcp any more as it is in the caches. Its event brings another turn, if the time that passes
// until the next one does not.
var errBehind = errors.New("the caches are behind kcp")

// carryOut writes what a plan has. The annotation of the workload comes after the revision that it names, and what is deleted last. It
// fails with errBehind, or as kcp does.
func (k *Keeper) carryOut(ctx context.Context, key kcp.ObjectKey, workload *unstructured.Unstructured, plan revisions.Plan) error {
	if plan.Create != nil {
		if err := k.create(ctx, key, workload, *plan.Create); err != nil {
			return err
		}
	}
	for i := range plan.Changes {
		if err := k.change(ctx, key, workload, &plan.Changes[i]); err != nil {
			return err
		}
	}
	if plan.Annotation != "" {
		if err := k.annotate(ctx, key, workload, plan.Annotation); err != nil {
			return err
		}
	}
	return k.part(ctx, key, workload, plan)
}

// part releases and deletes what a plan has for that.
func (k *Keeper) part(ctx context.Context, key kcp.ObjectKey, workload *unstructured.Unstructured, plan revisions.Plan) error {
	for _, revision := range plan.Release {
		if err := k.release(ctx, key, workload, revision); err != nil {
			return err
		}
	}
	for _, revision := range plan.Delete {
		if err := k.delete(ctx, key, revision); err != nil {
			return err
		}
	}
	return nil
}

// live returns a workload as kcp has it now. It fails with errBehind where that is not any more what the cache has. What the caches do
// not hold is read only when a revision is made or adopted.
func (k *Keeper) live(ctx context.Context, key kcp.ObjectKey, workload *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	live, err := k.config.Upstream.Live(ctx, key)
	if err != nil {
		return nil, err
	}
	if live == nil || live.GetUID() != workload.GetUID() || live.GetDeletionTimestamp() != nil || revisions.DigestOf(live) != revisions.DigestOf(workload) {
		return nil, errBehind
	}
	return live, nil
}

// create makes the revision of a workload.
func (k *Keeper) create(ctx context.Context, key kcp.ObjectKey, workload *unstructured.Unstructured, creation revisions.Creation) error {
	live, err := k.live(ctx, key, workload)
	if err != nil {
		return err
	}
	for collisions := range int32(mostCollisions + 1) {
		revision, err := revisions.Make(live, creation, collisions)
		if err != nil {
			return apierrors.NewBadRequest(fmt.Sprintf("%s: %v", key, err)) // as kcp would refuse it
		}
		there, err := k.config.Upstream.Create(ctx, revisionKey(key, revision.GetName()), revision)
		if apierrors.IsAlreadyExists(err) {
			there, err = k.config.Upstream.Live(ctx, revisionKey(key, revision.GetName()))
		}
		switch {
		case err != nil:
			return err
		case there == nil:
			return errBehind // it has gone in between
		}
		if found := revisions.Of(there); found.Owner == workload.GetUID() && found.Digest == revisions.DigestOf(workload) {
			klog.FromContext(ctx).V(2).Info("Made a revision", "name", found.Name, "number", found.Number)
			k.memory.wrote(key, found)
			return nil
		}
	}
	return apierrors.NewBadRequest(fmt.Sprintf("%s: the names of its revisions are taken, or kcp changes their templates", key))
}

// change changes a revision.
func (k *Keeper) change(ctx context.Context, key kcp.ObjectKey, workload *unstructured.Unstructured, change *revisions.Change) error {
	if change.Adopts() {
		if _, err := k.live(ctx, key, workload); err != nil {
			return err
		}
	}
	patch, err := json.Marshal(change.Patch())
	if err != nil {
		return fmt.Errorf("encoding the change of %s: %w", change.Of.Name, err)
	}
	written, err := k.config.Upstream.Patch(ctx, revisionKey(key, change.Of.Name), types.MergePatchType, patch)
	if kcp.IsMissingObject(err, change.Of.Name) {
		return errBehind
	}
	if err == nil {
		k.memory.wrote(key, revisions.Of(written))
	}
	return err
}

// annotate has a workload say which revision it is at.
func (k *Keeper) annotate(ctx context.Context, key kcp.ObjectKey, workload *unstructured.Unstructured, value string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": workload.GetUID(), "annotations": map[string]string{revisions.RevisionAnnotation: value},
	}})
	if err != nil {
		return fmt.Errorf("encoding the revision of %s: %w", key, err)
	}
	written, err := k.config.Upstream.Patch(ctx, key, types.MergePatchType, patch)
	if kcp.IsMissingObject(err, key.Name) {
		return nil
	}
	if err == nil {
		k.memory.wroteWorkload(key, written)
	}
	return err
}

// release has a workload control a revision no longer. Other owners stay.
func (k *Keeper) release(ctx context.Context, key kcp.ObjectKey, workload *unstructured.Unstructured, revision *revisions.Revision) error {
	live, err := k.config.Upstream.Live(ctx, revisionKey(key, revision.Name))
	if err != nil || live == nil {
		return err
	}
	owners := slices.DeleteFunc(live.GetOwnerReferences(), func(owner metav1.OwnerReference) bool { return owner.UID == workload.GetUID() })
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": live.GetUID(), "resourceVersion": live.GetResourceVersion(), "ownerReferences": owners,
	}})
	if err != nil {
		return fmt.Errorf("encoding the owners of %s: %w", revision.Name, err)
	}
	written, err := k.config.Upstream.Patch(ctx, revisionKey(key, revision.Name), types.MergePatchType, patch)
	if kcp.IsMissingObject(err, revision.Name) {
		return nil
	}
	if err == nil {
		k.memory.wrote(key, revisions.Of(written))
	}
	return err
}

// delete deletes a revision as it was read.
func (k *Keeper) delete(ctx context.Context, key kcp.ObjectKey, revision *revisions.Revision) error {
	err := k.config.Upstream.Delete(ctx, revisionKey(key, revision.Name), metav1.Preconditions{UID: &revision.UID, ResourceVersion: &revision.ResourceVersion})
	if err != nil && !kcp.IsMissingObject(err, revision.Name) {
		return err
	}
	k.memory.deleted(key, revision)
	return nil
}

// revisionKey returns the key of a revision of a workload.
func revisionKey(workload kcp.ObjectKey, name string) kcp.ObjectKey {
	workload.Resource, _ = revisions.ResourceOf(workload.Resource.GroupResource())
	workload.Name = name
	return workload
}
