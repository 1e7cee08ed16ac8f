package transform

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// attack is an override that is meant to cost much, and the object that it is for.
type attack struct {
	reason string
	spec   func() map[string]any
	patch  string
	// fails is set where the override has to be refused for what it costs.
	fails bool
}

func operations(number int, format string, args ...any) string {
	operation := fmt.Sprintf(format, args...)
	return strings.TrimSuffix(strings.Repeat(operation+",", number), ",")
}

func listOf(number int, element any) []any {
	list := make([]any, number)
	for i := range list {
		list[i] = element
	}
	return list
}

func treeOf(depth int) map[string]any {
	tree := map[string]any{"leaf": "x"}
	for range depth {
		tree = map[string]any{"a": tree}
	}
	return tree
}

func longString() map[string]any { return map[string]any{"s": strings.Repeat("x", 1<<20)} }
func longList() map[string]any   { return map[string]any{"list": listOf(300_000, int64(1))} }
func wideMap() map[string]any {
	spec := map[string]any{}
	for i := range 50_000 {
		spec[fmt.Sprintf("key-%d", i)] = int64(i)
	}
	return map[string]any{"m": spec, "n": map[string]any{}}
}
func ordinary() map[string]any {
	return map[string]any{"replicas": int64(3), "list": []any{"a", "b"}, "template": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "web", "image": "nginx"}}}}}
}

// attacks are what A9 found, and what is like it.
var attacks = map[string]attack{
	"copies that double": {"200 operations grow without bounds", ordinary, operations(100, `{"op":"copy","from":"/spec","path":"/spec/a"},{"op":"copy","from":"/spec","path":"/spec/b"}`), true},
	"copies of a string": {"a copy costs nothing, what it makes has to be sent", longString, operations(200, `{"op":"copy","from":"/spec/s","path":"/spec/t"}`), true},
	"grown then read": {"11.6 KB that take seconds: a large document, and small operations on it", ordinary,
		`{"op":"add","path":"/spec/x","value":{"s":"` + strings.Repeat("x", 4096) + `"}},` + doublings(8) + "," + operations(190, `{"op":"test","path":"/spec/replicas","value":3}`), true},
	"tests of much":          {"a test compares no more than its own value has", longList, operations(200, `{"op":"test","path":"/spec/list/299999","value":1}`), false},
	"tests of all of it":     {"each compares a hundred thousand entries", func() map[string]any { return map[string]any{"list": listOf(30_000, int64(1))} }, operations(3, `{"op":"test","path":"/spec/list","value":[%s]}`, strings.TrimSuffix(strings.Repeat("1,", 30_000), ",")), true},
	"adds at the front":      {"each moves all that is behind", longList, operations(200, `{"op":"add","path":"/spec/list/0","value":1}`), true},
	"removes at the front":   {"likewise", longList, operations(200, `{"op":"remove","path":"/spec/list/0"}`), true},
	"moves of much":          {"a move moves a pointer", wideMap, operations(100, `{"op":"move","from":"/spec/m","path":"/spec/n/m"},{"op":"move","from":"/spec/n/m","path":"/spec/m"}`), false},
	"moves to the front":     {"from one end of the list to the other", longList, operations(200, `{"op":"move","from":"/spec/list/299999","path":"/spec/list/0"}`), true},
	"copies of a map":        {"each is fifty thousand entries", wideMap, operations(200, `{"op":"copy","from":"/spec/m","path":"/spec/n/m"}`), true},
	"DeepTests":              {"far down", func() map[string]any { return map[string]any{"a": treeOf(9000)} }, operations(12, `{"op":"test","path":"/spec%s/leaf","value":"x"}`, strings.Repeat("/a", 9001)), true},
	"DeepCopies":             {"far down", func() map[string]any { return map[string]any{"a": treeOf(9000)} }, operations(100, `{"op":"copy","from":"/spec/a","path":"/spec/b"}`), true},
	"DeepValues":             {"a value that is nested", ordinary, operations(1, `{"op":"add","path":"/spec/x","value":%s1%s}`, strings.Repeat("[", 9000), strings.Repeat("]", 9000)), false},
	"labels again and again": {"each looks at all metadata", ordinary, `{"op":"add","path":"/metadata/annotations","value":{` + manyKeys(5000) + `}},` + operations(190, `{"op":"add","path":"/metadata/labels/a","value":"b"}`), true},
	"LongPaths":              {"a path that leads nowhere", ordinary, operations(1, `{"op":"add","path":"/spec%s","value":1}`, strings.Repeat("/a", 100_000)), true},
}

func doublings(number int) string {
	copies := make([]string, 0, number)
	for i := range number {
		copies = append(copies, fmt.Sprintf(`{"op":"copy","from":"/spec/x","path":"/spec/x/y%d"}`, i))
	}
	return strings.Join(copies, ",")
}

func manyKeys(number int) string {
	keys := make([]string, 0, number)
	for i := range number {
		keys = append(keys, fmt.Sprintf(`"k%d":""`, i))
	}
	return strings.Join(keys, ",")
}

func attacked(a attack) Input {
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "spec": a.spec()}}
	obj.SetName("web")
	obj.SetNamespace("default")
	obj.SetAnnotations(map[string]string{v1alpha1.OverrideAnnotation("east"): "[" + a.patch + "]"})
	return inputOf(obj, v1alpha1.TransformRule{})
}

// mostTime is what an evaluation may take on a busy machine, with the race detector. Alone
// it is below 10 ms, as BenchmarkAttacks tells.
const mostTime = 250 * time.Millisecond

func TestOverrideCostIsLow(t *testing.T) {
	for name, a := range attacks {
		t.Run(name, func(t *testing.T) {
			in := attacked(a)
			var err error
			shortest := time.Hour
			for range 3 {
				desired, stripped := strip(in)
				if stripped != nil {
					t.Fatal(stripped)
				}
				start := time.Now()
				err = applyOverride(desired, in)
				shortest = min(shortest, time.Since(start))
			}
			if shortest > mostTime {
				t.Errorf("%s: it takes %s", a.reason, shortest)
			}
			if isRefused := err != nil; isRefused != a.fails {
				t.Errorf("%s: error %v, want one: %t", a.reason, err, a.fails)
			}
			var failed *OverrideError
			if err != nil && (!errors.As(err, &failed) || len(err.Error()) > 1024) {
				t.Errorf("%s: got a %T of %d bytes, want a short OverrideError", a.reason, err, len(err.Error()))
			}
		})
	}
}

func TestOverrideWorkIsBounded(t *testing.T) {
	for name, a := range attacks {
		t.Run(name, func(t *testing.T) {
			desired, err := strip(attacked(a))
			if err != nil {
				t.Fatal(err)
			}
			var operations []json.RawMessage
			if err := json.Unmarshal([]byte("["+a.patch+"]"), &operations); err != nil {
				t.Fatal(err)
			}
			p := &patcher{object: desired.Object}
			for _, data := range operations {
				operation, err := readOperation(data)
				if err != nil {
					t.Fatal(err)
				}
				if err := p.apply(operation); err != nil {
					break
				}
			}
			// The charge that fails is the last, and is for what one operation was about to do.
			if most := 2*mostWork + 300_000; p.work > most {
				t.Errorf("%s: %d units of work, want at most %d", a.reason, p.work, most)
			}
		})
	}
}

func BenchmarkAttacks(b *testing.B) {
	for name, a := range attacks {
		b.Run(name, func(b *testing.B) {
			in := attacked(a)
			for b.Loop() {
				b.StopTimer()
				desired, err := strip(in)
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if err := applyOverride(desired, in); (err != nil) != a.fails {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestOverrideAgreesWithJSONPatch compares with another implementation of RFC 6902.
func TestOverrideAgreesWithJSONPatch(t *testing.T) {
	pointers := []string{"/a", "/b", "/a/x", "/a/y", "/a/y/z", "/l", "/l/0", "/l/1", "/l/2", "/l/-", "/l/0/x", "/l/1/0", "/a~1b", "/m~0n", "/none", "/none/x", "/s/x"}
	values := []string{`1`, `"text"`, `null`, `{}`, `[]`, `{"x":[1,2],"y":{"z":null}}`, `[{"x":1},[5]]`, `0.5`, `true`, `"ä"`}
	const document = `{"a":{"x":1,"y":{"z":"q"}},"l":[{"x":1},[5,6],"c"],"a/b":2,"m~n":[],"s":"t"}`
	random := rand.New(rand.NewSource(7))
	pick := func(from []string) string { return from[random.Intn(len(from))] }
	applied := 0
	for range 20_000 {
		op := pick([]string{"add", "remove", "replace", "move", "copy", "test"})
		var parts []string
		for range 1 + random.Intn(4) {
			parts = append(parts, fmt.Sprintf(`{"op":%q,"path":%q,"from":%q,"value":%s}`, op, pick(pointers), pick(pointers), pick(values)))
			op = pick([]string{"add", "remove", "replace", "move", "copy", "test"})
		}
		patch := "[" + strings.Join(parts, ",") + "]"
		want, wantErr := theirs(document, patch)
		got, gotErr := ours(document, patch)
		switch {
		case gotErr != nil && strings.Contains(gotErr.Error(), "into itself"):
			continue // RFC 6902 forbids it, and they do not look
		case strings.Contains(patch, `"test"`) && (gotErr == nil) != (wantErr == nil):
			continue // to them, what is missing equals null
		case (gotErr == nil) != (wantErr == nil):
			t.Fatalf("%s: error %v, theirs %v", patch, gotErr, wantErr)
		case gotErr == nil:
			applied++
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s (-theirs +ours):\n%s", patch, diff)
			}
		}
	}
	if applied < 1000 {
		t.Errorf("only %d of them could be applied", applied)
	}
}

func theirs(document, patch string) (result map[string]any, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	decoded, err := jsonpatch.DecodePatch([]byte(patch))
	if err != nil {
		return nil, err
	}
	options := jsonpatch.NewApplyOptions()
	options.SupportNegativeIndices = false
	data, err := decoded.ApplyWithOptions([]byte(document), options)
	if err != nil {
		return nil, err
	}
	return result, utiljson.Unmarshal(data, &result)
}

func ours(document, patch string) (map[string]any, error) {
	result := map[string]any{}
	if err := utiljson.Unmarshal([]byte(document), &result); err != nil {
		return nil, err
	}
	var operations []json.RawMessage
	if err := json.Unmarshal([]byte(patch), &operations); err != nil {
		return nil, err
	}
	p := &patcher{object: result}
	for _, data := range operations {
		operation, err := readOperation(data)
		if err != nil {
			return nil, err
		}
		if err := p.apply(operation); err != nil {
			return nil, err
		}
	}
	return result, nil
}
