package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// console writes what a person reads. Nobody reading is no reason to stop: its errors are nobody's.
type console struct{ w io.Writer }

func (c *console) sayf(format string, args ...any) { fmt.Fprintf(c.w, format+"\n", args...) }

func (c *console) table(rows [][]string) {
	aligned := tabwriter.NewWriter(c.w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(aligned, "  "+strings.Join(row, "\t"))
	}
	_ = aligned.Flush()
}

// percentile returns the smallest duration that so many percent do not exceed; 0 of none.
func percentile(durations []time.Duration, percent int) time.Duration {
	if len(durations) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(durations))
	rank := (len(sorted)*percent + 99) / 100
	return sorted[max(rank, 1)-1]
}

// summary returns the percentiles that people ask for.
func summary(durations []time.Duration) string {
	return fmt.Sprintf("p50 %s, p90 %s, p99 %s, most %s", seconds(percentile(durations, 50)),
		seconds(percentile(durations, 90)), seconds(percentile(durations, 99)), seconds(percentile(durations, 100)))
}

// earliest returns the first of several moments.
func earliest(moments map[string]time.Time) time.Time {
	var first time.Time
	for _, moment := range moments {
		if first.IsZero() || moment.Before(first) {
			first = moment
		}
	}
	return first
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func millis(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
