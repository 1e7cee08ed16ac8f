package aggregator

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// roomOfReport is how many bytes of annotations the first report of a cluster may take.
const roomOfReport = 1 << 10

// OnRefusal queues an object that kcp does not let the scheduler write to, or lets again, and what waits for it.
func (a *Aggregator) OnRefusal(key kcp.ObjectKey) {
	a.loop.Enqueue(key)
	if key.Resource == v1alpha1.NamespacesResource {
		a.config.Upstream.EachIn(key.Workspace, key.Name, func(inside kcp.ObjectKey, _ *unstructured.Unstructured) { a.loop.Enqueue(inside) })
		return
	}
	a.config.Inventory.EachDependent(key, func(dependent kcp.ObjectKey, _ *unstructured.Unstructured) { a.loop.Enqueue(dependent) })
}

// onStatusRefusal tells the user of an object whose status kcp does not let us write.
func (a *Aggregator) onStatusRefusal(key kcp.ObjectKey) {
	problem, _ := a.refusals.Problem(key)
	if upstreamObj := a.config.Upstream.Cached(key); upstreamObj != nil {
		a.config.Notices.Warn(key, upstreamObj, protocol.ReasonWriteRefused, problem.Message)
	}
}

// refused returns a problem where kcp does not take what tmc has to write on the object, or on what it is placed after, and where it
// would not take the report of a cluster.
func (a *Aggregator) refused(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) []protocol.Problem {
	var problems []protocol.Problem
	if problem, isRefused := a.config.Refusals.Problem(key); isRefused {
		problems = append(problems, problem)
	}
	problems = append(problems, a.waiting(key, upstreamObj)...)
	if problem, isFull := full(upstreamObj); isFull {
		problems = append(problems, problem)
	}
	return problems
}

// waiting returns a problem for each object that this one is placed after and that kcp does not let be placed where it is, or
// anywhere; and, where nobody has told of it yet why it is nowhere, for each that is nowhere itself.
func (a *Aggregator) waiting(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) []protocol.Problem {
	object := protocol.Read(upstreamObj)
	placed := object.Labelled()
	isUndecided := len(placed) == 0 && object.Placement().By == protocol.ByNobody && a.config.Kinds.IsWorkload(upstreamObj.GroupVersionKind().GroupKind())
	if !isUndecided && a.config.Refusals.IsEmpty() {
		return nil
	}
	var problems []protocol.Problem
	namespace := kcp.ObjectKey{Workspace: key.Workspace, Resource: v1alpha1.NamespacesResource, Name: key.Namespace}
	if problem, isRefused := a.config.Refusals.Problem(namespace); isRefused {
		problems = append(problems, waits("its namespace", problem))
	}
	for _, need := range a.config.Inventory.Needs(key, upstreamObj) {
		if need.Object == nil || isOnAll(need.Object, placed) {
			continue
		}
		what := fmt.Sprintf("%s %q", need.Key.Resource.Resource, need.Key.Name)
		if problem, isRefused := a.config.Refusals.Problem(need.Key); isRefused {
			problems = append(problems, waits(what, problem))
		} else if isUndecided {
			problems = append(problems, protocol.Problem{Reason: protocol.ReasonWaiting, Message: fmt.Sprintf("it is placed after %s, which is on no cluster yet", what)})
		}
	}
	return problems
}

func waits(what string, problem protocol.Problem) protocol.Problem {
	return protocol.Problem{Reason: protocol.ReasonWaiting, Message: fmt.Sprintf("it is placed after %s: %s", what, problem.Message)}
}

// isOnAll reports whether an object is on all of some clusters, and on any at all.
func isOnAll(upstreamObj *unstructured.Unstructured, clusters []string) bool {
	object := protocol.Read(upstreamObj)
	for _, cluster := range clusters {
		if !object.IsLabelled(cluster) {
			return false
		}
	}
	return len(clusters) > 0 || len(object.Labelled()) > 0
}

// full returns a problem where a cluster has not reported and the annotations of the object have no room for that.
func full(upstreamObj *unstructured.Unstructured) (problem protocol.Problem, isFull bool) {
	object := protocol.Read(upstreamObj)
	isSilent := false
	for _, cluster := range object.Placed() {
		_, reported := object.EncodedReport(cluster)
		isSilent = isSilent || !reported
	}
	if !isSilent {
		return protocol.Problem{}, false
	}
	size := 0
	for name, value := range upstreamObj.GetAnnotations() {
		size += len(name) + len(value)
	}
	if size+roomOfReport <= validation.TotalAnnotationSizeLimitB {
		return protocol.Problem{}, false
	}
	return protocol.Problem{Reason: protocol.ReasonFull, Message: fmt.Sprintf(
		"its annotations take %d of the %d bytes that there may be, and the reports of its clusters have no room: shorten them (kubectl apply keeps the whole manifest in one: apply it with --server-side)",
		size, validation.TotalAnnotationSizeLimitB)}, true
}
