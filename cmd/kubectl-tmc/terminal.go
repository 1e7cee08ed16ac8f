package main

import (
	"io"
	"slices"
	"unicode/utf8"

	"github.com/kcp-tmc/tmc/pkg/cli/view"
)

// terminal is where everything goes that is for people to read: what clusters and tenants
// have written is escaped there, once for all commands. What is for programs goes to the
// writer itself.
type terminal struct {
	io.Writer

	// begun is the beginning of a character that the next write ends.
	begun []byte
}

// Write implements io.Writer.
func (t *terminal) Write(data []byte) (int, error) {
	text := slices.Concat(t.begun, data)
	end := len(text)
	for back := 1; back < utf8.UTFMax && back <= len(text); back++ {
		if start := len(text) - back; utf8.RuneStart(text[start]) {
			if !utf8.FullRune(text[start:]) {
				end = start
			}
			break
		}
	}
	t.begun = slices.Clone(text[end:])
	if _, err := io.WriteString(t.Writer, view.Escape(string(text[:end]))); err != nil {
		return 0, err
	}
	return len(data), nil
}

// forPrograms returns what is behind a terminal.
func forPrograms(out io.Writer) io.Writer {
	if t, ok := out.(*terminal); ok {
		return t.Writer
	}
	return out
}
