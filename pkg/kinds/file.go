package kinds

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// Parse reads an operator's entries: a YAML list whose items have the JSON names of Kind. It returns the built-in table
// with these entries in place of built-in ones of the same kind. The name of the file is for errors: each says in which
// entry which field is wrong, and what was expected.
func Parse(file string, content []byte) (Kinds, error) {
	var entries []any
	if err := yaml.UnmarshalStrict(content, &entries); err != nil {
		return Kinds{}, fmt.Errorf("%s: expected a YAML list of kinds: %w", file, err)
	}
	var own []*Kind
	var errs []error
	for i, entry := range entries {
		kind, wrong := parseEntry(entry)
		if kind != nil && slices.ContainsFunc(own, func(other *Kind) bool { return other.GroupKind() == kind.GroupKind() }) {
			wrong = append(wrong, errors.New("kind: there is an entry for it already, expected one for each kind"))
		}
		for _, err := range wrong {
			errs = append(errs, fmt.Errorf("%s: entry %d (%s): %w", file, i+1, nameOf(entry), err))
		}
		own = append(own, kind)
	}
	if len(errs) > 0 {
		return Kinds{}, errors.Join(errs...)
	}
	return Kinds{own: own}, nil
}

// parseEntry returns an entry, or all that is wrong with it.
func parseEntry(entry any) (*Kind, []error) {
	if wrong := check(entry, reflect.TypeFor[Kind](), ""); len(wrong) > 0 {
		return nil, wrong
	}
	encoded, err := json.Marshal(entry)
	if err != nil {
		return nil, []error{err}
	}
	kind := &Kind{}
	if err := json.Unmarshal(encoded, kind); err != nil {
		return nil, []error{err}
	}
	if kind.Extends {
		return extend(kind, entry.(map[string]any)) // as check has found
	}
	kind.readReferences()
	return kind, kind.validate()
}

// extend returns the built-in entry of the kind with what the operator's says instead, or beside it. The fields that the
// operator's has are taken as a whole.
func extend(own *Kind, fields map[string]any) (*Kind, []error) {
	builtIn, known := byGroupKind[own.GroupKind()]
	if !known {
		return nil, []error{errors.New("extends: there is no built-in entry for the kind, expected one that there is")}
	}
	kind := *builtIn
	from, to := reflect.ValueOf(own).Elem(), reflect.ValueOf(&kind).Elem()
	for i := range to.NumField() {
		name, _, _ := strings.Cut(to.Type().Field(i).Tag.Get("json"), ",")
		if _, isSaid := fields[name]; isSaid && name != "" {
			to.Field(i).Set(from.Field(i))
		}
	}
	kind.References = slices.Concat(builtIn.References, own.References)
	kind.readReferences()
	return &kind, kind.validate()
}

// nameOf names an entry in an error.
func nameOf(entry any) string {
	fields, _ := entry.(map[string]any)
	kind, _ := fields["kind"].(string)
	group, _ := fields["group"].(string)
	if kind == "" {
		return "of no kind"
	}
	return (&Kind{Group: group, Kind: kind}).GroupKind().String()
}

// allowed are the values of the fields that have few.
var allowed = map[reflect.Type][]string{
	reflect.TypeFor[Observation](): {"", string(AlwaysObserves), string(NeverObserves)},
	reflect.TypeFor[Rollout]():     {"", string(DeploymentRollout), string(StatefulSetRollout), string(DaemonSetRollout)},
	reflect.TypeFor[PodsBy]():      {"", string(PodsByObject), string(PodsByReplicaSets), string(PodsByJobs)},
	reflect.TypeFor[Meaning]():     {"", string(Bad), string(Reached), string(Ongoing)},
	reflect.TypeFor[Merge]():       {"", string(MergeWhenTrue), string(MergeWhenAllSay), string(MergeAvailable), string(MergeProgressing)},
	reflect.TypeFor[AlikeType]():   {"", string(AlikeTexts), string(AlikeAmounts)},
	reflect.TypeFor[TimeRule]():    {"", string(Earliest), string(LatestOfAll)},
}

// check returns where a decoded value does not fit a type: fields that there are not, values of other types, values that
// are not allowed. The path to the value is for errors.
func check(value any, t reflect.Type, path string) []error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[Path]():
		return checkText(value, path, func(text string) error { _, err := ParsePath(text); return err })
	case t.Kind() == reflect.Struct:
		return checkFields(value, t, path)
	case t.Kind() == reflect.Slice:
		items, isList := value.([]any)
		if !isList {
			return []error{fmt.Errorf("%s: %v, expected a list", path, value)}
		}
		var errs []error
		for i, item := range items {
			errs = append(errs, check(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i))...)
		}
		return errs
	case t.Kind() == reflect.Bool:
		if _, isBool := value.(bool); !isBool {
			return []error{fmt.Errorf("%s: %v, expected true or false", path, value)}
		}
		return nil
	default:
		return checkText(value, path, func(text string) error {
			if values := allowed[t]; values != nil && !slices.Contains(values, text) {
				return fmt.Errorf("%q, expected one of %q", text, values)
			}
			return nil
		})
	}
}

func checkText(value any, path string, is func(string) error) []error {
	text, isText := value.(string)
	if !isText {
		return []error{fmt.Errorf("%s: %v, expected a text", path, value)}
	}
	if err := is(text); err != nil {
		return []error{fmt.Errorf("%s: %w", path, err)}
	}
	return nil
}

func checkFields(value any, t reflect.Type, path string) []error {
	fields, isObject := value.(map[string]any)
	if !isObject {
		return []error{fmt.Errorf("%s: %v, expected an object with fields", path, value)}
	}
	types := map[string]reflect.Type{}
	for field := range t.Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			types[name] = field.Type
		}
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		at := strings.TrimPrefix(path+"."+name, ".")
		if types[name] == nil {
			errs = append(errs, fmt.Errorf("%s: there is no such field, expected one of %s", at, strings.Join(slices.Sorted(maps.Keys(types)), ", ")))
			continue
		}
		errs = append(errs, check(fields[name], types[name], at)...)
	}
	return errs
}

// validate returns what is missing in an entry, or contradicts itself.
func (k *Kind) validate() []error {
	return slices.Concat(k.validateName(), k.validateCounts(), k.validateStatus(), k.validateRelations(), k.validateOwned(), k.validateYields())
}

// unless returns an error when a rule is broken.
func unless(isKept bool, format string, args ...any) []error {
	if isKept {
		return nil
	}
	return []error{fmt.Errorf(format, args...)}
}

func (k *Kind) validateName() []error {
	return slices.Concat(
		unless(k.Kind != "", "kind: it is missing, expected the name of a kind such as Rollout"),
		unless(k.Group == "" || len(validation.IsDNS1123Subdomain(k.Group)) == 0, "group: %q is no API group, expected a domain such as argoproj.io", k.Group),
		unless(!k.Workload || k.Version != "" && k.Resource != "", "version and resource: they are missing, expected where workloads are listed, such as v1 and rollouts"),
	)
}

func (k *Kind) validateCounts() []error {
	var sources []string
	for _, source := range []string{k.Replicas.String(), k.Completions.String(), k.Wanted} {
		if source != "" {
			sources = append(sources, source)
		}
	}
	return slices.Concat(
		unless(k.Available != "" || len(sources) == 0, "available: it is missing, expected the counter of those that are available, such as availableReplicas"),
		unless(len(sources) <= 1, "replicas, completions, wanted: expected one of them at most"),
		unless(!slices.Contains(slices.Concat(k.Replicas, k.Partition, k.Completions), Items), "replicas, partition, completions: expected the path of one field, and not of items of a list"),
		unless(k.Gap == nil || k.Gap.Has != "" && k.Gap.Of != "" && len(sources) == 0, "gap: expected has and of, two counters, and no replicas, completions or wanted"),
		unless(len(k.Partition) == 0 || len(k.Replicas) > 0, "partition: it is divided with the replicas, expected replicas as well"),
	)
}

func (k *Kind) validateStatus() []error {
	errs := slices.Concat(
		unless(len(k.TTL) == 0 || len(k.Ends) > 0 && !slices.Contains(k.TTL, Items), "ttl: expected the path of one field, and conditions in ends"),
		unless(len(k.BoundTo) == 0 || len(k.BoundTo) == 2 && strings.HasPrefix(k.BoundTo.String(), "spec."), "boundTo: expected a field of the spec such as spec.volumeName"),
	)
	for i, c := range k.Conditions {
		errs = append(errs, unless(c.Type != "", "conditions[%d].type: it is missing, expected a type such as Ready", i)...)
	}
	for i, alike := range k.Alike {
		errs = append(errs, unless(alike.Field != "", "alike[%d].field: it is missing, expected a field of the status such as capacity", i)...)
	}
	if p := k.Phase; p != nil {
		errs = append(errs, unless(p.Field != "" && p.Everywhere != "" && p.Otherwise != "", "phase: expected field, everywhere and otherwise")...)
	}
	return errs
}

func (k *Kind) validateRelations() []error {
	lists := map[string][]Reference{"references": k.References, "followedBy": k.FollowedBy}
	if k.Follows != nil {
		lists["follows.names"] = k.Follows.Names
	}
	var errs []error
	for _, field := range slices.Sorted(maps.Keys(lists)) {
		for i, r := range lists[field] {
			errs = append(errs, unless(len(r.Path) > 0 && r.Resource != "", "%s[%d]: expected path and resource, such as spec.secretName and secrets", field, i)...)
			errs = append(errs, unless(!slices.Contains(r.Within, Items), "%s[%d].within: expected the path of one field, and not of items of a list", field, i)...)
		}
	}
	return errs
}

// whole are the parts of an object that are not a cluster's as a whole.
var whole = []string{"", "apiVersion", "kind", metadataField, "spec", statusField}

func (k *Kind) validateOwned() []error {
	var errs []error
	for i, owned := range k.Owned {
		text := owned.Path.String()
		errs = append(errs, unless(!slices.Contains(whole, text) && !slices.Contains(owned.Path, Items), "owned[%d].path: %q, expected the path of one field such as spec.address", i, text)...)
		errs = append(errs, unless(owned.Unless == nil || len(owned.Unless.Path) > 0, "owned[%d].unless.path: it is missing, expected a field such as spec.manual", i)...)
	}
	return errs
}

func (k *Kind) validateYields() []error {
	var errs []error
	for i, p := range k.Merged {
		errs = append(errs, unless(!slices.Contains(whole, p.String()) && !slices.Contains(p, Items), "merged[%d]: %q, expected the path of one list such as spec.secrets", i, p)...)
	}
	for i, y := range k.Yields {
		errs = append(errs, unless(len(y.Marks) > 0 && len(y.Paths) > 0, "yields[%d]: expected marks and paths, such as {path: spec.queue} and spec.suspend", i)...)
		for j, mark := range y.Marks {
			errs = append(errs, unless(len(mark.Path) > 0 && !slices.Contains(mark.Path, Items), "yields[%d].marks[%d].path: expected the path of one field such as spec.queue", i, j)...)
		}
		for j, p := range y.Paths {
			// A whole map of labels or annotations of a template may be yielded, but not of the object itself.
			expected := expectedOfYield(p)
			errs = append(errs, unless(expected == "", "yields[%d].paths[%d]: %q, expected %s", i, j, p, expected)...)
		}
	}
	return errs
}
