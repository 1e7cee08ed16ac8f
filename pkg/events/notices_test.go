package events

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// written are the events that were written.
type written []string

func (e *written) Warning(_ *unstructured.Unstructured, reason, message string) {
	*e = append(*e, reason+": "+message)
}
func (e *written) Normal(_ *unstructured.Unstructured, reason, message string) {
	*e = append(*e, "normal "+reason+": "+message)
}

// remembered counts what is remembered of all objects.
func remembered(n *Notices) int {
	count := 0
	for _, told := range n.told {
		count += 1 + cap(told)
	}
	for _, all := range n.all {
		count += 1 + cap(all)
	}
	for _, spread := range n.spread {
		count += 1 + len(spread)
	}
	return count
}

func TestNoticesWriteEachOnce(t *testing.T) {
	recorded := &written{}
	n := NewNotices(recorded)
	key := kcp.ObjectKey{Name: "web"}
	n.Warn(key, nil, "Bad", "a", "", "b")
	n.Warn(key, nil, "Bad", "a", "b")
	n.Warn(key, nil, "Other", "")
	n.Warn(key, nil, "Bad", "a")
	n.Warn(key, nil, "Bad")
	n.Warn(key, nil, "Bad", "a")
	n.WarnOfAll(key, nil, []Notice{{"X", "1"}, {"Y", "2"}})
	n.WarnOfAll(key, nil, []Notice{{"Y", "2"}, {"X", "3"}})
	n.Tell(nil, "Placed", "there")
	want := written{"Bad: a", "Bad: b", "Bad: a", "Bad: a", "X: 1", "Y: 2", "X: 3", "normal Placed: there"}
	if diff := cmp.Diff(want, *recorded); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	n.Forget(key)
	if remembered(n) != 0 {
		t.Error("what is gone is remembered")
	}
}

func TestNoticesOfWhatSpreads(t *testing.T) {
	recorded := &written{}
	n := NewNotices(recorded)
	key := kcp.ObjectKey{Name: "web"}
	tell := func(isTold bool, message, identity string, number int) {
		n.WarnOfSpread(key, nil, []Spread{{Notice: Notice{"Bad", message}, Identity: identity, Number: number}}, isTold)
	}
	tell(false, "a: 1 of 3", "x", 1)
	tell(false, "a: 2 of 3", "x", 1)
	tell(false, "a, b", "x", 2)
	tell(false, "a, b, c", "x", 3)
	tell(false, "a, b, c, d", "x", 4)
	tell(false, "a", "x", 1)
	tell(true, "y: a", "y", 1)
	n.WarnOfSpread(key, nil, nil, false)
	tell(true, "told by another", "x", 4)
	tell(true, "news all the same", "y", 1)
	n.WarnOfSpread(key, nil, nil, true)
	tell(false, "it is back", "x", 1)
	if diff := cmp.Diff(written{"Bad: a: 1 of 3", "Bad: a, b", "Bad: a, b, c, d", "Bad: y: a", "Bad: news all the same", "Bad: it is back"}, *recorded); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var many []Spread
	for i := range 10_000 {
		many = append(many, Spread{Notice: Notice{"Bad", "m"}, Identity: fmt.Sprint(i), Number: 1})
	}
	n.WarnOfSpread(key, nil, many, true)
	if got := remembered(n); got > mostNotices+1 {
		t.Errorf("%d are remembered", got)
	}
	n.Forget(key)
	if remembered(n) != 0 {
		t.Error("what is gone is remembered")
	}
}

// TestNoticesRememberABoundedAmount is A10: every report has another reason.
func TestNoticesRememberABoundedAmount(t *testing.T) {
	n := NewNotices(&written{})
	key := kcp.ObjectKey{Name: "web"}
	long := strings.Repeat("x", 1<<14)
	most := 0
	for i := range 10_000 {
		reason := fmt.Sprintf("Reason%d", i)
		n.Warn(key, nil, reason, long)
		n.WarnOfAll(key, nil, []Notice{{reason, long}, {"Same", reason}})
		most = max(most, remembered(n))
	}
	if most > 3*mostReasons {
		t.Errorf("%d entries are remembered", most)
	}
	var all []Notice
	for i := range 10_000 {
		all = append(all, Notice{fmt.Sprintf("Reason%d", i), long})
	}
	n.WarnOfAll(key, nil, all)
	if got := remembered(n); got > mostNotices+3*mostReasons {
		t.Errorf("%d entries are remembered of one report", got)
	}
	n.Forget(key)
	if got := remembered(n); got != 0 {
		t.Errorf("%d entries are remembered of what is gone", got)
	}
}
