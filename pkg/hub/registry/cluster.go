package registry

import (
	"slices"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/placement"
)

// cluster is what is known of one cluster.
type cluster struct {
	// registration is nil when there is none: a Lease may come first.
	registration *v1alpha1.ClusterRegistration
	// resources are those that its registration says it serves.
	resources sets.Set[string]
	// renewed is the renewTime of its Lease, by the cluster's clock; nil when there is none.
	renewed *metav1.MicroTime
	// heard is when, by our clock, the Lease was seen to be renewed.
	heard time.Time
	// mayBeOld is set when the Lease was there before we watched: it may have been renewed
	// long ago.
	mayBeOld bool
	// readiness is the latest; silentSince is from when it was not True.
	readiness   readiness
	silentSince time.Time
	// taintedSince is, for each taint, when it was first seen. It counts for one without a time, and for one whose time is later:
	// whoever wrote that has another clock.
	taintedSince map[string]time.Time
}

// Reasons of the Ready condition.
const (
	reasonHeard      = "HeartbeatReceived"
	reasonNeverHeard = "NeverHeard"
	reasonSilent     = "Silent"
)

// readiness is the Ready condition of a cluster.
type readiness struct {
	status  metav1.ConditionStatus
	reason  string
	message string
}

var neverHeard = readiness{metav1.ConditionUnknown, reasonNeverHeard, "its syncer has not been heard of yet"}

// evaluate returns whether a cluster sends heartbeats, and after how long to evaluate it
// again, 0 for not before the next heartbeat. A Lease that was there before we watched counts
// as renewed when we first saw it, unless the last hub had found the cluster silent. If our
// watch failed, a cluster that was ready gets silentAfter from then on: do not treat missing
// heartbeats as cluster silence.
func (c *cluster) evaluate(watchFailed, now time.Time, silentAfter time.Duration) (readiness, time.Duration) {
	if c.renewed == nil {
		return neverHeard, 0
	}
	wasReady := c.readiness.status == metav1.ConditionTrue
	heard := c.heard
	if wasReady && watchFailed.After(heard) {
		heard = watchFailed
	}
	isNew := c.registration == nil || len(c.registration.Status.Conditions) == 0
	wasFoundSilent := c.mayBeOld && !wasReady && !isNew
	left := silentAfter - now.Sub(heard)
	if wasFoundSilent || left <= 0 {
		// The time is the cluster's own: it does not change while the cluster is silent.
		return readiness{metav1.ConditionUnknown, reasonSilent, "silent since " + c.renewed.UTC().Format(time.RFC3339)}, 0
	}
	return readiness{metav1.ConditionTrue, reasonHeard, "its syncer sends heartbeats"}, left
}

// register takes note of a registration, nil when it has gone. That of a cluster that is new
// to us says what the last hub found.
func (c *cluster) register(registration *v1alpha1.ClusterRegistration, now time.Time) {
	isNew := registration != nil && (c.registration == nil || c.registration.UID != registration.UID)
	c.registration, c.resources = registration, nil
	seen := map[string]time.Time{}
	if registration != nil {
		c.resources = sets.New(registration.Status.Resources...)
		for _, taint := range registration.Spec.Taints {
			key := taintKey(taint)
			if seen[key] = c.taintedSince[key]; seen[key].IsZero() {
				seen[key] = now
			}
		}
	}
	c.taintedSince = seen
	if !isNew {
		return
	}
	c.readiness, c.silentSince = neverHeard, time.Time{}
	if stored := apimeta.FindStatusCondition(registration.Status.Conditions, v1alpha1.ConditionReady); stored != nil {
		c.readiness = readiness{stored.Status, stored.Reason, stored.Message}
		if stored.Status != metav1.ConditionTrue {
			// The clock of the hub that wrote it may be ahead of ours.
			c.silentSince = controller.NotAfter(stored.LastTransitionTime.Time, now)
		}
	}
}

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
		Provides:          spec.ProvidedByCluster,
		Allocatable:       status.Allocatable,
		Requested:         status.Requested,
	}
}

// taints returns the taints that people have put on the cluster, each with a time, and
// those that follow from its registration.
func (c *cluster) taints() []v1alpha1.Taint {
	taints := slices.Clone(c.registration.Spec.Taints)
	for i, taint := range taints {
		seen := c.taintedSince[taintKey(taint)]
		if taint.TimeAdded != nil {
			seen = controller.NotAfter(taint.TimeAdded.Time, seen)
		}
		taints[i].TimeAdded = &metav1.Time{Time: seen}
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

func taintKey(taint v1alpha1.Taint) string {
	return taint.Key + "=" + taint.Value + ":" + string(taint.Effect)
}

// sameForPlacement reports whether two views of a cluster are the same to placing and
// merging. Its load changes all the time, and has nothing placed again.
func sameForPlacement(a, b placement.Cluster) bool {
	a.Allocatable, a.Requested, b.Allocatable, b.Requested = nil, nil, nil, nil
	return apiequality.Semantic.DeepEqual(a, b)
}

// sameCapacity reports whether two views of a cluster have the same capacity, and the same of it taken.
func sameCapacity(a, b placement.Cluster) bool {
	return apiequality.Semantic.DeepEqual(a.Allocatable, b.Allocatable) && apiequality.Semantic.DeepEqual(a.Requested, b.Requested)
}
