package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// failingJob is a Job whose only pod runs a program of ours with a flag that it does not have.
const failingJob = `apiVersion: batch/v1
kind: Job
metadata: {name: run, annotations: {tmc.kcp.io/target-clusters: east}}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: run, image: %q, imagePullPolicy: Never, command: [/usr/local/bin/tmc-syncer, --nonsense], terminationMessagePolicy: FallbackToLogsOnError}
`

// TestCausesOfRealKubelets has pods that do not run, each for a reason of its own, and looks for it where a tenant looks who sees
// no cluster: in the conditions, in the events, and in what the plugin says.
func TestCausesOfRealKubelets(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "kubelets")
	u.kubectl(t, "create", "secret", "generic", "settings", "--from-literal=there=1")
	cases := map[string]struct {
		change func(*corev1.Container, *corev1.PodSpec)
		reason string
		words  []string
	}{
		"image": {func(c *corev1.Container, _ *corev1.PodSpec) { c.Image = "example.com/none:1" }, "ImagePullBackOff", []string{"example.com/none:1"}},
		"crash": {func(c *corev1.Container, _ *corev1.PodSpec) {
			c.Image, c.ImagePullPolicy, c.Command = env.image, corev1.PullNever, []string{"/usr/local/bin/tmc-syncer", "--nonsense"}
			c.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
		}, "CrashLoopBackOff", []string{"container web", "exit code 1", "unknown flag: --nonsense"}},
		"start": {func(c *corev1.Container, _ *corev1.PodSpec) { c.Command = []string{"/nothing"} }, "RunContainerError", []string{"container web", "/nothing"}},
		"config": {func(c *corev1.Container, _ *corev1.PodSpec) {
			c.Env = []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}, Key: "missing",
			}}}}
		}, "CreateContainerConfigError", []string{"missing", "settings"}},
		"schedule": {func(_ *corev1.Container, p *corev1.PodSpec) { p.NodeSelector = map[string]string{"no": "where"} }, "Unschedulable", []string{"node"}},
		"probe": {func(c *corev1.Container, _ *corev1.PodSpec) {
			c.ReadinessProbe = &corev1.Probe{PeriodSeconds: 2, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(9)}}}
		}, "Unhealthy", []string{"readiness probe", "container web"}},
	}
	var all []*appsv1.Deployment
	for name, tc := range cases {
		all = append(all, deployment(name, on(east), withDeadline(20), func(d *appsv1.Deployment) {
			tc.change(&d.Spec.Template.Spec.Containers[0], &d.Spec.Template.Spec)
		}))
	}
	u.apply(t, all)
	u.inKCP().apply(t, fmt.Sprintf(failingJob, env.image))
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			told := append([]string{"east: 1 of 1 pod: " + tc.reason}, tc.words...)
			eventuallyIs(t, "Available to say why", u.upstream(name), func(d *appsv1.Deployment) bool {
				available := condition(d, "Available")
				return available.Status == "False" && hasWords(available.Message, told)
			})
			t.Log(condition(get(t, u.upstream(name)), "Available").Message)
			u.eventuallyEvent(t, name, tc.reason, told...)
			u.eventuallyDescribed(t, "deployment/"+name, told[1:]...)
			if synced := condition(get(t, u.upstream(name)), "Synced"); synced.Status != "True" {
				t.Errorf("Synced is %+v, and the copy is in place", synced)
			}
		})
	}
	t.Run("a Job", func(t *testing.T) {
		u.kubectl(t, "wait", "--for=condition=Failed", "job/run", "--timeout=120s")
		u.eventuallyDescribed(t, "job/run", "Why it does not run", "exit code 1", "unknown flag: --nonsense")
		u.eventuallyEvent(t, "run", "Error", "east: 1 pod", "exit code 1")
		said := u.kubectl(t, "get", "job", "run", "-o", `jsonpath={.status.conditions[?(@.type=="Failed")].message}`)
		if !hasWords(said, []string{"backoff limit", "east: 1 pod: ", "exit code 1"}) {
			t.Errorf("the condition Failed says %q", said)
		}
	})
	t.Run("the deadline", func(t *testing.T) {
		if out, err := u.try(t, "rollout", "status", "deployment/image", "--timeout=120s"); err == nil || !strings.Contains(err.Error(), "exceeded its progress deadline") {
			t.Errorf("kubectl rollout status says %q, %v", out, err)
		}
		eventuallyIs(t, "Progressing to say why", u.upstream("image"), func(d *appsv1.Deployment) bool {
			progressing := condition(d, "Progressing")
			return progressing.Reason == "ProgressDeadlineExceeded" && strings.Contains(progressing.Message, "east: 1 of 1 pod: ImagePullBackOff")
		})
	})
	t.Run("when it runs", func(t *testing.T) {
		u.apply(t, some(deployment("image", on(east), withDeadline(20))))
		u.rollOut(t, "image", east)
		eventuallyIs(t, "nothing to be said of it", u.upstream("image"), func(d *appsv1.Deployment) bool {
			return condition(d, "Available").Message == "Minimum availability in 1 cluster."
		})
	})
}

// eventuallyDescribed waits until `kubectl tmc describe` has all the words.
func (u *tenant) eventuallyDescribed(t *testing.T, object string, words ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s to be described with %q", object, words), soon, func(ctx context.Context) (bool, string, error) {
		text, err := runPlugin(ctx, u.workspace, "describe", object, "--namespace="+u.namespace)
		return hasWords(text, words), text, err
	})
}
