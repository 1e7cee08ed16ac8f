package framework

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// reaperCommand is the name under which a program that contains this package runs as a reaper.
const reaperCommand = "tmc-stack-reaper"

// reapTimeout bounds the work of a reaper whose owner has died.
const reapTimeout = 30 * time.Second

// A program that is started under the reaper's name is one. There is no other hook that runs in a test
// binary before its main.
//
//nolint:gochecknoinits // see above
func init() {
	if len(os.Args) == 2 && os.Args[0] == reaperCommand {
		os.Exit(runReaper(os.Stdin, os.Args[1]))
	}
}

// runReaper waits for the end of its input, which only the owner holds open, and then kills what the
// owner's run of the stack has left.
func runReaper(owner io.Reader, run string) int {
	// However the input ends, the owner is gone.
	_, _ = io.Copy(io.Discard, owner)
	ctx, cancel := context.WithTimeout(context.Background(), reapTimeout)
	defer cancel()
	if err := sweep(ctx, ofRun(run), anyName); err != nil {
		fmt.Fprintln(os.Stderr, "reaper:", err)
		return 1
	}
	return 0
}

// reaper is the owner's end of the reaper process.
type reaper struct {
	cmd  *exec.Cmd
	pipe *os.File
}

// startReaper runs the calling program once more, as the reaper of a run. It is in a session of its own,
// out of the reach of the owner's terminal, and its log must not be a pipe, whose reader would then wait
// for it.
func startReaper(run, logFile string) (*reaper, error) {
	log, err := os.OpenFile(logFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start reaper: %w", err)
	}
	defer func() { _ = log.Close() }()
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start reaper: %w", err)
	}
	defer func() { _ = read.Close() }()
	cmd := &exec.Cmd{
		Path: selfExecutable, Args: []string{reaperCommand, run}, Dir: "/",
		Stdin: read, Stdout: log, Stderr: log,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start reaper: %w", err), write.Close())
	}
	return &reaper{cmd: cmd, pipe: write}, nil
}

// stop lets the reaper do its work and waits for it.
func (r *reaper) stop() error {
	if err := errors.Join(r.pipe.Close(), r.cmd.Wait()); err != nil {
		return fmt.Errorf("stop reaper: %w", err)
	}
	return nil
}
