package transform

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/kcp-tmc/tmc/pkg/apis/text"
)

const (
	// mostWork bounds what the operations of one override may cost together, in units. A unit is an entry of an object or a
	// list that is visited, compared or copied, textPerUnit bytes of copied or compared text, or elementsPerUnit elements of
	// a list that an insertion moves: some 20 to 50 ns each.
	mostWork        = 60_000
	textPerUnit     = 16
	elementsPerUnit = 16
	// newContainer is the cost of making an object or a list.
	newContainer = 4
)

// errTooMuchWork is why an operation is refused that may well be right.
var errTooMuchWork = fmt.Errorf("is too much: all operations of an override together may visit or copy some %d entries, "+
	"where 16 bytes of text, and 16 elements that an insertion moves, count as one", mostWork)

// patcher applies operations of RFC 6902 to a decoded object, in place, until they have cost mostWork.
// (github.com/evanphx/json-patch bounds nothing but copies: it decodes nested values level by level, each time that it
// visits them, and takes seconds to compare a document of 60 KB.)
type patcher struct {
	object map[string]any
	work   int
}

// charge adds work, and fails when more is done than mostWork.
func (p *patcher) charge(work int) error {
	if p.work += work; p.work > mostWork {
		return errTooMuchWork
	}
	return nil
}

// apply applies one operation.
func (p *patcher) apply(o operation) error {
	needs, known := needsOfOperations[o.Op]
	if !known {
		return fmt.Errorf("unsupported operation %q: expected add, remove, replace, move, copy or test", cut64(o.Op))
	}
	path, err := readPointer("path", o.Path)
	if err != nil {
		return err
	}
	if len(path) == 0 {
		return errors.New("its path must begin with /: the object as a whole cannot be named")
	}
	switch {
	case needs != "" && o.value == nil:
		return fmt.Errorf("has no value to %s", needs)
	case needs != "":
		return p.applyValue(o, path)
	case o.Op == "remove":
		_, err := p.remove(path)
		return err
	default:
		return p.transfer(o, path)
	}
}

// needsOfOperations lists the operations, and what each needs a value for.
var needsOfOperations = map[string]string{
	opAdd: "add", "replace": "set", "test": "compare with",
	"remove": "", opMove: "", "copy": "",
}

// The operations that several places distinguish.
const (
	opAdd  = "add"
	opMove = "move"
)

// applyValue applies an operation that has a value: add, replace or test.
func (p *patcher) applyValue(o operation, path []string) error {
	var value any
	if err := utiljson.Unmarshal(o.value, &value); err != nil {
		return fmt.Errorf("its value cannot be read: %w", err)
	}
	if o.Op == opAdd {
		return p.add(path, value)
	}
	place, err := p.find(path)
	if err != nil {
		return err
	}
	if o.Op == "replace" {
		place.set(value)
		return nil
	}
	same, err := p.equal(place.get(), value)
	if err == nil && !same {
		err = errors.New("the test failed: another value is there")
	}
	return err
}

// transfer applies move and copy.
func (p *patcher) transfer(o operation, path []string) error {
	from, err := readPointer("from", o.From)
	if err != nil {
		return err
	}
	if o.Op == opMove {
		if len(from) == 0 || len(from) < len(path) && slices.Equal(from, path[:len(from)]) {
			return errors.New("cannot move something into itself")
		}
		value, err := p.remove(from)
		if err != nil {
			return err
		}
		return p.add(path, value)
	}
	value := any(p.object)
	if len(from) > 0 {
		place, err := p.find(from)
		if err != nil {
			return err
		}
		value = place.get()
	}
	if value, err = p.copied(value); err != nil {
		return err
	}
	return p.add(path, value)
}

// readPointer returns the tokens of a JSON pointer (RFC 6901). field names it in errors.
func readPointer(field, pointer string) ([]string, error) {
	if pointer == "" {
		return nil, nil
	}
	if !strings.HasPrefix(pointer, "/") {
		return nil, fmt.Errorf("its %s must begin with /", field)
	}
	tokens := strings.Split(pointer[1:], "/")
	if strings.Contains(pointer, "~") {
		for i, token := range tokens {
			tokens[i] = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		}
	}
	return tokens, nil
}

// place is an entry of an object or of a list.
type place struct {
	object map[string]any
	key    string
	list   []any
	index  int
}

func (p place) get() any {
	if p.object != nil {
		return p.object[p.key]
	}
	return p.list[p.index]
}

func (p place) set(value any) {
	if p.object != nil {
		p.object[p.key] = value
		return
	}
	p.list[p.index] = value
}

// find returns the place that a path leads to. It fails when nothing is there.
func (p *patcher) find(path []string) (place, error) {
	if err := p.charge(len(path)); err != nil {
		return place{}, err
	}
	var at place
	current := any(p.object)
	for _, token := range path {
		switch container := current.(type) {
		case map[string]any:
			value, there := container[token]
			if !there {
				return place{}, fmt.Errorf("missing path: there is no %q", cut64(token))
			}
			at, current = place{object: container, key: token}, value
		case []any:
			index, err := indexOf(token, len(container)-1)
			if err != nil {
				return place{}, err
			}
			at, current = place{list: container, index: index}, container[index]
		default:
			return place{}, fmt.Errorf("missing path: there is no %q, for what is above is neither an object nor a list", cut64(token))
		}
	}
	return at, nil
}

// indexOf reads the index of a list's element, which may be the last at most.
func indexOf(token string, last int) (int, error) {
	index, err := strconv.Atoi(token)
	if err != nil || index < 0 || index > last || strconv.Itoa(index) != token {
		return 0, fmt.Errorf("%q is no index of the list, which has them from 0 to %d", cut64(token), last)
	}
	return index, nil
}

// add adds a value to an object or a list.
func (p *patcher) add(path []string, value any) error {
	key := path[len(path)-1]
	above, parent, err := p.parent(path)
	if err != nil {
		return err
	}
	switch container := parent.(type) {
	case map[string]any:
		container[key] = value
		return nil
	case []any:
		index := len(container)
		if key != "-" {
			if index, err = indexOf(key, len(container)); err != nil {
				return err
			}
		}
		if err := p.charge((len(container) - index) / elementsPerUnit); err != nil {
			return err
		}
		above.set(slices.Insert(container, index, value))
		return nil
	default:
		return fmt.Errorf("missing path: nothing can be added as %q to what is neither an object nor a list", cut64(key))
	}
}

// remove removes a value and returns it.
func (p *patcher) remove(path []string) (any, error) {
	at, err := p.find(path)
	if err != nil {
		return nil, err
	}
	value := at.get()
	if at.object != nil {
		delete(at.object, at.key)
		return value, nil
	}
	if err := p.charge((len(at.list) - at.index) / elementsPerUnit); err != nil {
		return nil, err
	}
	above, _, err := p.parent(path)
	if err != nil {
		return nil, err
	}
	above.set(slices.Delete(at.list, at.index, at.index+1))
	return value, nil
}

// parent returns the object or list that an entry belongs to, and the place of that. The object as a whole has no place,
// and needs none: it stays the same map.
func (p *patcher) parent(path []string) (above place, parent any, err error) {
	if len(path) == 1 {
		return place{}, p.object, nil
	}
	if above, err = p.find(path[:len(path)-1]); err != nil {
		return place{}, nil, err
	}
	return above, above.get(), nil
}

// copied returns a copy that shares no memory with the value.
func (p *patcher) copied(value any) (any, error) {
	switch value := value.(type) {
	case map[string]any:
		if err := p.charge(len(value)); err != nil {
			return nil, err
		}
		all := make(map[string]any, len(value))
		for key, entry := range value {
			one, err := p.copied(entry)
			if err != nil {
				return nil, err
			}
			all[key] = one
		}
		return all, p.charge(newContainer)
	case []any:
		if err := p.charge(len(value)); err != nil {
			return nil, err
		}
		all := make([]any, len(value))
		for i, entry := range value {
			one, err := p.copied(entry)
			if err != nil {
				return nil, err
			}
			all[i] = one
		}
		return all, p.charge(newContainer)
	case string:
		return value, p.charge(1 + len(value)/textPerUnit) // it is written out again
	default:
		return value, p.charge(1)
	}
}

// equal reports whether two values are equal by RFC 6902, which compares numbers by their value.
func (p *patcher) equal(a, b any) (bool, error) {
	if err := p.charge(1); err != nil {
		return false, err
	}
	switch a := a.(type) {
	case map[string]any:
		b, isMap := b.(map[string]any)
		return p.equalObjects(a, b, isMap)
	case []any:
		b, isList := b.([]any)
		return p.equalLists(a, b, isList)
	case string:
		return a == b, p.charge(len(a) / textPerUnit)
	default:
		return sameScalar(a, b), nil
	}
}

func (p *patcher) equalObjects(a, b map[string]any, isObject bool) (bool, error) {
	if !isObject || len(a) != len(b) {
		return false, nil
	}
	for key, entry := range a {
		other, there := b[key]
		if !there {
			return false, nil
		}
		if same, err := p.equal(entry, other); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

func (p *patcher) equalLists(a, b []any, isList bool) (bool, error) {
	if !isList || len(a) != len(b) {
		return false, nil
	}
	for i, entry := range a {
		if same, err := p.equal(entry, b[i]); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// sameScalar reports whether a, which is neither a string, an object nor a list, equals b.
func sameScalar(a, b any) bool {
	switch b.(type) {
	case map[string]any, []any:
		return false
	}
	whole, isWhole := a.(int64)
	number, isNumber := b.(float64)
	if !isWhole || !isNumber {
		number, isNumber = a.(float64)
		whole, isWhole = b.(int64)
	}
	if isWhole && isNumber {
		return number == math.Trunc(number) && math.Abs(number) < 1<<53 && int64(number) == whole
	}
	return a == b
}

// cut64 returns the beginning of a text of any length, for errors to quote.
func cut64(quoted string) string { return text.Shorten(quoted, 64) }

// operation is one of a patch. Its fields are empty where they cannot be read.
type operation struct {
	Op, Path, From string
	// value is nil when there is none.
	value json.RawMessage
}

// readOperation returns what can be read of an operation, which errors quote.
func readOperation(data []byte) (operation, error) {
	// No struct: encoding/json would accept PATH for path, and RFC 6902 does not.
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return operation{Op: "unreadable"}, err
	}
	return operation{Op: textOf(fields["op"]), Path: textOf(fields["path"]), From: textOf(fields["from"]), value: fields["value"]}, nil
}

// textOf returns the value of a JSON string, empty when the data is none.
func textOf(data []byte) string {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return ""
	}
	return text
}
