package framework

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestLocalFindsComponentOfKwokctl(t *testing.T) {
	const content = `apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokctlConfiguration
components:
- name: etcd
  binary: /x/etcd
  args: [--a=b, --c]
  workDir: /x
  ports: [{name: http, port: 2379}]
- name: kube-apiserver
  binary: /x/kube-apiserver
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
`
	file := filepath.Join(t.TempDir(), "kwok.yaml")
	if err := WriteFile(file, []byte(content)); err != nil {
		t.Fatal(err)
	}
	got, err := readComponent(file, etcdComponent)
	if err != nil {
		t.Fatal(err)
	}
	want := componentSpec{Name: "etcd", Binary: "/x/etcd", Args: []string{"--a=b", "--c"}, WorkDir: "/x"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("component (-want +got):\n%s", diff)
	}
	if _, err := readComponent(file, schedulerComponent); err == nil {
		t.Error("no error for a component that is not there")
	}
}

func TestLocalCountsReadyNodes(t *testing.T) {
	node := func(conditions ...any) unstructured.Unstructured {
		return unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"conditions": conditions}}}
	}
	condition := func(kind, status string) any { return map[string]any{"type": kind, "status": status} }
	nodes := []unstructured.Unstructured{
		node(condition("DiskPressure", "False"), condition("Ready", "True")),
		node(condition("Ready", "False"), condition("DiskPressure", "True")),
		node(),
		{},
	}
	if got := countReady(nodes); got != 1 {
		t.Errorf("got %d ready nodes, want 1", got)
	}
}

func TestLocalRefusesUnknownComponent(t *testing.T) {
	c := &localCluster{name: "east", provider: &localProvider{}}
	for name, act := range map[string]func() error{
		"stop":   func() error { return c.StopComponent(t.Context(), "kubelet") },
		"start":  func() error { return c.StartComponent(t.Context(), "kubelet") },
		"freeze": func() error { return c.FreezeComponent(t.Context(), "kubelet") },
	} {
		if err := act(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
