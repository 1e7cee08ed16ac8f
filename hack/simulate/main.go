package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/hack/fakekcp"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// options are the flags.
type options struct {
	world

	source, dir, profiles string
	cores                 int
	timeout               time.Duration
	only                  []string
}

func main() { framework.RunCommand(newCommand()) }

func newCommand() *cobra.Command {
	o := options{
		world:  world{clusters: 500, workloads: 10_000, workspaces: 100, namespaces: 4, strategy: "Spread", companions: 10},
		source: ".", dir: "bin/simulate", cores: 1, timeout: 10 * time.Minute,
	}
	cmd := &cobra.Command{
		Use: "simulate", Short: "Measure how the hub grows, without what kcp costs", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return measure(cmd.Context(), o, cmd.OutOrStdout()) },
	}
	flags := cmd.Flags()
	flags.IntVar(&o.clusters, "clusters", o.clusters, "number of clusters")
	flags.IntVar(&o.workloads, "workloads", o.workloads, "number of Deployments, each placed on three clusters")
	flags.IntVar(&o.workspaces, "workspaces", o.workspaces, "number of workspaces")
	flags.IntVar(&o.namespaces, "namespaces", o.namespaces, "number of namespaces of each workspace")
	flags.IntVar(&o.companions, "companions", o.companions, "how many workloads share a ConfigMap that they name, and a Service that selects them; 0 for none")
	flags.StringVar(&o.strategy, "strategy", o.strategy, "strategy of the WorkloadPlacements")
	flags.StringVar(&o.source, "source", o.source, "source tree of the tmc-controller to measure")
	flags.StringVar(&o.dir, "dir", o.dir, "directory for the program and its log")
	flags.StringVar(&o.profiles, "profiles", o.profiles, "directory for profiles of CPU and heap, empty for none")
	flags.IntVar(&o.cores, "cores", o.cores, "GOMAXPROCS of the hub")
	flags.DurationVar(&o.timeout, "timeout", o.timeout, "how long each step may take")
	flags.StringSliceVar(&o.only, "only", nil, "steps after placing: change, create, scale, delete, configmap, flap, drain, restart; all if empty")
	return cmd
}

// figures are those of a step.
type figures struct {
	name      string
	cpu, wall time.Duration
	writes    map[string]int
	memory    memory
}

type run struct {
	options

	out    io.Writer
	server *fakekcp.Server
	binary string
	hub    *hub
}

func measure(ctx context.Context, o options, out io.Writer) error {
	binary, err := build(ctx, o.source, o.dir)
	if err != nil {
		return err
	}
	s := fakekcp.Start(provider, v1alpha1.APIExportName, fakekcp.Resources)
	defer s.Close()
	o.fill(s)
	go newSyncers(s).run()
	r := &run{options: o, out: out, server: s, binary: binary}
	_, _ = fmt.Fprintf(out, "%d clusters, %d workloads in %d namespaces of %d workspaces, strategy %s\n", o.clusters, o.workloads, o.workspaces*o.namespaces, o.workspaces, o.strategy)
	_, _ = fmt.Fprintf(out, "%-34s %12s %12s %10s %10s %10s  %s\n", "step", "CPU", "time", "heap MB", "RSS MB", "peak MB", "writes")
	if err := r.step(ctx, "start, and place everything", func() error {
		r.hub, err = start(ctx, o, binary, s.URL)
		return err
	}); err != nil {
		return err
	}
	defer func() { r.hub.stop() }()
	for _, step := range []struct {
		name, title string
		do          func()
	}{
		{"change", "one workload gets another image", r.changeImage},
		{"scale", "one workload is scaled", r.scale},
		{"create", "one workload is created", func() { o.fillWorkload(s, o.workloads) }},
		{"delete", "one workload is deleted", func() { s.Remove(o.workload(o.workloads)) }},
		{"configmap", "a ConfigMap is labelled", r.labelConfigMap},
		{"down", "one cluster falls silent", func() { s.Remove(leaseOf(clusterName(0))) }},
		{"up", "it is heard again", func() { s.Put(leases, lease(clusterName(0))) }},
		{"drain", "one cluster is drained", r.drain(1, true)},
		{"undrain", "it is open again", r.drain(1, false)},
	} {
		if len(o.only) > 0 && !slices.Contains(o.only, step.name) {
			continue
		}
		if err := r.step(ctx, step.title, func() error { step.do(); return nil }); err != nil {
			return err
		}
	}
	if len(o.only) > 0 && !slices.Contains(o.only, "restart") {
		return nil
	}
	r.hub.stop()
	return r.step(ctx, "restart with all placed", func() error {
		r.hub, err = start(ctx, o, binary, s.URL)
		return err
	})
}

// step measures what the hub takes until it has done what something has it do.
func (r *run) step(ctx context.Context, title string, do func() error) error {
	var before time.Duration
	if r.hub != nil {
		before = r.hub.cpu()
	}
	old := r.hub
	writesBefore, _ := r.server.Writes()
	began := time.Now()
	if err := do(); err != nil {
		return err
	}
	if r.hub != old {
		before = 0
	}
	stop := r.profileCPU(title)
	err := r.hub.settle(ctx, r.server, r.timeout)
	f := figures{name: title, cpu: r.hub.cpu() - before}
	writes, last := r.server.Writes()
	if f.wall = last.Sub(began); f.wall < 0 {
		f.wall = 0
	}
	if r.hub != old && f.wall == 0 {
		f.wall = time.Since(began) - 2*time.Second
	}
	maps.DeleteFunc(writes, func(kind string, number int) bool { return number == writesBefore[kind] })
	for kind := range writes {
		writes[kind] -= writesBefore[kind]
	}
	f.writes = writes
	f.memory, _ = r.hub.memory()
	stop()
	r.print(f, err)
	return err
}

func (r *run) profileCPU(title string) (stop func()) {
	if r.profiles == "" {
		return func() {}
	}
	_ = os.MkdirAll(r.profiles, 0o755)
	file := filepath.Join(r.profiles, strings.NewReplacer(" ", "-", ",", "").Replace(title))
	done := make(chan struct{})
	seconds := 3
	if strings.Contains(title, "start") {
		seconds = 30
	}
	hub := r.hub
	go func() {
		defer close(done)
		for range 40 {
			if hub.profile(fmt.Sprintf("profile?seconds=%d", seconds), file+".cpu") == nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	return func() {
		<-done
		_ = hub.profile("heap", file+".heap")
	}
}

func (r *run) print(f figures, err error) {
	var writes []string
	for _, kind := range slices.Sorted(maps.Keys(f.writes)) {
		writes = append(writes, fmt.Sprintf("%d %s", f.writes[kind], kind))
	}
	if err != nil {
		writes = append(writes, err.Error())
	}
	mb := func(bytes int64) int64 { return bytes >> 20 }
	_, _ = fmt.Fprintf(r.out, "%-34s %12s %12s %10d %10d %10d  %s\n", f.name, f.cpu.Round(100*time.Microsecond), f.wall.Round(time.Millisecond),
		mb(f.memory.heap), mb(f.memory.resident), mb(f.memory.peak), strings.Join(writes, ", "))
}

// change changes an object that there is. It is no write of the hub's.
func (r *run) change(at fakekcp.Place, edit func(fields)) {
	if !r.server.Change(at, func(obj *unstructured.Unstructured) bool { edit(obj.Object); return true }) {
		panic(fmt.Sprintf("there is no %v", at))
	}
}

func (r *run) changeImage() {
	r.change(r.workload(0), func(content fields) {
		template := content["spec"].(map[string]any)["template"].(map[string]any)
		container := template["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
		container["image"] = "registry.example.com/shop/web:v2"
		moveGeneration(content)
	})
}

func (r *run) scale() {
	r.change(r.workload(0), func(content fields) {
		content["spec"].(map[string]any)["replicas"] = int64(3)
		moveGeneration(content)
	})
}

func (r *run) labelConfigMap() {
	if r.companions == 0 {
		return
	}
	workspace, namespace := r.namespace(0)
	r.change(fakekcp.Place{Resource: configMaps, Workspace: logicalcluster.Name(workspace), Namespace: namespace, Name: "settings-0"}, func(content fields) {
		metadata := content["metadata"].(map[string]any)
		labels, _ := metadata["labels"].(map[string]any)
		if labels == nil {
			labels = map[string]any{}
			metadata["labels"] = labels
		}
		labels["team"] = "shop"
	})
}

func moveGeneration(content map[string]any) {
	metadata := content["metadata"].(map[string]any)
	generation, _ := metadata["generation"].(int64)
	metadata["generation"] = generation + 1
}

func (r *run) drain(cluster int, drain bool) func() {
	return func() {
		r.change(fakekcp.Place{Resource: registrations, Workspace: provider, Name: clusterName(cluster)}, func(content fields) {
			content["spec"].(map[string]any)["drain"] = drain
			moveGeneration(content)
		})
	}
}
