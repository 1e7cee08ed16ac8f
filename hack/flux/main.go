// fluxapply does to a set of manifests what Flux' kustomize-controller does at each reconciliation, with the same libraries
// and options: it applies the set in stages, deletes what an earlier set had and this one has not, and waits until all
// of it is ready. The tests run it against kcp.
//
// It restates reconcile, apply, prune, checkHealth and finalize of internal/controller/kustomization_controller.go, and
// internal/inventory, of github.com/fluxcd/kustomize-controller v1.9, with spec.wait and spec.prune true.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"sort"
	"syscall"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/clusterreader"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/cli-utils/pkg/object"
	"github.com/fluxcd/pkg/runtime/statusreaders"
	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/normalize"
	ssautil "github.com/fluxcd/pkg/ssa/utils"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

const (
	controllerName = "kustomize-controller"
	group          = "kustomize.toolkit.fluxcd.io"
	// concurrency is what --concurrent-ssa of kustomize-controller is by default.
	concurrency = 4
)

// kustomization stands for the object of that kind.
type kustomization struct {
	name, namespace string
	// targetNamespace is that of objects that say none. All objects are taken for ones of a namespace.
	targetNamespace string
	// inventory is the file of what .status.inventory has: an object's id, and the version of its API.
	inventory string
	// timeout bounds the wait, and interval is how often it looks.
	timeout, interval time.Duration
}

func main() {
	var kubeconfig, file string
	var remove bool
	var k kustomization
	flag.StringVar(&kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "kubeconfig of the server")
	flag.StringVar(&file, "filename", "", "file with the set of manifests")
	flag.BoolVar(&remove, "delete", false, "delete the set, as when its Kustomization is deleted, and wait until it is gone")
	flag.StringVar(&k.name, "name", "fluxapply", "name of the Kustomization")
	flag.StringVar(&k.namespace, "namespace", "flux-system", "namespace of the Kustomization")
	flag.StringVar(&k.targetNamespace, "target-namespace", "default", "namespace of objects that say none")
	flag.StringVar(&k.inventory, "inventory", "", "file in which to keep what has been applied")
	flag.DurationVar(&k.timeout, "timeout", 5*time.Minute, "how long to wait")
	flag.DurationVar(&k.interval, "interval", 5*time.Second, "how often to look while waiting")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := k.run(ctx, kubeconfig, file, remove)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func (k *kustomization) run(ctx context.Context, kubeconfig, file string, remove bool) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	manager, err := newManager(config)
	if err != nil {
		return err
	}
	if remove {
		return k.finalize(ctx, manager)
	}
	input, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = input.Close() }()
	objects, err := ssautil.ReadObjects(input)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if o.GetNamespace() == "" {
			o.SetNamespace(k.targetNamespace)
		}
	}
	return k.reconcile(ctx, manager, objects)
}

// newManager makes the manager with a poller that reads directly, as is kustomize-controller's default.
func newManager(config *rest.Config) (*ssa.ResourceManager, error) {
	config.QPS = -1
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	mapper, err := apiutil.NewDynamicRESTMapper(config, httpClient)
	if err != nil {
		return nil, err
	}
	kubeClient, err := client.New(config, client.Options{HTTPClient: httpClient, Mapper: mapper})
	if err != nil {
		return nil, err
	}
	poller := polling.NewStatusPoller(kubeClient, mapper, polling.Options{
		CustomStatusReaders:  []engine.StatusReader{statusreaders.NewCustomJobStatusReader(mapper)},
		ClusterReaderFactory: engine.ClusterReaderFactoryFunc(clusterreader.NewDirectClusterReader),
	})
	manager := ssa.NewResourceManager(kubeClient, poller, ssa.Owner{Field: controllerName, Group: group})
	manager.SetConcurrency(concurrency)
	return manager, nil
}

// reconcile applies the objects, deletes those that are no longer among them, and waits for the others.
func (k *kustomization) reconcile(ctx context.Context, manager *ssa.ResourceManager, objects []*unstructured.Unstructured) error {
	manager.SetOwnerLabels(objects, k.name, k.namespace)
	if err := normalize.UnstructuredList(objects); err != nil {
		return err
	}
	old, err := k.readInventory()
	if err != nil {
		return err
	}
	changes, err := manager.ApplyAllStaged(ctx, objects, applyOptions())
	if err != nil {
		return fmt.Errorf("%w\n%s", err, changes)
	}
	fmt.Println(changes)
	now := map[string]string{}
	for _, entry := range changes.Entries {
		now[entry.ObjMetadata.String()] = entry.GroupVersion
	}
	if err := k.writeInventory(now); err != nil {
		return err
	}
	for id := range now {
		delete(old, id)
	}
	if err := k.delete(ctx, manager, old, nil); err != nil {
		return err
	}
	began := time.Now()
	set := changes.ToObjMetadataSet()
	err = manager.WaitForSetWithContext(ctx, set, ssa.WaitOptions{
		Interval: k.interval, Timeout: k.timeout, FailFast: true, JobsWithTTL: ssautil.ExtractJobsWithTTL(objects),
	})
	if err != nil {
		return fmt.Errorf("health check failed after %s: %w%s", time.Since(began).Round(time.Second), err, explained(ctx, manager.Client(), objects))
	}
	fmt.Printf("health check passed in %s\n", time.Since(began).Round(100*time.Millisecond))
	return nil
}

// finalize deletes what the inventory has and waits until it is gone.
func (k *kustomization) finalize(ctx context.Context, manager *ssa.ResourceManager) error {
	old, err := k.readInventory()
	if err != nil {
		return err
	}
	return k.delete(ctx, manager, old, &ssa.WaitOptions{Interval: k.interval, Timeout: k.timeout})
}

// delete deletes objects of an inventory, and waits for it unless wait is nil.
func (k *kustomization) delete(ctx context.Context, manager *ssa.ResourceManager, inventory map[string]string, wait *ssa.WaitOptions) error {
	objects, err := objectsOf(inventory)
	if err != nil || len(objects) == 0 {
		return err
	}
	changes, err := manager.DeleteAll(ctx, objects, ssa.DeleteOptions{
		PropagationPolicy: metav1.DeletePropagationBackground,
		Inclusions:        manager.GetOwnerLabels(k.name, k.namespace),
		Exclusions:        map[string]string{group + "/prune": "disabled", group + "/reconcile": "disabled", group + "/ssa": "ignore"},
	})
	if err != nil {
		return err
	}
	fmt.Println(changes)
	if wait == nil {
		return nil
	}
	return manager.WaitForSetTermination(changes, *wait)
}

// applyOptions are those of kustomize-controller.
func applyOptions() ssa.ApplyOptions {
	options := ssa.DefaultApplyOptions()
	options.ExclusionSelector = map[string]string{group + "/reconcile": "disabled", group + "/ssa": "ignore"}
	options.IfNotPresentSelector = map[string]string{group + "/ssa": "ifnotpresent"}
	options.ForceSelector = map[string]string{group + "/force": "enabled"}
	options.Cleanup = ssa.ApplyCleanupOptions{
		Annotations: []string{corev1.LastAppliedConfigAnnotation, group + "/checksum", "fluxcd.io/sync-checksum"},
		Labels:      []string{"fluxcd.io/sync-gc-mark"},
		FieldManagers: []ssa.FieldManager{
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationApply},
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: "before-first-apply", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: controllerName, OperationType: metav1.ManagedFieldsOperationUpdate},
		},
		Exclusions: map[string]string{group + "/ssa": "merge"},
	}
	return options
}

// explained says what kstatus makes of the objects that are not ready, for the error says no more than one word.
func explained(ctx context.Context, reader client.Reader, objects []*unstructured.Unstructured) string {
	var text string
	for _, o := range objects {
		now := o.DeepCopy()
		if err := reader.Get(context.WithoutCancel(ctx), client.ObjectKeyFromObject(o), now); err != nil {
			text += fmt.Sprintf("\n%s: %v", ssautil.FmtUnstructured(o), err)
			continue
		}
		result, err := status.Compute(now)
		if err != nil {
			text += fmt.Sprintf("\n%s: %v", ssautil.FmtUnstructured(o), err)
		} else if result.Status != status.CurrentStatus {
			text += fmt.Sprintf("\n%s: %s: %s %v", ssautil.FmtUnstructured(o), result.Status, result.Message, result.Conditions)
		}
	}
	return text
}

func (k *kustomization) readInventory() (map[string]string, error) {
	inventory := map[string]string{}
	data, err := os.ReadFile(k.inventory)
	if errors.Is(err, fs.ErrNotExist) {
		return inventory, nil
	}
	if err != nil {
		return nil, err
	}
	return inventory, json.Unmarshal(data, &inventory)
}

func (k *kustomization) writeInventory(inventory map[string]string) error {
	data, err := json.MarshalIndent(inventory, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(k.inventory, append(data, '\n'), 0o600)
}

// objectsOf returns the objects of an inventory, in the order in which Flux deletes them.
func objectsOf(inventory map[string]string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for id, version := range inventory {
		metadata, err := object.ParseObjMetadata(id)
		if err != nil {
			return nil, err
		}
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(schema.GroupVersionKind{Group: metadata.GroupKind.Group, Version: version, Kind: metadata.GroupKind.Kind})
		u.SetName(metadata.Name)
		u.SetNamespace(metadata.Namespace)
		objects = append(objects, u)
	}
	sort.Sort(ssa.SortableUnstructureds(objects))
	return objects, nil
}
