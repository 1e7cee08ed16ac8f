package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcp-tmc/tmc/hack/fakekcp"
)

//go:embed profiling.go.txt
var profiling []byte

// build builds tmc-controller of the source tree, with what answers about its memory and its profile, and returns its path.
func build(ctx context.Context, source, dir string) (string, error) {
	source, err := filepath.Abs(source)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	added := filepath.Join(dir, "profiling.go")
	if err := os.WriteFile(added, profiling, 0o600); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(source, "cmd/tmc-controller/zz_profiling.go"): added}})
	if err != nil {
		return "", err
	}
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "tmc-controller")
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", overlayFile, "-o", binary, "./cmd/tmc-controller")
	cmd.Dir = source
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building tmc-controller: %w: %s", err, output)
	}
	return binary, nil
}

// hub is a tmc-controller that runs.
type hub struct {
	cmd                      *exec.Cmd
	address, health, metrics string
	log                      *os.File
	// ended is closed when the program has ended; err is how.
	ended chan struct{}
	err   error
}

// start starts a hub against the server.
func start(ctx context.Context, o options, binary, serverAddress string) (*hub, error) {
	kubeconfig := filepath.Join(o.dir, "kcp.kubeconfig")
	content := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c}}],
  clusters: [{name: c, cluster: {server: "%s/clusters/root"}}]}`, serverAddress)
	if err := os.WriteFile(kubeconfig, []byte(content), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(o.dir, "tmc-controller.log"))
	if err != nil {
		return nil, err
	}
	h := &hub{log: log, ended: make(chan struct{})}
	if h.address, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	if h.health, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	if h.metrics, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	h.cmd = exec.CommandContext(ctx, binary, "--kcp-kubeconfig", kubeconfig, "--leader-elect=false", "--cluster-silent-after=24h",
		"--bind-address", h.health, "--metrics-bind-address", h.metrics)
	h.cmd.Env = append(os.Environ(), "TMC_SIMULATE_ADDRESS="+h.address, "GOMAXPROCS="+strconv.Itoa(o.cores))
	h.cmd.Stdout, h.cmd.Stderr = log, log
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(h.ended)
		h.err = h.cmd.Wait()
	}()
	return h, nil
}

func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

func (h *hub) stop() {
	_ = h.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-h.ended:
	case <-time.After(10 * time.Second):
		_ = h.cmd.Process.Kill()
		<-h.ended
	}
	_ = h.log.Close()
}

// cpu returns what CPU time the hub has taken.
func (h *hub) cpu() time.Duration {
	var spec unix.Timespec
	clock := int32(^h.cmd.Process.Pid)<<3 | 2 // CPUCLOCK_SCHED of the process: see clock_getcpuclockid(3)
	if err := unix.ClockGettime(clock, &spec); err != nil {
		return 0
	}
	return time.Duration(spec.Nano())
}

// isReady reports whether the hub has read all.
func (h *hub) isReady() bool {
	response, err := http.Get("http://" + h.health + "/readyz") //nolint:noctx // on this machine
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	return response.StatusCode == http.StatusOK
}

// isIdle reports whether no loop of the hub has anything to do. A program that gets no CPU takes none either.
func (h *hub) isIdle() bool {
	body, err := get("http://" + h.metrics + "/metrics")
	if err != nil {
		return false
	}
	for line := range strings.SplitSeq(string(body), "\n") {
		isOfLoop := strings.HasPrefix(line, "workqueue_depth{") || strings.HasPrefix(line, "workqueue_unfinished_work_seconds{")
		if isOfLoop && !strings.HasSuffix(line, " 0") {
			return false
		}
	}
	return true
}

// memory is what a hub takes: the live heap after a collection, and the resident set, at present and at most, in bytes.
type memory struct{ heap, resident, peak int64 }

func (h *hub) memory() (memory, error) {
	m := memory{}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.cmd.Process.Pid))
	if err != nil {
		return m, err
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		name, value, _ := strings.Cut(line, ":")
		number, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			m.resident = number << 10
		case "VmHWM":
			m.peak = number << 10
		}
	}
	body, err := h.ask("/memory")
	if err != nil {
		return m, err
	}
	var stats struct {
		Heap int64 `json:"heap"`
	}
	err = json.Unmarshal(body, &stats)
	m.heap = stats.Heap
	return m, err
}

func (h *hub) ask(path string) ([]byte, error) { return get("http://" + h.address + path) }

func get(url string) ([]byte, error) {
	response, err := http.Get(url) //nolint:noctx // on this machine
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	return io.ReadAll(response.Body)
}

// profile writes profiles of the CPU, over so long, and of the heap.
func (h *hub) profile(kind, file string) error {
	body, err := h.ask("/debug/pprof/" + kind)
	if err != nil {
		return err
	}
	return os.WriteFile(file, body, 0o600)
}

var errTimeout = errors.New("it does not come to rest in time")

// settle waits until the hub has done what there is to do: it has written nothing for a while, and takes no CPU.
func (h *hub) settle(ctx context.Context, s *fakekcp.Server, timeout time.Duration) error {
	const step, silence = 250 * time.Millisecond, 800 * time.Millisecond
	deadline := time.Now().Add(timeout)
	before, idle := h.cpu(), 0
	for time.Now().Before(deadline) {
		select {
		case <-h.ended:
			return fmt.Errorf("tmc-controller has ended: %w", h.err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(step):
		}
		now := h.cpu()
		if _, last := s.Writes(); now-before < 8*time.Millisecond && time.Since(last) > silence && h.isReady() && h.isIdle() {
			idle++
		} else {
			idle = 0
		}
		if before = now; idle >= 4 {
			return nil
		}
	}
	return errTimeout
}
