package evaluate

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/causes"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

const (
	// settling is how long a copy may be less ready than it should be before anybody asks why, and settlingRun the same of a
	// CronJob of which a run is under way: nearly all become ready by themselves.
	settling    = 750 * time.Millisecond
	settlingRun = 10 * time.Second
	// failedCreate is the reason of a condition that pods cannot be made.
	failedCreate = "FailedCreate"
)

// Unready is a copy that is not as ready as it should be.
type Unready struct {
	// Subject is what is asked about it, Own what its own conditions say.
	Subject causes.Subject
	Own     causes.Own
	// Lasting is set while what was found about it stays true although it may not be found any more: the pods of a Job that has
	// failed, or of the last run of a CronJob, may be gone.
	Lasting bool
}

// Unready returns the copy as one to be asked about, nil when its own status says that it is as ready as it should be, and when
// there is nobody to ask.
func (e *Evaluation) Unready() *Unready {
	switch {
	case e.Downstream == nil && e.Reported() != nil:
		return &Unready{Subject: causes.Subject{Ended: true}, Lasting: true} // a Job that has run and is gone
	case e.Downstream == nil, !e.IsOurs(e.Downstream), e.Downstream.GetDeletionTimestamp() != nil:
		return nil
	default:
		return e.unreadyCopy(e.kind())
	}
}

// unreadyCopy is Unready of a copy that is there.
func (e *Evaluation) unreadyCopy(kind *kinds.Kind) *Unready {
	switch {
	case kind.Phase != nil && len(kind.BoundTo) > 0:
		return e.unboundClaim(kind)
	case kind.PodsBy == kinds.PodsByJobs:
		return e.lastRun()
	case len(kind.Completions) > 0:
		return e.unfinished(kind)
	case len(kind.Replicas) > 0 || kind.Wanted != "":
		return e.lacking(kind)
	default:
		return nil
	}
}

// subject returns what all subjects have.
func (e *Evaluation) subject() causes.Subject {
	return causes.Subject{Namespace: e.Downstream.GetNamespace(), Name: e.Downstream.GetName(), UID: e.Downstream.GetUID(), PodsBy: e.kind().PodsBy, Settling: settling}
}

// unboundClaim is a claim that has no volume.
func (e *Evaluation) unboundClaim(kind *kinds.Kind) *Unready {
	phase, _, _ := unstructured.NestedString(e.Downstream.Object, "status", kind.Phase.Field)
	if phase == kind.Phase.Everywhere {
		return nil
	}
	subject := e.subject()
	subject.IsClaim = true
	return &Unready{Subject: subject}
}

// lacking is a copy that has less replicas than it asks for, or not all of the present spec.
func (e *Evaluation) lacking(kind *kinds.Kind) *Unready {
	wants := kind.CopyWants(e.Downstream)
	if wants == 0 || !e.lacks(kind, wants) {
		return nil
	}
	subject := e.subject()
	subject.Selector = e.selector()
	if wants != math.MaxInt64 {
		subject.Wanted = wants
	}
	own := e.own(kind)
	if subject.Selector == "" && len(own) == 0 {
		return nil
	}
	subject.SaysFailedCreate = slices.ContainsFunc(own, func(c protocol.Cause) bool { return c.Reason == failedCreate })
	return &Unready{Subject: subject, Own: own}
}

// lacks reports whether the copy has less than it wants of what its kind counts.
func (e *Evaluation) lacks(kind *kinds.Kind, wants int64) bool {
	status, _ := e.Downstream.Object["status"].(map[string]any)
	if _, isCounted := status[kind.Available]; !isCounted && !kind.IsKnown() {
		return false // it may have no such counter
	}
	if kind.CopyHas(e.Downstream) < wants {
		return true
	}
	if missing, _ := status[kind.Lacking].(int64); missing > 0 {
		return true // the one pod of before serves, and the one beside it that is to replace it does not become ready
	}
	return !e.leavesOld() && slices.ContainsFunc(kind.Updated, func(counter string) bool {
		count, _ := status[counter].(int64)
		return count < wants
	})
}

// leavesOld reports whether replicas of an earlier spec are there because the user wants that.
func (e *Evaluation) leavesOld() bool {
	whole, err := transform.Whole(e.Upstream)
	if err != nil {
		return false // nothing is made of it either
	}
	spec, _ := whole.Object["spec"].(map[string]any)
	if isPaused, _ := spec["paused"].(bool); isPaused || e.kind().PartitionOf(whole) != nil {
		return true
	}
	strategy, _, _ := unstructured.NestedString(spec, "updateStrategy", "type")
	return strategy == "OnDelete"
}

// unfinished is a Job that has failed, or of which a try has failed, or of which pods are not ready.
func (e *Evaluation) unfinished(kind *kinds.Kind) *Unready {
	status, _ := e.Downstream.Object["status"].(map[string]any)
	count := func(name string) int64 {
		number, _ := status[name].(int64)
		return number
	}
	own := e.own(kind)
	hasEnded := kind.HasEnded(e.Downstream)
	isSuspended, _, _ := unstructured.NestedBool(e.Downstream.Object, "spec", "suspend")
	switch {
	case hasEnded && len(own) == 0, isSuspended:
		return nil
	case !hasEnded && count("failed") == 0 && count("active") > 0 && count("ready") >= count("active"):
		return nil
	}
	subject := e.subject()
	subject.Ended, subject.Wanted = hasEnded, numberIn(e.Downstream, 1, "spec", "parallelism")
	subject.Selector = batchv1.ControllerUidLabel + "=" + string(subject.UID)
	if isManual, _, _ := unstructured.NestedBool(e.Downstream.Object, "spec", "manualSelector"); isManual {
		subject.Selector = e.selector()
	}
	return &Unready{Subject: subject, Own: own, Lasting: hasEnded}
}

// lastRun is a CronJob with a run that is under way, or the last run of which has not succeeded.
func (e *Evaluation) lastRun() *Unready {
	status, _ := e.Downstream.Object["status"].(map[string]any)
	active, _ := status["active"].([]any)
	scheduled, _ := status["lastScheduleTime"].(string)
	succeeded, _ := status["lastSuccessfulTime"].(string)
	if scheduled == "" || len(active) == 0 && succeeded >= scheduled { // RFC 3339 in UTC: these times sort as they are
		return nil
	}
	var uids []string
	for _, entry := range active {
		job, _ := entry.(map[string]any)
		if uid, _ := job["uid"].(string); uid != "" {
			uids = append(uids, uid)
		}
	}
	slices.Sort(uids)
	subject := e.subject()
	subject.Settling, subject.Ended = settlingRun, len(uids) == 0
	if len(uids) > 0 {
		subject.Selector = fmt.Sprintf("%s in (%s)", batchv1.ControllerUidLabel, strings.Join(uids, ","))
	}
	return &Unready{Subject: subject, Lasting: succeeded < scheduled}
}

// own returns what the copy's conditions say that are failures while they are true, without those that say it beforehand.
func (e *Evaluation) own(kind *kinds.Kind) causes.Own {
	status, _ := e.Downstream.Object["status"].(map[string]any)
	var own causes.Own
	for _, c := range conditionsOf(status) {
		meaning := kind.Condition(c.Type)
		if meaning.Meaning != kinds.Bad || !meaning.Failure || c.Status != metav1.ConditionTrue {
			continue
		}
		cause := protocol.Cause{Reason: c.Reason, Message: causes.Create(c.Message)}
		if !slices.Contains(own, cause) {
			own = append(own, cause)
		}
	}
	return own
}

// selector returns the label selector of the copy's pods, empty when it has none. It is that of the object that the copy is made
// of: the cache of the cluster leaves it out.
func (e *Evaluation) selector() string {
	from := e.Desired
	if from == nil {
		whole, err := transform.Whole(e.Upstream)
		if err != nil {
			return "" // nothing is made of it either
		}
		from = whole
	}
	fields, isMap, _ := unstructured.NestedMap(from.Object, "spec", "selector")
	if !isMap {
		text, _, _ := unstructured.NestedString(e.Downstream.Object, "status", "selector")
		return text // as kinds with a scale subresource have it
	}
	selector := metav1.LabelSelector{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &selector); err != nil {
		return ""
	}
	parsed, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil || parsed.Empty() {
		return ""
	}
	return parsed.String()
}

// numberIn returns an integer of an object, or what Kubernetes has where there is none.
func numberIn(obj *unstructured.Unstructured, otherwise int64, path ...string) int64 {
	if number, found, err := unstructured.NestedInt64(obj.Object, path...); found && err == nil {
		return number
	}
	return otherwise
}
