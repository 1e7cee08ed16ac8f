package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/kcp-tmc/tmc/cmd/internal/daemon"
	"github.com/kcp-tmc/tmc/pkg/cli/view"
	"github.com/kcp-tmc/tmc/pkg/kinds"
)

const describeExample = `  # Where a Deployment is, why, and what is wrong with it
  kubectl tmc describe deployment/web

  # The same of a StatefulSet in another namespace, by its short name
  kubectl tmc describe sts db -n shop`

// newDescribeCommand returns the command that explains one object.
func newDescribeCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "describe (KIND NAME | KIND/NAME)",
		Short: "Explain where an object is, how it fares there and what is wrong",
		Long: `Explain where objects of the workspace that the kubeconfig points at are and why, what each
cluster reports of its copy, what the merged conditions and the events say, and, at the end,
what is wrong. Kinds are named as for 'kubectl get'; every kind that is synced can be described.`,
		Example: describeExample,
	}
	options := newClientOptions(command, true)
	return options.runs(command, func(ctx context.Context, args []string) error {
		if len(args) == 0 {
			return errors.New("say what to describe: KIND NAME, or KIND/NAME, such as deployment/web")
		}
		return runDescribe(ctx, options, args)
	})
}

// runDescribe describes the objects that the arguments name.
func runDescribe(ctx context.Context, options *clientOptions, args []string) error {
	known, err := daemon.ReadKinds(options.kindsFile)
	if err != nil {
		return err
	}
	config, found, err := options.find(args, false)
	if err != nil {
		return err
	}
	silent := options.silent(ctx)
	for i, info := range found {
		obj := info.Object.(*unstructured.Unstructured) // see Unstructured above
		if i > 0 {
			fmt.Fprint(options.out, "\n\n")
		}
		events, err := eventsOf(ctx, config, obj)
		if err != nil {
			fmt.Fprintf(options.progress, "the events of %s cannot be read: %v\n", info.ObjectName(), err)
		}
		known := withStatuslessness(config, known, info.Mapping)
		fmt.Fprint(options.out, view.Describe(view.Of(obj, known, silent), events, options.tenantType(), time.Now()))
	}
	return nil
}

// withStatuslessness adds to what is known that objects of a kind that no entry describes have no status, when the workspace
// serves none. When it cannot be asked, they are taken to have one.
func withStatuslessness(config *rest.Config, known kinds.Kinds, mapping *meta.RESTMapping) kinds.Kinds {
	if known.Of(mapping.GroupVersionKind.GroupKind()).IsKnown() {
		return known
	}
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return known
	}
	served, err := client.ServerResourcesForGroupVersion(mapping.Resource.GroupVersion().String())
	if err != nil || slices.ContainsFunc(served.APIResources, func(r metav1.APIResource) bool { return r.Name == mapping.Resource.Resource+"/status" }) {
		return known
	}
	return known.WithoutStatus(mapping.GroupVersionKind.GroupKind())
}

// eventsOf returns the events of an object.
func eventsOf(ctx context.Context, config *rest.Config, obj *unstructured.Unstructured) ([]view.Event, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	selector := fields.Set{"involvedObject.name": obj.GetName(), "involvedObject.kind": obj.GetKind(), "involvedObject.uid": string(obj.GetUID())}
	list, err := client.Resource(corev1.SchemeGroupVersion.WithResource("events")).Namespace(obj.GetNamespace()).
		List(ctx, metav1.ListOptions{FieldSelector: selector.String()})
	if err != nil {
		return nil, err
	}
	var events []view.Event
	for _, item := range list.Items {
		var event corev1.Event
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &event); err != nil {
			return nil, fmt.Errorf("event %s: %w", item.GetName(), err)
		}
		events = append(events, eventOf(&event))
	}
	return events, nil
}

// eventOf returns what is shown of an event, of the older and the newer API.
func eventOf(event *corev1.Event) view.Event {
	shown := view.Event{
		Type: event.Type, Reason: event.Reason, Message: event.Message,
		From: cmp.Or(event.Source.Component, event.ReportingController), Count: int64(event.Count),
	}
	times := []time.Time{event.CreationTimestamp.Time, event.EventTime.Time, event.LastTimestamp.Time}
	if event.Series != nil {
		shown.Count = int64(event.Series.Count)
		times = append(times, event.Series.LastObservedTime.Time)
	}
	for _, t := range times {
		if t.After(shown.Last) {
			shown.Last = t
		}
	}
	return shown
}

// find returns the objects that the arguments name as for 'kubectl get', in the namespace that the options say: with all, all of a
// kind, of which there may be none. It also returns how to reach their server.
func (o *clientOptions) find(args []string, all bool) (*rest.Config, []*resource.Info, error) {
	namespace, err := o.namespace()
	if err != nil {
		return nil, nil, err
	}
	config, err := o.consumerConfig()
	if err != nil {
		return nil, nil, err
	}
	found, err := resource.NewBuilder(clients{config}).Unstructured().
		NamespaceParam(namespace).DefaultNamespace().SelectAllParam(all).
		ResourceTypeOrNameArgs(all, args...).Flatten().Do().Infos()
	return config, found, err
}

// clients makes the clients of the resource builder.
type clients struct{ config *rest.Config }

// ToRESTConfig implements resource.RESTClientGetter.
func (c clients) ToRESTConfig() (*rest.Config, error) { return c.config, nil }

// ToDiscoveryClient implements resource.RESTClientGetter.
func (c clients) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	client, err := discovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		return nil, err
	}
	return memory.NewMemCacheClient(client), nil
}

// ToRESTMapper implements resource.RESTClientGetter.
func (c clients) ToRESTMapper() (meta.RESTMapper, error) {
	client, err := c.ToDiscoveryClient()
	if err != nil {
		return nil, err
	}
	return restmapper.NewShortcutExpander(restmapper.NewDeferredDiscoveryRESTMapper(client), client, nil), nil
}
