package framework

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// selfExecutable starts the running program again, even after its file has been deleted, as `go run`
// does with what it built.
const selfExecutable = "/proc/self/exe"

// childAttr puts a child into a process group of its own, so that Ctrl-C in a terminal reaches only
// the stack's owner, which then stops its children in order. The kernel kills the child when the
// thread that started it dies.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// lockByte takes the lock on one byte of a file, and fails with errLocked when it is taken. The lock belongs
// to the open file: it also keeps two holders in one process apart, and ends with the process.
func lockByte(file *os.File, offset int) error {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: int64(offset), Len: 1}
	err := unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &lock)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return errLocked
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	return nil
}

// byteLocked reports whether somebody else holds the lock on one byte of a file.
func byteLocked(file *os.File, offset int) (bool, error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: int64(offset), Len: 1}
	if err := unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return false, fmt.Errorf("query lock of %s: %w", file.Name(), err)
	}
	return lock.Type != unix.F_UNLCK, nil
}

// processStart returns the moment a process started, in clock ticks since boot. Together with its id it
// says whether a process still is the one it was.
func processStart(pid int) (uint64, error) {
	data, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return 0, err
	}
	stat, err := parseStat(data)
	if err != nil {
		return 0, fmt.Errorf("process %d: %w", pid, err)
	}
	return stat.start, nil
}

// markedProcesses lists the processes whose mark satisfies match, the calling process excepted. A
// process that ends meanwhile, a zombie, or one of another user is left out.
func markedProcesses(match func(run string) bool) ([]markedProcess, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var found []markedProcess
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if process, ok := readMarked(pid); ok && match(process.run) {
			found = append(found, process)
		}
	}
	return found, nil
}

// readMarked describes one process, if it is there and marked.
func readMarked(pid int) (markedProcess, bool) {
	environ, err := readEnviron(pid)
	if err != nil {
		return markedProcess{}, false
	}
	run, ok := environValue(environ, runEnv)
	if !ok {
		return markedProcess{}, false
	}
	name, _ := environValue(environ, nameEnv)
	// Either file may vanish or be odd: the process is marked all the same.
	cmdline, _ := os.ReadFile(procFile(pid, "cmdline"))
	statData, _ := os.ReadFile(procFile(pid, "stat"))
	stat, _ := parseStat(statData)
	return markedProcess{
		pid:    pid,
		run:    run,
		name:   processName(name, cmdline),
		frozen: stat.state == 'T',
	}, true
}

// readEnviron reads the environment of a process. For a moment in the middle of an exec the kernel shows none:
// that moment is waited for.
func readEnviron(pid int) ([]byte, error) {
	const tries = 50
	for range tries {
		environ, err := os.ReadFile(procFile(pid, "environ"))
		if err != nil || len(environ) > 0 || !inExec(pid) {
			return environ, err
		}
		time.Sleep(time.Millisecond)
	}
	return nil, nil
}

// inExec reports whether a process without an environment is about to get one: it has no arguments either,
// but it has a program, unlike zombies and the kernel's own threads.
func inExec(pid int) bool {
	cmdline, err := os.ReadFile(procFile(pid, "cmdline"))
	if err != nil || len(cmdline) > 0 {
		return false
	}
	_, err = os.Readlink(procFile(pid, "exe"))
	return err == nil
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// processStat is what is needed of /proc/<pid>/stat.
type processStat struct {
	state byte
	start uint64
}

func parseStat(data []byte) (processStat, error) {
	// The second field is the command in parentheses, which may itself hold spaces and parentheses.
	end := bytes.LastIndexByte(data, ')')
	if end < 0 {
		return processStat{}, fmt.Errorf("stat without a command: %q", data)
	}
	const startField = 19 // field 22 of the file, counted from the state
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) <= startField {
		return processStat{}, fmt.Errorf("stat with only %d fields after the command", len(fields))
	}
	start, err := strconv.ParseUint(fields[startField], 10, 64)
	if err != nil {
		return processStat{}, fmt.Errorf("stat start time: %w", err)
	}
	return processStat{state: fields[0][0], start: start}, nil
}
