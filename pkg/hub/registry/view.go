package registry

import (
	"slices"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/placement"
)

// view returns what placement knows of the cluster; the zero value of one that is not
// registered.
func (c *cluster) view() placement.Cluster {
	if c.registration == nil {
		return placement.Cluster{}
	}
	spec, status := c.registration.Spec, c.registration.Status
	return placement.Cluster{
		Name:              c.registration.Name,
		Export:            spec.ExportFor(c.registration.Name),
		Groups:            c.registration.IsolationGroups(),
		Resources:         c.resources,
		Location:          spec.Location,
		Labels:            c.registration.Labels,
		Taints:            c.taints(),
		Ready:             c.readiness.status == metav1.ConditionTrue,
		Draining:          spec.Drain || c.registration.DeletionTimestamp != nil,
		AllowedWorkspaces: spec.AllowedWorkspaces,
		Allocatable:       status.Allocatable,
		Requested:         status.Requested,
	}
}

// taints returns the taints that people have put on the cluster, each with a time, and
// those that follow from its registration.
func (c *cluster) taints() []v1alpha1.Taint {
	taints := slices.Clone(c.registration.Spec.Taints)
	for i, taint := range taints {
		if taint.TimeAdded == nil {
			taints[i].TimeAdded = &metav1.Time{Time: c.taintedSince[taintKey(taint)]}
		}
	}
	if c.registration.Spec.Unschedulable {
		taints = append(taints, v1alpha1.Taint{Key: v1alpha1.TaintUnschedulable, Effect: v1alpha1.TaintNoSchedule, TimeAdded: &metav1.Time{}})
	}
	if c.readiness.status != metav1.ConditionTrue {
		taints = append(taints, v1alpha1.Taint{
			Key: v1alpha1.TaintUnreachable, Effect: v1alpha1.TaintNoExecute, TimeAdded: &metav1.Time{Time: c.silentSince},
		})
	}
	return taints
}

// noteTaints remembers when taints without a time were first seen.
func (c *cluster) noteTaints(now time.Time) {
	seen := map[string]time.Time{}
	if c.registration != nil {
		for _, taint := range c.registration.Spec.Taints {
			key := taintKey(taint)
			if seen[key] = c.taintedSince[key]; seen[key].IsZero() {
				seen[key] = now
			}
		}
	}
	c.taintedSince = seen
}

func taintKey(taint v1alpha1.Taint) string {
	return taint.Key + "=" + taint.Value + ":" + string(taint.Effect)
}

// isNew tells of a cluster that nothing has been said of yet.
func (c *cluster) isNew() bool {
	return c.registration == nil || len(c.registration.Status.Conditions) == 0
}

// sameForPlacement reports whether two views of a cluster are one to those that place
// and merge: its load moves all the time, and moves nothing.
func sameForPlacement(a, b placement.Cluster) bool {
	a.Allocatable, a.Requested, b.Allocatable, b.Requested = nil, nil, nil, nil
	return apiequality.Semantic.DeepEqual(a, b)
}
