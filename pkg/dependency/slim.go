package dependency

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Slim drops from the object, in place, most of what neither References nor Follows
// nor the merging of statuses looks at, so that caches need not hold it: of pod
// templates all but labels, references and what they request, the data of ConfigMaps and Secrets, what
// `kubectl apply` and the API server note of who wrote what. Every other field stays,
// the rest of the spec among them. References and Follows say the same of the object
// as before.
func Slim(obj *unstructured.Unstructured) {
	for _, path := range templatePaths {
		if template := podTemplate(obj.Object, path); template != nil {
			last := len(path) - 1
			mapAt(obj.Object, path[:last]...)[path[last]] = pruneTemplate(template, func(Reference) {})
		}
	}
	for _, field := range []string{"data", "stringData", "binaryData"} {
		delete(obj.Object, field)
	}
	metadata := mapAt(obj.Object, metadataField)
	delete(metadata, "managedFields")
	delete(mapAt(metadata, "annotations"), corev1.LastAppliedConfigAnnotation)
}
