package v1alpha1

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhatIsOutOfBoundsOfAReportIsNotBelieved(t *testing.T) {
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
		reason, fields string
		err            error
	}{
		"All":                    {"what syncers write", `"gen":1,"in":"0123456789abcdef","want":3,"n":{"replicas":3},"s":{"phase":"Bound"},"lb":[{"ip":"192.0.2.1"}],"cond":[{"t":"Available","s":"True","r":"MinimumReplicasAvailable","m":"ä"},{"t":"example.com/Ready","s":"Unknown"}],"problems":[{"r":"NamespaceTaken","m":"…"}],"at":"2026-01-02T03:04:05.678Z"`, nil},
		"TooLong":                {"the policies deny it as well", `"in":"` + strings.Repeat("x", MaxReportSize) + `"`, ErrReportBounds},
		"ManyProblems":           {"each is an event", `"problems":[` + many(33, `{"r":"A","m":"b"}`) + `]`, ErrReportBounds},
		"ManyConditions":         {"each is one of the status", `"cond":[` + many(65, `{"t":"A","s":"True"}`) + `]`, ErrReportBounds},
		"ManyCounters":           {"there are no such statuses", `"n":{` + named(129, "1") + `}`, ErrReportBounds},
		"ManyTexts":              {"likewise", `"s":{` + named(129, `"x"`) + `}`, ErrReportBounds},
		"ManyAddresses":          {"likewise", `"lb":[` + many(129, `{"ip":"192.0.2.1"}`) + `]`, ErrReportBounds},
		"AnAddressThatIsNone":    {"the merged status could not be written", `"lb":["192.0.2.1"]`, ErrReportBounds},
		"AReasonWithBlanks":      {"it is no word", `"problems":[{"r":"a b","m":"c"}]`, ErrReportBounds},
		"AReasonThatIsLong":      {"events have short ones", `"problems":[{"r":"A` + long + `","m":"c"}]`, ErrReportBounds},
		"NoReason":               {"an event needs one", `"problems":[{"m":"c"}]`, ErrReportBounds},
		"AnEscape":               {"it would be shown", `"problems":[{"r":"A\u001b[31m","m":"c"}]`, ErrReportBounds},
		"AConditionWithoutAType": {"it is none", `"cond":[{"s":"True"}]`, ErrReportBounds},
		"AnOddStatus":            {"there are three", `"cond":[{"t":"A","s":"Yes"}]`, ErrReportBounds},
		"AnOddReason":            {"of a condition", `"cond":[{"t":"A","s":"True","r":"a\nb"}]`, ErrReportBounds},
		"NegativeReplicas":       {"then no counter would be too small", `"want":-5`, ErrReportBounds},
		"HugeReplicas":           {"there are no such numbers", `"want":9223372036854775807`, ErrReportBounds},
		"ALongText":              {"it is no revision", `"s":{"a":"` + long + `"}`, ErrReportBounds},
		"AnOddName":              {"it is no field", `"n":{"a b":1}`, ErrReportBounds},
		"AnOddTime":              {"times are compared as texts", `"at":"9"`, ErrReportBounds},
		"LongInputs":             {"they are a hash", `"in":"` + long + `"`, ErrReportBounds},
		"LongConcerns":           {"it is no name", `"problems":[{"r":"A","o":"` + long + long + long + `"}]`, ErrReportBounds},
		"AHugeNumber":            {"it is none", `"gen":1` + strings.Repeat("0", 10_000), nil},
		"ForAnother":             {"a report under another's key", `"cluster":"` + long + `"`, nil},
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
			checkRefusal(t, tc.reason, err, name != "All", tc.err)
			if shortest > mostTime {
				t.Errorf("%s: it takes %s", tc.reason, shortest)
			}
		})
	}
}

func TestABoundedReportIsBelieved(t *testing.T) {
	long := strings.Repeat("<", 5000)
	cases := map[string]Report{
		"Empty":      {},
		"Odd":        {Problems: []Problem{{Reason: "no word", Message: long, Concerns: long}}, Conditions: []ReportCondition{{Type: "", Status: "True"}, {Type: "A", Status: "Yes"}, {Type: "B", Status: "False", Reason: long}}},
		"Many":       {Problems: make([]Problem, 500), Conditions: make([]ReportCondition, 500), Addresses: make([]any, 500)},
		"Numbers":    {Replicas: new(int64(math.MaxInt64)), Counters: map[string]int64{"replicas": math.MaxInt64, "a b": 1, long: 2}, Texts: map[string]string{"phase": long, "a": "b"}},
		"LargeParts": {},
	}
	large := cases["LargeParts"]
	large.Counters, large.Texts = map[string]int64{}, map[string]string{}
	for i := range 500 {
		name := fmt.Sprintf("f%d%s", i, strings.Repeat("x", 50))
		large.Counters[name], large.Texts[name] = math.MaxInt64, strings.Repeat("<", MaxReportText)
		large.Conditions = append(large.Conditions, ReportCondition{Type: strings.Repeat("t", 316), Status: "True", Reason: strings.Repeat("r", 128), Message: long})
		large.Problems = append(large.Problems, Problem{Reason: "R" + strings.Repeat("r", 100), Message: long, Concerns: strings.Repeat("c", 1000)})
	}
	cases["LargeParts"] = large
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
func checkRefusal(t *testing.T, reason string, err error, isRefused bool, sort error) {
	t.Helper()
	if (err != nil) != isRefused || sort != nil && !errors.Is(err, sort) {
		t.Errorf("%s: error %v, want one: %t (%v)", reason, err, isRefused, sort)
	}
	if err != nil && (len(err.Error()) > 300 || !strings.Contains(err.Error(), "east")) {
		t.Errorf("%s: the error has %d bytes: %.400s", reason, len(err.Error()), err)
	}
}
