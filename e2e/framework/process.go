package framework

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// defaultStopGrace is how long a process may take to end after SIGTERM.
const defaultStopGrace = 20 * time.Second

// ProcessConfig says what to run.
type ProcessConfig struct {
	// Name is for messages. Stack.StartProcess also names the log file after it.
	Name string
	// Path is the binary's file.
	Path string
	// Args are its arguments, without the name of the program.
	Args []string
	// Env are variables, key=value, that come on top of those of the calling process.
	Env []string
	// Dir is the working directory; empty for that of the calling process.
	Dir string
	// LogFile gets what the process writes to stdout and stderr, appended.
	LogFile string
	// StopGrace is how long Stop waits after SIGTERM before it kills; 0 stands for 20 s.
	StopGrace time.Duration
}

// Process is a child process. Its methods may be called from several goroutines.
type Process struct {
	config ProcessConfig
	cmd    *exec.Cmd
	done   chan struct{}
	// state is set before done is closed.
	state *os.ProcessState
}

// StartProcess runs a binary as a child process. The process gets SIGKILL when the calling process dies;
// otherwise it runs until it ends by itself or is stopped, and somebody has to stop it. The error says
// why it could not be started.
func StartProcess(config ProcessConfig) (*Process, error) {
	p := &Process{config: config, done: make(chan struct{})}
	if err := os.MkdirAll(filepath.Dir(config.LogFile), 0o755); err != nil {
		return nil, fmt.Errorf("start %s: %w", config.Name, err)
	}
	log, err := os.OpenFile(config.LogFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", config.Name, err)
	}
	// The child has its own copy of the file.
	defer func() { _ = log.Close() }()
	p.cmd = exec.Command(config.Path, config.Args...) //nolint:noctx // its life is not that of a context
	p.cmd.Dir = config.Dir
	p.cmd.Env = append(os.Environ(), config.Env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = childAttr()

	started := make(chan error, 1)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", config.Name, err)
	}
	return p, nil
}

// run starts the process and waits for its end, on one thread: the kernel ties a child's death signal
// to the thread that started it, and an idle thread may go away while the program runs on.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	// The error repeats what the state says.
	_ = p.cmd.Wait()
	p.state = p.cmd.ProcessState
	close(p.done)
}

// PID returns the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// LogFile returns the path of the process's log.
func (p *Process) LogFile() string { return p.config.LogFile }

// LogTail returns the last n lines of the process's log.
func (p *Process) LogTail(n int) string { return tailFile(p.config.LogFile, n) }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exited reports whether the process has ended.
func (p *Process) Exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// ExitCode returns the exit code, and false while the process runs. The code is -1 when a signal ended it.
func (p *Process) ExitCode() (code int, exited bool) {
	if !p.Exited() {
		return 0, false
	}
	return p.state.ExitCode(), true
}

// Wait waits until the process has ended, however that came. Its error is about the wait: the context
// ended first.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return withTail(fmt.Errorf("wait for %s (process %d) to end: %w", p.config.Name, p.PID(), ctx.Err()), p.LogFile())
	}
}

// Signal sends a signal. It does nothing when the process has ended.
func (p *Process) Signal(signal os.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s (process %d): %w", p.config.Name, p.PID(), err)
	}
	return nil
}

// Freeze stops the process in its tracks, with its connections open: to the others it is one that no
// longer answers.
func (p *Process) Freeze() error { return p.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen process run on.
func (p *Process) Thaw() error { return p.Signal(syscall.SIGCONT) }

// Kill9 kills the process, which has no chance to tidy up, and waits until it is gone.
func (p *Process) Kill9() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Stop asks the process to end (SIGTERM), and kills it when it has not done so after its grace period or
// when ctx ends; then it returns an error that says so. Afterwards the process is gone in any case. It
// does nothing when the process has ended already.
func (p *Process) Stop(ctx context.Context) error {
	grace := p.config.StopGrace
	if grace == 0 {
		grace = defaultStopGrace
	}
	// A frozen process would not see the signal.
	if err := errors.Join(p.Signal(syscall.SIGTERM), p.Thaw()); err != nil {
		return errors.Join(err, p.Kill9())
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	case <-timer.C:
	}
	err := fmt.Errorf("stop %s (process %d): it did not end after SIGTERM and was killed", p.config.Name, p.PID())
	return errors.Join(withTail(err, p.LogFile()), p.Kill9())
}
