package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// whyTime is how long it may take from when a cluster knows why something does not run until its report says it.
const whyTime = 2 * time.Second

// TestWhyItDoesNotRun makes each cause on east: real ones where the control plane makes them, and statuses as kubelets write them.
func TestWhyItDoesNotRun(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "why")
	d := func(name string, replicas int32) *appsv1.Deployment {
		return deployment(name, on(east), withReplicas(replicas))
	}
	u.apply(t, some(d("pull", 3), d("crash", 1), d("memory", 1), d("config", 1), d("run", 1), d("probe", 1)))

	// What the control plane says by itself.
	t.Run("Unschedulable", func(t *testing.T) {
		t.Parallel()
		u.apply(t, some(deployment("nowhere", on(east), onNoNode)))
		u.eventuallyWhy(t, "deployments", "nowhere", protocol.Cause{Reason: "Unschedulable", Count: 1, Message: "no node fits: node(s) didn't match Pod's node affinity/selector"})
	})
	t.Run("FailedBinding", func(t *testing.T) {
		t.Parallel()
		u.waitsForClaim(t)
	})
	t.Run("Error of a Job", func(t *testing.T) {
		t.Parallel()
		u.jobFails(t)
	})
	t.Run("FailedCreate", func(t *testing.T) {
		t.Parallel()
		newTenant(t, env.shared, "why-quota").meetsQuota(t)
	})

	// What kubelets say.
	for name, c := range map[string]struct {
		status string
		want   protocol.Cause
	}{
		"crash": {
			`"restartCount":3,"state":{"waiting":{"reason":"CrashLoopBackOff","message":"back-off 40s restarting failed container=web pod=x"}},"lastState":{"terminated":{"exitCode":3,"reason":"Error","message":"no database\n","startedAt":null,"finishedAt":null}}`,
			protocol.Cause{Reason: "CrashLoopBackOff", Count: 1, Message: "container web, exit code 3: no database"},
		},
		"memory": {
			`"restartCount":1,"state":{"running":{"startedAt":"NOW"}},"lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled","startedAt":null,"finishedAt":null}}`,
			protocol.Cause{Reason: "OOMKilled", Count: 1, Message: "container web"},
		},
		"config": {
			`"restartCount":0,"state":{"waiting":{"reason":"CreateContainerConfigError","message":"couldn't find key url in ConfigMap shop/settings"}}`,
			protocol.Cause{Reason: "CreateContainerConfigError", Count: 1, Message: "container web: couldn't find key url in ConfigMap shop/settings"},
		},
		"run": {
			`"restartCount":1,"state":{"waiting":{"reason":"RunContainerError","message":"failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"nope\": executable file not found in $PATH: unknown"}}`,
			protocol.Cause{Reason: "RunContainerError", Count: 1, Message: `container web: exec: "nope": executable file not found in $PATH`},
		},
	} {
		t.Run(c.want.Reason, func(t *testing.T) {
			t.Parallel()
			u.rollOut(t, name, east)
			u.says(t, u.podsOf(t, name)[0], strings.ReplaceAll(c.status, "NOW", time.Now().UTC().Format(time.RFC3339)))
			took := u.eventuallyWhy(t, "deployments", name, c.want)
			t.Logf("told after %s", took)
		})
	}
	t.Run("Unhealthy", func(t *testing.T) {
		t.Parallel()
		u.probeFails(t)
	})
	t.Run("ImagePullBackOff", func(t *testing.T) {
		t.Parallel()
		u.imageChurns(t)
	})
}

// onNoNode has pods of a Deployment want a node that there is not.
func onNoNode(d *appsv1.Deployment) {
	d.Spec.Template.Spec.NodeSelector = map[string]string{"example.com/none": "true"}
}

// report returns what east reports of an object, nothing where it has not.
func (u *tenant) report(ctx context.Context, kind, name string) (protocol.Report, error) {
	object, err := u.annotationsOf(ctx, kind, name)
	if err != nil {
		return protocol.Report{}, err
	}
	report, err := protocol.ParseReport(east, object[v1alpha1.StatusAnnotation(east)])
	if err != nil {
		return protocol.Report{}, nil //nolint:nilerr // there is none yet
	}
	return report, nil
}

func (u *tenant) annotationsOf(ctx context.Context, kind, name string) (map[string]string, error) {
	var object metav1.Object
	var err error
	switch apps := u.client.AppsV1(); kind {
	case "deployments":
		object, err = apps.Deployments(u.namespace).Get(ctx, name, metav1.GetOptions{})
	case "statefulsets":
		object, err = apps.StatefulSets(u.namespace).Get(ctx, name, metav1.GetOptions{})
	case "daemonsets":
		object, err = apps.DaemonSets(u.namespace).Get(ctx, name, metav1.GetOptions{})
	case "jobs":
		object, err = u.client.BatchV1().Jobs(u.namespace).Get(ctx, name, metav1.GetOptions{})
	default:
		object, err = u.client.CoreV1().PersistentVolumeClaims(u.namespace).Get(ctx, name, metav1.GetOptions{})
	}
	if err != nil {
		return nil, err
	}
	return object.GetAnnotations(), nil
}

// eventuallyWhy waits until east reports just these causes, and returns how long that took by the time in the report.
func (u *tenant) eventuallyWhy(t *testing.T, kind, name string, want ...protocol.Cause) time.Duration {
	t.Helper()
	start := time.Now()
	var report protocol.Report
	eventually(t, "the report to say why "+name+" does not run", soon, func(ctx context.Context) (bool, string, error) {
		var err error
		report, err = u.report(ctx, kind, name)
		return slices.Equal(report.Causes, want), fmt.Sprintf("it says %+v, want %+v", report.Causes, want), err
	})
	encoded, err := json.Marshal(report.Causes)
	check(t, err)
	if len(encoded) > protocol.MaxReportCauseSize {
		t.Errorf("the causes take %d bytes", len(encoded))
	}
	written, err := time.Parse(protocol.WrittenLayout, report.Written)
	check(t, err)
	return written.Sub(start).Round(time.Millisecond)
}

// podsOf returns the pods on east with the label of an application, sorted by name.
func (u *tenant) podsOf(t *testing.T, name string) []corev1.Pod {
	t.Helper()
	list, err := env.clusters[east].client.CoreV1().Pods(u.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
	check(t, err)
	return list.Items
}

// notReady are the conditions of a pod whose container is not ready, and has never been.
const notReady = `"conditions":[{"type":"PodScheduled","status":"True","lastTransitionTime":null},{"type":"Initialized","status":"True","lastTransitionTime":null},` +
	`{"type":"ContainersReady","status":"False","reason":"ContainersNotReady","lastTransitionTime":null},{"type":"Ready","status":"False","reason":"ContainersNotReady","lastTransitionTime":null}]`

// says has a pod on east have a container of that status, which is not ready.
func (u *tenant) says(t *testing.T, pod corev1.Pod, status string) {
	t.Helper()
	u.patchPod(t, pod, fmt.Sprintf(`{"phase":"Running",%s,"containerStatuses":[{"name":"web","ready":false,"image":%q,"imageID":"",%s}]}`, notReady, image, status))
}

func (u *tenant) patchPod(t *testing.T, pod corev1.Pod, status string) {
	t.Helper()
	_, err := env.clusters[east].client.CoreV1().Pods(u.namespace).Patch(t.Context(), pod.Name, types.MergePatchType, []byte(`{"status":`+status+`}`), metav1.PatchOptions{}, "status")
	check(t, err)
}

// isReady has a pod on east be ready.
func (u *tenant) isReady(t *testing.T, pod corev1.Pod) {
	t.Helper()
	u.patchPod(t, pod, fmt.Sprintf(`{"phase":"Running","conditions":[{"type":"PodScheduled","status":"True"},{"type":"Initialized","status":"True"},{"type":"ContainersReady","status":"True"},{"type":"Ready","status":"True"}],`+
		`"containerStatuses":[{"name":"web","ready":true,"started":true,"restartCount":0,"image":%q,"imageID":"","state":{"running":{"startedAt":null}},"lastState":{}}]}`, image))
}

// waitsForClaim has a Deployment use a claim that no volume is for.
func (u *tenant) waitsForClaim(t *testing.T) {
	t.Helper()
	_, err := u.client.CoreV1().PersistentVolumeClaims(u.namespace).Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}, metav1.CreateOptions{})
	check(t, err)
	u.apply(t, some(deployment("stores", on(east), func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
	})))
	const words = "no persistent volumes available for this claim and no storage class is set"
	u.eventuallyWhy(t, "persistentvolumeclaims", "data", protocol.Cause{Reason: "FailedBinding", Message: words})
	u.eventuallyWhy(t, "deployments", "stores", protocol.Cause{Reason: "FailedBinding", Count: 1, Message: "claim data: " + words})
}

// jobFails has a Job fail, and another one try again.
func (u *tenant) jobFails(t *testing.T) {
	t.Helper()
	for name, tries := range map[string]int32{"once": 0, "again": 5} {
		_, err := u.client.BatchV1().Jobs(u.namespace).Create(t.Context(), &batchv1.Job{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{v1alpha1.TargetClustersAnnotation: east}},
			Spec: batchv1.JobSpec{BackoffLimit: &tries, Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}},
				Spec: corev1.PodSpec{
					RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "web", Image: image}},
					NodeSelector: map[string]string{"example.com/none": "true"}, // or else it would be done at once
				},
			}},
		}, metav1.CreateOptions{})
		check(t, err)
	}
	cause := protocol.Cause{Reason: "Error", Count: 1, Message: "container web, exit code 3: no input"}
	for name, then := range map[string]protocol.Cause{
		"once":  {Reason: "BackoffLimitExceeded", Message: "Job has reached the specified backoff limit"},
		"again": {Reason: "Unschedulable", Count: 1, Message: "no node fits: node(s) didn't match Pod's node affinity/selector"},
	} {
		var pods []corev1.Pod
		eventually(t, "the Job to have a pod", soon, func(context.Context) (bool, string, error) {
			pods = u.podsOf(t, name)
			return len(pods) == 1, fmt.Sprint(len(pods)), nil
		})
		u.patchPod(t, pods[0], fmt.Sprintf(`{"phase":"Failed","containerStatuses":[{"name":"web","ready":false,"restartCount":0,"image":%q,"imageID":"","state":{"terminated":{"exitCode":3,"reason":"Error","message":"no input","startedAt":null,"finishedAt":null}}}]}`, image))
		u.eventuallyWhy(t, "jobs", name, cause, then)
	}
}

// meetsQuota has no pods come into the namespace any more.
func (u *tenant) meetsQuota(t *testing.T) {
	t.Helper()
	u.apply(t, some(deployment("first", on(east))))
	u.rollOut(t, "first", east)
	u.createOn(t, env.clusters[east], fmt.Sprintf(`{"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"full","namespace":%q},"spec":{"hard":{"pods":"1"}}}`, u.namespace))
	eventually(t, "the quota to count", soon, func(ctx context.Context) (bool, string, error) {
		quota, err := env.clusters[east].client.CoreV1().ResourceQuotas(u.namespace).Get(ctx, "full", metav1.GetOptions{})
		return err == nil && quota.Status.Used.Pods().Value() == 1, fmt.Sprint(quota.Status.Used), err
	})
	template := deployment("full").Spec.Template
	selector, meta := deployment("full").Spec.Selector, metav1.ObjectMeta{Name: "full", Annotations: map[string]string{v1alpha1.TargetClustersAnnotation: east}}
	u.apply(t, some(deployment("full", on(east))))
	_, err := u.client.AppsV1().StatefulSets(u.namespace).Create(t.Context(), &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Replicas: new(int32(1)), Selector: selector, Template: template}}, metav1.CreateOptions{})
	check(t, err)
	_, err = u.client.AppsV1().DaemonSets(u.namespace).Create(t.Context(), &appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template}}, metav1.CreateOptions{})
	check(t, err)
	job := *template.DeepCopy()
	job.Spec.RestartPolicy = corev1.RestartPolicyNever
	_, err = u.client.BatchV1().Jobs(u.namespace).Create(t.Context(), &batchv1.Job{ObjectMeta: meta, Spec: batchv1.JobSpec{Template: job}}, metav1.CreateOptions{})
	check(t, err)
	for _, kind := range []string{"deployments", "statefulsets", "daemonsets", "jobs"} {
		u.eventuallyWhy(t, kind, "full", protocol.Cause{Reason: "FailedCreate", Message: "exceeded quota: full, requested: pods=1, used: pods=1, limited: pods=1"})
	}
}

// probeFails has a probe fail of a container that has been running for long.
func (u *tenant) probeFails(t *testing.T) {
	t.Helper()
	u.rollOut(t, "probe", east)
	pod := u.podsOf(t, "probe")[0]
	now := metav1.Now()
	_, err := env.clusters[east].client.CoreV1().Events(u.namespace).Create(t.Context(), &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: pod.Name + "."}, Type: corev1.EventTypeWarning, Reason: "Unhealthy",
		Message:        "Readiness probe failed: Get \"http://10.0.0.17:8080/ready\": dial tcp 10.0.0.17:8080: connect: connection refused",
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: u.namespace, Name: pod.Name, UID: pod.UID, FieldPath: "spec.containers{web}"},
		FirstTimestamp: now, LastTimestamp: now, Count: 3, Source: corev1.EventSource{Component: "kubelet"},
	}, metav1.CreateOptions{})
	check(t, err)
	u.says(t, pod, `"restartCount":0,"state":{"running":{"startedAt":"2026-01-01T12:00:00Z"}}`)
	took := u.eventuallyWhy(t, "deployments", "probe", protocol.Cause{Reason: "Unhealthy", Count: 1, Message: `readiness probe of container web: Get "http://:8080/ready": dial tcp :8080: connect: connection refused`})
	t.Logf("told after %s", took)
}

// imageChurns has the image of two of three pods be missing, for a while, while kubelets try again and again.
func (u *tenant) imageChurns(t *testing.T) {
	t.Helper()
	u.rollOut(t, "pull", east)
	pods := u.podsOf(t, "pull")
	changes, err := u.client.AppsV1().Deployments(u.namespace).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=pull"})
	check(t, err)
	defer changes.Stop()

	tried := `"restartCount":0,"state":{"waiting":{"reason":"ErrImagePull","message":"rpc error: code = NotFound desc = failed to pull and unpack image \"example.com/web:1\": failed to resolve reference \"example.com/web:1\": example.com/web:1: not found"}}`
	waits := `"restartCount":0,"state":{"waiting":{"reason":"ImagePullBackOff","message":"Back-off pulling image \"example.com/web:1\""}}`
	for _, pod := range pods[:2] {
		u.says(t, pod, tried)
	}
	pull := protocol.Cause{Reason: "ImagePullBackOff", Count: 2, Message: "image example.com/web:1: example.com/web:1: not found"} //nolint:dupword // so they say it
	took := u.eventuallyWhy(t, "deployments", "pull", pull)
	if t.Logf("told after %s", took); took > whyTime {
		t.Errorf("it was told after %s", took)
	}

	before, err := u.report(t.Context(), "deployments", "pull")
	check(t, err)
	status := waits
	check(t, wait.PollUntilContextTimeout(t.Context(), 2500*time.Millisecond, 2*soon, true, func(context.Context) (bool, error) {
		for _, pod := range pods[:2] {
			u.says(t, pod, status)
		}
		status = map[string]string{waits: tried, tried: waits}[status]
		written, err := time.Parse(protocol.WrittenLayout, before.Written)
		return time.Since(written) > 35*time.Second, err
	}))
	if after, err := u.report(t.Context(), "deployments", "pull"); err != nil || after.Written != before.Written {
		t.Errorf("a report was written while only words churned: %+v (%v)", after, err)
	}

	drain(changes)
	u.says(t, pods[0], `"restartCount":5,"state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"exitCode":1,"reason":"Error","message":"no database","startedAt":null,"finishedAt":null}}`)
	pull.Count = 1
	crash := protocol.Cause{Reason: "CrashLoopBackOff", Count: 1, Message: "container web, exit code 1: no database"}
	if took := u.eventuallyWhy(t, "deployments", "pull", crash, pull); took > whyTime {
		t.Errorf("another cause was told after %s", took)
	}
	if reports := drain(changes); reports > 1 {
		t.Errorf("%d reports were written for it", reports)
	}
	for _, pod := range pods[:2] {
		u.isReady(t, pod)
	}
	u.rollOut(t, "pull", east)
	u.eventuallyWhy(t, "deployments", "pull")
}

// drain returns how many reports of east a watch has shown by now.
func drain(changes watch.Interface) int {
	seen := map[string]bool{}
	for {
		select {
		case event := <-changes.ResultChan():
			if d, isDeployment := event.Object.(*appsv1.Deployment); isDeployment && strings.Contains(d.Annotations[v1alpha1.StatusAnnotation(east)], `"at":`) {
				seen[d.Annotations[v1alpha1.StatusAnnotation(east)]] = true
			}
		default:
			return len(seen)
		}
	}
}
