package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	logsapi "k8s.io/component-base/logs/api/v1"
)

var errStart = errors.New("it cannot start")

// programOf returns a program with the command line, and what it does.
func programOf(t *testing.T, start func(ctx context.Context) (func(context.Context) error, func() bool, error), validate error, args ...string) error {
	t.Helper()
	if err := logsapi.ResetForTest(nil); err != nil {
		t.Fatal(err)
	}
	command := Program{
		Use: "test", Options: NewOptions(), Validate: func() error { return validate }, Start: start,
	}.Command()
	command.SetArgs(append([]string{"--kcp-kubeconfig=kcp.kubeconfig", "--bind-address=127.0.0.1:0", "--metrics-bind-address="}, args...))
	command.SetErr(io.Discard)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return command.ExecuteContext(ctx)
}

func TestProgram(t *testing.T) {
	ready := func() bool { return true }
	t.Run("it fails when it cannot start", func(t *testing.T) {
		err := programOf(t, func(context.Context) (func(context.Context) error, func() bool, error) { return nil, nil, errStart }, nil)
		if !errors.Is(err, errStart) {
			t.Errorf("the error is %v, want %v", err, errStart)
		}
	})
	t.Run("its work's error is its own", func(t *testing.T) {
		err := programOf(t, func(context.Context) (func(context.Context) error, func() bool, error) {
			return func(context.Context) error { return errWork }, ready, nil
		}, nil)
		if !errors.Is(err, errWork) {
			t.Errorf("the error is %v, want %v", err, errWork)
		}
	})
	t.Run("the work ends when health cannot be served", func(t *testing.T) {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		err = programOf(t, func(context.Context) (func(context.Context) error, func() bool, error) {
			return func(ctx context.Context) error {
				<-ctx.Done()
				return nil
			}, ready, nil
		}, nil, "--bind-address="+taken.Addr().String())
		if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
			t.Errorf("the error is %v, want one that names %s", err, taken.Addr())
		}
	})
	t.Run("a signal ends it in order", func(t *testing.T) {
		err := programOf(t, func(context.Context) (func(context.Context) error, func() bool, error) {
			return func(ctx context.Context) error {
				if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
					return err
				}
				<-ctx.Done()
				return nil
			}, ready, nil
		}, nil)
		if err != nil {
			t.Errorf("it ends with %v", err)
		}
	})
	t.Run("all bad flags are told, and nothing starts", func(t *testing.T) {
		err := programOf(t, func(context.Context) (func(context.Context) error, func() bool, error) {
			t.Error("it has started")
			return nil, nil, nil
		}, errStart, "--workers=0")
		if !errors.Is(err, errStart) || !strings.Contains(err.Error(), "--workers: 0, expected at least 1") {
			t.Errorf("the error is %v, want one that has both", err)
		}
	})
	t.Run("a bad logging format is refused", func(t *testing.T) {
		err := programOf(t, nil, nil, "--logging-format=xml")
		if err == nil || !strings.Contains(err.Error(), "xml") {
			t.Errorf("the error is %v, want one about xml", err)
		}
	})
}

func TestOptionsKCPConfig(t *testing.T) {
	write := func(content string) string {
		file := filepath.Join(t.TempDir(), "kubeconfig")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	of := func(server string) string {
		return write(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c}}], clusters: [{name: c, cluster: {server: "` + server + `"}}]}`)
	}
	o := NewOptions()
	o.KCPKubeconfig = of("https://kcp.example.com/clusters/root")
	config, err := o.KCPConfig("test/1")
	if err != nil || config.Host != "https://kcp.example.com/clusters/root" || config.UserAgent != "test/1" {
		t.Errorf("the configuration is %+v (%v)", config, err)
	}
	for name, file := range map[string]string{"no file": "not-there", "no kubeconfig": write("{"), "no workspace": of("https://kcp.example.com/clusters/a%3Fb")} {
		t.Run(name, func(t *testing.T) {
			o.KCPKubeconfig = file
			if _, err := o.KCPConfig("test/1"); err == nil || !strings.Contains(err.Error(), "--kcp-kubeconfig") {
				t.Errorf("the error is %v, want one that names --kcp-kubeconfig", err)
			}
		})
	}
}

func TestOptionsValidate(t *testing.T) {
	for arg, words := range map[string][]string{
		"--kcp-kubeconfig=":       {"--kcp-kubeconfig is required"},
		"--provider-workspace=a?": {"--provider-workspace", `"a?"`, "root:tmc"},
		"--workers=0":             {"--workers", "at least 1"},
	} {
		err := parsed(t, arg).Validate()
		for _, word := range words {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%s: the error is %v, want one that says %q", arg, err, word)
			}
		}
	}
}
