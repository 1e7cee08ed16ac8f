package syncer

import (
	"context"
	"regexp"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// immutable is how API servers word that a field cannot be changed. There is no
// reason for it in the API: these are the words of apimachinery's
// api/validation (FieldImmutableErrorMsg), and of kubernetes' pkg/apis
// (apps: "updates to statefulset spec for fields other than …", core: "spec is
// immutable after creation …", "may not change once set").
var immutable = regexp.MustCompile(`(?i)immutable|updates to .+ are forbidden|may not change once set|may not be changed`)

// isImmutable reports whether the server refuses a change for nothing but that fields
// cannot be changed: made anew, the object would be taken.
func isImmutable(err error) bool {
	details, ok := statusDetails(err)
	if !ok || !apierrors.IsInvalid(err) || len(details.Causes) == 0 {
		return false
	}
	for _, cause := range details.Causes {
		if !isFieldCause(cause) || !immutable.MatchString(cause.Message) {
			return false
		}
	}
	return true
}

func isFieldCause(cause metav1.StatusCause) bool {
	return cause.Type == metav1.CauseTypeFieldValueInvalid || cause.Type == metav1.CauseTypeForbidden
}

// replace deletes a copy that cannot be changed into what is desired; it is made
// anew when it is gone.
func (s *Syncer) replace(ctx context.Context, key kcp.ObjectKey, st state) error {
	klog.FromContext(ctx).Info("Replacing a copy that cannot be changed, as its user asks for")
	s.memories.update(key, func(m *memory) { m.final = nil })
	return s.downstream.remove(ctx, key.Resource, st.downstreamObj)
}
