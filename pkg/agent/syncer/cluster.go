package syncer

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// createOnly is a resource version that no stored object has. A server-side apply that carries one creates what does not exist,
// and conflicts with what does: the server compares versions only with an object that is there. (Store.Update in
// k8s.io/apiserver/pkg/registry/generic/registry.)
const createOnly = "1"

// clusterServer is the cluster, to ask and to write to: see cluster.
type clusterServer interface {
	live(ctx context.Context, resource schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error)
	liveNamespace(ctx context.Context, name string) (*unstructured.Unstructured, error)
	apply(ctx context.Context, resource schema.GroupVersionResource, desired *unstructured.Unstructured) (*unstructured.Unstructured, error)
	setManagedFields(ctx context.Context, resource schema.GroupVersionResource, live *unstructured.Unstructured, managedFields []metav1.ManagedFieldsEntry) (*unstructured.Unstructured, error)
	tryCreate(ctx context.Context, resource schema.GroupVersionResource, desired *unstructured.Unstructured) error
	remove(ctx context.Context, resource schema.GroupVersionResource, downstreamObj *unstructured.Unstructured, propagation metav1.DeletionPropagation) error
	anythingIn(ctx context.Context, namespace string) (string, error)
	leftBehind(ctx context.Context, namespace string) (string, error)
	versions(ctx context.Context, resource schema.GroupVersionResource, namespace string) (string, error)
}

// cluster is the cluster, to write to and to ask.
type cluster struct {
	client dynamic.Interface
	// metadata and discovery find what else lies in a namespace.
	metadata  metadata.Interface
	discovery discovery.DiscoveryInterface
	// serves asks whether the cluster serves a resource, and fails while the cluster is not ready: see servedBy. Not set, what a 404
	// says counts.
	serves func(ctx context.Context, resource schema.GroupVersionResource) (bool, error)
}

func newCluster(config *rest.Config, name string) (*cluster, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client for cluster %s at %s: %w", name, config.Host, err)
	}
	quiet := rest.CopyConfig(config)
	quiet.WarningHandler = rest.NoWarnings{} // it reads everything, what is deprecated included
	metadataClient, err := metadata.NewForConfig(quiet)
	if err != nil {
		return nil, fmt.Errorf("metadata client for cluster %s at %s: %w", name, config.Host, err)
	}
	discoveryClient, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("discovery client for cluster %s at %s: %w", name, config.Host, err)
	}
	return &cluster{client: client, metadata: metadataClient, discovery: discoveryClient, serves: servedBy(discoveryClient)}, nil
}

// live asks the cluster for the object; nil without an error when there is none. It has no marks of tmc but those that are ours.
func (c *cluster) live(ctx context.Context, resource schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	obj, err := c.client.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil && c.isMissing(ctx, resource, name, err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("asking the cluster for %s/%s: %w", namespace, name, err)
	}
	transform.KeepOwnMarks(obj)
	return obj, nil
}

// liveNamespace is live for a namespace. It lists: that is among a syncer's rights, to get any namespace is not.
func (c *cluster) liveNamespace(ctx context.Context, name string) (*unstructured.Unstructured, error) {
	list, err := c.client.Resource(v1alpha1.NamespacesResource).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, name).String(),
	})
	if err != nil {
		return nil, fmt.Errorf("asking the cluster for namespace %s: %w", name, err)
	}
	for i := range list.Items {
		if list.Items[i].GetName() == name {
			transform.KeepOwnMarks(&list.Items[i])
			return &list.Items[i], nil
		}
	}
	return nil, nil
}

// apply makes the server-side apply of an object. It takes fields back that others have changed (force): what those own by right
// is not in desired.
func (c *cluster) apply(ctx context.Context, resource schema.GroupVersionResource, desired *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	body, err := desired.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", nameOf(desired), err)
	}
	applied, err := c.client.Resource(resource).Namespace(desired.GetNamespace()).
		Patch(ctx, desired.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{
			FieldManager: v1alpha1.FieldManager, Force: new(true),
			// Otherwise the server reads the body, as YAML, a second time to look for duplicate keys, of which an encoded map has none.
			FieldValidation: metav1.FieldValidationIgnore,
		})
	if err != nil {
		return nil, fmt.Errorf("applying %s: %w", nameOf(desired), err)
	}
	return applied, nil
}

// operation is one of a JSON patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

func testOf(path string, value any) operation { return operation{"test", path, value} }

// setManagedFields changes who owns what of the object that was read, and nothing else of it. It returns the object as it is then,
// and an error for which isOvertaken is true when somebody else has changed what it changes: a new status is no such change, for
// who owns the status is another entry.
func (c *cluster) setManagedFields(ctx context.Context, resource schema.GroupVersionResource, live *unstructured.Unstructured, managedFields []metav1.ManagedFieldsEntry) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(managedFieldsPatch(live, managedFields))
	if err != nil {
		return nil, fmt.Errorf("encoding who owns what of %s: %w", nameOf(live), err)
	}
	patched, err := c.client.Resource(resource).Namespace(live.GetNamespace()).
		Patch(ctx, live.GetName(), types.JSONPatchType, body, metav1.PatchOptions{FieldManager: v1alpha1.FieldManager})
	if err != nil {
		return nil, fmt.Errorf("writing who owns what of %s: %w", nameOf(live), err)
	}
	return patched, nil
}

// isOvertaken reports whether a patch was refused because what it tests is not so any more: API servers answer that a patch cannot
// be processed. (jsonPatcher in k8s.io/apiserver/pkg/endpoints/handlers/patch.go.)
func isOvertaken(err error) bool {
	return apierrors.IsConflict(err) || kcp.Is404(err) || apierrors.IsInvalid(err)
}

// managedFieldsPatch returns the operations that lead to the managedFields from those that were read, and test that what they
// change is as it was read. What is to go comes from the end, so that the numbers before it stay.
func managedFieldsPatch(live *unstructured.Unstructured, managedFields []metav1.ManagedFieldsEntry) []operation {
	const path = "/metadata/managedFields/"
	patch, present := []operation{testOf("/metadata/uid", live.GetUID())}, live.GetManagedFields()
	whose := func(e metav1.ManagedFieldsEntry) string {
		return strings.Join([]string{e.Manager, string(e.Operation), e.APIVersion, e.Subresource}, "\x00")
	}
	wanted := map[string]metav1.ManagedFieldsEntry{}
	for _, entry := range managedFields {
		wanted[whose(entry)] = entry
	}
	for i, entry := range slices.Backward(present) {
		at := path + strconv.Itoa(i)
		next, stays := wanted[whose(entry)]
		delete(wanted, whose(entry))
		switch {
		case !stays:
			patch = append(patch, testOf(at, entry), operation{Op: "remove", Path: at})
		case !reflect.DeepEqual(next.FieldsV1, entry.FieldsV1):
			patch = append(patch, testOf(at, entry), operation{"replace", at + "/fieldsV1", next.FieldsV1})
		}
	}
	for _, entry := range managedFields {
		if _, isNew := wanted[whose(entry)]; isNew {
			patch = append(patch, operation{"add", path + "-", entry})
		}
	}
	return patch
}

// maxPrefix is how long a name may be from which the server makes another one: with its five characters it has to be a label's value.
const maxPrefix = 58

// tryCreate asks the cluster, without making it, what it would say to the copy if it were a new object: under another name.
func (c *cluster) tryCreate(ctx context.Context, resource schema.GroupVersionResource, desired *unstructured.Unstructured) error {
	body := desired.DeepCopy()
	body.SetName("")
	body.SetGenerateName(desired.GetName()[:min(len(desired.GetName()), maxPrefix)])
	_, err := c.client.Resource(resource).Namespace(desired.GetNamespace()).
		Create(ctx, body, metav1.CreateOptions{FieldManager: v1alpha1.FieldManager, DryRun: []string{metav1.DryRunAll}})
	return err
}

// nameOf returns how to call an object of the cluster in messages.
func nameOf(downstreamObj *unstructured.Unstructured) string {
	if namespace := downstreamObj.GetNamespace(); namespace != "" {
		return namespace + "/" + downstreamObj.GetName()
	}
	return downstreamObj.GetName()
}

// remove deletes the very object that was read; propagation says what becomes of what belongs to it. It is no error when the object
// is gone.
func (c *cluster) remove(
	ctx context.Context, resource schema.GroupVersionResource, downstreamObj *unstructured.Unstructured, propagation metav1.DeletionPropagation,
) error {
	err := c.client.Resource(resource).Namespace(downstreamObj.GetNamespace()).Delete(ctx, downstreamObj.GetName(), metav1.DeleteOptions{
		Preconditions:     metav1.NewUIDPreconditions(string(downstreamObj.GetUID())),
		PropagationPolicy: &propagation,
	})
	if err != nil && !c.isMissing(ctx, resource, downstreamObj.GetName(), err) {
		return fmt.Errorf("deleting %s: %w", nameOf(downstreamObj), err)
	}
	return nil
}

// anythingIn returns what is in a namespace, the first thing found, "" when it is empty. What every namespace has by itself does
// not count, nor does what is only seen there and cannot be made (metrics of pods). What the syncer may not list does. It fails
// when it cannot list everything for another reason.
func (c *cluster) anythingIn(ctx context.Context, namespace string) (string, error) {
	lists, err := c.discovery.ServerPreferredNamespacedResources()
	if err != nil {
		return "", err
	}
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "create"}}, lists) {
		groupVersion, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return "", err
		}
		for _, resource := range list.APIResources {
			if resource.Name == "events" {
				continue // in whatever API group, they say nothing about a namespace being in use
			}
			found, err := c.anyOf(ctx, groupVersion.WithResource(resource.Name), namespace)
			if err != nil || found != "" {
				return found, err
			}
		}
	}
	return "", nil
}

// pageSize is how many objects to list in one request: what does not count are a handful at most.
const pageSize = 20

func (c *cluster) anyOf(ctx context.Context, resource schema.GroupVersionResource, namespace string) (string, error) {
	options := metav1.ListOptions{Limit: pageSize}
	for {
		list, err := c.metadata.Resource(resource).Namespace(namespace).List(ctx, options)
		switch {
		case kcp.Is404(err) && c.lacks(ctx, resource), apierrors.IsMethodNotSupported(err):
			return "", nil // it is served no more, or cannot be listed
		case apierrors.IsForbidden(err):
			return notListed(resource), nil
		case err != nil:
			return "", err
		}
		for i := range list.Items {
			if !comesByItself(resource.GroupResource(), &list.Items[i]) {
				return resource.GroupResource().String() + " " + list.Items[i].Name, nil
			}
		}
		if list.Continue == "" {
			return "", nil
		}
		options.Continue = list.Continue
	}
}

// byThemselves are the objects that controllers put into every namespace, by resource: Kubernetes' own (root CA publisher, service
// account controller), OpenShift's and Istio's.
var byThemselves = map[schema.GroupResource][]string{
	{Resource: "configmaps"}:      {"kube-root-ca.crt", "openshift-service-ca.crt", "istio-ca-root-cert"},
	{Resource: "serviceaccounts"}: {"default", "builder", "deployer"},
}

// comesByItself reports whether an object says nothing about a namespace being in use: what controllers put into every namespace,
// what is not stored and therefore has no UID, and what nobody removes when its owner was orphaned (isDebris).
func comesByItself(resource schema.GroupResource, obj *metav1.PartialObjectMetadata) bool {
	return obj.UID == "" || slices.Contains(byThemselves[resource], obj.Name) || isDebris(resource, obj)
}

var claimsResource = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}

// runners are what runs pods, each after what makes it, the pods, and their claims of volumes.
var runners = []schema.GroupVersionResource{
	{Group: appsv1.GroupName, Version: "v1", Resource: "deployments"},
	{Group: appsv1.GroupName, Version: "v1", Resource: "statefulsets"},
	{Group: appsv1.GroupName, Version: "v1", Resource: "daemonsets"},
	{Group: appsv1.GroupName, Version: "v1", Resource: "replicasets"},
	{Group: batchv1.GroupName, Version: "v1", Resource: "cronjobs"},
	{Group: batchv1.GroupName, Version: "v1", Resource: "jobs"},
	{Version: "v1", Resource: "pods"},
	claimsResource,
}

// runnerKinds are the kinds of runners that make others.
var runnerKinds = sets.New(
	schema.GroupKind{Group: appsv1.GroupName, Kind: "Deployment"}, schema.GroupKind{Group: appsv1.GroupName, Kind: "StatefulSet"},
	schema.GroupKind{Group: appsv1.GroupName, Kind: "DaemonSet"}, schema.GroupKind{Group: appsv1.GroupName, Kind: "ReplicaSet"},
	schema.GroupKind{Group: batchv1.GroupName, Kind: "CronJob"}, schema.GroupKind{Group: batchv1.GroupName, Kind: "Job"},
)

// controllersLabels are labels that Kubernetes' own controllers put on what they make, by resource. What bears one and has no
// controller was orphaned.
var controllersLabels = map[schema.GroupResource][]string{
	{Group: appsv1.GroupName, Resource: "replicasets"}: {appsv1.DefaultDeploymentUniqueLabelKey},
	{Resource: "pods"}: {appsv1.DefaultDeploymentUniqueLabelKey, appsv1.ControllerRevisionHashLabelKey, batchv1.JobNameLabel},
	// "controller.kubernetes.io/hash" is ControllerRevisionHashLabel of kubernetes' pkg/controller/history.
	{Group: appsv1.GroupName, Resource: "controllerrevisions"}: {appsv1.ControllerRevisionHashLabelKey, "controller.kubernetes.io/hash"},
}

// isOrphan reports whether an object was made by one of Kubernetes' own controllers, and has none any more.
func isOrphan(resource schema.GroupResource, item *metav1.PartialObjectMetadata) bool {
	if metav1.GetControllerOf(item) != nil {
		return false
	}
	_, isOfCronJob := item.Annotations[batchv1.CronJobScheduledTimestampAnnotation]
	return isOfCronJob && resource == (schema.GroupResource{Group: batchv1.GroupName, Resource: "jobs"}) ||
		slices.ContainsFunc(controllersLabels[resource], func(label string) bool { return item.Labels[label] != "" })
}

// isDebris reports whether an object is an orphan that runs nothing and holds nothing: revisions of what is gone, and addresses of
// a Service that is gone. Nobody would ever remove it.
func isDebris(resource schema.GroupResource, item *metav1.PartialObjectMetadata) bool {
	switch resource {
	case schema.GroupResource{Group: appsv1.GroupName, Resource: "controllerrevisions"}:
		return isOrphan(resource, item)
	case schema.GroupResource{Group: discoveryv1.GroupName, Resource: "endpointslices"}:
		return metav1.GetControllerOf(item) == nil && item.Labels[discoveryv1.LabelManagedBy] == "endpointslice-controller.k8s.io"
	default:
		return false
	}
}

// leftBehind returns what the workspace that owned a namespace has left there beside its copies, the first thing found, "" for
// nothing: pods and what runs them, being deleted, or about to be because their maker is gone, or orphaned, for the next workspace
// would take them over; and any claim of a volume, for a StatefulSet leaves its own behind, and the data in it with them. A claim of somebody else, which cannot be told from that, counts
// as well. Nothing else does: pods of somebody else run on.
func (c *cluster) leftBehind(ctx context.Context, namespace string) (string, error) {
	alive := sets.New[types.UID]()
	for _, resource := range runners {
		items, err := c.list(ctx, resource, namespace)
		if apierrors.IsForbidden(err) {
			return notListed(resource), nil
		}
		if err != nil {
			return "", err
		}
		for i := range items {
			if isLeft(resource, &items[i], alive) {
				return resource.GroupResource().String() + " " + items[i].Name, nil
			}
			alive.Insert(items[i].UID)
		}
	}
	return "", nil
}

// notListed says, of what the syncer may not list, that there may be some.
func notListed(resource schema.GroupVersionResource) string {
	return fmt.Sprintf("%s, perhaps: the syncer's account may not list them", resource.GroupResource())
}

// isLeft reports whether an object is a claim that is no copy, or is being deleted, or was made by a runner that is not among
// those alive or that has left it behind.
func isLeft(resource schema.GroupVersionResource, item *metav1.PartialObjectMetadata, alive sets.Set[types.UID]) bool {
	if resource == claimsResource {
		transform.KeepOwnMarks(item)
		return !transform.IsCopy(item)
	}
	if item.DeletionTimestamp != nil || isOrphan(resource.GroupResource(), item) {
		return true
	}
	maker := metav1.GetControllerOf(item)
	if maker == nil || alive.Has(maker.UID) {
		return false
	}
	return runnerKinds.Has(schema.FromAPIVersionAndKind(maker.APIVersion, maker.Kind).GroupKind())
}

// list returns the metadata of all objects of a resource in a namespace; none where the cluster does not serve it.
func (c *cluster) list(ctx context.Context, resource schema.GroupVersionResource, namespace string) ([]metav1.PartialObjectMetadata, error) {
	found, err := c.metadata.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if kcp.Is404(err) && c.lacks(ctx, resource) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return found.Items, nil
}
