package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// told is a handler that notes what it is told.
type told []string

func (t *told) SetRule(rule v1alpha1.TransformRule) { *t = append(*t, "rule "+rule.NamespacePrefix) }
func (t *told) SetDenied(patterns []string)         { *t = append(*t, "denied "+strings.Join(patterns, ",")) }
func (t *told) SetAllowed(patterns []string)        { *t = append(*t, "allowed "+strings.Join(patterns, ",")) }
func (t *told) SetProvided(texts []string)          { *t = append(*t, "provided "+strings.Join(texts, ",")) }
func (t *told) SetExport(export string)             { *t = append(*t, "export "+export) }

func prefix(prefix string) v1alpha1.TransformRule {
	return v1alpha1.TransformRule{NamespacePrefix: prefix}
}

func TestSettings(t *testing.T) {
	s, got := &settings{file: prefix("file-"), effective: prefix("file-")}, &told{}
	s.handle(got)
	steps := []struct {
		name string
		do   func()
		want told
	}{
		{"the file's rule holds already", func() { s.setRegistered(nil) }, nil},
		{"the registration's wins", func() { s.setRegistered(new(prefix("reg-"))) }, told{"rule reg-"}},
		{"the file's is for later", func() { s.setFile(prefix("new-")) }, nil},
		{"nothing has changed", func() { s.setRegistered(new(prefix("reg-"))) }, nil},
		{"a rule that does nothing is a rule", func() { s.setRegistered(&v1alpha1.TransformRule{}) }, told{"rule "}},
		{"the file's holds without it", func() { s.setRegistered(nil) }, told{"rule new-"}},
		{"and is followed", func() { s.setFile(prefix("newer-")) }, told{"rule newer-"}},
	}
	for _, step := range steps {
		*got = nil
		step.do()
		if diff := cmp.Diff(step.want, *got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

// TestSettingsOfRegistration has the heartbeat's configuration tell what the registration says.
func TestSettingsOfRegistration(t *testing.T) {
	s, got := &settings{}, &told{}
	config := newOptions().heartbeatConfig(syncer.Config{}, s)
	s.handle(got)
	config.OnDenied([]string{"kube-*"})
	config.OnAllowed([]string{"shop", "default"})
	config.OnProvided([]string{"secrets/*-tls"})
	config.OnExport("cluster-east")
	config.OnRule(new(prefix("p-")))
	want := told{"denied kube-*", "allowed shop,default", "provided secrets/*-tls", "export cluster-east", "rule p-"}
	if diff := cmp.Diff(want, *got); diff != "" || config.Reports != nil {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestFollowRule(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rule.yaml")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("namespacePrefix: a-\n")
	_, data, err := readRule(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content string
		want    []string
	}{
		"a change":              {"namespacePrefix: b-\n", []string{"b-"}},
		"no change":             {"namespacePrefix: a-\n", nil},
		"a rule that is wrong":  {"namespacePrefix: [\n", nil},
		"a field that is wrong": {"namespaceMode: Nothing\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			write(c.content)
			var got []string
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			followRule(ctx, file, data, func(rule v1alpha1.TransformRule) { got = append(got, rule.NamespacePrefix) })
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
		})
	}
	write("namespaceMode: Nothing\n")
	if _, _, err := readRule(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("%v does not name the file", err)
	}
}
