package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// example has both kinds of series, and both kinds of axes.
const example = `[
	{"title": "Bars & <more>", "x": {"categories": ["p50", "p99"]}, "y": {"label": "ms", "log": true},
	 "series": [{"name": "tmc", "as": "bars", "values": [52, 130]}, {"name": "kcp", "as": "bars", "values": [18, null]}]},
	{"title": "Lines", "x": {"label": "minutes", "max": 5}, "y": {"label": "MiB", "min": 0},
	 "series": [{"name": "hub", "as": "line", "points": [[0, 31], [1, 32.5]]}]}
]`

func pictureOf(t *testing.T, input string, columns int) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(options{input: "-", output: "-", columns: columns, width: 400, height: 300}, strings.NewReader(input), &out)
	return out.String(), err
}

func TestPictureIsWellFormedAndNamesWhatItShows(t *testing.T) {
	picture, err := pictureOf(t, example, 2)
	if err != nil {
		t.Fatal(err)
	}
	decoder := xml.NewDecoder(strings.NewReader(picture))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{`width="800" height="300"`, "Bars &amp; &lt;more&gt;; Lines", ">130<", ">p99<", ">minutes<", ">kcp<"} {
		if !strings.Contains(picture, want) {
			t.Errorf("the picture lacks %s", want)
		}
	}
}

func TestPictureIsTheSameForTheSameCharts(t *testing.T) {
	first, err := pictureOf(t, example, 1)
	second, err2 := pictureOf(t, example, 1)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	if first != second {
		t.Error("two runs made different pictures")
	}
}

// TestPictureFollowsThePage has every colour stated by a class, which has one on light and one on dark pages.
func TestPictureFollowsThePage(t *testing.T) {
	picture, err := pictureOf(t, example, 1)
	if err != nil {
		t.Fatal(err)
	}
	_, drawn, _ := strings.Cut(picture, "</style>")
	if strings.Contains(drawn, "#") {
		t.Errorf("what is drawn has colours of its own:\n%s", drawn)
	}
	if !strings.Contains(picture, "prefers-color-scheme: dark") {
		t.Error("there are no colours for dark pages")
	}
}

func TestPictureIsWrittenToFiles(t *testing.T) {
	in, out := filepath.Join(t.TempDir(), "in.json"), filepath.Join(t.TempDir(), "out.svg")
	if err := os.WriteFile(in, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(options{input: in, output: out, columns: 1, width: 400, height: 300}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if written, err := os.ReadFile(out); err != nil || !bytes.HasPrefix(written, []byte("<svg")) {
		t.Errorf("got %.20q, %v, want an SVG", written, err)
	}
}

func TestChartInvalid(t *testing.T) {
	tests := map[string]struct{ input, want string }{
		"no JSON":             {`{`, "not a list of charts"},
		"unknown field":       {`[{"colour": 1}]`, "colour"},
		"none":                {`[]`, "no chart"},
		"no series":           {`[{"title": "A"}]`, `"A"): series is empty`},
		"unknown form":        {`[{"series": [{"name": "S", "as": "pie"}]}]`, `series[0] ("S"): as is "pie", expected "line" or "bars"`},
		"no points":           {`[{"series": [{"as": "line"}]}]`, "points is empty"},
		"too few values":      {`[{"x": {"categories": ["a", "b"]}, "series": [{"as": "bars", "values": [1]}]}]`, "values has 1 entries, expected one of each of the 2"},
		"zero, logarithmic":   {`[{"y": {"log": true}, "series": [{"as": "line", "points": [[1, 0]]}]}]`, "0 on a logarithmic axis"},
		"categories of y":     {`[{"y": {"categories": ["a"]}, "series": [{"as": "line", "points": [[1, 0]]}]}]`, "y.categories"},
		"a bar, logarithmic":  {`[{"x": {"categories": ["a"]}, "y": {"log": true}, "series": [{"as": "bars", "values": [0]}]}]`, "logarithmic"},
		"x below logarithmic": {`[{"x": {"log": true}, "series": [{"as": "line", "points": [[-1, 0]]}]}]`, "-1 on a logarithmic axis"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := pictureOf(t, test.input, 1)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one that says %q", err, test.want)
			}
		})
	}
}

func TestAxisOfOneValue(t *testing.T) {
	for _, value := range []string{"0", "5", "-5"} {
		if _, err := pictureOf(t, `[{"series": [{"as": "line", "points": [[`+value+`, `+value+`]]}]}]`, 1); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
}

func TestNumberIsShort(t *testing.T) {
	for value, want := range map[float64]string{0: "0", 0.12345: "0.123", 12.345: "12.3", 99.96: "100", 1234.5: "1235", 50000: "50000", -2.5: "-2.5"} {
		if got := number(value); got != want {
			t.Errorf("number(%v) = %q, want %q", value, got, want)
		}
	}
}
