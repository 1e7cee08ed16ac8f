package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// fieldManager is the field manager of what is written here.
const fieldManager = "kubectl-tmc"

// leasesResource is that of the clusters' heartbeats.
var leasesResource = coordinationv1.SchemeGroupVersion.WithResource("leases")

// provider reaches the provider workspace, where the clusters are registered.
type provider struct {
	workspace string
	config    *rest.Config
	objects   dynamic.Interface
}

// provider returns the access to the provider workspace.
func (o *clientOptions) provider() (*provider, error) {
	config, err := o.providerConfig()
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for workspace %s: %w", o.providerWorkspace, err)
	}
	return &provider{workspace: o.providerWorkspace, config: config, objects: objects}, nil
}

// explain says what is wrong with a request, and what to do. The cause stays wrapped.
func (p *provider) explain(doing string, err error) error {
	switch {
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s does not accept the kubeconfig's credentials: %w", p.config.Host, err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s: workspace %s does not exist, or you may not do this there: %w", doing, p.workspace, err)
	case isUnserved(err):
		return fmt.Errorf("%s: there is no registry of clusters at %s: point the kubeconfig at a kcp where `kubectl tmc init` has been run, and --provider-workspace at the workspace: %w",
			doing, p.config.Host, err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// isUnserved reports whether a server does not know the resource that it was asked for,
// rather than the object.
func isUnserved(err error) bool {
	return apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// isHidden reports whether the caller may not see something, or there is no such thing.
func isHidden(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsNotFound(err) }

// eachItem lists in chunks.
func eachItem(ctx context.Context, client dynamic.ResourceInterface, visit func(*unstructured.Unstructured) error) error {
	list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return client.List(ctx, options)
	}
	return pager.New(list).EachListItem(ctx, metav1.ListOptions{}, func(obj runtime.Object) error {
		item, isObject := obj.(*unstructured.Unstructured)
		if !isObject {
			return fmt.Errorf("unexpected item %T in a list", obj)
		}
		return visit(item)
	})
}

// registrations returns all clusters, sorted by name.
func (p *provider) registrations(ctx context.Context) ([]v1alpha1.ClusterRegistration, error) {
	var all []v1alpha1.ClusterRegistration
	err := eachItem(ctx, p.objects.Resource(v1alpha1.ClusterRegistrationsResource), func(item *unstructured.Unstructured) error {
		registration, err := v1alpha1.RegistrationOf(item)
		if err == nil {
			all = append(all, *registration)
		}
		return err
	})
	if err != nil {
		return nil, p.explain("listing clusters", err)
	}
	slices.SortFunc(all, func(a, b v1alpha1.ClusterRegistration) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// named returns the registrations of those names, all when none are given. A name that
// there is not is an error, which says those that there are.
func (p *provider) named(ctx context.Context, names []string) ([]v1alpha1.ClusterRegistration, error) {
	all, err := p.registrations(ctx)
	if err != nil || len(names) == 0 {
		return all, err
	}
	var found []v1alpha1.ClusterRegistration
	var unknown []error
	for _, name := range names {
		index := slices.IndexFunc(all, func(r v1alpha1.ClusterRegistration) bool { return r.Name == name })
		if index < 0 {
			unknown = append(unknown, unknownCluster(name, all))
			continue
		}
		found = append(found, all[index])
	}
	return found, errors.Join(unknown...)
}

func unknownCluster(name string, all []v1alpha1.ClusterRegistration) error {
	var names []string
	for _, registration := range all {
		names = append(names, registration.Name)
	}
	if len(names) == 0 {
		return fmt.Errorf("there is no cluster %q: none is registered", name)
	}
	return fmt.Errorf("there is no cluster %q; there are: %s", name, strings.Join(names, ", "))
}

// registration returns one registration, nil when there is none of that name.
func (p *provider) registration(ctx context.Context, name string) (*v1alpha1.ClusterRegistration, error) {
	obj, err := p.objects.Resource(v1alpha1.ClusterRegistrationsResource).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !isUnserved(err) {
		return nil, nil
	}
	if err != nil {
		return nil, p.explain("reading cluster "+name, err)
	}
	return v1alpha1.RegistrationOf(obj)
}

// heartbeats returns when clusters were last heard of; nil when the caller may not know.
func (p *provider) heartbeats(ctx context.Context) (map[string]time.Time, error) {
	heartbeats := map[string]time.Time{}
	leases := p.objects.Resource(leasesResource).Namespace(v1alpha1.HeartbeatNamespace)
	err := eachItem(ctx, leases, func(item *unstructured.Unstructured) error {
		var lease coordinationv1.Lease
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &lease); err != nil {
			return fmt.Errorf("heartbeat of cluster %s: %w", item.GetName(), err)
		}
		if lease.Spec.RenewTime != nil {
			heartbeats[lease.Name] = lease.Spec.RenewTime.Time
		}
		return nil
	})
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, p.explain("listing heartbeats", err)
	}
	return heartbeats, nil
}

// endpointSlicesResource is where kcp says where the virtual workspaces of exports are.
var endpointSlicesResource = schema.GroupVersionResource{Group: "apis.kcp.io", Version: "v1alpha1", Resource: "apiexportendpointslices"}
