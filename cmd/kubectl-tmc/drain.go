package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/kcp-tmc/tmc/pkg/cli/view"
)

const (
	// drainTimeout is how long leaving is waited for unless a flag says otherwise.
	drainTimeout = 10 * time.Minute
	// firstInterval is after how long it is looked at again, lastInterval how long the
	// time between looks gets.
	firstInterval = 250 * time.Millisecond
	lastInterval  = 2 * time.Second
	// mostLeft is how many objects are named that have not left.
	mostLeft = 10
)

const drainExample = `  # Have everything leave east, and wait until it has
  kubectl tmc drain east

  # Do not wait
  kubectl tmc drain east --wait=false`

// waitOptions say how long something is waited for.
type waitOptions struct {
	timeout time.Duration
}

func (w *waitOptions) addFlag(command *cobra.Command) {
	command.Flags().DurationVar(&w.timeout, "timeout", drainTimeout, "How long to wait; 0 is for ever")
}

func (w *waitOptions) validate() error {
	if w.timeout < 0 {
		return fmt.Errorf("--timeout must not be less than 0, as %s is", w.timeout)
	}
	return nil
}

// until calls check until it is done or fails, for as long as the timeout says; then it
// returns what giveUp does. Errors that may pass are waited out.
func (w *waitOptions) until(ctx context.Context, check func(context.Context) (bool, error), giveUp func() error) error {
	deadline := time.Now().Add(w.timeout)
	for interval := firstInterval; ; interval = min(2*interval, lastInterval) {
		done, err := check(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("waiting was cut short: %w", context.Cause(ctx))
		}
		if done || err != nil && !isTransient(err) {
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

// isTransient reports whether a request that failed may succeed when it is made again.
func isTransient(err error) bool {
	return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) || apierrors.IsResourceExpired(err) ||
		utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || utilnet.IsTimeout(err)
}

// drainOptions are the flags of drain.
type drainOptions struct {
	*clientOptions
	waitOptions

	wait bool
}

// newDrainCommand returns the command that has everything leave clusters.
func newDrainCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "drain NAME...",
		Short: "Have everything leave clusters",
		Long: `Have everything leave clusters, and nothing come. Where a placement wants another cluster
instead, the copy there is available before the one here goes. The command waits until
nothing is placed there any more; 'kubectl tmc uncordon' ends it.`,
		Example: drainExample,
		Args:    needClusters,
	}
	options := &drainOptions{clientOptions: newClientOptions(command, noNamespace)}
	options.addFlag(command)
	command.Flags().BoolVar(&options.wait, "wait", true, "Wait until nothing is placed there any more")
	command.RunE = func(command *cobra.Command, args []string) error {
		options.complete(command)
		if err := options.validate(); err != nil {
			return err
		}
		return runDrain(command.Context(), options, args)
	}
	return command
}

// runDrain drains, and waits.
func runDrain(ctx context.Context, options *drainOptions, names []string) error {
	provider, err := options.provider()
	if err != nil {
		return err
	}
	watch := newEmptying(provider, options.clientOptions)
	if options.wait {
		if err := watch.open(ctx); err != nil {
			return fmt.Errorf("%w (--wait=false drains without looking)", err)
		}
	}
	if err := options.schedule(ctx, provider, draining, names); err != nil || !options.wait {
		return err
	}
	var failed []error
	for _, name := range names {
		isEmpty := func(ctx context.Context) (bool, error) { return watch.look(ctx, name) }
		err := options.until(ctx, isEmpty, func() error {
			return fmt.Errorf("gave up waiting for cluster %s to be empty after %s: %s", name, options.timeout, watch.left(name))
		})
		if err != nil {
			failed = append(failed, err)
			continue
		}
		fmt.Fprintf(options.out, "cluster %s drained\n", name)
	}
	return errors.Join(failed...)
}

// emptying looks at how clusters empty, and says so.
type emptying struct {
	options  *clientOptions
	provider *provider
	virtual  *virtualWorkspaces
	kinds    []view.Kind
	// last is what was on a cluster at the last look.
	last map[string][]onCluster
}

func newEmptying(provider *provider, options *clientOptions) *emptying {
	return &emptying{options: options, provider: provider, last: map[string][]onCluster{}}
}

// open finds out where to look, and for what.
func (e *emptying) open(ctx context.Context) error {
	virtual, err := e.provider.virtualWorkspaces(ctx)
	if err != nil {
		return err
	}
	kinds, err := virtual.kinds()
	if err != nil {
		return e.provider.explain("looking at what is on clusters", err)
	}
	e.virtual, e.kinds = virtual, kinds
	return nil
}

// look reports whether nothing is on the cluster, and says when the number changes.
func (e *emptying) look(ctx context.Context, cluster string) (bool, error) {
	// There may be a shard more than there was.
	if err := e.open(ctx); err != nil {
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

// left says what was on the cluster at the last look, and why.
func (e *emptying) left(cluster string) string {
	placed, looked := e.last[cluster]
	if !looked {
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
