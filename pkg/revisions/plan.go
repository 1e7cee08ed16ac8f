package revisions

import (
	"cmp"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// Input is all that a plan depends on.
type Input struct {
	// Workload is a Deployment, StatefulSet or DaemonSet, slim or as kcp has it.
	Workload *unstructured.Unstructured
	// Revisions are those of its namespace that it controls, and those that nothing controls. Their order does not matter.
	Revisions []*Revision
	// MayCreate is set where the workload may get revisions: it is placed.
	MayCreate bool
	// MayFall is set when the numbers of the present revision have been too high for long enough to be lowered: see Plan.Falls.
	MayFall bool
}

// Plan is what is to be done for the revisions of a workload.
type Plan struct {
	// Create is the revision that the workload lacks, nil where it has one: see Make.
	Create *Creation
	// Changes are those of revisions that there are.
	Changes []Change
	// Release are the revisions that are to be nobody's any more: the workload is being deleted without them.
	Release []*Revision
	// Delete are the revisions beyond the limit of the history, oldest first.
	Delete []*Revision
	// Annotation is the value that the workload's annotation RevisionAnnotation is to have, empty where it is to stay as it is.
	Annotation string
	// Falls is set while the numbers of the present revision are higher than what there is, and are not lowered yet. Settled says
	// which of two times that may last.
	Falls, Settled bool
	// Waits is set while a revision of the workload's template is being deleted: the next one would have its name.
	Waits bool
	// IsEarly is set where Create is the first ReplicaSet of a Deployment whose roll-out is under way: it has no numbers yet, and there is
	// nothing to go back to.
	IsEarly bool
}

// RevisionAnnotation is the annotation of a Deployment that says which revision it is at.
const RevisionAnnotation = revisionAnnotation

// IsEmpty reports whether there is nothing to write.
func (p Plan) IsEmpty() bool {
	return p.Create == nil && len(p.Changes) == 0 && len(p.Release) == 0 && len(p.Delete) == 0 && p.Annotation == ""
}

// Evaluate returns what is to be done for the revisions of a workload. For one whose template cannot be compared, that is nothing. Of
// one that is being deleted, kcp's garbage collector deletes them.
//
// What it cannot do is to leave them behind (--cascade=orphan): it takes away their owner by a strategic merge patch, which kcp merges
// wrongly for kinds that are bound, and refuses. The workload would stay for ever.
func Evaluate(in Input) Plan {
	digest := DigestOf(in.Workload)
	switch {
	case in.Workload.GetDeletionTimestamp() != nil:
		return release(in)
	case digest == "":
		return Plan{}
	}
	e := &evaluation{in: in, isDeployment: in.Workload.GetKind() == deploymentKind, state: stateOf(in.Workload), changes: map[*Revision]*Change{}}
	e.collect()
	e.findPresent(digest)
	e.evaluate()
	slices.SortFunc(e.plan.Changes, func(a, b Change) int {
		if (a.Of == e.present) != (b.Of == e.present) {
			return map[bool]int{true: -1, false: 1}[a.Of == e.present] // so that their sum is never too low
		}
		return cmp.Compare(a.Of.Name, b.Of.Name)
	})
	return e.plan
}

// IsLeaving reports whether a workload is being deleted and leaves its revisions behind.
func IsLeaving(workload *unstructured.Unstructured) bool {
	return workload.GetDeletionTimestamp() != nil && slices.Contains(workload.GetFinalizers(), metav1.FinalizerOrphanDependents)
}

func release(in Input) Plan {
	var plan Plan
	for _, revision := range in.Revisions {
		if IsLeaving(in.Workload) && revision.Owner == in.Workload.GetUID() && !revision.IsDeleting {
			plan.Release = append(plan.Release, revision)
		}
	}
	return plan
}

// evaluation is an evaluation under way.
type evaluation struct {
	in           Input
	isDeployment bool
	state        state
	// owned are the revisions that the workload has, or adopts; present is the one of its template, nil where there is none, and old
	// are the others, by number.
	owned, old []*Revision
	present    *Revision
	changes    map[*Revision]*Change
	plan       Plan
}

// collect finds the revisions of the workload. It adopts those without a controller that its selector selects, as the controllers of
// Kubernetes do: such are left by `kubectl delete --cascade=orphan`.
func (e *evaluation) collect() {
	uid := e.in.Workload.GetUID()
	var selector labels.Selector
	for _, revision := range e.in.Revisions {
		switch {
		case revision.Owner == uid:
			e.owned = append(e.owned, revision)
		case revision.Orphan != nil && !revision.IsDeleting:
			if selector == nil {
				selector = selectorOf(e.in.Workload)
			}
			if selector.Matches(labels.Set(revision.Orphan.Labels)) {
				e.owned = append(e.owned, revision)
				e.change(revision).adopts = e.in.Workload
			}
		}
	}
}

// selectorOf returns the selector of a workload, and one that selects nothing where it has none.
func selectorOf(workload *unstructured.Unstructured) labels.Selector {
	content, _, _ := unstructured.NestedMap(workload.Object, "spec", "selector")
	read := &metav1.LabelSelector{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, read); err != nil {
		return labels.Nothing()
	}
	selector, err := metav1.LabelSelectorAsSelector(read)
	if err != nil || selector.Empty() {
		return labels.Nothing()
	}
	return selector
}

// findPresent finds the revision of the workload's template. Where there are several, the deployment controller takes the oldest one,
// the others take the latest.
func (e *evaluation) findPresent(digest string) {
	sorted := slices.SortedFunc(slices.Values(e.owned), func(a, b *Revision) int {
		if e.isDeployment {
			return cmp.Or(a.Created.Compare(b.Created.Time), cmp.Compare(a.Name, b.Name))
		}
		return cmp.Or(cmp.Compare(b.Number, a.Number), b.Created.Compare(a.Created.Time), cmp.Compare(a.Name, b.Name))
	})
	for _, revision := range sorted {
		if revision.Digest != digest {
			continue
		}
		if revision.IsDeleting {
			e.plan.Waits = true
		} else if e.present == nil {
			e.present = revision
		}
	}
	for _, revision := range e.owned {
		if revision != e.present {
			e.old = append(e.old, revision)
		}
	}
	slices.SortFunc(e.old, func(a, b *Revision) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), a.Created.Compare(b.Created.Time), cmp.Compare(a.Name, b.Name))
	})
}

// next is the number of the revision that comes after all others.
func (e *evaluation) next() int64 {
	if len(e.old) == 0 {
		return 1
	}
	return e.old[len(e.old)-1].Number + 1
}

func (e *evaluation) evaluate() {
	switch {
	case e.present != nil:
		e.keep()
	case e.plan.Waits:
		return
	case e.in.MayCreate && !e.state.isPaused:
		e.create()
	}
	e.clean()
	if e.isDeployment {
		e.count()
	}
	for _, change := range e.changes {
		if !change.isEmpty() && !slices.Contains(e.plan.Delete, change.Of) {
			e.plan.Changes = append(e.plan.Changes, *change)
		}
	}
}

// create has a revision be made of the present template. The first one of a Deployment may wait until its roll-out has ended.
func (e *evaluation) create() {
	e.plan.Create = &Creation{Number: e.next()}
	if !e.isDeployment {
		return
	}
	e.plan.Create.Numbers = e.state.numbers(Numbers{})
	e.plan.IsEarly = len(e.old) == 0 && !e.state.isComplete && !e.state.hasFailed
	e.annotate(e.plan.Create.Number)
}

// keep brings the present revision up to date: its number is the highest one, and a ReplicaSet has what it copies from its Deployment.
func (e *evaluation) keep() {
	change := e.change(e.present)
	if next := e.next(); e.present.Number < next {
		change.setNumber(next, e.isDeployment)
	}
	if !e.isDeployment {
		return
	}
	change.copyFrom(e.in.Workload)
	e.annotate(change.number)
}

// annotate has the Deployment say which revision it is at.
func (e *evaluation) annotate(number int64) {
	value := strconv.FormatInt(number, 10)
	if e.in.Workload.GetAnnotations()[revisionAnnotation] != value {
		e.plan.Annotation = value
	}
}

// clean deletes the oldest revisions beyond the limit. Those that pods may be of do not count: of a Deployment, as long as it rolls
// out; of others, the last one before the present.
func (e *evaluation) clean() {
	if e.isDeployment && !e.state.isComplete && !e.state.isPaused {
		return
	}
	history := slices.DeleteFunc(slices.Clone(e.old), func(revision *Revision) bool { return revision.IsDeleting })
	if !e.isDeployment && !e.state.isComplete && len(history) > 0 {
		history = history[:len(history)-1]
	}
	beyond := max(len(history)-limitOf(e.in.Workload), 0)
	for _, revision := range history[:beyond] {
		if !e.isDeployment || e.state.isComplete || revision.Numbers == (Numbers{}) {
			e.plan.Delete = append(e.plan.Delete, revision)
		}
	}
}

// limitOf returns how many revisions a workload keeps beside the present one. The API server's default is 10, and it takes no number
// below 0.
func limitOf(workload *unstructured.Unstructured) int {
	if limit, isSet, _ := unstructured.NestedInt64(workload.Object, "spec", "revisionHistoryLimit"); isSet {
		return int(max(limit, 0))
	}
	return 10
}

// count sets the numbers of ReplicaSets. When a roll-out has ended, nothing is left but the present one.
func (e *evaluation) count() {
	if e.present == nil {
		return
	}
	numbers := e.state.numbers(e.present.Numbers)
	if numbers.isLower(e.present.Numbers) && !e.in.MayFall {
		e.plan.Falls, e.plan.Settled = true, e.state.isComplete
		numbers = numbers.atLeast(e.present.Numbers)
	}
	e.change(e.present).setNumbers(numbers)
	if !e.state.isComplete && !e.state.hasFailed {
		return
	}
	left := e.state.left()
	for _, revision := range slices.Backward(e.old) {
		remaining := revision.Numbers.atMost(left)
		left = left.less(remaining)
		e.change(revision).setNumbers(remaining)
	}
}

// change returns the change of a revision, with nothing in it at first.
func (e *evaluation) change(revision *Revision) *Change {
	if e.changes[revision] == nil {
		e.changes[revision] = newChange(revision)
	}
	return e.changes[revision]
}
