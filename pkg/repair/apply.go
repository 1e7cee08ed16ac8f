package repair

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// applied returns the lists that kcp got wrong in a client-side apply, as they were meant. kubectl sends the three-way
// merge of the manifest that was applied last, the manifest that is applied now, and the object (kubectl,
// pkg/cmd/apply/patcher.go). Both manifests are in annotations, so that the patch can be computed again.
func (k kind) applied(w Write) ([]list, error) {
	manifest, err := k.manifest(w.New)
	if err != nil {
		return nil, err
	}
	if err := k.checkKnown(manifest); err != nil {
		return nil, err
	}
	before, err := k.manifest(w.Old)
	if err != nil {
		before = map[string]any{} // as kubectl does
	}
	if isLong(before["spec"]) || isLong(manifest["spec"]) {
		return nil, errLong
	}
	patch, err := k.threeWay(before, manifest, w.Old)
	if err != nil {
		return nil, err
	}
	meant, err := k.merge(specOf(w.Old), patch)
	if err != nil {
		return nil, err
	}
	byKCP, err := k.mergeAsKCP(specOf(w.Old), patch)
	if err != nil {
		return nil, err
	}
	return k.differences(w.New, meant, byKCP)
}

// differences returns the lists of an object that are not as they were meant. It fails unless kcp's fault explains each
// of them: otherwise the object came about in another way.
func (k kind) differences(object, meant, byKCP map[string]any) ([]list, error) {
	paths, err := k.mergedLists(object, meant)
	if err != nil {
		return nil, err
	}
	var lists []list
	for _, path := range paths {
		have, want := at(object, path), at(meant, path)
		if covers(have, want) {
			continue // the rest are defaults
		}
		if !covers(have, at(byKCP, path)) {
			return nil, errInconsistent
		}
		lists = append(lists, list{path, want})
	}
	return lists, nil
}

// manifest returns the manifest that an object's annotation has. It fails when there is none, or one of another kind.
func (k kind) manifest(object map[string]any) (map[string]any, error) {
	text := (&unstructured.Unstructured{Object: object}).GetAnnotations()[corev1.LastAppliedConfigAnnotation]
	manifest := map[string]any{}
	if err := utiljson.Unmarshal([]byte(text), &manifest); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoManifest, err)
	}
	if typeOf(manifest) != k.typ {
		return nil, fmt.Errorf("%w: it is one of %s", errNoManifest, typeOf(manifest))
	}
	return manifest, nil
}

// checkKnown fails when a manifest has fields that the Go type does not have. kcp may have dropped them, and they would
// come back with the rest of a list.
func (k kind) checkKnown(manifest map[string]any) error {
	into, _ := types.New(k.typ) // it is known: see kindOf
	return runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(runtime.DeepCopyJSON(manifest), into, true)
}

// threeWay returns the patch that kubectl makes of the specs of three objects.
func (k kind) threeWay(before, manifest, live map[string]any) (map[string]any, error) {
	var encoded [3][]byte
	for i, object := range []map[string]any{before, manifest, live} {
		var err error
		if encoded[i], err = json.Marshal(specOf(object)); err != nil {
			return nil, err
		}
	}
	data, err := strategicpatch.CreateThreeWayMergePatch(encoded[0], encoded[1], encoded[2], k.meta, true)
	if err != nil {
		return nil, err
	}
	patch := map[string]any{}
	return patch, utiljson.Unmarshal(data, &patch)
}
