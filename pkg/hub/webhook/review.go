package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/repair"
)

const (
	// maxBody bounds a request, in bytes: two objects of the largest size that kcp stores, and what surrounds them.
	maxBody = 4 << 20
	// atOnce is how many requests are answered side by side; others wait.
	atOnce = 16
)

var (
	errMediaType = errors.New("the Content-Type is not application/json")
	errNoUpdate  = errors.New("the AdmissionReview has no update in it")
	errMalformed = errors.New("the objects cannot be merged")
)

// handler answers AdmissionReviews. It allows every write, and changes those that it can repair.
type handler struct{ slots chan struct{} }

func newHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+Path, &handler{slots: make(chan struct{}, atOnce)})
	return mux
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-r.Context().Done():
		return // the client has gone
	}
	request, status, err := read(w, r)
	if err != nil {
		http.Error(w, err.Error(), status)
		return
	}
	judgement, err := judge(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	count(writerOf(request), judgement.Verdict)
	klog.FromContext(r.Context()).V(3).Info("Judged a write", "verdict", judgement.Verdict, "reason", judgement.Reason,
		"resource", request.Resource.Resource, "namespace", request.Namespace, "name", request.Name)
	answer(w, request, judgement)
}

// read returns the request of an AdmissionReview, or an error and its HTTP status.
func read(w http.ResponseWriter, r *http.Request) (request *admissionv1.AdmissionRequest, status int, err error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, http.StatusUnsupportedMediaType, errMediaType
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, isTooLarge := errors.AsType[*http.MaxBytesError](err); isTooLarge {
		return nil, http.StatusRequestEntityTooLarge, err
	}
	if err != nil {
		return nil, http.StatusBadRequest, err
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(data, &review); err != nil {
		return nil, http.StatusBadRequest, fmt.Errorf("the body is no AdmissionReview: %w", err)
	}
	if review.APIVersion != admissionv1.SchemeGroupVersion.String() || review.Request == nil || review.Request.Operation != admissionv1.Update {
		return nil, http.StatusBadRequest, errNoUpdate
	}
	return review.Request, 0, nil
}

// judge judges the write of a request. It fails when the objects cannot be decoded, and when the library that merges
// panics, for instance at a list of nulls.
func judge(request *admissionv1.AdmissionRequest) (judgement repair.Judgement, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: %v", errMalformed, cause)
		}
	}()
	write := repair.Write{Manager: writerOf(request)}
	for _, part := range []struct {
		name string
		raw  []byte
		into *map[string]any
	}{{"oldObject", request.OldObject.Raw, &write.Old}, {"object", request.Object.Raw, &write.New}} {
		if err := utiljson.Unmarshal(part.raw, part.into); err != nil {
			return repair.Judgement{}, fmt.Errorf("request.%s: expected an object: %w", part.name, err)
		}
	}
	return repair.Judge(write), nil
}

// writerOf returns the field manager of a request, empty when it has none.
func writerOf(request *admissionv1.AdmissionRequest) string {
	var options metav1.UpdateOptions
	if err := json.Unmarshal(request.Options.Raw, &options); err != nil {
		return ""
	}
	return options.FieldManager
}

// answer allows the write, with the patch that repairs it.
func answer(w http.ResponseWriter, request *admissionv1.AdmissionRequest, judgement repair.Judgement) {
	response := &admissionv1.AdmissionResponse{UID: request.UID, Allowed: true}
	patch, err := repair.Encode(judgement.Patch)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if patch != nil {
		response.Patch, response.PatchType = patch, new(admissionv1.PatchTypeJSONPatch)
	}
	review := admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Response: response,
	}
	data, err := json.Marshal(review)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data) // it only fails when the client has gone
}

// judged counts the writes that kcp asked about by their verdicts.
var judged = metrics.NewCounterVec(&metrics.CounterOpts{
	Namespace:      "tmc",
	Subsystem:      "repair",
	Name:           "writes_total",
	Help:           "Writes that kcp has asked about, by field manager and by what came of them: repaired, right (nothing was lost) or left.",
	StabilityLevel: metrics.ALPHA,
}, []string{"manager", "verdict"})

func init() { //nolint:gochecknoinits // how component-base has metrics registered
	legacyregistry.MustRegister(judged)
}

// count counts a write. Managers that cannot be repaired count as one, because clients can choose any name.
func count(manager string, verdict repair.Verdict) {
	if manager != repair.ManagerApply && manager != repair.ManagerSet {
		manager = "other"
	}
	judged.WithLabelValues(manager, string(verdict)).Inc()
}
