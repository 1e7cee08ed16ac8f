package transform

import (
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"github.com/kcp-tmc/tmc/pkg/kinds"
)

// A server-side apply removes what it owned and applies no more, and nothing else. So what a cluster has filled in (a strategy's
// rollingUpdate, a volume's emptyDir), or what somebody else has made of ours (a port that was renumbered keeps its name), stays
// beside what we apply, and where the API allows one of the two only, the server refuses the result, for ever
// (kubernetes#24198). What is in this file says which fields those are, and has them owned by us: the next apply removes them,
// for it owned them and applies them no more, and puts ours in their place, in one step.

// Clash is a field of a copy on its cluster, or an entry of a list, that is not in what we apply and stands in the way of it.
type Clash struct {
	// Path is where it is, and Writers are those others who own it or part of it: none when the cluster has filled it in.
	Path    fieldpath.Path
	Writers []Writer
}

// Writer is one who has written to a copy on its cluster.
type Writer struct {
	// Manager is the name of the field manager, and Time is when it last wrote anything, zero where that is not known.
	Manager string
	Time    time.Time
}

// Clashes returns what of a copy, as the cluster has it now, stands in the way of applying desired, after the server has refused
// the result for these causes. Each step has what the one before has, and more: first what the causes point at (the other branches
// of a one-of, entries of a list that have a value which may be there once), then all that is beside it and not ours. beyond are
// entries of lists further up that may be in the way and are others' own: they are never to be touched (a sidecar with our port).
func Clashes(desired, live *unstructured.Unstructured, causes []metav1.StatusCause) (steps [][]Clash, beyond []Clash) {
	owners := ownershipOf(live)
	if owners.ours == nil {
		return nil, nil // not ours, or it cannot be read
	}
	likely, all, above := fieldpath.NewSet(), fieldpath.NewSet(), fieldpath.NewSet()
	for _, cause := range causes {
		if cause.Field == "" {
			continue
		}
		found := search{cause: cause, owners: owners, likely: likely, all: all, above: above}
		found.descend(owners.whole(desired, live), pathOf(fieldOf(cause)))
	}
	step := owners.clashes(likely)
	if len(step) > 0 {
		steps = append(steps, step)
	}
	if more := owners.clashes(all.Union(likely)); len(more) > len(step) {
		steps = append(steps, more)
	}
	return steps, owners.clashes(above)
}

// canClash reports whether a cause of this type may come of what is beside the value: one that is not among those supported is
// wrong wherever it is, and in the way only where it is not ours.
func canClash(cause metav1.CauseType) bool {
	switch cause {
	case metav1.CauseTypeFieldValueInvalid, metav1.CauseTypeFieldValueRequired, metav1.CauseTypeFieldValueDuplicate,
		metav1.CauseTypeForbidden, metav1.CauseTypeTooMany:
		return true
	default:
		return false
	}
}

// contentOf returns an object without what addresses it and without what is the cluster's own.
func contentOf(obj *unstructured.Unstructured) map[string]any {
	content := make(map[string]any, len(obj.Object))
	for name, field := range obj.Object {
		switch name {
		case apiVersionField, kindField, metadataField, "status":
		default:
			content[name] = field
		}
	}
	return content
}

// spot is one place in a copy: what we apply there, what is there, and what anybody, and we, own below it.
type spot struct {
	path          fieldpath.Path
	desired, live any
	anybody, ours *fieldpath.Set
}

// at returns the place below this one.
func (p spot) at(element fieldpath.PathElement, desired, live any) spot {
	return spot{
		path: append(p.path.Copy(), element), desired: desired, live: live,
		anybody: setBelow(p.anybody, element), ours: setBelow(p.ours, element),
	}
}

// extras returns the fields that are there and that we do not apply.
func (p spot) extras() map[string]any {
	desired, isMap := p.desired.(map[string]any)
	live, areMaps := p.live.(map[string]any)
	if !isMap || !areMaps {
		return nil
	}
	extras := map[string]any{}
	for name, field := range live {
		if _, applied := desired[name]; !applied {
			extras[name] = field
		}
	}
	return extras
}

// entries pairs those of a list with what we apply of it. lost are those that we apply and that are not there, and extras are
// those that are there and that we do not apply. It returns false where the list is no list of objects with keys: then the server
// replaces it as a whole.
func (p spot) entries() (pairs, extras []spot, lost []map[string]any, ok bool) {
	desired, isList := p.desired.([]any)
	live, areLists := p.live.([]any)
	keys := keysIn(p.anybody)
	if !isList || !areLists || len(keys) == 0 {
		return nil, nil, nil, false
	}
	matched := make([]bool, len(desired))
	for _, item := range live {
		entry, isMap := item.(map[string]any)
		if !isMap {
			return nil, nil, nil, false
		}
		element, isOwned := elementOf(entry, p.anybody)
		if !isOwned {
			element = keyOf(entry, keys)
		}
		i := slices.IndexFunc(desired, func(ours any) bool { return isAt(ours, element, p.ours) })
		if i < 0 {
			extras = append(extras, p.at(element, nil, entry))
			continue
		}
		matched[i] = true
		pairs = append(pairs, p.at(element, desired[i], entry))
	}
	for i, item := range desired {
		if entry, isMap := item.(map[string]any); isMap && !matched[i] {
			lost = append(lost, entry)
		}
	}
	return pairs, extras, lost, true
}

// search follows the field that a cause names.
type search struct {
	cause  metav1.StatusCause
	owners ownership
	// likely, all and above are what is found: see Clashes.
	likely, all, above *fieldpath.Set
}

// descend follows the rest of the field. Which entry the server means by an index is not known, as it counts in the result that
// it has refused: all are looked at.
func (s *search) descend(at spot, rest kinds.Path) {
	if len(rest) == 0 {
		s.around(at, at)
		return
	}
	first, rest := rest[0], rest[1:]
	if first == kinds.Items {
		s.inList(at, rest)
		return
	}
	name, found := at.fieldNamed(first)
	if !found {
		return
	}
	field := at.field(name)
	if len(rest) > 0 && field.desired != nil {
		s.descend(field, rest)
		return
	}
	s.around(at, field)
}

// fieldNamed returns the name of a field that is there or that we apply. Some messages of API servers name the field of their Go type
// (spec.LoadBalancerSourceRanges).
func (p spot) fieldNamed(name string) (string, bool) {
	desired, isMap := p.desired.(map[string]any)
	live, areMaps := p.live.(map[string]any)
	if !isMap || !areMaps {
		return "", false
	}
	for _, fields := range []map[string]any{desired, live} {
		if _, present := fields[name]; present {
			return name, true
		}
		for field := range fields {
			if strings.EqualFold(field, name) {
				return field, true
			}
		}
	}
	return "", false
}

// field returns the place of a field.
func (p spot) field(name string) spot {
	desired, _ := p.desired.(map[string]any)
	live, _ := p.live.(map[string]any)
	return p.at(fieldpath.FieldNameElement(name), desired[name], live[name])
}

// around looks at what is beside a field that the server refuses, and at what is in it.
func (s *search) around(parent, field spot) {
	beside, within := parent.extras(), field.extras()
	switch {
	case len(parent.path) == 0:
		beside = nil // beside the spec is nothing of ours
	case !canClash(s.cause.Type):
		if field.desired == nil {
			s.likely.Insert(field.path)
		}
		return
	}
	base := parent
	if len(within) > 0 {
		base, beside = field, within // the field is the one-of itself
	}
	// What the message names narrows what is taken away first, and decides nothing else.
	named, branches := fieldpath.NewSet(), fieldpath.NewSet()
	for name, value := range beside {
		path := append(base.path.Copy(), fieldpath.FieldNameElement(name))
		s.all.Insert(path)
		if isRefused := path.Equals(field.path); isRefused || slices.Contains(words.FindAllString(s.cause.Message, -1), name) {
			named.Insert(path)
		}
		if _, isMap := value.(map[string]any); isMap {
			branches.Insert(path)
		}
	}
	if named.Empty() {
		named = branches
	}
	*s.likely = *s.likely.Union(named)
}

var words = regexp.MustCompile(`[A-Za-z][A-Za-z0-9]*`)

// inList looks at the entries of a list, of which the server has refused one, or what is in it.
func (s *search) inList(at spot, rest kinds.Path) {
	pairs, extras, _, ok := at.entries()
	if !ok {
		return
	}
	isInnermost := !slices.Contains(rest, kinds.Items)
	desired, _ := at.desired.([]any)
	if !canClash(s.cause.Type) {
		extras = nil
	}
	for _, extra := range extras {
		switch hasSame := slices.ContainsFunc(desired, func(ours any) bool { return sharesValue(ours, extra.live, rest) }); {
		case isInnermost && hasSame:
			s.likely.Insert(extra.path)
		case isInnermost:
			s.all.Insert(extra.path)
		case hasSame:
			s.above.Insert(extra.path)
		}
	}
	if len(rest) == 0 {
		return
	}
	for _, pair := range pairs {
		s.descend(pair, rest)
	}
}

// sharesValue reports whether two entries have the same at a field below them, or both have nothing there.
func sharesValue(one, other any, field kinds.Path) bool {
	some, others := field.AllIn(one), field.AllIn(other)
	if len(some) == 0 && len(others) == 0 {
		return true
	}
	return slices.ContainsFunc(some, func(value any) bool {
		return slices.ContainsFunc(others, func(present any) bool { return covers(value, present) && covers(present, value) })
	})
}

var (
	fieldPattern = regexp.MustCompile(`\[([^\]]*)\]|[^.\[\]]+`)
	digits       = regexp.MustCompile(`^[0-9]+$`)
)

// nowhere is the field of a cause that is about no field: so say schemas of custom resources (not, oneOf), whose path is in the
// message alone (k8s.io/kube-openapi/pkg/validation/errors).
const nowhere = "<nil>"

var quoted = regexp.MustCompile(`"([^"]+)" must`)

// fieldOf returns the field that a cause is about.
func fieldOf(cause metav1.StatusCause) string {
	if cause.Field != nowhere {
		return cause.Field
	}
	if match := quoted.FindStringSubmatch(cause.Message); match != nil {
		return match[1]
	}
	return ""
}

// pathOf reads a field as API servers write it: spec.ports[1].name, and metadata.labels[key]. Every index stands for all items.
func pathOf(field string) kinds.Path {
	var path kinds.Path
	for _, match := range fieldPattern.FindAllStringSubmatch(field, -1) {
		switch {
		case !strings.HasPrefix(match[0], "["):
			path = append(path, match[0])
		case digits.MatchString(match[1]):
			path = append(path, kinds.Items)
		default:
			path = append(path, match[1]) // the key of a map
		}
	}
	return path
}

// MayBeChanged reports whether somebody may have made others of entries of lists that we applied: we do not own one any more. It
// reads no more of a copy than the managedFields of our own. See Changed.
func MayBeChanged(desired, downstreamObj *unstructured.Unstructured) bool {
	owned, ok := ownedFields(downstreamObj)
	return ok && lacksEntry(contentOf(desired), owned, false)
}

// lacksEntry reports whether an entry of a list is not owned. isWhole is set where what is applied is owned as a whole.
func lacksEntry(desired any, owned *fieldpath.Set, isWhole bool) bool {
	switch desired := desired.(type) {
	case map[string]any:
		for name, field := range desired {
			element := fieldpath.FieldNameElement(name)
			if lacksEntry(field, setBelow(owned, element), owned.Members.Has(element)) {
				return true
			}
		}
	case []any:
		for _, item := range desired {
			entry, isMap := item.(map[string]any)
			if !isMap || isWhole {
				return false
			}
			element, found := elementOf(item, owned)
			if !found || lacksEntry(entry, setBelow(owned, element), false) {
				return true
			}
		}
	}
	return false
}

// Changed returns the entries of lists that somebody has made of ours, by changing the field that tells one entry from the other:
// a port that was renumbered, an environment variable or a container that was renamed. desired is what was applied last, and some
// of it is gone. An entry counts as made of ours when ours is gone from the list, when it is as ours in all that we apply but
// its keys, and when whoever owns it has written it as an update: what others apply beside ours is theirs (an injected sidecar).
func Changed(desired, live *unstructured.Unstructured) []Clash {
	owners := ownershipOf(live)
	if owners.ours == nil {
		return nil
	}
	changed := fieldpath.NewSet()
	owners.changed(owners.whole(desired, live), changed)
	return owners.clashes(changed)
}

// whole is the place of all that is applied.
func (o ownership) whole(desired, live *unstructured.Unstructured) spot {
	return spot{desired: contentOf(desired), live: contentOf(live), anybody: o.anybody, ours: o.ours}
}

func (o ownership) changed(at spot, changed *fieldpath.Set) {
	switch desired := at.desired.(type) {
	case map[string]any:
		live, _ := at.live.(map[string]any)
		for name, field := range desired {
			o.changed(at.at(fieldpath.FieldNameElement(name), field, live[name]), changed)
		}
	case []any:
		pairs, extras, lost, _ := at.entries()
		for _, pair := range pairs {
			o.changed(pair, changed)
		}
		keys := keysIn(at.anybody)
		for _, entry := range lost {
			i := slices.IndexFunc(extras, func(extra spot) bool {
				return !changed.Has(extra.path) && isSameButKeys(entry, extra.live, keys) && o.isUpdated(extra.path)
			})
			if i >= 0 {
				changed.Insert(extras[i].path)
			}
		}
	}
}

// isSameButKeys reports whether an entry has all that ours has, but for the keys.
func isSameButKeys(ours map[string]any, present any, keys []string) bool {
	fields, _ := present.(map[string]any)
	for name, field := range ours {
		if !slices.Contains(keys, name) && !covers(field, fields[name]) {
			return false
		}
	}
	return fields != nil
}

// Owned returns the managedFields of a copy with the clashes owned by our applies, and by nobody else.
func Owned(live *unstructured.Unstructured, clashes []Clash) ([]metav1.ManagedFieldsEntry, error) {
	taken, entries := fieldpath.NewSet(), live.GetManagedFields()
	for _, clash := range clashes {
		taken.Insert(clash.Path)
	}
	kept, ours := make([]metav1.ManagedFieldsEntry, 0, len(entries)), -1
	for _, entry := range entries {
		set, ok := setOf(entry)
		if isOwnApply(entry) {
			ours = len(kept)
		}
		if ok && !isOwnApply(entry) {
			if set = set.RecursiveDifference(taken); set.Empty() {
				continue
			}
			if err := setFields(&entry, set); err != nil {
				return nil, err
			}
		}
		kept = append(kept, entry)
	}
	owned, ok := ownedFields(live)
	if ours < 0 || !ok {
		return entries, nil
	}
	return kept, setFields(&kept[ours], owned.Union(taken))
}

func setFields(entry *metav1.ManagedFieldsEntry, set *fieldpath.Set) error {
	encoded, err := set.ToJSON()
	if err != nil {
		return err
	}
	entry.FieldsV1 = metav1.NewFieldsV1(string(encoded))
	return nil
}

// ownership says who are those who own fields of a copy.
type ownership struct {
	// ours are the fields of our applies, nil where there are none, and anybody are those that somebody owns.
	ours, anybody *fieldpath.Set
	others        []owner
}

type owner struct {
	writer    Writer
	set       *fieldpath.Set
	isApplied bool
}

func ownershipOf(live *unstructured.Unstructured) ownership {
	found := ownership{anybody: fieldpath.NewSet()}
	for _, entry := range live.GetManagedFields() {
		set, ok := setOf(entry)
		if !ok {
			continue
		}
		found.anybody = found.anybody.Union(set)
		if isOwnApply(entry) {
			found.ours = set
			continue
		}
		other := owner{writer: Writer{Manager: entry.Manager}, set: set, isApplied: entry.Operation == metav1.ManagedFieldsOperationApply}
		if entry.Time != nil {
			other.writer.Time = entry.Time.Time
		}
		found.others = append(found.others, other)
	}
	return found
}

// clashes returns what is to be taken away: what only we own goes by itself.
func (o ownership) clashes(paths *fieldpath.Set) []Clash {
	var clashes []Clash
	for path := range paths.All() {
		clash := Clash{Path: path.Copy()}
		for _, other := range o.others {
			if ownsAt(other.set, path) && !slices.ContainsFunc(clash.Writers, other.writer.isSame) {
				clash.Writers = append(clash.Writers, other.writer)
			}
		}
		if len(clash.Writers) > 0 || !ownsAt(o.ours, path) {
			clashes = append(clashes, clash)
		}
	}
	return clashes
}

func (w Writer) isSame(other Writer) bool { return w == other }

// isUpdated reports whether others own what is at a path, and none of them by an apply.
func (o ownership) isUpdated(path fieldpath.Path) bool {
	isOwned := false
	for _, other := range o.others {
		if !ownsAt(other.set, path) {
			continue
		}
		if other.isApplied {
			return false
		}
		isOwned = true
	}
	return isOwned && !ownsAt(o.ours, path)
}

// keysIn returns the names of the fields by which a list's entries are told apart, none where it has no such.
func keysIn(list *fieldpath.Set) []string {
	var keys []string
	note := func(element fieldpath.PathElement) {
		if element.Key != nil && keys == nil {
			for _, key := range *element.Key {
				keys = append(keys, key.Name)
			}
		}
	}
	list.Members.Iterate(note)
	for element := range list.Children.All() {
		note(element)
	}
	return keys
}

// keyOf returns the element of a list that addresses an entry, which has all keys once the server has filled them in.
func keyOf(entry map[string]any, keys []string) fieldpath.PathElement {
	fields := make(value.FieldList, 0, len(keys))
	for _, key := range keys {
		if field, present := entry[key]; present {
			fields = append(fields, value.Field{Name: key, Value: value.NewValueInterface(field)})
		}
	}
	return fieldpath.PathElement{Key: &fields}
}

// isAt reports whether the entry of a list at that element is the item that we apply. A key that the item leaves out is filled in
// by the server, and with what is only known from what we own.
func isAt(item any, element fieldpath.PathElement, ours *fieldpath.Set) bool {
	if !isElement(item, element) {
		return false
	}
	fields, _ := item.(map[string]any)
	isWhole := !slices.ContainsFunc(*element.Key, func(key value.Field) bool { _, present := fields[key.Name]; return !present })
	return isWhole || ours.Members.Has(element) || !setBelow(ours, element).Empty()
}

// covers reports whether all that is in ours is in present with the same values.
func covers(ours, present any) bool {
	switch ours := ours.(type) {
	case map[string]any:
		fields, isMap := present.(map[string]any)
		for name, field := range ours {
			if !covers(field, fields[name]) {
				return false
			}
		}
		return isMap
	case []any:
		items, isList := present.([]any)
		if !isList || len(items) != len(ours) {
			return false
		}
		for i := range ours {
			if !covers(ours[i], items[i]) {
				return false
			}
		}
		return true
	default:
		return value.Equals(value.NewValueInterface(ours), value.NewValueInterface(present))
	}
}
