package chaos

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// requestTimeout bounds one request of a tenant: a server that was stopped, or that is behind a fault, answers none.
const requestTimeout = 10 * time.Second

var (
	namespaceGVR = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	bindingGVR   = schema.GroupVersionResource{Group: "apis.kcp.io", Version: "v1alpha2", Resource: "apibindings"}
	workspaceGVR = schema.GroupVersionResource{Group: "tenancy.kcp.io", Version: "v1alpha1", Resource: "workspaces"}
)

// tenant is who has a workspace: an account of the workspace itself, and no administrator of kcp.
type tenant struct {
	workspace string
	client    dynamic.Interface

	mu sync.Mutex
	// uids are those of the objects that the tenant has made.
	uids map[NamespaceKey]map[Key]types.UID
}

// at returns the configuration for a workspace of a server.
func at(config *rest.Config, path string) *rest.Config {
	config = rest.CopyConfig(config)
	config.Host += "/clusters/" + path
	config.QPS = -1
	config.Timeout = 0
	return config
}

// newTenant makes an account in a workspace that is there, with all rights in it, and connects by its token.
func newTenant(ctx context.Context, admin *rest.Config, workspace string) (*tenant, error) {
	config := at(admin, "root:"+workspace)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "tenant"}}
	_, err = client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Create(ctx, account, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("making the tenant's account: %w", err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "tenant"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "tenant", Namespace: metav1.NamespaceDefault}},
	}
	if _, err := client.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("making the tenant's rights: %w", err)
	}
	token, err := framework.AccountToken(ctx, config, metav1.NamespaceDefault, account.Name, day)
	if err != nil {
		return nil, fmt.Errorf("making the tenant's token: %w", err)
	}
	own := rest.AnonymousClientConfig(config)
	own.BearerToken = token
	own.QPS = -1
	objects, err := dynamic.NewForConfig(own)
	return &tenant{workspace: workspace, client: objects, uids: map[NamespaceKey]map[Key]types.UID{}}, err
}

// on returns the client of a kind in a namespace.
func (t *tenant) on(namespace NamespaceKey, kind Kind) dynamic.ResourceInterface {
	return t.client.Resource(resources[kind]).Namespace(namespace.Name)
}

// note remembers the UID of an object.
func (t *tenant) note(namespace NamespaceKey, object *unstructured.Unstructured, key Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.uids[namespace] == nil {
		t.uids[namespace] = map[Key]types.UID{}
	}
	t.uids[namespace][key] = object.GetUID()
}

func (t *tenant) uid(namespace NamespaceKey, key Key) types.UID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.uids[namespace][key]
}

// finalError is what is wrong with an operation that would not succeed later either.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// final makes an error one that is not tried again.
func final(format string, args ...any) error { return finalError{fmt.Errorf(format, args...)} }

// until tries an operation until it succeeds, is in vain, or the context ends, and returns how often it was tried.
func until(ctx context.Context, once func(ctx context.Context) error) (tries int, err error) {
	pause := 50 * time.Millisecond
	for {
		tries++
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			return once(ctx)
		}()
		if inVain := (finalError{}); err == nil || errors.As(err, &inVain) {
			return tries, err
		}
		select {
		case <-ctx.Done():
			return tries, fmt.Errorf("given up after %d tries: %w", tries, err)
		case <-time.After(pause):
		}
		pause = min(2*pause, 500*time.Millisecond)
	}
}

// isGone reports whether an error says that just this object is not there. A server that is starting says 404 of everything.
func isGone(err error, name string) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details != nil && details.Name == name
}

// opOf returns the number of the operation that wrote an object last.
func opOf(object *unstructured.Unstructured) int {
	number, err := strconv.Atoi(object.GetAnnotations()[opKey])
	if err != nil {
		return 0
	}
	return number
}

// create makes the object, once a former one of the name is gone.
func (t *tenant) create(ctx context.Context, op Op) (int, error) {
	client := t.on(op.Namespace, op.Now.Kind)
	object := &unstructured.Unstructured{Object: op.Now.Manifest()}
	stays := 0
	return until(ctx, func(ctx context.Context) error {
		made, err := client.Create(ctx, object, metav1.CreateOptions{})
		if err == nil {
			t.note(op.Namespace, made, op.Now.Key)
			return nil
		}
		if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
			return final("refused: %w", err)
		}
		there, readErr := client.Get(ctx, op.Now.Name, metav1.GetOptions{})
		switch {
		case readErr != nil:
			return errors.Join(err, readErr)
		case opOf(there) == op.Seq: // the answer was lost
			t.note(op.Namespace, there, op.Now.Key)
			return nil
		case there.GetDeletionTimestamp() == nil:
			if stays++; stays > 20 {
				return final("there is one already, of operation %d, which is not being deleted: %w", opOf(there), err)
			}
		}
		return fmt.Errorf("the former one (uid %s) is there, deleted %v, finalizers %v: %w", there.GetUID(), there.GetDeletionTimestamp(), there.GetFinalizers(), err)
	})
}

// change patches the object.
func (t *tenant) change(ctx context.Context, op Op) (int, error) {
	patch, err := patchBetween(op.Was, op.Now)
	if err != nil {
		return 0, err
	}
	client := t.on(op.Namespace, op.Now.Kind)
	refused := 0
	return until(ctx, func(ctx context.Context) error {
		_, err := client.Patch(ctx, op.Now.Name, types.JSONPatchType, patch, metav1.PatchOptions{})
		if err == nil {
			return nil
		}
		there, readErr := client.Get(ctx, op.Now.Name, metav1.GetOptions{})
		switch {
		case isGone(readErr, op.Now.Name):
			return final("kcp has lost it: %w", readErr)
		case readErr != nil:
			return errors.Join(err, readErr)
		case opOf(there) == op.Seq:
			return nil
		case opOf(there) != op.Was.Op:
			return final("it is of operation %d, and should be of %d: %w", opOf(there), op.Was.Op, err)
		case apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err):
			if refused++; refused > 10 {
				return final("refused: %w", err)
			}
		}
		return err
	})
}

// remove deletes the object, and does not wait for its end.
func (t *tenant) remove(ctx context.Context, op Op) (int, error) {
	uid := t.uid(op.Namespace, op.Was.Key)
	policy := metav1.DeletePropagationBackground
	if op.Foreground {
		policy = metav1.DeletePropagationForeground
	}
	options := metav1.DeleteOptions{PropagationPolicy: &policy, Preconditions: &metav1.Preconditions{UID: &uid}}
	return until(ctx, func(ctx context.Context) error {
		err := t.on(op.Namespace, op.Was.Kind).Delete(ctx, op.Was.Name, options)
		if err == nil || isGone(err, op.Was.Name) {
			return nil
		}
		return err
	})
}

// recreate deletes the object and creates it again at once.
func (t *tenant) recreate(ctx context.Context, op Op) (int, error) {
	tries, err := t.remove(ctx, op)
	if err != nil {
		return tries, err
	}
	more, err := t.create(ctx, op)
	return tries + more, err
}

// createNamespace makes a namespace.
func (t *tenant) createNamespace(ctx context.Context, name string) (int, error) {
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name},
	}}
	return until(ctx, func(ctx context.Context) error {
		_, err := t.client.Resource(namespaceGVR).Create(ctx, object, metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		there, err := t.client.Resource(namespaceGVR).Get(ctx, name, metav1.GetOptions{})
		if err == nil && there.GetDeletionTimestamp() != nil {
			err = fmt.Errorf("the former one is there: %s", text(there.Object["status"]))
		}
		return err
	})
}

// recreateNamespace deletes a namespace, waits for its end and makes it anew.
func (t *tenant) recreateNamespace(ctx context.Context, op Op) (int, error) {
	tries, err := t.deleteNamespace(ctx, op.Namespace.Name)
	if err != nil {
		return tries, err
	}
	more, err := t.createNamespace(ctx, op.Namespace.Name)
	return tries + more, err
}

// deleteNamespace deletes a namespace and waits for its end.
func (t *tenant) deleteNamespace(ctx context.Context, name string) (int, error) {
	client := t.client.Resource(namespaceGVR)
	there, err := t.readNamespace(ctx, name)
	if err != nil {
		return 0, err
	}
	return until(ctx, func(ctx context.Context) error {
		now, err := client.Get(ctx, name, metav1.GetOptions{})
		switch {
		case isGone(err, name):
			return nil
		case err != nil:
			return err
		case now.GetUID() != there:
			return final("the namespace is another one, %s and not %s", now.GetUID(), there)
		case now.GetDeletionTimestamp() == nil:
			err = client.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &there}})
		}
		return errors.Join(err, fmt.Errorf("it is there, deleted %v: %s", now.GetDeletionTimestamp(), text(now.Object["status"])))
	})
}

// readNamespace returns the UID of a namespace.
func (t *tenant) readNamespace(ctx context.Context, name string) (uid types.UID, err error) {
	_, err = until(ctx, func(ctx context.Context) error {
		there, err := t.client.Resource(namespaceGVR).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			uid = there.GetUID()
		}
		return err
	})
	return uid, err
}
