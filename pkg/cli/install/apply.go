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
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"
)

// apply makes an object of a workspace as desired and reports what it did. It writes
// only if merge says that something has to change. It fails when the object is being
// deleted, for that cannot be taken back.
func (s *server) apply(ctx context.Context, workspace string, desired *unstructured.Unstructured, merge merger) (Action, error) {
	client, err := s.resource(workspace, desired)
	if err != nil {
		return "", err
	}
	var action Action
	// Somebody else may write between our reading and writing.
	err = retry.OnError(raceBackoff, isRace, func() error {
		action, err = s.applyOnce(ctx, client, desired, merge)
		return err
	})
	if err != nil {
		err = fmt.Errorf("%s %s: %w", desired.GetKind(), desired.GetName(), err)
		return "", s.explain(workspace, err)
	}
	s.applied(workspace, desired, action)
	return action, nil
}

// amend has merge change an object of a workspace that is there; one that is not is left
// out. kind and name are those of object, and nothing else of it matters.
func (s *server) amend(ctx context.Context, workspace string, object *unstructured.Unstructured, merge merger) error {
	client, err := s.resource(workspace, object)
	if err != nil {
		return err
	}
	action := Unchanged
	err = retry.OnError(raceBackoff, isRace, func() error {
		live, err := client.Get(ctx, object.GetName(), metav1.GetOptions{})
		if err != nil || live.GetDeletionTimestamp() != nil {
			return err
		}
		next := merge(live, nil)
		if reflect.DeepEqual(next.Object, live.Object) {
			return nil
		}
		action = Updated
		return s.write(func() error {
			_, err := client.Update(ctx, next, metav1.UpdateOptions{FieldManager: fieldManager})
			return err
		})
	})
	switch {
	case isMissing(err):
		return nil
	case err != nil:
		return s.explain(workspace, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err))
	}
	s.applied(workspace, object, action)
	return nil
}

// applyOnce gathers the live object, decides and writes.
func (s *server) applyOnce(ctx context.Context, client dynamic.ResourceInterface, desired *unstructured.Unstructured, merge merger) (Action, error) {
	return s.createOr(ctx, client, desired, func(live *unstructured.Unstructured) (Action, error) {
		next := merge(live, desired)
		if reflect.DeepEqual(next.Object, live.Object) {
			return Unchanged, nil
		}
		return Updated, s.write(func() error {
			_, err := client.Update(ctx, next, metav1.UpdateOptions{FieldManager: fieldManager})
			return err
		})
	})
}

// createOr makes the object if there is none of its name, and otherwise has change do
// what is to be done about the one that there is.
func (s *server) createOr(ctx context.Context, client dynamic.ResourceInterface, desired *unstructured.Unstructured, change func(live *unstructured.Unstructured) (Action, error)) (Action, error) {
	live, err := client.Get(ctx, desired.GetName(), metav1.GetOptions{})
	if isMissing(err) {
		return Created, s.write(func() error {
			_, err := client.Create(ctx, desired, metav1.CreateOptions{FieldManager: fieldManager})
			return err
		})
	}
	if err != nil {
		return "", err
	}
	if err := checkStays(live); err != nil {
		return "", err
	}
	return change(live)
}

// write makes a request that writes, unless nothing is to be written.
func (s *server) write(request func() error) error {
	if s.dryRun {
		return nil
	}
	return request()
}

// checkStays fails when an object is being deleted, which cannot be taken back.
func checkStays(live *unstructured.Unstructured) error {
	if live.GetDeletionTimestamp() == nil {
		return nil
	}
	return fmt.Errorf("it is being deleted: wait until it is gone (finalizers: %v)", live.GetFinalizers())
}

// raceBackoff is how often a write is tried again that failed because of another one: for
// some 3 s, which kcp's caches take on a busy machine to show what has just been written.
var raceBackoff = wait.Backoff{Duration: 20 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 8}

// isRace reports whether a write failed because somebody else wrote first.
func isRace(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || isClaimedMeanwhile(err)
}

// claimLabel starts the labels by which kcp notes which claims show an object.
const claimLabel = "claimed.internal.apis.kcp.io/"

// isClaimedMeanwhile reports whether kcp refused an object because a claim on its kind came
// into force while kcp admitted it: kcp sets the labels of claims first, and checks them in a
// second step (kcp, pkg/admission/permissionclaims). kcp says so in words alone.
func isClaimedMeanwhile(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), claimLabel)
}

// resource returns a client for objects like object in a workspace.
func (s *server) resource(workspace string, object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	objects, err := s.objects(workspace)
	if err != nil {
		return nil, err
	}
	// All kinds that are installed have regular plurals.
	plural, _ := meta.UnsafeGuessKindToResource(object.GroupVersionKind())
	if namespace := object.GetNamespace(); namespace != "" {
		return objects.Resource(plural).Namespace(namespace), nil
	}
	return objects.Resource(plural), nil
}

// applied tells the caller what was done about an object.
func (s *server) applied(workspace string, object *unstructured.Unstructured, action Action) {
	if s.options.OnApplied == nil {
		return
	}
	s.telling.Lock()
	defer s.telling.Unlock()
	s.options.OnApplied(Result{
		Workspace: workspace,
		Group:     object.GroupVersionKind().Group,
		Kind:      object.GetKind(),
		Name:      object.GetName(),
		Action:    action,
	})
}

// toUnstructured returns a typed object, which must have its type set, as it is sent:
// without status and without the empty time stamp that Go types have, and with numbers
// as they are read from a server, so that both can be compared.
func toUnstructured(object any) (*unstructured.Unstructured, error) {
	data, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	fields := map[string]any{}
	if err := utiljson.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	unstructured.RemoveNestedField(fields, "status")
	unstructured.RemoveNestedField(fields, "metadata", "creationTimestamp")
	return &unstructured.Unstructured{Object: fields}, nil
}
