package v1alpha1

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ReportVersion is the version of the report that this code writes and reads.
const ReportVersion = 1

// MaxReportSize is how many bytes an encoded report may take. The policies that
// `kubectl tmc init` installs deny a longer one.
const MaxReportSize = 16 << 10

// ErrReportVersion is returned by ParseReport for a report of a version that
// this code does not know.
var ErrReportVersion = errors.New("unknown report version")

// Report is what one cluster says of one object, in its status annotation. It
// holds nothing that changes without news. The names are short because the
// reports of 250 clusters share the 256 KiB that all annotations of one object
// may take (apimachinery's TotalAnnotationSizeLimitB).
//
// +kubebuilder:object:generate=false
type Report struct {
	// Version is ReportVersion.
	Version int `json:"v"`
	// Cluster is the name of the cluster that reports: a report under another
	// cluster's key is not believed.
	Cluster string `json:"cluster"`
	// Generation is the upstream generation that the copy was made from; 0 when
	// there is no copy.
	Generation int64 `json:"gen,omitempty"`
	// Inputs stands for what else shaped the copy, as transform.Inputs gives it.
	Inputs string `json:"in,omitempty"`
	// LocalGeneration and LocalObservedGeneration are the copy's own
	// metadata.generation and status.observedGeneration.
	LocalGeneration         int64 `json:"lgen,omitempty"`
	LocalObservedGeneration int64 `json:"lobs,omitempty"`
	// Replicas is how many replicas the copy asks for; nil for kinds without.
	Replicas *int64 `json:"want,omitempty"`
	// Counters are the integer fields of the copy's status by name, zeros left
	// out.
	Counters map[string]int64 `json:"n,omitempty"`
	// Texts are the short string fields of the copy's status by name: revisions,
	// times, phases.
	Texts map[string]string `json:"s,omitempty"`
	// Addresses are the entries of the copy's status.loadBalancer.ingress.
	Addresses []any `json:"lb,omitempty"`
	// Conditions are the conditions of the copy's status, in their order.
	Conditions []ReportCondition `json:"cond,omitempty"`
	// Problems say why the copy is not what it should be.
	Problems []Problem `json:"problems,omitempty"`
	// Written is when the rest of the report last changed, by the cluster's clock,
	// as WrittenLayout has it: these times sort as they are.
	Written string `json:"at,omitempty"`
}

// WrittenLayout is the form, for time.Format, of a report's Written.
const WrittenLayout = "2006-01-02T15:04:05.000Z"

// ReportCondition is a condition of the copy, without the times that move while
// nothing changes.
type ReportCondition struct {
	Type    string                 `json:"t"`
	Status  metav1.ConditionStatus `json:"s"`
	Reason  string                 `json:"r,omitempty"`
	Message string                 `json:"m,omitempty"`
}

// Problem is a reason, in CamelCase, and a message for people.
type Problem struct {
	Reason  string `json:"r"`
	Message string `json:"m"`
	// Concerns stands for another object of the same resource, namespace and name, of
	// another workspace, that has to do with it: the transform.Origin.Hash of that one.
	// Empty for none. Who reads the report does not learn whose it is; the hub, which has
	// both, finds it, and tells its owner.
	Concerns string `json:"o,omitempty"`
}

// ReasonConflict is the reason of the problem that an object is in the way of a copy which
// is not that copy.
const ReasonConflict = "Conflict"

// Encode returns the report as it stands in the annotation: equal reports give
// equal bytes.
func (r Report) Encode() (string, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encoding the report of cluster %s: %w", r.Cluster, err)
	}
	return string(data), nil
}

// Bounded returns the report with its messages shortened, if need be, so that it takes no
// more than MaxReportSize when it is encoded, with the time in Written. What a cluster's
// controllers and admission say has no bound of its own.
func (r Report) Bounded() Report {
	r.Conditions, r.Problems = slices.Clone(r.Conditions), slices.Clone(r.Problems)
	for _, longest := range []int{2048, 512, 128, 16} {
		if r.fits() {
			return r
		}
		for i := range r.Conditions {
			r.Conditions[i].Message = shortened(r.Conditions[i].Message, longest)
		}
		for i := range r.Problems {
			r.Problems[i].Message = shortened(r.Problems[i].Message, longest)
		}
	}
	if !r.fits() {
		r.Addresses = nil // hundreds of them: the first ones alone would be a lie as well
	}
	return r
}

// fits tells whether the report may be written with any time in Written.
func (r Report) fits() bool {
	r.Written = WrittenLayout
	encoded, err := r.Encode()
	return err == nil && len(encoded) <= MaxReportSize
}

// shortened returns the text with at most the given number of bytes and a mark of what is
// missing.
func shortened(text string, longest int) string {
	if len(text) <= longest {
		return text
	}
	for longest > 0 && !utf8.RuneStart(text[longest]) {
		longest--
	}
	return text[:longest] + "…"
}

// ParseReport takes the report of the named cluster from its annotation. It
// returns ErrReportVersion for a version it does not know, and other errors for
// what is no report or another cluster's.
func ParseReport(cluster, value string) (Report, error) {
	var report Report
	if err := json.Unmarshal([]byte(value), &report); err != nil {
		return Report{}, fmt.Errorf("the report of cluster %s is not readable: %w", cluster, err)
	}
	if report.Version != ReportVersion {
		return Report{}, fmt.Errorf("the report of cluster %s: %w %d, expected %d", cluster, ErrReportVersion, report.Version, ReportVersion)
	}
	if report.Cluster != cluster {
		return Report{}, fmt.Errorf("the report of cluster %s was written for cluster %q", cluster, report.Cluster)
	}
	return report, nil
}

// Condition returns the condition of the given type, and whether there is one.
func (r Report) Condition(conditionType string) (ReportCondition, bool) {
	for _, condition := range r.Conditions {
		if condition.Type == conditionType {
			return condition, true
		}
	}
	return ReportCondition{}, false
}
