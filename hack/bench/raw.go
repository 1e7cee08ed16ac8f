package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/hack/measure"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const (
	// rawNamespace is where Deployments are made that tmc has nothing to do with: none of its programs runs yet.
	rawNamespace = "raw"
	// inParallel is how many calls a client makes at a time.
	inParallel = 8
	// clusterAnnotation is on every object of kcp, with the name of its logical cluster.
	clusterAnnotation = "kcp.io/cluster"
)

// limits are what kcp and a cluster take without tmc.
type limits struct {
	// create, report and status are calls to kcp: a creation in the workspace, and the patches of an annotation and of the
	// status through a virtual workspace, of the same objects.
	create, report, status calls
	// copies are creations in a cluster, running how long it took from the first until all Deployments ran.
	copies  calls
	running time.Duration
}

// calls are many calls of a kind.
type calls struct {
	count int
	// wall is how long all of them took together, took how long each took, and ended
	// when each was done, from the first on.
	wall        time.Duration
	took, ended []time.Duration
	// cpu is what the server took for them.
	cpu time.Duration
}

// rate gives how many calls were made in a second.
func (c calls) rate() float64 { return perSecond(c.count, c.wall) }

// each gives what a call took of the server's CPU time.
func (c calls) each() time.Duration {
	if c.count == 0 {
		return 0
	}
	return c.cpu / time.Duration(c.count)
}

func perSecond(count int, wall time.Duration) float64 {
	if wall <= 0 {
		return 0
	}
	return float64(count) / wall.Seconds()
}

// raw measures the limits, before any of tmc's programs runs.
func (b *bench) raw(ctx context.Context) ([]section, error) {
	if err := b.rawInKCP(ctx); err != nil {
		return nil, err
	}
	if !b.rawKCPOnly {
		if err := b.rawInCluster(ctx); err != nil {
			return nil, err
		}
	}
	return []section{b.limits.section()}, nil
}

// section returns the limits as a table.
func (l limits) section() section {
	s := section{
		title: "Raw limits: the calls that tmc makes, without tmc",
		text: fmt.Sprintf("Before any of tmc's programs runs: one client makes calls of the same objects, %d at a time. kcp has bound the "+
			"clusters, and asks tmc's policies.", inParallel),
		rows: [][]string{{"CALL", "COUNT", "A SECOND", headP50, headP99, "CPU OF KCP EACH"}},
	}
	for _, row := range []struct {
		calls

		what  string
		isKCP bool
	}{
		{l.create, "create a Deployment in kcp", true},
		{l.report, "patch an annotation through a virtual workspace", true},
		{l.status, "patch the status through a virtual workspace", true},
		{l.copies, "create a Deployment in a cluster", false},
	} {
		if row.count == 0 {
			continue
		}
		cpu := "-"
		if row.isKCP {
			cpu = fmt.Sprintf("%.1f ms", float64(row.each().Microseconds())/1000)
		}
		s.rows = append(s.rows, []string{
			row.what, fmt.Sprint(row.count), fmt.Sprintf("%.0f", row.rate()),
			brief(measure.Percentile(row.took, 50)), brief(measure.Percentile(row.took, 99)), cpu,
		})
	}
	return s
}

// rawInKCP makes Deployments in kcp and patches them as the hub and the syncers do.
func (b *bench) rawInKCP(ctx context.Context) error {
	if _, err := b.user.objects.Resource(namespacesResource).Create(ctx, newNamespace(rawNamespace), metav1.CreateOptions{}); err != nil {
		return err
	}
	view, err := b.view(ctx)
	if err != nil {
		return err
	}
	direct := b.user.objects.Resource(deploymentsResource).Namespace(rawNamespace)
	if b.limits.create, err = b.call(ctx, b.bulk, func(ctx context.Context, i int) error {
		_, err := direct.Create(ctx, newDeployment(numbered("raw", i), ""), metav1.CreateOptions{})
		return err
	}); err != nil {
		return err
	}
	through := view.Resource(deploymentsResource).Namespace(rawNamespace)
	report := `{"metadata":{"annotations":{"bench.example.com/report":"{\"v\":1,\"cluster\":\"east\",\"gen\":1,\"n\":{\"replicas\":1,\"readyReplicas\":1}}"}}}`
	if b.limits.report, err = b.call(ctx, min(b.bulk, patches), patchEach(through, report)); err != nil {
		return err
	}
	status := `{"status":{"observedGeneration":1,"replicas":1,"updatedReplicas":1,"readyReplicas":1,"availableReplicas":1}}`
	if b.limits.status, err = b.call(ctx, min(b.bulk, patches), patchEach(through, status, "status")); err != nil {
		return err
	}
	return direct.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
}

// patches is how many patches are made at most: they cost the same each.
const patches = 300

func patchEach(client dynamic.ResourceInterface, body string, subresources ...string) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		_, err := client.Patch(ctx, numbered("raw", i), types.MergePatchType, []byte(body), metav1.PatchOptions{}, subresources...)
		return err
	}
}

// call makes many calls to kcp, some at a time.
func (b *bench) call(ctx context.Context, count int, do func(ctx context.Context, i int) error) (calls, error) {
	before, err := measure.UsageOf(b.stack.KCP.Process().PID())
	if err != nil {
		return calls{}, err
	}
	all, err := inTurn(ctx, count, do)
	if err != nil {
		return calls{}, err
	}
	after, err := measure.UsageOf(b.stack.KCP.Process().PID())
	all.cpu = after.CPU - before.CPU
	return all, err
}

// inTurn makes calls, some at a time.
func inTurn(ctx context.Context, count int, do func(ctx context.Context, i int) error) (calls, error) {
	var mu sync.Mutex
	all := calls{count: count}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inParallel)
	start := time.Now()
	for i := range count {
		group.Go(func() error {
			began := time.Now()
			err := do(ctx, i)
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			all.took, all.ended = append(all.took, took), append(all.ended, began.Add(took).Sub(start))
			return err
		})
	}
	err := group.Wait()
	all.wall = time.Since(start)
	return all, err
}

// view returns a client for the user's workspace through the virtual workspace of tmc's APIExport.
func (b *bench) view(ctx context.Context) (dynamic.Interface, error) {
	config, err := b.stack.KCP.RESTConfig(v1alpha1.DefaultProviderWorkspace)
	if err != nil {
		return nil, err
	}
	provider, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	slice, err := provider.Resource(endpointSlicesResource).Get(ctx, v1alpha1.APIExportName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	endpoints, _, _ := unstructured.NestedSlice(slice.Object, "status", "endpoints") // none if not there
	if len(endpoints) == 0 {
		return nil, fmt.Errorf("the APIExportEndpointSlice %s has no endpoint", v1alpha1.APIExportName)
	}
	url, _ := endpoints[0].(map[string]any)["url"].(string)
	namespace, err := b.user.objects.Resource(namespacesResource).Get(ctx, rawNamespace, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.Host = strings.TrimSuffix(url, "/") + "/clusters/" + namespace.GetAnnotations()[clusterAnnotation]
	return dynamic.NewForConfig(config)
}

// rawInCluster makes the same Deployments in a cluster, waits until they run, and has them deleted.
func (b *bench) rawInCluster(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	on := b.clusters[east]
	if _, err := on.objects.Resource(namespacesResource).Create(ctx, newNamespace(rawNamespace), metav1.CreateOptions{}); err != nil {
		return err
	}
	all, err := observe(ctx, on.objects, selection{resource: deploymentsResource})
	if err != nil {
		return err
	}
	running := make([]*expectation, b.bulk)
	for i := range running {
		running[i] = all.await(numbered("raw", i), isComplete(1, 1))
	}
	began := time.Now()
	deployments := on.objects.Resource(deploymentsResource).Namespace(rawNamespace)
	if b.limits.copies, err = inTurn(ctx, b.bulk, func(ctx context.Context, i int) error {
		_, err := deployments.Create(ctx, newDeployment(numbered("raw", i), ""), metav1.CreateOptions{})
		return err
	}); err != nil {
		return err
	}
	at, err := last(ctx, running)
	if err != nil {
		return fmt.Errorf("deployments in a cluster: %w", err)
	}
	b.limits.running = at.Sub(began)
	if err := on.objects.Resource(namespacesResource).Delete(ctx, rawNamespace, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return on.awaitNamespaceGone(ctx, rawNamespace, b.timeout)
}
