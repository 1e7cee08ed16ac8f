package transform

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kcp-tmc/tmc/pkg/apis/quantity"
)

// quantityLists are the fields of Kubernetes' own types that hold quantities by the name
// of a resource, wherever they are: those of containers, pods and claims.
var quantityLists = []string{limitsField, requestsField, "overhead", "capacity"}

// What a container, or a pod, may use and wants to have.
const (
	limitsField   = "limits"
	requestsField = "requests"
)

// quantityFields are the fields that hold one quantity. That of a target is an
// autoscaler's.
var quantityFields = []string{"sizeLimit", "divisor", "tolerance", "averageValue"}

// targetField is what an autoscaler's metric aims at; its value is a quantity.
const targetField = "target"

// checkQuantities returns an error that names a quantity of a copy that is out of bounds.
// The schemas of kcp bound what a user writes; an override comes after them, and what runs
// on the cluster, the syncer among it, would add such numbers for minutes. What is no number
// at all the cluster will refuse.
func checkQuantities(object map[string]any) error {
	var found []*outOfBounds
	for field, value := range object {
		if field == "metadata" || field == "data" || field == "stringData" || field == "binaryData" {
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

// firstOf returns the first by its path, of one object: errors stay the same.
func firstOf(found []*outOfBounds) *outOfBounds {
	found = slices.DeleteFunc(found, func(o *outOfBounds) bool { return o == nil })
	if len(found) == 0 {
		return nil
	}
	return slices.MinFunc(found, func(a, b *outOfBounds) int { return strings.Compare(a.path[len(a.path)-1], b.path[len(b.path)-1]) })
}

// findOutOfBounds looks through a value that has the name of a field. What it costs goes with
// the size of the value, whatever its shape.
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
		if below := findOutOfBounds(key, entry); below != nil {
			found = append(found, below.below(key))
		}
	}
	return firstOf(found)
}
