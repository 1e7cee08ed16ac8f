package repair

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/manifests"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/yamltest"
)

// two is a Deployment with two containers.
const two = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: two, namespace: default}
spec:
  template:
    spec:
      containers:
      - {name: a, image: "nginx:1", env: [{name: FOO, value: x}, {name: BAR, value: z}], ports: [{containerPort: 53, protocol: UDP}]}
      - {name: b, image: "busybox:1"}
`

// object reads an object from YAML.
func object(tb testing.TB, text string) map[string]any {
	tb.Helper()
	return yamltest.Object(tb, text).Object
}

// replaced returns the object two with parts of its text replaced: pairs of what there is and what is put in its place.
func replaced(tb testing.TB, pairs ...string) map[string]any {
	tb.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(two, pairs[i]) {
			tb.Fatalf("%q is not in the text", pairs[i])
		}
	}
	return object(tb, strings.NewReplacer(pairs...).Replace(two))
}

func TestJudgeOfApply(t *testing.T) {
	t.Parallel()
	live := withDefaults(withLastApplied(t, object(t, two)))
	cases := map[string]struct {
		live     map[string]any
		manifest map[string]any
		want     Verdict
	}{
		"one of two containers is changed": {live, replaced(t, "nginx:1", "nginx:2"), Repaired},
		"a variable is removed":            {live, replaced(t, "{name: FOO, value: x}, ", ""), Repaired},
		"variables change places": {
			live, replaced(t, "{name: FOO, value: x}, {name: BAR, value: z}", "{name: BAR, value: z}, {name: FOO, value: x}"), Repaired,
		},
		"containers change places alone":                         {live, replaced(t, "- {name: b, image: \"busybox:1\"}", "", "containers:", "containers:\n      - {name: b, image: \"busybox:1\"}"), Right},
		"a port's name is added, and its protocol is no default": {live, replaced(t, "containerPort: 53,", "containerPort: 53, name: dns,"), Repaired},
		"a container is removed":                                 {live, replaced(t, "- {name: b, image: \"busybox:1\"}", ""), Repaired},
		"nothing is changed":                                     {live, object(t, two), Right},
		"a list is changed that is replaced":                     {live, replaced(t, "image: \"busybox:1\"", "image: \"busybox:1\", args: [x]"), Repaired},
		"what was not applied before":                            {object(t, two), replaced(t, "nginx:1", "nginx:2"), Repaired},
		"a sidecar of somebody else's stays":                     {withSidecar(t, live), replaced(t, "nginx:1", "nginx:2"), Repaired},
		"a variable changes where its value is":                  {live, replaced(t, "{name: FOO, value: x}", "{name: FOO, valueFrom: {secretKeyRef: {name: s, key: k}}}"), Repaired},
		"only labels are changed outside of list":                {live, replaced(t, "{name: two,", "{name: two, labels: {a: b},"), Right},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			patch, err := applyPatch(t, c.live, c.manifest)
			must(t, err)
			judgement, got := judged(t, ManagerApply, c.live, kcp(t, c.live, patch))
			if judgement.Verdict != c.want {
				t.Errorf("it is %s (%v), expected %s", judgement.Verdict, judgement.Reason, c.want)
			}
			if diff := cmp.Diff(kubernetes(t, c.live, patch), got); diff != "" {
				t.Errorf("(-kubernetes +repaired)\n%s", diff)
			}
		})
	}
}

// withSidecar returns an object with another container.
func withSidecar(t *testing.T, live map[string]any) map[string]any {
	t.Helper()
	result := runtime.DeepCopyJSON(live)
	path := []string{"spec", "template", "spec", "containers"}
	containers, _, err := unstructured.NestedSlice(result, path...)
	must(t, err)
	must(t, unstructured.SetNestedSlice(result, append(containers, map[string]any{"name": "sidecar", "image": "proxy:1"}), path...))
	return result
}

func TestJudgeOfSet(t *testing.T) {
	t.Parallel()
	live := withDefaults(object(t, two))
	cases := map[string]struct {
		change func(*corev1.PodSpec)
		want   Verdict
	}{
		"image of one":             {func(p *corev1.PodSpec) { p.Containers[0].Image = "nginx:2" }, Repaired},
		"image of all":             {func(p *corev1.PodSpec) { p.Containers[0].Image, p.Containers[1].Image = "nginx:2", "nginx:2" }, Repaired},
		"a variable more":          {func(p *corev1.PodSpec) { p.Containers[0].Env = append(p.Containers[0].Env, corev1.EnvVar{Name: "NEW"}) }, Repaired},
		"a variable less":          {func(p *corev1.PodSpec) { p.Containers[0].Env = p.Containers[0].Env[1:] }, Repaired},
		"a variable with no value": {func(p *corev1.PodSpec) { p.Containers[0].Env[0].Value = "" }, Repaired},
		"no variables":             {func(p *corev1.PodSpec) { p.Containers[0].Env = nil }, Repaired},
		"a service account":        {func(p *corev1.PodSpec) { p.ServiceAccountName = "x" }, Right},
		"what it never changes":    {func(p *corev1.PodSpec) { p.Containers[0].WorkingDir = "/" }, Left},
		"two things at a time":     {func(p *corev1.PodSpec) { p.Containers[0].Image, p.Containers[0].Env = "nginx:2", nil }, Left},
		"a container that is new":  {func(p *corev1.PodSpec) { p.Containers = append(p.Containers, corev1.Container{Name: "c", Image: "c"}) }, Left},
		"a container that goes":    {func(p *corev1.PodSpec) { p.Containers = p.Containers[:1] }, Left},
		"a list of other things":   {func(p *corev1.PodSpec) { p.HostAliases = []corev1.HostAlias{{IP: "10.0.0.1"}} }, Right},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			patch := setPatch(t, live, c.change)
			judgement, got := judged(t, ManagerSet, live, kcp(t, live, patch))
			if judgement.Verdict != c.want {
				t.Errorf("it is %s (%v), expected %s; patch %s", judgement.Verdict, judgement.Reason, c.want, patch)
			}
			if c.want == Left {
				return
			}
			if diff := cmp.Diff(kubernetes(t, live, patch), got); diff != "" {
				t.Errorf("(-kubernetes +repaired)\n%s", diff)
			}
		})
	}
}

func TestJudgeLeaves(t *testing.T) {
	t.Parallel()
	manifest := replaced(t, "nginx:1", "nginx:2")
	live := withDefaults(withLastApplied(t, object(t, two)))
	patch, err := applyPatch(t, live, manifest)
	must(t, err)
	applied := kcp(t, live, patch)
	changed := func(object map[string]any, value any, path ...string) map[string]any {
		result := runtime.DeepCopyJSON(object)
		must(t, unstructured.SetNestedField(result, value, path...))
		return result
	}
	annotation := []string{"metadata", "annotations", lastAppliedKey}
	cases := map[string]struct {
		write Write
		want  error // nil for any
	}{
		"other managers":      {Write{"kubectl-edit", live, applied}, errManager},
		"other kinds":         {Write{ManagerApply, changed(live, "Pond", "kind"), changed(applied, "Pond", "kind")}, errKind},
		"another kind now":    {Write{ManagerApply, changed(live, "StatefulSet", "kind"), applied}, errKind},
		"no manifest":         {Write{ManagerApply, live, changed(applied, "", annotation...)}, errNoManifest},
		"a broken manifest":   {Write{ManagerApply, live, changed(applied, "{", annotation...)}, errNoManifest},
		"one of another kind": {Write{ManagerApply, live, changed(applied, `{"apiVersion":"v1","kind":"Service"}`, annotation...)}, errNoManifest},
		"fields that nobody knows": {
			Write{ManagerApply, live, changed(applied, strings.Replace(string(encode(t, manifest)), `"image"`, `"imago":"x","image"`, 1), annotation...)}, nil,
		},
		// `kubectl apply set-last-applied` changes nothing else.
		"a manifest that was only noted": {Write{ManagerApply, live, changed(live, string(encode(t, manifest)), annotation...)}, errInconsistent},
		"a list that is long": {
			Write{ManagerSet, live, changed(applied, slices.Repeat([]any{map[string]any{"name": "a"}}, 1001), "spec", "template", "spec", "containers")}, errLong,
		},
		"a manifest that is long": {Write{ManagerApply, live, changed(applied, strings.Replace(string(encode(t, manifest)), `"image"`, `"args":[""`+strings.Repeat(`,""`, 1001)+`],"image"`, 1), annotation...)}, errLong},
		"somebody was faster":     {Write{ManagerApply, withSidecar(t, replaceImage(t, live)), applied}, errInconsistent},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			judgement := Judge(c.write)
			if judgement.Verdict != Left || len(judgement.Patch) > 0 {
				t.Fatalf("it is %s, with the patch %v", judgement.Verdict, judgement.Patch)
			}
			if judgement.Reason == nil || c.want != nil && !errors.Is(judgement.Reason, c.want) {
				t.Errorf("the reason is %v, expected %v", judgement.Reason, c.want)
			}
		})
	}
}

// replaceImage returns the object with an image that the patch would change more than there.
func replaceImage(t *testing.T, live map[string]any) map[string]any {
	t.Helper()
	return decode(t, []byte(strings.Replace(string(encode(t, live)), `"image":"busybox:1"`, `"image":"busybox:0"`, 1)))
}

func TestJudgeOwnership(t *testing.T) {
	t.Parallel()
	entry := func(manager, fields string) any {
		return map[string]any{"manager": manager, "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": decode(t, []byte(fields))}
	}
	owned := func(object map[string]any, entries ...any) map[string]any {
		object["metadata"].(map[string]any)["managedFields"] = entries
		return object
	}
	live := withDefaults(object(t, two))
	patch := setPatch(t, live, func(p *corev1.PodSpec) { p.Containers[0].Image = "nginx:2" })
	byKCP := owned(kcp(t, live, patch), entry("creator", `{"f:a":{}}`), entry(ManagerSet, `{"f:image":{}}`))
	owned(live, entry("creator", `{"f:a":{},"f:b":{}}`), entry("gone", `{"f:c":{}}`), entry(ManagerSet, `{"f:env":{}}`))
	_, got := judged(t, ManagerSet, live, byKCP)
	owners := map[string]string{}
	for _, field := range got["metadata"].(map[string]any)["managedFields"].([]any) {
		fields, err := json.Marshal(field.(map[string]any)["fieldsV1"])
		must(t, err)
		owners[field.(map[string]any)["manager"].(string)] = string(fields)
	}
	want := map[string]string{"creator": `{"f:a":{},"f:b":{}}`, "gone": `{"f:c":{}}`, ManagerSet: `{"f:env":{},"f:image":{}}`}
	if diff := cmp.Diff(want, owners); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestTypesAndSchemas compares what is installed in kcp with what is computed with here: of lists that
// are merged, kcp publishes the first key.
func TestTypesAndSchemas(t *testing.T) {
	t.Parallel()
	schemas := manifests.Schemas()
	found := 0
	for _, served := range schemas {
		if v1alpha1.IsRevision(schema.GroupResource{Group: served.Spec.Group, Resource: served.Spec.Names.Plural}) {
			continue // nobody patches one
		}
		for _, version := range served.Spec.Versions {
			typ := map[string]any{"apiVersion": strings.TrimPrefix(served.Spec.Group+"/"+version.Name, "/"), "kind": served.Spec.Names.Kind}
			k, err := kindOf(Write{Old: typ, New: typ})
			if err != nil {
				continue // nothing of it can be repaired
			}
			sub, _, err := k.meta.LookupPatchMetadataForStruct("spec")
			must(t, err)
			properties := decode(t, version.Schema.Raw)["properties"].(map[string]any)
			found += compareKeys(t, served.Spec.Names.Kind, sub.(patchMeta), properties["spec"].(map[string]any))
		}
	}
	if found < 50 {
		t.Errorf("only %d lists that are merged were found", found)
	}
}

// compareKeys compares the keys of all lists below a struct, and returns how many there are.
func compareKeys(t *testing.T, path string, meta patchMeta, schema map[string]any) int {
	t.Helper()
	properties, _ := schema["properties"].(map[string]any)
	found := 0
	for name, property := range properties {
		field := property.(map[string]any)
		here := path + "." + name
		items, isArray := field["items"].(map[string]any)
		if !isArray {
			if sub, _, err := meta.LookupPatchMetadataForStruct(name); err == nil && isStruct(sub.(patchMeta).T) {
				found += compareKeys(t, here, sub.(patchMeta), field)
			}
			continue
		}
		sub, patch, err := meta.LookupPatchMetadataForSlice(name)
		if err != nil {
			continue // bytes
		}
		if key := patch.GetPatchMergeKey(); key != "" && strings.Contains(strings.Join(patch.GetPatchStrategies(), ","), mergeStrategy) {
			found++
			if keys, _ := field["x-kubernetes-list-map-keys"].([]any); len(keys) == 0 || keys[0] != key {
				t.Errorf("%s is merged by %s, and kcp has the keys %v", here, key, keys)
			}
		}
		if isStruct(sub.(patchMeta).T) {
			found += compareKeys(t, here+"[]", sub.(patchMeta), items)
		}
	}
	return found
}

func TestMergedLists(t *testing.T) {
	t.Parallel()
	known := object(t, two)
	k, err := kindOf(Write{Old: known, New: known})
	must(t, err)
	for name, path := range map[string][]string{
		"a list that the type does not have":           {"spec", "gadgets"},
		"such a list further down":                     {"spec", "template", "spec", "gadgets"},
		"an object that the type does not have":        {"spec", "gadget"},
		"a list where the type has an object, no list": {"spec", "selector", "gadgets"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed := runtime.DeepCopyJSON(known)
			var value any = []any{"x"}
			if path[len(path)-1] == "gadget" {
				value = map[string]any{"x": "y"}
			}
			must(t, unstructured.SetNestedField(changed, value, path...))
			if paths, err := k.mergedLists(known, changed); err == nil {
				t.Errorf("got %v, expected an error", paths)
			}
			for _, manager := range []string{ManagerApply, ManagerSet} {
				if got := Judge(Write{manager, withLastApplied(t, known), withLastApplied(t, changed)}); got.Verdict != Left {
					t.Errorf("%s is %s, expected it to be left", manager, got.Verdict)
				}
			}
		})
	}
}

func TestJudgeInvalidPatches(t *testing.T) {
	t.Parallel()
	live := withDefaults(withLastApplied(t, object(t, two)))
	containers := []string{"spec", "template", "spec", "containers"}
	for name, list := range map[string][]any{
		"a directive that there is not": {map[string]any{"name": "a", "$patch": "bogus"}},
		"an entry without its key":      {map[string]any{"image": "nginx:2"}},
		"an entry that is no object":    {"nginx:2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed := runtime.DeepCopyJSON(live)
			must(t, unstructured.SetNestedSlice(changed, list, containers...))
			manifest := object(t, two)
			must(t, unstructured.SetNestedSlice(manifest, list, containers...))
			for manager, write := range map[string]Write{
				ManagerSet:   {ManagerSet, live, changed},
				ManagerApply: {ManagerApply, live, withLastApplied(t, manifest)},
			} {
				if got := Judge(write); got.Verdict != Left || got.Reason == nil {
					t.Errorf("%s is %s (%v), expected it to be left", manager, got.Verdict, got.Reason)
				}
			}
		})
	}
}

func TestOperation(t *testing.T) {
	t.Parallel()
	live := map[string]any{"spec": map[string]any{"a/b": []any{"x"}}}
	for name, c := range map[string]struct {
		list list
		want Operation
	}{
		"a list that should be another one": {list{[]string{"spec", "a/b"}, []any{"y"}}, Operation{"replace", "/spec/a~1b", []any{"y"}}},
		"a list that is missing":            {list{[]string{"spec", "c"}, []any{"y"}}, Operation{"add", "/spec/c", []any{"y"}}},
		"a list that should not be there":   {list{[]string{"spec", "a/b"}, nil}, Operation{"remove", "/spec/a~1b", nil}},
	} {
		if diff := cmp.Diff(c.want, c.list.operation(live)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestOwnership(t *testing.T) {
	t.Parallel()
	owner := func(manager, fields string) metav1.ManagedFieldsEntry {
		entry := metav1.ManagedFieldsEntry{Manager: manager, Operation: "Update", APIVersion: "apps/v1", FieldsType: "FieldsV1"}
		if fields != "" {
			entry.FieldsV1 = metav1.NewFieldsV1(fields)
		}
		return entry
	}
	with := func(owners ...metav1.ManagedFieldsEntry) map[string]any {
		object := &unstructured.Unstructured{Object: map[string]any{}}
		if len(owners) > 0 {
			object.SetManagedFields(owners)
		}
		return object.Object
	}
	creator, writer := owner("creator", `{"f:a":{}}`), owner(ManagerSet, `{"f:b":{}}`)
	for name, c := range map[string]struct {
		old, current map[string]any
		op           string
		want         []metav1.ManagedFieldsEntry
	}{
		"nothing was lost":              {with(creator), with(creator), "", nil},
		"all was dropped":               {with(creator), with(), "add", []metav1.ManagedFieldsEntry{creator}},
		"the writer is new":             {with(creator), with(writer), "replace", []metav1.ManagedFieldsEntry{creator, writer}},
		"fields that cannot be read":    {with(owner(ManagerSet, `{"x":5}`), creator), with(writer), "replace", []metav1.ManagedFieldsEntry{owner(ManagerSet, `{"x":5}`), creator}},
		"an owner that has no fields":   {with(owner(ManagerSet, ""), creator), with(writer), "replace", []metav1.ManagedFieldsEntry{owner(ManagerSet, ""), creator}},
		"what somebody else has gained": {with(creator), with(creator, owner("other", `{"f:c":{}}`)), "replace", []metav1.ManagedFieldsEntry{creator}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ownership(Write{Manager: ManagerSet, Old: c.old, New: c.current})
			if c.op == "" {
				if len(got) > 0 {
					t.Errorf("got %v, expected nothing", got)
				}
				return
			}
			want := []Operation{{c.op, "/metadata/managedFields", c.want}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
