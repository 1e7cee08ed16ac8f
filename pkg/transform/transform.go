package transform

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const (
	// lastApplied is the annotation of client-side `kubectl apply`; it describes
	// the upstream object.
	lastApplied = "kubectl.kubernetes.io/last-applied-configuration"
	// deploymentDomain holds the annotations of the deployment controller, which
	// runs downstream and would fight for them.
	deploymentDomain = "deployment.kubernetes.io/"
)

// Desired returns the copy of upstreamObj that the cluster named by origin is to
// have, as the body of a server-side apply. The copy carries all of the user's
// fields, unknown ones included, and none that belong to the upstream server, to
// kcp or to tmc. It shares no memory with upstreamObj. It fails when the object
// cannot be encoded.
func Desired(upstreamObj *unstructured.Unstructured, origin Origin) (*unstructured.Unstructured, error) {
	content := runtime.DeepCopyJSON(upstreamObj.Object)
	delete(content, "status")
	delete(content, "metadata")
	dropNulls(content)

	desired := &unstructured.Unstructured{Object: content}
	namespace, name := origin.Target()
	desired.SetName(name)
	desired.SetNamespace(namespace)
	desired.SetLabels(downstreamLabels(upstreamObj, origin))
	annotations := downstreamAnnotations(upstreamObj, origin)
	desired.SetAnnotations(annotations)

	data, err := json.Marshal(desired.Object)
	if err != nil {
		return nil, fmt.Errorf("encoding the copy of %s/%s: %w", origin.Namespace, origin.Name, err)
	}
	annotations[v1alpha1.AppliedHashAnnotation] = hash(data)
	desired.SetAnnotations(annotations)
	return desired, nil
}

func downstreamLabels(upstreamObj *unstructured.Unstructured, origin Origin) map[string]string {
	labels := usersOwn(upstreamObj.GetLabels())
	labels[v1alpha1.ManagedByLabel] = v1alpha1.ManagedByValue
	labels[v1alpha1.SourceHashLabel] = origin.Hash()
	return labels
}

func downstreamAnnotations(upstreamObj *unstructured.Unstructured, origin Origin) map[string]string {
	annotations := usersOwn(upstreamObj.GetAnnotations())
	annotations[v1alpha1.SourceClusterAnnotation] = origin.Workspace
	annotations[v1alpha1.SourceNamespaceAnnotation] = origin.Namespace
	annotations[v1alpha1.SourceNameAnnotation] = origin.Name
	annotations[v1alpha1.SourceUIDAnnotation] = string(upstreamObj.GetUID())
	annotations[v1alpha1.SourceGenerationAnnotation] = strconv.FormatInt(upstreamObj.GetGeneration(), 10)
	annotations[v1alpha1.SourceInputsAnnotation] = Inputs(upstreamObj, origin.Cluster)
	annotations[v1alpha1.TargetClusterAnnotation] = origin.Cluster
	return annotations
}

// Inputs stands, in 16 hexadecimal digits, for what of the upstream object shapes
// a cluster's copy without moving the generation: the labels and annotations that
// go down, and what is said for that cluster alone.
func Inputs(upstreamObj *unstructured.Unstructured, cluster string) string {
	annotations := upstreamObj.GetAnnotations()
	data, err := json.Marshal([]any{
		usersOwn(upstreamObj.GetLabels()),
		usersOwn(annotations),
		annotations[v1alpha1.OverrideAnnotationPrefix+cluster],
		annotations[v1alpha1.ReplicasAnnotationPrefix+cluster],
	})
	if err != nil {
		return "" // cannot be: these are maps of strings
	}
	return hash(data)[:16]
}

// usersOwn returns the entries of labels or annotations that go down.
func usersOwn(all map[string]string) map[string]string {
	own := make(map[string]string, len(all))
	for key, value := range all {
		if v1alpha1.IsOwnKey(key) || key == lastApplied || strings.HasPrefix(key, deploymentDomain) {
			continue
		}
		own[key] = value
	}
	return own
}

// dropNulls removes the fields that are null, at any depth. To the typed kinds
// downstream null and absent are one, but server-side apply would record that we
// own the field. (Elements of lists stay: their places mean something.)
func dropNulls(value any) {
	switch value := value.(type) {
	case map[string]any:
		for key, field := range value {
			if field == nil {
				delete(value, key)
				continue
			}
			dropNulls(field)
		}
	case []any:
		for _, element := range value {
			dropNulls(element)
		}
	}
}

// AppliedGeneration returns the upstream generation that a copy was made from,
// 0 when the copy does not say.
func AppliedGeneration(downstreamObj *unstructured.Unstructured) int64 {
	value := downstreamObj.GetAnnotations()[v1alpha1.SourceGenerationAnnotation]
	generation, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0 // absent or tampered with: the next apply mends it
	}
	return generation
}
