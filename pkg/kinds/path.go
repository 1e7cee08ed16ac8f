package kinds

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Items is the element of a Path that stands for each item of a list.
const Items = "[]"

// The fields that paths of every object begin with.
const (
	metadataField = "metadata"
	statusField   = "status"
)

// Path leads to a field of an object. As text, its elements are joined by dots, Items stands behind the list's name, and a
// dot within a name is escaped: spec.tls[].secretName, metadata.annotations.example\.com/key.
type Path []string

// ParsePath reads a path. It fails when the text has an empty element.
func ParsePath(text string) (Path, error) {
	var path Path
	rest := strings.ReplaceAll(text, `\.`, "\x00")
	for element := range strings.SplitSeq(rest, ".") {
		name, isList := strings.CutSuffix(element, Items)
		if name == "" || strings.Contains(name, Items) {
			return nil, fmt.Errorf("%q is no path, expected names joined by dots such as spec.replicas or spec.tls[].secretName", text)
		}
		path = append(path, strings.ReplaceAll(name, "\x00", "."))
		if isList {
			path = append(path, Items)
		}
	}
	return path, nil
}

// String returns the path as text.
func (p Path) String() string {
	var text strings.Builder
	for i, element := range p {
		if i > 0 && element != Items {
			text.WriteByte('.')
		}
		text.WriteString(strings.ReplaceAll(element, ".", `\.`))
	}
	return text.String()
}

var errNoPath = errors.New("expected a path such as spec.replicas, as text")

// UnmarshalJSON reads the path from text.
func (p *Path) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) != nil {
		return errNoPath
	}
	path, err := ParsePath(text)
	*p = path
	return err
}

// In returns the value at the path in an object, nil when there is none. It is no copy. Of lists it reads nothing.
func (p Path) In(object map[string]any) any {
	if len(p) == 0 {
		return nil
	}
	for _, name := range p[:len(p)-1] {
		object, _ = object[name].(map[string]any)
	}
	return object[p[len(p)-1]]
}

// AllIn returns what the path leads to in a value: more than one thing where it goes through lists, the value itself where the
// path is empty. It is no copy.
func (p Path) AllIn(value any) []any {
	if len(p) == 0 {
		return []any{value}
	}
	first, rest := p[0], p[1:]
	if first == Items {
		items, _ := value.([]any)
		var values []any
		for _, item := range items {
			values = append(values, rest.AllIn(item)...)
		}
		return values
	}
	fields, _ := value.(map[string]any)
	below, present := fields[first]
	if !present {
		return nil
	}
	return rest.AllIn(below)
}

// Int64In returns the integer at the path in an object, and whether there is one.
func (p Path) Int64In(object map[string]any) (int64, bool) {
	number, isInteger := p.In(object).(int64)
	return number, isInteger
}

// Last returns the path without its last element, and that.
func (p Path) Last() (parent Path, name string) { return p[:len(p)-1], p[len(p)-1] }

// IsIn reports whether the field of the value has the value in an object.
func (v *Value) IsIn(object map[string]any) bool {
	value := v.Path.In(object)
	return value != nil && fmt.Sprint(value) == v.Equals
}
