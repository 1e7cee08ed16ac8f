package chaos

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// encode is how the data of Secrets is written.
func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// patchOp is one operation of a JSON patch (RFC 6902).
type patchOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// patchBetween returns the JSON patch that turns what a tenant wrote into what it writes now. It tests first that the object
// was last written by the operation before: a patch whose answer was lost is not carried out a second time, and one that is
// late does not overwrite what came after it.
func patchBetween(was, now Wanted) ([]byte, error) {
	ops := []patchOp{{Op: "test", Path: "/metadata/annotations/" + escape(opKey), Value: strconv.Itoa(was.Op)}}
	ops = append(ops, difference("", was.Manifest(), now.Manifest())...)
	return json.Marshal(ops)
}

// difference returns what turns one tree into the other, in a fixed order. Lists are replaced.
func difference(path string, was, now map[string]any) []patchOp {
	var ops []patchOp
	keys := map[string]bool{}
	for key := range was {
		keys[key] = true
	}
	for key := range now {
		keys[key] = true
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		at := path + "/" + escape(key)
		before, had := was[key]
		after, has := now[key]
		beforeMap, beforeIsMap := before.(map[string]any)
		afterMap, afterIsMap := after.(map[string]any)
		switch {
		case !has:
			ops = append(ops, patchOp{Op: "remove", Path: at})
		case beforeIsMap && afterIsMap:
			ops = append(ops, difference(at, beforeMap, afterMap)...)
		case !had || !reflect.DeepEqual(before, after):
			ops = append(ops, patchOp{Op: "add", Path: at, Value: after})
		}
	}
	return ops
}

// escape writes a key as a part of a JSON pointer (RFC 6901).
func escape(key string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(key) }

// missing returns what of the wanted tree is not so in what there is, by path. Items of lists that have names are found by
// these, others by their place. What there is beside it does not count.
func missing(path string, want, have any) []string {
	switch want := want.(type) {
	case map[string]any:
		fields, isMap := have.(map[string]any)
		if !isMap {
			return []string{fmt.Sprintf("%s: want %s, have %s", path, text(want), text(have))}
		}
		var all []string
		for _, key := range slices.Sorted(maps.Keys(want)) {
			all = append(all, missing(path+"."+key, want[key], fields[key])...)
		}
		return all
	case []any:
		items, isList := have.([]any)
		if !isList || len(items) < len(want) {
			return []string{fmt.Sprintf("%s: want %s, have %s", path, text(want), text(have))}
		}
		var all []string
		for i, item := range want {
			all = append(all, missing(fmt.Sprintf("%s[%d]", path, i), item, itemLike(item, i, items))...)
		}
		return all
	default:
		if text(want) != text(have) {
			return []string{fmt.Sprintf("%s: want %s, have %s", path, text(want), text(have))}
		}
		return nil
	}
}

// itemLike returns the item of a list that stands for the wanted one.
func itemLike(want any, at int, items []any) any {
	named, _ := want.(map[string]any)
	if name, has := named["name"]; has {
		for _, item := range items {
			if fields, isMap := item.(map[string]any); isMap && fields["name"] == name {
				return item
			}
		}
		return nil
	}
	return items[at]
}

// text writes a value for people, and so that numbers of different types are equal.
func text(value any) string {
	out, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(out)
}
