package docscheck

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// table is one of a document: the heading that it is below, the cells of its own heading, and of its rows.
type table struct {
	section string
	heading []string
	rows    [][]string
}

// tables returns those of a document.
func tables(t *testing.T, document string) []table {
	t.Helper()
	var all []table
	within, section := false, ""
	for _, l := range read(t, document) {
		if !l.isFenced && strings.HasPrefix(l.text, "#") {
			section = strings.TrimSpace(strings.TrimLeft(l.text, "#"))
		}
		isRow := l.isTable() && !l.isFenced
		cells := cells(l.text)
		switch {
		case isRow && !within:
			all = append(all, table{section: section, heading: cells})
		case isRow && !strings.HasPrefix(strings.TrimSpace(l.text), "|---"):
			last := &all[len(all)-1]
			last.rows = append(last.rows, cells)
		}
		within = isRow
	}
	return all
}

// cells returns those of a row.
func cells(row string) []string {
	const escaped = "\x00"
	row = strings.Trim(strings.ReplaceAll(strings.TrimSpace(row), `\|`, escaped), "|")
	split := strings.Split(row, "|")
	for i, cell := range split {
		split[i] = strings.TrimSpace(strings.ReplaceAll(cell, escaped, "|"))
	}
	return split
}

// TestSecurityNamesATestForEveryRow reads the tables whose last column is the test.
func TestSecurityNamesATestForEveryRow(t *testing.T) {
	const fewest = 20
	checked := 0
	for _, one := range tables(t, "docs/security.md") {
		if one.heading[len(one.heading)-1] != "test" {
			continue
		}
		for _, row := range one.rows {
			checked++
			last := spans.FindStringSubmatch(row[len(row)-1])
			if len(row) != len(one.heading) || last == nil || !quotedTest.MatchString(last[1]) {
				t.Errorf("the row that begins with %q has %d columns, expected %d, and a test in the last", row[0], len(row), len(one.heading))
			}
		}
	}
	if checked < fewest {
		t.Errorf("there are %d rows of what holds, expected at least %d", checked, fewest)
	}
}

// TestImageBaseIsNamedByItsDigest reads the Dockerfile.
func TestImageBaseIsNamedByItsDigest(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	if base := regexp.MustCompile(`(?m)^ARG BASE=(.*)$`).FindStringSubmatch(string(content)); base == nil || !regexp.MustCompile(`@sha256:[0-9a-f]{64}$`).MatchString(base[1]) {
		t.Errorf("the base is %q, want it with a digest", base)
	}
}
