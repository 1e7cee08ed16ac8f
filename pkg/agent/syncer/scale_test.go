package syncer

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestReplicasBelongToWhoeverScalesThem(t *testing.T) {
	owning := metav1.NewFieldsV1(`{"f:spec":{"f:replicas":{}}}`)
	entry := func(manager, subresource string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, Subresource: subresource, FieldsV1: owning}
	}
	ours := metav1.ManagedFieldsEntry{Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply, FieldsV1: owning}
	person, autoscaler := entry("kubectl", "scale"), entry(autoscalerManager, "scale")
	otherwise := metav1.ManagedFieldsEntry{Manager: "x", Subresource: "scale", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:paused":{}}}`)}
	cases := map[string]struct {
		reason        string
		entries       []metav1.ManagedFieldsEntry
		upstream      int64
		hasAutoscaler bool
		want          bool
	}{
		"Nobody":                     {"the field is ours", []metav1.ManagedFieldsEntry{ours}, 3, false, false},
		"NobodyAtAll":                {"it is put back", nil, 3, false, false},
		"APerson":                    {"kubectl scale says another number than kcp", []metav1.ManagedFieldsEntry{person}, 3, false, true},
		"APersonWhoAgrees":           {"that gives it back", []metav1.ManagedFieldsEntry{person}, 2, false, false},
		"APersonWhoHasGivenItBack":   {"a later change in kcp counts", []metav1.ManagedFieldsEntry{person, ours}, 3, false, false},
		"AnEdit":                     {"it is drift: not through the scale subresource", []metav1.ManagedFieldsEntry{entry("kubectl-edit", "")}, 3, false, false},
		"AnAutoscaler":               {"it decides", []metav1.ManagedFieldsEntry{autoscaler}, 3, true, true},
		"AnAutoscalerThatAgrees":     {"it goes on deciding, or we would take turns", []metav1.ManagedFieldsEntry{autoscaler}, 2, true, true},
		"AnAutoscalerThatIsGone":     {"its entry stays, it does not", []metav1.ManagedFieldsEntry{autoscaler}, 3, false, false},
		"AnAutoscalerYetToWrite":     {"until then it is ours", []metav1.ManagedFieldsEntry{ours}, 3, true, false},
		"AScaleThatIsAboutSomething": {"else", []metav1.ManagedFieldsEntry{otherwise}, 3, false, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"replicas": int64(2)}}}
			obj.SetManagedFields(tc.entries)
			if got := isScaledElsewhere(obj, tc.upstream, tc.hasAutoscaler); got != tc.want {
				t.Errorf("got %t, want %t: %s", got, tc.want, tc.reason)
			}
		})
	}
}
