package revisions

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kcp-tmc/tmc/pkg/apis/quantity"
)

// Digest stands for a pod template, in 32 hexadecimal digits: two templates have the same digest where kubectl and the
// deployment controller call them equal (EqualIgnoreHash in k8s.io/kubectl/pkg/util/deployment). So the label
// pod-template-hash does not count, nor whether an empty value is written out, nor how a quantity is written. What the types of
// Kubernetes do not know does not count either.
//
// It is empty where a quantity is out of the bounds of pkg/apis/quantity, or none: nobody could compare it, in no time at
// least.
func Digest(template map[string]any) string {
	w := &writer{}
	w.write(templateShape, withoutHash(template))
	if w.isOutOfBounds {
		return ""
	}
	sum := sha256.Sum256(w.bytes)
	return hex.EncodeToString(sum[:16])
}

// withoutHash returns a pod template without the label that its ReplicaSet gives it. It does not change the template.
func withoutHash(template map[string]any) map[string]any {
	metadata, _ := template[metadataField].(map[string]any)
	labels, _ := metadata["labels"].(map[string]any)
	if _, isThere := labels[appsv1.DefaultDeploymentUniqueLabelKey]; !isThere {
		return template
	}
	template, metadata, labels = maps.Clone(template), maps.Clone(metadata), maps.Clone(labels)
	delete(labels, appsv1.DefaultDeploymentUniqueLabelKey)
	template[metadataField], metadata["labels"] = metadata, labels
	return template
}

// shape is what a type of Kubernetes says of the JSON that it is read from.
type shape struct {
	sort sort
	// fields are those of a struct, sorted by their names.
	fields []field
	// items is the shape of the items of a list, of the values of a map, and of what a pointer is to.
	items *shape
}

type sort int

const (
	// scalar is a text, a number or a truth value.
	scalar sort = iota
	structure
	pointer
	list
	dictionary
	amount
	intOrString
	// opaque is what has JSON of its own.
	opaque
)

type field struct {
	name  string
	shape *shape
}

// templateShape is that of a pod template.
var templateShape = shapeOf(reflect.TypeFor[corev1.PodTemplateSpec](), map[reflect.Type]*shape{})

// shapeOf returns the shape of a type. Types that contain themselves are looked up in what is known.
func shapeOf(t reflect.Type, known map[reflect.Type]*shape) *shape {
	if s, isKnown := known[t]; isKnown {
		return s
	}
	s := &shape{}
	known[t] = s
	switch {
	case t == reflect.TypeFor[resource.Quantity]():
		s.sort = amount
	case t == reflect.TypeFor[intstr.IntOrString]():
		s.sort = intOrString
	case t.Kind() == reflect.Pointer:
		s.sort, s.items = pointer, shapeOf(t.Elem(), known)
	case t.Implements(reflect.TypeFor[json.Marshaler]()) || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Marshaler]()):
		s.sort = opaque
	case t.Kind() == reflect.Struct:
		s.sort, s.fields = structure, fieldsOf(t, known)
		slices.SortFunc(s.fields, func(a, b field) int { return cmp.Compare(a.name, b.name) })
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		s.sort, s.items = list, shapeOf(t.Elem(), known)
	case t.Kind() == reflect.Map:
		s.sort, s.items = dictionary, shapeOf(t.Elem(), known)
	}
	return s
}

// fieldsOf returns the fields that a struct has in JSON, those of structs that are inlined among them.
func fieldsOf(t reflect.Type, known map[reflect.Type]*shape) []field {
	var fields []field
	for inner := range t.Fields() {
		name, _, _ := strings.Cut(inner.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case name == "" && inner.Anonymous:
			fields = append(fields, fieldsOf(inner.Type, known)...)
		default:
			fields = append(fields, field{name, shapeOf(inner.Type, known)})
		}
	}
	return fields
}

// writer writes values in one form for each meaning. Nothing is written of what a type has without being told: empty texts,
// lists and maps, zeros, and structs with nothing in them, but for those behind a pointer.
type writer struct {
	bytes         []byte
	isOutOfBounds bool
}

func (w *writer) write(s *shape, value any) {
	if value == nil {
		return
	}
	switch s.sort {
	case scalar:
		w.writeScalar(value)
	case structure:
		w.writeStructure(s, value)
	case pointer:
		w.bytes = append(w.bytes, '*')
		w.writePointed(s.items, value)
	case list:
		w.writeList(s, value)
	case dictionary:
		w.writeDictionary(s, value)
	case amount:
		w.writeAmount(value)
	case intOrString:
		w.writeIntOrString(value)
	case opaque:
		w.writeOpaque(value)
	}
}

// writePointed writes what a pointer is to: there, a zero means something.
func (w *writer) writePointed(s *shape, value any) {
	before := len(w.bytes)
	if w.write(s, value); len(w.bytes) == before {
		w.bytes = append(w.bytes, '0')
	}
}

func (w *writer) writeScalar(value any) {
	switch value := value.(type) {
	case string:
		if value != "" {
			w.bytes = strconv.AppendQuote(w.bytes, value)
		}
	case bool:
		if value {
			w.bytes = append(w.bytes, 't')
		}
	case int64:
		if value != 0 {
			w.bytes = strconv.AppendInt(w.bytes, value, 10)
		}
	default:
		w.writeOpaque(value)
	}
}

// writeStructure writes the fields that hold something, and takes back the names of those that do not.
func (w *writer) writeStructure(s *shape, value any) {
	object, _ := value.(map[string]any)
	for _, f := range s.fields {
		inner, isThere := object[f.name]
		if !isThere {
			continue
		}
		before := len(w.bytes)
		w.bytes = append(append(w.bytes, f.name...), ':')
		begun := len(w.bytes)
		if w.write(f.shape, inner); len(w.bytes) == begun {
			w.bytes = w.bytes[:before]
			continue
		}
		w.bytes = append(w.bytes, ';')
	}
}

func (w *writer) writeList(s *shape, value any) {
	items, _ := value.([]any)
	if len(items) == 0 {
		return
	}
	w.bytes = append(w.bytes, '[')
	for _, item := range items {
		w.write(s.items, item)
		w.bytes = append(w.bytes, ',')
	}
	w.bytes = append(w.bytes, ']')
}

func (w *writer) writeDictionary(s *shape, value any) {
	entries, _ := value.(map[string]any)
	if len(entries) == 0 {
		return
	}
	w.bytes = append(w.bytes, '(')
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		w.bytes = append(strconv.AppendQuote(w.bytes, key), ':')
		w.write(s.items, entries[key])
		w.bytes = append(w.bytes, ',')
	}
	w.bytes = append(w.bytes, ')')
}

// writeAmount writes a quantity in the same form whether it was written as 1024Mi, 1Gi or 1073741824.
func (w *writer) writeAmount(value any) {
	parsed, isQuantity := quantity.Parse(value)
	if !isQuantity {
		w.isOutOfBounds = true
		return
	}
	if parsed.IsZero() {
		return
	}
	parsed.Format = resource.DecimalSI
	number, suffix := parsed.CanonicalizeBytes(make([]byte, 0, 32))
	w.bytes = append(append(w.bytes, number...), suffix...)
}

func (w *writer) writeIntOrString(value any) {
	if text, isText := value.(string); isText {
		w.bytes = strconv.AppendQuote(w.bytes, text)
		return
	}
	w.writeScalar(value)
}

// writeOpaque writes JSON as it is, but for an empty text and a zero.
func (w *writer) writeOpaque(value any) {
	encoded, err := json.Marshal(value)
	if err != nil || string(encoded) == `""` || string(encoded) == "0" {
		return // what was read from JSON can be written
	}
	w.bytes = append(w.bytes, encoded...)
}
