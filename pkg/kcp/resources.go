package kcp

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/kcp-dev/logicalcluster/v3"
)

// Resource is a resource that kcp serves.
type Resource struct {
	schema.GroupVersionResource

	// Kind is the kind of its objects.
	Kind string
	// Namespaced is whether its objects lie in namespaces.
	Namespaced bool
	// HasStatus is whether it has a status subresource. Where it has, spec changes
	// count generations.
	HasStatus bool
}

// Discover returns what is served at the URL of config, of each resource the version that
// the server prefers. It fails when the server can tell only a part of it.
func Discover(ctx context.Context, config *rest.Config) ([]Resource, error) {
	client, err := discovery.NewDiscoveryClientForConfig(EndingWith(ctx, config))
	if err != nil {
		return nil, fmt.Errorf("discovery client for %s: %w", config.Host, err)
	}
	groups, lists, err := client.ServerGroupsAndResources()
	if err != nil {
		return nil, err
	}
	byVersion := map[string]*metav1.APIResourceList{}
	for _, list := range lists {
		byVersion[list.GroupVersion] = list
	}
	var resources []Resource
	for _, group := range groups {
		resources = append(resources, resourcesOf(group, byVersion)...)
	}
	return resources, nil
}

// resourcesOf returns the resources of a group. Its versions come in the order of
// preference.
func resourcesOf(group *metav1.APIGroup, byVersion map[string]*metav1.APIResourceList) []Resource {
	var resources []Resource
	seen := sets.New[string]()
	for _, version := range group.Versions {
		list := byVersion[version.GroupVersion]
		if list == nil {
			continue
		}
		statuses := sets.New[string]()
		for _, served := range list.APIResources {
			if name, isStatus := strings.CutSuffix(served.Name, "/status"); isStatus {
				statuses.Insert(name)
			}
		}
		for _, served := range list.APIResources {
			if strings.Contains(served.Name, "/") || seen.Has(served.Name) {
				continue
			}
			seen.Insert(served.Name)
			resources = append(resources, Resource{
				GroupVersionResource: schema.GroupVersionResource{Group: group.Name, Version: version.Version, Resource: served.Name},
				Kind:                 served.Kind,
				Namespaced:           served.Namespaced,
				HasStatus:            statuses.Has(served.Name),
			})
		}
	}
	return resources
}

// ObjectKey addresses one upstream object over all workspaces.
type ObjectKey struct {
	// Workspace is the name of the logical cluster, not its path.
	Workspace logicalcluster.Name
	Resource  schema.GroupVersionResource
	// Namespace is empty for cluster-scoped resources.
	Namespace, Name string
}

// KeyOf returns the key of an upstream object, which carries its workspace in the
// annotation kcp.io/cluster.
func KeyOf(resource schema.GroupVersionResource, upstreamObj metav1.Object) ObjectKey {
	return ObjectKey{
		Workspace: WorkspaceOf(upstreamObj),
		Resource:  resource,
		Namespace: upstreamObj.GetNamespace(),
		Name:      upstreamObj.GetName(),
	}
}

// WorkspaceOf returns the name of the logical cluster that an upstream object is in, as its annotation kcp.io/cluster has it. It is
// logicalcluster.From without the copy of all annotations that an unstructured object makes to be asked for one.
func WorkspaceOf(upstreamObj metav1.Object) logicalcluster.Name {
	content, isUnstructured := upstreamObj.(*unstructured.Unstructured)
	if !isUnstructured {
		return logicalcluster.From(upstreamObj)
	}
	metadata, _ := content.Object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	workspace, _ := annotations[logicalcluster.AnnotationKey].(string)
	return logicalcluster.Name(workspace)
}

// String returns the key as workspace|resource.group namespace/name, for logs.
func (k ObjectKey) String() string {
	return fmt.Sprintf("%s|%s %s/%s", k.Workspace, k.Resource.GroupResource(), k.Namespace, k.Name)
}

// MarshalLog implements logr.Marshaler, so that a key stays readable in every log
// format.
func (k ObjectKey) MarshalLog() any { return k.String() }

// originalVersionAnnotation is what kcp v0.31 adds to the metadata of objects that it lists over all workspaces, and, by mistake, to
// the objects themselves in its watch caches (setKCPOriginalAPIVersionAnnotation in its fork of k8s.io/apiserver,
// pkg/endpoints/handlers/response_kcp.go). So objects have it since a restart of kcp, or not, and that says nothing.
const originalVersionAnnotation = "kcp.io/original-api-version"

// WithoutOriginalVersion returns the object without the annotation by which kcp says of which version it was read. The object itself
// stays as it is.
func WithoutOriginalVersion(obj *unstructured.Unstructured) *unstructured.Unstructured {
	annotations := obj.GetAnnotations()
	if _, has := annotations[originalVersionAnnotation]; !has {
		return obj
	}
	delete(annotations, originalVersionAnnotation)
	obj = obj.DeepCopy()
	obj.SetAnnotations(annotations)
	return obj
}
