package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// TestCommandLineErrors checks that a program that cannot work ends, and what it says.
func TestCommandLineErrors(t *testing.T) {
	t.Parallel()
	kcp, err := env.stack.KCP.Kubeconfig("root")
	check(t, err)
	server, err := env.stack.KCP.Kubeconfig("")
	check(t, err)
	missing := filepath.Join(t.TempDir(), "missing.kubeconfig")
	cluster := env.clusters[east].kubeconfig
	taken := "--bind-address=" + env.shared.controller.address

	cases := map[string]struct {
		binary string
		args   []string
		words  []string
	}{
		"syncer: unknown flag":      {syncerBinary, []string{"--cluster=east"}, []string{"unknown flag: --cluster"}},
		"syncer: missing flags":     {syncerBinary, nil, []string{"--kcp-kubeconfig is required", "--cluster-name is required"}},
		"syncer: superfluous words": {syncerBinary, []string{"east"}, []string{`"east"`}},
		"syncer: bad cluster name": {
			syncerBinary, []string{"--kcp-kubeconfig=" + kcp, "--cluster-name=East_1"},
			[]string{"--cluster-name", `"East_1" is not a cluster name`},
		},
		"syncer: no kubeconfig for kcp": {
			syncerBinary, []string{"--kcp-kubeconfig=" + missing, "--cluster-name=east", "--kubeconfig=" + cluster},
			[]string{"--kcp-kubeconfig", missing, "no such file"},
		},
		"syncer: no kubeconfig for the cluster": {
			syncerBinary, []string{"--kcp-kubeconfig=" + kcp, "--cluster-name=east", "--kubeconfig=" + missing},
			[]string{"--kubeconfig", missing, "no such file"},
		},
		"syncer: outside of a cluster": {
			syncerBinary, []string{"--kcp-kubeconfig=" + kcp, "--cluster-name=east"},
			[]string{"no --kubeconfig", "not in a cluster"},
		},
		"syncer: bad workspace": {
			syncerBinary, []string{"--kcp-kubeconfig=" + kcp, "--cluster-name=east", "--provider-workspace=root/tmc"},
			[]string{"--provider-workspace", `"root/tmc"`, "root:tmc"},
		},
		"syncer: single workspace without one": {
			syncerBinary, []string{"--kcp-kubeconfig=" + server, "--cluster-name=east", "--kubeconfig=" + cluster, "--single-workspace"},
			[]string{"--single-workspace", "points at no workspace", "/clusters/WORKSPACE"},
		},
		"syncer: address that is taken": {
			syncerBinary, []string{"--kcp-kubeconfig=" + kcp, "--cluster-name=taken", "--kubeconfig=" + cluster, taken},
			[]string{env.shared.controller.address, "address already in use"},
		},
		"controller: unknown flag":  {controllerBinary, []string{"--cluster=east"}, []string{"unknown flag: --cluster"}},
		"controller: missing flags": {controllerBinary, nil, []string{"--kcp-kubeconfig is required"}},
		"controller: bad values": {
			controllerBinary, []string{"--kcp-kubeconfig=" + kcp, "--cluster-silent-after=0s", "--failover-after=-1s", "--default-placement=some", "--workers=0"},
			[]string{"--cluster-silent-after: 0s", "--failover-after: -1s", `--default-placement: "some"`, "--workers: 0"},
		},
		"controller: no kubeconfig for kcp": {
			controllerBinary, []string{"--kcp-kubeconfig=" + missing},
			[]string{"--kcp-kubeconfig", missing, "no such file"},
		},
		"plugin: unknown flag":    {pluginBinary, []string{"bind", "--workspace=x"}, []string{"unknown flag: --workspace", "--help"}},
		"plugin: unknown command": {pluginBinary, []string{"unbind"}, []string{`"unbind"`}},
		"plugin: no kubeconfig":   {pluginBinary, []string{"init", "--kubeconfig=" + missing}, []string{missing, "no such file"}},
		"plugin: bind no workspace": {
			pluginBinary, []string{"bind", "--kubeconfig=" + server}, []string{"points to no workspace", "/clusters/"},
		},
		"plugin: bind what is not installed": {
			pluginBinary, []string{"bind", "--kubeconfig=" + kcp, "--provider-workspace=root:nothing"},
			[]string{"root:nothing", "kubectl tmc init"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended, err := runProgram(t.Context(), c.binary, c.args...)
			check(t, err)
			if ended.code != 1 || !hasWords(ended.stderr, c.words) {
				t.Errorf("exit code %d, want 1; message:\n%s\nwant the words %q in it", ended.code, ended.stderr, c.words)
			}
			// The words are to be seen, not to scroll away.
			if lines := strings.Count(ended.stderr, "\n"); lines > 12 {
				t.Errorf("the message has %d lines:\n%s", lines, ended.stderr)
			}
		})
	}
}

// TestStartWaitsForKCP starts programs before kcp can be reached.
func TestStartWaitsForKCP(t *testing.T) {
	t.Parallel()
	address, err := env.stack.FreeAddress()
	check(t, err)
	kubeconfig := kubeconfigWith(t, func(c *api.Cluster, _ *api.AuthInfo) { c.Server = at(t, c.Server, address) })
	// The cluster registers itself: it is not to be among those of the other tests.
	provider := "--provider-workspace=" + newInstallation(t, "waiting").provider
	waiting := []*program{
		startProgram(t, "waiting-syncer", syncerBinary,
			"--kcp-kubeconfig="+kubeconfig, provider, "--cluster-name=waiting", "--kubeconfig="+env.clusters[east].kubeconfig),
		startProgram(t, "waiting-controller", controllerBinary,
			"--kcp-kubeconfig="+kubeconfig, provider),
	}
	for _, p := range waiting {
		p.eventuallyLogs(t, "kcp is not reachable, will try again", address, "connection refused")
		p.checkAnswers(t, "/healthz", http.StatusOK)
		p.checkAnswers(t, "/readyz", http.StatusServiceUnavailable)
	}

	forward(t, address, env.stack.KCP.URL())
	for _, p := range waiting {
		check(t, p.waitReady(t.Context()))
	}
}

// TestSyncerWithUnknownToken puts a wrong token into the kubeconfig.
func TestSyncerWithUnknownToken(t *testing.T) {
	t.Parallel()
	kubeconfig := kubeconfigWith(t, func(_ *api.Cluster, user *api.AuthInfo) { user.Token = "wrong" })
	syncer := startProgram(t, "unknown-syncer", syncerBinary,
		"--kcp-kubeconfig="+kubeconfig, "--cluster-name=unknown", "--kubeconfig="+env.clusters[east].kubeconfig)
	syncer.eventuallyLogs(t, "kcp does not accept the credentials", "--kcp-kubeconfig", "will try again")
	syncer.checkAnswers(t, "/healthz", http.StatusOK)
	syncer.checkAnswers(t, "/readyz", http.StatusServiceUnavailable)
	// Somebody who waits ends like any other.
	check(t, syncer.stop(t.Context()))
}

// kubeconfigWith writes kcp's kubeconfig with a change.
func kubeconfigWith(t *testing.T, change func(*api.Cluster, *api.AuthInfo)) string {
	t.Helper()
	original, err := env.stack.KCP.Kubeconfig("root")
	check(t, err)
	config, err := clientcmd.LoadFromFile(original)
	check(t, err)
	current := config.Contexts[config.CurrentContext]
	change(config.Clusters[current.Cluster], config.AuthInfos[current.AuthInfo])
	file := filepath.Join(t.TempDir(), "changed.kubeconfig")
	check(t, clientcmd.WriteToFile(*config, file))
	return file
}

// at returns a URL at another address.
func at(t *testing.T, server, address string) string {
	t.Helper()
	parsed, err := url.Parse(server)
	check(t, err)
	parsed.Host = address
	return parsed.String()
}

// forward hands connections to an address on to a server, until the test ends.
func forward(t *testing.T, address, server string) {
	t.Helper()
	target, err := url.Parse(server)
	check(t, err)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	check(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var open sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		_ = listener.Close() // nothing is lost with it
		open.Wait()
	})
	open.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // closed
			}
			open.Go(func() { join(ctx, client, target.Host) })
		}
	})
}

// join connects a client to an address until either side or ctx ends.
func join(ctx context.Context, client net.Conn, address string) {
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		_ = client.Close() // as the server would have
		return
	}
	closeBoth := func() {
		_ = client.Close()
		_ = server.Close()
	}
	defer context.AfterFunc(ctx, closeBoth)()
	var copying sync.WaitGroup
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		copying.Go(func() {
			defer closeBoth()
			_, _ = io.Copy(pair[0], pair[1]) // however it ends, it has ended
		})
	}
	copying.Wait()
}
