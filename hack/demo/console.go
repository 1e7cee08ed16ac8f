package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// console writes what a person reads. Nobody reading is no reason to stop: its errors are nobody's.
type console struct {
	w io.Writer
	// titles counts the steps that have begun.
	titles int
}

// title begins a step.
func (c *console) title(text string) {
	c.titles++
	c.sayf("\n== %d. %s", c.titles, text)
}

// sayf writes a line or a paragraph.
func (c *console) sayf(format string, args ...any) { fmt.Fprintf(c.w, format+"\n", args...) }

// command shows what a user types, and where.
func (c *console) command(prompt string, words ...string) {
	c.sayf("%s $ %s", prompt, strings.Join(words, " "))
}

// answer shows what a command has written. A line that it repeats, as a rollout does that makes progress, is shown
// once, with how often.
func (c *console) answer(text string) {
	if text == "" {
		return
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for len(lines) > 0 {
		count := 1
		for count < len(lines) && lines[count] == lines[0] {
			count++
		}
		if count > 1 {
			c.sayf("%s (%d times)", lines[0], count)
		} else {
			c.sayf("%s", lines[0])
		}
		lines = lines[count:]
	}
}

// table writes rows, the first of which is the heading, in columns.
func (c *console) table(rows [][]string) {
	table := tabwriter.NewWriter(c.w, 0, 0, 3, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(table, "  "+strings.Join(row, "\t"))
	}
	_ = table.Flush()
}

// indented sets off what is written to it. It takes whole lines.
type indented struct {
	w io.Writer
}

// Write implements io.Writer.
func (i indented) Write(data []byte) (int, error) {
	for line := range strings.Lines(string(data)) {
		if _, err := io.WriteString(i.w, "  "+line); err != nil {
			return 0, err
		}
	}
	return len(data), nil
}

// seconds returns a duration as people read it.
func seconds(d time.Duration) string {
	if d < 100*time.Millisecond {
		return d.Round(time.Millisecond).String()
	}
	return fmt.Sprintf("%.1fs", d.Seconds())
}

// and joins names for people.
func and(names []string) string { return strings.Join(names, " and ") }
