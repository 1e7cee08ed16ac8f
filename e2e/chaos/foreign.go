package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// foreignNamespace is a namespace of each cluster that is somebody else's.
const foreignNamespace = "somebody"

// foreigners makes objects of others on every cluster: in a namespace of theirs, with names, labels and content as tenants' have
// them, and in the tenants' lasting namespaces. It returns them as they are.
func (e *eyes) foreigners(ctx context.Context) (map[CopyKey]*unstructured.Unstructured, map[string]bool, error) {
	objects, namespaces := map[CopyKey]*unstructured.Unstructured{}, map[string]bool{}
	for cluster, client := range e.clusters {
		namespace := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": foreignNamespace, "labels": map[string]any{appLabel: "web-0"}},
		}}
		if _, err := client.Resource(namespaceGVR).Create(ctx, namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return nil, nil, err
		}
		for at, wanted := range foreignObjects(cluster) {
			namespaces[cluster+"/"+at.Namespace] = true
			object := &unstructured.Unstructured{Object: wanted.Manifest()}
			if at.Name == "marked" {
				object.SetLabels(map[string]string{managedByKey: managedByValue})
			}
			made, err := client.Resource(resources[at.Kind]).Namespace(at.Namespace).Create(ctx, object, metav1.CreateOptions{})
			if err != nil {
				return nil, nil, fmt.Errorf("making %s: %w", at, err)
			}
			objects[at] = made
		}
	}
	return objects, namespaces, nil
}

// foreignersLeave deletes what foreigners has made, with the namespaces that it was in, and waits for their end.
func (e *eyes) foreignersLeave(ctx context.Context, objects map[CopyKey]*unstructured.Unstructured) error {
	for at := range objects {
		client := e.clusters[at.Cluster].Resource(namespaceGVR)
		_, err := until(ctx, func(ctx context.Context) error {
			err := client.Delete(ctx, at.Namespace, metav1.DeleteOptions{})
			if isGone(err, at.Namespace) {
				return nil
			}
			return errors.Join(err, fmt.Errorf("namespace %s of %s is there", at.Namespace, at.Cluster))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// foreignObjects are those of others on a cluster.
func foreignObjects(cluster string) map[CopyKey]Wanted {
	all := map[CopyKey]Wanted{}
	add := func(namespace string, w Wanted) { all[copyKey(cluster, namespace, w.Key)] = w }
	for _, key := range []Key{
		{Deployment, "web-0"}, {ConfigMap, "conf-0"}, {Secret, "sec-0"}, {Service, "web-0"}, {ConfigMap, "marked"},
	} {
		add(foreignNamespace, Wanted{Key: key, Version: 77, Group: "a"})
	}
	for _, workspace := range workspaces {
		namespace := namespaceName(workspace, lasting)
		for _, key := range []Key{{ConfigMap, "foreign"}, {Secret, "foreign"}, {Deployment, "foreign"}} {
			add(namespace, Wanted{Key: key, Version: 78, Group: "b"})
		}
	}
	if cluster == ClusterNames[0] {
		add(namespaceName(workspaces[0], lasting), Wanted{Key: clash, Version: 79})
	}
	return all
}

// touched says which objects of others are not as they were made, byte for byte. What their own controllers write, the status
// and the number of a Deployment's revision, is theirs. One with which a fault has ever meddled tells nothing.
func touched(foreign, now map[CopyKey]*unstructured.Unstructured, meddled func(at CopyKey) bool) []string {
	var problems []string
	for at, was := range foreign {
		if meddled(at) {
			continue
		}
		is := now[at]
		if is == nil {
			problems = append(problems, at.String()+" is somebody else's, and is gone")
			continue
		}
		if at.Kind == Deployment {
			was, is = withoutController(was), withoutController(is)
		}
		if want, have := text(was.Object), text(is.Object); want != have {
			problems = append(problems, fmt.Sprintf("%s is somebody else's, and was touched: was %s, is %s", at, want, have))
		}
	}
	slices.Sort(problems)
	return problems
}

// withoutController returns an object without what the controller of its kind writes.
func withoutController(object *unstructured.Unstructured) *unstructured.Unstructured {
	object = object.DeepCopy()
	delete(object.Object, "status")
	unstructured.RemoveNestedField(object.Object, "metadata", "resourceVersion")
	unstructured.RemoveNestedField(object.Object, "metadata", "annotations", "deployment.kubernetes.io/revision")
	object.SetManagedFields(slices.DeleteFunc(object.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager == "kube-controller-manager"
	}))
	return object
}
