package causes

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// TestOfPod has one pod, with a status as kubelets and schedulers of Kubernetes 1.28 to 1.36 write it.
func TestOfPod(t *testing.T) {
	cases := map[string]struct {
		status string
		events []*corev1.Event
		want   string
	}{
		"an image that is not there": {
			status: `{name: app, ready: false, restartCount: 0, image: "registry.example.com/web:2", imageID: "", state: {waiting: {reason: ErrImagePull, message: 'rpc error: code = NotFound desc = failed to pull and unpack image "registry.example.com/web:2": failed to resolve reference "registry.example.com/web:2": registry.example.com/web:2: not found'}}}`,
			want:   "ImagePullBackOff: image registry.example.com/web:2: registry.example.com/web:2: not found", //nolint:dupword // that is how they write it
		},
		"the same while the kubelet waits, since 1.31": {
			status: `{name: app, ready: false, restartCount: 0, image: "registry.example.com/web:2", imageID: "", state: {waiting: {reason: ImagePullBackOff, message: 'Back-off pulling image "registry.example.com/web:2": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image "registry.example.com/web:2": failed to resolve reference "registry.example.com/web:2": registry.example.com/web:2: not found'}}}`,
			want:   "ImagePullBackOff: image registry.example.com/web:2: registry.example.com/web:2: not found", //nolint:dupword // that is how they write it
		},
		"the same while an older kubelet waits": {
			status: `{name: app, ready: false, restartCount: 0, image: "registry.example.com/web:2", imageID: "", state: {waiting: {reason: ImagePullBackOff, message: 'Back-off pulling image "registry.example.com/web:2"'}}}`,
			want:   "ImagePullBackOff: image registry.example.com/web:2",
		},
		"an image that nobody may pull": {
			status: `{name: app, ready: false, restartCount: 0, image: "registry.example.com/web:2", imageID: "", state: {waiting: {reason: ErrImagePull, message: 'failed to pull and unpack image "registry.example.com/web:2": failed to resolve reference "registry.example.com/web:2": pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed'}}}`,
			want:   "ImagePullBackOff: image registry.example.com/web:2: pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
		},
		"a name that is none": {
			status: `{name: app, ready: false, restartCount: 0, image: "registry.example.com/web:2", imageID: "", state: {waiting: {reason: InvalidImageName, message: 'Failed to apply default image tag "Nginx::1": couldn''t parse image name "Nginx::1": invalid reference format'}}}`,
			want:   `InvalidImageName: image registry.example.com/web:2: Failed to apply default image tag "Nginx::1": couldn't parse image name "Nginx::1": invalid reference format`,
		},
		"a container that crashes again and again": {
			status: `{name: app, ready: false, restartCount: 4, image: i, imageID: "", state: {waiting: {reason: CrashLoopBackOff, message: "back-off 1m20s restarting failed container=app pod=web-7d4b9c5f6-abcde_shop(0f0f0f0f-1111-2222-3333-444444444444)"}}, lastState: {terminated: {exitCode: 1, reason: Error, message: "panic: no database\n\ngoroutine 1 [running]:\n", startedAt: "2026-01-01T12:09:00Z", finishedAt: "2026-01-01T12:09:01Z", containerID: "containerd://1"}}}`,
			want:   "CrashLoopBackOff: container app, exit code 1: panic: no database goroutine 1 [running]:",
		},
		"the same while it runs": {
			status: `{name: app, ready: false, restartCount: 5, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:09:58Z"}}, lastState: {terminated: {exitCode: 1, reason: Error, message: "panic: no database\n", startedAt: "2026-01-01T12:09:00Z", finishedAt: "2026-01-01T12:09:01Z"}}}`,
			want:   "CrashLoopBackOff: container app, exit code 1: panic: no database",
		},
		"the same when it has just ended": {
			status: `{name: app, ready: false, restartCount: 5, image: i, imageID: "", state: {terminated: {exitCode: 1, reason: Error, startedAt: "2026-01-01T12:09:58Z", finishedAt: "2026-01-01T12:09:59Z"}}, lastState: {terminated: {exitCode: 1, reason: Error, finishedAt: "2026-01-01T12:09:01Z"}}}`,
			want:   "CrashLoopBackOff: container app, exit code 1",
		},
		"one that ended well and should not have": {
			status: `{name: app, ready: false, restartCount: 3, image: i, imageID: "", state: {waiting: {reason: CrashLoopBackOff, message: "back-off 40s restarting failed container=app pod=x"}}, lastState: {terminated: {exitCode: 0, reason: Completed, finishedAt: "2026-01-01T12:09:01Z"}}}`,
			want:   "CrashLoopBackOff: container app, exit code 0",
		},
		"one of which the last end is not known": {
			status: `{name: app, ready: false, restartCount: 3, image: i, imageID: "", state: {waiting: {reason: CrashLoopBackOff, message: "back-off 40s restarting failed container=app pod=x"}}}`,
			want:   "CrashLoopBackOff: container app",
		},
		"the first crash: it is started again at once": {
			status: `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {terminated: {exitCode: 1, reason: Error, finishedAt: "2026-01-01T12:09:59Z"}}}`,
		},
		"after its first crash it starts": {
			status: `{name: app, ready: false, restartCount: 1, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:09:58Z"}}, lastState: {terminated: {exitCode: 1, reason: Error, finishedAt: "2026-01-01T12:09:01Z"}}}`,
		},
		"its crashes are long past": {
			status: `{name: app, ready: false, restartCount: 9, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:02:00Z"}}, lastState: {terminated: {exitCode: 1, reason: Error, finishedAt: "2026-01-01T12:01:01Z"}}}`,
			want:   "Unhealthy: container app: it runs and is not ready",
		},
		"out of memory, at the first time": {
			status: `{name: app, ready: false, restartCount: 1, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:09:58Z"}}, lastState: {terminated: {exitCode: 137, reason: OOMKilled, finishedAt: "2026-01-01T12:09:01Z"}}}`,
			want:   "OOMKilled: container app, memory limit 64Mi",
		},
		"a key that is not there": {
			status: `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {waiting: {reason: CreateContainerConfigError, message: "couldn't find key url in ConfigMap shop/settings"}}}`,
			want:   "CreateContainerConfigError: container app: couldn't find key url in ConfigMap shop/settings",
		},
		"a Secret that is not there": {
			status: `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {waiting: {reason: CreateContainerConfigError, message: 'secret "credentials" not found'}}}`,
			want:   `CreateContainerConfigError: container app: secret "credentials" not found`,
		},
		"a container that cannot be created": {
			status: `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {waiting: {reason: CreateContainerError, message: 'failed to reserve container name "app_web_shop_1": name "app_web_shop_1" is reserved for "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"'}}}`,
			want:   `CreateContainerError: container app: failed to reserve container name "app_web_shop_1": name "app_web_shop_1" is reserved for "…"`,
		},
		"a command that is not there": {
			status: `{name: app, ready: false, restartCount: 2, image: i, imageID: "", state: {waiting: {reason: RunContainerError, message: 'failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "nope": executable file not found in $PATH: unknown'}}}`,
			want:   `RunContainerError: container app: exec: "nope": executable file not found in $PATH`,
		},
		"the same while the kubelet waits": {
			status: `{name: app, ready: false, restartCount: 2, image: i, imageID: "", state: {waiting: {reason: CrashLoopBackOff, message: "back-off 20s restarting failed container=app pod=x"}}, lastState: {terminated: {exitCode: 128, reason: StartError, message: 'failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "nope": executable file not found in $PATH: unknown', finishedAt: "2026-01-01T12:09:01Z"}}}`,
			want:   `RunContainerError: container app: exec: "nope": executable file not found in $PATH`,
		},
		"a hook that fails": {
			status: `{name: app, ready: false, restartCount: 2, image: i, imageID: "", state: {waiting: {reason: PostStartHookError, message: "Exec lifecycle hook failed"}}}`,
			want:   `PostStartHookError: container app: Exec lifecycle hook failed`,
		},
		"it is being created": {status: `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {waiting: {reason: ContainerCreating}}}`},
		"it has just started, and its probe has failed": {
			status: `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:09:45Z"}}}`,
			events: []*corev1.Event{warning("Unhealthy", "app", "Readiness probe failed: HTTP probe failed with statuscode: 503")},
		},
		"it has been starting for long, and its probe fails": {
			status: `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:01:00Z"}}}`,
			events: []*corev1.Event{
				warning("Unhealthy", "app", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
				warning("Unhealthy", "app", "Liveness probe failed: HTTP probe failed with statuscode: 500", func(e *corev1.Event) { e.LastTimestamp = metav1.NewTime(now.Add(-time.Minute)) }),
			},
			want: "Unhealthy: readiness probe of container app: HTTP probe failed with statuscode: 503",
		},
		"a startup probe that cannot connect": {
			status: `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:01:00Z"}}}`,
			events: []*corev1.Event{warning("Unhealthy", "app", "Startup probe failed: Get \"http://10.244.1.17:8080/ready\": dial tcp 10.244.1.17:8080: connect: connection refused")},
			want:   `Unhealthy: startup probe of container app: Get "http://:8080/ready": dial tcp :8080: connect: connection refused`,
		},
		"a probe that cannot be run": {
			status: `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:01:00Z"}}}`,
			events: []*corev1.Event{warning("Unhealthy", "app", "Readiness probe errored and resulted in unknown state: rpc error: code = Unknown desc = command error")},
			want:   `Unhealthy: readiness probe of container app: rpc error: code = Unknown desc = command error`,
		},
		"probes of an earlier container, of long ago and in other words": {
			status: `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:09:00Z"}}}`,
			events: []*corev1.Event{
				warning("Unhealthy", "app", "Readiness probe failed: x", func(e *corev1.Event) { e.LastTimestamp = metav1.NewTime(now.Add(-2 * time.Minute)) }),
				warning("Unhealthy", "app", "Readiness probe failed: x", func(e *corev1.Event) { e.LastTimestamp = metav1.NewTime(now.Add(-time.Hour)) }),
				warning("Unhealthy", "app", "who knows"), warning("Unhealthy", "", "Readiness probe failed: x"), warning("Unhealthy", "other", "Readiness probe failed: x"),
				warning("BackOff", "app", "Back-off restarting failed container"),
			},
			want: "Unhealthy: container app: it runs and is not ready",
		},
		"a volume of which the ConfigMap is not there": {
			status: `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {waiting: {reason: ContainerCreating}}}`,
			events: []*corev1.Event{warning("FailedMount", "", `MountVolume.SetUp failed for volume "config" : configmap "settings" not found`)},
			want:   `FailedMount: volume config: configmap "settings" not found`,
		},
		"the same in other words": {
			status: `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {waiting: {reason: ContainerCreating}}}`,
			events: []*corev1.Event{warning("FailedMount", "", `Unable to attach or mount volumes: unmounted volumes=[config], unattached volumes=[], failed to process volumes=[]: context deadline exceeded`)},
			want:   `FailedMount: volume config: Unable to attach or mount volumes: unmounted volumes=[config], unattached volumes=[], failed to process volumes=[]: context deadline exceeded`,
		},
		"a volume that another node has": {
			status: `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {waiting: {reason: ContainerCreating}}}`,
			events: []*corev1.Event{warning("FailedAttachVolume", "", `Multi-Attach error for volume "pvc-0f0f0f0f-1111-2222-3333-444444444444" Volume is already used by pod(s) web-1`)},
			want:   `FailedAttachVolume: volume pvc-…: Multi-Attach error for volume "pvc-…" Volume is already used by pod(s) web-1`,
		},
		"a volume that is not there yet, for a moment": {
			status: `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {waiting: {reason: ContainerCreating}}}`,
			events: []*corev1.Event{warning("FailedMount", "", `MountVolume.SetUp failed for volume "config" : object "shop"/"settings" not registered`, func(e *corev1.Event) {
				e.Count, e.FirstTimestamp = 2, metav1.NewTime(now.Add(-time.Second))
			})},
		},
		"a volume that was missing before": {
			status: `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:09:58Z"}}}`,
			events: []*corev1.Event{warning("FailedMount", "", `MountVolume.SetUp failed for volume "config" : configmap "settings" not found`)},
		},
		"a network that is not there": {
			status: `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {waiting: {reason: ContainerCreating}}}`,
			events: []*corev1.Event{warning("FailedCreatePodSandBox", "", `Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef": plugin type="calico" failed (add): no addresses`, func(e *corev1.Event) {
				e.Count, e.Series = 0, &corev1.EventSeries{Count: 7, LastObservedTime: metav1.NewMicroTime(now)}
			})},
			want: `FailedCreatePodSandBox: failed to setup network for sandbox "…": plugin type="calico" failed (add): no addresses`,
		},
		"a node that does not answer": {
			status: `{name: app, ready: true, restartCount: 0, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:01:00Z"}}}`,
			events: []*corev1.Event{warning("NodeNotReady", "", "Node is not ready")},
			want:   "NodeNotReady: Node is not ready",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			answer := Of(web, nil, Evidence{Pods: []*corev1.Pod{app(t, c.status)}, Warnings: c.events, HasWarnings: true, Now: now})
			check(t, answer, 1, c.want)
		})
	}
}

// check fails the test unless an answer has just the one cause, of so many pods, or none.
func check(t *testing.T, answer Answer, pods int64, want ...string) {
	t.Helper()
	var wanted []protocol.Cause
	for _, text := range want {
		if reason, message, _ := strings.Cut(text, ": "); text != "" {
			wanted = append(wanted, protocol.Cause{Reason: reason, Count: pods, Message: message})
		}
	}
	if diff := cmp.Diff(wanted, answer.Causes); diff != "" {
		t.Errorf("causes (-want +got):\n%s", diff)
	}
}

// TestOfWholePod has pods of which more than the container is of interest.
func TestOfWholePod(t *testing.T) {
	cases := map[string]struct {
		pod            string
		claims, events []*corev1.Event
		want           string
	}{
		"no node has room": {
			pod: head + spec + `
status:
  phase: Pending
  conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: "0/6 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 node(s) didn't match Pod's node affinity/selector, 3 Insufficient cpu. preemption: 0/6 nodes are available: 3 No preemption victims found for incoming pod, 3 Preemption is not helpful for scheduling.", lastTransitionTime: "2026-01-01T12:00:00Z"}]`,
			want: "Unschedulable: no node fits: Insufficient cpu, node(s) didn't match Pod's node affinity/selector, node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }",
		},
		"there is no node": {
			pod: head + spec + `
status:
  phase: Pending
  conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: no nodes available to schedule pods, lastTransitionTime: "2026-01-01T12:00:00Z"}]`,
			want: "Unschedulable: no nodes available to schedule pods",
		},
		"a scheduler that fails": {
			pod: head + spec + `
status:
  phase: Pending
  conditions: [{type: PodScheduled, status: "False", reason: SchedulerError, message: running PreBind plugin, lastTransitionTime: "2026-01-01T12:00:00Z"}]`,
			want: "SchedulerError: running PreBind plugin",
		},
		"a gate that stays": {
			pod: head + spec + `
status:
  phase: Pending
  conditions: [{type: PodScheduled, status: "False", reason: SchedulingGated, message: Scheduling is blocked due to non-empty scheduling gates, lastTransitionTime: "2026-01-01T12:00:00Z"}]`,
			want: "SchedulingGated: Scheduling is blocked due to non-empty scheduling gates",
		},
		"a claim that is not bound": {
			pod: head + `
spec:
  containers: [{name: app, image: i}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data-web-7d4b9c5f6-abcde}}, {name: config, configMap: {name: settings}}]
status:
  phase: Pending
  conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found", lastTransitionTime: "2026-01-01T12:00:00Z"}]`,
			claims: []*corev1.Event{warning("FailedBinding", "", "no persistent volumes available for this claim and no storage class is set", about("PersistentVolumeClaim", "data-web-7d4b9c5f6-abcde", "c"))},
			want:   "FailedBinding: claims data: no persistent volumes available for this claim and no storage class is set",
		},
		"a claim of a name of its own that cannot be provisioned": {
			pod: head + `
spec:
  containers: [{name: app, image: i}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}, {name: scratch, ephemeral: {volumeClaimTemplate: {spec: {}}}}]
status:
  phase: Pending
  conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.", lastTransitionTime: "2026-01-01T12:00:00Z"}]`,
			claims: []*corev1.Event{
				warning("ProvisioningFailed", "", `storageclass.storage.k8s.io "fast" not found`, about("PersistentVolumeClaim", "data", "c")),
				warning("ProvisioningFailed", "", "of another claim", about("PersistentVolumeClaim", "other", "o")),
				warning("ExternalProvisioning", "", "Waiting for a volume to be created", about("PersistentVolumeClaim", "data", "c")),
			},
			want: `ProvisioningFailed: claim data: storageclass.storage.k8s.io "fast" not found`,
		},
		"a claim that is about to be bound": {
			pod: head + spec + `
status:
  phase: Pending
  conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found", lastTransitionTime: "2026-01-01T12:09:55Z"}]`,
		},
		"a claim that is not bound, and nobody says why": {
			pod: head + spec + `
status:
  phase: Pending
  conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.", lastTransitionTime: "2026-01-01T12:09:45Z"}]`,
			want: "Unschedulable: no node fits: pod has unbound immediate PersistentVolumeClaims",
		},
		"a node that others have to leave first": {
			pod: head + spec + `
status:
  phase: Pending
  nominatedNodeName: n
  conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.", lastTransitionTime: "2026-01-01T12:09:55Z"}]`,
		},
		"a claim that is not there": {
			pod: head + spec + `
status:
  phase: Pending
  conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: '0/1 nodes are available: PersistentVolumeClaim "data" not found. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.', lastTransitionTime: "2026-01-01T12:00:00Z"}]`,
			want: `Unschedulable: no node fits: PersistentVolumeClaim "data" not found`,
		},
		"an init container that fails": {
			pod: head + `
spec:
  restartPolicy: Always
  initContainers: [{name: proxy, image: p, restartPolicy: Always}, {name: migrate, image: m}]
  containers: [{name: app, image: i}]
status:
  phase: Pending` + scheduled + `
  initContainerStatuses:
  - {name: proxy, ready: true, restartCount: 0, image: p, imageID: "", state: {running: {startedAt: "2026-01-01T12:01:00Z"}}}
  - {name: migrate, ready: false, restartCount: 3, image: m, imageID: "", state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 3, reason: Error, message: no schema, finishedAt: "2026-01-01T12:09:00Z"}}}
  containerStatuses: [{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {waiting: {reason: PodInitializing}}}]`,
			want: "CrashLoopBackOff: init container migrate, exit code 3: no schema",
		},
		"a sidecar that is not ready": {
			pod: head + `
spec:
  restartPolicy: Always
  initContainers: [{name: wait, image: m}, {name: proxy, image: p, restartPolicy: Always}]
  containers: [{name: app, image: i}]
status:
  phase: Running` + scheduled + `
  initContainerStatuses:
  - {name: wait, ready: true, restartCount: 0, image: p, imageID: "", state: {terminated: {exitCode: 0, reason: Completed, finishedAt: "2026-01-01T12:01:00Z"}}}
  - {name: proxy, ready: false, restartCount: 0, image: p, imageID: "", state: {running: {startedAt: "2026-01-01T12:01:00Z"}}}
  containerStatuses: [{name: app, ready: true, restartCount: 0, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:01:00Z"}}}]`,
			want: "Unhealthy: container proxy: it runs and is not ready",
		},
		"it was ready, and is not any more": {
			pod: head + spec + `
status:
  phase: Running
  conditions: [{type: Ready, status: "False", reason: ContainersNotReady, lastTransitionTime: "2026-01-01T12:09:58Z"}]
  containerStatuses: [{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:09:40Z"}}}]`,
			events: []*corev1.Event{warning("Unhealthy", "app", "Readiness probe failed: HTTP probe failed with statuscode: 503")},
			want:   "Unhealthy: readiness probe of container app: HTTP probe failed with statuscode: 503",
		},
		"a readiness gate that nobody opens": {
			pod: head + spec + `
status:
  phase: Running
  conditions: [{type: Ready, status: "False", reason: ReadinessGatesNotReady, message: 'the status of pod readiness gate "example.com/lb" is not "True", but False', lastTransitionTime: "2026-01-01T12:01:00Z"}]
  containerStatuses: [{name: app, ready: true, restartCount: 0, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:00:40Z"}}}]`,
			want: `ReadinessGatesNotReady: the status of pod readiness gate "example.com/lb" is not "True", but False`,
		},
		"it is ready": {
			pod: head + spec + `
status:
  phase: Running
  conditions: [{type: Ready, status: "True", lastTransitionTime: "2026-01-01T12:01:00Z"}]
  containerStatuses: [{name: app, ready: true, restartCount: 9, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:09:59Z"}}, lastState: {terminated: {exitCode: 1, finishedAt: "2026-01-01T12:09:00Z"}}}]`,
		},
		"it was evicted": {
			pod: head + spec + `
status: {phase: Failed, reason: Evicted, message: "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. Container app was using 120Mi, request is 0, has larger consumption of memory. "}`,
			want: "Evicted: The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi. Container app was using 120Mi, request is 0, has larger consumption of memory.",
		},
		"it has failed, and nobody knows why": {pod: head + spec + "status: {phase: Failed}", want: "Failed: "},
		"it has succeeded":                    {pod: head + spec + "status: {phase: Succeeded}"},
		"it should be gone": {
			pod:  strings.Replace(head, "  annotations:", "  deletionTimestamp: \"2026-01-01T12:05:00Z\"\n  annotations:", 1) + spec + "status: {phase: Running}",
			want: "Terminating: the pod is deleted and does not end; its node does not answer, or its containers do not stop",
		},
		"it is held": {
			pod:  strings.Replace(head, "  annotations:", "  deletionTimestamp: \"2026-01-01T12:05:00Z\"\n  finalizers: [example.com/hold]\n  annotations:", 1) + spec + "status: {phase: Running}",
			want: "Terminating: the pod is deleted, and finalizers keep it",
		},
		"it ends": {pod: strings.Replace(head, "  annotations:", "  deletionTimestamp: \"2026-01-01T12:09:50Z\"\n  annotations:", 1) + spec + "status: {phase: Running}"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			check(t, Of(web, nil, Evidence{Pods: []*corev1.Pod{pod(t, c.pod)}, Claims: c.claims, HasClaims: true, Warnings: c.events, HasWarnings: true, Now: now}), 1, c.want)
		})
	}
}

// TestOfFailedPodsOfJob has pods that are not started again.
func TestOfFailedPodsOfJob(t *testing.T) {
	job := Subject{Namespace: "shop", Name: "load", UID: "uid-job", Selector: "batch.kubernetes.io/controller-uid=uid-job", PodsBy: kinds.PodsByObject, Wanted: 1}
	const owned = `
metadata:
  name: load-x
  uid: uid-x
  ownerReferences: [{apiVersion: batch/v1, kind: Job, name: load, uid: uid-job, controller: true}]
spec: {restartPolicy: Never, containers: [{name: app, image: i}]}
`
	bad := pod(t, owned+`status: {phase: Failed, containerStatuses: [{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {terminated: {exitCode: 3, reason: Error, message: "no input of run 1", finishedAt: "2026-01-01T12:08:00Z"}}}]}`)
	later := another(bad, "load-y")
	later.Status.ContainerStatuses[0].State.Terminated.Message = "no input of run 2"
	later.Status.ContainerStatuses[0].State.Terminated.FinishedAt = metav1.NewTime(now)
	oom := pod(t, owned+`status: {phase: Failed, containerStatuses: [{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {terminated: {exitCode: 137, reason: OOMKilled, finishedAt: "2026-01-01T12:08:00Z"}}}]}`)
	again := pod(t, owned+`status: {phase: Running, conditions: [{type: Ready, status: "True"}], containerStatuses: [{name: app, ready: true, restartCount: 0, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:09:59Z"}}}]}`)
	check(t, Of(job, nil, Evidence{Pods: []*corev1.Pod{bad, again, later}, HasWarnings: true, Now: now}), 2, "Error: container app, exit code 3: no input of run 2")
	check(t, Of(job, nil, Evidence{Pods: []*corev1.Pod{oom}, HasWarnings: true, Now: now}), 1, "OOMKilled: container app")

	ended := job
	ended.Ended = true
	answer := Of(ended, Own{{Reason: "BackoffLimitExceeded", Message: "Job has reached the specified backoff limit"}}, Evidence{Pods: []*corev1.Pod{bad, later}, Now: now})
	if want := []protocol.Cause{{Reason: "Error", Count: 2, Message: "container app, exit code 3: no input of run 2"}, {Reason: "BackoffLimitExceeded", Message: "Job has reached the specified backoff limit"}}; !cmp.Equal(want, answer.Causes) {
		t.Errorf("a Job that has failed (-want +got):\n%s", cmp.Diff(want, answer.Causes))
	}
	if answer.NeedsWarnings || answer.IsOpen {
		t.Error("events of a Job that has ended are asked for")
	}
}

// TestOfMissingPods has less pods than there should be.
func TestOfMissingPods(t *testing.T) {
	set := Subject{Namespace: "shop", Name: "db", UID: "uid-db", Selector: "app=db", PodsBy: kinds.PodsByObject, Wanted: 3}
	rollout := Subject{Namespace: "shop", Name: "web", UID: "uid-web", Selector: "app=web", Wanted: 1}
	quota := `create Pod db-0 in StatefulSet db failed error: pods "db-0" is forbidden: exceeded quota: pods, requested: pods=1, used: pods=2, limited: pods=2`
	cases := map[string]struct {
		subject Subject
		own     Own
		events  []*corev1.Event
		want    string
		needs   bool
	}{
		"a quota": {set, nil, []*corev1.Event{
			warning("FailedCreate", "", "create Pod db-0 in StatefulSet db failed error: older", about("StatefulSet", "db", "uid-db"), func(e *corev1.Event) { e.LastTimestamp = metav1.NewTime(now.Add(-time.Minute)) }),
			warning("FailedCreate", "", quota, about("StatefulSet", "db", "uid-db")),
		}, "FailedCreate: exceeded quota: pods, requested: pods=1, used: pods=2, limited: pods=2", true},
		"an admission policy": {set, nil, []*corev1.Event{
			warning("FailedCreate", "", `Error creating: pods "db-x7k2z" is forbidden: ValidatingAdmissionPolicy 'images' with binding 'images' denied request: the image is broken here`, about("DaemonSet", "db", "uid-db")),
		}, "FailedCreate: ValidatingAdmissionPolicy 'images' with binding 'images' denied request: the image is broken here", true},
		"a webhook": {set, nil, []*corev1.Event{
			warning("FailedCreate", "", `Error creating: admission webhook "check.example.com" denied the request: no owner`, about("DaemonSet", "db", "uid-db")),
		}, `FailedCreate: admission webhook "check.example.com" denied the request: no owner`, true},
		"a claim of a set": {set, nil, []*corev1.Event{
			warning("FailedCreate", "", `create Claim data-db-0 for Pod db-0 in StatefulSet db failed error: persistentvolumeclaims "data-db-0" is forbidden: exceeded quota: claims`, about("StatefulSet", "db", "uid-db")),
		}, "FailedCreate: exceeded quota: claims", true},
		"ReplicaSets of a kind that is not known": {rollout, nil, []*corev1.Event{
			warning("FailedCreate", "", `Error creating: pods "web-1-x7k2z" is forbidden: exceeded quota: pods`, about("ReplicaSet", "web-1", "uid-rs")),
		}, "FailedCreate: exceeded quota: pods", true},
		"what it says itself is not asked": {Subject{Name: "web", UID: "uid-web", PodsBy: kinds.PodsByObject, Wanted: 3, SaysFailedCreate: true}, Own{{Reason: "FailedCreate", Message: "exceeded quota"}}, nil, "FailedCreate: exceeded quota", false},
		"what a Deployment's ReplicaSets say, it says itself": {web, nil, []*corev1.Event{
			warning("FailedCreate", "", quota, about("Deployment", "web", "uid-web")),
		}, "", false},
		"events of others, and of long ago": {set, nil, []*corev1.Event{
			warning("FailedCreate", "", quota, about("StatefulSet", "other", "uid-other")),
			warning("FailedUpdate", "", quota, about("StatefulSet", "db", "uid-db")),
			warning("FailedCreate", "", quota, about("StatefulSet", "db", "uid-db"), func(e *corev1.Event) { e.LastTimestamp = metav1.NewTime(now.Add(-time.Hour)) }),
		}, "", true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			answer := Of(c.subject, c.own, Evidence{Warnings: c.events, HasWarnings: true, Now: now})
			check(t, answer, 0, c.want)
			if answer.NeedsWarnings != c.needs {
				t.Errorf("needs events: %t", answer.NeedsWarnings)
			}
		})
	}
}

func TestOfClaim(t *testing.T) {
	claim := Subject{Namespace: "shop", Name: "data", UID: "uid-data", IsClaim: true}
	event := warning("ProvisioningFailed", "", `failed to provision volume with StorageClass "fast": rpc error: code = ResourceExhausted desc = no space`, about("PersistentVolumeClaim", "data", "uid-data"))
	check(t, Of(claim, nil, Evidence{Claims: []*corev1.Event{event}, HasClaims: true, Now: now}), 0, `ProvisioningFailed: failed to provision volume with StorageClass "fast": rpc error: code = ResourceExhausted desc = no space`)
	answer := Of(claim, nil, Evidence{Now: now})
	check(t, answer, 0)
	if !answer.NeedsClaims || !answer.IsOpen || answer.NeedsWarnings {
		t.Errorf("%+v, want that events of claims are asked for", answer)
	}
	if denied := Of(claim, nil, Evidence{Now: now, IsDenied: true}); denied.IsOpen {
		t.Error("what the cluster does not tell is waited for")
	}
}

// TestOfGroups has pods with several causes.
func TestOfGroups(t *testing.T) {
	pull := app(t, `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {waiting: {reason: ErrImagePull, message: 'not found'}}}`)
	waits := another(app(t, `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {waiting: {reason: ImagePullBackOff, message: 'Back-off pulling image "i": ErrImagePull: not found'}}}`), "b")
	crash := another(app(t, `{name: app, ready: false, restartCount: 4, image: i, imageID: "", state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1, reason: Error, message: "no database", finishedAt: "2026-01-01T12:09:01Z"}}}`), "c")
	silent := another(app(t, `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {waiting: {reason: ImagePullBackOff, message: 'Back-off pulling image "i"'}}}`), "d")
	evicted := pod(t, head+spec+`status: {phase: Failed, reason: Evicted, message: low on memory}`)
	foreign := pull.DeepCopy()
	foreign.OwnerReferences[0].Name = "web-api-7d4b9c5f6"
	orphan := pull.DeepCopy()
	orphan.OwnerReferences = nil
	answer := Of(web, Own{{Reason: "FailedCreate", Message: "exceeded quota"}}, Evidence{
		Pods: []*corev1.Pod{evicted, evicted, evicted, silent, crash, pull, foreign, waits, orphan}, HasWarnings: true, Now: now,
	})
	want := []protocol.Cause{
		{Reason: "FailedCreate", Message: "exceeded quota"},
		{Reason: "ImagePullBackOff", Count: 3, Message: "image registry.example.com/web:2: not found"},
		{Reason: "CrashLoopBackOff", Count: 1, Message: "container app, exit code 1: no database"},
		{Reason: "Evicted", Count: 3, Message: "low on memory"},
	}
	if diff := cmp.Diff(want, answer.Causes); diff != "" {
		t.Errorf("causes (-want +got):\n%s", diff)
	}
}

// TestOfSaysWhenToLookAgain has what becomes a cause, or none, as time goes by.
func TestOfSaysWhenToLookAgain(t *testing.T) {
	starting := app(t, `{name: app, ready: false, restartCount: 0, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:09:45Z"}}}`)
	crashed := another(app(t, `{name: app, ready: false, restartCount: 4, image: i, imageID: "", state: {running: {startedAt: "2026-01-01T12:09:00Z"}}, lastState: {terminated: {exitCode: 1, reason: Error}}}`), "b")
	for name, c := range map[string]struct {
		pods []*corev1.Pod
		want time.Duration
	}{"nothing": {nil, 0}, "a start": {[]*corev1.Pod{starting}, 15 * time.Second}, "a crash": {[]*corev1.Pod{crashed}, 5 * time.Minute}, "both": {[]*corev1.Pod{crashed, starting}, 15 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			if got := Of(web, nil, Evidence{Pods: c.pods, HasWarnings: true, Now: now}).Again; got != c.want {
				t.Errorf("again after %s, want %s", got, c.want)
			}
		})
	}
	if answer := Of(web, nil, Evidence{Pods: []*corev1.Pod{another(starting, "c")}, Now: now.Add(time.Minute)}); !answer.IsOpen || answer.Causes != nil {
		t.Errorf("%+v while events were not read, want that it is open", answer)
	}
}

func TestHas(t *testing.T) {
	owned := func(kind, name, uid, hash string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{Kind: kind, Name: name, UID: "uid-" + "x", Controller: new(true)}}}}
		p.OwnerReferences[0].UID = "uid-x"
		if uid != "" {
			p.OwnerReferences[0].UID = "uid-web"
		}
		if hash != "" {
			p.Labels = map[string]string{"pod-template-hash": hash}
		}
		return p
	}
	cases := map[string]struct {
		podsBy kinds.PodsBy
		pod    *corev1.Pod
		want   bool
	}{
		"its ReplicaSet":                    {kinds.PodsByReplicaSets, owned("ReplicaSet", "web-1", "", "1"), true},
		"one of a longer name":              {kinds.PodsByReplicaSets, owned("ReplicaSet", "web-api-1", "", "1"), false},
		"its own pod":                       {kinds.PodsByObject, owned("StatefulSet", "web", "own", ""), true},
		"another's":                         {kinds.PodsByObject, owned("StatefulSet", "web", "", ""), false},
		"its Job":                           {kinds.PodsByJobs, owned("Job", "web-1", "", ""), true},
		"no Job":                            {kinds.PodsByJobs, owned("ReplicaSet", "web-1", "", ""), false},
		"either: its own":                   {kinds.PodsByEither, owned("Rollout", "web", "own", ""), true},
		"either: a ReplicaSet":              {kinds.PodsByEither, owned("ReplicaSet", "web-1", "", ""), true},
		"either: a ReplicaSet of another's": {kinds.PodsByEither, owned("ReplicaSet", "shop-1", "", ""), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := (Subject{Name: "web", UID: "uid-web", PodsBy: c.podsBy, Selector: "uid in (uid-x)"}).has(c.pod); got != c.want {
				t.Errorf("it has the pod: %t", got)
			}
		})
	}
}
