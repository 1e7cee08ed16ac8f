package measure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"k8s.io/klog/v2"
)

// MiB is 2²⁰ bytes.
const MiB = 1 << 20

// Usage is what a process has taken so far.
type Usage struct {
	// Peak and Resident are its memory, in bytes: the most that there was, and what is now.
	Peak, Resident int64
	CPU            time.Duration
}

// UsageOf asks the kernel.
func UsageOf(pid int) (Usage, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	return parseUsage(status, stat)
}

// UsageOfSelf is UsageOf for this process.
func UsageOfSelf() (Usage, error) { return UsageOf(os.Getpid()) }

// parseUsage reads the files of /proc.
func parseUsage(status, stat []byte) (Usage, error) {
	peak, err := kibibytes(status, "VmHWM:")
	if err != nil {
		return Usage{}, err
	}
	resident, err := kibibytes(status, "VmRSS:")
	if err != nil {
		return Usage{}, err
	}
	// The command in parentheses may itself hold spaces. User and system time are fields 14 and 15 of the file.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const user, system = 11, 12
	if len(fields) <= system {
		return Usage{}, fmt.Errorf("no CPU time in %q", stat)
	}
	userTicks, err := strconv.ParseInt(fields[user], 10, 64)
	systemTicks, err2 := strconv.ParseInt(fields[system], 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	return Usage{peak, resident, time.Duration(userTicks+systemTicks) * tick}, errors.Join(err, err2)
}

// kibibytes returns the value of a line of /proc/<pid>/status, in bytes.
func kibibytes(status []byte, field string) (int64, error) {
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, field); found {
			number, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s %w", field, err)
			}
			return number << 10, nil
		}
	}
	return 0, fmt.Errorf("no %s in the status of a process", field)
}

// LiveHeap gives how many bytes of this process's heap are in use.
func LiveHeap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// Ledger follows what processes take, from step to step.
type Ledger struct {
	names []string
	pids  []func() int
	// steps are what each note but the first ends; one without a name is not shown.
	steps []string
	// notes has the usage of each process at each note.
	notes [][]Usage
}

// Follow adds a process.
func (l *Ledger) Follow(name string, pid func() int) {
	l.names, l.pids = append(l.names, name), append(l.pids, pid)
}

// Note ends a step. A process that cannot be looked at has taken nothing.
func (l *Ledger) Note(ctx context.Context, step string) {
	var now []Usage
	for i, pid := range l.pids {
		used, err := UsageOf(pid())
		if err != nil {
			klog.FromContext(ctx).Error(err, "No figures of a process", "name", l.names[i])
		}
		now = append(now, used)
	}
	l.steps, l.notes = append(l.steps, step), append(l.notes, now)
}

// HasNotes reports whether anything was noted.
func (l *Ledger) HasNotes() bool { return len(l.notes) > 0 }

// Table returns what was noted as rows for people.
func (l *Ledger) Table() [][]string {
	header := []string{"PROCESS", "PEAK MiB", "NOW MiB"}
	for _, step := range l.steps {
		if step != "" {
			header = append(header, step)
		}
	}
	rows := [][]string{header}
	for i, name := range l.names {
		last := l.notes[len(l.notes)-1][i]
		row := []string{name, strconv.FormatInt(last.Peak/MiB, 10), strconv.FormatInt(last.Resident/MiB, 10)}
		for n, step := range l.steps {
			if step != "" {
				row = append(row, Seconds(cpuBetween(l.notes[n-1][i], l.notes[n][i])))
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// cpuBetween returns the CPU time between two notes: since it was started anew, of a process that was.
func cpuBetween(before, after Usage) time.Duration {
	if after.CPU < before.CPU {
		return after.CPU
	}
	return after.CPU - before.CPU
}
