package framework

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The mark: environment variables that a stack gives to each of its processes, and that those give to
// whatever they start. Unlike a recorded process id it cannot come to mean somebody else's process,
// and it holds from the first instant of a process's life.
const (
	// runEnv holds <directory of the stack>@<random id of this run of it>.
	runEnv = "TMC_STACK_RUN"
	// nameEnv holds the process's name; after a trailing slash the base name of its command belongs
	// to it as well.
	nameEnv = "TMC_STACK_PROCESS"
)

// sweepInterval is how soon a sweep looks again whether what it killed is gone.
const sweepInterval = 20 * time.Millisecond

// markedProcess is a running process of a stack.
type markedProcess struct {
	pid    int
	run    string
	name   string
	frozen bool
}

func newRun(dir string) string { return dir + "@" + strings.ToLower(rand.Text()) }

// ofRun matches the processes of one run of a stack.
func ofRun(run string) func(string) bool {
	return func(other string) bool { return other == run }
}

// ofDir matches the processes of all runs of the stack in a directory.
func ofDir(dir string) func(string) bool {
	return func(run string) bool {
		at := strings.LastIndexByte(run, '@')
		return at >= 0 && run[:at] == dir
	}
}

// mark returns the variables that mark a process, to come after those it inherits.
func mark(run, name string) []string {
	return []string{runEnv + "=" + run, nameEnv + "=" + name}
}

// environValue looks a variable up in the content of /proc/<pid>/environ.
func environValue(environ []byte, key string) (string, bool) {
	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		if value, ok := bytes.CutPrefix(entry, []byte(key+"=")); ok {
			return string(value), true
		}
	}
	return "", false
}

// processName completes the name from a mark with the command from /proc/<pid>/cmdline.
func processName(name string, cmdline []byte) string {
	if !strings.HasSuffix(name, "/") {
		return name
	}
	command, _, _ := bytes.Cut(cmdline, []byte{0})
	return name + filepath.Base(string(command))
}

// sweep kills every process whose mark satisfies match and whose name is accepted, and returns when none is
// left: when it has found nothing twice, for a process can start another behind the back of one look.
func sweep(ctx context.Context, match func(run string) bool, accept func(name string) bool) error {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for clean := 0; ; {
		processes, err := markedProcesses(match)
		if err != nil {
			return err
		}
		processes = slices.DeleteFunc(processes, func(p markedProcess) bool { return !accept(p.name) })
		if err := killAll(processes); err != nil {
			return err
		}
		if len(processes) > 0 {
			clean = 0
		} else if clean++; clean == 2 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("kill what the stack has left: %s: %w", names(processes), ctx.Err())
		case <-ticker.C:
		}
	}
}

func killAll(processes []markedProcess) error {
	for _, process := range processes {
		if err := signalMarked(process, syscall.SIGKILL); err != nil {
			return err
		}
	}
	return nil
}

// anyName accepts all processes of a sweep.
func anyName(string) bool { return true }

// signalMarked sends a signal to a process if it still carries its mark. The handle is opened before
// the mark is checked, so the id cannot pass to another process in between.
func signalMarked(process markedProcess, signal os.Signal) error {
	handle, err := os.FindProcess(process.pid)
	if err != nil {
		return nil // it is gone
	}
	defer func() { _ = handle.Release() }()
	if current, ok := readMarked(process.pid); !ok || current.run != process.run {
		return nil
	}
	if err := handle.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s (process %d): %w", process.name, process.pid, err)
	}
	return nil
}

func names(processes []markedProcess) string {
	list := make([]string, 0, len(processes))
	for _, process := range processes {
		list = append(list, fmt.Sprintf("%s (process %d)", process.name, process.pid))
	}
	return strings.Join(list, ", ")
}
