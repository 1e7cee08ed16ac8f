package chaos

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kcp-tmc/tmc/e2e/chaos/proxy"
)

// Reading is what a program takes at a time.
type Reading struct {
	Program string
	At      time.Time
	PID     int
	// Memory is its resident set, in bytes.
	Memory int64
	// Goroutines are as its metrics say, -1 where they do not answer.
	Goroutines int
	// Files are its open files, and Connections those to its servers.
	Files, Connections int
}

// Read reads what a program takes. It fails for one that does not run.
func (p *Program) Read(ctx context.Context) (Reading, error) {
	pid, isRunning := p.PID()
	if !isRunning {
		return Reading{}, fmt.Errorf("%s does not run", p.Name)
	}
	reading := Reading{Program: p.Name, At: time.Now(), PID: pid, Goroutines: -1}
	var err error
	if reading.Memory, err = residentMemory(pid); err != nil {
		return Reading{}, err
	}
	files, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	if err != nil {
		return Reading{}, err
	}
	reading.Files = len(files)
	for _, link := range p.links {
		reading.Connections += link.Connections()
	}
	if goroutines, err := p.metric(ctx, "go_goroutines"); err == nil {
		reading.Goroutines = int(goroutines)
	}
	return reading, nil
}

// residentMemory returns the resident set of a process, in bytes.
func residentMemory(pid int) (int64, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib * 1024, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS", pid)
}

// metric returns the value of a metric without labels.
func (p *Program) metric(ctx context.Context, name string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.MetricsURL, nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("%s has no metric %s", p.Name, name)
}

// Requests returns how many requests have reached the servers since the start, by program, server, verb, kind and answer.
func (g *Ground) Requests() map[proxy.Count]int64 {
	all := map[proxy.Count]int64{}
	for _, p := range g.Programs {
		for _, link := range p.links {
			maps.Copy(all, link.Counts())
		}
	}
	return all
}

// Writes returns the requests that have changed something, without those that have failed, and without the leases and
// heartbeats, which are written at rest as well.
func (g *Ground) Writes() map[proxy.Count]int64 {
	writes := g.Requests()
	maps.DeleteFunc(writes, func(count proxy.Count, _ int64) bool {
		switch count.Verb {
		case "create", "update", "patch", "delete", "deletecollection":
			return count.Code >= http.StatusBadRequest || count.Resource == "leases" ||
				count.Resource == "selfsubjectaccessreviews" || count.Resource == "selfsubjectrulesreviews"
		default:
			return true
		}
	})
	return writes
}
