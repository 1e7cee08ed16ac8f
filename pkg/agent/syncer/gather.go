package syncer

import (
	"errors"
	"fmt"
	"math"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// Reasons of the problems that keep a copy from being made.
const (
	reasonBadOverride = "InvalidOverride"
	reasonBadShare    = "InvalidShare"
	reasonNotServed   = "NotServed"
	reasonDenied      = "NamespaceDenied"
	reasonNeverSynced = "NeverSynced"
	reasonDependency  = "DependencyNotReady"
)

// gather reads both sides from the caches.
func (s *Syncer) gather(key kcp.ObjectKey) (state, error) {
	st, err := s.gatherAlone(key)
	if err != nil || st.upstreamObj == nil || !isPlaced(st.upstreamObj, s.cluster) {
		return st, err
	}
	remembered := s.memories.get(key)
	st.settled = isSettled(st, remembered)
	st.final = remembered.final
	st.hasRun = hasRun(st)
	st.settled = st.settled || st.hasRun && isAsApplied(st)
	if why := s.copies.lacks(key.Resource); why != "" {
		st.broken = &v1alpha1.Problem{Reason: reasonNotServed, Message: why}
	}
	st.mayClear = s.mayClear(st)
	if !stands(st) {
		st.needs = s.needsOf(key, st)
	}
	return st, nil
}

// gatherAlone is gather without what other keys and earlier turns have to say.
func (s *Syncer) gatherAlone(key kcp.ObjectKey) (state, error) {
	rule := s.rule.Load()
	st := state{origin: s.originOf(key), upstreamObj: s.upstream.Cached(key), separates: rule.SeparatesWorkspaces()}
	st.namespace, st.name = st.origin.Target(*rule)
	for _, downstreamObj := range s.copies.of(key.Resource, st.origin) {
		if downstreamObj.GetNamespace() != st.namespace || downstreamObj.GetName() != st.name {
			st.strays = append(st.strays, downstreamObj)
		}
	}
	st.downstreamObj = s.copies.at(key.Resource, st.namespace, st.name)
	if st.upstreamObj == nil || !isPlaced(st.upstreamObj, s.cluster) {
		return st, nil
	}
	return st, s.transform(key, &st, *rule)
}

func isSettled(st state, remembered memory) bool {
	return st.downstreamObj != nil && st.desired != nil &&
		remembered.settledHash == st.desired.GetAnnotations()[v1alpha1.AppliedHashAnnotation] &&
		remembered.settledState == transform.Fingerprint(st.downstreamObj)
}

// transform makes the desired copy, or says what is wrong with the share of the replicas
// or with the user's override, or that nothing may come into the namespace, or nothing of
// this workspace, or that such a thing is never synced.
func (s *Syncer) transform(key kcp.ObjectKey, st *state, rule v1alpha1.TransformRule) error {
	if why := s.denies(st.namespace); why != "" {
		st.broken = &v1alpha1.Problem{Reason: reasonDenied, Message: why}
		return nil
	}
	if s.checkAllowed(key, st); st.broken != nil {
		return nil
	}
	if s.checkTenancy(key, st); st.broken != nil {
		return nil
	}
	if _, _, bad := v1alpha1.Share(st.upstreamObj.GetAnnotations(), s.cluster); bad != nil {
		st.broken = &v1alpha1.Problem{Reason: reasonBadShare, Message: bad.Error()}
		return nil //nolint:nilerr // it is told to the user
	}
	desired, err := s.memories.desired(key, transform.Input{
		Object:       st.upstreamObj,
		Origin:       st.origin,
		Rule:         rule,
		OmitReplicas: s.isScaledElsewhere(*st),
		Kinds:        s.kinds,
	}, transform.Desired)
	if bad, ok := errors.AsType[*transform.OverrideError](err); ok {
		st.broken = &v1alpha1.Problem{Reason: reasonBadOverride, Message: truncate(bad.Error())}
		return nil
	}
	if never, ok := errors.AsType[*transform.NeverSyncedError](err); ok {
		st.broken = &v1alpha1.Problem{Reason: reasonNeverSynced, Message: never.Error()}
		return nil
	}
	if err != nil {
		return fmt.Errorf("transforming for cluster %s: %w", s.cluster, err)
	}
	st.desired = desired
	return nil
}

// denies says why nothing may come into a namespace of the cluster, empty when it may.
func (s *Syncer) denies(namespace string) string {
	if namespace == s.namespace {
		return fmt.Sprintf("namespace %s of the cluster is the syncer's own, and denied to what comes from kcp", namespace)
	}
	if pattern := transform.Matched(*s.denied.Load(), namespace); pattern != "" {
		return fmt.Sprintf("namespace %s of the cluster is denied to what comes from kcp (spec.deniedNamespaces of the cluster's registration: %s)", namespace, pattern)
	}
	return ""
}

func (s *Syncer) isScaledElsewhere(st state) bool {
	if st.downstreamObj == nil {
		return false
	}
	replicas, found := replicasFor(st.upstreamObj, s.cluster)
	return found && isScaledElsewhere(st.downstreamObj, replicas, s.copies.isScaled(st.downstreamObj))
}

// replicasFor returns how many replicas kcp wants of an object on the cluster, and
// whether it says so.
func replicasFor(upstreamObj *unstructured.Unstructured, cluster string) (replicas int64, found bool) {
	if share, divided, err := v1alpha1.Share(upstreamObj.GetAnnotations(), cluster); divided {
		return share, err == nil
	}
	replicas, found, err := unstructured.NestedInt64(upstreamObj.Object, "spec", "replicas")
	return replicas, found && err == nil
}

// hasRun tells of a Job whether it has come to its end here, as we have reported, or
// have seen and are about to report. When the user wants a changed Job to replace
// the one that ran, that is run.
func hasRun(st state) bool {
	if st.upstreamObj.GroupVersionKind().GroupKind() != job {
		return false
	}
	if st.final != nil && transform.SourceUID(st.final) == st.upstreamObj.GetUID() && hasEnded(st.final) {
		return !isReplacing(st.upstreamObj, transform.AppliedGeneration(st.final))
	}
	report, err := v1alpha1.ParseReport(st.origin.Cluster, st.upstreamObj.GetAnnotations()[v1alpha1.StatusAnnotation(st.origin.Cluster)])
	if err != nil {
		return false // we have reported nothing
	}
	return reportsEnd(report) && !isReplacing(st.upstreamObj, report.Generation)
}

var job = schema.GroupKind{Group: batchv1.GroupName, Kind: "Job"}

// jobEnds are the conditions of a Job that will do nothing more.
var jobEnds = []string{string(batchv1.JobComplete), string(batchv1.JobFailed)}

func reportsEnd(report v1alpha1.Report) bool {
	for _, conditionType := range jobEnds {
		if c, ok := report.Condition(conditionType); ok && string(c.Status) == string(corev1.ConditionTrue) {
			return true
		}
	}
	return false
}

// hasEnded tells of a copy whether it is a Job that will do nothing more.
func hasEnded(downstreamObj *unstructured.Unstructured) bool {
	if downstreamObj.GroupVersionKind().GroupKind() != job {
		return false
	}
	return reportsEnd(v1alpha1.Report{Conditions: conditionsOf(downstreamObj)})
}

// isAsApplied reports whether the user has changed nothing since the copy was applied:
// what remains is a change of the cluster's rule, which does not concern a Job that
// has run.
func isAsApplied(st state) bool {
	return st.downstreamObj != nil && !isNamesakes(st) &&
		transform.AppliedGeneration(st.downstreamObj) == st.upstreamObj.GetGeneration() &&
		st.downstreamObj.GetAnnotations()[v1alpha1.SourceInputsAnnotation] == transform.Inputs(st.upstreamObj, st.origin.Cluster)
}

// isReplacing reports whether the user wants what cannot be changed to be made anew,
// and there is something to change.
func isReplacing(upstreamObj *unstructured.Unstructured, applied int64) bool {
	return mayReplace(upstreamObj) && upstreamObj.GetGeneration() != applied
}

func mayReplace(upstreamObj *unstructured.Unstructured) bool {
	return upstreamObj.GetAnnotations()[v1alpha1.ReplaceAnnotation] == "true"
}

// mayClear reports whether the copies that lie where the object used to go can be
// removed, once the new one stands: a workload when the new one serves as well as
// they do, anything else when no workload of ours is left there to use it.
func (s *Syncer) mayClear(st state) bool {
	for _, stray := range st.strays {
		switch {
		case s.kinds.IsWorkload(stray.GroupVersionKind().GroupKind()):
			if !st.hasRun && !servesAs(st.downstreamObj, stray) {
				return false
			}
		case s.copies.hasWorkloads(stray.GetNamespace()):
			return false
		}
	}
	return true
}

// servesAs reports whether a workload has as many of the pods available that it is to
// have as its other copy has.
func servesAs(downstreamObj, stray *unstructured.Unstructured) bool {
	if downstreamObj == nil {
		return false
	}
	return available(downstreamObj) >= min(wanted(downstreamObj), available(stray))
}

// available returns how many pods of a workload serve; 0 for the kinds that end.
func available(downstreamObj *unstructured.Unstructured) int64 {
	return max(statusCount(downstreamObj, "availableReplicas"), statusCount(downstreamObj, "numberAvailable"))
}

// wanted returns how many pods a workload is to have.
func wanted(downstreamObj *unstructured.Unstructured) int64 {
	if replicas, found, err := unstructured.NestedInt64(downstreamObj.Object, "spec", "replicas"); found && err == nil {
		return replicas
	}
	if statusCount(downstreamObj, observedGeneration) < downstreamObj.GetGeneration() {
		return math.MaxInt64 // a DaemonSet whose controller has not counted its nodes yet
	}
	return statusCount(downstreamObj, "desiredNumberScheduled")
}

func statusCount(downstreamObj *unstructured.Unstructured, field string) int64 {
	count, _, _ := unstructured.NestedInt64(downstreamObj.Object, "status", field)
	return count
}
