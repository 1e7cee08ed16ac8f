package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// twoContainers is a Deployment of which strategic merge patches lose something in a kcp that nobody repairs.
const twoContainers = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: two}
spec:
  replicas: 0
  selector: {matchLabels: {app: two}}
  template:
    metadata: {labels: {app: two}}
    spec:
      imagePullSecrets: [{name: p1}, {name: p2}]
      volumes: [{name: v, emptyDir: {}}, {name: w, configMap: {name: c}}]
      containers:
      - name: a
        image: nginx:1
        env: [{name: FOO, value: x}, {name: BAR, valueFrom: {configMapKeyRef: {name: c, key: k}}}]
        ports: [{containerPort: 80, name: http}, {containerPort: 53, protocol: UDP}]
        volumeMounts: [{name: v, mountPath: /v}]
      - {name: b, image: "busybox:1"}
`

// neverSlower bounds a write that kcp asks a dead hub about: kcp's own patience of 2 s, and kubectl on a machine that has
// other things to do.
const neverSlower = 15 * time.Second

// edit is what a user does to the Deployment.
type edit struct {
	name string
	// args are kubectl's, and manifest what it gets on stdin.
	args     []string
	manifest string
}

// edits are done one after the other.
func edits() []edit {
	apply := []string{"apply", "--filename=-"}
	replace := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(twoContainers) }
	return []edit{
		{name: "set image", args: []string{"set", "image", "deployment/two", "a=nginx:2"}},
		{name: "set env", args: []string{"set", "env", "deployment/two", "FOO=y", "NEW=z"}},
		{name: "set env to a value", args: []string{"set", "env", "deployment/two", "--containers=a", "BAR=literal"}},
		{name: "set env of less", args: []string{"set", "env", "deployment/two", "--containers=a", "FOO-", "BAR-"}},
		{name: "set env of none", args: []string{"set", "env", "deployment/two", "NEW-", "FOO-"}},
		{name: "set resources", args: []string{"set", "resources", "deployment/two", "--containers=a", "--limits=cpu=1,memory=1Gi"}},
		{name: "set resources of less", args: []string{"set", "resources", "deployment/two", "--limits=cpu=2"}},
		{name: "apply one container", args: apply, manifest: replace("nginx:1", "nginx:3")},
		{name: "apply a variable less", args: apply, manifest: replace("nginx:1", "nginx:3", "{name: FOO, value: x}, ", "")},
		{name: "apply another order", args: apply, manifest: replace("[{name: p1}, {name: p2}]", "[{name: p2}, {name: p1}]")},
		{name: "apply another source of a volume", args: apply, manifest: replace("configMap: {name: c}}]", "secret: {secretName: s}}]")},
		{name: "apply a port's name", args: apply, manifest: replace("{containerPort: 53, protocol: UDP}", "{containerPort: 53, protocol: UDP, name: dns}")},
		{name: "apply a container less", args: apply, manifest: replace(`- {name: b, image: "busybox:1"}`, "")},
		{name: "apply all of it again", args: apply, manifest: twoContainers},
	}
}

// TestPatchesMergeListsAsInKubernetes does the same in kcp and in a cluster, and compares. Then the hub dies.
//
//nolint:tparallel // one step follows the other
func TestPatchesMergeListsAsInKubernetes(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, "repair")
	check(t, in.start(t.Context()))
	u := newTenant(t, in, "repair")
	plain := namespaceOn(t, env.clusters[north], u.namespace)
	for _, kubeconfig := range []string{u.kubeconfig, plain} {
		check(t, u.edit(t.Context(), kubeconfig, edit{args: []string{"apply", "--filename=-"}, manifest: twoContainers}))
	}
	u.eventuallyRepaired(t)
	for _, e := range edits() {
		t.Run(e.name, func(t *testing.T) {
			for _, kubeconfig := range []string{u.kubeconfig, plain} {
				check(t, u.edit(t.Context(), kubeconfig, e))
			}
			if diff := cmp.Diff(u.podOf(t, plain), u.podOf(t, u.kubeconfig)); diff != "" {
				t.Errorf("(-Kubernetes +kcp)\n%s", diff)
			}
		})
	}
	t.Run("the hub is asked about nobody else's writes", u.isAskedAboutKubectlAlone)
	t.Run("a hub that hangs or is dead is in nobody's way", u.hubIsDead)
}

// namespaceOn makes a namespace on a cluster, and returns the cluster's kubeconfig.
func namespaceOn(t *testing.T, on *cluster, namespace string) string {
	t.Helper()
	_, _, err := framework.Kubectl(t.Context(), on.kubeconfig, "create", "namespace", namespace)
	check(t, err)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if _, _, err := framework.Kubectl(ctx, on.kubeconfig, "delete", "namespace", namespace, "--wait=false"); err != nil {
			t.Error(err)
		}
	})
	return on.kubeconfig
}

// edit does it on one side.
func (u *tenant) edit(ctx context.Context, kubeconfig string, e edit) error {
	_, _, err := framework.KubectlInput(ctx, strings.NewReader(e.manifest), kubeconfig, append([]string{"--namespace=" + u.namespace}, e.args...)...)
	return err
}

// eventuallyRepaired waits until kcp knows the webhook.
func (u *tenant) eventuallyRepaired(t *testing.T) {
	t.Helper()
	eventually(t, "kcp to have patches repaired", soon, func(context.Context) (bool, string, error) {
		stdout, err := u.try(t, "set", "image", "deployment/two", "a=nginx:dry", "--dry-run=server", "--output=json")
		if err != nil {
			return false, err.Error(), nil
		}
		var dry appsv1.Deployment
		if err := json.Unmarshal([]byte(stdout), &dry); err != nil {
			return false, "", err
		}
		return len(dry.Spec.Template.Spec.Containers) == 2, fmt.Sprintf("%d containers", len(dry.Spec.Template.Spec.Containers)), nil
	})
}

// podOf returns the pod template of one side, without what only Kubernetes fills in.
func (u *tenant) podOf(t *testing.T, kubeconfig string) corev1.PodSpec {
	t.Helper()
	stdout, _, err := framework.Kubectl(t.Context(), kubeconfig, "--namespace="+u.namespace, "get", "deployment/two", "--output=json")
	check(t, err)
	var read appsv1.Deployment
	check(t, json.Unmarshal([]byte(stdout), &read))
	spec := read.Spec.Template.Spec
	pod := corev1.PodSpec{ImagePullSecrets: spec.ImagePullSecrets}
	for _, volume := range spec.Volumes {
		if volume.ConfigMap != nil {
			volume.ConfigMap.DefaultMode = nil
		}
		if volume.Secret != nil {
			volume.Secret.DefaultMode = nil
		}
		pod.Volumes = append(pod.Volumes, volume)
	}
	for _, c := range spec.Containers {
		pod.Containers = append(pod.Containers, corev1.Container{
			Name: c.Name, Image: c.Image, Env: c.Env, Ports: c.Ports, Resources: c.Resources, VolumeMounts: c.VolumeMounts,
		})
	}
	return pod
}

func (u *tenant) isAskedAboutKubectlAlone(t *testing.T) {
	counted, err := u.installation.controller.metrics(t.Context())
	check(t, err)
	const writes = "tmc_repair_writes_total"
	if repaired := counted.sum(writes, `verdict="repaired"`); repaired < float64(len(edits()))/2 {
		t.Errorf("%v writes were repaired: the edits are not those that need it", repaired)
	}
	for _, unwanted := range []string{`verdict="left"`, `manager="other"`} {
		if found := counted.sum(writes, unwanted); found > 0 {
			t.Errorf("%v writes with %s, expected none", found, unwanted)
		}
	}
}

// hubIsDead stops the hub, kills it, and starts it again.
func (u *tenant) hubIsDead(t *testing.T) {
	hub := u.installation.controller
	// A Deployment that kcp has nothing of to lose.
	one := `{apiVersion: apps/v1, kind: Deployment, metadata: {name: one}, spec: {replicas: 0, selector: {matchLabels: {app: one}},
		template: {metadata: {labels: {app: one}}, spec: {containers: [{name: a, image: "nginx:1"}]}}}}`
	check(t, u.edit(t.Context(), u.kubeconfig, edit{args: []string{"apply", "--filename=-"}, manifest: strings.ReplaceAll(one, "\t", " ")}))

	check(t, syscall.Kill(hub.process.PID(), syscall.SIGSTOP))
	u.writesInTime(t, "nginx:hung")
	check(t, hub.kill())
	u.writesInTime(t, "nginx:dead")

	check(t, hub.startReady(t.Context()))
	u.eventuallyRepaired(t)
}

// writesInTime sets an image, and fails when that takes long.
func (u *tenant) writesInTime(t *testing.T, image string) {
	t.Helper()
	began := time.Now()
	u.kubectl(t, "set", "image", "deployment/one", "a="+image)
	took := time.Since(began)
	t.Logf("%s was set after %s", image, took.Round(time.Millisecond))
	if took > neverSlower {
		t.Errorf("it took %s, expected no more than %s", took, neverSlower)
	}
	if got := get(t, u.upstream("one")).Spec.Template.Spec.Containers[0].Image; got != image {
		t.Errorf("the image is %s, expected %s", got, image)
	}
}
