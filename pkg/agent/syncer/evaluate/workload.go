package evaluate

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// Who decides how many replicas a copy has: what kcp says, unless an autoscaler or `kubectl scale` on the cluster has taken the
// field over. That is read from managedFields, where a write through the scale subresource has an entry of its own, and from
// the autoscalers that there are: an entry stays when its writer is gone. A zero of kcp's is the switch that stops a workload,
// and nobody's to overrule: an autoscaler that finds zero replicas rests (its condition ScalingActive says ScalingDisabled, see
// reconcileAutoscaler in kubernetes' pkg/controller/podautoscaler), and takes over again when kcp says another number.
const (
	// ScaleSubresource is what managedFields call the writes of `kubectl scale` and of autoscalers.
	ScaleSubresource = "scale"
	// autoscalerManager is the field manager of the HPA controller, which is one of kube-controller-manager's.
	autoscalerManager = "kube-controller-manager"
)

// kind returns what is known of the kind of the upstream object, or else of what lies where the copy goes.
func (in Input) kind() *kinds.Kind {
	obj := in.Upstream
	if obj == nil {
		obj = in.Downstream
	}
	if obj == nil {
		return &kinds.Kind{}
	}
	return in.Settings.Kinds.Of(obj.GroupVersionKind().GroupKind())
}

// isScaledElsewhere reports whether somebody on the cluster decides how many replicas the copy has: whoever has set the number
// through the scale subresource, and taken the field from us by that. An autoscaler does for as long as it is there. A person
// does for as long as the number is not that of kcp: who sets it to what kcp says gives it back, and from then on the field is
// ours as well. Nobody does while kcp, or the cluster's share, says zero. A zero that a scaler of the cluster has set stands: it
// owns the field then, and we do not. whole is the upstream object with all that it has.
func isScaledElsewhere(in Input, whole *unstructured.Unstructured) bool {
	field := in.kind().Replicas
	if in.Downstream == nil || len(field) == 0 {
		return false
	}
	scalers := slices.DeleteFunc(in.Downstream.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool { return entry.Subresource != ScaleSubresource })
	wanted, found := field.Int64In(whole.Object)
	if share, divided, err := protocol.Read(in.Upstream).Share(in.Origin.Cluster); divided {
		wanted, found = share, err == nil
	}
	if len(scalers) == 0 || !found || wanted == 0 || transform.Owns(in.Downstream, pathOf(field)) {
		return false
	}
	replicas, _ := field.Int64In(in.Downstream.Object)
	return slices.ContainsFunc(scalers, func(entry metav1.ManagedFieldsEntry) bool {
		// The entry of an autoscaler that is gone stays.
		return ownsField(entry, field) && (in.HasAutoscaler || entry.Manager != autoscalerManager && replicas != wanted)
	})
}

func ownsField(entry metav1.ManagedFieldsEntry, field kinds.Path) bool {
	if entry.FieldsV1 == nil {
		return false
	}
	set := &fieldpath.Set{}
	if err := set.FromJSON(entry.FieldsV1.GetRawReader()); err != nil {
		return false // nobody's that we could name
	}
	return set.Has(pathOf(field))
}

func pathOf(field kinds.Path) fieldpath.Path {
	path := make(fieldpath.Path, 0, len(field))
	for _, name := range field {
		path = append(path, fieldpath.FieldNameElement(name))
	}
	return path
}

// hasRun reports whether the object (a Job) has come to its end here, as we have reported, or have seen and are about to report.
// When the user wants a changed one to replace the one that ran, that is run.
func hasRun(in Input) bool {
	kind := in.kind()
	if len(kind.Ends) == 0 {
		return false
	}
	said := protocol.Read(in.Upstream)
	report, err := said.Report(in.Origin.Cluster)
	var ran int64 // the generation that has run
	switch {
	case in.Final != nil && transform.SourceUID(in.Final) == in.Upstream.GetUID() && kind.HasEnded(in.Final):
		ran = transform.AppliedGeneration(in.Final)
	case err == nil && kind.ReportsEnd(report):
		ran = report.Generation
	default:
		return false
	}
	return !said.Replaces() || in.Upstream.GetGeneration() == ran
}
