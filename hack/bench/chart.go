package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/hack/measure"
)

// plotBinary is what draws, among the tools.
const plotBinary = "plot"

// asBars is a series of bars.
const asBars = "bars"

// picture is an SVG in the document.
type picture struct {
	// name is the file's, without what comes before and after it; alt says what it shows.
	name, alt string
	charts    []chart
}

// chart is what hack/plot draws; it says what the fields mean.
type chart struct {
	Title  string   `json:"title"`
	X      axis     `json:"x"`
	Y      axis     `json:"y"`
	Series []series `json:"series"`
}

type axis struct {
	Label      string   `json:"label,omitempty"`
	Min        *float64 `json:"min,omitempty"`
	Categories []string `json:"categories,omitempty"`
}

type series struct {
	Name   string       `json:"name"`
	As     string       `json:"as"`
	Points [][2]float64 `json:"points,omitempty"`
	Values []float64    `json:"values,omitempty"`
}

// draw has the picture drawn into a directory, its charts beside each other.
func (p picture) draw(ctx context.Context, dir string) error {
	tools, err := framework.ToolsDir()
	if err != nil {
		return err
	}
	input, err := json.Marshal(p.charts)
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, filepath.Join(tools, plotBinary),
		"-columns", strconv.Itoa(len(p.charts)), "-width", "480", "-height", "320", "-out", filepath.Join(dir, p.file()))
	command.Stdin = bytes.NewReader(input)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("draw %s: %w: %s", p.file(), err, output)
	}
	return nil
}

func (p picture) file() string { return "benchmarks-" + p.name + ".svg" }

// percentileBars returns the bars of the percentiles that people ask for, in milliseconds.
func percentileBars(name string, durations []time.Duration) series {
	s := series{Name: name, As: asBars}
	for _, percent := range []int{50, 90, 99} {
		s.Values = append(s.Values, milliseconds(measure.Percentile(durations, percent)))
	}
	return s
}

func percentileAxis() axis { return axis{Categories: []string{headP50, headP90, headP99}} }

// progressLine returns how many things had come about after how many seconds, by twenty points.
func progressLine(name string, moments []time.Duration) series {
	const steps = 20
	s := series{Name: name, As: "line", Points: [][2]float64{{0, 0}}}
	sorted := slices.Sorted(slices.Values(moments))
	for i := 1; i <= steps && len(sorted) > 0; i++ {
		count := len(sorted) * i / steps
		if count > 0 {
			s.Points = append(s.Points, [2]float64{round(sorted[count-1].Seconds()), float64(count)})
		}
	}
	return s
}

// milliseconds returns a duration with two digits that count.
func milliseconds(d time.Duration) float64 { return round(float64(d.Microseconds()) / 1000) }

// round rounds to two digits that count.
func round(value float64) float64 {
	short, err := strconv.ParseFloat(strconv.FormatFloat(value, 'g', 2, 64), 64)
	if err != nil {
		return value // what FormatFloat has written can be read
	}
	return short
}

// brief writes a duration with two digits that count: another run should not change what it need not.
func brief(d time.Duration) string {
	if d >= 10*time.Second {
		return strconv.FormatFloat(round(d.Seconds()), 'f', -1, 64) + " s"
	}
	return strconv.FormatFloat(milliseconds(d), 'f', -1, 64) + " ms"
}
