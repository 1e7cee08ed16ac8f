package transform

import (
	"hash/maphash"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// The order of an associative list (containers, env, ports) means something, and belongs to nobody: managedFields say who
// owns an item, and nothing of where it is. An apply puts our items into our order again, and leaves what others have put
// between them (visitListItems in structured-merge-diff, typed/merge.go). So a copy is as it should be only while our items
// lie in our order. What stands for the order is one number, for caches have dropped the lists.

// orderField is where a slimmed copy has the order of its lists, as an int64. No API has a field of that name.
const orderField = "order of lists"

// orderSeed is that of the numbers, which never leave the process.
var orderSeed = maphash.MakeSeed()

// Order stands for the order in which the items that our applies own lie in the associative lists of a downstream object: 0
// where no list has two of ours. Others' items between them do not count. It is the same for equal orders in one process.
func Order(downstreamObj *unstructured.Unstructured) uint64 {
	if noted, isNoted := downstreamObj.Object[orderField].(int64); isNoted {
		return uint64(noted) //nolint:gosec // the bits that NoteOrder has written
	}
	owned, ok := ownedFields(downstreamObj)
	if !ok {
		return 0
	}
	return orderOf(downstreamObj.Object, owned, 0)
}

// NoteOrder notes the order in an object that is about to lose its lists, or has lost them: Order returns it from then on.
func NoteOrder(downstreamObj *unstructured.Unstructured, order uint64) {
	downstreamObj.Object[orderField] = int64(order) //nolint:gosec // any 64 bits will do
}

// orderOf adds up the orders of the lists in a value, as far as their items are in the set; path stands for where it is.
func orderOf(content any, owned *fieldpath.Set, path uint64) uint64 {
	var sum uint64
	switch content := content.(type) {
	case map[string]any:
		for element := range owned.Children.All() {
			if element.FieldName == nil {
				continue
			}
			below, _ := owned.Children.Get(element)
			sum += orderOf(content[*element.FieldName], below, mixed(path, *element.FieldName))
		}
	case []any:
		sequence, ours := path, 0
		for i, element := range elementsOf(content, owned) {
			if element == nil {
				continue // somebody else's
			}
			name := element.String()
			sequence, ours = mixed(sequence, name), ours+1
			if below, hasBelow := owned.Children.Get(*element); hasBelow {
				sum += orderOf(content[i], below, mixed(path, name))
			}
		}
		if ours > 1 {
			sum += sequence
		}
	}
	return sum
}

// elementsOf returns the owned element that addresses each of a list's items, nil for those that none does. An item that leaves
// a key out, which the server has defaulted, is addressed by one that no other item is.
func elementsOf(items []any, owned *fieldpath.Set) []*fieldpath.PathElement {
	free := map[string]*fieldpath.PathElement{}
	note := func(element fieldpath.PathElement) { free[element.String()] = &element }
	owned.Members.Iterate(note)
	for element := range owned.Children.All() {
		note(element)
	}
	found := make([]*fieldpath.PathElement, len(items))
	keys := keysIn(owned)
	for i, item := range items {
		if name, isWhole := nameOf(item, keys); isWhole {
			found[i] = free[name]
			delete(free, name)
		}
	}
	for i, item := range items {
		if _, isWhole := nameOf(item, keys); isWhole {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(free)) {
			if isElement(item, *free[name]) {
				found[i] = free[name]
				delete(free, name)
				break
			}
		}
	}
	return found
}

// nameOf returns how the element is written that addresses the item, and whether the item has all that it takes.
func nameOf(item any, keys []string) (name string, isWhole bool) {
	if len(keys) == 0 {
		return fieldpath.PathElement{Value: new(value.NewValueInterface(item))}.String(), true
	}
	fields, _ := item.(map[string]any)
	element := keyOf(fields, keys)
	return element.String(), len(*element.Key) == len(keys)
}

// mixed returns a number that stands for what number does, followed by the name.
func mixed(number uint64, name string) uint64 {
	type step struct {
		number uint64
		name   string
	}
	return maphash.Comparable(orderSeed, step{number, name})
}
