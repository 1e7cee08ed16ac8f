package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/dynamic"

	"github.com/kcp-tmc/tmc/pkg/cli/view"
)

const getWorkloadsExample = `  # What of the namespace runs where
  kubectl tmc get workloads

  # What of the whole workspace runs where, with a column for each of many clusters
  kubectl tmc get workloads -A --wide

  # One of them, for a program
  kubectl tmc get workloads web -n shop -o json`

// getWorkloadsOptions are the flags of get workloads.
type getWorkloadsOptions struct {
	*clientOptions

	output              output
	allNamespaces, wide bool
	names               []string
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

More than a dozen clusters are summed up, unless --wide is given.`,
		Example: getWorkloadsExample,
	}
	options := &getWorkloadsOptions{clientOptions: newClientOptions(command, inANamespace)}
	options.output.addFlag(command)
	command.Flags().BoolVarP(&options.allNamespaces, "all-namespaces", "A", false, "Show the workloads of all namespaces of the workspace")
	command.Flags().BoolVar(&options.wide, "wide", false, "Give each cluster a column, however many there are")
	command.RunE = func(command *cobra.Command, args []string) error {
		options.complete(command)
		options.names = args
		if err := options.validate(); err != nil {
			return err
		}
		return runGetWorkloads(command.Context(), options)
	}
	return command
}

// validate checks the flags.
func (o *getWorkloadsOptions) validate() error {
	if o.allNamespaces && len(o.names) > 0 {
		return errors.New("a workload cannot be retrieved by name across all namespaces: give --namespace instead of --all-namespaces")
	}
	return o.output.validate()
}

// runGetWorkloads prints the workloads.
func runGetWorkloads(ctx context.Context, options *getWorkloadsOptions) error {
	namespace, _, err := options.loader().Namespace()
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	if options.allNamespaces {
		namespace = metav1.NamespaceAll
	}
	objs, err := options.workloads(ctx, namespace)
	if err != nil {
		return err
	}
	silent := options.silent(ctx)
	var workloads []view.Workload
	for _, obj := range objs {
		workloads = append(workloads, view.Of(obj, silent))
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
		return printTable(options.out, view.WorkloadTable(workloads, view.TableOptions{Namespaces: options.allNamespaces, Wide: options.wide}))
	})
}

// workloads lists the workloads of a namespace, those with the names if names are given.
// A name that there is not is an error.
func (o *getWorkloadsOptions) workloads(ctx context.Context, namespace string) ([]*unstructured.Unstructured, error) {
	config, err := o.consumerConfig()
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for %s: %w", config.Host, err)
	}
	var objs []*unstructured.Unstructured
	missing := sets.New(o.names...)
	var unserved []error
	for _, kind := range view.WorkloadKinds {
		err := eachItem(ctx, client.Resource(kind.Resource).Namespace(namespace), func(obj *unstructured.Unstructured) error {
			if len(o.names) == 0 || slices.Contains(o.names, obj.GetName()) {
				objs = append(objs, obj)
				missing.Delete(obj.GetName())
			}
			return nil
		})
		switch {
		case isUnserved(err):
			unserved = append(unserved, err)
		case err != nil:
			return nil, explainConsumer(config.Host, kind.Resource.Resource, err)
		}
	}
	if len(unserved) == len(view.WorkloadKinds) {
		return nil, explainConsumer(config.Host, "workloads", unserved[0])
	}
	if missing.Len() > 0 {
		return nil, fmt.Errorf("there is no workload %q in namespace %s", sets.List(missing)[0], namespace)
	}
	return objs, nil
}

// explainConsumer says why something of a consumer workspace cannot be listed.
func explainConsumer(host, what string, err error) error {
	switch {
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s does not accept the kubeconfig's credentials: %w", host, err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("listing %s: the workspace %s does not exist, or you may not do this there: %w", what, host, err)
	case isUnserved(err):
		return fmt.Errorf("%s serves no %s: point the kubeconfig at a workspace that `kubectl tmc bind` has bound: %w", host, what, err)
	default:
		return fmt.Errorf("listing %s: %w", what, err)
	}
}

// silent returns the clusters that are not heard of; nil when the caller may not know.
func (o *clientOptions) silent(ctx context.Context) sets.Set[string] {
	provider, err := o.provider()
	if err != nil {
		return nil
	}
	// A tenant may not see the registry: what objects say will do.
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
