package fakekcp

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"

	"github.com/kcp-dev/logicalcluster/v3"
)

// write carries a write out, and counts it.
func (s *Server) write(w http.ResponseWriter, r *http.Request, q question) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes[strings.ToLower(r.Method)+" "+strings.TrimSuffix(q.Resource+"/"+q.Subresource, "/")]++
	s.lastWrite = time.Now()
	written, err := s.carryOut(q, types.PatchType(r.Header.Get("Content-Type")), body)
	if err == nil {
		_, _ = w.Write(written)
	}
	return err
}

// carryOut returns what there is after a write; of what it deletes, that it has.
func (s *Server) carryOut(q question, format types.PatchType, body []byte) ([]byte, error) {
	if q.Verb == "create" {
		return s.create(q, body)
	}
	if q.Resource == "events" {
		return body, nil // none is kept
	}
	before := s.collection(q.at.Resource).objects[q.at]
	if before == nil {
		return nil, apierrors.NewNotFound(q.at.Resource, q.at.Name)
	}
	if q.Verb == "delete" {
		return s.delete(before, body)
	}
	if q.Verb == "patch" {
		var err error
		if body, err = patched(before.raw, format, body); err != nil {
			return nil, err
		}
	}
	obj, err := decode(body)
	if err != nil {
		return nil, err
	}
	if err := before.meets(obj.GetUID(), obj.GetResourceVersion()); err != nil {
		return nil, err
	}
	obj.SetUID(before.uid)
	return s.put(q.at, obj).raw, nil
}

// create stores a new object. An event is not kept, since nobody reads it.
func (s *Server) create(q question, body []byte) ([]byte, error) {
	obj, err := decode(body)
	if err != nil {
		return nil, err
	}
	if q.Resource == "events" {
		return encode(obj.Object), nil
	}
	annotations := obj.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[logicalcluster.AnnotationKey] = q.at.Workspace.String()
	obj.SetAnnotations(annotations)
	obj.SetNamespace(q.at.Namespace)
	q.at.Name = obj.GetName()
	if s.collection(q.at.Resource).objects[q.at] != nil {
		return nil, apierrors.NewAlreadyExists(q.at.Resource, q.at.Name)
	}
	return s.put(q.at, obj).raw, nil
}

func (s *Server) delete(before *object, body []byte) ([]byte, error) {
	var options metav1.DeleteOptions
	if len(body) > 0 {
		if err := runtime.DecodeInto(scheme.Codecs.UniversalDeserializer(), body, &options); err != nil {
			return nil, err
		}
	}
	if only := options.Preconditions; only != nil {
		if err := before.meets(ptr.Deref(only.UID, ""), ptr.Deref(only.ResourceVersion, "")); err != nil {
			return nil, err
		}
	}
	s.drop(before)
	return encode(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusSuccess}), nil
}

// patched returns the JSON of an object as a patch would have it.
func patched(content []byte, format types.PatchType, body []byte) ([]byte, error) {
	switch format {
	case types.MergePatchType:
		return jsonpatch.MergePatch(content, body)
	case types.JSONPatchType:
		patch, err := jsonpatch.DecodePatch(body)
		if err != nil {
			return nil, err
		}
		after, err := patch.Apply(content)
		if err != nil { // a test that has failed, for instance
			return nil, apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
		}
		return after, nil
	default:
		return nil, apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, "patch", schema.GroupResource{}, "", string(format), 0, false)
	}
}

// decode reads JSON, and the protobuf that typed clients send.
func decode(body []byte) (*unstructured.Unstructured, error) {
	obj := &unstructured.Unstructured{}
	if !bytes.HasPrefix(body, []byte("k8s\x00")) {
		return obj, obj.UnmarshalJSON(body)
	}
	typed, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		return nil, err
	}
	obj.Object, err = runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	return obj, err
}
