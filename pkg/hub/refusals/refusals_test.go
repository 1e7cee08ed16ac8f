package refusals

import (
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

var (
	errTooLong   = apierrors.NewInvalid(schema.GroupKind{Kind: "ConfigMap"}, "big", field.ErrorList{field.TooLong(field.NewPath("metadata", "annotations"), "", 262144)})
	errForbidden = apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "big", errors.New("a policy denies it"))
)

// TestRefusedIsTriedEverLessOften takes a write that is refused for an hour.
func TestRefusedIsTriedEverLessOften(t *testing.T) {
	for name, tc := range map[string]struct {
		err    error
		toldAt time.Duration
	}{"invalid": {errTooLong, 0}, "forbidden": {errForbidden, 15 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			begin := time.Unix(1_000_000, 0)
			now, told := begin, 0
			key := kcp.ObjectKey{Name: "big"}
			r := New("what it writes", func() time.Time { return now }, func(kcp.ObjectKey) { told++ })
			var waits []time.Duration
			for now.Before(begin.Add(time.Hour)) {
				wait := r.Refused(key, tc.err)
				waits = append(waits, wait)
				if problem, isTold := r.Problem(key); isTold != (now.Sub(begin) >= tc.toldAt) || isTold && problem.Reason != protocol.ReasonWriteRefused {
					t.Errorf("after %s: told %t: %+v", now.Sub(begin), isTold, problem)
				}
				if r.Wait(key) != wait {
					t.Errorf("waits %s, said %s", r.Wait(key), wait)
				}
				now = now.Add(wait)
			}
			if waits[0] != firstRetry || waits[len(waits)-1] != lastRetry || len(waits) > 35 || told != 1 {
				t.Errorf("waits %v, told %d times", waits, told)
			}
			r.Changed(key)
			if r.Wait(key) != 0 {
				t.Error("a changed object waits")
			}
			r.Written(key)
			if _, isTold := r.Problem(key); isTold || told != 2 || len(r.byKey) > 0 {
				t.Errorf("what is written is remembered; told %d times", told)
			}
		})
	}
}

func TestRefusedSaysWhatHelps(t *testing.T) {
	r := New("what it writes", time.Now, nil)
	key := kcp.ObjectKey{Name: "big"}
	r.Refused(key, errTooLong)
	if problem, _ := r.Problem(key); !strings.Contains(problem.Message, "kcp refuses what it writes") || !strings.Contains(problem.Message, "--server-side") {
		t.Errorf("got %q", problem.Message)
	}
	r.Changed(kcp.ObjectKey{Name: "other"})
	r.Written(kcp.ObjectKey{Name: "other"})
	if len(r.byKey) != 1 || r.IsEmpty() {
		t.Errorf("remembers %v", r.byKey)
	}
	var none *Refusals
	if _, isTold := none.Problem(key); isTold || !none.IsEmpty() {
		t.Error("nothing refuses")
	}
}
