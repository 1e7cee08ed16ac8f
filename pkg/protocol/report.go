package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/text"
)

// ReportVersion is the version of the report that this code writes and reads.
const ReportVersion = 1

// MaxReportSize is how many bytes an encoded report may take. The policies that
// `kubectl tmc init` installs deny a longer one.
const MaxReportSize = 16 << 10

// Bounds of what a report holds. Bounded leaves out what is beyond, and ParseReport
// believes no report that has it.
const (
	// MaxReportProblems, MaxReportNotes, MaxReportConditions and MaxReportEntries are how many
	// problems, notes, conditions, and counters, texts or addresses there may be.
	MaxReportProblems   = 32
	MaxReportNotes      = 4
	MaxReportConditions = 64
	MaxReportEntries    = 128
	// MaxReportText is how long a text of a status may be.
	MaxReportText = 128
	// maxReason is how long a reason may be: it becomes that of an event.
	maxReason = 128
	// maxName is how long the name of a field may be, and maxType that of a condition's type.
	maxName = 64
	maxType = 316
	// maxConcerns is how long Concerns may be.
	maxConcerns = 1024
	// maxInputs is how long Inputs may be.
	maxInputs = 64
	// maxQuote is how much of a report is quoted in an error.
	maxQuote = 128
)

var (
	// problemReason is what reasons of our own and of API servers look like.
	problemReason = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)
	// conditionReason and conditionType are the patterns of metav1.Condition.
	conditionReason = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`)
	conditionType   = regexp.MustCompile(`^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$`)
	// statusField is the name of a field of a status.
	statusField = regexp.MustCompile(`^[A-Za-z_][-A-Za-z0-9_]*$`)
)

// ErrReportBounds is returned by ParseReport for a report with something in it that no
// syncer writes: too much, or what is no reason, no condition, no count.
var ErrReportBounds = errors.New("out of bounds")

// ErrNotReported is returned by Object.Report for a cluster that has not reported.
var ErrNotReported = errors.New("has not reported")

// ErrReportVersion is returned by ParseReport for a report of a version that
// this code does not know.
var ErrReportVersion = errors.New("unknown report version")

// Report is what one cluster says of one object, in its status annotation. It
// holds nothing that changes without news. The names are short because the
// reports of 250 clusters share the 256 KiB that all annotations of one object
// may take (apimachinery's TotalAnnotationSizeLimitB).
type Report struct {
	// Version is ReportVersion.
	Version int `json:"v"`
	// Cluster is the name of the cluster that reports: a report under another
	// cluster's key is not believed.
	Cluster string `json:"cluster"`
	// Generation is the upstream generation that the copy was made from; 0 when
	// there is no copy.
	Generation int64 `json:"gen,omitempty"`
	// Inputs stands for what else shaped the copy, as Object.Inputs gives it.
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
	// Causes say why the copy is not as ready as it should be, the worst first: at most MaxReportCauses, which take no more than
	// MaxReportCauseSize bytes. Unlike Problems they are the cluster's own words about what runs there, and the copy is as it
	// should be.
	Causes []Cause `json:"why,omitempty"`
	// Notes say what was wrong and has been put right a moment ago: people are told, and the object counts as it is.
	Notes []Problem `json:"notes,omitempty"`
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

// ReasonDriftRepaired is the reason of the note that somebody on a cluster has changed a copy, and that it was put back.
const ReasonDriftRepaired = "DriftRepaired"

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

// Bounded returns the report as ParseReport takes it. What no report can hold is left out:
// conditions without a type or a status, reasons that are none, what is too many. Messages
// are shortened, if need be, so that it takes no more than MaxReportSize when it is encoded,
// with the time in Written: what a cluster's controllers and admission say has no bound of
// its own.
func (r Report) Bounded() Report {
	r = r.trimmed()
	for _, longest := range []int{2048, 512, 128, 16} {
		if r.fits() {
			return r
		}
		r.shortenMessages(longest)
	}
	if !r.fits() {
		r.Addresses = nil // hundreds of them: the first ones alone would be a lie as well
	}
	if !r.fits() {
		r.Texts = nil
	}
	for len(r.Conditions)+len(r.Problems) > 0 && !r.fits() {
		r.Conditions, r.Problems = r.Conditions[:len(r.Conditions)/2], r.Problems[:(len(r.Problems)+1)/2]
		if len(r.Conditions) == 0 && len(r.Problems) == 1 {
			break
		}
	}
	return r
}

// shortenMessages shortens, in place, all messages that are longer.
func (r Report) shortenMessages(longest int) {
	for i := range r.Conditions {
		r.Conditions[i].Message = text.Shorten(r.Conditions[i].Message, longest)
	}
	for _, problems := range [][]Problem{r.Problems, r.Notes} {
		for i := range problems {
			problems[i].Message = text.Shorten(problems[i].Message, longest)
		}
	}
}

// trimmed returns the report without what no report can hold.
func (r Report) trimmed() Report {
	r.Counters, r.Texts = maps.Clone(r.Counters), maps.Clone(r.Texts)
	trimMap(r.Counters, func(int64) bool { return true })
	trimMap(r.Texts, func(text string) bool { return len(text) <= MaxReportText })
	if len(r.Addresses) > MaxReportEntries || slices.ContainsFunc(r.Addresses, isNoAddress) {
		r.Addresses = nil
	}
	if r.Replicas != nil && !isCount(*r.Replicas) {
		r.Replicas = nil
	}
	r.Conditions = slices.DeleteFunc(slices.Clone(r.Conditions), func(c ReportCondition) bool { return !c.isPossible() })
	r.Conditions = r.Conditions[:min(len(r.Conditions), MaxReportConditions)]
	for i, c := range r.Conditions {
		if !isShort(c.Reason, maxReason, conditionReason) {
			r.Conditions[i].Reason = ""
		}
	}
	r.Problems, r.Notes = trimProblems(r.Problems, MaxReportProblems), trimProblems(r.Notes, MaxReportNotes)
	r.Causes = BoundedCauses(r.Causes)
	return r
}

// trimProblems returns at most so many problems, with reasons that may be.
func trimProblems(problems []Problem, most int) []Problem {
	problems = slices.Clone(problems)
	problems = problems[:min(len(problems), most)]
	for i, p := range problems {
		if !isShort(p.Reason, maxReason, problemReason) {
			problems[i].Reason = "Other"
		}
		if len(p.Concerns) > maxConcerns {
			problems[i].Concerns = ""
		}
	}
	return problems
}

// trimMap deletes the entries that are not fine, and, of too many, the last by name.
func trimMap[V any](entries map[string]V, isFine func(V) bool) {
	maps.DeleteFunc(entries, func(name string, value V) bool { return !isShort(name, maxName, statusField) || !isFine(value) })
	if len(entries) <= MaxReportEntries {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(entries))[MaxReportEntries:] {
		delete(entries, name)
	}
}

// isNoAddress tells of an entry of a load balancer's status that it is no object.
func isNoAddress(entry any) bool {
	_, isObject := entry.(map[string]any)
	return !isObject
}

// isCount reports whether a number may be that of replicas.
func isCount(number int64) bool { return number >= 0 && number <= math.MaxInt32 }

func isShort(text string, most int, pattern *regexp.Regexp) bool {
	return len(text) <= most && pattern.MatchString(text)
}

// isPossible reports whether a condition has a type and a status.
func (c *ReportCondition) isPossible() bool {
	isStatus := c.Status == metav1.ConditionTrue || c.Status == metav1.ConditionFalse || c.Status == metav1.ConditionUnknown
	return isStatus && isShort(c.Type, maxType, conditionType)
}

// check says what of a report is out of bounds, the first that is found.
func (r Report) check() error {
	outOf := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrReportBounds, fmt.Sprintf(format, args...))
	}
	switch {
	case len(r.Problems) > MaxReportProblems, len(r.Notes) > MaxReportNotes:
		return outOf("%d problems and %d notes, expected at most %d and %d", len(r.Problems), len(r.Notes), MaxReportProblems, MaxReportNotes)
	case len(r.Conditions) > MaxReportConditions:
		return outOf("%d conditions, expected at most %d", len(r.Conditions), MaxReportConditions)
	case len(r.Counters) > MaxReportEntries, len(r.Texts) > MaxReportEntries, len(r.Addresses) > MaxReportEntries:
		return outOf("%d counters, %d texts and %d addresses, expected at most %d of each", len(r.Counters), len(r.Texts), len(r.Addresses), MaxReportEntries)
	case slices.ContainsFunc(r.Addresses, isNoAddress):
		return outOf("an address that is none, expected an object")
	case len(r.Inputs) > maxInputs:
		return outOf("inputs of %d bytes, expected at most %d", len(r.Inputs), maxInputs)
	case r.Replicas != nil && !isCount(*r.Replicas):
		return outOf("%d replicas, expected a number of 32 bits that is not negative", *r.Replicas)
	case !isWritten(r.Written):
		return outOf("the time %q, expected one as in %s", text.Shorten(r.Written, maxName), WrittenLayout)
	}
	return errors.Join(r.checkEntries(outOf), r.checkTexts(outOf), r.checkCauses(outOf))
}

// checkEntries checks the names and texts of a status.
func (r Report) checkEntries(outOf func(string, ...any) error) error {
	for _, names := range [][]string{slices.Sorted(maps.Keys(r.Counters)), slices.Sorted(maps.Keys(r.Texts))} {
		for _, name := range names {
			if !isShort(name, maxName, statusField) {
				return outOf("%q, expected the name of a field", text.Shorten(name, maxName))
			}
			if len(r.Texts[name]) > MaxReportText {
				return outOf("%d bytes for %s, expected at most %d", len(r.Texts[name]), name, MaxReportText)
			}
		}
	}
	return nil
}

// checkTexts checks conditions and problems.
func (r Report) checkTexts(outOf func(string, ...any) error) error {
	for _, c := range r.Conditions {
		switch {
		case !c.isPossible():
			return outOf("a condition of type %q with the status %q, expected True, False or Unknown", text.Shorten(c.Type, maxName), text.Shorten(string(c.Status), maxName))
		case c.Reason != "" && !isShort(c.Reason, maxReason, conditionReason):
			return outOf("%q as the reason of condition %s, expected a word in CamelCase", text.Shorten(c.Reason, maxName), text.Shorten(c.Type, maxName))
		}
	}
	for _, p := range slices.Concat(r.Problems, r.Notes) {
		if !isShort(p.Reason, maxReason, problemReason) || len(p.Concerns) > maxConcerns {
			return outOf("%q as the reason of a problem, expected a word in CamelCase", text.Shorten(p.Reason, maxName))
		}
	}
	return nil
}

// isWritten reports whether a text is a time as in Written, or none.
func isWritten(text string) bool {
	_, err := time.Parse(WrittenLayout, text)
	return text == "" || err == nil && len(text) == len(WrittenLayout)
}

// fits reports whether the report may be written with any time in Written.
func (r Report) fits() bool {
	r.Written = WrittenLayout
	encoded, err := r.Encode()
	return err == nil && len(encoded) <= MaxReportSize
}

// ParseReport takes the report of the named cluster from its annotation. It
// returns ErrReportVersion for a version it does not know, ErrReportBounds for a report
// that is larger than MaxReportSize or holds what Bounded would have left out, and other
// errors for what is no report or another cluster's. Errors are short, whatever the report.
func ParseReport(cluster, value string) (Report, error) {
	if len(value) > MaxReportSize {
		return Report{}, fmt.Errorf("the report of cluster %s is %w: %d bytes, expected at most %d", cluster, ErrReportBounds, len(value), MaxReportSize)
	}
	var report Report
	if err := json.Unmarshal([]byte(value), &report); err != nil {
		return Report{}, fmt.Errorf("the report of cluster %s is not readable: %s", cluster, text.Shorten(err.Error(), maxQuote))
	}
	if report.Version != ReportVersion {
		return Report{}, fmt.Errorf("the report of cluster %s: %w %d, expected %d", cluster, ErrReportVersion, report.Version, ReportVersion)
	}
	if report.Cluster != cluster {
		return Report{}, fmt.Errorf("the report of cluster %s was written for cluster %q", cluster, text.Shorten(report.Cluster, maxName))
	}
	if err := report.check(); err != nil {
		return Report{}, fmt.Errorf("the report of cluster %s is %w", cluster, err)
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

// IsTrueOfAny reports whether the cluster says of one of these types of conditions that it is true.
func (r Report) IsTrueOfAny(types []string) bool {
	return slices.ContainsFunc(types, func(conditionType string) bool {
		c, ok := r.Condition(conditionType)
		return ok && c.Status == metav1.ConditionTrue
	})
}
