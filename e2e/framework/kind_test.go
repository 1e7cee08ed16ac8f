package framework

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// kindEnv asks for the test that runs kind clusters; it takes about two minutes and wants Docker, kind and a node image.
const kindEnv = "TMC_E2E_KIND"

func TestKindFirstIPv4Gateway(t *testing.T) {
	tests := map[string]struct{ addresses, want string }{
		"one":            {"172.18.0.1 \n", "172.18.0.1"},
		"IPv6 first":     {"fc00:f853:ccd:e793::1 172.19.0.1 ", "172.19.0.1"},
		"IPv6 alone":     {"fc00::1", ""},
		"no gateway":     {"  \n", ""},
		"with a network": {"172.18.0.0/16", ""},
	}
	for name, test := range tests {
		got, err := firstIPv4(test.addresses)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, test.want)
		}
	}
}

func TestKindPauseImageByTag(t *testing.T) {
	const list = "docker.io/kindest/pauses:1\nsha256:0123\nregistry.example.com/pause@sha256:0123\nregistry.example.com/pause:3.10\n"
	got, err := findPause(list)
	if err != nil || got != "registry.example.com/pause:3.10" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := findPause("sha256:0123\n"); err == nil {
		t.Errorf("got %q where there is none", got)
	}
}

func TestKindProviderNamesMissingTools(t *testing.T) {
	t.Setenv(ToolsDirEnv, t.TempDir())
	t.Setenv(KindBinaryEnv, "")
	if _, err := NewKindProvider(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without kind the error is %v, want %v", err, os.ErrNotExist)
	}
	kind := filepath.Join(t.TempDir(), "kind")
	if err := os.WriteFile(kind, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv(KindBinaryEnv, kind)
	t.Setenv("PATH", filepath.Dir(kind))
	if _, err := NewKindProvider(t.TempDir()); err == nil {
		t.Error("no error without docker")
	}
	if err := os.Symlink(kind, filepath.Join(filepath.Dir(kind), "docker")); err != nil {
		t.Fatal(err)
	}
	p, err := NewKindProvider(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, options := range []ClusterOptions{{Nodes: 2}, {Nodes: 1, AuditPolicy: "policy.yaml"}} {
		if _, err := p.Create(t.Context(), "east", options); err == nil {
			t.Errorf("no error for a cluster with %+v", options)
		}
	}
}

// TestStackWithKind runs kcp and two clusters of real nodes: pods run on both, and both reach kcp.
func TestStackWithKind(t *testing.T) {
	if os.Getenv(kindEnv) == "" {
		t.Skipf("runs kind clusters: set %s=1", kindEnv)
	}
	provider, err := NewKindProvider(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	address, err := provider.HostAddress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := &stackTest{T: t}
	s.stack, err = Start(t.Context(), Options{
		Dir: t.TempDir(), Clusters: []string{"east", "west"}, KCPAddress: address, Provider: provider, Progress: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stopAndLookAround()
		s.lookForContainers(provider)
	})
	for _, name := range []string{"east", "west"} {
		if s.east, err = s.stack.Cluster(name); err != nil {
			t.Fatal(err)
		}
		s.step("pods run on "+name, func(ctx context.Context) error {
			if err := provider.NamePause(ctx, name, "docker.io/library/web:1"); err != nil {
				return err
			}
			return s.deploymentBecomesAvailable(ctx)
		})
		s.step(name+" reaches kcp", func(ctx context.Context) error {
			// Of kcp's certificate this says nothing: that it names the address is for those who verify it.
			_, err := provider.run(ctx, "docker", "exec", kindNode(name), "curl", "--silent", "--fail", "--insecure", s.stack.KCP.URL()+"/livez")
			return err
		})
		s.step("components of "+name+" are the kubelet's", func(ctx context.Context) error {
			if err := s.east.StopComponent(ctx, apiServerComponent); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("stopping a component gave %v, want %v", err, errors.ErrUnsupported)
			}
			return nil
		})
	}
	s.step("a workspace serves", s.workspaceServes)
}

// lookForContainers ends the provider, and looks for what it has left behind.
func (s *stackTest) lookForContainers(provider *KindProvider) {
	ctx := context.WithoutCancel(s.Context())
	if err := provider.Close(ctx); err != nil {
		s.Error(err)
	}
	left, err := provider.run(ctx, "docker", "ps", "--all", "--quiet", "--filter=name="+kindPrefix)
	if err != nil || left != "" {
		s.Errorf("containers are left behind: %q, %v", left, err)
	}
}
