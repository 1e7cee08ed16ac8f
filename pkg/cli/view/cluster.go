package view

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kcp-tmc/tmc/pkg/apis/quantity"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Cluster is a registration and what is known of the cluster beside it.
type Cluster struct {
	v1alpha1.ClusterRegistration `json:",inline"`

	Summary ClusterSummary `json:"summary"`
}

// ClusterSummary is what is computed of a cluster.
type ClusterSummary struct {
	// Ready is the status of the condition Ready: True, False or Unknown.
	Ready string `json:"ready"`
	// Scheduling is Cordoned, Draining or Leaving, and empty when workloads may come.
	Scheduling string `json:"scheduling,omitempty"`
	// Isolation says what its syncer sees in kcp: Cluster, Shared, or Group/ and the name of the isolation group.
	Isolation string `json:"isolation"`
	// NamespaceMode is that of the rule in the registration, empty when there is none: a rule that the cluster's syncer has
	// from a file is not known here.
	NamespaceMode v1alpha1.NamespaceMode `json:"namespaceMode,omitempty"`
	// LastHeartbeat is when the cluster was last heard of, nil when it never was, or the caller may not know.
	LastHeartbeat *metav1.Time `json:"lastHeartbeat,omitempty"`
	// Workloads is how many workloads are placed there, nil when the caller may not know.
	Workloads *int `json:"workloads,omitempty"`

	// noHeartbeats is set when the caller may not know of heartbeats.
	noHeartbeats bool
}

// Known is what is known of a cluster beside its registration. What is nil as a whole the caller may not know.
type Known struct {
	// Heartbeats are when clusters were last heard of.
	Heartbeats map[string]time.Time
	// Workloads are how many workloads are placed on clusters.
	Workloads map[string]int
}

// ClusterOf puts together what is known of a cluster.
func ClusterOf(registration *v1alpha1.ClusterRegistration, known Known) Cluster {
	c := Cluster{ClusterRegistration: *registration}
	c.ManagedFields = nil
	c.Summary = ClusterSummary{Ready: ReadyOf(registration), Scheduling: schedulingOf(registration), Isolation: isolationOf(registration.Spec), noHeartbeats: known.Heartbeats == nil}
	if rule := registration.Spec.Transform; rule != nil {
		c.Summary.NamespaceMode = cmp.Or(rule.NamespaceMode, v1alpha1.NamespaceModeExclusive)
	}
	if heartbeat, heard := known.Heartbeats[registration.Name]; heard {
		c.Summary.LastHeartbeat = &metav1.Time{Time: heartbeat}
	}
	if known.Workloads != nil {
		c.Summary.Workloads = new(known.Workloads[registration.Name])
	}
	return c
}

// ReadyOf returns the status of a registration's condition Ready.
func ReadyOf(registration *v1alpha1.ClusterRegistration) string {
	condition := meta.FindStatusCondition(registration.Status.Conditions, v1alpha1.ConditionReady)
	if condition == nil {
		return string(metav1.ConditionUnknown)
	}
	return string(condition.Status)
}

func schedulingOf(registration *v1alpha1.ClusterRegistration) string {
	switch {
	case registration.DeletionTimestamp != nil:
		return "Leaving"
	case registration.Spec.Drain:
		return "Draining"
	case registration.Spec.Unschedulable:
		return "Cordoned"
	default:
		return ""
	}
}

// isolationOf words what a cluster's syncer sees in kcp.
func isolationOf(spec v1alpha1.ClusterRegistrationSpec) string {
	if spec.Isolation == v1alpha1.IsolationGroup {
		return string(spec.Isolation) + "/" + spec.IsolationGroup
	}
	return string(cmp.Or(spec.Isolation, v1alpha1.IsolationShared))
}

// ClusterTable returns a row for each cluster, in their order.
func ClusterTable(clusters []Cluster, now time.Time) *metav1.Table {
	table := newTable("Name", "Location", "Ready", "Isolation", "Namespaces", "Heartbeat", "Version", "Nodes", "Workloads", "CPU", "Memory", "Pods", "Age")
	for _, c := range clusters {
		status := c.Status
		table.Rows = append(table.Rows, metav1.TableRow{Cells: []any{
			c.Name, orNone(c.Spec.Location), c.ready(), c.Summary.Isolation, orNone(string(c.Summary.NamespaceMode)), c.heartbeat(now), orNone(status.KubernetesVersion),
			strconv.Itoa(int(status.Nodes)), c.workloads(),
			share(status, corev1.ResourceCPU, cores), share(status, corev1.ResourceMemory, bytes), share(status, corev1.ResourcePods, whole),
			age(c.CreationTimestamp.Time, now),
		}})
	}
	return table
}

// SharedNamespaces warns of the clusters whose namespaces all workspaces share, empty when there are none.
func SharedNamespaces(clusters []Cluster) string {
	var names []string
	for _, c := range clusters {
		if c.Summary.NamespaceMode == v1alpha1.NamespaceModeShared {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return v1alpha1.SharedWarning(names...)
}

func orNone(text string) string {
	if text == "" {
		return none
	}
	return text
}

func (c *Cluster) ready() string {
	if c.Summary.Scheduling == "" {
		return c.Summary.Ready
	}
	return c.Summary.Ready + "," + c.Summary.Scheduling
}

func (c *Cluster) heartbeat(now time.Time) string {
	switch {
	case c.Summary.noHeartbeats:
		return none
	case c.Summary.LastHeartbeat == nil:
		return "never"
	default:
		return age(c.Summary.LastHeartbeat.Time, now)
	}
}

func (c *Cluster) workloads() string {
	if c.Summary.Workloads == nil {
		return none
	}
	return strconv.Itoa(*c.Summary.Workloads)
}

// age words how long ago something was, as kubectl does. Clocks differ: what is yet to come is now.
func age(since, now time.Time) string {
	if since.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(max(now.Sub(since), 0))
}

// share is how much of a resource is requested of how much there is.
func share(status v1alpha1.ClusterRegistrationStatus, name corev1.ResourceName, word func(int64) string) string {
	allocatable, known := status.Allocatable[name]
	if !known {
		return none
	}
	requested, total := quantity.Amount(name, status.Requested[name]), quantity.Amount(name, allocatable)
	text := word(requested) + "/" + word(total)
	if total > 0 {
		text += fmt.Sprintf(" (%.0f%%)", math.Floor(100*float64(requested)/float64(total)))
	}
	return text
}

// rounded gives a number one digit behind the point, if it is not 0.
func rounded(number float64) string {
	return strconv.FormatFloat(math.Round(number*10)/10, 'f', -1, 64)
}

func cores(thousandths int64) string { return rounded(float64(thousandths) / 1000) }

func whole(number int64) string { return strconv.FormatInt(number, 10) }

// bytes words a number of bytes in the largest unit of which there is one.
func bytes(amount int64) string {
	number := float64(amount)
	for _, unit := range []string{"", "Ki", "Mi", "Gi"} {
		if number < 1024 {
			return rounded(number) + unit
		}
		number /= 1024
	}
	return rounded(number) + "Ti"
}
