package aggregate

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kubectl/pkg/polymorphichelpers"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// verdict is what `kubectl rollout status` concludes from a Deployment.
type verdict string

const (
	done    verdict = "done"
	waiting verdict = "waiting"
	failed  verdict = "failed"
)

// kubectl asks kubectl's own code.
func kubectl(t *testing.T, deployment *appsv1.Deployment) verdict {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(deployment)
	if err != nil {
		t.Fatalf("converting: %v", err)
	}
	_, isDone, err := (&polymorphichelpers.DeploymentStatusViewer{}).Status(&unstructured.Unstructured{Object: content}, 0)
	switch {
	case err != nil && strings.Contains(err.Error(), "exceeded its progress deadline"):
		return failed
	case err != nil:
		t.Fatalf("kubectl: %v", err)
	case isDone:
		return done
	}
	return waiting
}

// fleet is an upstream Deployment and what runs of it on some clusters.
type fleet struct {
	random   *rand.Rand
	upstream *appsv1.Deployment
	// local holds each placed cluster's own Deployment, nil before it is there.
	local map[string]*appsv1.Deployment
	// applied is the upstream generation that each local one was made from, inputs what
	// else it was made from: its share.
	applied map[string]int64
	inputs  map[string]string
	// divided is whether the clusters share the replicas, silent are those of them that
	// are not heard of.
	divided bool
	silent  map[string]bool
}

func newFleet(random *rand.Rand) *fleet {
	f := &fleet{
		random: random,
		upstream: &appsv1.Deployment{
			TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
			ObjectMeta: metav1.ObjectMeta{Name: "app", Generation: 1, Annotations: map[string]string{}},
			Spec:       appsv1.DeploymentSpec{Replicas: new(random.Int32N(4))},
		},
		local:   map[string]*appsv1.Deployment{},
		applied: map[string]int64{},
		inputs:  map[string]string{},
		divided: random.IntN(2) == 0,
		silent:  map[string]bool{},
	}
	for range 1 + random.IntN(3) {
		f.join()
	}
	return f
}

// placed returns the clusters, sorted.
func (f *fleet) placed() []string {
	var clusters []string
	for _, cluster := range []string{"east", "north", "south", "west"} {
		if _, ok := f.local[cluster]; ok {
			clusters = append(clusters, cluster)
		}
	}
	return clusters
}

func (f *fleet) any() string {
	placed := f.placed()
	return placed[f.random.IntN(len(placed))]
}

// step lets one thing happen, as it may in any order.
func (f *fleet) step() {
	steps := []func(){f.join, f.leave, f.change, f.apply, f.observe, f.observe, f.progress, f.progress, f.progress, f.progress, f.fail, f.loseAPod, f.divide, f.divide, f.fallSilent, f.speak, f.speak}
	steps[f.random.IntN(len(steps))]()
}

func (f *fleet) join() {
	cluster := []string{"east", "north", "south", "west"}[f.random.IntN(4)]
	if _, placed := f.local[cluster]; !placed {
		f.local[cluster], f.applied[cluster] = nil, 0
		f.divide()
	}
}

func (f *fleet) leave() {
	if len(f.local) > 1 {
		cluster := f.any()
		delete(f.local, cluster)
		delete(f.applied, cluster)
		delete(f.silent, cluster)
		delete(f.upstream.Annotations, v1alpha1.StatusAnnotation(cluster))
		delete(f.upstream.Annotations, v1alpha1.ReplicasAnnotation(cluster))
		f.divide()
	}
}

// divide is the scheduler's: it comes some time after the number has changed, and
// together with a change of clusters.
func (f *fleet) divide() {
	if !f.divided {
		return
	}
	left, placed := *f.upstream.Spec.Replicas, f.placed()
	for i, cluster := range placed {
		share := left
		if i < len(placed)-1 {
			share = f.random.Int32N(left + 1)
		}
		left -= share
		f.upstream.Annotations[v1alpha1.ReplicasAnnotation(cluster)] = strconv.Itoa(int(share))
	}
	f.upstream.Annotations[v1alpha1.PlacementAnnotation] = fmt.Sprintf(`{"by":"placement p","replicas":%d}`, *f.upstream.Spec.Replicas)
}

// isDivided reports whether the shares add up to the number that is wanted.
func (f *fleet) isDivided() bool {
	total := int32(0)
	for _, cluster := range f.placed() {
		total += f.share(cluster)
	}
	return !f.divided || total == *f.upstream.Spec.Replicas
}

func (f *fleet) share(cluster string) int32 {
	share, err := strconv.Atoi(f.upstream.Annotations[v1alpha1.ReplicasAnnotation(cluster)])
	if err != nil {
		return *f.upstream.Spec.Replicas
	}
	return int32(share)
}

func (f *fleet) input(cluster string) string {
	return f.upstream.Annotations[v1alpha1.ReplicasAnnotation(cluster)]
}

func (f *fleet) silence(cluster string) string {
	if f.silent[cluster] {
		return "silent since noon"
	}
	return ""
}

func (f *fleet) fallSilent() { f.silent[f.any()] = true }
func (f *fleet) speak()      { delete(f.silent, f.any()) }

// change is the user's: another image, or another number of replicas.
func (f *fleet) change() {
	f.upstream.Generation++
	if f.random.IntN(2) == 0 {
		f.upstream.Spec.Replicas = new(f.random.Int32N(4))
	}
}

// apply is a syncer's.
func (f *fleet) apply() {
	cluster := f.any()
	local := f.local[cluster]
	if local == nil {
		local = &appsv1.Deployment{}
		f.local[cluster] = local
	}
	if f.applied[cluster] != f.upstream.Generation || f.inputs[cluster] != f.input(cluster) {
		local.Generation++
		local.Spec.Replicas = new(f.share(cluster))
		f.applied[cluster], f.inputs[cluster] = f.upstream.Generation, f.input(cluster)
	}
}

// observe is a local Deployment controller's first look at a change: the new
// ReplicaSet has no pods yet.
func (f *fleet) observe() {
	local := f.local[f.any()]
	if local == nil || local.Status.ObservedGeneration == local.Generation {
		return
	}
	local.Status.ObservedGeneration = local.Generation
	local.Status.UpdatedReplicas = min(local.Status.UpdatedReplicas, f.random.Int32N(2))
	f.settle(local, appsv1.DeploymentCondition{Status: corev1.ConditionTrue, Reason: reasonProgressing})
}

// progress is a local controller's next step: a pod more, an old one less.
func (f *fleet) progress() {
	local := f.local[f.any()]
	if local == nil || local.Status.ObservedGeneration != local.Generation {
		return
	}
	status, wanted := &local.Status, *local.Spec.Replicas
	switch {
	case status.UpdatedReplicas < wanted:
		status.UpdatedReplicas++
		status.Replicas++
	case status.UpdatedReplicas > wanted:
		status.UpdatedReplicas--
		status.Replicas--
	case status.Replicas > status.UpdatedReplicas:
		status.Replicas--
	case status.AvailableReplicas < status.UpdatedReplicas:
		status.AvailableReplicas++
	}
	status.Replicas = max(status.Replicas, status.UpdatedReplicas)
	status.AvailableReplicas = min(status.AvailableReplicas, status.Replicas)
	reason := reasonProgressing
	if status.UpdatedReplicas == wanted && status.Replicas == wanted && status.AvailableReplicas == wanted {
		reason = reasonComplete
	}
	f.settle(local, appsv1.DeploymentCondition{Status: corev1.ConditionTrue, Reason: reason})
}

func (f *fleet) fail() {
	local := f.local[f.any()]
	if local != nil && local.Status.ObservedGeneration == local.Generation && f.random.IntN(3) == 0 {
		f.settle(local, appsv1.DeploymentCondition{Status: corev1.ConditionFalse, Reason: reasonDeadlineExceeded})
	}
}

func (f *fleet) loseAPod() {
	local := f.local[f.any()]
	if local != nil && local.Status.AvailableReplicas > 0 {
		local.Status.AvailableReplicas--
		if f.random.IntN(2) == 0 && local.Status.UpdatedReplicas > 0 {
			local.Status.UpdatedReplicas--
			local.Status.Replicas--
		}
	}
}

func (f *fleet) settle(local *appsv1.Deployment, progressing appsv1.DeploymentCondition) {
	progressing.Type = appsv1.DeploymentProgressing
	local.Status.Conditions = []appsv1.DeploymentCondition{progressing}
}

// report lets the syncers say what is, except for one now and then.
func (f *fleet) report(t *testing.T) {
	t.Helper()
	for cluster, local := range f.local {
		if local == nil || f.random.IntN(8) == 0 {
			continue
		}
		report := reportOf(cluster, f.applied[cluster], local)
		report.Inputs = f.inputs[cluster]
		encoded, err := report.Encode()
		if err != nil {
			t.Fatalf("encoding: %v", err)
		}
		if f.upstream.Annotations == nil {
			f.upstream.Annotations = map[string]string{}
		}
		f.upstream.Annotations[v1alpha1.StatusAnnotation(cluster)] = encoded
	}
}

func reportOf(cluster string, generation int64, local *appsv1.Deployment) protocol.Report {
	report := protocol.Report{
		Version:                 protocol.ReportVersion,
		Cluster:                 cluster,
		Generation:              generation,
		LocalGeneration:         local.Generation,
		LocalObservedGeneration: local.Status.ObservedGeneration,
		Replicas:                new(int64(*local.Spec.Replicas)),
		Counters: map[string]int64{
			replicas:          int64(local.Status.Replicas),
			updatedReplicas:   int64(local.Status.UpdatedReplicas),
			availableReplicas: int64(local.Status.AvailableReplicas),
		},
	}
	for _, c := range local.Status.Conditions {
		report.Conditions = append(report.Conditions, protocol.ReportCondition{
			Type: string(c.Type), Status: metav1.ConditionStatus(c.Status), Reason: c.Reason,
		})
	}
	return report
}

// isCurrent reports whether a cluster has taken up what is wanted now.
func (f *fleet) isCurrent(report protocol.Report) bool {
	return report.Generation == f.upstream.Generation && report.LocalObservedGeneration >= report.LocalGeneration &&
		report.Inputs == f.input(report.Cluster)
}

// expected is what a person would conclude from asking kubectl at every cluster,
// as far as the reports tell: done when all are, failed when one is.
func (f *fleet) expected(t *testing.T) verdict {
	t.Helper()
	conclusion, observed := done, f.isDivided()
	for _, cluster := range f.placed() {
		value, reported := f.upstream.Annotations[v1alpha1.StatusAnnotation(cluster)]
		report, err := protocol.ParseReport(cluster, value)
		if !reported || err != nil || !f.isCurrent(report) || f.silent[cluster] {
			observed = false
			continue
		}
		verdict := kubectl(t, localOf(report))
		if verdict == failed {
			return failed
		}
		// Of a share, kubectl's word is too soon while more of it runs.
		if verdict == waiting || f.divided && report.Counters[replicas] > *report.Replicas {
			conclusion = waiting
		}
	}
	if !observed {
		return waiting
	}
	return conclusion
}

func localOf(report protocol.Report) *appsv1.Deployment {
	local := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "app", Generation: report.LocalGeneration},
		Spec:       appsv1.DeploymentSpec{Replicas: new(int32(*report.Replicas))},
		Status: appsv1.DeploymentStatus{
			ObservedGeneration: report.LocalObservedGeneration,
			Replicas:           int32(report.Counters[replicas]),
			UpdatedReplicas:    int32(report.Counters[updatedReplicas]),
			AvailableReplicas:  int32(report.Counters[availableReplicas]),
		},
	}
	for _, c := range report.Conditions {
		local.Status.Conditions = append(local.Status.Conditions, appsv1.DeploymentCondition{
			Type: appsv1.DeploymentConditionType(c.Type), Status: corev1.ConditionStatus(c.Status), Reason: c.Reason,
		})
	}
	return local
}

func TestRolloutOfDeploymentsAsKubectlJudgesIt(t *testing.T) {
	verdicts := map[verdict]int{}
	for seed := range uint64(1000) {
		f := newFleet(rand.New(rand.NewPCG(seed, 0)))
		for step := range 60 {
			f.step()
			f.report(t)
			before := f.upstream.Status.ObservedGeneration
			f.upstream.Labels = placement(f.placed())
			mergeWith(t, f.upstream, Input{Now: metav1.Unix(int64(step), 0), Inputs: f.input, Silent: f.silence})
			got, want := kubectl(t, f.upstream), f.expected(t)
			// While one cluster has failed and another has not observed yet, kubectl
			// may have to wait for the generation first.
			if want == failed && got == waiting && f.upstream.Status.ObservedGeneration < f.upstream.Generation {
				want = waiting
			}
			if got != want {
				t.Fatalf("seed %d, step %d: kubectl says %s of the merged status, the clusters say %s\n%s", seed, step, got, want, describe(f))
			}
			if after := f.upstream.Status.ObservedGeneration; after < before || after > f.upstream.Generation {
				t.Fatalf("seed %d, step %d: observedGeneration went from %d to %d at generation %d", seed, step, before, after, f.upstream.Generation)
			}
			verdicts[got]++
		}
	}
	t.Logf("verdicts: %v", verdicts)
	for _, v := range []verdict{done, waiting, failed} {
		if verdicts[v] < 250 {
			t.Errorf("only %d interleavings led to %q: the test does not test it", verdicts[v], v)
		}
	}
}

func describe(f *fleet) string {
	var b strings.Builder
	fmt.Fprintf(&b, "generation %d, replicas %d, status %+v\n", f.upstream.Generation, *f.upstream.Spec.Replicas, f.upstream.Status)
	for _, cluster := range f.placed() {
		fmt.Fprintf(&b, "%s: %s\n", cluster, f.upstream.Annotations[v1alpha1.StatusAnnotation(cluster)])
	}
	return b.String()
}
