package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
)

// samples are the values of a program's /metrics by name and labels, as they stand there.
type samples map[string]float64

// metrics reads a program's /metrics.
func (p *program) metrics(ctx context.Context) (samples, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.metricsAddress+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("/metrics answers %s", response.Status)
	}
	return parseSamples(response.Body)
}

// parseSamples reads lines such as `requests_total{code="200"} 3`.
func parseSamples(text io.Reader) (samples, error) {
	all := samples{}
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		line := lines.Text()
		at := strings.LastIndex(line, " ")
		if strings.HasPrefix(line, "#") || at < 0 {
			continue
		}
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("sample %q: %w", line, err)
		}
		all[line[:at]] = value
	}
	return all, lines.Err()
}

// sum adds up the samples of a name whose labels contain all of the given ones, each as `label="value"`.
func (s samples) sum(name string, labels ...string) float64 {
	var total float64
	for key, value := range s {
		if strings.HasPrefix(key, name+"{") && hasWords(key, labels) {
			total += value
		}
	}
	return total
}

// requests counts the requests that a program has made with any of the methods.
func (s samples) requests(methods ...string) float64 {
	var total float64
	for _, method := range methods {
		total += s.sum("rest_client_requests_total", `method="`+method+`"`)
	}
	return total
}

// eventuallyThrough waits until each of a program's queues has taken so many keys and has nothing left to do.
func (p *program) eventuallyThrough(t *testing.T, keys int, queues ...string) {
	t.Helper()
	eventually(t, p.config.Name+" to be through with its queues", soon, func(ctx context.Context) (bool, string, error) {
		now, err := p.metrics(ctx)
		if err != nil {
			return false, "", err
		}
		done, state := true, ""
		for _, queue := range queues {
			label := `name="` + queue + `"`
			worked := now.sum("workqueue_work_duration_seconds_count", label)
			waiting := now.sum("workqueue_depth", label) + now.sum("workqueue_unfinished_work_seconds", label)
			state += fmt.Sprintf("queue %s: %v keys worked on, %v to do; ", queue, worked, waiting)
			done = done && worked >= float64(keys) && waiting == 0
		}
		return done, state, nil
	})
}

// peakMemory returns the most memory that the process has had, in MiB.
func (p *program) peakMemory(t *testing.T) int {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.process.PID()))
	check(t, err)
	for line := range strings.Lines(string(content)) {
		if value, found := strings.CutPrefix(line, "VmHWM:"); found {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
			check(t, err)
			return kib >> 10
		}
	}
	t.Fatal("/proc has no VmHWM for the process")
	return 0
}
