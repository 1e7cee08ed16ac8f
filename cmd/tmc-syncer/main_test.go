package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/bootstrap"
)

func TestOptionsValidate(t *testing.T) {
	cases := map[string]struct {
		change func(*options)
		words  []string
	}{
		"the defaults work":                        {func(*options) {}, nil},
		"a missing name":                           {func(o *options) { o.clusterName = "" }, []string{"--cluster-name is required"}},
		"a name that cannot be part of keys":       {func(o *options) { o.clusterName = "East_1" }, []string{"--cluster-name", `"East_1"`}},
		"no interval":                              {func(o *options) { o.heartbeatInterval = 0 }, []string{"--heartbeat-interval", "0s"}},
		"a negative interval":                      {func(o *options) { o.heartbeatInterval = -time.Second }, []string{"--heartbeat-interval", "-1s"}},
		"a location that the registration refuses": {func(o *options) { o.location = strings.Repeat("x", 64) }, []string{"--location", "63"}},
		"a label that the registration refuses":    {func(o *options) { o.clusterLabels = map[string]string{"a b": "c"} }, []string{"--cluster-labels", "a b"}},
		"a Secret without a namespace":             {func(o *options) { o.kcpSecret = "kcp" }, []string{"--kcp-secret needs --namespace"}},
		"a lease without a namespace":              {func(o *options) { o.leaderElect = true }, []string{"--leader-elect needs --namespace"}},
		"a namespace that cannot be":               {func(o *options) { o.namespace = "A.b" }, []string{"--namespace", "A.b"}},
		"an export that cannot be":                 {func(o *options) { o.export = "A_b" }, []string{"--export", "A_b"}},
		"kinds that no role allows":                {func(o *options) { o.kinds = []string{"*"} }, []string{"--kinds", `"*"`}},
		"a kind that is not synced":                {func(o *options) { o.kinds = []string{"workloadplacements.tmc.kcp.io"} }, []string{"--kinds", "workloadplacements"}},
		"a pattern that the registration refuses":  {func(o *options) { o.allowNamespaces = []string{"default", "Kube-*"} }, []string{"--allow-namespaces", `"Kube-*"`, "for instance shop-*"}},
		"a lease that would end all the time":      {func(o *options) { o.lease.Duration = time.Second }, []string{"--leader-elect-lease-duration"}},
		"all mistakes are named at once": {
			func(o *options) { o.clusterName, o.heartbeatInterval = "", 0 },
			[]string{"--cluster-name", "--heartbeat-interval"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := newOptions()
			o.clusterName = "east"
			c.change(o)
			err := o.validate()
			if (err != nil) != (len(c.words) > 0) {
				t.Fatalf("got %v", err)
			}
			for _, word := range c.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
}

// TestManifestArguments parses what `kubectl tmc join` generates with the program's own flags.
func TestManifestArguments(t *testing.T) {
	args := bootstrap.Arguments(bootstrap.Options{
		Cluster: "east", Namespace: "sync", ProviderWorkspace: "root:org:tmc", Export: "cluster-east",
		Kinds: []schema.GroupResource{{Group: "apps", Resource: "deployments"}, {Resource: "configmaps"}}, MetricsFrom: []string{"monitoring"},
	})
	o := newOptions()
	flags := pflag.NewFlagSet("tmc-syncer", pflag.ContinueOnError)
	o.common.AddFlags(flags)
	o.addFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	if flags.NArg() > 0 {
		t.Errorf("words that are no flags: %q", flags.Args())
	}
	if err := errors.Join(o.common.Validate(), o.validate()); err != nil {
		t.Error(err)
	}
	got := []any{o.clusterName, o.namespace, o.kcpSecret, o.export, o.kinds, o.selfRegister, o.leaderElect, o.common.ProviderWorkspace, o.common.BindAddress, o.common.MetricsBindAddress}
	want := []any{"east", "sync", bootstrap.SecretName, "cluster-east", []string{"configmaps", "deployments.apps"}, false, true, "root:org:tmc", ":8080", ":8081"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the flags say (-want +got):\n%s", diff)
	}
	for file, in := range map[string]string{o.common.KCPKubeconfig: bootstrap.KubeconfigKey, o.transformConfig: bootstrap.RuleKey} {
		if !strings.HasSuffix(file, "/"+in) {
			t.Errorf("file %q, want one called %s", file, in)
		}
	}
}

// kubeconfig writes a kubeconfig with the server, and returns its file.
func kubeconfig(t *testing.T, server string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	content := `{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: "` + server + `"}}],
contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {token: t}}]}`
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// working returns options that describe a syncer which reaches nothing.
func working(t *testing.T) *options {
	t.Helper()
	o := newOptions()
	o.clusterName = "east"
	o.common.KCPKubeconfig, o.kubeconfig = kubeconfig(t, "https://127.0.0.1:1"), kubeconfig(t, "https://127.0.0.1:2")
	return o
}

func TestOptionsComplete(t *testing.T) {
	cases := map[string]struct {
		change func(*options)
		says   string
	}{
		"all is there":                  {func(*options) {}, ""},
		"no kubeconfig for kcp":         {func(o *options) { o.common.KCPKubeconfig = "/does/not/exist" }, "/does/not/exist"},
		"no kubeconfig for the cluster": {func(o *options) { o.kubeconfig = "/does/not/exist" }, "--kubeconfig: "},
		"not in a cluster":              {func(o *options) { o.kubeconfig = "" }, "no --kubeconfig, and not in a cluster"},
		"no workspace":                  {func(o *options) { o.singleWorkspace = true }, "--single-workspace: the server https://127.0.0.1:1 in --kcp-kubeconfig points at no workspace"},
		"a workspace": {func(o *options) {
			o.singleWorkspace, o.common.KCPKubeconfig = true, kubeconfig(t, "https://127.0.0.1:1/clusters/root:shop")
		}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := working(t)
			c.change(o)
			config, err := o.complete()
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, want %q", err, c.says)
				}
				return
			}
			if err != nil || config.Cluster != "east" || config.Downstream.Host != "https://127.0.0.1:2" || !strings.Contains(config.Downstream.UserAgent, "(cluster east)") {
				t.Errorf("got %+v, %v", config, err)
			}
		})
	}
}

func TestOptionsKinds(t *testing.T) {
	o := working(t)
	o.kinds = []string{"deployments.apps"}
	config, err := o.complete()
	if err != nil {
		t.Fatal(err)
	}
	if !config.Synced(schema.GroupResource{Group: "apps", Resource: "deployments"}) || config.Synced(schema.GroupResource{Resource: "secrets"}) {
		t.Error("--kinds does not count")
	}
	if reports := o.heartbeatConfig(config, &settings{}).Reports; !reports("apps", "deployments") || reports("", "secrets") {
		t.Error("the registration would say otherwise")
	}
}

func TestOptionsStart(t *testing.T) {
	rule := filepath.Join(t.TempDir(), "rule.yaml")
	if err := os.WriteFile(rule, []byte("namespacePrefix: p-\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		change func(*options)
		says   string
	}{
		"it is not ready before it has read both sides":       {func(*options) {}, ""},
		"a replica is not ready before it has read the lease": {func(o *options) { o.leaderElect, o.namespace = true, "sync" }, ""},
		"the rule is read from a file":                        {func(o *options) { o.transformConfig = rule }, ""},
		"a file that is not there is named":                   {func(o *options) { o.transformConfig = "/does/not/exist" }, "--transform-config: open /does/not/exist"},
		"a kubeconfig that is not there is named":             {func(o *options) { o.common.KCPKubeconfig = "/does/not/exist" }, "/does/not/exist"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := working(t)
			c.change(o)
			run, ready, err := o.start(t.Context())
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, want %q", err, c.says)
				}
				return
			}
			if err != nil || run == nil || ready() {
				t.Errorf("ready %t, error %v", ready(), err)
			}
		})
	}
}

func TestCommand(t *testing.T) {
	command := newCommand()
	command.SetArgs([]string{"--heartbeat-interval=-1s"})
	command.SilenceErrors = true
	if err := command.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "--cluster-name is required") || !strings.Contains(err.Error(), "--heartbeat-interval") {
		t.Errorf("got %v", err)
	}
}
