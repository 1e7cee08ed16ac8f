package syncer

import (
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// evaluation is what came of a user's override, and of what: a turn asks for it twice, and
// an override that fails is asked for every 30 s.
type evaluation struct {
	of evaluated
	// upstreamObj is the cached object that was evaluated last: as long as it is that, there
	// is nothing to compare.
	upstreamObj *unstructured.Unstructured
	// desired is not to be changed. It is nil when there is an error.
	desired *unstructured.Unstructured
	err     error
}

// evaluated is all that a copy depends on, its key aside.
type evaluated struct {
	uid        types.UID
	generation int64
	// resourceVersion is that of kinds without generations, empty for others.
	resourceVersion string
	// inputs stand for the labels, the annotations and the override.
	inputs       string
	rule         v1alpha1.TransformRule
	omitReplicas bool
}

// desired has the copy made, or remembers what came of it when the same object was asked for
// last, if it has an override for the cluster: those cost most, and are the user's.
func (m *memories) desired(key kcp.ObjectKey, in transform.Input, evaluate func(transform.Input) (*unstructured.Unstructured, error)) (*unstructured.Unstructured, error) {
	if _, overridden := in.Object.GetAnnotations()[v1alpha1.OverrideAnnotation(in.Origin.Cluster)]; !overridden {
		if m.get(key).evaluation != nil {
			m.update(key, func(entry *memory) { entry.evaluation = nil })
		}
		return evaluate(in)
	}
	last := m.get(key).evaluation
	if last != nil && last.upstreamObj == in.Object && last.of.omitReplicas == in.OmitReplicas && reflect.DeepEqual(last.of.rule, in.Rule) {
		return last.desired, last.err
	}
	now := &evaluation{of: evaluatedOf(in), upstreamObj: in.Object}
	if last != nil && reflect.DeepEqual(last.of, now.of) {
		now.desired, now.err = last.desired, last.err
	} else {
		now.desired, now.err = evaluate(in)
	}
	m.update(key, func(entry *memory) { entry.evaluation = now })
	return now.desired, now.err
}

func evaluatedOf(in transform.Input) evaluated {
	of := evaluated{
		uid: in.Object.GetUID(), generation: in.Object.GetGeneration(),
		inputs: transform.Inputs(in.Object, in.Origin.Cluster), rule: in.Rule, omitReplicas: in.OmitReplicas,
	}
	if of.generation == 0 {
		of.resourceVersion = in.Object.GetResourceVersion()
	}
	return of
}
