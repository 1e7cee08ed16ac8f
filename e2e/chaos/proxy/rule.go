package proxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// After is what a client hears of a request that its server has carried out.
type After int

// What a client may hear.
const (
	// AfterAnswer is the answer.
	AfterAnswer After = iota
	// AfterTimeout is that the server has timed out (504).
	AfterTimeout
	// AfterReset is the end of the connection.
	AfterReset
	// AfterNothing is nothing, until the client gives up or the Rule is taken away, which resets the connection.
	AfterNothing
)

// Answer is what a client hears instead of the server's answer.
type Answer struct {
	// Code is that of HTTP, and Reason that of the API.
	Code   int
	Reason metav1.StatusReason
	// Message is for people.
	Message string
	// RetryAfter is told to the client, in seconds, unless it is 0.
	RetryAfter int
	// IsPlain has the body be text, as of a server that is no API server, or none yet.
	IsPlain bool
	// IsEvent has a watch be opened, and hear the answer as an event ERROR.
	IsEvent bool
}

// Rule is a fault in the answers of a server. What is zero changes nothing. Rules add up.
type Rule struct {
	// Match says which requests it is about, nil for all, and Chance which of these it meets, nil for each.
	Match  func(Request) bool
	Chance func() bool
	// Delay is how much later answers come, one half of it on each way, and the events of watches.
	Delay time.Duration
	// Answer is said without asking the server.
	Answer *Answer
	// After is what is heard of what the server has done.
	After After
	// Cut resets the connection after this part of the answer, between 0 and 1.
	Cut float64
	// Mute has watches hear nothing, not even their end, also those that are open. What they missed comes when the Rule is
	// taken away.
	Mute bool
	// PageSize is how many objects a list has at a time that allows for pages.
	PageSize int64
	// Edit changes an object, or a list of them, in what is read or heard.
	Edit func(object map[string]any)
}

// matches reports whether the rule is about a request.
func (r *Rule) matches(request Request) bool { return r.Match == nil || r.Match(request) }

// effect is what all the rules come to that a request meets.
type effect struct {
	delay    time.Duration
	answer   *Answer
	after    After
	cut      float64
	pageSize int64
	edits    []func(map[string]any)
	// over is closed when the rule that says after is taken away.
	over <-chan struct{}
}

// add lets a rule have its effect, too. The first that answers counts.
func (e *effect) add(rule *installed) {
	e.delay += rule.Delay
	if e.answer == nil {
		e.answer = rule.Answer
	}
	if e.after == AfterAnswer && rule.After != AfterAnswer {
		e.after, e.over = rule.After, rule.over
	}
	if e.cut == 0 {
		e.cut = rule.Cut
	}
	if e.pageSize == 0 {
		e.pageSize = rule.PageSize
	}
	if rule.Edit != nil {
		e.edits = append(e.edits, rule.Edit)
	}
}

// installed is a Rule of a Link.
type installed struct {
	Rule

	over chan struct{}
}

// status is the answer as an object of the API.
func (a *Answer) status() *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: int32(a.Code), Reason: a.Reason, Message: a.Message,
		Details: a.details(),
	}
}

func (a *Answer) details() *metav1.StatusDetails {
	if a.RetryAfter == 0 {
		return nil
	}
	return &metav1.StatusDetails{RetryAfterSeconds: int32(a.RetryAfter)}
}

// event is the answer as a line of a watch.
func (a *Answer) event() []byte {
	data, _ := json.Marshal(map[string]any{"type": "ERROR", "object": a.status()}) //nolint:errchkjson // it is known to encode
	return append(data, '\n')
}

// write gives the answer.
func (a *Answer) write(w http.ResponseWriter) {
	if a.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(a.RetryAfter))
	}
	if a.IsPlain {
		http.Error(w, a.Message, a.Code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if a.IsEvent {
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(a.event())
		return
	}
	w.WriteHeader(a.Code)
	data, _ := json.Marshal(a.status()) //nolint:errchkjson // it is known to encode
	_, _ = w.Write(data)
}

// Gone is that a resource version, or the rest of a list, is no longer known (410), as an event of a watch or as an answer.
func Gone(asEvent bool) *Answer {
	return &Answer{
		Code: http.StatusGone, Reason: metav1.StatusReasonExpired, IsEvent: asEvent,
		Message: "too old resource version: chaos",
	}
}

// Fails is an answer of that code, with the reason that API servers give.
func Fails(code int) *Answer {
	reasons := map[int]metav1.StatusReason{
		http.StatusUnauthorized:        metav1.StatusReasonUnauthorized,
		http.StatusTooManyRequests:     metav1.StatusReasonTooManyRequests,
		http.StatusInternalServerError: metav1.StatusReasonInternalError,
		http.StatusServiceUnavailable:  metav1.StatusReasonServiceUnavailable,
		http.StatusGatewayTimeout:      metav1.StatusReasonTimeout,
	}
	return &Answer{Code: code, Reason: reasons[code], Message: fmt.Sprintf("chaos: %s", http.StatusText(code))}
}
