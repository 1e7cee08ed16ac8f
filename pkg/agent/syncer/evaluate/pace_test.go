package evaluate

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// moment is a time since the beginning of a test.
func moment(after time.Duration) time.Time { return time.Unix(1000, 0).Add(after) }

func TestPace(t *testing.T) {
	const ms = time.Millisecond
	type heard struct {
		at   time.Duration
		news News
		// wait is what is expected; what need not wait is written.
		wait time.Duration
	}
	cases := map[string][]heard{
		"what is done goes at once":                             {{0, Done, 0}},
		"a problem goes at once":                                {{0, Trouble, 0}},
		"a new copy waits for its pods":                         {{0, Unsaid, time.Second}, {40 * ms, UnsaidByPods, 1960 * ms}, {60 * ms, Done, 0}},
		"a copy whose pods take longer is told of":              {{0, UnsaidByPods, 2 * time.Second}, {2 * time.Second, UnsaidByPods, 0}},
		"a copy that is not observed is told of after a second": {{0, Unsaid, time.Second}, {time.Second, Unsaid, 0}},
		"the first pod waits for the others":                    {{0, UnsaidByPods, 2 * time.Second}, {500 * ms, Turn, 200 * ms}, {600 * ms, Turn, 100 * ms}, {700 * ms, Turn, 0}},
		"numbers on the way are told of ever less": {
			{0, Done, 0}, {10 * time.Second, Progress, 200 * ms}, {10200 * ms, Progress, 0},
			{10300 * ms, Progress, 4900 * ms}, {15200 * ms, Progress, 0},
			{15300 * ms, Progress, 4900 * ms}, {15400 * ms, Turn, 200 * ms}, {15600 * ms, Turn, 0},
			{15700 * ms, Progress, 2900 * ms},
		},
		"a turn that is taken back and comes again does not begin to wait anew": {
			{0, Turn, 200 * ms}, {100 * ms, Progress, 200 * ms}, {150 * ms, Turn, 50 * ms}, {200 * ms, Turn, 0},
		},
		"what is undone is forgotten": {{0, Turn, 200 * ms}, {100 * ms, NoNews, 0}, {300 * ms, Turn, 200 * ms}},
		"a few at once, and then one a second": {
			{0, Done, 0}, {10 * ms, Trouble, 0}, {20 * ms, Done, 0}, {30 * ms, Trouble, 970 * ms}, {time.Second, Trouble, 0},
			{time.Second, Done, time.Second}, {2 * time.Second, Done, 0}, {4 * time.Second, Trouble, 0}, {4 * time.Second, Done, 0}, {4 * time.Second, Trouble, time.Second},
		},
	}
	for name, steps := range cases {
		t.Run(name, func(t *testing.T) {
			var p Pace
			for i, step := range steps {
				var wait time.Duration
				if p, wait = p.Heard(step.news, moment(step.at)); wait != step.wait {
					t.Fatalf("step %d waits %s, want %s", i, wait, step.wait)
				}
				if wait == 0 && step.news != NoNews {
					p = p.Wrote(step.news, moment(step.at))
				}
			}
		})
	}
}

// longestWait is how long news that stay wait at the longest, the budget aside.
var longestWait = map[News]time.Duration{Unsaid: unsaidFor, UnsaidByPods: unsaidByPodsFor, Progress: lastProgress, Turn: gatherFor}

// TestPaceHolds has news of every kind come and go at random. However they do, there are never more reports than the budget has,
// in any time, news that stay are written in time, and what is heard last is written.
func TestPaceHolds(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 16))
		var p Pace
		var written []time.Time
		var now time.Time
		var news News
		var since time.Time
		next := moment(0)
		slow := time.Duration(1+r.IntN(3000)) * time.Millisecond
		for range 400 {
			now = next
			if now.After(moment(time.Hour)) {
				break
			}
			news, since = News(r.IntN(int(Trouble)+1)), now
			next = now.Add(time.Duration(r.Int64N(int64(slow))))
			var wait time.Duration
			for p, wait = p.Heard(news, now); news != NoNews && !now.Add(wait).After(next); p, wait = p.Heard(news, now) {
				if wait == 0 {
					written, p, news = append(written, now), p.Wrote(news, now), NoNews
					continue
				}
				if now = now.Add(wait); now.Sub(since) > longestWait[news]+reportInterval {
					t.Fatalf("seed %d: news %d wait %s", seed, news, now.Sub(since))
				}
			}
		}
		p, wait := p.Heard(Progress, now)
		if p, wait = p.Heard(Progress, now.Add(wait)); wait != 0 {
			t.Fatalf("seed %d: the last news wait %s longer than was said: %+v", seed, wait, p)
		}
		for i := range written {
			for j := i; j < len(written); j++ {
				if most := reportBudget + int(written[j].Sub(written[i])/reportInterval); j-i+1 > most {
					t.Fatalf("seed %d: %d reports within %s", seed, j-i+1, written[j].Sub(written[i]))
				}
			}
		}
	}
}

func (n News) String() string { return fmt.Sprintf("news of kind %d", int(n)) }
