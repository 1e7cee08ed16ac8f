package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// options are the flags.
type options struct {
	// input has the charts as JSON, output gets the SVG. A dash stands for standard input and output.
	input, output string
	// columns is how many charts stand beside each other.
	columns int
	// width and height are those of one chart, in pixels.
	width, height float64
}

func main() {
	var o options
	flag.StringVar(&o.input, "in", "-", "file with a list of charts as JSON, - for standard input")
	flag.StringVar(&o.output, "out", "-", "file that gets the SVG, - for standard output")
	flag.IntVar(&o.columns, "columns", 1, "how many charts stand beside each other")
	flag.Float64Var(&o.width, "width", 720, "width of one chart in pixels")
	flag.Float64Var(&o.height, "height", 320, "height of one chart in pixels")
	flag.Parse()
	if err := run(o, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run(o options, stdin io.Reader, stdout io.Writer) error {
	if o.columns < 1 || o.width < 1 || o.height < 1 {
		return errors.New("-columns, -width and -height must be at least 1")
	}
	charts, err := readCharts(o.input, stdin)
	if err != nil {
		return err
	}
	picture, err := render(charts, o)
	if err != nil {
		return err
	}
	if o.output == "-" {
		_, err = stdout.Write(picture)
		return err
	}
	return os.WriteFile(o.output, picture, 0o644)
}

// readCharts reads and checks the charts.
func readCharts(path string, stdin io.Reader) ([]chart, error) {
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		stdin = file
	}
	var charts []chart
	decoder := json.NewDecoder(stdin)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&charts); err != nil {
		return nil, fmt.Errorf("the input is not a list of charts: %w", err)
	}
	if len(charts) == 0 {
		return nil, errors.New("the input has no chart, expected at least one")
	}
	for i, c := range charts {
		if err := c.validate(); err != nil {
			return nil, fmt.Errorf("chart %d (%q): %w", i, c.Title, err)
		}
	}
	return charts, nil
}
