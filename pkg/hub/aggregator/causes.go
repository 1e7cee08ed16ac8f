package aggregator

import (
	"crypto/sha256"
	"encoding/json"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-tmc/tmc/pkg/aggregate"
	"github.com/kcp-tmc/tmc/pkg/events"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// numbersGrace is how long a status stays as it was written of which nothing has changed but of how many pods and clusters a cause is
// true. Whatever else changes takes the numbers along.
const numbersGrace = 30 * time.Second

// mostCauses is how many causes at a time an object has events of, the worst. Clusters may give each its own.
const mostCauses = 8

// tellCauses records events about why an object does not run, one for each cause however many clusters give it, and again when it
// has come to twice as many. isWritten is set where the status says what there is to say: then the hub before this one, if
// there was one, has told it. hasCauses is not set where no cluster gives any.
func (a *Aggregator) tellCauses(key kcp.ObjectKey, in aggregate.Input, hasCauses, isWritten bool) {
	var found []events.Spread
	if hasCauses {
		causes := aggregate.Causes(in)
		for _, c := range causes[:min(len(causes), mostCauses)] {
			found = append(found, events.Spread{
				Notice: events.Notice{Reason: c.Reason, Message: c.String()}, Identity: c.Reason + "\x00" + c.Message, Number: len(c.Clusters),
			})
		}
	}
	a.config.Notices.WarnOfSpread(key, in.Object, found, isWritten)
}

// spoken remembers of objects that do not run as they should what their status said, but for numbers, when it was last written, and
// when that was. It knows nothing after a restart, and then a status that differs is written at once.
type spoken struct {
	mu    sync.Mutex
	byKey map[kcp.ObjectKey]utterance
}

// utterance is a digest of what the status of the object of a UID says but for the numbers of causes, and when. It has no time where
// that says no cause.
type utterance struct {
	of   types.UID
	said [sha256.Size]byte
	at   time.Time
}

func newSpoken() *spoken { return &spoken{byKey: map[kcp.ObjectKey]utterance{}} }

// wait returns for how long a status is not to be written that says the same but for numbers.
func (s *spoken) wait(key kcp.ObjectKey, now utterance) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, known := s.byKey[key]
	if !known || last.said != now.said || last.of != now.of {
		return 0
	}
	return max(numbersGrace-now.at.Sub(last.at), 0)
}

// written notes what was written.
func (s *spoken) written(key kcp.ObjectKey, now utterance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.at.IsZero() {
		delete(s.byKey, key)
		return
	}
	s.byKey[key] = now
}

// forget drops what is remembered of an object that is gone.
func (s *spoken) forget(key kcp.ObjectKey) { s.written(key, utterance{}) }

// utteranceOf is what the status of an object says.
func utteranceOf(in aggregate.Input, hasCauses bool) utterance {
	if !hasCauses {
		return utterance{of: in.Object.GetUID()}
	}
	in.Coarse = true
	status, _ := aggregate.Status(in)
	conditions, _ := status["conditions"].([]any)
	for _, item := range conditions {
		if fields, isMap := item.(map[string]any); isMap {
			delete(fields, "lastTransitionTime")
			delete(fields, "lastUpdateTime")
		}
	}
	encoded, _ := json.Marshal(status) //nolint:errchkjson // it is JSON already
	return utterance{of: in.Object.GetUID(), said: sha256.Sum256(encoded), at: in.Now.Time}
}
