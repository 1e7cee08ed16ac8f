package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kcp-tmc/tmc/pkg/cli/view"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// scheduling is a change of what may come to a cluster and what may stay.
type scheduling struct {
	// verb is the command, done what the clusters are then.
	verb, done string
	// unschedulable and drain are what the cluster's spec is to say.
	unschedulable, drain bool
	// keepsDrain leaves drain as it is.
	keepsDrain bool
}

var (
	cordoning   = scheduling{verb: "cordon", done: "cordoned", unschedulable: true, keepsDrain: true}
	uncordoning = scheduling{verb: "uncordon", done: "uncordoned"}
	draining    = scheduling{verb: "drain", done: "draining", unschedulable: true, drain: true}
)

// newCordonCommand returns the command that keeps new workloads away.
func newCordonCommand() *cobra.Command {
	return newSchedulingCommand(cordoning, "Keep new workloads away from clusters",
		`Keep new workloads away from clusters. What is there stays.`,
		`  # Let nothing new come to east
  kubectl tmc cordon east`)
}

// newUncordonCommand returns the command that lets workloads come again.
func newUncordonCommand() *cobra.Command {
	return newSchedulingCommand(uncordoning, "Let workloads come to clusters again",
		`Let workloads come to clusters again, after cordon or drain. What has left comes back only
where its placement asks for that.`,
		`  # Use east again
  kubectl tmc uncordon east`)
}

func newSchedulingCommand(change scheduling, short, long, example string) *cobra.Command {
	command := &cobra.Command{
		Use: change.verb + " NAME...", Short: short, Long: long, Example: example,
		Args: needClusters,
	}
	options := newClientOptions(command, false)
	return options.runs(command, func(ctx context.Context, names []string) error {
		provider, err := options.provider()
		if err != nil {
			return err
		}
		return options.schedule(ctx, provider, change, names)
	})
}

// schedule changes the clusters, and prints what has happened. It changes none when one of them does not exist.
func (o *clientOptions) schedule(ctx context.Context, provider *provider, change scheduling, names []string) error {
	registrations, err := provider.named(ctx, names)
	if err != nil {
		return err
	}
	for i := range registrations {
		name, present := registrations[i].Name, registrations[i].Spec
		if present.Unschedulable == change.unschedulable && (change.keepsDrain || present.Drain == change.drain) {
			fmt.Fprintf(o.out, "cluster %s already %s\n", name, change.done)
			continue
		}
		if err := provider.patch(ctx, name, change.verb, map[string]any{"spec": change.spec()}); err != nil {
			return err
		}
		fmt.Fprintf(o.out, "cluster %s %s\n", name, change.done)
	}
	return nil
}

// spec returns the merge patch of the spec: false is absent.
func (s scheduling) spec() map[string]any {
	spec := map[string]any{"unschedulable": nil, "drain": nil}
	if s.unschedulable {
		spec["unschedulable"] = true
	}
	if s.drain {
		spec["drain"] = true
	}
	if s.keepsDrain {
		delete(spec, "drain")
	}
	return spec
}

const drainExample = `  # Have everything leave east, and wait until it has
  kubectl tmc drain east

  # Do not wait
  kubectl tmc drain east --wait=false`

// newDrainCommand returns the command that has everything leave clusters.
func newDrainCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "drain NAME...",
		Short: "Have everything leave clusters",
		Long: `Have everything leave clusters, and nothing come. Where a placement wants another cluster
instead, the copy there is available before the one here is removed. The command waits until
nothing is placed there any more. 'kubectl tmc uncordon' ends the draining.`,
		Example: drainExample,
		Args:    needClusters,
	}
	options, waiting := newClientOptions(command, false), waitOptions{}
	waiting.addFlag(command)
	wait := command.Flags().Bool("wait", true, "Wait until nothing is placed there any more")
	return options.runs(command, func(ctx context.Context, names []string) error {
		if err := waiting.validate(); err != nil {
			return err
		}
		provider, err := options.provider()
		if err != nil {
			return err
		}
		watch := newEmptying(provider, options)
		if *wait {
			if err := watch.open(ctx); err != nil {
				return fmt.Errorf("%w (--wait=false drains without looking)", err)
			}
		}
		if err := options.schedule(ctx, provider, draining, names); err != nil || !*wait {
			return err
		}
		var failed []error
		for _, name := range names {
			isEmpty := func(ctx context.Context) (bool, error) { return watch.isEmpty(ctx, name) }
			err := waiting.until(ctx, isEmpty, func() error {
				return fmt.Errorf("gave up waiting for cluster %s to be empty after %s: %s", name, waiting.timeout, watch.left(name))
			})
			if err != nil {
				failed = append(failed, err)
				continue
			}
			fmt.Fprintf(options.out, "cluster %s drained\n", name)
		}
		return errors.Join(failed...)
	})
}

const (
	// drainTimeout bounds the wait for a cluster to be empty unless a flag says otherwise.
	drainTimeout = 10 * time.Minute
	// firstInterval is the time between the first two checks of what is waited for, lastInterval the longest.
	firstInterval = 250 * time.Millisecond
	lastInterval  = 2 * time.Second
	// mostLeft is how many objects are named that have not left.
	mostLeft = 10
)

// waitOptions say how long to wait for a cluster.
type waitOptions struct {
	timeout time.Duration
}

func (w *waitOptions) addFlag(command *cobra.Command) {
	command.Flags().DurationVar(&w.timeout, "timeout", drainTimeout, "How long to wait; 0 is for ever")
}

func (w *waitOptions) validate() error {
	if w.timeout < 0 {
		return fmt.Errorf("--timeout: expected 0 or more, not %s", w.timeout)
	}
	return nil
}

// until calls check until it is done or fails, or the timeout is over; then it returns the error of giveUp. It goes on
// after errors that may pass.
func (w *waitOptions) until(ctx context.Context, check func(context.Context) (bool, error), giveUp func() error) error {
	deadline := time.Now().Add(w.timeout)
	for interval := firstInterval; ; interval = min(2*interval, lastInterval) {
		done, err := check(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("waiting was cut short: %w", context.Cause(ctx))
		}
		if done || err != nil && !kcp.IsTransient(err) && !apierrors.IsResourceExpired(err) {
			return err
		}
		if w.timeout > 0 && time.Now().After(deadline) {
			return errors.Join(giveUp(), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(interval):
		}
	}
}

// emptying watches clusters become empty, and tells of the progress.
type emptying struct {
	options  *clientOptions
	provider *provider
	virtual  *virtualWorkspaces
	kinds    []view.Kind
	// last is what was on a cluster when it was last checked.
	last map[string][]onCluster
}

func newEmptying(provider *provider, options *clientOptions) *emptying {
	return &emptying{options: options, provider: provider, last: map[string][]onCluster{}}
}

// open finds the virtual workspaces and the kinds that they serve.
func (e *emptying) open(ctx context.Context) (err error) {
	if e.virtual, err = e.provider.virtualWorkspaces(ctx); err != nil {
		return err
	}
	e.kinds, err = e.virtual.kinds(ctx)
	return e.provider.explain("looking at what is on clusters", err)
}

// isEmpty reports whether nothing is on the cluster, and tells when the number of objects changes.
func (e *emptying) isEmpty(ctx context.Context, cluster string) (bool, error) {
	if err := e.open(ctx); err != nil { // there may be another shard than before
		return false, err
	}
	placed, err := e.virtual.placed(ctx, e.kinds, cluster)
	if err != nil {
		return false, e.provider.explain("looking at what is on cluster "+cluster, err)
	}
	if before, ever := e.last[cluster]; len(placed) > 0 && (!ever || len(before) != len(placed)) {
		fmt.Fprintf(e.options.progress, "cluster %s: waiting for %d to leave\n", cluster, len(placed))
	}
	e.last[cluster] = placed
	return len(placed) == 0, nil
}

// left says what was on the cluster when it was last checked, and why.
func (e *emptying) left(cluster string) string {
	placed, checked := e.last[cluster]
	if !checked {
		return "what is still there cannot be seen"
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%d still there:", len(placed))
	for _, obj := range placed[:min(len(placed), mostLeft)] {
		remain := remainOf(obj, cluster, nil)
		fmt.Fprintf(&text, "\n  workspace %s: %s: %s", remain.In(), remain, view.Line(view.WhyThere(obj, cluster)))
	}
	if more := len(placed) - mostLeft; more > 0 {
		fmt.Fprintf(&text, "\n  and %d more", more)
	}
	return text.String()
}
