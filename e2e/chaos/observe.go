package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// eyes read kcp and the clusters directly.
type eyes struct {
	tenants  *tenants
	clusters map[string]dynamic.Interface
}

func newEyes(t *tenants, configs map[string]*rest.Config) (*eyes, error) {
	e := &eyes{tenants: t, clusters: map[string]dynamic.Interface{}}
	for name, config := range configs {
		config = rest.CopyConfig(config)
		config.QPS = -1
		client, err := dynamic.NewForConfig(config)
		if err != nil {
			return nil, err
		}
		e.clusters[name] = client
	}
	return e, nil
}

// isOwnNamespace reports whether a namespace is the cluster's own, or that of the syncer.
func isOwnNamespace(name string) bool {
	return strings.HasPrefix(name, "kube-") || strings.HasPrefix(name, "tmc") || name == metav1.NamespaceDefault
}

// world reads all there is.
func (e *eyes) world(ctx context.Context) (World, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	w := World{
		Upstream: map[NamespaceKey]map[Key]*unstructured.Unstructured{}, Copies: map[CopyKey]*unstructured.Unstructured{},
		Namespaces: map[string]map[string]*unstructured.Unstructured{},
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	for _, who := range e.tenants.list() {
		group.Go(func() error { return e.upstream(ctx, who, &w, &mu) })
	}
	for name, client := range e.clusters {
		group.Go(func() error { return e.cluster(ctx, name, client, &w, &mu) })
	}
	err := group.Wait()
	slices.Sort(w.Ending)
	return w, err
}

// upstream reads what a tenant has in kcp.
func (e *eyes) upstream(ctx context.Context, who *tenant, w *World, mu *sync.Mutex) error {
	namespaces, err := who.client.Resource(namespaceGVR).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("%s: namespaces: %w", who.workspace, err)
	}
	mu.Lock()
	for _, namespace := range namespaces.Items {
		if namespace.GetDeletionTimestamp() != nil {
			w.Ending = append(w.Ending, fmt.Sprintf("kcp: namespace %s of %s: %s", namespace.GetName(), who.workspace, text(namespace.Object["status"])))
		}
	}
	mu.Unlock()
	for _, kind := range append(slices.Clone(syncedKinds), WorkloadPlacement) {
		list, err := who.client.Resource(resources[kind]).List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("%s: %s: %w", who.workspace, kind, err)
		}
		mu.Lock()
		for i := range list.Items {
			object := &list.Items[i]
			namespace := NamespaceKey{who.workspace, object.GetNamespace()}
			if !isTenants(namespace.Name) || object.GetName() == "kube-root-ca.crt" {
				continue
			}
			if w.Upstream[namespace] == nil {
				w.Upstream[namespace] = map[Key]*unstructured.Unstructured{}
			}
			w.Upstream[namespace][Key{kind, object.GetName()}] = object
		}
		mu.Unlock()
	}
	return nil
}

// cluster reads what a cluster has.
func (e *eyes) cluster(ctx context.Context, name string, client dynamic.Interface, w *World, mu *sync.Mutex) error {
	namespaces, err := client.Resource(namespaceGVR).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("%s: namespaces: %w", name, err)
	}
	mu.Lock()
	w.Namespaces[name] = map[string]*unstructured.Unstructured{}
	for i := range namespaces.Items {
		w.Namespaces[name][namespaces.Items[i].GetName()] = &namespaces.Items[i]
	}
	mu.Unlock()
	for _, kind := range syncedKinds {
		list, err := client.Resource(resources[kind]).List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("%s: %s: %w", name, kind, err)
		}
		mu.Lock()
		for i := range list.Items {
			object := &list.Items[i]
			if !isOwnNamespace(object.GetNamespace()) && object.GetName() != "kube-root-ca.crt" {
				w.Copies[copyKey(name, object.GetNamespace(), Key{kind, object.GetName()})] = object
			}
		}
		mu.Unlock()
	}
	return nil
}

// uids are the copies' identities at a quiet moment, with that of the object that each is of.
type uids map[CopyKey]identity

type identity struct{ of, uid string }

func uidsOf(w World) uids {
	all := uids{}
	for at, object := range w.Copies {
		if of := object.GetAnnotations()[sourceUIDKey]; of != "" {
			all[at] = identity{of, string(object.GetUID())}
		}
	}
	return all
}

// madeAnew says which copies are others than before although nobody moved, deleted or meddled with them.
func madeAnew(before, now uids, moved func(at CopyKey) bool, meddled map[CopyKey]string) []string {
	var problems []string
	for at, was := range before {
		is, there := now[at]
		if !there || is.of != was.of || is.uid == was.uid || meddled[at] != "" || moved(at) {
			continue
		}
		problems = append(problems, fmt.Sprintf("%s was made anew: uid %s, and %s before; nobody moved, deleted or meddled with it", at, is.uid, was.uid))
	}
	slices.Sort(problems)
	return problems
}

// mover returns a func that reports whether the operations of a round may have taken an object off a cluster for a while.
func mover(before State, round Round) func(at CopyKey) bool {
	m := moves{drained: map[string]bool{}, touched: map[string]map[Key]bool{}}
	for name, state := range before.Fleet {
		m.drained[name] = state == Drained
	}
	for _, op := range round.Ops {
		m.take(op)
	}
	return func(at CopyKey) bool { return m.drained[at.Cluster] || m.touched[at.Namespace][at.Key] }
}

// moves are what operations have moved: all of the clusters that were drained, and objects by namespace.
type moves struct {
	drained map[string]bool
	touched map[string]map[Key]bool
}

func (m moves) touch(namespace string, keys ...Key) {
	if m.touched[namespace] == nil {
		m.touched[namespace] = map[Key]bool{}
	}
	for _, key := range keys {
		m.touched[namespace][key] = true
	}
}

// take notes what an operation moves: the object, what follows it, and with a placement or a namespace all that is there.
func (m moves) take(op Op) {
	if op.Verb == SetFleet {
		m.drained[op.Cluster] = m.drained[op.Cluster] || op.State == Drained
		return
	}
	if op.Verb == RecreateNamespace || op.Now.Kind == WorkloadPlacement {
		m.touch(op.Namespace.Name, slots(op.Namespace)...)
	}
	staysWhereItIs := op.Verb == Change && op.Was.Group == op.Now.Group && text(op.Was.Targets) == text(op.Now.Targets) &&
		op.Now.Replicas == op.Was.Replicas && slices.Equal(op.Was.Mounts, op.Now.Mounts)
	if !staysWhereItIs {
		m.touch(op.Namespace.Name, op.Now.Key, Key{Service, op.Now.Name})
		m.touch(op.Namespace.Name, op.Was.Mounts...)
	}
}
