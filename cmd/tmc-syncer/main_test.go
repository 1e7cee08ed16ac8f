package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/bootstrap"
)

func TestTheRegistrationsRuleTakesThePlaceOfTheFiles(t *testing.T) {
	prefix := func(prefix string) v1alpha1.TransformRule { return v1alpha1.TransformRule{NamespacePrefix: prefix} }
	var told []string
	r := newRules(prefix("file-"), func(rule v1alpha1.TransformRule) { told = append(told, rule.NamespacePrefix) })
	steps := []struct {
		reason string
		do     func()
		want   []string
	}{
		{"the file's holds already", func() { r.setRegistered(nil) }, nil},
		{"the registration's wins", func() { r.setRegistered(new(prefix("reg-"))) }, []string{"reg-"}},
		{"the file's is for later", func() { r.setFile(prefix("new-")) }, nil},
		{"nothing has changed", func() { r.setRegistered(new(prefix("reg-"))) }, nil},
		{"a rule that does nothing is a rule", func() { r.setRegistered(&v1alpha1.TransformRule{}) }, []string{""}},
		{"the file's holds without it", func() { r.setRegistered(nil) }, []string{"new-"}},
		{"and is followed", func() { r.setFile(prefix("newer-")) }, []string{"newer-"}},
	}
	for _, step := range steps {
		told = nil
		step.do()
		if diff := cmp.Diff(step.want, told); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.reason, diff)
		}
	}
}

func TestFlagsThatCannotBeAreNamed(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*options)
		words  []string
	}{
		"TheDefaults":      {"they work", func(*options) {}, nil},
		"NoName":           {"nobody can guess it", func(o *options) { o.clusterName = "" }, []string{"--cluster-name is required"}},
		"ABadName":         {"it becomes part of keys", func(o *options) { o.clusterName = "East_1" }, []string{"--cluster-name", `"East_1"`}},
		"NoInterval":       {"it would never rest", func(o *options) { o.heartbeatInterval = 0 }, []string{"--heartbeat-interval", "0s"}},
		"BackInTime":       {"it would never rest", func(o *options) { o.heartbeatInterval = -time.Second }, []string{"--heartbeat-interval", "-1s"}},
		"ALongLocation":    {"the registration refuses it", func(o *options) { o.location = strings.Repeat("x", 64) }, []string{"--location", "63"}},
		"ALabelThatIsNo":   {"the registration refuses it", func(o *options) { o.clusterLabels = map[string]string{"a b": "c"} }, []string{"--cluster-labels", "a b"}},
		"ASecretOfNowhere": {"it is in a namespace", func(o *options) { o.kcpSecret = "kcp" }, []string{"--kcp-secret needs --namespace"}},
		"ALeaseOfNowhere":  {"it is in a namespace", func(o *options) { o.leaderElect = true }, []string{"--leader-elect needs --namespace"}},
		"ABadNamespace":    {"there is none like it", func(o *options) { o.namespace = "A.b" }, []string{"--namespace", "A.b"}},
		"ABadExport":       {"there is none like it", func(o *options) { o.export = "A_b" }, []string{"--export", "A_b"}},
		"AllKinds":         {"no role allows that", func(o *options) { o.kinds = []string{"*"} }, []string{"--kinds", `"*"`}},
		"WhatIsTmcsOwn":    {"it is not synced", func(o *options) { o.kinds = []string{"workloadplacements.tmc.kcp.io"} }, []string{"--kinds", "workloadplacements"}},
		"ABadPattern":      {"the registration refuses it", func(o *options) { o.allowNamespaces = []string{"default", "Kube-*"} }, []string{"--allow-namespaces", `"Kube-*"`, "for instance shop-*"}},
		"ALeaseThatLapses": {"it would end all the time", func(o *options) { o.lease.Duration = time.Second }, []string{"--leader-elect-lease-duration"}},
		"AllOfThem": {
			"one look is enough", func(o *options) { o.clusterName, o.heartbeatInterval = "", 0 },
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
				t.Fatalf("%s: got %v", c.reason, err)
			}
			for _, word := range c.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%s: %q does not say %q", c.reason, err, word)
				}
			}
		})
	}
}

// TestTheManifestsArgumentsAreTheSyncers parses what `kubectl tmc join` generates with the program's own flags.
func TestTheManifestsArgumentsAreTheSyncers(t *testing.T) {
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
