package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	// reportFD is the file on which a detached stack reports to the command that started it.
	reportFD = 3
	// readyMark ends the report of a stack that has come up.
	readyMark = "\x00"
	// selfExecutable is this program, even if its file is gone, as after `go run`.
	selfExecutable = "/proc/self/exe"
)

// detach starts the stack in a process of its own session, shows its progress, and returns when it is ready.
// When ctx ends before that, the stack is stopped.
func detach(ctx context.Context, o upOptions, out io.Writer) error {
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	logFile := filepath.Join(o.dir, "stack.log")
	// Appended to: a stack that runs there already may be writing it.
	log, err := os.OpenFile(logFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = read.Close() }()
	cmd := exec.Command(selfExecutable, append(o.args(), "--detached")...) //nolint:noctx // it outlives the command
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{write}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := errors.Join(cmd.Start(), write.Close()); err != nil {
		return fmt.Errorf("start detached stack: %w", err)
	}
	return follow(ctx, cmd, read, out, logFile)
}

// follow copies the report of a detached stack until it is ready or has failed.
func follow(ctx context.Context, cmd *exec.Cmd, report io.Reader, out io.Writer, logFile string) error {
	// The stack ends its start by itself when it is asked to, and then its report ends too.
	stopAsking := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stopAsking()
	ready, err := copyReport(out, report)
	if ready {
		_, _ = fmt.Fprintf(out, "running in the background (process %d); `stack down` stops everything\n", cmd.Process.Pid)
		return err
	}
	// Its exit code says less than its log.
	_ = cmd.Wait()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(logFile)
	if err != nil {
		return err
	}
	return fmt.Errorf("the stack did not start: %s", lastError(string(text)))
}

// copyReport copies up to the mark of a stack that is ready, and says whether there was one.
func copyReport(out io.Writer, report io.Reader) (ready bool, err error) {
	buffer := make([]byte, 4096)
	for {
		n, err := report.Read(buffer)
		text, _, ready := strings.Cut(string(buffer[:n]), readyMark)
		if _, err := io.WriteString(out, text); err != nil {
			return ready, err
		}
		if ready {
			return true, nil
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// lastError gives the error that a detached stack has ended with, which is the end of its log.
func lastError(log string) string {
	if at := strings.LastIndex(log, errorPrefix); at >= 0 {
		log = log[at+len(errorPrefix):]
	}
	return strings.TrimSpace(log)
}

// runDetached runs the stack and reports to the command that started it, until it is ready.
func runDetached(ctx context.Context, o upOptions, out io.Writer) error {
	report := os.NewFile(reportFD, "report")
	reporting := true
	tee := writerFunc(func(data []byte) (int, error) {
		if reporting {
			// The other end may have been closed; the log is there in any case.
			_, _ = report.Write(data)
		}
		return out.Write(data)
	})
	return run(ctx, o, tee, func(ctx context.Context, _ io.Writer) {
		_, _ = io.WriteString(report, readyMark)
		reporting = false
		_ = report.Close()
		<-ctx.Done()
	})
}

type writerFunc func(data []byte) (int, error)

func (f writerFunc) Write(data []byte) (int, error) { return f(data) }
