package repair

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// The field managers whose writes can be repaired, as kubectl calls itself (kubectl, pkg/cmd/apply and pkg/cmd/set).
const (
	// ManagerApply is `kubectl apply`, client-side.
	ManagerApply = "kubectl-client-side-apply"
	// ManagerSet is `kubectl set image`, `env` and `resources`, and the other `kubectl set` commands, which change no
	// list.
	ManagerSet = "kubectl-set"
)

// Verdict is what is to be done about a write.
type Verdict string

const (
	// Repaired means that entries were lost, and are back.
	Repaired Verdict = "repaired"
	// Right means that nothing was lost.
	Right Verdict = "right"
	// Left means that the meant object cannot be computed: the object stays as it is.
	Left Verdict = "left"
)

// Write is one update of an object.
type Write struct {
	// Manager is the field manager that writes.
	Manager string
	// Old is the object before the update, and New the object as kcp computed it. Both are as JSON decodes, with
	// integers as int64, and are not changed.
	Old, New map[string]any
}

// Judgement is the outcome for one write.
type Judgement struct {
	Verdict Verdict
	// Reason says, for people, why an object is Left.
	Reason error
	// Patch changes Write.New into the meant object. It is empty unless Repaired.
	Patch []Operation
}

// mostEntries is how many entries a list may have: the library's time grows with the square of their number.
const mostEntries = 1000

// The reasons to leave an object as it is.
var (
	errManager      = errors.New("the field manager is none whose writes can be repaired")
	errKind         = errors.New("there is no Go type for the kind")
	errNoManifest   = errors.New("the annotation kubectl.kubernetes.io/last-applied-configuration has no manifest of the object")
	errInconsistent = errors.New("the object is not what kcp makes of the patch that kubectl should have sent")
	errNotOfSet     = errors.New("the change is none that kubectl set makes")
	errLong         = fmt.Errorf("a list has more than %d entries", mostEntries)
)

// types has the Go types. Their tags say which lists are merged, and by which key.
var types = func() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme} {
		utilruntime.Must(add(scheme))
	}
	return scheme
}()

// Judge returns whether a write has lost entries of lists, and the patch that repairs it if the meant object can be
// computed exactly. It compares only specs: kcp merges metadata correctly. If kcp has merged the lists as well, the
// write is Right.
func Judge(w Write) Judgement {
	kind, err := kindOf(w)
	if err != nil {
		return left(err)
	}
	if isLong(w.Old["spec"]) || isLong(w.New["spec"]) {
		return left(errLong)
	}
	var lists []list
	switch w.Manager {
	case ManagerApply:
		lists, err = kind.applied(w)
	case ManagerSet:
		lists, err = kind.set(w)
	default:
		err = errManager
	}
	if err != nil {
		return left(err)
	}
	if len(lists) == 0 {
		return Judgement{Verdict: Right}
	}
	operations := make([]Operation, 0, len(lists)+1)
	for _, l := range lists {
		operations = append(operations, l.operation(w.New))
	}
	operations = append(operations, ownership(w)...)
	return Judgement{Verdict: Repaired, Patch: operations}
}

func left(reason error) Judgement { return Judgement{Verdict: Left, Reason: reason} }

// kind is the Go type of an object.
type kind struct {
	typ  schema.GroupVersionKind
	meta strategicpatch.PatchMetaFromStruct
}

// kindOf returns the kind of what is written.
func kindOf(w Write) (kind, error) {
	typ := typeOf(w.New)
	example, err := types.New(typ)
	if err != nil || typeOf(w.Old) != typ {
		return kind{}, fmt.Errorf("%w: %s", errKind, typ)
	}
	meta, err := strategicpatch.NewPatchMetaFromStruct(example)
	return kind{typ, meta}, err
}

func typeOf(object map[string]any) schema.GroupVersionKind {
	version, _ := object["apiVersion"].(string)
	name, _ := object["kind"].(string)
	return schema.FromAPIVersionAndKind(version, name)
}

// merge returns what a Kubernetes API server makes of an object and a strategic merge patch.
func (k kind) merge(object, patch map[string]any) (map[string]any, error) {
	return merge(object, patch, k.meta)
}

// mergeAsKCP returns what kcp makes of an object and a strategic merge patch.
func (k kind) mergeAsKCP(object, patch map[string]any) (map[string]any, error) {
	return merge(object, patch, forgetful{k.meta})
}

// merge copies its arguments, which the library changes.
func merge(object, patch map[string]any, meta strategicpatch.LookupPatchMeta) (map[string]any, error) {
	return strategicpatch.StrategicMergeMapPatchUsingLookupPatchMeta(runtime.DeepCopyJSON(object), runtime.DeepCopyJSON(patch), meta)
}

// forgetful is the schema as kcp publishes it: it has the keys of lists, and not the strategy to merge by them.
type forgetful struct {
	strategicpatch.PatchMetaFromStruct
}

// LookupPatchMetadataForStruct implements strategicpatch.LookupPatchMeta.
func (f forgetful) LookupPatchMetadataForStruct(key string) (strategicpatch.LookupPatchMeta, strategicpatch.PatchMeta, error) {
	return forget(f.PatchMetaFromStruct.LookupPatchMetadataForStruct(key))
}

// LookupPatchMetadataForSlice implements strategicpatch.LookupPatchMeta.
func (f forgetful) LookupPatchMetadataForSlice(key string) (strategicpatch.LookupPatchMeta, strategicpatch.PatchMeta, error) {
	return forget(f.PatchMetaFromStruct.LookupPatchMetadataForSlice(key))
}

func forget(sub strategicpatch.LookupPatchMeta, meta strategicpatch.PatchMeta, err error) (strategicpatch.LookupPatchMeta, strategicpatch.PatchMeta, error) {
	if err != nil {
		return nil, meta, err
	}
	meta.SetPatchStrategies(nil)
	return forgetful{sub.(strategicpatch.PatchMetaFromStruct)}, meta, nil
}

// specOf returns an object with nothing but its spec.
func specOf(object map[string]any) map[string]any {
	spec, ok := object["spec"]
	if !ok {
		return map[string]any{}
	}
	return map[string]any{"spec": spec}
}

// isLong reports whether any list within a value has too many entries.
func isLong(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		for _, field := range value {
			if isLong(field) {
				return true
			}
		}
	case []any:
		return len(value) > mostEntries || slices.ContainsFunc(value, isLong)
	}
	return false
}

// covers reports whether an object has all that is wanted, and nothing else but what defaulting adds: scalars in fields
// that wanted does not have, or has as null. A null and a directive, such as $retainKeys, come from a patch and are no
// default. Lists have to have the same entries in the same order.
func covers(have, wanted any) bool {
	switch wanted := wanted.(type) {
	case map[string]any:
		fields, ok := have.(map[string]any)
		return ok && coversFields(fields, wanted)
	case []any:
		items, ok := have.([]any)
		return ok && slices.EqualFunc(items, wanted, covers)
	default:
		return reflect.DeepEqual(have, wanted)
	}
}

// coversFields is covers for maps.
func coversFields(have, wanted map[string]any) bool {
	for name, value := range wanted {
		if existing, has := have[name]; !has || value != nil && !covers(existing, value) {
			return false
		}
	}
	for name, value := range have {
		if _, is := wanted[name]; !is && !isDefault(name, value) {
			return false
		}
	}
	return true
}

// isDefault reports whether a field may come from defaulting.
func isDefault(name string, value any) bool {
	return value != nil && !isMap(value) && !isList(value) && !strings.HasPrefix(name, "$")
}
