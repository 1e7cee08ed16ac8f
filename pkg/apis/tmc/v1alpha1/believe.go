package v1alpha1

import (
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kcp-tmc/tmc/pkg/apis/quantity"
)

const (
	// mostQuantities is how many resources a registration's status may tell of.
	mostQuantities = 16
	// mostResources is how many resources a cluster may say that it serves.
	mostResources = 4096
)

// RegistrationOf reads a ClusterRegistration. Of its status, which the cluster's syncer
// writes, it leaves out what is out of bounds: quantities that quantity.Parse does not
// take, which Kubernetes' own types would spend hours on, and lists that are too long. The
// object is not changed. It fails when something else has not the type that it should have.
func RegistrationOf(obj *unstructured.Unstructured) (*ClusterRegistration, error) {
	registration := &ClusterRegistration{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(Believable(obj.Object), registration); err != nil {
		return nil, fmt.Errorf("ClusterRegistration %s: %w", obj.GetName(), err)
	}
	return registration, nil
}

// Believable returns the content of a ClusterRegistration, or of any other object, with a
// status within the bounds of RegistrationOf. It shares memory with the content, and
// changes nothing of it.
func Believable(registration map[string]any) map[string]any {
	status, isMap := registration["status"].(map[string]any)
	if !isMap {
		return registration
	}
	status = maps.Clone(status)
	for _, field := range []string{"allocatable", "requested"} {
		if list, isMap := status[field].(map[string]any); isMap {
			status[field] = believableQuantities(list)
		}
	}
	if resources, isList := status["resources"].([]any); isList && len(resources) > mostResources {
		delete(status, "resources")
	}
	registration = maps.Clone(registration)
	registration["status"] = status
	return registration
}

func believableQuantities(list map[string]any) map[string]any {
	if len(list) > mostQuantities {
		return nil
	}
	kept := make(map[string]any, len(list))
	for name, value := range list {
		if _, ok := quantity.Parse(value); ok {
			kept[name] = value
		}
	}
	return kept
}
