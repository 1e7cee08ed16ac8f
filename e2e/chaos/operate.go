package chaos

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// tenants are all that have workspaces, and who carries out their operations.
type tenants struct {
	admin *rest.Config
	// bind binds a workspace to tmc.
	bind func(ctx context.Context, path string) error
	log  func(format string, args ...any)
	// met hears of each new tenant, and left of each that is gone.
	met  func(*tenant)
	left func(*tenant)

	mu  sync.Mutex
	all map[string]*tenant
	// ending are the workspaces that were deleted.
	ending []string
	done   int
	errs   []error
}

// of returns the tenant of a workspace.
func (t *tenants) of(workspace string) *tenant {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all[workspace]
}

// list returns the tenants that there are.
func (t *tenants) list() []*tenant {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*tenant
	for _, each := range t.all {
		all = append(all, each)
	}
	return all
}

// take returns what went wrong with operations since the last call, and how many were done in all.
func (t *tenants) take() ([]error, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	errs := t.errs
	t.errs = nil
	return errs, t.done
}

// turn is an operation and those that have to be done before it.
type turn struct {
	op    Op
	after []<-chan struct{}
	done  chan struct{}
}

// turns puts the operations of a round into their order: on one object one after the other, on a namespace or a workspace
// after all that came before within it and before all that comes after.
func turns(ops []Op) []*turn {
	var all []*turn
	for _, op := range ops {
		next := &turn{op: op, done: make(chan struct{})}
		for _, former := range all {
			if conflict(former.op, op) {
				next.after = append(next.after, former.done)
			}
		}
		all = append(all, next)
	}
	return all
}

// conflict reports whether the second of two operations has to wait for the first.
func conflict(a, b Op) bool {
	if a.Verb == SetFleet || b.Verb == SetFleet {
		return a.Verb == b.Verb
	}
	if a.Namespace.Workspace != b.Namespace.Workspace {
		return false
	}
	for _, verb := range []Verb{a.Verb, b.Verb} {
		if verb == CreateWorkspace || verb == DeleteWorkspace {
			return true
		}
	}
	if a.Namespace != b.Namespace {
		return false
	}
	return a.Verb == RecreateNamespace || b.Verb == RecreateNamespace || a.Now.Key == b.Now.Key
}

// carryOut carries out the operations of a round, each at its time after begin, and returns when all are done or given up.
func (t *tenants) carryOut(ctx context.Context, begin time.Time, ops []Op) {
	var group sync.WaitGroup
	for _, each := range turns(ops) {
		group.Go(func() {
			defer close(each.done)
			select {
			case <-ctx.Done():
			case <-time.After(time.Until(begin.Add(each.op.At))):
			}
			for _, former := range each.after {
				<-former
			}
			t.carryOutOne(ctx, each.op)
		})
	}
	group.Wait()
}

func (t *tenants) carryOutOne(ctx context.Context, op Op) {
	start := time.Now()
	tries, err := t.try(ctx, op)
	took := time.Since(start).Round(time.Millisecond)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.errs = append(t.errs, fmt.Errorf("%s: after %s: %w", op, took, err))
		t.log("operation %s: FAILED after %s: %v", op, took, err)
		return
	}
	t.done++
	t.log("operation %s: done in %s, %d tries", op, took, tries)
}

func (t *tenants) try(ctx context.Context, op Op) (int, error) {
	if op.Verb == SetFleet {
		return t.setFleet(ctx, op)
	}
	if op.Verb == CreateWorkspace {
		return t.createWorkspace(ctx, op)
	}
	who := t.of(op.Namespace.Workspace)
	if who == nil {
		return 0, fmt.Errorf("there is no workspace %s", op.Namespace.Workspace)
	}
	switch op.Verb {
	case Create:
		return who.create(ctx, op)
	case Change:
		return who.change(ctx, op)
	case Delete:
		return who.remove(ctx, op)
	case Recreate:
		return who.recreate(ctx, op)
	case RecreateNamespace:
		return who.recreateNamespace(ctx, op)
	case DeleteNamespace:
		return who.deleteNamespace(ctx, op.Namespace.Name)
	case DeleteWorkspace:
		return t.deleteWorkspace(ctx, who)
	default:
		return 0, fmt.Errorf("nobody knows how to %s", op.Verb)
	}
}

// setFleet does what kubectl tmc cordon, drain and uncordon do.
func (t *tenants) setFleet(ctx context.Context, op Op) (int, error) {
	client, err := dynamic.NewForConfig(at(t.admin, providerWorkspace))
	if err != nil {
		return 0, err
	}
	patch := fmt.Sprintf(`{"spec":{"unschedulable":%t,"drain":%t}}`, op.State != Open, op.State == Drained)
	return until(ctx, func(ctx context.Context) error {
		_, err := client.Resource(registrationGVR).Patch(ctx, op.Cluster, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	})
}

// createWorkspace makes a workspace with its tenant, binds it, and makes its namespaces.
func (t *tenants) createWorkspace(ctx context.Context, op Op) (int, error) {
	name := op.Namespace.Workspace
	root, err := dynamic.NewForConfig(at(t.admin, "root"))
	if err != nil {
		return 0, err
	}
	workspace := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": workspaceGVR.GroupVersion().String(), "kind": "Workspace", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"type": map[string]any{"name": "universal", "path": "root"}},
	}}
	var who *tenant
	tries, err := until(ctx, func(ctx context.Context) error {
		_, err := root.Resource(workspaceGVR).Create(ctx, workspace, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
		there, err := root.Resource(workspaceGVR).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if phase, _, _ := unstructured.NestedString(there.Object, "status", "phase"); phase != "Ready" {
			return fmt.Errorf("the workspace is %s", phase)
		}
		who, err = newTenant(ctx, t.admin, name)
		return err
	})
	if err != nil {
		return tries, err
	}
	if err := t.bindAll(ctx, name); err != nil {
		return tries, err
	}
	t.mu.Lock()
	t.all[name] = who
	t.mu.Unlock()
	t.met(who)
	names := []string{op.Namespace.Name}
	if op.Namespace.Name == "" {
		names = []string{namespaceName(name, lasting), namespaceName(name, passing)}
	}
	for _, name := range names {
		more, err := who.createNamespace(ctx, name)
		tries += more
		if err != nil {
			return tries, err
		}
	}
	return tries, nil
}

// bindAll binds a workspace until it is bound to all clusters: kcp may list the export of a cluster that has just joined some
// seconds late, and then the plugin does not bind it.
func (t *tenants) bindAll(ctx context.Context, name string) error {
	client, err := dynamic.NewForConfig(at(t.admin, "root:"+name))
	if err != nil {
		return err
	}
	for {
		err := t.bind(ctx, "root:"+name)
		for _, cluster := range ClusterNames {
			if err == nil {
				_, err = client.Resource(bindingGVR).Get(ctx, "cluster-"+cluster, metav1.GetOptions{})
			}
		}
		if err == nil {
			return nil
		}
		if !sleep(ctx, time.Second) {
			return fmt.Errorf("binding: %w", err)
		}
	}
}

// deleteWorkspace deletes a workspace. Its end is kcp's: after faults, kcp looks ever more rarely whether all in it is gone.
func (t *tenants) deleteWorkspace(ctx context.Context, who *tenant) (int, error) {
	client, err := t.workspaces()
	if err != nil {
		return 0, err
	}
	t.left(who)
	tries, err := until(ctx, func(ctx context.Context) error {
		err := client.Delete(ctx, who.workspace, metav1.DeleteOptions{})
		if isGone(err, who.workspace) {
			return nil
		}
		return err
	})
	if err != nil {
		return tries, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, who.workspace)
	t.ending = append(t.ending, who.workspace)
	return tries, nil
}

// awaitEnds waits until the workspaces that were deleted are gone.
func (t *tenants) awaitEnds(ctx context.Context) error {
	client, err := t.workspaces()
	if err != nil {
		return err
	}
	for _, name := range t.ending {
		_, err := until(ctx, func(ctx context.Context) error {
			there, err := client.Get(ctx, name, metav1.GetOptions{})
			if err == nil {
				return fmt.Errorf("it is there, deleted %v: %s", there.GetDeletionTimestamp(), text(there.Object["status"]))
			}
			if isGone(err, name) {
				return nil
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("workspace %s does not end: %w", name, err)
		}
	}
	return nil
}

// workspaces is the client of the workspaces below root.
func (t *tenants) workspaces() (dynamic.ResourceInterface, error) {
	root, err := dynamic.NewForConfig(at(t.admin, "root"))
	if err != nil {
		return nil, err
	}
	return root.Resource(workspaceGVR), nil
}
