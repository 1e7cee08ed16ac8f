package framework

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// ErrorPrefix begins the last message of a program that fails: Detach looks for it in the program's log.
const ErrorPrefix = "error: "

const (
	// reportFD is the file on which a detached program reports to the one that started it.
	reportFD = 3
	// readyMark ends the report of a program that is ready.
	readyMark = "\x00"
)

// Detach runs the calling program once more, with other arguments, in the background: in a session of its own,
// out of the reach of the caller's terminal, and with its output appended to a log file. It copies the program's
// Report to out, and returns when the program says that it is ready; the program then lives on.
//
// When ctx ends before that, the program is asked to end (SIGTERM), and waited for. The error of a program that
// ended before it was ready is the one that it left in its log.
func Detach(ctx context.Context, args []string, logFile string, out io.Writer) (pid int, err error) {
	if err := os.MkdirAll(filepath.Dir(logFile), 0o755); err != nil {
		return 0, fmt.Errorf("detach: %w", err)
	}
	// Appended to: one that runs already may be writing it.
	log, err := os.OpenFile(logFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, fmt.Errorf("detach: %w", err)
	}
	defer func() { _ = log.Close() }()
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("detach: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("detach: %w", err)
	}
	defer func() { _ = read.Close() }()
	cmd := exec.Command(selfExecutable, args...) //nolint:noctx // it outlives the caller
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{write}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := errors.Join(cmd.Start(), write.Close()); err != nil {
		return 0, fmt.Errorf("detach: %w", err)
	}
	ready, err := follow(ctx, cmd, read, out)
	if ready || err != nil {
		return cmd.Process.Pid, err
	}
	text, err := os.ReadFile(logFile)
	if err != nil {
		return 0, fmt.Errorf("detach: %w", err)
	}
	return 0, errors.New(lastError(string(text[min(before, int64(len(text))):])))
}

// follow copies the report of a detached program until it is ready, or has ended.
func follow(ctx context.Context, cmd *exec.Cmd, report io.Reader, out io.Writer) (ready bool, err error) {
	// The program ends its start by itself when it is asked to, and then its report ends too.
	stopAsking := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stopAsking()
	ready, err = copyReport(out, report)
	if err != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	if !ready {
		// Its exit code says less than its log.
		_ = cmd.Wait()
	}
	return ready, err
}

// copyReport copies up to the mark of a program that is ready, and says whether there was one.
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

// lastError returns the error that a program has ended with, which is the end of its log. The error may itself
// show the end of other logs: it begins at the first line with the prefix.
func lastError(log string) string {
	if _, message, found := strings.Cut("\n"+log, "\n"+ErrorPrefix); found {
		log = message
	}
	return strings.TrimSpace(log)
}

// Report is where a program that Detach has started tells how it gets on: in its log, and until it is ready
// also to the program that started it. Several goroutines may write.
type Report struct {
	log io.Writer

	mu   sync.Mutex
	pipe *os.File
}

// NewReport returns the calling program's report. A program has one, and only when Detach has started it.
func NewReport(log io.Writer) *Report {
	// Children of the program would keep the report open.
	syscall.CloseOnExec(reportFD)
	return &Report{log: log, pipe: os.NewFile(reportFD, "report")}
}

// Write implements io.Writer.
func (r *Report) Write(data []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pipe != nil {
		// Nobody reading is no reason to stop; the log is there in any case.
		_, _ = r.pipe.Write(data)
	}
	return r.log.Write(data)
}

// Ready says that the program is ready: Detach returns, and what is written from now on goes to the log alone.
func (r *Report) Ready() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pipe == nil {
		return
	}
	_, _ = io.WriteString(r.pipe, readyMark)
	_ = r.pipe.Close()
	r.pipe = nil
}
