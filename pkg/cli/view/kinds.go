package view

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Kind is a kind of workloads.
type Kind struct {
	Kind     string
	Resource schema.GroupVersionResource
}

// job is a kind that is done some day: what is not done yet is not wrong.
const job = "Job"

// WorkloadKinds are the kinds of workloads, in the order in which they are shown.
var WorkloadKinds = []Kind{
	{"Deployment", schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}},
	{"StatefulSet", schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}},
	{"DaemonSet", schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}},
	{job, schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}},
	{"CronJob", schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "cronjobs"}},
}

// rankOf is a kind's place among those of workloads, -1 when it is none.
func rankOf(gvk schema.GroupVersionKind) int {
	return slices.IndexFunc(WorkloadKinds, func(k Kind) bool { return k.Kind == gvk.Kind && k.Resource.Group == gvk.Group })
}

// counting says what of a kind is counted on a cluster.
type counting struct {
	// available is the counter of what is as it should be.
	available string
	// wanted is how many there should be; nil when nobody knows yet.
	wanted func(obj *unstructured.Unstructured, share *int64, report v1alpha1.Report) *int64
}

// countings are those of the kinds that count something.
var countings = map[schema.GroupKind]counting{
	{Group: "apps", Kind: "Deployment"}:  {"availableReplicas", wantedReplicas},
	{Group: "apps", Kind: "StatefulSet"}: {"availableReplicas", wantedReplicas},
	{Group: "apps", Kind: "DaemonSet"}:   {"numberAvailable", wantedPods},
	{Group: "batch", Kind: job}:          {"succeeded", wantedCompletions},
}

// observers are the kinds whose controllers always write status.observedGeneration.
var observers = []schema.GroupKind{
	{Group: "apps", Kind: "Deployment"}, {Group: "apps", Kind: "StatefulSet"}, {Group: "apps", Kind: "DaemonSet"},
	{Group: "policy", Kind: "PodDisruptionBudget"},
}

// wantedReplicas is what the copy asks for; before there is one, the cluster's share,
// or what the object asks for.
func wantedReplicas(obj *unstructured.Unstructured, share *int64, report v1alpha1.Report) *int64 {
	switch {
	case report.Replicas != nil:
		return report.Replicas
	case share != nil:
		return share
	default:
		return new(specNumber(obj, "replicas"))
	}
}

// wantedPods is how many nodes of the cluster are to have a pod: the cluster says.
func wantedPods(_ *unstructured.Unstructured, _ *int64, report v1alpha1.Report) *int64 {
	if report.LocalGeneration == 0 {
		return nil
	}
	return new(report.Counters["desiredNumberScheduled"])
}

func wantedCompletions(obj *unstructured.Unstructured, _ *int64, _ v1alpha1.Report) *int64 {
	return new(specNumber(obj, "completions"))
}

// specNumber is a number of the spec, 1 when it is not given, as Kubernetes has it.
func specNumber(obj *unstructured.Unstructured, field string) int64 {
	number, found, err := unstructured.NestedInt64(obj.Object, "spec", field)
	if !found || err != nil {
		return 1
	}
	return number
}
