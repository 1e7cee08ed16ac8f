package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/cmd/internal/daemon"
	"github.com/kcp-tmc/tmc/pkg/cli/view"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// newGetCommand returns the command that shows clusters and workloads.
func newGetCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "get",
		Short: "Show clusters, or which workload is on which cluster",
		Example: `  # How the clusters are
  kubectl tmc get clusters

  # What runs where
  kubectl tmc get workloads`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(newGetClustersCommand(), newGetWorkloadsCommand())
	return command
}

const getClustersExample = `  # All clusters
  kubectl tmc get clusters

  # Two of them, for a program
  kubectl tmc get clusters east west -o json`

// newGetClustersCommand returns the command that shows clusters.
func newGetClustersCommand() *cobra.Command {
	command := &cobra.Command{
		Use:     "clusters [NAME...]",
		Aliases: []string{"cluster"},
		Short:   "Show how the clusters are",
		Long: `Show the clusters that are registered in the provider workspace:

  READY       whether the cluster is heard of, and may take workloads, as kubectl shows nodes
  ISOLATION   what its syncer sees in kcp: Cluster, what is placed there; Group/NAME, what is
              placed on any cluster of that group; Shared, everything in the bound workspaces
  NAMESPACES  what becomes of namespaces that have one name in several workspaces, by the rule
              in the registration: Exclusive, Isolated, or Shared, which makes one tenant of
              all of them

Further columns show when the cluster was last heard of, how many workloads are placed there,
and how much of what its nodes have is requested. A dash stands for what you may not see, and
for what the cluster has not reported.`,
		Example: getClustersExample,
	}
	options := newClientOptions(command, false)
	var output output
	output.addFlag(command)
	return options.runs(command, func(ctx context.Context, names []string) error {
		if err := output.validate(); err != nil {
			return err
		}
		provider, err := options.provider()
		if err != nil {
			return err
		}
		registrations, err := provider.named(ctx, names)
		if err != nil {
			return err
		}
		known := view.Known{}
		if known.Heartbeats, err = provider.heartbeats(ctx); err != nil {
			return err
		}
		if known.Workloads, err = provider.workloads(ctx, names); err != nil {
			return err
		}
		var clusters []view.Cluster
		for i := range registrations {
			clusters = append(clusters, view.ClusterOf(&registrations[i], known))
		}
		return output.write(options.out, view.NewList("ClusterList", clusters), func() error {
			if len(clusters) == 0 {
				fmt.Fprintf(options.progress, "no clusters are registered in workspace %s\n", options.providerWorkspace)
			}
			if warning := view.SharedNamespaces(clusters); warning != "" {
				fmt.Fprintln(options.progress, "warning:", warning)
			}
			return printTable(options.out, view.ClusterTable(clusters, time.Now()))
		})
	})
}

// workloads counts the workloads on clusters; nil when the caller may not know.
func (p *provider) workloads(ctx context.Context, names []string) (map[string]int, error) {
	virtual, err := p.virtualWorkspaces(ctx)
	if isHidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	counts, err := virtual.workloadsOn(ctx, names)
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	return counts, err
}

const getWorkloadsExample = `  # What of the namespace runs where
  kubectl tmc get workloads

  # What of the whole workspace runs where, with a column for each of many clusters
  kubectl tmc get workloads -A --wide

  # What of all kinds is where, and what goes nowhere
  kubectl tmc get workloads --all-kinds

  # One of them, for a program
  kubectl tmc get workloads web -n shop -o json`

// getWorkloadsOptions are the flags of get workloads.
type getWorkloadsOptions struct {
	*clientOptions

	output                        output
	allNamespaces, allKinds, wide bool
}

// newGetWorkloadsCommand returns the command that shows workloads and their clusters.
func newGetWorkloadsCommand() *cobra.Command {
	command := &cobra.Command{
		Use:     "workloads [NAME...]",
		Aliases: []string{"workload"},
		Short:   "Show which workload is on which cluster, and how it fares there",
		Long: `Show the workloads of the workspace that the kubeconfig points at (Deployments,
StatefulSets, DaemonSets, Jobs and CronJobs), each with how many of it there are of how
many there should be, on all clusters together and on each:

  3/3      all are available (of a Job: have completed)
  2/3 !    the cluster reports a problem: see 'kubectl tmc describe'
  0/3 …    the cluster has not taken up the present state yet
  3/3 kept until it is available where it goes instead
  leaving  it is being removed from the cluster
  silent   the cluster is not heard of
  not bound  it would go there, and the workspace has not bound the cluster
  not taken  it would go there, and the cluster does not take its kind
  bound?     it would go there if it were known that the cluster is bound
  -        it is not placed there

More than a dozen clusters are summed up, unless --wide is given.

With --all-kinds, objects of all kinds that are synced are shown. The column WHERE names the
clusters of each, or says that nothing places it: it goes nowhere until something does, such as
the annotation tmc.kcp.io/target-clusters. What each cluster makes for itself is left out.`,
		Example: getWorkloadsExample,
	}
	options := &getWorkloadsOptions{clientOptions: newClientOptions(command, true)}
	options.output.addFlag(command)
	command.Flags().BoolVarP(&options.allNamespaces, "all-namespaces", "A", false, "Show the workloads of all namespaces of the workspace")
	command.Flags().BoolVar(&options.allKinds, "all-kinds", false, "Show the objects of all kinds that are synced, and where each of them is")
	command.Flags().BoolVar(&options.wide, "wide", false, "Give each cluster a column, however many there are")
	return options.runs(command, func(ctx context.Context, names []string) error {
		if options.allNamespaces && len(names) > 0 {
			return errors.New("a workload cannot be retrieved by name across all namespaces: give --namespace instead of --all-namespaces")
		}
		if err := options.output.validate(); err != nil {
			return err
		}
		return runGetWorkloads(ctx, options, names)
	})
}

// runGetWorkloads prints the workloads, those of the names if any are given.
func runGetWorkloads(ctx context.Context, options *getWorkloadsOptions, names []string) error {
	namespace, err := options.namespace()
	if err != nil {
		return err
	}
	if options.allNamespaces {
		namespace = metav1.NamespaceAll
	}
	known, err := daemon.ReadKinds(options.kindsFile)
	if err != nil {
		return err
	}
	objs, err := options.listed(ctx, known, namespace, names)
	if err != nil {
		return err
	}
	silent := options.silent(ctx)
	var workloads []view.Workload
	for _, obj := range objs {
		workloads = append(workloads, view.Of(obj, known, silent))
	}
	view.SortWorkloads(workloads)
	return options.output.write(options.out, view.NewList("WorkloadList", workloads), func() error {
		switch {
		case len(workloads) > 0:
		case options.allNamespaces:
			fmt.Fprintln(options.progress, "no workloads found")
		default:
			fmt.Fprintf(options.progress, "no workloads found in namespace %s\n", namespace)
		}
		return printTable(options.out, view.WorkloadTable(workloads, view.TableOptions{
			Namespaces: options.allNamespaces, Where: options.allKinds, Wide: options.wide,
		}))
	})
}

// listed lists the workloads of a namespace, or with allKinds the objects of all kinds that are synced, those with the names
// if any are given. A name without an object is an error.
func (o *getWorkloadsOptions) listed(ctx context.Context, known kinds.Kinds, namespace string, names []string) ([]*unstructured.Unstructured, error) {
	config, err := o.consumerConfig()
	if err != nil {
		return nil, err
	}
	client, resources, err := o.resources(ctx, config, known)
	if err != nil {
		return nil, err
	}
	var objs []*unstructured.Unstructured
	missing := sets.New(names...)
	var unserved []error
	for _, resource := range resources {
		err := eachItem(ctx, client.Resource(resource).Namespace(namespace), func(obj *unstructured.Unstructured) error {
			if isAsked(names, obj) {
				objs = append(objs, obj)
				missing.Delete(obj.GetName())
			}
			return nil
		})
		if kcp.IsNotServed(err) {
			unserved = append(unserved, err)
		} else if err := o.tolerated(resource, err); err != nil {
			return nil, explainConsumer(config.Host, resource.Resource, err)
		}
	}
	if len(unserved) > 0 && len(unserved) == len(resources) {
		return nil, explainConsumer(config.Host, "workloads", unserved[0])
	}
	if missing.Len() > 0 {
		return nil, fmt.Errorf("there is no workload %q in namespace %s", sets.List(missing)[0], namespace)
	}
	return objs, nil
}

// isAsked reports whether an object that can be synced has one of the names, of which none stand for all.
func isAsked(names []string, obj *unstructured.Unstructured) bool {
	return (len(names) == 0 || slices.Contains(names, obj.GetName())) && transform.IsNeverSynced(obj) == ""
}

// resources returns what is listed, workloads, or with allKinds all that is synced, and a client to list it with.
func (o *getWorkloadsOptions) resources(ctx context.Context, config *rest.Config, known kinds.Kinds) (dynamic.Interface, []schema.GroupVersionResource, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("client for %s: %w", config.Host, err)
	}
	if o.allKinds {
		resources, err := syncedResources(ctx, config, client, known)
		if err != nil {
			return nil, nil, explainConsumer(config.Host, "workloads", err)
		}
		return client, resources, nil
	}
	var resources []schema.GroupVersionResource
	for _, kind := range known.Workloads() {
		resources = append(resources, kind.GroupVersionResource())
	}
	return client, resources, nil
}

// tolerated returns the error of listing something, unless that is one kind of many that the caller may not list: then it says so.
func (o *getWorkloadsOptions) tolerated(resource schema.GroupVersionResource, err error) error {
	if o.allKinds && apierrors.IsForbidden(err) {
		fmt.Fprintf(o.progress, "%s are not shown, for you may not list them\n", resource.Resource)
		return nil
	}
	return err
}

// explainConsumer returns the error of listing something of a consumer workspace, with what is wrong and what to do.
func explainConsumer(host, what string, err error) error {
	return explain(err, "listing "+what, host, host, host+" serves no "+what+": point the kubeconfig at a workspace that `kubectl tmc bind` has bound")
}

// silent returns the clusters that are not heard of; nil when the caller may not know. A tenant may not see the
// registry: then only what objects say counts.
func (o *clientOptions) silent(ctx context.Context) sets.Set[string] {
	provider, err := o.provider()
	if err != nil {
		return nil
	}
	registrations, err := provider.registrations(ctx)
	if err != nil || len(registrations) == 0 {
		return nil
	}
	silent := sets.New[string]()
	for i := range registrations {
		if view.ReadyOf(&registrations[i]) != string(metav1.ConditionTrue) {
			silent.Insert(registrations[i].Name)
		}
	}
	return silent
}
