package protocol

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/kcp-tmc/tmc/pkg/apis/text"
)

// Bounds of the causes of a report. The reports of 250 clusters share what all annotations of an object may take: see Report.
const (
	// MaxReportCauses is how many causes there may be.
	MaxReportCauses = 4
	// MaxReportCauseSize is how many bytes they may take together, encoded.
	MaxReportCauseSize = 512
)

// Cause says why a copy is not as ready as it should be, in the words of the cluster. A report has the worst first.
type Cause struct {
	// Reason is a word of Kubernetes in CamelCase, such as ImagePullBackOff.
	Reason string `json:"r"`
	// Count is how many pods it is true of; 0 when it is not about pods.
	Count int64 `json:"n,omitempty"`
	// Message is for people. It has nothing in it that moves while the cause stays the same. Empty when the reason says all.
	Message string `json:"m,omitempty"`
}

// BoundedCauses returns the causes as a report may have them: the first ones, with the longest messages shortened so that all
// take no more than MaxReportCauseSize. Causes are left out only where their reasons alone are too long.
func BoundedCauses(causes []Cause) []Cause {
	causes = slices.Clone(causes[:min(len(causes), MaxReportCauses)])
	for i, c := range causes {
		if !isShort(c.Reason, maxReason, problemReason) {
			causes[i].Reason = "Other"
		}
		if !isCount(c.Count) {
			causes[i].Count = 0
		}
	}
	for longest := MaxReportCauseSize; len(causes) > 0 && causesSize(causes) > MaxReportCauseSize; longest -= 8 {
		if longest < 0 {
			causes = causes[:len(causes)-1]
			continue
		}
		for i := range causes {
			causes[i].Message = text.Shorten(causes[i].Message, longest)
		}
	}
	return causes
}

// causesSize returns how many bytes the causes take in a report.
func causesSize(causes []Cause) int {
	encoded, _ := json.Marshal(causes) //nolint:errchkjson // texts and numbers: it cannot fail
	return len(encoded)
}

// checkCauses says what of the causes is out of bounds.
func (r Report) checkCauses(outOf func(string, ...any) error) error {
	if len(r.Causes) == 0 {
		return nil
	}
	if len(r.Causes) > MaxReportCauses {
		return outOf("%d causes, expected at most %d", len(r.Causes), MaxReportCauses)
	}
	if size := causesSize(r.Causes); size > MaxReportCauseSize {
		return outOf("causes of %d bytes, expected at most %d", size, MaxReportCauseSize)
	}
	for _, c := range r.Causes {
		if !isShort(c.Reason, maxReason, problemReason) {
			return outOf("%q as the reason of a cause, expected a word in CamelCase", text.Shorten(c.Reason, maxName))
		}
		if !isCount(c.Count) {
			return outOf("%d pods of a cause, expected a number of 32 bits that is not negative", c.Count)
		}
	}
	return nil
}

// Of returns the cause as people read it of the given number of pods in all: "2 of 3 pods: ImagePullBackOff: …". A cause
// that is not about pods has only its reason and message, and where the number in all is not known (0, or fewer than the cause
// counts) only its own is said.
func (c Cause) Of(pods int64) string {
	said := c.Reason
	if c.Message != "" {
		said += ": " + c.Message
	}
	switch {
	case c.Count <= 0:
		return said
	case pods < c.Count && c.Count == 1:
		return "1 pod: " + said
	case pods < c.Count:
		return fmt.Sprintf("%d pods: %s", c.Count, said)
	case pods == 1:
		return "1 of 1 pod: " + said
	default:
		return fmt.Sprintf("%d of %d pods: %s", c.Count, pods, said)
	}
}
