package measure

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Console writes what a person reads. Nobody reading is no reason to stop: its errors are nobody's.
type Console struct{ W io.Writer }

// Sayf writes a line.
func (c *Console) Sayf(format string, args ...any) { fmt.Fprintf(c.W, format+"\n", args...) }

// Step says what is done, and how long it took. Its error is that of what is done, with the title.
func (c *Console) Step(title string, do func() error) error {
	c.Sayf("== %s", title)
	start := time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	c.Sayf("   done after %s", Seconds(time.Since(start)))
	return nil
}

// Table writes rows, of which the first is the header, in columns.
func (c *Console) Table(rows [][]string) {
	aligned := tabwriter.NewWriter(c.W, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(aligned, "  "+strings.Join(row, "\t"))
	}
	_ = aligned.Flush()
}

// Percentile returns the smallest duration that so many percent do not exceed; 0 of none.
func Percentile(durations []time.Duration, percent int) time.Duration {
	if len(durations) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(durations))
	rank := (len(sorted)*percent + 99) / 100
	return sorted[max(rank, 1)-1]
}

// Summary returns the percentiles that people ask for.
func Summary(durations []time.Duration) string {
	return fmt.Sprintf("p50 %s, p90 %s, p99 %s, most %s", Seconds(Percentile(durations, 50)),
		Seconds(Percentile(durations, 90)), Seconds(Percentile(durations, 99)), Seconds(Percentile(durations, 100)))
}

// Earliest returns the first of several moments.
func Earliest(moments map[string]time.Time) time.Time {
	var first time.Time
	for _, moment := range moments {
		if first.IsZero() || moment.Before(first) {
			first = moment
		}
	}
	return first
}

// Seconds returns a duration in seconds, with one digit after the point.
func Seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// Millis returns a duration in whole milliseconds.
func Millis(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
