package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const printed = `goos: linux
BenchmarkHot/Calibration-2         	      20	     100000 ns/op	   47035 B/op	    1156 allocs/op
BenchmarkHot/Desired/deployment-2  	      20	     250000 ns/op	   41452 B/op	     590 allocs/op
BenchmarkHot/Desired/deployment-2  	      20	     200000 ns/op	   41460 B/op	     591 allocs/op
PASS
`

func TestParse(t *testing.T) {
	got, err := parse(printed)
	want := figures{"Desired/deployment": {590, 41452, 2}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(figure{})); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	back, err := decode(got.encode())
	if diff := cmp.Diff(want, back, cmp.AllowUnexported(figure{})); diff != "" || err != nil {
		t.Errorf("as a baseline: %v (-want +got):\n%s", err, diff)
	}
	if _, err := parse("PASS"); err == nil {
		t.Error("it compares without a calibration")
	}
	if _, err := decode("Desired 5 apples"); err == nil {
		t.Error("it reads what is no baseline")
	}
}

func TestCompare(t *testing.T) {
	before := figures{"a": {100, 1000, 1}}
	cases := map[string]struct {
		now    figures
		slower float64
		dearer int
		says   string
	}{
		"the same":              {figures{"a": {100, 1000, 1}}, 2, 0, ""},
		"a little of chance":    {figures{"a": {104, 1300, 1.9}}, 2, 0, ""},
		"more allocations":      {figures{"a": {110, 1000, 1}}, 2, 1, "DEARER"},
		"more bytes":            {figures{"a": {100, 1500, 1}}, 2, 1, "DEARER"},
		"slower":                {figures{"a": {100, 1000, 3}}, 2, 1, "DEARER"},
		"times do not count":    {figures{"a": {100, 1000, 3}}, 0, 0, ""},
		"cheaper":               {figures{"a": {50, 500, 1}}, 2, 0, "cheaper"},
		"one that is new":       {figures{"a": {100, 1000, 1}, "b": {1, 1, 1}}, 2, 0, "new"},
		"one that is not there": {figures{}, 2, 0, "gone"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			rows, dearer := compare(before, c.now, c.slower)
			var b strings.Builder
			printTable(&b, rows)
			if dearer != c.dearer || !strings.Contains(b.String(), c.says) {
				t.Errorf("%d dearer, want %d and %q:\n%s", dearer, c.dearer, c.says, b.String())
			}
		})
	}
}

// TestAllocations compares allocations alone with the baseline. With the race detector, and where statements are counted, pools keep
// less: then there may be some more.
func TestAllocations(t *testing.T) {
	content, err := os.ReadFile("baseline.txt")
	if err != nil {
		t.Fatal(err)
	}
	before, err := decode(string(content))
	if err != nil {
		t.Fatal(err)
	}
	const more, few, runs = 1.15, 5, 5
	for _, o := range operations(t) {
		if o.name == calibrated {
			continue
		}
		was, known := before[o.name]
		if !known {
			t.Errorf("%s is not in the baseline: go run ./hack/benchcompare --update", o.name)
			continue
		}
		if now := testing.AllocsPerRun(runs, o.do); now > was.allocations*more+few {
			t.Errorf("%s makes %.0f allocations, and %.0f in the baseline: see go run ./hack/benchcompare", o.name, now, was.allocations)
		}
	}
}
