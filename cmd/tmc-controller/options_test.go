package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/placement"
)

// parsed returns the options of a command line that has what is required.
func parsed(t *testing.T, args ...string) *options {
	t.Helper()
	o := newOptions()
	flags := pflag.NewFlagSet("tmc-controller", pflag.ContinueOnError)
	o.common.AddFlags(flags)
	o.addFlags(flags)
	if err := flags.Parse(append([]string{"--kcp-kubeconfig=kcp.kubeconfig"}, args...)); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOptionsValidate(t *testing.T) {
	cases := map[string]struct {
		args  []string
		words []string // none where it is valid
	}{
		"the defaults":                        {nil, nil},
		"nothing is placed by default":        {[]string{"--default-placement=none"}, nil},
		"the numbers of one cluster":          {[]string{"--status-counters=per-cluster"}, nil},
		"numbers of nobody":                   {[]string{"--status-counters=PerCluster"}, []string{"--status-counters", `"PerCluster"`, `"sum"`, `"per-cluster"`}},
		"failover at once":                    {[]string{"--failover-after=0s"}, nil},
		"patches are repaired":                {[]string{"--repair-bind-address=:9443"}, nil},
		"a cluster is silent at once":         {[]string{"--cluster-silent-after=0s"}, []string{"--cluster-silent-after", "0s", "more than 0"}},
		"failover before a cluster is silent": {[]string{"--failover-after=-1s"}, []string{"--failover-after", "-1s", "0 or more"}},
		"a default that there is not":         {[]string{"--default-placement=some"}, []string{"--default-placement", `"some"`, `"all"`, `"none"`}},
		"a webhook without a port":            {[]string{"--repair-bind-address=localhost"}, []string{"--repair-bind-address", "localhost", "host:port"}},
		"a lease that ends before its renewal": {
			[]string{"--leader-elect-lease-duration=2s"}, []string{"--leader-elect-lease-duration", "2s", "--leader-elect-renew-deadline"},
		},
		"all that is wrong is told": {
			[]string{"--cluster-silent-after=0s", "--default-placement="}, []string{"--cluster-silent-after", "--default-placement"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := parsed(t, c.args...).validate()
			if (err != nil) != (len(c.words) > 0) {
				t.Fatalf("the error is %v, want one with %q", err, c.words)
			}
			for _, word := range c.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("the error %q does not say %q", err, word)
				}
			}
		})
	}
}

func TestOptionsComplete(t *testing.T) {
	f := newFakeKCP(t)
	o := parsed(t, "--kcp-kubeconfig="+f.kubeconfig(), "--provider-workspace=root:other", "--cluster-silent-after=1m", "--failover-after=2m",
		"--default-placement=none", "--workers=3", "--leader-elect=false", "--repair-bind-address=:9443", "--status-counters=per-cluster")
	config, err := o.complete()
	if err != nil {
		t.Fatal(err)
	}
	if config.kcp.Host != f.URL+"/clusters/root" || !strings.HasPrefix(config.kcp.UserAgent, "tmc-controller/") {
		t.Errorf("kcp is %s, asked by %q", config.kcp.Host, config.kcp.UserAgent)
	}
	config.kcp = nil
	want := hubConfig{
		providerWorkspace: config.providerWorkspace, silentAfter: time.Minute, failoverAfter: 2 * time.Minute,
		defaultPlacement: placement.DefaultNone, workers: 3, lease: config.lease, repairAddress: ":9443", kinds: config.kinds,
		statusCounters: v1alpha1.CountersPerCluster,
	}
	if got := config.providerWorkspace.String(); got != "root:other" {
		t.Errorf("the provider workspace is %s", got)
	}
	if config.leaderElect != want.leaderElect || config.silentAfter != want.silentAfter || config.failoverAfter != want.failoverAfter ||
		config.defaultPlacement != want.defaultPlacement || config.workers != want.workers || config.repairAddress != want.repairAddress ||
		config.statusCounters != want.statusCounters {
		t.Errorf("the configuration is %+v, want %+v", config, want)
	}
}

func TestStartErrorsNameTheFlag(t *testing.T) {
	f := newFakeKCP(t)
	for name, c := range map[string]struct {
		args []string
		word string
	}{
		"no kubeconfig":         {nil, "--kcp-kubeconfig"},
		"no file of kinds":      {[]string{"--kcp-kubeconfig=" + f.kubeconfig(), "--kinds-file=not-there"}, "--kinds-file"},
		"a server that is none": {[]string{"--kcp-kubeconfig=" + f.kubeconfigAt("/clusters/a%3Fb"), "--kinds-file="}, "--kcp-kubeconfig"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := parsed(t, c.args...).start(t.Context()); err == nil || !strings.Contains(err.Error(), c.word) {
				t.Errorf("the error is %v, want one that names %s", err, c.word)
			}
		})
	}
}

// TestCommand runs the program as a process would, until it is ready.
func TestCommand(t *testing.T) {
	f := newFakeKCP(t)
	address, metrics := freeAddress(t), freeAddress(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	command := newCommand()
	command.SetArgs([]string{"--kcp-kubeconfig=" + f.kubeconfig(), "--bind-address=" + address, "--metrics-bind-address=" + metrics})
	ended := make(chan error, 1)
	go func() { ended <- command.ExecuteContext(ctx) }()
	for began := time.Now(); status(address) != http.StatusOK; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("it does not get ready")
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ends with %v", err)
	}
}

func TestCommandRefusesFlags(t *testing.T) {
	command := newCommand()
	command.SetArgs([]string{"--workers=0", "--failover-after=-1s"})
	command.SetErr(io.Discard)
	err := command.ExecuteContext(t.Context())
	for _, word := range []string{"--kcp-kubeconfig is required", "--workers", "--failover-after"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("the error is %v, want one that says %q", err, word)
		}
	}
}

// freeAddress returns one at which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// status returns what /readyz answers, 0 for nothing.
func status(address string) int {
	response, err := http.Get("http://" + address + "/readyz")
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	return response.StatusCode
}
