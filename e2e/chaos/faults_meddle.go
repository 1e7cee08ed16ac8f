package chaos

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// What tmc writes on objects, as its users know it.
const (
	keyDomain         = "tmc.kcp.io/"
	managedByLabel    = keyDomain + "managed-by"
	placementLabels   = "cluster." + keyDomain
	statusAnnotations = "status." + keyDomain
	syncerFinalizers  = "syncer." + keyDomain
	// deleted is what is done to copies that are deleted.
	deleted = "deleted"
	// editedKey is the key that meddlers add to data and labels.
	editedKey = "chaos-edited"
	// holdFinalizer is the finalizer that meddlers add.
	holdFinalizer = "chaos.example.com/hold"
)

// originMarks are the annotations of a copy without which it is somebody else's.
var originMarks = []string{keyDomain + "source-cluster", keyDomain + "source-name", keyDomain + "target-cluster"}

// meddledKinds are the kinds that are meddled with.
var meddledKinds = []schema.GroupVersionResource{
	{Group: "apps", Version: "v1", Resource: "deployments"},
	{Group: "apps", Version: "v1", Resource: "statefulsets"},
	{Group: "batch", Version: "v1", Resource: "jobs"},
	{Version: "v1", Resource: "configmaps"},
	{Version: "v1", Resource: "secrets"},
	{Version: "v1", Resource: "services"},
}

// meddleTimeout bounds meddling: a server may be away.
const meddleTimeout = 3 * time.Second

// found is an object that can be meddled with.
type found struct {
	gvr schema.GroupVersionResource
	obj *unstructured.Unstructured
}

// deed is what is done to an object. It returns what was done, empty for nothing.
type deed struct {
	name string
	do   func(ctx context.Context, client dynamic.ResourceInterface, f found) (string, error)
}

// meddler is a fault of objects that somebody changes who should not.
type meddler struct {
	where  Object // its cluster or workspace
	config *rest.Config
	deed   deed
	// choices say which of the objects are taken, one each.
	choices []uint32
	isOurs  func(*unstructured.Unstructured) bool

	mu      sync.Mutex
	touched []Object
}

// drawMeddleBelow has somebody in a cluster meddle with copies.
func drawMeddleBelow(g *Ground, r *rand.Rand) Fault {
	cluster := pick(r, ClusterNames...)
	m := &meddler{
		where: Object{Cluster: cluster}, config: g.Clusters[cluster], deed: drawDeedBelow(r),
		isOurs: func(obj *unstructured.Unstructured) bool { return obj.GetLabels()[managedByLabel] != "" },
	}
	return m.fault(g, r)
}

// drawMeddleAbove has an administrator of kcp meddle with what is tmc's on objects in a workspace.
func drawMeddleAbove(g *Ground, r *rand.Rand) Fault {
	workspace := pick(r, g.Workspaces...)
	m := &meddler{
		where: Object{Workspace: workspace}, config: g.Workspace(workspace), deed: drawDeedAbove(r),
		isOurs: func(obj *unstructured.Unstructured) bool { return len(keysWith(obj.GetLabels(), placementLabels)) > 0 },
	}
	return m.fault(g, r)
}

func (m *meddler) fault(g *Ground, r *rand.Rand) Fault {
	for range 1 + r.IntN(3) {
		m.choices = append(m.choices, r.Uint32())
	}
	return Fault{
		Name:  fmt.Sprintf("%s, of %d objects in %s%s", m.deed.name, len(m.choices), m.where.Cluster, m.where.Workspace),
		Lasts: between(r, 0, g.options.Longest/2), Begin: m.begin, Heal: m.heal, Touched: m.all,
	}
}

func (m *meddler) all() []Object {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.touched)
}

// begin meddles with what there is. What cannot be reached is left alone.
func (m *meddler) begin(ctx context.Context) error {
	client, err := dynamic.NewForConfig(m.config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, meddleTimeout)
	defer cancel()
	objects := m.find(ctx, client)
	if len(objects) == 0 {
		return nil
	}
	for _, choice := range m.choices {
		f := objects[int(choice)%len(objects)]
		what, err := m.deed.do(ctx, client.Resource(f.gvr).Namespace(f.obj.GetNamespace()), f)
		if what == "" && err == nil {
			continue
		}
		if err != nil {
			what = fmt.Sprintf("perhaps (%v) %s", err, m.deed.name)
		}
		m.touch(f, what)
	}
	return nil
}

func (m *meddler) touch(f found, what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	object := m.where
	object.Resource, object.Namespace, object.Name, object.What = f.gvr.GroupResource().String(), f.obj.GetNamespace(), f.obj.GetName(), what
	object.UID = f.obj.GetUID()
	m.touched = append(m.touched, object)
}

// find returns the objects that are tmc's business, in a fixed order.
func (m *meddler) find(ctx context.Context, client dynamic.Interface) []found {
	var all []found
	for _, gvr := range meddledKinds {
		list, err := client.Resource(gvr).List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		for i := range list.Items {
			if m.isOurs(&list.Items[i]) {
				all = append(all, found{gvr, &list.Items[i]})
			}
		}
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.gvr.Resource, b.gvr.Resource), cmp.Compare(a.obj.GetNamespace(), b.obj.GetNamespace()), cmp.Compare(a.obj.GetName(), b.obj.GetName()))
	})
	return all
}

// heal takes away the finalizers that were added, and deletes copies that nobody can tell to be tmc's any more, as tmc's
// users are told to have somebody do. The rest is for tmc to mend.
func (m *meddler) heal(ctx context.Context) error {
	client, err := dynamic.NewForConfig(m.config)
	if err != nil {
		return err
	}
	for _, object := range m.all() {
		if strings.HasPrefix(object.What, deleted) {
			continue
		}
		gvr := meddledKinds[slices.IndexFunc(meddledKinds, func(gvr schema.GroupVersionResource) bool { return gvr.GroupResource().String() == object.Resource })]
		objects := client.Resource(gvr).Namespace(object.Namespace)
		err := framework.Eventually(ctx, object.String()+" to be put right", healTimeout, func(ctx context.Context) (bool, string, error) {
			err := m.putRight(ctx, objects, object)
			return err == nil, "", err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// putRight is heal for one object, if it still is the one.
func (m *meddler) putRight(ctx context.Context, objects dynamic.ResourceInterface, touched Object) error {
	obj, err := objects.Get(ctx, touched.Name, metav1.GetOptions{})
	switch {
	case err != nil || obj.GetUID() != touched.UID:
	case m.where.Cluster != "" && isOrphaned(obj):
		err = objects.Delete(ctx, touched.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &touched.UID}})
	default:
		err = withoutFinalizer(ctx, objects, obj, holdFinalizer)
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// isOrphaned reports whether a copy has lost a mark that says whose it is.
func isOrphaned(obj *unstructured.Unstructured) bool {
	annotations := obj.GetAnnotations()
	return slices.ContainsFunc(originMarks, func(key string) bool { return annotations[key] == "" })
}

// withoutFinalizer takes a finalizer off an object, if it has it.
func withoutFinalizer(ctx context.Context, objects dynamic.ResourceInterface, obj *unstructured.Unstructured, finalizer string) error {
	finalizers := obj.GetFinalizers()
	if !slices.Contains(finalizers, finalizer) {
		return nil
	}
	kept := slices.DeleteFunc(slices.Clone(finalizers), func(other string) bool { return other == finalizer })
	return patch(ctx, objects, obj, finalized(obj, kept))
}

// metadata, labelled, annotated and finalized are changes of an object's metadata.
func metadata(change map[string]any) map[string]any { return map[string]any{"metadata": change} }

func labelled(change map[string]any) map[string]any {
	return metadata(map[string]any{"labels": change})
}

func annotated(change map[string]any) map[string]any {
	return metadata(map[string]any{"annotations": change})
}

func finalized(obj *unstructured.Unstructured, finalizers []string) map[string]any {
	return metadata(map[string]any{"finalizers": finalizers, "resourceVersion": obj.GetResourceVersion()})
}

// inSpec is a change of an object's spec.
func inSpec(change map[string]any) map[string]any { return map[string]any{"spec": change} }

// patch merges a change into an object.
func patch(ctx context.Context, objects dynamic.ResourceInterface, obj *unstructured.Unstructured, change map[string]any) error {
	data, err := json.Marshal(change)
	if err != nil {
		return err
	}
	_, err = objects.Patch(ctx, obj.GetName(), types.MergePatchType, data, metav1.PatchOptions{FieldManager: "meddler"})
	return err
}

// keysWith returns the keys with a prefix, sorted.
func keysWith(from map[string]string, prefix string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(from)), func(key string) bool { return !strings.HasPrefix(key, prefix) })
}

// drawDeedBelow draws what is done to copies.
func drawDeedBelow(r *rand.Rand) deed {
	amount, number := int64(r.IntN(6)), r.Uint32()
	return pick(r,
		deed{"copies are deleted", func(ctx context.Context, client dynamic.ResourceInterface, f found) (string, error) {
			return deleted, client.Delete(ctx, f.obj.GetName(), metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)})
		}},
		deed{"copies are edited", func(ctx context.Context, client dynamic.ResourceInterface, f found) (string, error) {
			return edit(ctx, client, f, number)
		}},
		deed{"the mark managed-by is taken off copies", func(ctx context.Context, client dynamic.ResourceInterface, f found) (string, error) {
			return "its mark managed-by taken off", patch(ctx, client, f.obj, labelled(map[string]any{managedByLabel: nil}))
		}},
		deed{"a mark is taken off copies", func(ctx context.Context, client dynamic.ResourceInterface, f found) (string, error) {
			return takeAnnotationOff(ctx, client, f, keyDomain, number)
		}},
		deed{"all marks are taken off copies", func(ctx context.Context, client dynamic.ResourceInterface, f found) (string, error) {
			return "all marks taken off", patch(ctx, client, f.obj, metadata(map[string]any{
				"labels": nothingOf(f.obj.GetLabels()), "annotations": nothingOf(f.obj.GetAnnotations()),
			}))
		}},
		deed{"copies are scaled", func(ctx context.Context, client dynamic.ResourceInterface, f found) (string, error) {
			if _, has, _ := unstructured.NestedInt64(f.obj.Object, "spec", "replicas"); !has {
				return "", nil
			}
			return fmt.Sprintf("scaled to %d", amount), patch(ctx, client, f.obj, inSpec(map[string]any{"replicas": amount}))
		}},
		deed{"a finalizer is added to copies", func(ctx context.Context, client dynamic.ResourceInterface, f found) (string, error) {
			if f.obj.GetDeletionTimestamp() != nil {
				return "", nil
			}
			return holdFinalizer + " added", patch(ctx, client, f.obj, finalized(f.obj, append(slices.Clone(f.obj.GetFinalizers()), holdFinalizer)))
		}},
	)
}

// takeAnnotationOff takes one of the annotations with a prefix off, chosen by a number. It does nothing to an object without any.
func takeAnnotationOff(ctx context.Context, client dynamic.ResourceInterface, f found, prefix string, number uint32) (string, error) {
	keys := keysWith(f.obj.GetAnnotations(), prefix)
	if len(keys) == 0 {
		return "", nil
	}
	key := keys[int(number)%len(keys)]
	return key + " taken off", patch(ctx, client, f.obj, annotated(map[string]any{key: nil}))
}

// nothingOf is a patch that removes all keys of tmc's.
func nothingOf(from map[string]string) map[string]any {
	nothing := map[string]any{}
	for _, key := range keysWith(from, keyDomain) {
		nothing[key] = nil
	}
	return nothing
}

// edit changes what a copy says.
func edit(ctx context.Context, client dynamic.ResourceInterface, f found, number uint32) (string, error) {
	value := fmt.Sprintf("chaos-%d", number%1000)
	switch f.gvr.Resource {
	case "configmaps":
		return "data edited", patch(ctx, client, f.obj, map[string]any{"data": map[string]any{editedKey: value}})
	case "secrets":
		return "data edited", patch(ctx, client, f.obj, map[string]any{"stringData": map[string]any{editedKey: value}})
	case "services":
		return "selector edited", patch(ctx, client, f.obj, inSpec(map[string]any{"selector": map[string]any{"app": value}}))
	case "deployments", "statefulsets":
		containers, _, _ := unstructured.NestedSlice(f.obj.Object, "spec", "template", "spec", "containers")
		if len(containers) == 0 {
			return "", nil
		}
		containers[0].(map[string]any)["image"] = "registry.example.com/" + value
		return "image edited", patch(ctx, client, f.obj, inSpec(map[string]any{"template": inSpec(map[string]any{"containers": containers})}))
	default:
		return "label edited", patch(ctx, client, f.obj, labelled(map[string]any{editedKey: value}))
	}
}

// drawDeedAbove draws what is done to what tmc has written on objects in kcp.
func drawDeedAbove(r *rand.Rand) deed {
	number := r.Uint32()
	return pick(r,
		deed{"a placement label is taken off", func(ctx context.Context, client dynamic.ResourceInterface, f found) (string, error) {
			keys := keysWith(f.obj.GetLabels(), placementLabels)
			key := keys[int(number)%len(keys)]
			return key + " taken off", patch(ctx, client, f.obj, labelled(map[string]any{key: nil}))
		}},
		deed{"a report is taken off", func(ctx context.Context, client dynamic.ResourceInterface, f found) (string, error) {
			return takeAnnotationOff(ctx, client, f, statusAnnotations, number)
		}},
		deed{"a syncer's finalizer is taken off", func(ctx context.Context, client dynamic.ResourceInterface, f found) (string, error) {
			finalizers := slices.DeleteFunc(f.obj.GetFinalizers(), func(finalizer string) bool { return !strings.HasPrefix(finalizer, syncerFinalizers) })
			if len(finalizers) == 0 {
				return "", nil
			}
			finalizer := finalizers[int(number)%len(finalizers)]
			return finalizer + " taken off", withoutFinalizer(ctx, client, f.obj, finalizer)
		}},
	)
}
