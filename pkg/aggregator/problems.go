package aggregator

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// tellProblems records an event for each problem that a cluster has come to report of
// an object. Syncers do not do so themselves: kcp cannot let an account create events
// through a virtual workspace without letting it create everything there.
func (a *Aggregator) tellProblems(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) {
	var found []kcp.Notice
	for _, cluster := range v1alpha1.PlacedClusters(upstreamObj.GetLabels()) {
		report, err := v1alpha1.ParseReport(cluster, upstreamObj.GetAnnotations()[v1alpha1.StatusAnnotation(cluster)])
		if err != nil {
			continue // there is none yet, or the status says what is wrong with it
		}
		for _, problem := range report.Problems {
			found = append(found, kcp.Notice{Reason: problem.Reason, Message: "cluster " + cluster + ": " + problem.Message})
			a.tellConcerned(key, cluster, problem)
		}
	}
	a.notices.WarnOfAll(key, upstreamObj, found)
}

// tellConcerned tells of a problem on the object that it names besides the one that has
// it. A cluster has a say only about what is placed on it.
func (a *Aggregator) tellConcerned(key kcp.ObjectKey, cluster string, problem v1alpha1.Problem) {
	workspace, namespace, name, ok := v1alpha1.ParseObjectName(problem.Concerns)
	if !ok {
		return
	}
	concerned := kcp.ObjectKey{Workspace: logicalcluster.Name(workspace), Resource: key.Resource, Namespace: namespace, Name: name}
	obj := a.upstream.Cached(concerned)
	if obj == nil || obj.GetLabels()[v1alpha1.PlacementLabel(cluster)] != v1alpha1.PlacementLabelValue {
		return
	}
	a.notices.Warn(concerned, obj, problem.Reason, fmt.Sprintf(
		"cluster %s: %s/%s of workspace %s wants the place that the copy of this object has on the cluster; it is refused",
		cluster, key.Namespace, key.Name, key.Workspace))
}
