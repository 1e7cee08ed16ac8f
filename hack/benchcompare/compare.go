package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// calibrated is the benchmark whose time others are measured in.
const calibrated = "Calibration"

// How much more allocations and bytes there may be: maps begin at another bucket each time, and pools may be empty.
const (
	moreAllocations = 1.03
	moreBytes       = 1.08
)

// figure is what one operation costs.
type figure struct {
	allocations, bytes float64
	// time is in nanoseconds where it was just measured, and in times of the calibration in figures.
	time float64
}

// figures are those of all operations, by their names, and their times in that of the calibration.
type figures map[string]figure

// parse reads what "go test -bench -benchmem" prints. Of several runs the best counts.
func parse(printed string) (figures, error) {
	all := figures{}
	for line := range strings.Lines(printed) {
		rest, isOne := strings.CutPrefix(line, "BenchmarkHot/")
		fields := strings.Fields(rest)
		if !isOne || len(fields) < 8 {
			continue
		}
		name := fields[0]
		if at := strings.LastIndexByte(name, '-'); at > 0 { // the number of processors
			name = name[:at]
		}
		var values [3]float64
		for i, at := range []int{2, 4, 6} {
			var err error
			if values[i], err = strconv.ParseFloat(fields[at], 64); err != nil {
				return nil, fmt.Errorf("%q: %w", line, err)
			}
		}
		now := figure{time: values[0], bytes: values[1], allocations: values[2]}
		if best, known := all[name]; known {
			now = figure{min(best.allocations, now.allocations), min(best.bytes, now.bytes), min(best.time, now.time)}
		}
		all[name] = now
	}
	unit := all[calibrated].time
	if unit == 0 {
		return nil, errors.New("there is no benchmark " + calibrated)
	}
	for name, f := range all {
		f.time /= unit
		all[name] = f
	}
	delete(all, calibrated)
	return all, nil
}

// header begins a baseline.
const header = "# What the hot functions cost: allocations and bytes an operation, and its time in that of the calibration. By `go run ./hack/benchcompare --update`.\n"

// encode returns a baseline, decode reads one.
func (f figures) encode() string {
	var b strings.Builder
	b.WriteString(header)
	for _, name := range slices.Sorted(maps.Keys(f)) {
		fmt.Fprintf(&b, "%-32s %6.0f allocs/op %9.0f B/op %9.4f calibrations/op\n", name, f[name].allocations, f[name].bytes, f[name].time)
	}
	return b.String()
}

func decode(content string) (figures, error) {
	all := figures{}
	for line := range strings.Lines(content) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		var name string
		var f figure
		if _, err := fmt.Sscanf(line, "%s %f allocs/op %f B/op %f calibrations/op", &name, &f.allocations, &f.bytes, &f.time); err != nil {
			return nil, fmt.Errorf("%q: %w", strings.TrimSpace(line), err)
		}
		all[name] = f
	}
	return all, nil
}

// compare returns rows for people, and how many operations have become dearer than they may. slower is by which factor times may
// grow, 0 for any.
func compare(before, now figures, slower float64) (rows [][]string, dearer int) {
	const was = "BEFORE"
	rows = [][]string{{"OPERATION", "ALLOCS", was, "BYTES", was, "TIME", was, ""}}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		is, was := now[name], before[name]
		_, known := before[name]
		verdict := ""
		switch {
		case !known:
			verdict = "new: --update"
		case isDearer(is, was, slower):
			verdict, dearer = "DEARER", dearer+1
		case is.allocations*moreAllocations < was.allocations || is.bytes*moreBytes < was.bytes:
			verdict = "cheaper: --update"
		}
		rows = append(rows, []string{
			name, number(is.allocations), number(was.allocations), number(is.bytes), number(was.bytes), fmt.Sprintf("%.3f", is.time), fmt.Sprintf("%.3f", was.time), verdict,
		})
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, there := now[name]; !there {
			rows = append(rows, []string{name, "", number(before[name].allocations), "", number(before[name].bytes), "", "", "gone: --update"})
		}
	}
	return rows, dearer
}

func isDearer(is, was figure, slower float64) bool {
	const few, little = 2, 256 // allocations, and bytes, that do not count
	return is.allocations > was.allocations*moreAllocations+few || is.bytes > was.bytes*moreBytes+little || slower > 0 && is.time > was.time*slower+0.01
}

func number(value float64) string { return strconv.FormatFloat(value, 'f', 0, 64) }

func printTable(out io.Writer, rows [][]string) {
	aligned := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(aligned, strings.Join(row, "\t"))
	}
	_ = aligned.Flush() // nobody reading is no reason to fail
}
