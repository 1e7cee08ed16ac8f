package protocol

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// removal is an operation of a JSON patch (RFC 6902) that removes what is there.
type removal struct {
	Op   string `json:"op"`
	Path string `json:"path"`
}

// ReleasePatch returns a JSON patch (RFC 6902) by which the cluster's syncer lets go of the object: it takes its finalizer and its
// report off. It is nil where there is neither. A server applies it only to the object that was read, while the cluster is still
// asked to leave it if it was, and while the finalizer is where it was in the list. So what others write meanwhile does not matter,
// where a patch of the whole list would be refused.
func (o Object) ReleasePatch(cluster string) ([]byte, error) {
	operations := []any{operation{opTest, "/metadata/uid", o.object.GetUID()}}
	if since, isLeaving := o.LeavingSince(cluster); isLeaving {
		operations = append(operations, operation{opTest, annotationPointer(v1alpha1.DeletionAnnotation(cluster)), since})
	}
	before := len(operations)
	if index := slices.Index(o.object.GetFinalizers(), v1alpha1.Finalizer(cluster)); index >= 0 {
		path := "/metadata/finalizers/" + strconv.Itoa(index)
		operations = append(operations, operation{opTest, path, v1alpha1.Finalizer(cluster)}, removal{"remove", path})
	}
	if _, isReported := o.EncodedReport(cluster); isReported {
		operations = append(operations, removal{"remove", annotationPointer(v1alpha1.StatusAnnotation(cluster))})
	}
	if len(operations) == before {
		return nil, nil
	}
	patch, err := json.Marshal(operations)
	if err != nil {
		return nil, fmt.Errorf("encoding a release: %w", err)
	}
	return patch, nil
}

// HeldAfter returns the clusters whose syncers' finalizers come after that of the cluster: those that let go before it do not move
// its own in the list.
func (o Object) HeldAfter(cluster string) []string {
	var after []string
	finalizers := o.object.GetFinalizers()
	for _, finalizer := range finalizers[slices.Index(finalizers, v1alpha1.Finalizer(cluster))+1:] {
		if other, isHold := strings.CutPrefix(finalizer, v1alpha1.FinalizerPrefix); isHold {
			after = append(after, other)
		}
	}
	return after
}

func annotationPointer(key string) string { return "/metadata/annotations/" + escapePointer(key) }
