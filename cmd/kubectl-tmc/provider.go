package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kcp-dev/logicalcluster/v3"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
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
	path := logicalcluster.NewPath(o.providerWorkspace)
	if !path.IsValid() {
		return nil, fmt.Errorf("--provider-workspace: %q is not the path of a workspace", o.providerWorkspace)
	}
	config, err := o.restConfig()
	if err != nil {
		return nil, err
	}
	if config, err = kcp.ForWorkspace(bounded(config), path); err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for workspace %s: %w", o.providerWorkspace, err)
	}
	return &provider{workspace: o.providerWorkspace, config: config, objects: objects}, nil
}

// explain returns the error of a request with what is wrong and what to do. The cause stays wrapped.
func (p *provider) explain(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s does not accept the kubeconfig's credentials: %w", p.config.Host, err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s: workspace %s does not exist, or you may not do this there: %w", doing, p.workspace, err)
	case kcp.IsNotServed(err):
		return fmt.Errorf("%s: there is no registry of clusters at %s: point the kubeconfig at a kcp where `kubectl tmc init` has been run, and --provider-workspace at the workspace: %w",
			doing, p.config.Host, err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// isHidden reports whether something does not exist, or the caller may not see it.
func isHidden(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsNotFound(err) }

// eachItem lists objects in chunks, and calls visit with each.
func eachItem(ctx context.Context, client dynamic.ResourceInterface, visit func(*unstructured.Unstructured) error) error {
	list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return client.List(ctx, options)
	}
	return pager.New(list).EachListItem(ctx, metav1.ListOptions{}, func(obj runtime.Object) error {
		return visit(obj.(*unstructured.Unstructured)) // of which dynamic clients' lists are made
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

// named returns the registrations of those names, all when none are given. A name without a registration is an error
// that lists the names that have one.
func (p *provider) named(ctx context.Context, names []string) ([]v1alpha1.ClusterRegistration, error) {
	all, err := p.registrations(ctx)
	if err != nil || len(names) == 0 {
		return all, err
	}
	known := make([]string, len(all))
	for i := range all {
		known[i] = all[i].Name
	}
	there := "none is registered"
	if len(known) > 0 {
		there = "there are: " + strings.Join(known, ", ")
	}
	var found []v1alpha1.ClusterRegistration
	var unknown []error
	for _, name := range names {
		if index := slices.Index(known, name); index >= 0 {
			found = append(found, all[index])
		} else {
			unknown = append(unknown, fmt.Errorf("there is no cluster %q; %s", name, there))
		}
	}
	return found, errors.Join(unknown...)
}

// registration returns one registration, nil when there is none of that name.
func (p *provider) registration(ctx context.Context, name string) (*v1alpha1.ClusterRegistration, error) {
	obj, err := p.objects.Resource(v1alpha1.ClusterRegistrationsResource).Get(ctx, name, metav1.GetOptions{})
	if kcp.IsMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, p.explain("reading cluster "+name, err)
	}
	return v1alpha1.RegistrationOf(obj)
}

// patch writes a merge patch of a registration.
func (p *provider) patch(ctx context.Context, name, doing string, patch map[string]any) error {
	data, err := json.Marshal(patch)
	if err == nil {
		_, err = p.objects.Resource(v1alpha1.ClusterRegistrationsResource).
			Patch(ctx, name, types.MergePatchType, data, metav1.PatchOptions{FieldManager: fieldManager})
	}
	return p.explain(doing+" cluster "+name, err)
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
	return heartbeats, p.explain("listing heartbeats", err)
}
