package framework

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testManifest has two objects that are mounted, one that is not, an empty document and a volume of no object.
const testManifest = `
{apiVersion: v1, kind: Namespace, metadata: {name: tmc-system}}
---
{apiVersion: v1, kind: Secret, metadata: {name: credentials}, data: {kubeconfig: c2VjcmV0}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: config}, data: {rule.yaml: "a: b"}}
---
# nothing
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: unused}, data: {other.yaml: "c: d"}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: syncer}
spec:
  template:
    spec:
      containers:
      - name: main
        args: [--name=east, --kcp-kubeconfig=/etc/kcp/kubeconfig, --leader-elect, --rule=/etc/config/rule.yaml, "--bind-address=:8080"]
        volumeMounts: [{name: kcp, mountPath: /etc/kcp}, {name: rule, mountPath: /etc/config}, {name: scratch, mountPath: /tmp}]
      volumes:
      - {name: scratch, emptyDir: {}}
      - {name: kcp, secret: {secretName: credentials}}
      - {name: rule, configMap: {name: config}}
`

func TestPodIsAProcessWithItsFiles(t *testing.T) {
	pod, err := ReadPod(testManifest)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{"/etc/kcp/kubeconfig": []byte("secret"), "/etc/config/rule.yaml": []byte("a: b")}
	if diff := cmp.Diff(want, pod.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	dir := filepath.Join(t.TempDir(), "pod")
	args := pod.ProcessArgs(dir, "--bind-address", "--leader-elect")
	wantArgs := []string{"--name=east", "--kcp-kubeconfig=" + dir + "/etc/kcp/kubeconfig", "--rule=" + dir + "/etc/config/rule.yaml"}
	if diff := cmp.Diff(wantArgs, args); diff != "" {
		t.Errorf("command line (-want +got):\n%s", diff)
	}
	if got := len(pod.ProcessArgs(dir)); got != len(pod.Args) {
		t.Errorf("got %d arguments with none left out, want %d", got, len(pod.Args))
	}
	for range 2 { // also over those that are there
		if err := pod.Write(dir); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(FlagValue(args, "--kcp-kubeconfig"))
	if err != nil || string(content) != "secret" {
		t.Errorf("the kubeconfig is %q, %v", content, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory is %v, %v", info, err)
	}
}

func TestManifestWithoutPod(t *testing.T) {
	without := func(begin string) string {
		from := strings.Index(testManifest, begin)
		return testManifest[:from] + testManifest[from+strings.Index(testManifest[from:], "\n"):]
	}
	tests := map[string]struct{ manifest, want string }{
		"no Deployment":     {"", "0 Deployments"},
		"two Deployments":   {testManifest + "\n---\n" + testManifest, "2 Deployments"},
		"no Secret":         {without("{apiVersion: v1, kind: Secret"), "Secret credentials"},
		"no ConfigMap":      {without("{apiVersion: v1, kind: ConfigMap, metadata: {name: config}"), "ConfigMap config"},
		"no volume":         {without("      - {name: rule"), "no volume rule"},
		"an unknown object": {"{apiVersion: example.com/v1, kind: Thing}", "Thing"},
		"no YAML":           {"{", "read manifest"},
	}
	for name, test := range tests {
		if _, err := ReadPod(test.manifest); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want one that says %q", name, err, test.want)
		}
	}
}

func TestFlagValue(t *testing.T) {
	args := []string{"--verbose", "--kubeconfig-file=a", "--kubeconfig=b=c", "--kubeconfig=d"}
	for name, want := range map[string]string{"--kubeconfig": "b=c", "--verbose": "", "--missing": ""} {
		if got := FlagValue(args, name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
