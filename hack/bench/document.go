package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// documentName is that of what is written into the directory of documents.
const documentName = "benchmarks.md"

// introduction begins the document.
const introduction = `# Benchmarks

` + "`make bench`" + ` has written this page and its pictures. It starts a kcp and two clusters on one machine, installs tmc, lets
both clusters join, isolated, and runs the real programs without a race detector. The clusters' control planes are
real; their nodes are simulated. kcp, the clusters, tmc and the measurement share the cores, so times depend on the
machine: compare ratios to the raw limit of the same run, and counts. [tuning.md](tuning.md) says what changes them.
`

// write writes the document and its pictures.
func (b *bench) write(ctx context.Context, sections []section) error {
	about, err := b.about(ctx)
	if err != nil {
		return err
	}
	for _, s := range sections {
		if s.picture == nil {
			continue
		}
		if err := s.picture.draw(ctx, b.docs); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(b.docs, documentName), document(about, sections), 0o644)
}

// document returns the document.
func document(about [][]string, sections []section) []byte {
	var out bytes.Buffer
	out.WriteString(introduction)
	out.WriteString("\n## The run\n\n")
	writeTable(&out, about)
	for _, s := range sections {
		fmt.Fprintf(&out, "\n## %s\n", s.title)
		if s.text != "" {
			fmt.Fprintf(&out, "\n%s\n", wrapped(s.text))
		}
		if s.picture != nil {
			fmt.Fprintf(&out, "\n![%s](%s)\n", s.picture.alt, s.picture.file())
		}
		out.WriteString("\n")
		writeTable(&out, s.rows)
	}
	return out.Bytes()
}

// writeTable writes rows as a table of Markdown. The headings are written as in prose.
func writeTable(out *bytes.Buffer, rows [][]string) {
	for i, row := range rows {
		if i == 0 {
			for j := range row {
				row[j] = heading(row[j])
			}
		}
		fmt.Fprintf(out, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			out.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
}

// heading returns a column's heading in small letters, but for names.
func heading(text string) string {
	text = strings.ToLower(text)
	for _, name := range []string{"CPU"} {
		text = strings.ReplaceAll(text, strings.ToLower(name), name)
	}
	return text
}

// wrapped breaks a paragraph into lines.
func wrapped(text string) string {
	const widest = 120
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > widest {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return strings.Join(append(lines, line), "\n")
}

// about says what was measured, and on what.
func (b *bench) about(ctx context.Context) ([][]string, error) {
	tools, err := framework.ToolsDir()
	if err != nil {
		return nil, err
	}
	commit, err1 := output(ctx, "git", "describe", "--always", "--dirty", "--match=v*")
	kcp, err2 := output(ctx, filepath.Join(tools, "kcp"), "--version")
	kubernetes, err3 := output(ctx, filepath.Join(tools, "kube-apiserver"), "--version")
	cpu, err4 := os.ReadFile("/proc/cpuinfo")
	memory, err5 := os.ReadFile("/proc/meminfo")
	rows := [][]string{
		{headWhat, "VALUE"},
		{"tmc", commit},
		{"kcp", lastWord(kcp)},
		{"Kubernetes of the clusters", lastWord(kubernetes)},
		{"Go", strings.TrimPrefix(runtime.Version(), "go")},
		{"machine", fmt.Sprintf("%d cores (%s), %s of memory", runtime.NumCPU(), valueOf(string(cpu), "model name"), gibibytes(valueOf(string(memory), "MemTotal")))},
	}
	if len(b.kcpFlags) > 0 {
		rows = append(rows, []string{"further flags of kcp", strings.Join(b.kcpFlags, " ")})
	}
	return rows, errors.Join(err1, err2, err3, err4, err5)
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	text, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(text)), nil
}

func lastWord(text string) string {
	words := strings.Fields(text)
	if len(words) == 0 {
		return ""
	}
	return words[len(words)-1]
}

// valueOf returns the first value of a key in a file of /proc.
func valueOf(text, key string) string {
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// gibibytes rounds what /proc/meminfo says.
func gibibytes(text string) string {
	kib, err := strconv.ParseInt(strings.TrimSuffix(text, " kB"), 10, 64)
	if err != nil {
		return text
	}
	return fmt.Sprintf("%d GiB", (kib+1<<19)>>20)
}
