package heartbeat

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/apis/quantity"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/controller"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

const (
	// reportRetry is after what time a report that could not be made is tried again.
	reportRetry = time.Second
	// servedInterval is how often the cluster is asked for its version and for what
	// it serves: both change when somebody changes the cluster.
	servedInterval = 5 * time.Minute
)

func isOfWorkloads(group, _ string) bool { return v1alpha1.IsReported(group) }

// report keeps what the registration's status says of the cluster until ctx ends.
func (a *Agent) report(ctx context.Context) {
	r := &reporter{
		unanswered: controller.Outage{Begins: "The cluster does not tell what it serves, will ask again", Ends: "The cluster tells again what it serves"},
		unwritten:  controller.Outage{Begins: "Cannot report to kcp how large the cluster is, will try again", Ends: "Reported to kcp again how large the cluster is"},
	}
	for {
		again := a.reportOnce(ctx, r)
		if !sleep(ctx, again) {
			return
		}
	}
}

// reporter is what report remembers.
type reporter struct {
	served served
	asked  time.Time
	// unanswered lasts while the cluster does not say what it serves, unwritten while kcp does
	// not take the report.
	unanswered, unwritten controller.Outage
}

// reportOnce reports when there is something to report, and returns after what time to call it
// again.
func (a *Agent) reportOnce(ctx context.Context, r *reporter) time.Duration {
	registration := a.ownRegistration()
	if registration == nil || !a.cluster.hasRead() {
		return reportRetry
	}
	a.ask(ctx, r)
	if r.asked.IsZero() {
		return reportRetry
	}
	status := statusOf(r.served, a.cluster.capacity(), a.config.Reports)
	status.Export = a.config.Export
	if !noticeable(registration.Status, status) {
		return a.config.StatusInterval
	}
	err := a.registration.patchStatus(ctx, registration, patchOf(status))
	switch {
	case ctx.Err() != nil:
	case apierrors.IsConflict(err), kcp.IsMissingObject(err, registration.Name):
		// It has just changed: report again, with what the cache has then.
	case err != nil:
		r.unwritten.Begin(ctx, err)
	default:
		r.unwritten.End(ctx)
		klog.FromContext(ctx).V(2).Info("Reported how large the cluster is", "version", status.KubernetesVersion, "nodes", status.Nodes)
		return a.config.StatusInterval
	}
	return reportRetry
}

// ownRegistration returns the registration, nil while it is not this cluster's.
func (a *Agent) ownRegistration() *v1alpha1.ClusterRegistration {
	registration, err := a.registration.cached(a.watched)
	if err != nil || decideClaim(registration, a.uid) != actWork {
		return nil // follow logs it
	}
	return registration
}

// ask asks the cluster what it serves, unless it did a short while ago. While the cluster does
// not answer, its last answer stays.
func (a *Agent) ask(ctx context.Context, r *reporter) {
	if !r.asked.IsZero() && time.Since(r.asked) < servedInterval {
		return
	}
	asking, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := a.cluster.discover(asking)
	switch {
	case err == nil:
		r.served, r.asked = answer, time.Now()
		r.unanswered.End(ctx)
	case ctx.Err() == nil:
		r.unanswered.Begin(ctx, err)
	}
}

// statusOf returns what is reported of a cluster, without its capacity when that is nil.
func statusOf(served served, capacity *capacity, reports func(group, resource string) bool) v1alpha1.ClusterRegistrationStatus {
	names := sets.New[string]()
	for _, resource := range served.resources {
		if reports(resource.Group, resource.Resource) {
			names.Insert(v1alpha1.ReportedResource(resource))
		}
	}
	status := v1alpha1.ClusterRegistrationStatus{KubernetesVersion: served.version, Resources: sets.List(names)}
	if capacity != nil {
		status.Nodes, status.Allocatable, status.Requested = capacity.nodes, capacity.allocatable, capacity.requested
	}
	return status
}

// noticeablePart is by which part of what is allocatable, one in so many, a quantity has to
// change to be reported: pods come and go.
const noticeablePart = 20

// noticeable reports whether the report of a cluster has changed so much that it is written.
func noticeable(was, is v1alpha1.ClusterRegistrationStatus) bool {
	return was.KubernetesVersion != is.KubernetesVersion || was.Nodes != is.Nodes || !slices.Equal(was.Resources, is.Resources) ||
		was.Export != is.Export || hasMoved(was.Allocatable, is.Allocatable, was.Allocatable) || hasMoved(was.Requested, is.Requested, is.Allocatable)
}

// hasMoved reports whether a quantity was added or removed, or has changed by a noticeable
// part of its whole.
func hasMoved(was, is, whole corev1.ResourceList) bool {
	if len(was) != len(is) {
		return true
	}
	for name, now := range is {
		before, known := was[name]
		if !known {
			return true
		}
		moved := amountOf(name, now) - amountOf(name, before)
		if moved != 0 && noticeablePart*max(moved, -moved) >= amountOf(name, whole[name]) {
			return true
		}
	}
	return false
}

func amountOf(name corev1.ResourceName, value resource.Quantity) float64 {
	return float64(quantity.Amount(name, value))
}

// statusPatch is what a report writes into a registration's status: neither the conditions
// nor the UID of the cluster. It removes what is not known.
type statusPatch struct {
	KubernetesVersion string              `json:"kubernetesVersion"`
	Nodes             *int32              `json:"nodes"`
	Allocatable       corev1.ResourceList `json:"allocatable"`
	Requested         corev1.ResourceList `json:"requested"`
	Resources         []string            `json:"resources"`
	Export            string              `json:"export,omitempty"`
}

func patchOf(status v1alpha1.ClusterRegistrationStatus) statusPatch {
	patch := statusPatch{
		KubernetesVersion: status.KubernetesVersion,
		Allocatable:       status.Allocatable, Requested: status.Requested, Resources: status.Resources,
		Export: status.Export,
	}
	if status.Allocatable != nil {
		patch.Nodes = &status.Nodes
	}
	return patch
}
