package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const (
	// rolloutsEnv names the variable that says how many rollouts to measure.
	rolloutsEnv = "TMC_ROLLOUTS"
	// rollouts is how many it is without it: enough to see that nothing is far off.
	rollouts = 5
	// pods is how many pods both clusters have together.
	pods = 20
	// mostStatuses is how many status writes a rollout may take.
	mostStatuses = 12
	// rolloutReports is how many reports a cluster may write on a rollout: that it has begun, that it is done, and that
	// the last pod of before has gone. While it is on its way, one more each progressInterval.
	rolloutReports   = 3
	progressInterval = 3 * time.Second
	// creations is how many Deployments to make, and unsaid is how long a new copy may take to be ready without a word.
	creations = 5
	unsaid    = 2 * time.Second
	// mostReportBytes is what an ordinary report may take.
	mostReportBytes = 700
)

// TestRolloutFigures measures what a rollout of 20 pods on two clusters costs, and how long kcp's status lags behind
// the last pod. It does not run beside others.
func TestRolloutFigures(t *testing.T) {
	count := rollouts
	if value := os.Getenv(rolloutsEnv); value != "" {
		var err error
		count, err = strconv.Atoi(value)
		check(t, err)
	}
	u := newTenant(t, env.shared, "figures")
	u.measureCreations(t)
	u.apply(t, some(deployment("web", withReplicas(pods/2))))
	u.rollOut(t, "web", east, west)
	u.eventuallySynced(t, "web")
	u.measureRollouts(t, "the sums", count, 0, pods)

	u.kubectl(t, "annotate", "deployment/web", v1alpha1.StatusCountersAnnotation+"="+v1alpha1.CountersPerCluster)
	eventuallyIs(t, "the numbers to be those of one cluster", u.upstream("web"), func(d *appsv1.Deployment) bool { return d.Status.Replicas == pods/2 })
	u.measureRollouts(t, "the numbers of one cluster", count, count, pods/2)
}

// measureRollouts measures some rollouts, counted from the first, at whose end the status shows so many replicas.
func (u *tenant) measureRollouts(t *testing.T, shown string, count, first int, replicas int32) {
	t.Helper()
	revisions := u.watchReplicaSets(t)
	var lags []time.Duration
	var reports, statuses, numbers int
	for i := range count {
		one := u.measureRollout(t, first+i, replicas)
		lags = append(lags, one.lag)
		reports, statuses, numbers = reports+one.reports, statuses+one.statuses, numbers+one.numbers
		most := 2 * (rolloutReports + int(one.took/progressInterval))
		if one.reports > most || one.statuses > mostStatuses {
			t.Errorf("rollout %d took %s, %d reports and %d status writes, want at most %d and %d", i, one.took.Round(time.Millisecond), one.reports, one.statuses, most, mostStatuses)
		}
	}
	slices.Sort(lags)
	t.Logf("%s: %d rollouts of %d pods on two clusters: %.1f reports and %.1f status writes each", shown, count, pods, float64(reports)/float64(count), float64(statuses)/float64(count))
	t.Logf("and of revisions: %.1f writes of ReplicaSets, %.1f of the Deployment's number", float64(arrived(revisions))/float64(count), float64(numbers)/float64(count))
	t.Logf("from the last pod Ready to the merged status: p50 %s, p99 %s", lags[len(lags)/2].Round(time.Millisecond), lags[len(lags)*99/100].Round(time.Millisecond))
	report := get(t, u.upstream("web")).Annotations[v1alpha1.StatusAnnotation(east)]
	t.Logf("a report has %d bytes", len(report))
	if len(report) >= mostReportBytes {
		t.Errorf("want less than %d: %s", mostReportBytes, report)
	}
}

// cost is what one rollout took.
type cost struct {
	took, lag                  time.Duration
	reports, statuses, numbers int
}

// measureRollout rolls out anew and watches both sides until kcp says that it is done, with so many replicas in its status.
func (u *tenant) measureRollout(t *testing.T, i int, replicas int32) cost {
	t.Helper()
	before := get(t, u.upstream("web"))
	changes, err := u.client.AppsV1().Deployments(u.namespace).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=web", ResourceVersion: before.ResourceVersion})
	check(t, err)
	defer changes.Stop()
	ready := u.watchReadyPods(t, strconv.Itoa(i))
	patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"rollout":"%d"}}}}}`, i)
	after, err := u.client.AppsV1().Deployments(u.namespace).Patch(t.Context(), "web", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	check(t, err)

	result := untilDone(t, changes, before, after.Generation, replicas)
	result.lag = time.Since(ready())
	return result
}

// untilDone counts what changes of a Deployment are written until kcp says that the generation is done, with so many replicas in its
// status.
func untilDone(t *testing.T, changes watch.Interface, before *appsv1.Deployment, generation int64, replicas int32) cost {
	t.Helper()
	var result cost
	begin, last := time.Now(), before
	eventually(t, "the rollout to be done in kcp", soon, func(context.Context) (bool, string, error) {
		for {
			select {
			case event := <-changes.ResultChan():
				now, ok := event.Object.(*appsv1.Deployment)
				if !ok {
					return true, "", fmt.Errorf("the watch ended with %v", event.Object)
				}
				result.add(last, now)
				last = now
				if now.Status.ObservedGeneration >= generation && now.Status.UpdatedReplicas == replicas && now.Status.AvailableReplicas == replicas && now.Status.Replicas == replicas {
					result.took = time.Since(begin)
					return true, "", nil
				}
			default:
				return false, describe(last), nil
			}
		}
	})
	return result
}

// measureCreations makes some Deployments, one after the other, of one pod on each of two clusters. A cluster whose pod is ready
// within two seconds reports once.
func (u *tenant) measureCreations(t *testing.T) {
	t.Helper()
	var reports, statuses int
	for i := range creations {
		name := fmt.Sprintf("new-%d", i)
		made, err := u.client.AppsV1().Deployments(u.namespace).Create(t.Context(), deployment(name), metav1.CreateOptions{})
		check(t, err)
		changes, err := u.client.AppsV1().Deployments(u.namespace).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name, ResourceVersion: made.ResourceVersion})
		check(t, err)
		one := untilDone(t, changes, made, made.Generation, 2)
		changes.Stop()
		reports, statuses = reports+one.reports, statuses+one.statuses
		if one.reports > 2 && one.took < unsaid {
			t.Errorf("creation %d took %s and %d reports, want one of each cluster", i, one.took.Round(time.Millisecond), one.reports)
		}
	}
	t.Logf("%d Deployments of a pod on each of two clusters: %.1f reports and %.1f status writes each", creations, float64(reports)/creations, float64(statuses)/creations)
}

// add counts what a change of the upstream object was.
func (c *cost) add(before, after *appsv1.Deployment) {
	for _, clusterName := range []string{east, west} {
		key := v1alpha1.StatusAnnotation(clusterName)
		if before.Annotations[key] != after.Annotations[key] {
			c.reports++
		}
	}
	if !apiequality.Semantic.DeepEqual(before.Status, after.Status) {
		c.statuses++
	}
	if key := "deployment.kubernetes.io/revision"; before.Annotations[key] != after.Annotations[key] {
		c.numbers++
	}
}

// watchReadyPods notes when pods of a rollout become Ready on either cluster, and returns a function that says
// when the last one did.
func (u *tenant) watchReadyPods(t *testing.T, rollout string) (last func() time.Time) {
	t.Helper()
	var mu sync.Mutex
	var latest time.Time
	for _, clusterName := range []string{east, west} {
		list, err := env.clusters[clusterName].client.CoreV1().Pods(u.namespace).List(t.Context(), metav1.ListOptions{})
		check(t, err)
		changes, err := env.clusters[clusterName].client.CoreV1().Pods(u.namespace).Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
		check(t, err)
		var watching sync.WaitGroup
		watching.Go(func() {
			seen := map[types.UID]bool{}
			for event := range changes.ResultChan() {
				if pod, ok := event.Object.(*corev1.Pod); ok && isReadyPod(event, pod, rollout) && !seen[pod.UID] {
					seen[pod.UID] = true
					mu.Lock()
					latest = time.Now()
					mu.Unlock()
				}
			}
		})
		t.Cleanup(func() {
			changes.Stop()
			watching.Wait()
		})
	}
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return latest
	}
}

func isReadyPod(event watch.Event, pod *corev1.Pod, rollout string) bool {
	if event.Type == watch.Deleted || pod.Annotations["rollout"] != rollout {
		return false
	}
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
