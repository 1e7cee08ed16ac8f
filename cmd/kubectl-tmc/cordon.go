package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// scheduling is a change of what may come to a cluster and what may stay.
type scheduling struct {
	// verb is what is done, done what has been done then.
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
	options := newClientOptions(command, noNamespace)
	command.RunE = func(command *cobra.Command, args []string) error {
		options.complete(command)
		provider, err := options.provider()
		if err != nil {
			return err
		}
		return options.schedule(command.Context(), provider, change, args)
	}
	return command
}

// needClusters refuses a command without the name of a cluster.
func needClusters(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("the name of a cluster is needed; `kubectl tmc get clusters` lists them")
	}
	return nil
}

// schedule makes the change of the clusters, and says what has happened. It changes none
// when one of them does not exist.
func (o *clientOptions) schedule(ctx context.Context, provider *provider, change scheduling, names []string) error {
	registrations, err := provider.named(ctx, names)
	if err != nil {
		return err
	}
	for i := range registrations {
		registration := &registrations[i]
		isSo := registration.Spec.Unschedulable == change.unschedulable && (change.keepsDrain || registration.Spec.Drain == change.drain)
		if isSo {
			fmt.Fprintf(o.out, "cluster %s already %s\n", registration.Name, change.done)
			continue
		}
		if err := provider.patch(ctx, registration.Name, change.verb, change.patch()); err != nil {
			return err
		}
		fmt.Fprintf(o.out, "cluster %s %s\n", registration.Name, change.done)
	}
	return nil
}

// patch returns the merge patch of the change: what is not set is absent.
func (s scheduling) patch() map[string]any {
	orAbsent := func(value bool) any {
		if value {
			return true
		}
		return nil
	}
	spec := map[string]any{"unschedulable": orAbsent(s.unschedulable)}
	if !s.keepsDrain {
		spec["drain"] = orAbsent(s.drain)
	}
	return map[string]any{"spec": spec}
}

// patch writes a merge patch of a registration.
func (p *provider) patch(ctx context.Context, name, doing string, patch map[string]any) error {
	data, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("%s cluster %s: %w", doing, name, err)
	}
	_, err = p.objects.Resource(v1alpha1.ClusterRegistrationsResource).
		Patch(ctx, name, types.MergePatchType, data, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil {
		return p.explain(doing+" cluster "+name, err)
	}
	return nil
}
