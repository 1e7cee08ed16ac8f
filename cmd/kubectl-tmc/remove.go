package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/bootstrap"
	"github.com/kcp-tmc/tmc/pkg/cli/install"
	"github.com/kcp-tmc/tmc/pkg/cli/view"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// mostRemains is how many objects are listed for people.
const mostRemains = 50

const removeExample = `  # Drain east and forget it
  kubectl tmc remove east

  # Forget a cluster that will never come back
  kubectl tmc remove east --force`

const unjoinExample = `  # Drain east, and delete all that join has made for it in kcp
  kubectl tmc unjoin east

  # The same for a cluster that will never come back
  kubectl tmc unjoin east --force`

// removeOptions are the flags of remove and unjoin.
type removeOptions struct {
	*clientOptions
	waitOptions

	output     output
	force, yes bool
}

func newRemoveOptions(command *cobra.Command) *removeOptions {
	o := &removeOptions{clientOptions: newClientOptions(command, false)}
	o.addFlag(command)
	command.Flags().BoolVar(&o.force, "force", false, "Do not wait for the cluster: it will never come back")
	command.Flags().BoolVar(&o.yes, "yes", false, "With --force, remove the cluster although it is still heard of")
	return o
}

// newRemoveCommand returns the command that removes a cluster.
func newRemoveCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "remove NAME",
		Short: "Take a cluster out of the registry",
		Long: `Take a cluster out of the registry. Everything leaves it first, as with 'kubectl tmc drain':
its syncer has to run for that.

With --force the command does not wait for the cluster: that is for one that will never come
back. It lists what may still run there, for nobody will clean that up. A cluster that is still
heard of is removed by force only with --yes.`,
		Example: removeExample,
		Args:    needOneCluster("removed"),
	}
	options := newRemoveOptions(command)
	options.output.addFlag(command)
	return options.runs(command, func(ctx context.Context, args []string) error {
		if err := errors.Join(options.validate(), options.output.validate()); err != nil {
			return err
		}
		provider, err := options.provider()
		if err != nil {
			return err
		}
		found, err := provider.named(ctx, args)
		if err != nil {
			return err
		}
		return newRemoval(options, provider, &found[0]).run(ctx)
	})
}

// newUnjoinCommand returns the command that removes a cluster and what join has made for it.
func newUnjoinCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "unjoin NAME",
		Short: "Remove a cluster, and delete what join has made for it",
		Long: `Remove a cluster as 'kubectl tmc remove' does, with --force and --yes as there, and delete
what 'kubectl tmc join' has made for it in kcp: the account of its syncer, by which its tokens
end, and its permissions. Unless other clusters of its group use them, its APIExport and the
APIBindings of that are deleted, too; APIBindings that you may not delete are named. In the
cluster itself nothing is deleted but the copies that its syncer removes.

Run it again if it was interrupted.`,
		Example: unjoinExample,
		Args:    needOneCluster("taken out"),
	}
	options := newRemoveOptions(command)
	return options.runs(command, func(ctx context.Context, args []string) error {
		if err := errors.Join(options.validate(), v1alpha1.ValidateClusterName(args[0])); err != nil {
			return err
		}
		return runUnjoin(ctx, options, args[0])
	})
}

// runUnjoin removes the cluster, and what was made for it, and says what remains to do.
func runUnjoin(ctx context.Context, options *removeOptions, name string) error {
	provider, err := options.provider()
	if err != nil {
		return err
	}
	registration, err := provider.registration(ctx, name)
	if err != nil {
		return err
	}
	if registration != nil {
		if err := newRemoval(options, provider, registration).run(ctx); err != nil {
			return err
		}
	}
	isChanged := registration != nil
	unjoin := install.UnjoinOptions{Cluster: name}
	if unjoin.Options, err = options.installOptions(); err != nil {
		return err
	}
	unjoin.OnApplied = func(result install.Result) {
		if result.Action != install.Unchanged {
			isChanged = true
			fmt.Fprintln(options.out, result)
		}
	}
	unjoin.OnWaiting = nil
	if err := install.Unjoin(ctx, unjoin); err != nil {
		return err
	}
	if !isChanged {
		fmt.Fprintf(options.out, "there is nothing of a cluster %s in workspace %s\n", name, options.providerWorkspace)
		return nil
	}
	fmt.Fprintf(options.out, `cluster %[1]s has been taken out. What runs its syncer is still in the cluster: delete it with the manifest that join has
printed, `+"`kubectl --context %[1]s delete -f FILE`"+`, or by name:
kubectl --context %[1]s delete namespace/%[2]s clusterrole/%[3]s clusterrolebinding/%[3]s
kubectl --context %[1]s delete validatingadmissionpolicy/%[3]s validatingadmissionpolicybinding/%[3]s
`, name, bootstrap.DefaultNamespace, bootstrap.Name)
	return nil
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

// run removes the cluster as the flags say, and prints what may still run there.
func (r *removal) run(ctx context.Context) error {
	if r.options.force {
		return r.force(ctx)
	}
	return r.drain(ctx)
}

// drain deletes the registration, and waits until everything has left the cluster and the hub has let the registration
// go.
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
		if _, err = r.watch.isEmpty(ctx, name); isHidden(err) {
			return false, nil // a caller who may not see what is there can wait all the same
		}
		return false, err
	}
	err := r.options.until(ctx, isGone, func() error {
		left := r.watch.left(name)
		if placed, checked := r.watch.last[name]; checked && len(placed) == 0 {
			left = "nothing is placed there; is tmc-controller running?"
		}
		return fmt.Errorf("gave up waiting for cluster %s to leave after %s; it goes on leaving, and `kubectl tmc remove %s --force` gives it up: %s",
			name, r.options.timeout, name, left)
	})
	if err != nil {
		return err
	}
	return r.print(nil, "removed")
}

// force has nothing wait for the cluster any more. It lists what the cluster's syncer holds before that: afterwards no
// object tells.
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
	release := map[string]any{"metadata": map[string]any{"annotations": map[string]any{v1alpha1.ReleaseAnnotation: "true"}}}
	if err := r.provider.patch(ctx, name, "release", release); err != nil {
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
		return errors.Join(err, r.print(remains, "given up"))
	}
	return r.print(remains, "removed by force")
}

// delete deletes this very registration, unless somebody has.
func (r *removal) delete(ctx context.Context) error {
	if r.registration.DeletionTimestamp != nil {
		return nil
	}
	err := r.provider.objects.Resource(v1alpha1.ClusterRegistrationsResource).Delete(ctx, r.registration.Name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(r.registration.UID)),
	})
	if kcp.IsMissing(err) {
		return nil
	}
	return r.provider.explain("removing cluster "+r.registration.Name, err)
}

// isGone reports whether the registration is gone.
func (r *removal) isGone(ctx context.Context) (bool, error) {
	present, err := r.provider.registration(ctx, r.registration.Name)
	return err == nil && (present == nil || present.UID != r.registration.UID), err
}

// remains names the objects on the cluster, and by its rule their copies.
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

// print prints how the cluster was removed, and what may still run there.
func (r *removal) print(remains []view.Remain, how string) error {
	return r.options.output.write(r.options.out, view.NewList("RemainList", remains), func() error {
		fmt.Fprintf(r.options.out, "cluster %s %s\n", r.registration.Name, how)
		if len(remains) > 0 {
			fmt.Fprintf(r.options.out, "what may still run there, %d in all:\n%s", len(remains), view.RemainsText(remains, mostRemains))
		}
		return nil
	})
}
