package protocol

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// operation is one of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// opTest is the operation that has a patch applied only where a value is as it says.
const opTest = "test"

// StatusPatch returns a JSON patch (RFC 6902) that makes status the status of the object, and that a server applies only while the
// object is placed as it was read: on the same clusters, leaving the same ones, divided in the same way. A status that was merged
// before a placement grew would have the object done with a cluster that knows nothing of it. Reports, which come all the time, do
// not count. With exactly, it is applied only to the very state of the object that was read.
func (o Object) StatusPatch(status map[string]any, exactly bool) ([]byte, error) {
	tests := []operation{{opTest, "/metadata/uid", o.object.GetUID()}}
	if exactly {
		tests = append(tests, operation{opTest, "/metadata/resourceVersion", o.object.GetResourceVersion()})
	} else {
		tests = append(tests, o.placementTests()...)
	}
	patch, err := json.Marshal(append(tests, operation{"add", "/status", status}))
	if err != nil {
		return nil, fmt.Errorf("encoding a status: %w", err)
	}
	return patch, nil
}

// placementTests compare where the object is with what was read. Labels are compared as a whole, for a test names what it is about,
// and a new cluster may have any name. The annotations count that change what is expected of a cluster.
func (o Object) placementTests() []operation {
	var labels any // null: a test passes where there is nothing
	if all := maps.Collect(o.labels.all()); len(all) > 0 {
		labels = all
	}
	tests := []operation{{opTest, "/metadata/labels", labels}}
	annotations := maps.Collect(o.annotations.all())
	if len(annotations) == 0 {
		return tests // there is nothing in which to look for one
	}
	for _, cluster := range o.Labelled() {
		for _, key := range []string{v1alpha1.DeletionAnnotation(cluster), v1alpha1.ReplicasAnnotation(cluster), v1alpha1.PartitionAnnotation(cluster)} {
			var value any
			if text, has := annotations[key]; has {
				value = text
			}
			tests = append(tests, operation{opTest, annotationPointer(key), value})
		}
	}
	return tests
}

// escapePointer escapes a key for a JSON pointer (RFC 6901).
func escapePointer(key string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(key) }
