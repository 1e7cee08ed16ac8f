package placement

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// NowhereAfter is how long an object that is no workload may go nowhere before it is told of: what it belongs to may come
// after it.
const NowhereAfter = time.Minute

// SayNowhere says, for people, that an object that is no workload goes nowhere, and what sends it to clusters.
func SayNowhere(obj *unstructured.Unstructured) string {
	kind := strings.ToLower(obj.GetKind())
	if group := obj.GroupVersionKind().Group; strings.Contains(group, ".") && !strings.HasSuffix(group, ".k8s.io") {
		kind += "." + group
	}
	return fmt.Sprintf("it is on no cluster: nothing that goes to one names it or is selected by it, and nothing else places it; "+
		"kubectl annotate -n %s %s/%s '%s=%s' sends it to every cluster, names of clusters in place of %s to those",
		obj.GetNamespace(), kind, obj.GetName(), v1alpha1.TargetClustersAnnotation, v1alpha1.AllClusters, v1alpha1.AllClusters)
}
