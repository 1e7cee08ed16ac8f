package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/cli/view"
)

// mostRemains is how many objects are listed for people.
const mostRemains = 50

const removeExample = `  # Drain east and forget it
  kubectl tmc remove east

  # Forget a cluster that will never come back
  kubectl tmc remove east --force`

// removeOptions are the flags of remove.
type removeOptions struct {
	*clientOptions
	waitOptions

	output     output
	force, yes bool
}

// newRemoveCommand returns the command that removes a cluster.
func newRemoveCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "remove NAME",
		Short: "Take a cluster out of the registry",
		Long: `Take a cluster out of the registry. Everything leaves it first, as with 'kubectl tmc drain',
which needs its syncer to run.

With --force nothing is waited for that the cluster would have to do: that is for one that
will never come back. What may still run there is listed, for nobody will clean it up. A
cluster that is still heard of is not removed by force unless --yes is given.`,
		Example: removeExample,
		Args:    needOneCluster("removed"),
	}
	options := &removeOptions{clientOptions: newClientOptions(command, noNamespace)}
	options.addFlags(command)
	options.output.addFlag(command)
	command.RunE = func(command *cobra.Command, args []string) error {
		options.complete(command)
		if err := errors.Join(options.validate(), options.output.validate()); err != nil {
			return err
		}
		return runRemove(command.Context(), options, args[0])
	}
	return command
}

// addFlags adds the flags that say how a cluster goes.
func (o *removeOptions) addFlags(command *cobra.Command) {
	o.addFlag(command)
	command.Flags().BoolVar(&o.force, "force", false, "Do not wait for the cluster: it will never come back")
	command.Flags().BoolVar(&o.yes, "yes", false, "With --force, remove the cluster although it is still heard of")
}

// runRemove removes a cluster, and says what may still run there.
func runRemove(ctx context.Context, options *removeOptions, name string) error {
	provider, err := options.provider()
	if err != nil {
		return err
	}
	found, err := provider.named(ctx, []string{name})
	if err != nil {
		return err
	}
	return newRemoval(options, provider, &found[0]).run(ctx)
}

// removal is the removal of a cluster.
type removal struct {
	options      *removeOptions
	provider     *provider
	watch        *emptying
	registration *v1alpha1.ClusterRegistration
}

func newRemoval(options *removeOptions, provider *provider, registration *v1alpha1.ClusterRegistration) *removal {
	return &removal{options: options, provider: provider, watch: newEmptying(provider, options.clientOptions), registration: registration}
}

// run removes the cluster as the flags say, and says what may still run there.
func (r *removal) run(ctx context.Context) error {
	if r.options.force {
		return r.force(ctx)
	}
	return r.drain(ctx)
}

// drain removes the cluster and waits until everything has left it and the hub has let
// it go.
func (r *removal) drain(ctx context.Context) error {
	name := r.registration.Name
	if err := r.delete(ctx); err != nil {
		return err
	}
	isGone := func(ctx context.Context) (bool, error) {
		gone, err := r.isGone(ctx)
		if gone || err != nil {
			return gone, err
		}
		if _, err = r.watch.look(ctx, name); isHidden(err) {
			return false, nil // who may not look at what is there may wait all the same
		}
		return false, err
	}
	err := r.options.until(ctx, isGone, func() error {
		return fmt.Errorf("gave up waiting for cluster %s to leave after %s; it goes on leaving, and `kubectl tmc remove %s --force` gives it up: %s",
			name, r.options.timeout, name, r.stuck())
	})
	if err != nil {
		return err
	}
	return r.say(nil, "removed")
}

// stuck says what keeps the registration.
func (r *removal) stuck() string {
	name := r.registration.Name
	if placed, looked := r.watch.last[name]; looked && len(placed) == 0 {
		return "nothing is placed there; is tmc-controller running?"
	}
	return r.watch.left(name)
}

// force releases the cluster: nothing waits for it any more. What it held is listed
// before, for afterwards nothing tells.
func (r *removal) force(ctx context.Context) error {
	name := r.registration.Name
	if view.ReadyOf(r.registration) == string(metav1.ConditionTrue) && !r.options.yes {
		return fmt.Errorf("cluster %s is still heard of: drain it with `kubectl tmc remove %s`, or give --yes as well to leave behind what runs there", name, name)
	}
	if err := r.watch.open(ctx); err != nil {
		return err
	}
	held, err := r.watch.virtual.held(ctx, r.watch.kinds, name)
	if err != nil {
		return r.provider.explain("listing what is on cluster "+name, err)
	}
	remains := r.remains(ctx, held)
	annotations := map[string]any{v1alpha1.ReleaseAnnotation: "true"}
	if err := r.provider.patch(ctx, name, "release", map[string]any{"metadata": map[string]any{"annotations": annotations}}); err != nil {
		return err
	}
	if err := r.delete(ctx); err != nil {
		return err
	}
	err = r.options.until(ctx, r.isGone, func() error {
		return fmt.Errorf("gave up waiting for the hub to let cluster %s go after %s: is tmc-controller running? The cluster is marked, and goes when the hub sees it",
			name, r.options.timeout)
	})
	if err != nil {
		return errors.Join(err, r.say(remains, "given up"))
	}
	return r.say(remains, "removed by force")
}

// delete deletes the registration, that very one, unless that has been done.
func (r *removal) delete(ctx context.Context) error {
	if r.registration.DeletionTimestamp != nil {
		return nil
	}
	err := r.provider.objects.Resource(v1alpha1.ClusterRegistrationsResource).Delete(ctx, r.registration.Name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(r.registration.UID)),
	})
	if err != nil && (!apierrors.IsNotFound(err) || isUnserved(err)) {
		return r.provider.explain("removing cluster "+r.registration.Name, err)
	}
	return nil
}

// isGone reports whether the registration is.
func (r *removal) isGone(ctx context.Context) (bool, error) {
	present, err := r.provider.registration(ctx, r.registration.Name)
	if err != nil {
		return false, err
	}
	return present == nil || present.UID != r.registration.UID, nil
}

// remains names what is on the cluster, and by its rule the copies.
func (r *removal) remains(ctx context.Context, held []onCluster) []view.Remain {
	if len(held) == 0 {
		return nil
	}
	var remains []view.Remain
	workspaces := sets.New[string]()
	for _, obj := range held {
		remains = append(remains, remainOf(obj, r.registration.Name, r.registration.Spec.Transform))
		workspaces.Insert(obj.workspace())
	}
	paths := r.watch.virtual.pathsByBindings(ctx)
	r.provider.addPaths(ctx, paths, sets.List(workspaces))
	for i := range remains {
		remains[i].WorkspacePath = paths[remains[i].Workspace]
	}
	view.SortRemains(remains)
	return remains
}

// remainOf names an object on a cluster under the cluster's rule, nil if it has none.
func remainOf(obj onCluster, cluster string, rule *v1alpha1.TransformRule) view.Remain {
	if rule == nil {
		rule = &v1alpha1.TransformRule{}
	}
	return view.RemainOf(obj, obj.kind, obj.workspace(), cluster, *rule)
}

// say prints what may still run on the cluster.
func (r *removal) say(remains []view.Remain, how string) error {
	name := r.registration.Name
	return r.options.output.write(r.options.out, view.NewList("RemainList", remains), func() error {
		fmt.Fprintf(r.options.out, "cluster %s %s\n", name, how)
		if len(remains) > 0 {
			fmt.Fprintf(r.options.out, "what may still run there, %d in all:\n%s", len(remains), view.RemainsText(remains, mostRemains))
		}
		return nil
	})
}
