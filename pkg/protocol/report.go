package protocol

import (
	"errors"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// What clusters report.
type (
	// Report is what one cluster says of one object, in its status annotation.
	Report = v1alpha1.Report
	// ReportCondition is a condition of the copy.
	ReportCondition = v1alpha1.ReportCondition
	// Problem is a reason, in CamelCase, and a message for people.
	Problem = v1alpha1.Problem
)

// ErrNotReported is returned by Object.Report for a cluster that has not reported.
var ErrNotReported = errors.New("has not reported")

// ParseReport takes the report of the named cluster from its annotation.
func ParseReport(cluster, value string) (Report, error) { return v1alpha1.ParseReport(cluster, value) }
