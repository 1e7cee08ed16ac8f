package transform

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/kinds"
)

// removeOwned removes the fields that a cluster fills in and that mean nothing on another.
func removeOwned(desired *unstructured.Unstructured, kind *kinds.Kind) {
	for _, owned := range kind.Owned {
		// Whether the field is the user's is read before anything of it is removed.
		if owned.Unless == nil || !owned.Unless.IsIn(desired.Object) {
			removeField(desired.Object, owned)
		}
	}
	if kind.GroupKind() == secretKind {
		encodeStringData(desired)
	}
}

var secretKind = schema.GroupKind{Kind: "Secret"}

// removeField removes a field, or those that begin like it, and the map of labels that it was the last of.
func removeField(object map[string]any, owned kinds.Owned) {
	path, name := owned.Path.Last()
	parent := child(object, path...)
	before := len(parent)
	prefix, isPrefix := strings.CutSuffix(name, "*")
	maps.DeleteFunc(parent, func(key string, value any) bool {
		return (key == name || isPrefix && strings.HasPrefix(key, prefix)) && !isKept(value, owned.Keep)
	})
	if last := len(path) - 1; last > 0 && path[last] == "labels" && before > 0 && len(parent) == 0 {
		delete(child(object, path[:last]...), path[last])
	}
}

// isKept reports whether a value, or each of its items, is one that stays.
func isKept(value any, keep []string) bool {
	if len(keep) == 0 {
		return false
	}
	items, isList := value.([]any)
	if !isList {
		items = []any{value}
	}
	return !slices.ContainsFunc(items, func(item any) bool {
		text, isText := item.(string)
		return !isText || !slices.Contains(keep, text)
	})
}

// encodeStringData writes stringData into data and wins there, as every API server
// does when it decodes a Secret (Convert_v1_Secret_To_core_Secret in
// k8s.io/kubernetes). So objects from kcp have none left; those from a file may,
// and they are to be printed as they would be applied.
func encodeStringData(desired *unstructured.Unstructured) {
	plain := child(desired.Object, "stringData")
	if plain == nil {
		return
	}
	if _, present := desired.Object["data"]; !present {
		desired.Object["data"] = map[string]any{}
	}
	data := child(desired.Object, "data")
	if data == nil {
		return // not an object: the cluster will say so
	}
	for key, value := range plain {
		if text, isString := value.(string); isString {
			data[key] = base64.StdEncoding.EncodeToString([]byte(text))
			delete(plain, key)
		}
	}
	if len(plain) == 0 {
		delete(desired.Object, "stringData")
	}
	if len(data) == 0 {
		delete(desired.Object, "data")
	}
}
