package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/hack/fakekcp"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const (
	timeout = 20 * time.Minute
	mb      = 1_000_000
	// nodeCount is how many nodes the pods of others are on.
	nodeCount = 100
	// settling is how long the program is left alone before its memory at rest is looked at.
	settling = 20 * time.Second
)

// measurement is one run.
type measurement struct {
	options

	out     io.Writer
	cluster *cluster
	kcp     *fakekcp.Server
	ports   *framework.PortLease
	objects dynamic.Interface
	names   metadata.Interface
	figures [][]string
}

func (m *measurement) file(name string) string { return filepath.Join(m.dir, name) }

func (m *measurement) sayf(format string, args ...any) { fmt.Fprintf(m.out, format+"\n", args...) }

func (m *measurement) add(name, value string) {
	m.figures = append(m.figures, []string{name, value})
	m.sayf("   %s: %s", name, value)
}

// measure does all of it.
func measure(ctx context.Context, o options, out io.Writer) (err error) {
	m := &measurement{options: o, out: out}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, m.stop(stopping))
		m.print()
	}()
	if err := m.setUp(ctx); err != nil {
		return err
	}
	if err := m.place(ctx); err != nil {
		return fmt.Errorf("placing the user's objects: %w", err)
	}
	if err := m.restarts(ctx); err != nil {
		return err
	}
	if m.burst > 0 {
		return m.bursts(ctx)
	}
	return nil
}

func (m *measurement) print() {
	m.sayf("")
	aligned := tabwriter.NewWriter(m.out, 0, 0, 2, ' ', 0)
	for _, row := range m.figures {
		fmt.Fprintf(aligned, "  %s\t%s\n", row[0], row[1])
	}
	_ = aligned.Flush()
}

func (m *measurement) setUp(ctx context.Context) error {
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return err
	}
	tools, err := framework.ToolsDir()
	if err != nil {
		return err
	}
	if m.ports, err = framework.ReservePorts(3); err != nil {
		return err
	}
	m.kcp = fakekcp.Start(provider, v1alpha1.APIExportName, served())
	m.kcp.Put(schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}, parsed(fmt.Sprintf( // as join makes it
		`{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":%q,"namespace":%q,"annotations":{"kcp.io/cluster":%q}}}`,
		clusterName, v1alpha1.HeartbeatNamespace, provider)).Object)
	if err := kubeconfig(m.file("kcp.kubeconfig"), m.kcp.URL+"/clusters/"+v1alpha1.DefaultProviderWorkspace, "", nil); err != nil {
		return err
	}
	if m.cluster, err = startCluster(ctx, m.dir, tools); err != nil {
		return err
	}
	config, err := m.cluster.config()
	if err != nil {
		return err
	}
	if err := kubeconfig(m.file("cluster.kubeconfig"), config.Host, config.BearerToken, config.CAData); err != nil {
		return err
	}
	if m.objects, err = dynamic.NewForConfig(config); err != nil {
		return err
	}
	m.names, err = metadata.NewForConfig(config)
	return err
}

func (m *measurement) stop(ctx context.Context) error {
	var errs []error
	if m.cluster != nil {
		errs = append(errs, m.cluster.stop(ctx))
	}
	if m.kcp != nil {
		m.kcp.Close()
	}
	if m.ports != nil {
		errs = append(errs, m.ports.Release())
	}
	return errors.Join(errs...)
}

// place has a syncer bring the user's objects down, and gives the copies a status; or takes over what the last run has left.
func (m *measurement) place(ctx context.Context) error {
	state := m.file(fmt.Sprintf("kcp-%d-%t.json", m.own, m.onlyDeployments))
	if err := m.load(state); err == nil {
		m.sayf("== Take over what the last run has left in %s", m.dir)
		return nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	m.sayf("== Place %d objects", m.own)
	namespaces, objects := ownObjects(m.own, m.onlyDeployments)
	for _, one := range slices.Concat(namespaces, objects) {
		m.kcp.Put(one.resource.GroupResource(), one.obj.Object)
	}
	s, err := m.startSyncer()
	if err != nil {
		return err
	}
	took, cpu, err := s.silent(ctx)
	if err == nil {
		m.add("first start, until all is below", fmt.Sprintf("%.1f s, %.1f s of CPU, %v writes in kcp", took.Seconds(), cpu.Seconds(), m.writes()))
		err = m.writeStatuses(ctx)
	}
	if err == nil {
		_, _, err = s.silent(ctx)
	}
	if err := errors.Join(err, s.stop(ctx)); err != nil {
		return err
	}
	return m.save(state)
}

// writeStatuses does what the cluster's controllers would: all pods are ready.
func (m *measurement) writeStatuses(ctx context.Context) error {
	m.sayf("   Write the statuses of the copies")
	list, err := m.names.Resource(deployments).List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.ManagedByLabel + "=" + v1alpha1.ManagedByValue})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i := range list.Items {
		group.Go(func() error {
			item := &list.Items[i]
			condition := func(kind, reason string) map[string]any {
				return map[string]any{
					"type": kind, "status": "True", "reason": reason, "message": "ReplicaSet \"" + item.Name + "-7d4b9c6f5d\" is as it should be",
					"lastTransitionTime": "2026-11-01T00:00:00Z", "lastUpdateTime": "2026-11-01T00:00:00Z",
				}
			}
			patch, err := json.Marshal(map[string]any{"status": map[string]any{
				"observedGeneration": item.Generation, "replicas": 2, "readyReplicas": 2, "availableReplicas": 2, "updatedReplicas": 2,
				"conditions": []any{condition("Available", "MinimumReplicasAvailable"), condition("Progressing", "NewReplicaSetAvailable")},
			}})
			if err != nil {
				return err
			}
			_, err = m.objects.Resource(deployments).Namespace(item.Namespace).
				Patch(ctx, item.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kube-controller-manager"}, "status")
			return err
		})
	}
	return group.Wait()
}

// save keeps what kcp has, load takes it over.
func (m *measurement) save(file string) error {
	encoded, err := json.Marshal(m.kcp.Dump())
	if err != nil {
		return err
	}
	return os.WriteFile(file, encoded, 0o600)
}

func (m *measurement) load(file string) error {
	encoded, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var dump []fakekcp.Dumped
	if err := json.Unmarshal(encoded, &dump); err != nil {
		return err
	}
	return m.kcp.Load(dump)
}

// restarts measures a restart with the user's objects alone, and one with those of others beside them.
func (m *measurement) restarts(ctx context.Context) error {
	if err := m.removeForeign(ctx); err != nil {
		return err
	}
	if err := m.cluster.store(ctx, nodes(nodeCount)); err != nil {
		return err
	}
	own, err := m.restart(ctx, fmt.Sprintf("with %d objects", m.own), "own")
	if err != nil || m.pods+m.foreign == 0 {
		return err
	}
	m.sayf("== Store %d pods and %d objects of others", m.pods, m.foreign)
	if err := m.cluster.store(ctx, slices.Concat(foreignPods(m.pods, nodeCount), foreignObjects(m.foreign))); err != nil {
		return err
	}
	both, err := m.restart(ctx, "and those of others", "all")
	if err == nil {
		m.add("memory that those of others add", fmt.Sprintf("%.1f MB resident, %.1f MB live heap", float64(both.resident-own.resident)/mb, float64(both.live-own.live)/mb))
	}
	return err
}

// weight is what the program takes at rest.
type weight struct{ resident, live int64 }

// restart measures one.
func (m *measurement) restart(ctx context.Context, what, profiles string) (_ weight, err error) {
	m.sayf("== Restart %s", what)
	before, err := m.cluster.revision(ctx)
	if err != nil {
		return weight{}, err
	}
	writes := m.writes()
	s, err := m.startSyncer()
	if err != nil {
		return weight{}, err
	}
	defer func() { err = errors.Join(err, s.stop(context.WithoutCancel(ctx))) }()
	took, cpu, err := s.silent(ctx)
	if err != nil {
		return weight{}, err
	}
	m.add("restart to silent, "+what, fmt.Sprintf("%.1f s, %.1f s of CPU", took.Seconds(), cpu.Seconds()))
	return m.atRest(ctx, s, what, profiles, before, writes)
}

// atRest looks at the program for a while.
func (m *measurement) atRest(ctx context.Context, s *syncer, what, profiles string, before int64, writes map[string]int) (weight, error) {
	if err := pause(ctx, settling); err != nil {
		return weight{}, err
	}
	first, err := s.usage()
	if err != nil {
		return weight{}, err
	}
	if err := pause(ctx, m.rest); err != nil {
		return weight{}, err
	}
	last, err := s.usage()
	if err != nil {
		return weight{}, err
	}
	m.add("CPU at rest, "+what, fmt.Sprintf("%.2f %% of a core over %s", 100*(last.cpu-first.cpu).Seconds()/m.rest.Seconds(), m.rest))
	written, err := m.cluster.writtenSince(ctx, before)
	if err != nil {
		return weight{}, err
	}
	w := weight{resident: last.resident}
	if w.live, err = s.liveHeap(ctx); err != nil {
		return weight{}, err
	}
	m.add("memory at rest, "+what, fmt.Sprintf("%.1f MB resident, %.1f MB at the peak, %.1f MB heap in use", float64(w.resident)/mb, float64(last.peak)/mb, float64(w.live)/mb))
	m.add("writes, "+what, fmt.Sprintf("%d on the cluster, in kcp %v", written, difference(m.writes(), writes)))
	if m.profileDir == "" {
		return w, nil
	}
	return w, errors.Join(os.MkdirAll(m.profileDir, 0o755), s.profile(ctx, "heap", filepath.Join(m.profileDir, "heap-"+profiles)),
		s.profile(ctx, "allocs", filepath.Join(m.profileDir, "allocs-"+profiles)), s.profile(ctx, "goroutine?debug=1", filepath.Join(m.profileDir, "goroutines-"+profiles)))
}

// writes returns how many writes in kcp there have been, by resource.
func (m *measurement) writes() map[string]int {
	byResource := map[string]int{}
	counts, _ := m.kcp.Writes()
	for what, count := range counts {
		_, resource, _ := strings.Cut(what, " ")
		byResource[resource] += count
	}
	return byResource
}

func difference(now, before map[string]int) map[string]int {
	more := map[string]int{}
	for what, count := range now {
		if count > before[what] {
			more[what] = count - before[what]
		}
	}
	return more
}

func pause(ctx context.Context, duration time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(duration): // rest has no condition
		return nil
	}
}

// removeForeign removes what an earlier run has left of others.
func (m *measurement) removeForeign(ctx context.Context) error {
	for _, registry := range []string{"/registry/pods/", "/registry/deployments/foreign-", "/registry/configmaps/foreign-", "/registry/deployments/team-000/burst-"} {
		if err := m.cluster.removeAll(ctx, registry); err != nil {
			return err
		}
	}
	return nil
}

// bursts measures both ways in turn, so that what else the machine does meets both.
func (m *measurement) bursts(ctx context.Context) (err error) {
	m.sayf("== %d bursts of %d Deployments", m.rounds, m.burst)
	s, err := m.startSyncer()
	if err != nil {
		return err
	}
	defer func() { _ = s.stop(context.WithoutCancel(ctx)) }()
	if _, _, err := s.silent(ctx); err != nil {
		return err
	}
	profiled := make(chan error, 1)
	go func() {
		profiled <- s.profile(ctx, "profile?seconds=10", filepath.Join(m.profileDir, "cpu-burst"))
	}()
	defer func() { err = errors.Join(err, <-profiled) }()
	var ratios, overApplied []float64
	for round := range m.rounds {
		plain, err := m.createPlainly(ctx, round, "plain")
		if err != nil {
			return err
		}
		applied, err := m.createPlainly(ctx, round, "applied")
		if err != nil {
			return err
		}
		before, err := m.cluster.requests(ctx)
		if err != nil {
			return err
		}
		synced, err := m.placeAtOnce(ctx, round)
		if err != nil {
			return err
		}
		after, err := m.cluster.requests(ctx)
		if err != nil {
			return err
		}
		m.sayf("   requests meanwhile: %s", dearest(before, after))
		ratios = append(ratios, synced.Seconds()/plain.Seconds())
		overApplied = append(overApplied, synced.Seconds()/applied.Seconds())
		m.add(fmt.Sprintf("burst %d", round+1), fmt.Sprintf("%.2f s below after they were placed; by plain client-go %.2f s (POST), %.2f s (server-side apply)",
			synced.Seconds(), plain.Seconds(), applied.Seconds()))
	}
	slices.Sort(ratios)
	slices.Sort(overApplied)
	m.add("burst, beside plain client-go (medians)", fmt.Sprintf("%.2f x of POST, %.2f x of server-side apply", ratios[len(ratios)/2], overApplied[len(ratios)/2]))
	return nil
}

const burstLabel = "burst"

// workers is how many creations there are at a time: as many as a syncer makes.
const workers = 10

func burstObject(round, i int, series string) *unstructured.Unstructured {
	name := fmt.Sprintf("burst-%s-%d-%05d", series, round, i)
	obj := placed(deployment(name, "team-000", i), 1, 1_000_000*(round+1)+i)
	labels := obj.GetLabels()
	labels[burstLabel] = fmt.Sprintf("%s-%d", series, round)
	obj.SetLabels(labels)
	return obj
}

// createPlainly creates the copies by client-go, as somebody without tmc would: of the series "plain" by POST, of "applied" by
// server-side apply.
func (m *measurement) createPlainly(ctx context.Context, round int, series string) (time.Duration, error) {
	namespace, err := m.namespaceBelow(ctx)
	if err != nil {
		return 0, err
	}
	bodies := make([]*unstructured.Unstructured, m.burst)
	for i := range bodies {
		obj := burstObject(round, i, series)
		obj.SetManagedFields(nil)
		obj.SetFinalizers(nil)
		obj.SetUID("")
		obj.SetNamespace(namespace)
		bodies[i] = obj
	}
	there, err := m.count(ctx, fmt.Sprintf("%s-%d", series, round))
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	group, creating := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, obj := range bodies {
		group.Go(func() error {
			client := m.objects.Resource(deployments).Namespace(namespace)
			if series == "applied" {
				_, err := client.Apply(creating, obj.GetName(), obj, metav1.ApplyOptions{FieldManager: "plain", Force: true})
				return err
			}
			_, err := client.Create(creating, obj, metav1.CreateOptions{})
			if apierrors.IsAlreadyExists(err) {
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	end, err := there(m.burst)
	return end.Sub(begin), err
}

// placeAtOnce has kcp say that they are placed.
func (m *measurement) placeAtOnce(ctx context.Context, round int) (time.Duration, error) {
	series := "synced"
	there, err := m.count(ctx, fmt.Sprintf("%s-%d", series, round))
	if err != nil {
		return 0, err
	}
	bodies := make([]*unstructured.Unstructured, m.burst)
	for i := range bodies {
		bodies[i] = burstObject(round, i, series)
	}
	begin := time.Now()
	for _, obj := range bodies {
		m.kcp.Put(deployments.GroupResource(), obj.Object)
	}
	end, err := there(m.burst)
	return end.Sub(begin), err
}

// namespaceBelow returns the namespace of the cluster in which the copies of the first of kcp are.
func (m *measurement) namespaceBelow(ctx context.Context) (string, error) {
	list, err := m.names.Resource(deployments).List(ctx, metav1.ListOptions{Limit: 1, LabelSelector: v1alpha1.ManagedByLabel + "=" + v1alpha1.ManagedByValue})
	if err != nil || len(list.Items) == 0 {
		return "", fmt.Errorf("no copy on the cluster: %w", err)
	}
	return list.Items[0].Namespace, nil
}

// count watches Deployments of a burst, and returns a function that waits until there are so many, and says since when.
func (m *measurement) count(ctx context.Context, burst string) (func(int) (time.Time, error), error) {
	options := metav1.ListOptions{LabelSelector: burstLabel + "=" + burst}
	list, err := m.names.Resource(deployments).List(ctx, options)
	if err != nil {
		return nil, err
	}
	options.ResourceVersion = list.ResourceVersion
	watching, err := m.names.Resource(deployments).Watch(ctx, options)
	if err != nil {
		return nil, err
	}
	return func(wanted int) (time.Time, error) {
		defer watching.Stop()
		for seen := len(list.Items); seen < wanted; {
			select {
			case event, open := <-watching.ResultChan():
				if !open {
					return time.Time{}, errors.New("the watch has ended with " + strconv.Itoa(seen))
				}
				if event.Type == "ADDED" {
					seen++
				}
			case <-time.After(timeout):
				return time.Time{}, fmt.Errorf("%d of %d are below", seen, wanted)
			}
		}
		return time.Now(), nil
	}, nil
}
