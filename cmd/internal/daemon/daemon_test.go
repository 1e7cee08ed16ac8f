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

var (
	errStart = errors.New("it cannot start")
	errFlag  = errors.New("a flag is bad")
)

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
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	wait := func(ctx context.Context) error { //nolint:unparam // it is a program's work
		<-ctx.Done()
		return nil
	}
	cases := map[string]struct {
		work            func(context.Context) error // nil: it cannot start
		arg             string
		invalid, wanted error
		words           []string
	}{
		"it fails when it cannot start": {nil, "--workers=1", nil, errStart, nil},
		"its work's error is its own":   {func(context.Context) error { return errWork }, "--workers=1", nil, errWork, nil},
		"the work ends when health cannot be served": {
			wait, "--bind-address=" + taken.Addr().String(), nil, nil, []string{taken.Addr().String()},
		},
		"a signal ends it in order": {func(ctx context.Context) error {
			defer func() { _ = wait(ctx) }()
			return syscall.Kill(os.Getpid(), syscall.SIGTERM)
		}, "--workers=1", nil, nil, nil},
		"all bad flags are told":          {wait, "--workers=0", errFlag, errFlag, []string{"--workers: 0, expected at least 1"}},
		"a bad logging format is refused": {wait, "--logging-format=xml", nil, nil, []string{"xml"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := programOf(t, func(context.Context) (func(context.Context) error, func() bool, error) {
				if c.work == nil {
					return nil, nil, errStart
				}
				return c.work, func() bool { return true }, nil
			}, c.invalid, c.arg)
			if c.wanted != nil && !errors.Is(err, c.wanted) || (err != nil) != (c.wanted != nil || len(c.words) > 0) {
				t.Fatalf("the error is %v, want %v, with the words %q", err, c.wanted, c.words)
			}
			for _, word := range c.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("the error %q does not say %q", err, word)
				}
			}
		})
	}
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
