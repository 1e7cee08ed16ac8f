package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// syncer is a tmc-syncer that runs.
type syncer struct {
	process *framework.Process
	// health, metrics and profiles are the addresses of what it serves; profiles is empty where it does not serve them.
	health, metrics, profiles string
	began                     time.Time
}

// startSyncer starts the program.
func (m *measurement) startSyncer(arguments ...string) (*syncer, error) {
	ports := m.ports.Ports()
	s := &syncer{health: address(ports[0]), metrics: address(ports[1]), began: time.Now()}
	var env []string
	if m.profileDir != "" {
		s.profiles = address(ports[2])
		env = append(env, "TMC_PROFILE_ADDRESS="+s.profiles)
	}
	args := append([]string{
		"--kcp-kubeconfig=" + m.file("kcp.kubeconfig"), "--kubeconfig=" + m.file("cluster.kubeconfig"), "--cluster-name=" + clusterName,
		"--bind-address=" + s.health, "--metrics-bind-address=" + s.metrics,
	}, arguments...)
	var err error
	s.process, err = framework.StartProcess(framework.ProcessConfig{
		Name: "tmc-syncer", Path: m.syncerFile, Args: args, Env: env, Dir: m.dir, LogFile: m.file("tmc-syncer.log"),
	})
	return s, err
}

func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

func (s *syncer) stop(ctx context.Context) error { return s.process.Stop(ctx) }

// usage is what a process has taken.
type usage struct {
	resident, peak int64
	cpu            time.Duration
}

func (s *syncer) usage() (usage, error) {
	dir := filepath.Join("/proc", strconv.Itoa(s.process.PID()))
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	stat, err2 := os.ReadFile(filepath.Join(dir, "stat"))
	if err := errors.Join(err, err2); err != nil {
		return usage{}, err
	}
	u := usage{resident: kibibytes(status, "VmRSS:"), peak: kibibytes(status, "VmHWM:")}
	u.cpu, err = cpuOf(stat)
	return u, err
}

// cpuOf reads the CPU time of a process, to a hundredth of a second.
func cpuOf(stat []byte) (time.Duration, error) {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const user, system = 11, 12
	if len(fields) <= system {
		return 0, fmt.Errorf("no CPU time in %q", stat)
	}
	userTicks, err := strconv.ParseInt(fields[user], 10, 64)
	systemTicks, err2 := strconv.ParseInt(fields[system], 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	return time.Duration(userTicks+systemTicks) * tick, errors.Join(err, err2)
}

// kibibytes returns the value of a line of /proc/<pid>/status, in bytes.
func kibibytes(status []byte, field string) int64 {
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, field); found {
			number, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return number << 10
		}
	}
	return 0
}

// metric returns the sum of a metric over all its labels.
func (s *syncer) metric(ctx context.Context, name string) (float64, error) {
	content, err := fetch(ctx, "http://"+s.metrics+"/metrics")
	if err != nil {
		return math.NaN(), err
	}
	var sum float64
	for line := range strings.Lines(content) {
		rest, found := strings.CutPrefix(line, name)
		if !found || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		fields := strings.Fields(line)
		value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			return math.NaN(), err
		}
		sum += value
	}
	return sum, nil
}

// liveHeap returns how many bytes the last collection has found in use.
func (s *syncer) liveHeap(ctx context.Context) (int64, error) {
	if s.profiles != "" {
		if _, err := fetch(ctx, "http://"+s.profiles+"/debug/pprof/heap?gc=1"); err != nil {
			return 0, err
		}
	}
	bytes, err := s.metric(ctx, "go_memstats_heap_alloc_bytes")
	return int64(bytes), err
}

// profile keeps a profile of the program, where it serves them.
func (s *syncer) profile(ctx context.Context, what, file string) error {
	if s.profiles == "" {
		return nil
	}
	content, err := fetch(ctx, "http://"+s.profiles+"/debug/pprof/"+what)
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(content), 0o600)
}

func fetch(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, response.Status)
	}
	return string(content), err
}

// silent waits until the program has done nothing for a second, is ready and has empty queues, and returns since when, and the CPU time until
// then. The program is asked only when it has done nothing for as long: what it answers costs it as much as its rest does.
func (s *syncer) silent(ctx context.Context) (took, cpu time.Duration, err error) {
	var since time.Time
	var last usage
	err = framework.Eventually(ctx, "tmc-syncer to be silent", timeout, func(ctx context.Context) (bool, string, error) {
		now, err := s.usage()
		if err != nil {
			return false, "", err
		}
		const little = 20 * time.Millisecond
		if since.IsZero() || now.cpu-last.cpu > little {
			since, last = time.Now(), now
		}
		if time.Since(since) <= 1500*time.Millisecond {
			return false, fmt.Sprintf("CPU time %s", now.cpu), nil
		}
		reason := s.busy(ctx)
		if reason != "" {
			since = time.Time{}
		}
		return reason == "", reason, nil
	})
	return since.Sub(s.began), last.cpu, err
}

// busy returns by what the program shows that it has something to do: it is not ready, or keys wait. Empty is for nothing.
func (s *syncer) busy(ctx context.Context) string {
	if _, err := fetch(ctx, "http://"+s.health+"/readyz"); err != nil {
		return err.Error()
	}
	waiting, err := s.metric(ctx, "workqueue_depth")
	switch {
	case err != nil:
		return err.Error()
	case waiting > 0:
		return fmt.Sprintf("%.0f keys are waiting", waiting)
	default:
		return ""
	}
}
