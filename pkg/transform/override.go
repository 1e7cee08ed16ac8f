package transform

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const (
	// mostOperations bounds the work that one annotation makes: every operation reads
	// the whole object.
	mostOperations = 200
	// largestCopy bounds the object that copying within itself may make. It is what
	// etcd takes in one request unless told otherwise (--max-request-bytes).
	largestCopy = 1536 * 1024
)

// errNoPatch is why an annotation that holds something else is refused.
var errNoPatch = errors.New("must be a JSON patch (RFC 6902), which is a list of operations")

// OverrideError says which part of a user's override of a cluster's copy failed.
type OverrideError struct {
	// Annotation is the key that holds the override.
	Annotation string
	// Index counts the operations from 1. It is 0 when the annotation as a whole is no
	// JSON patch.
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
	key := v1alpha1.OverrideAnnotationPrefix + in.Origin.Cluster
	annotations, err := stringsOf(in.Object, "annotations")
	if err != nil {
		return err
	}
	patch, present := annotations[key]
	if !present {
		return nil
	}
	var operations []json.RawMessage
	if err := json.Unmarshal([]byte(patch), &operations); err != nil || operations == nil {
		return &OverrideError{Annotation: key, Err: errors.Join(errNoPatch, err)}
	}
	if len(operations) > mostOperations {
		return &OverrideError{Annotation: key, Err: fmt.Errorf("has %d operations, more than %d", len(operations), mostOperations)}
	}
	return patchAll(desired, key, operations)
}

// patchAll applies the operations one by one, so that the one that fails is known.
func patchAll(desired *unstructured.Unstructured, key string, operations []json.RawMessage) error {
	identity := identityOf(desired)
	document, err := json.Marshal(desired.Object)
	if err != nil {
		return fmt.Errorf("encoding the copy: %w", err)
	}
	for i, data := range operations {
		operation := readOperation(data)
		document, err = patchOne(document, data, operation)
		if err == nil {
			err = identity.check(document)
		}
		if err != nil {
			return &OverrideError{Annotation: key, Index: i + 1, Op: operation.Op, Path: operation.Path, Err: err}
		}
	}
	content := map[string]any{}
	if err := utiljson.Unmarshal(document, &content); err != nil {
		return &OverrideError{Annotation: key, Err: fmt.Errorf("its result is no object: %w", err)}
	}
	desired.Object = content
	return nil
}

// operation is what is looked at of an operation before it is applied.
type operation struct {
	Op, Path string
	hasValue bool
}

// readOperation returns what can be read of an operation, if only for its error.
func readOperation(data []byte) operation {
	// No struct: encoding/json would take PATH for path, which jsonpatch does not.
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return operation{Op: "unreadable"} // what is wrong, jsonpatch will say
	}
	_, hasValue := fields["value"]
	return operation{Op: textOf(fields["op"]), Path: textOf(fields["path"]), hasValue: hasValue}
}

// textOf returns the JSON string, empty when it is none.
func textOf(data []byte) string {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return ""
	}
	return text
}

func patchOne(document, data []byte, operation operation) ([]byte, error) {
	patch, err := jsonpatch.DecodePatch([]byte("[" + string(data) + "]"))
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(operation.Path, "/") {
		return nil, errors.New("its path must begin with /: the object as a whole cannot be named")
	}
	if operation.Op == "test" && !operation.hasValue {
		return nil, errors.New("has no value to compare with")
	}
	result, err := patch.ApplyWithOptions(document, &jsonpatch.ApplyOptions{AccumulatedCopySizeLimit: largestCopy})
	if err != nil {
		return nil, err
	}
	if len(result) > largestCopy && len(result) > len(document) {
		return nil, fmt.Errorf("makes an object of %d bytes, more than %d", len(result), largestCopy)
	}
	return result, nil
}

// identity is what an override must leave as it is.
type identity struct {
	apiVersion, kind, namespace, name string
}

func identityOf(obj *unstructured.Unstructured) identity {
	return identity{obj.GetAPIVersion(), obj.GetKind(), obj.GetNamespace(), obj.GetName()}
}

// check returns an error when the document is no longer what the identity says, or
// has got what only servers and tmc write. A patch has many ways to a field (moving
// and copying, replacing what is around it): the result is checked, not the paths.
func (i identity) check(document []byte) error {
	var now, metadata map[string]json.RawMessage // no structs, see readOperation
	if err := json.Unmarshal(document, &now); err != nil {
		return fmt.Errorf("must leave an object: %w", err)
	}
	if textOf(now["apiVersion"]) != i.apiVersion || textOf(now["kind"]) != i.kind {
		return errors.New("must not change apiVersion or kind")
	}
	if _, present := now["status"]; present {
		return errors.New("must not set status: it is the cluster's")
	}
	if err := json.Unmarshal(now["metadata"], &metadata); err != nil {
		return errors.New("must leave metadata in place")
	}
	return i.checkMetadata(metadata)
}

func (i identity) checkMetadata(metadata map[string]json.RawMessage) error {
	_, hasNamespace := metadata["namespace"]
	if textOf(metadata["name"]) != i.name || textOf(metadata["namespace"]) != i.namespace || hasNamespace != (i.namespace != "") {
		return errors.New("must not change metadata.name or metadata.namespace")
	}
	for field, value := range metadata {
		if err := checkEntries(field, value); err != nil {
			return err
		}
	}
	return nil
}

// checkEntries checks a field of metadata that is not the name or the namespace.
func checkEntries(field string, value []byte) error {
	switch field {
	case "name", "namespace":
		return nil // compared already
	case "labels", "annotations":
	default:
		return fmt.Errorf("must not set metadata.%s: of metadata, only labels and annotations can be overridden", field)
	}
	var entries map[string]*string
	if err := json.Unmarshal(value, &entries); err != nil {
		return fmt.Errorf("must leave metadata.%s a map of strings", field)
	}
	for key := range entries {
		if v1alpha1.IsOwnKey(key) {
			return fmt.Errorf("must not set metadata.%s[%s]: such keys are tmc's and kcp's", field, key)
		}
	}
	return nil
}
