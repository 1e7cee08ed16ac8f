package evaluate

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// at returns a time so many seconds after the beginning.
func at(seconds float64) time.Time {
	return time.Unix(1000, 0).Add(time.Duration(seconds * float64(time.Second)))
}

// repairedAt returns the contest after repairs of the field a at those seconds.
func repairedAt(seconds ...float64) *Contest {
	var c *Contest
	for _, second := range seconds {
		c = c.Repaired("hash", []string{"a"}, at(second))
	}
	return c
}

func TestContestPauses(t *testing.T) {
	cases := map[string]struct {
		contest *Contest
		now     float64
		hash    string
		inPlace bool
		// wait and again are those of the standing, in seconds; told is whether there is a problem.
		wait, again float64
		told        bool
	}{
		"nothing was repaired":                          {nil, 0, "hash", false, 0, 0, false},
		"one repair":                                    {repairedAt(0), 0, "hash", false, 0, 0, false},
		"two repairs":                                   {repairedAt(0, 1), 1, "hash", false, 0, 0, false},
		"three within a minute":                         {repairedAt(0, 1, 2), 2, "hash", false, 1, 0, false},
		"three that are longer apart":                   {repairedAt(0, 30, 61), 61, "hash", false, 0, 0, false},
		"the next one is due":                           {repairedAt(0, 1, 2), 3, "hash", false, 0, 0, false},
		"the fourth":                                    {repairedAt(0, 1, 2, 3), 3, "hash", false, 2, 0, true},
		"the fifth":                                     {repairedAt(0, 1, 2, 3, 5), 6, "hash", false, 3, 0, true},
		"the tenth waits no longer than a minute":       {repairedAt(0, 1, 2, 3, 5, 9, 17, 33, 60, 80), 80, "hash", false, 60, 0, true},
		"another copy does not wait":                    {repairedAt(0, 1, 2, 3), 3, "other", false, 0, 0, true},
		"in place, and not told of yet":                 {repairedAt(0, 1, 2), 3, "", true, 0, 29, false},
		"in place since a moment":                       {repairedAt(0, 1, 2, 3), 13, "", true, 0, 20, true},
		"in place for long enough":                      {repairedAt(0, 1, 2, 3), 33, "", true, 0, 0, false},
		"one after the other side gave up":              {repairedAt(0, 1, 2, 3, 60), 60, "hash", false, 0, 0, false},
		"one waits, however long it takes":              {repairedAt(0, 1, 2).Waiting(), 100, "hash", false, 0, 0, true},
		"one that waited goes on doubling":              {repairedAt(0, 1, 2).Waiting().Repaired("hash", []string{"a"}, at(100)), 100, "hash", false, 2, 0, true},
		"one that waits came back by itself":            {repairedAt(0, 1, 2).Waiting(), 10, "", true, 0, 22, true},
		"one that waits came back by itself long ago":   {repairedAt(0, 1, 2).Waiting(), 100, "", true, 0, 0, false},
		"what is new in kcp ends no contest":            {repairedAt(0, 1, 2, 3).Changed("new", at(4)), 4, "new", false, 2, 0, true},
		"what is new in kcp begins none":                {repairedAt(0, 1).Changed("new", at(4)), 4, "new", false, 0, 0, false},
		"what is new in kcp after one that is over":     {repairedAt(0, 1, 2, 3).Changed("new", at(50)), 50, "new", false, 0, 0, false},
		"there is no contest that something new ends":   {(*Contest)(nil).Changed("new", at(0)), 0, "new", false, 0, 0, false},
		"other fields, each now and then, do not count": {differentFields(6), 6, "hash", false, 0, 0, false},
		"other fields, many of them":                    {differentFields(10), 10, "hash", false, 1, 0, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := c.contest.At(c.hash, c.inPlace, at(c.now))
			if got.Wait.Seconds() != c.wait || got.Again.Seconds() != c.again || (got.Problem != nil) != c.told {
				t.Errorf("got %+v, want to wait %v s, again %v s, told %t", got, c.wait, c.again, c.told)
			}
		})
	}
}

// differentFields returns the contest after a repair of another field each second.
func differentFields(count int) *Contest {
	var c *Contest
	for i := range count {
		c = c.Repaired("hash", []string{string(rune('a' + i))}, at(float64(i+1)))
	}
	return c
}

func TestContestProblem(t *testing.T) {
	c := (*Contest)(nil).Repaired("hash", []string{"a", "b", "c", "d", "e"}, at(0))
	cases := map[string]struct {
		contest *Contest
		says    string
	}{
		"nobody has the fields":    {c, "somebody on the cluster keeps changing a, b, c and 2 more, which"},
		"who has them":             {c.Against([]string{"x", "y"}), "x, y on the cluster keeps changing a, b, c"},
		"who had them is not lost": {c.Against([]string{"x"}).Against(nil), "x on the cluster keeps changing a, b, c"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.contest.Problem(); got.Reason != ReasonContested || !strings.HasPrefix(got.Message, tc.says) {
				t.Errorf("got %+v, want %q", got, tc.says)
			}
		})
	}
	if c.IsPending() || !c.Waiting().IsPending() || c.IsOver(at(59)) || !c.IsOver(at(60)) {
		t.Error("it waits, or is over, when it is not")
	}
}

func TestDecideHeedsAContest(t *testing.T) {
	here := upstreamDeployment(placed, held)
	problem := &protocol.Problem{Reason: ReasonContested}
	cases := map[string]struct {
		downstream *unstructured.Unstructured
		standing   Standing
		want       Action
		again      time.Duration
	}{
		"it waits":             {copyOf(t, here, drifted), Standing{Wait: time.Second, Problem: problem}, BackOff, time.Second},
		"it is deleted":        {nil, Standing{Wait: time.Second, Problem: problem}, BackOff, time.Second},
		"it is due":            {copyOf(t, here, drifted), Standing{Problem: problem}, Update, 0},
		"it is in place again": {copyOf(t, here), Standing{Again: time.Minute, Problem: problem}, Nothing, time.Minute},
		"the object has gone":  {copyOf(t, here, deleting), Standing{Again: time.Minute, Problem: problem}, Nothing, time.Minute},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := evaluated(t, inputOf(here, c.downstream), nil).Decide(Surroundings{Contest: c.standing})
			if got.Action != c.want || got.Again > c.again && c.again > 0 || len(got.Problems) == 0 || got.Problems[len(got.Problems)-1] != *problem {
				t.Errorf("got %+v, want %s again after %s", got, c.want, c.again)
			}
		})
	}
	if got := evaluated(t, inputOf(upstreamDeployment(held), nil), nil).Decide(Surroundings{Contest: Standing{Problem: problem}}); len(got.Problems) > 0 {
		t.Errorf("an object that is not placed any more: %+v", got)
	}
}

func TestFields(t *testing.T) {
	here := upstreamDeployment(placed, held)
	cases := map[string]struct {
		downstream *unstructured.Unstructured
		want       string
	}{
		"no copy":              {nil, wholeCopy},
		"a field":              {copyOf(t, here, drifted), "spec.replicas"},
		"a hash":               {copyOf(t, here, annotated("tmc.kcp.io/applied-hash", "x")), "metadata.annotations.tmc.kcp.io/applied-hash"},
		"nothing that is ours": {copyOf(t, here), orderOfLists},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := evaluated(t, inputOf(here, nil), nil).Fields(c.downstream); !strings.Contains(strings.Join(got, " "), c.want) {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}
