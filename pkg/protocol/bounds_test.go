package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseReportBounds(t *testing.T) {
	long := strings.Repeat("x", 400)
	many := func(number int, entry string) string {
		return strings.TrimSuffix(strings.Repeat(entry+",", number), ",")
	}
	named := func(number int, value string) string {
		entries := make([]string, 0, number)
		for i := range number {
			entries = append(entries, fmt.Sprintf(`"f%d":%s`, i, value))
		}
		return strings.Join(entries, ",")
	}
	cases := map[string]struct {
		fields string
		err    error
	}{
		"all: what syncers write":                    {`"gen":1,"in":"0123456789abcdef","want":3,"n":{"replicas":3},"s":{"phase":"Bound"},"lb":[{"ip":"192.0.2.1"}],"cond":[{"t":"Available","s":"True","r":"MinimumReplicasAvailable","m":"ä"},{"t":"example.com/Ready","s":"Unknown"}],"problems":[{"r":"NamespaceTaken","m":"…"}],"why":[{"r":"ImagePullBackOff","n":2,"m":"not found"},{"r":"FailedCreate"}],"at":"2026-01-02T03:04:05.678Z"`, nil},
		"too long: the policies deny it as well":     {`"in":"` + strings.Repeat("x", MaxReportSize) + `"`, ErrReportBounds},
		"many problems: each is an event":            {`"problems":[` + many(33, `{"r":"A","m":"b"}`) + `]`, ErrReportBounds},
		"many conditions: each is one of the status": {`"cond":[` + many(65, `{"t":"A","s":"True"}`) + `]`, ErrReportBounds},
		"many counters: there are no such statuses":  {`"n":{` + named(129, "1") + `}`, ErrReportBounds},
		"many texts":     {`"s":{` + named(129, `"x"`) + `}`, ErrReportBounds},
		"many addresses": {`"lb":[` + many(129, `{"ip":"192.0.2.1"}`) + `]`, ErrReportBounds},
		"an address that is none: the merged status could not be written": {`"lb":["192.0.2.1"]`, ErrReportBounds},
		"many notes: each is an event":                                    {`"notes":[` + many(5, `{"r":"A","m":"b"}`) + `]`, ErrReportBounds},
		"a note's reason with blanks: it is no word":                      {`"notes":[{"r":"a b","m":"c"}]`, ErrReportBounds},
		"a reason with blanks: it is no word":                             {`"problems":[{"r":"a b","m":"c"}]`, ErrReportBounds},
		"a reason that is long: events have short ones":                   {`"problems":[{"r":"A` + long + `","m":"c"}]`, ErrReportBounds},
		"no reason: an event needs one":                                   {`"problems":[{"m":"c"}]`, ErrReportBounds},
		"an escape: it would be shown":                                    {`"problems":[{"r":"A\u001b[31m","m":"c"}]`, ErrReportBounds},
		"a condition without a type: it is none":                          {`"cond":[{"s":"True"}]`, ErrReportBounds},
		"an odd status: there are three":                                  {`"cond":[{"t":"A","s":"Yes"}]`, ErrReportBounds},
		"an odd reason: of a condition":                                   {`"cond":[{"t":"A","s":"True","r":"a\nb"}]`, ErrReportBounds},
		"negative replicas: then no counter would be too small":           {`"want":-5`, ErrReportBounds},
		"huge replicas: there are no such numbers":                        {`"want":9223372036854775807`, ErrReportBounds},
		"a long text: it is no revision":                                  {`"s":{"a":"` + long + `"}`, ErrReportBounds},
		"an odd name: it is no field":                                     {`"n":{"a b":1}`, ErrReportBounds},
		"an odd time: times are compared as texts":                        {`"at":"9"`, ErrReportBounds},
		"long inputs: they are a hash":                                    {`"in":"` + long + `"`, ErrReportBounds},
		"long concerns: it is no name":                                    {`"problems":[{"r":"A","o":"` + long + long + long + `"}]`, ErrReportBounds},
		"many causes: they are the worst few":                             {`"why":[` + many(5, `{"r":"A"}`) + `]`, ErrReportBounds},
		"long causes: 250 clusters share the room":                        {`"why":[{"r":"A","m":"` + long + `"},{"r":"B","m":"` + long + `"}]`, ErrReportBounds},
		"a cause's reason with blanks: it is no word":                     {`"why":[{"r":"a b"}]`, ErrReportBounds},
		"a cause without a reason: it needs one":                          {`"why":[{"m":"b"}]`, ErrReportBounds},
		"negative pods: there are no such numbers":                        {`"why":[{"r":"A","n":-1}]`, ErrReportBounds},
		"a huge number: it is none":                                       {`"gen":1` + strings.Repeat("0", 10_000), nil},
		"for another: a report under another's key":                       {`"cluster":"` + long + `"`, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			shortest := time.Hour
			var err error
			for range 3 {
				start := time.Now()
				_, err = ParseReport("east", `{"v":1,"cluster":"east",`+tc.fields+`}`)
				shortest = min(shortest, time.Since(start))
			}
			checkRefusal(t, err, name != "all: what syncers write", tc.err)
			if shortest > mostTime {
				t.Errorf("it takes %s", shortest)
			}
		})
	}
}

func TestParseReportBelievesBounded(t *testing.T) {
	long := strings.Repeat("<", 5000)
	cases := map[string]Report{
		"nothing":       {},
		"odd parts":     {Problems: []Problem{{Reason: "no word", Message: long, Concerns: long}}, Conditions: []ReportCondition{{Type: "", Status: "True"}, {Type: "A", Status: "Yes"}, {Type: "B", Status: "False", Reason: long}}},
		"odd causes":    {Causes: []Cause{{Reason: "no word", Count: -1, Message: long}, {Reason: "Evicted", Count: math.MaxInt64}}},
		"many parts":    {Causes: make([]Cause, 500), Problems: make([]Problem, 500), Conditions: make([]ReportCondition, 500), Addresses: make([]any, 500)},
		"large numbers": {Replicas: new(int64(math.MaxInt64)), Counters: map[string]int64{"replicas": math.MaxInt64, "a b": 1, long: 2}, Texts: map[string]string{"phase": long, "a": "b"}},
		"large parts":   {},
	}
	large := cases["large parts"]
	large.Counters, large.Texts = map[string]int64{}, map[string]string{}
	for i := range 500 {
		name := fmt.Sprintf("f%d%s", i, strings.Repeat("x", 50))
		large.Counters[name], large.Texts[name] = math.MaxInt64, strings.Repeat("<", MaxReportText)
		large.Conditions = append(large.Conditions, ReportCondition{Type: strings.Repeat("t", 316), Status: "True", Reason: strings.Repeat("r", 128), Message: long})
		large.Problems = append(large.Problems, Problem{Reason: "R" + strings.Repeat("r", 100), Message: long, Concerns: strings.Repeat("c", 1000)})
	}
	large.Causes = slices.Repeat([]Cause{{Reason: "R" + strings.Repeat("r", 127), Count: 3, Message: long}}, 7)
	cases["large parts"] = large
	for name, report := range cases {
		t.Run(name, func(t *testing.T) {
			report.Version, report.Cluster = ReportVersion, "east"
			before, _ := json.Marshal(report)
			bounded := report.Bounded()
			if after, _ := json.Marshal(report); string(after) != string(before) {
				t.Error("the report was changed in place")
			}
			bounded.Written = "2026-01-02T03:04:05.678Z"
			encoded, err := bounded.Encode()
			if err != nil {
				t.Fatal(err)
			}
			read, err := ParseReport("east", encoded)
			if err != nil {
				t.Fatal(err)
			}
			if again, _ := read.Encode(); again != encoded {
				t.Errorf("it reads otherwise (-written +read):\n%s", cmp.Diff(encoded, again))
			}
		})
	}
}

// checkRefusal fails the test unless there is an error if there is to be one, of that sort, and in few words.
func checkRefusal(t *testing.T, err error, isRefused bool, sort error) {
	t.Helper()
	if (err != nil) != isRefused || sort != nil && !errors.Is(err, sort) {
		t.Errorf("error %v, want one: %t (%v)", err, isRefused, sort)
	}
	if err != nil && (len(err.Error()) > 300 || !strings.Contains(err.Error(), "east")) {
		t.Errorf("the error has %d bytes: %.400s", len(err.Error()), err)
	}
}
