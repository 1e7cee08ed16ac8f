package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
)

// twoContainers is a Deployment of which a strategic merge patch of one container loses the other, in a kcp that nobody repairs.
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

// TestRepairHubDown suspends and kills the hub that repairs patches. Writes go on; one that would lose a container is
// refused, and is right again once the hub is back.
func TestRepairHubDown(t *testing.T) {
	t.Parallel()
	in := newSeparateInstallation(t, "repair")
	check(t, in.start(t.Context()))
	u := newTenant(t, in, "repair")
	hub := in.controller
	u.inKCP().apply(t, twoContainers)
	u.eventuallyRepaired(t)

	u.kubectl(t, "set", "image", "deployment/two", "a=nginx:2")
	u.wantImages(t, "nginx:2", "busybox:1")
	u.isAskedAboutKubectlAlone(t)

	check(t, syscall.Kill(hub.process.PID(), syscall.SIGSTOP))
	u.refusesInTime(t, "hung")
	check(t, hub.kill())
	u.refusesInTime(t, "dead")
	u.kubectl(t, "scale", "deployment/two", "--replicas=1")

	check(t, hub.startReady(t.Context()))
	u.eventuallyRepaired(t)
	u.kubectl(t, "set", "image", "deployment/two", "a=nginx:3")
	u.wantImages(t, "nginx:3", "busybox:1")
}

// eventuallyRepaired waits until kcp knows the webhook.
func (u *tenant) eventuallyRepaired(t *testing.T) {
	t.Helper()
	eventually(t, "kcp to have patches repaired", soon, func(context.Context) (bool, string, error) {
		stdout, err := u.try(t, "set", "image", "deployment/two", "a=nginx:dry", "--dry-run=server", "--output=json")
		if err != nil {
			return false, err.Error(), nil //nolint:nilerr // kcp refuses the write until it knows the webhook
		}
		var dry appsv1.Deployment
		if err := json.Unmarshal([]byte(stdout), &dry); err != nil {
			return false, "", err
		}
		return len(dry.Spec.Template.Spec.Containers) == 2, fmt.Sprintf("%d containers", len(dry.Spec.Template.Spec.Containers)), nil
	})
}

// wantImages fails unless the Deployment has just these images, in this order.
func (u *tenant) wantImages(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, container := range get(t, u.upstream("two")).Spec.Template.Spec.Containers {
		got = append(got, container.Image)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the images are %q, expected %q", got, want)
	}
}

// isAskedAboutKubectlAlone fails when the hub was asked about writes that it does not repair: its own, and the syncers'.
func (u *tenant) isAskedAboutKubectlAlone(t *testing.T) {
	counted, err := u.installation.controller.metrics(t.Context())
	check(t, err)
	const writes = "tmc_repair_writes_total"
	if repaired := counted.sum(writes, `verdict="repaired"`); repaired < 1 {
		t.Errorf("%v writes were repaired, expected at least one", repaired)
	}
	for _, unwanted := range []string{`verdict="left"`, `manager="other"`} {
		if found := counted.sum(writes, unwanted); found > 0 {
			t.Errorf("%v writes with %s, expected none", found, unwanted)
		}
	}
}

// refusesInTime sets an image, which kcp gets wrong by itself, and fails unless that is refused soon and nothing has changed.
func (u *tenant) refusesInTime(t *testing.T, state string) {
	t.Helper()
	before := get(t, u.upstream("two")).Generation
	began := time.Now()
	_, err := u.try(t, "set", "image", "deployment/two", "a=nginx:"+state)
	took := time.Since(began)
	t.Logf("with a hub that is %s, the image was refused after %s", state, took.Round(time.Millisecond))
	if err == nil || !strings.Contains(err.Error(), `"b" in containers`) || took > neverSlower {
		t.Errorf("it took %s and said %v, expected a refusal that names the container b within %s", took, err, neverSlower)
	}
	if after := get(t, u.upstream("two")).Generation; after != before {
		t.Errorf("the generation went from %d to %d", before, after)
	}
}
