package transform

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/quantity"
	"github.com/kcp-tmc/tmc/pkg/apis/text"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const (
	// mostOperations is how many operations an override may have.
	mostOperations = 200
	// longestOverride is, in bytes, what all annotations of an object may take together (TotalAnnotationSizeLimitB of
	// apimachinery's pkg/api/validation).
	longestOverride = 256 << 10
	// longestPath is how many bytes of a path an error quotes.
	longestPath = 256
)

// errNoPatch is why an annotation that holds something else is refused.
var errNoPatch = errors.New("must be a JSON patch (RFC 6902), which is a list of operations")

// OverrideError says which part of a user's override of a cluster's copy failed.
type OverrideError struct {
	// Annotation is the key that holds the override.
	Annotation string
	// Index counts the operations from 1. It is 0 when the annotation as a whole is no JSON patch.
	Index int
	// Op and Path are those of the operation, empty when it has none.
	Op, Path string
	// Err is why.
	Err error
}

// Error names the annotation, the operation and the reason.
func (e *OverrideError) Error() string {
	if e.Index == 0 {
		return fmt.Sprintf("metadata.annotations[%s]: %v", e.Annotation, e.Err)
	}
	operation := strings.TrimSpace(e.Op + " " + e.Path)
	return fmt.Sprintf("metadata.annotations[%s]: operation %d (%s): %v", e.Annotation, e.Index, operation, e.Err)
}

// Unwrap returns the reason.
func (e *OverrideError) Unwrap() error { return e.Err }

// applyOverride applies the user's JSON patch (RFC 6902) of the cluster's copy.
func applyOverride(desired *unstructured.Unstructured, in Input) error {
	key := v1alpha1.OverrideAnnotation(in.Origin.Cluster)
	annotations, err := stringsOf(in.Object, annotationsField)
	if err != nil {
		return err
	}
	patch, present := annotations[key]
	if !present {
		return nil
	}
	if len(patch) > longestOverride {
		return &OverrideError{Annotation: key, Err: fmt.Errorf("has %d bytes, more than %d", len(patch), longestOverride)}
	}
	var operations []json.RawMessage
	if err := json.Unmarshal([]byte(patch), &operations); err != nil || operations == nil {
		return &OverrideError{Annotation: key, Err: errors.Join(errNoPatch, err)}
	}
	if len(operations) > mostOperations {
		return &OverrideError{Annotation: key, Err: fmt.Errorf("has %d operations, more than %d", len(operations), mostOperations)}
	}
	if err := patchAll(desired, key, operations); err != nil {
		return err
	}
	if err := checkQuantities(desired.Object); err != nil {
		return &OverrideError{Annotation: key, Err: err}
	}
	return nil
}

// patchAll applies the operations one by one, so that the error names the one that fails.
func patchAll(desired *unstructured.Unstructured, key string, operations []json.RawMessage) error {
	before := identityOf(desired)
	patcher := &patcher{object: desired.Object}
	for i, data := range operations {
		operation, err := readOperation(data)
		if err == nil {
			err = patcher.apply(operation)
		}
		if err == nil && (touchesIdentity(operation) || i == len(operations)-1) {
			err = before.check(patcher)
		}
		if err != nil {
			return &OverrideError{Annotation: key, Index: i + 1, Op: cut64(operation.Op), Path: text.Shorten(operation.Path, longestPath), Err: err}
		}
	}
	return nil
}

// touchesIdentity reports whether an operation may change what identity.check looks at. No other operation can reach it:
// no two places of the copy share memory.
func touchesIdentity(o operation) bool {
	return slices.ContainsFunc([]string{o.Path, o.From}, func(path string) bool {
		first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		return first != "spec" && first != "data"
	})
}

// identity is what an override must not change.
type identity struct {
	apiVersion, kind, namespace, name string
}

func identityOf(obj *unstructured.Unstructured) identity {
	return identity{obj.GetAPIVersion(), obj.GetKind(), obj.GetNamespace(), obj.GetName()}
}

// check returns an error when the object no longer has the identity, or has got what only servers and tmc write. A patch
// has many ways to a field (moving and copying, replacing what is around it): the result is checked, not the paths.
func (i identity) check(p *patcher) error {
	now := p.object
	if now["apiVersion"] != i.apiVersion || now["kind"] != i.kind {
		return errors.New("must not change apiVersion or kind")
	}
	if _, present := now["status"]; present {
		return errors.New("must not set status: it is the cluster's")
	}
	metadata, isObject := now[metadataField].(map[string]any)
	if !isObject {
		return errors.New("must leave metadata in place")
	}
	namespace, hasNamespace := metadata["namespace"]
	if metadata["name"] != i.name || hasNamespace != (i.namespace != "") || hasNamespace && namespace != i.namespace {
		return errors.New("must not change metadata.name or metadata.namespace")
	}
	for field, value := range metadata {
		if err := checkEntries(p, field, value); err != nil {
			return err
		}
	}
	return nil
}

// checkEntries checks a field of metadata that is not the name or the namespace.
func checkEntries(p *patcher, field string, value any) error {
	switch field {
	case "name", "namespace":
		return nil // compared already
	case labelsField, annotationsField:
	default:
		return fmt.Errorf("must not set metadata.%s: of metadata, only labels and annotations can be overridden", cut64(field))
	}
	entries, isObject := value.(map[string]any)
	if !isObject && value != nil {
		return fmt.Errorf("must leave metadata.%s a map of strings", field)
	}
	for key, entry := range entries {
		if _, isText := entry.(string); !isText && entry != nil {
			return fmt.Errorf("must leave metadata.%s a map of strings", field)
		}
		if v1alpha1.IsOwnKey(key) {
			return fmt.Errorf("must not set metadata.%s[%s]: such keys are tmc's and kcp's", field, cut64(key))
		}
	}
	return p.charge(len(entries))
}

// quantityLists are the fields of Kubernetes' own types that hold quantities by the name of a resource, wherever they
// are: those of containers, pods and claims.
var quantityLists = []string{limitsField, requestsField, "overhead", "capacity"}

// quantityFields are the fields that hold one quantity.
var quantityFields = []string{"sizeLimit", "divisor", "tolerance", "averageValue"}

// targetField is what an autoscaler's metric aims at; its value is a quantity.
const targetField = "target"

// checkQuantities returns an error that names a quantity of a copy that is out of bounds. The schemas of kcp bound what a
// user writes; an override comes after them. What runs on the cluster, the syncer included, would calculate with such
// numbers for minutes. The cluster will refuse what is no number at all.
func checkQuantities(object map[string]any) error {
	var found []*outOfBounds
	for field, value := range object {
		if field == metadataField || field == "data" || field == "stringData" || field == "binaryData" {
			continue
		}
		found = append(found, findOutOfBounds(field, value).below(field))
	}
	first := firstOf(found)
	if first == nil {
		return nil
	}
	slices.Reverse(first.path)
	return fmt.Errorf("%s: %v is out of bounds: must be %s", strings.Join(first.path, "."), shortened(first.value), quantity.Expected)
}

// outOfBounds is a quantity, and the names of the fields that lead to it, the last first.
type outOfBounds struct {
	path  []string
	value any
}

// below adds the name of the field that it is in; nil stays nil.
func (o *outOfBounds) below(field string) *outOfBounds {
	if o != nil {
		o.path = append(o.path, cut64(field))
	}
	return o
}

// firstOf returns the first by its path, of one object, so that the same object has the same error. It is nil when there
// is none.
func firstOf(found []*outOfBounds) *outOfBounds {
	found = slices.DeleteFunc(found, func(o *outOfBounds) bool { return o == nil })
	if len(found) == 0 {
		return nil
	}
	return slices.MinFunc(found, func(a, b *outOfBounds) int { return strings.Compare(a.path[len(a.path)-1], b.path[len(b.path)-1]) })
}

// findOutOfBounds searches a value that has the name of a field. Its cost grows with the size of the value, whatever its
// shape.
func findOutOfBounds(name string, value any) *outOfBounds {
	if slices.Contains(quantityFields, name) && quantity.IsOutOfBounds(value) {
		return &outOfBounds{value: value}
	}
	switch value := value.(type) {
	case map[string]any:
		return findInObject(name, value)
	case []any:
		for i, element := range value {
			if below := findOutOfBounds("", element); below != nil {
				return below.below(strconv.Itoa(i))
			}
		}
	}
	return nil
}

func findInObject(name string, object map[string]any) *outOfBounds {
	var found []*outOfBounds
	isList := slices.Contains(quantityLists, name)
	for key, entry := range object {
		isQuantity := isList || name == targetField && key == "value"
		if isQuantity && quantity.IsOutOfBounds(entry) {
			found = append(found, (&outOfBounds{value: entry}).below(key))
			continue
		}
		found = append(found, findOutOfBounds(key, entry).below(key))
	}
	return firstOf(found)
}
