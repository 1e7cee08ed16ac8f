package install

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// step is one object to apply, and how.
type step struct {
	desired *unstructured.Unstructured
	merge   merger
}

// stepsOf returns a step for each of the objects, which are typed or unstructured.
func stepsOf[T any](merge merger, objects ...T) []step {
	steps := make([]step, len(objects))
	for i, object := range objects {
		steps[i] = step{encode(object), merge}
	}
	return steps
}

// applyAll applies steps in a workspace, in their order.
func (s *server) applyAll(ctx context.Context, workspace string, steps []step) error {
	for _, step := range steps {
		if _, err := s.apply(ctx, workspace, step.desired, step.merge); err != nil {
			return err
		}
	}
	return nil
}

// apply creates an object of a workspace, or has merge change it to what is desired, and returns what it did. It writes
// only if merge changes something. It fails when the object is being deleted, which cannot be undone.
func (s *server) apply(ctx context.Context, workspace string, desired *unstructured.Unstructured, merge merger) (Action, error) {
	return s.change(ctx, workspace, desired, func(client dynamic.ResourceInterface, live *unstructured.Unstructured) (Action, error) {
		switch {
		case live == nil:
			return s.create(ctx, client, desired)
		case live.GetDeletionTimestamp() != nil:
			return "", errGoing(live)
		default:
			return s.update(ctx, client, live, merge(live, desired))
		}
	})
}

// amend has merge change an object of a workspace, unless it does not exist or is being deleted. Of object, only kind
// and name matter.
func (s *server) amend(ctx context.Context, workspace string, object *unstructured.Unstructured, merge merger) error {
	_, err := s.change(ctx, workspace, object, func(client dynamic.ResourceInterface, live *unstructured.Unstructured) (Action, error) {
		switch {
		case live == nil:
			return "", nil
		case live.GetDeletionTimestamp() != nil:
			return Unchanged, nil
		}
		action, err := s.update(ctx, client, live, merge(live, nil))
		if kcp.IsMissing(err) {
			return "", nil // somebody has deleted it since
		}
		return action, err
	})
	return err
}

// remove deletes an object of the provider workspace that has the labels. A Lease needs none: its syncer may have made
// it.
func (s *server) remove(ctx context.Context, marks map[string]string, object *unstructured.Unstructured) error {
	_, err := s.change(ctx, s.provider, object, func(client dynamic.ResourceInterface, live *unstructured.Unstructured) (Action, error) {
		if live == nil || live.GetKind() != "Lease" && !labels.SelectorFromSet(marks).Matches(labels.Set(live.GetLabels())) {
			return "", nil
		}
		if s.dryRun {
			return Deleted, nil
		}
		err := client.Delete(ctx, object.GetName(), metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(live.GetUID()))})
		if kcp.IsMissing(err) {
			return "", nil // somebody was faster
		}
		return Deleted, err
	})
	return err
}

// change reads an object of a workspace and calls act with it, nil when it does not exist, again for as long as
// somebody else writes meanwhile. It tells the caller of the action that act returns, unless that is empty.
func (s *server) change(ctx context.Context, workspace string, object *unstructured.Unstructured,
	act func(client dynamic.ResourceInterface, live *unstructured.Unstructured) (Action, error),
) (Action, error) {
	objects, err := s.objects(workspace)
	if err != nil {
		return "", err
	}
	// All kinds that are installed have regular plurals.
	plural, _ := meta.UnsafeGuessKindToResource(object.GroupVersionKind())
	client := objects.Resource(plural).Namespace(object.GetNamespace())
	var action Action
	err = retry.OnError(raceBackoff, isRace, func() error {
		live, err := client.Get(ctx, object.GetName(), metav1.GetOptions{})
		if kcp.IsMissing(err) {
			live, err = nil, nil
		}
		if err == nil {
			action, err = act(client, live)
		}
		return err
	})
	if err != nil {
		return "", s.explain(workspace, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err))
	}
	if action != "" {
		s.applied(workspace, object, action)
	}
	return action, nil
}

// create makes an object, unless this is a dry run.
func (s *server) create(ctx context.Context, client dynamic.ResourceInterface, desired *unstructured.Unstructured) (Action, error) {
	if s.dryRun {
		return Created, nil
	}
	_, err := client.Create(ctx, desired, metav1.CreateOptions{FieldManager: fieldManager})
	return Created, err
}

// update makes next of a live object, unless they are equal or this is a dry run.
func (s *server) update(ctx context.Context, client dynamic.ResourceInterface, live, next *unstructured.Unstructured) (Action, error) {
	switch {
	case reflect.DeepEqual(next.Object, live.Object):
		return Unchanged, nil
	case s.dryRun:
		return Updated, nil
	}
	_, err := client.Update(ctx, next, metav1.UpdateOptions{FieldManager: fieldManager})
	return Updated, err
}

// errGoing returns the error for an object that is being deleted.
func errGoing(live *unstructured.Unstructured) error {
	return fmt.Errorf("it is being deleted: wait until it is gone (finalizers: %v)", live.GetFinalizers())
}

// raceBackoff is how often a write is repeated that failed because of another one: for some 3 s, which kcp's caches
// take on a busy machine to show what has just been written.
var raceBackoff = wait.Backoff{Duration: 20 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 8}

// claimLabel is the prefix of the labels by which kcp notes which claims show an object.
const claimLabel = "claimed.internal.apis.kcp.io/"

// isRace reports whether a write failed because somebody else wrote first, or because a claim on the kind came into
// force while kcp admitted the object: kcp sets the labels of claims first, and checks them in a second step (kcp,
// pkg/admission/permissionclaims). Only the text of kcp's error says so.
func isRace(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsForbidden(err) && strings.Contains(err.Error(), claimLabel)
}

// encode returns an object as it is sent: without status and without the empty time stamp that Go types have, and with
// numbers as they are read from a server, so that both can be compared. A typed object needs its kind set. encode
// panics when a type cannot be encoded, which none of those can that this package uses.
func encode(object any) *unstructured.Unstructured {
	if encoded, isEncoded := object.(*unstructured.Unstructured); isEncoded {
		return encoded
	}
	fields := map[string]any{}
	data, err := json.Marshal(object)
	if err == nil {
		err = utiljson.Unmarshal(data, &fields)
	}
	if err != nil {
		panic(fmt.Errorf("encoding %T: %w", object, err))
	}
	unstructured.RemoveNestedField(fields, "status")
	unstructured.RemoveNestedField(fields, "metadata", "creationTimestamp")
	return &unstructured.Unstructured{Object: fields}
}
