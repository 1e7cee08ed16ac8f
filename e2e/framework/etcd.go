package framework

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

const (
	kcpEtcdName      = "kcp-etcd"
	etcdStartTimeout = time.Minute
)

// KCPEtcd is the etcd of a kcp that has one of its own process. It keeps its data and its ports over restarts.
type KCPEtcd struct {
	binary string
	dir    *directory
	run    string
	lease  *PortLease

	mu      sync.Mutex
	process *Process
}

func newKCPEtcd(tools string, dir *directory, run string) (*KCPEtcd, error) {
	binary := filepath.Join(tools, "etcd")
	if err := requireFiles(binary); err != nil {
		return nil, err
	}
	lease, err := ReservePorts(2)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kcpEtcdName, err)
	}
	return &KCPEtcd{binary: binary, dir: dir, run: run, lease: lease}, nil
}

// URL gives the address at which it serves its clients.
func (e *KCPEtcd) URL() string { return e.url(0) }

func (e *KCPEtcd) url(port int) string {
	return "http://" + net.JoinHostPort(loopback, strconv.Itoa(e.lease.Ports()[port]))
}

// Process returns the process of the last start.
func (e *KCPEtcd) Process() *Process {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.process
}

// Start runs etcd, again after Kill, and returns when it serves. It fails when it ends before that, after a minute, and when
// ctx ends; then it does not run.
func (e *KCPEtcd) Start(ctx context.Context) error {
	if process := e.Process(); process != nil && !process.Exited() {
		return fmt.Errorf("start %s: it is running (process %d)", kcpEtcdName, process.PID())
	}
	process, err := StartProcess(ProcessConfig{
		Name: kcpEtcdName,
		Path: e.binary,
		Args: []string{
			"--name=kcp",
			"--data-dir=" + e.dir.file(kcpName, "etcd"),
			"--listen-client-urls=" + e.url(0), "--advertise-client-urls=" + e.url(0),
			"--listen-peer-urls=" + e.url(1), "--initial-advertise-peer-urls=" + e.url(1),
			"--initial-cluster=kcp=" + e.url(1),
			"--unsafe-no-fsync", // the data need not survive the machine
			"--log-level=warn",
		},
		Env:     mark(e.run, kcpEtcdName),
		LogFile: e.dir.file(logsName, kcpEtcdName+".log"),
	})
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.process = process
	e.mu.Unlock()
	err = Eventually(ctx, kcpEtcdName+" to be healthy", etcdStartTimeout, func(ctx context.Context) (bool, string, error) {
		if code, exited := process.ExitCode(); exited {
			return true, "", fmt.Errorf("it ended with exit code %d", code)
		}
		return getOK(ctx, http.DefaultClient, e.URL()+"/health?serializable=true")
	})
	if err != nil {
		return errors.Join(withTail(err, process.LogFile()), process.Kill9())
	}
	return nil
}

// Kill ends etcd as a crash would, with SIGKILL.
func (e *KCPEtcd) Kill() error {
	process := e.Process()
	if process == nil {
		return nil
	}
	return process.Kill9()
}

// close ends etcd for good. Nothing of it is worth an orderly end.
func (e *KCPEtcd) close() error { return errors.Join(e.Kill(), e.lease.Release()) }

// RefuseWrites has the etcd at a URL refuse all that would take space, as one does that is full (the alarm NOSPACE), or
// accept it again.
func RefuseWrites(ctx context.Context, etcdURL string, refuse bool) error {
	action := "DEACTIVATE"
	if refuse {
		action = "ACTIVATE"
	}
	var status struct {
		Header struct {
			MemberID string `json:"member_id"`
		} `json:"header"`
	}
	if err := postEtcd(ctx, etcdURL+"/v3/maintenance/status", map[string]any{}, &status); err != nil {
		return err
	}
	return postEtcd(ctx, etcdURL+"/v3/maintenance/alarm",
		map[string]any{"action": action, "memberID": status.Header.MemberID, "alarm": "NOSPACE"}, nil)
}

// postEtcd calls a method of etcd's JSON gateway.
func postEtcd(ctx context.Context, url string, request, response any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	httpRequest, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	httpResponse, err := http.DefaultClient.Do(httpRequest)
	if err != nil {
		return err
	}
	defer func() { _ = httpResponse.Body.Close() }()
	data, err := io.ReadAll(httpResponse.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	if httpResponse.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, httpResponse.Status, bytes.TrimSpace(data))
	}
	if response == nil {
		return nil
	}
	if err := json.Unmarshal(data, response); err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	return nil
}
