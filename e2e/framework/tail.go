package framework

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	// maxTail bounds what is read of a log file for its last lines.
	maxTail = 64 << 10
	// tailLines is how much of a log an error shows.
	tailLines = 15
)

// withTail adds the end of a log to an error, unless somebody has given up: then the log says nothing of it.
func withTail(err error, log string) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w\nend of %s:\n%s", err, log, tailFile(log, tailLines))
}

// tailFile returns the last lines of a file, or a line that says why it cannot: it is for messages.
func tailFile(path string, lines int) string {
	tail, err := readTail(path, lines)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	return tail
}

func readTail(path string, lines int) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}
	start := max(0, size-maxTail)
	data, err := io.ReadAll(io.NewSectionReader(file, start, size-start))
	if err != nil {
		return "", err
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if start > 0 && len(all) > 1 {
		all = all[1:] // most likely cut in the middle
	}
	return strings.Join(all[max(0, len(all)-lines):], "\n"), nil
}
