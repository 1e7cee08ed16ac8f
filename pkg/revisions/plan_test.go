package revisions

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/yamltest"
)

// numbersOf returns those of the ReplicaSets, by revision.
func (s *server) numbersOf() map[int64]Numbers {
	found := map[int64]Numbers{}
	for _, obj := range s.revisions {
		revision := Of(obj)
		found[revision.Number] = revision.Numbers
	}
	return found
}

// fail has the deadline of the roll-out exceeded.
func (s *server) fail() {
	conditions := []any{map[string]any{"type": "Available"}, map[string]any{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}}
	s.set(conditions, "status", "conditions")
}

func TestEvaluateOfAFailedRollOut(t *testing.T) {
	s := newServer(t, deploymentKind)
	s.settle(false)
	s.status(3, 3, 3)
	s.settle(false)
	s.setImage("web:broken")
	s.settle(false)
	s.status(4, 2, 2)
	s.fail()
	s.settle(false)
	// 2 of 4 are ready, and 2 are older ones: nobody knows of any new one that is ready.
	want := map[int64]Numbers{1: {2, 2, 2, 2}, 2: {Wanted: 2, Replicas: 2}}
	if diff := cmp.Diff(want, s.numbersOf()); diff != "" {
		t.Errorf("failed (-want +got)\n%s", diff)
	}
	s.status(4, 2, 3)
	s.fail()
	s.settle(true)
	if diff := cmp.Diff(want, s.numbersOf()); diff != "" {
		t.Errorf("a pod that is ready for a moment (-want +got)\n%s", diff)
	}
	s.setImage("web:0")
	s.settle(false)
	s.status(3, 3, 3)
	s.settle(false)
	want = map[int64]Numbers{2: {}, 3: {3, 3, 3, 3}}
	if diff := cmp.Diff(want, s.numbersOf()); diff != "" {
		t.Errorf("rolled back (-want +got)\n%s", diff)
	}
}

// TestEvaluateOfAFailedRollOutOnOneOfTwoClusters has a status that says too few updated pods, so that kubectl waits.
func TestEvaluateOfAFailedRollOutOnOneOfTwoClusters(t *testing.T) {
	for name, tc := range map[string]struct {
		reports  []string
		replicas int64
		want     map[int64]Numbers
	}{
		"the sums": {
			[]string{`{"gen":2,"n":{"replicas":3,"updatedReplicas":3}}`, `{"gen":2,"n":{"replicas":3,"updatedReplicas":3}}`}, 6,
			map[int64]Numbers{1: {}, 2: {6, 6, 3, 3}},
		},
		"the numbers of one cluster": {
			[]string{`{"gen":2,"n":{"replicas":3,"updatedReplicas":3}}`, `{"gen":2,"n":{"replicas":4,"updatedReplicas":2}}`}, 4,
			map[int64]Numbers{1: {2, 2, 2, 2}, 2: {2, 2, 1, 1}},
		},
		"a cluster that has not begun": {
			[]string{`{"gen":2,"n":{"replicas":3,"updatedReplicas":3}}`, `{"gen":1,"n":{"replicas":3,"updatedReplicas":3}}`}, 6,
			map[int64]Numbers{1: {3, 3, 3, 3}, 2: {Wanted: 3, Replicas: 3}},
		},
		"a cluster that says nothing": {
			[]string{`{"gen":2,"n":{"replicas":3,"updatedReplicas":3}}`, "no"}, 3,
			map[int64]Numbers{1: {}, 2: {3, 3, 3, 3}},
		},
	} {
		s := newServer(t, deploymentKind)
		s.settle(false)
		s.status(6, 6, 6)
		s.settle(false)
		s.setImage("web:broken")
		s.settle(false)
		for i, report := range tc.reports {
			cluster := []string{"east", "west"}[i]
			s.set("sync", "metadata", "labels", v1alpha1.PlacementLabel(cluster))
			report = strings.Replace(report, "{", fmt.Sprintf(`{"v":%d,"cluster":%q,`, protocol.ReportVersion, cluster), 1)
			s.set(report, "metadata", "annotations", v1alpha1.StatusAnnotation(cluster))
		}
		s.status(tc.replicas, 2, 3)
		s.fail()
		s.settle(false)
		if diff := cmp.Diff(tc.want, s.numbersOf()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestEvaluateLowersNumbersLater(t *testing.T) {
	s := newServer(t, deploymentKind)
	s.settle(false)
	s.status(6, 6, 6)
	s.settle(false)
	for _, tc := range []struct {
		what               string
		replicas, ready    int64
		isSettled, isAdded bool
		want               Numbers
	}{
		{what: "scaled in", replicas: 4, ready: 4, isSettled: true, want: Numbers{4, 4, 4, 4}},
		{what: "one is not ready", replicas: 4, ready: 3, want: Numbers{4, 4, 3, 3}},
		{what: "a cluster is gone", replicas: 2, ready: 2, isSettled: false, want: Numbers{4, 2, 2, 2}},
	} {
		s.status(tc.replicas, tc.replicas, tc.ready)
		if tc.what == "a cluster is gone" {
			s.set(int64(0), "status", "observedGeneration")
		}
		before := len(s.writes)
		if plan := s.settle(false); !plan.Falls || plan.Settled != tc.isSettled || len(s.writes) > before {
			t.Errorf("%s: falls %v, settled %v, %d writes", tc.what, plan.Falls, plan.Settled, len(s.writes)-before)
		}
		if s.settle(true); s.numbersOf()[1] != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.what, s.numbersOf()[1], tc.want)
		}
	}
}

func TestEvaluateCopiesFromDeployments(t *testing.T) {
	s := newServer(t, deploymentKind)
	s.set(map[string]any{
		"kubernetes.io/change-cause":                       "because",
		"kubectl.kubernetes.io/last-applied-configuration": "{}",
		"deployment.kubernetes.io/max-replicas":            "3",
		v1alpha1.TargetClustersAnnotation:                  "east",
		v1alpha1.PlacementAnnotation:                       "{}",
		v1alpha1.StatusAnnotation("east"):                  "{}",
		"kcp.io/cluster":                                   "abc",
	}, "metadata", "annotations")
	s.set(int64(5), "spec", "minReadySeconds")
	s.settle(false)
	check := func(want map[string]string) {
		t.Helper()
		for _, obj := range s.revisions {
			if diff := cmp.Diff(want, obj.GetAnnotations()); diff != "" || number(obj, "spec", "minReadySeconds") != number(s.workload, "spec", "minReadySeconds") {
				t.Errorf("(-want +got)\n%s", diff)
			}
		}
	}
	want := map[string]string{"kubernetes.io/change-cause": "because", v1alpha1.TargetClustersAnnotation: "east", RevisionAnnotation: "1"}
	check(want)
	s.set("another cause", "metadata", "annotations", "kubernetes.io/change-cause")
	s.set(int64(6), "spec", "minReadySeconds")
	s.settle(false)
	want["kubernetes.io/change-cause"] = "another cause"
	check(want)
}

func TestEvaluateNotesFormerNumbers(t *testing.T) {
	s := newServer(t, deploymentKind)
	for _, image := range []string{"web:0", "web:1", "web:0", "web:1", "web:0"} {
		s.setImage(image)
		s.settle(false)
	}
	for _, obj := range s.revisions {
		if got, want := obj.GetAnnotations()[historyAnnotation], map[int64]string{5: "1,3", 4: "2"}[Of(obj).Number]; got != want {
			t.Errorf("revision %d was %q before, want %q", Of(obj).Number, got, want)
		}
	}
	long := strings.Repeat("1234567,", 250)
	if got := appendHistory(long[:len(long)-1], 7654321); len(got) > longestHistory || !strings.HasSuffix(got, ",1234567,7654321") {
		t.Errorf("%d characters: %s", len(got), got)
	}
	if got := appendHistory(strings.Repeat("1", 2*longestHistory), 2); got != "2" {
		t.Errorf("a text that is no numbers becomes %q", got)
	}
}

const orphanYAML = `
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: NAME, namespace: shop, uid: NAME, resourceVersion: "1", labels: {app: web}, ownerReferences: [{kind: Thing, name: a, uid: b, apiVersion: v1}], annotations: {deployment.kubernetes.io/revision: "4"}}
spec: {replicas: 0, template: {metadata: {labels: {app: web, pod-template-hash: x}}, spec: {containers: [{name: web, image: "IMAGE", resources: {limits: {memory: 1Gi, cpu: "1"}}, terminationMessagePath: /dev/termination-log}]}}}`

func orphan(tb testing.TB, name, image string) *unstructured.Unstructured {
	tb.Helper()
	return yamltest.Object(tb, strings.NewReplacer("NAME", name, "IMAGE", image).Replace(orphanYAML))
}

func TestEvaluateAdopts(t *testing.T) {
	s := newServer(t, deploymentKind)
	present, others := orphan(t, "present", "web:0"), orphan(t, "others", "web:0")
	others.SetLabels(map[string]string{"app": "api"})
	going := orphan(t, "going", "web:9")
	going.SetDeletionTimestamp(new(metav1.Unix(1, 0)))
	for _, obj := range []*unstructured.Unstructured{present, others, going} {
		s.revisions[obj.GetName()] = obj
	}
	workload, all := s.slimmed()
	plan := Evaluate(Input{Workload: workload, Revisions: all, MayCreate: true})
	if plan.Create != nil || len(plan.Changes) != 1 || !plan.Changes[0].Adopts() || plan.Annotation != "4" {
		t.Fatalf("the plan is %+v", plan)
	}
	s.patch(&plan.Changes[0])
	adopted := s.revisions["present"]
	if owner := metav1.GetControllerOf(adopted); owner == nil || owner.UID != "web-uid" || owner.Kind != deploymentKind || !*owner.BlockOwnerDeletion || len(adopted.GetOwnerReferences()) != 2 {
		t.Errorf("the owners are %v", adopted.GetOwnerReferences())
	}
	for _, selector := range []any{map[string]any{}, map[string]any{"matchLabels": map[string]any{"/": "no"}}, map[string]any{"matchLabels": "no"}} {
		workload.Object["spec"].(map[string]any)["selector"] = selector
		if plan := Evaluate(Input{Workload: workload, Revisions: all}); !plan.IsEmpty() {
			t.Errorf("with the selector %v, the plan is %+v", selector, plan)
		}
	}
}

func TestEvaluateWaitsForWhatIsBeingDeleted(t *testing.T) {
	s := newServer(t, deploymentKind)
	s.settle(false)
	for _, obj := range s.revisions {
		obj.SetDeletionTimestamp(new(metav1.Unix(1, 0)))
	}
	workload, all := s.slimmed()
	if plan := Evaluate(Input{Workload: workload, Revisions: all, MayCreate: true}); !plan.Waits || !plan.IsEmpty() {
		t.Errorf("the plan is %+v", plan)
	}
}

func TestEvaluateLeavesAlone(t *testing.T) {
	for name, change := range map[string]func(*server){
		"what is being deleted":  func(s *server) { s.workload.SetDeletionTimestamp(new(metav1.Unix(1, 0))) },
		"what cannot be read":    func(s *server) { s.set("no", "spec", "template", "spec", "overhead") },
		"what cannot be written": func(s *server) { s.set(map[string]any{"cpu": "1e2000000000"}, "spec", "template", "spec", "overhead") },
	} {
		s := newServer(t, deploymentKind)
		change(s)
		workload, _ := s.slimmed()
		plan := Evaluate(Input{Workload: workload, MayCreate: true})
		if name != "what cannot be read" && !plan.IsEmpty() {
			t.Errorf("%s: the plan is %+v", name, plan)
		}
		if _, err := Make(s.workload, Creation{}, 0); err == nil && name != "what is being deleted" {
			t.Errorf("%s: it is made", name)
		}
	}
	if _, err := Make(yamltest.Object(t, "{kind: Deployment, spec: {template: []}}"), Creation{}, 0); err == nil {
		t.Error("a revision of no template is made")
	}
}

func TestEvaluateOfADefault(t *testing.T) {
	s := newServer(t, deploymentKind)
	delete(s.workload.Object["spec"].(map[string]any), "replicas")
	delete(s.workload.Object["spec"].(map[string]any), "revisionHistoryLimit")
	s.settle(false)
	s.status(1, 1, 1)
	if s.settle(false); s.numbersOf()[1].Wanted != 1 {
		t.Errorf("with the default, the numbers are %v", s.numbersOf())
	}
}

func TestMakeNames(t *testing.T) {
	deployment := yamltest.Object(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: "web:1"}]}}}}`)
	// What k8s.io/kubernetes v1.36.3 makes of it, without and with one collision.
	for collisions, want := range []string{"web-78c95bb4f", "web-5d755f669b"} {
		for kind, want := range map[string]string{deploymentKind: want, daemonSetKind: want} {
			deployment.SetKind(kind)
			made, err := Make(deployment, Creation{Number: 1}, int32(collisions))
			if err != nil || made.GetName() != want {
				t.Errorf("%s: %v, %v, want %s", kind, made, err, want)
			}
		}
	}
	for collisions, want := range []string{"589f85db5b", "589f85db5c"} {
		if got := hashOf([]byte(`{"spec":{"template":{"$patch":"replace"}}}`), int32(collisions)); got != want {
			t.Errorf("the hash is %s, want %s", got, want)
		}
	}
	deployment.SetName(strings.Repeat("a", 253))
	for _, kind := range []string{deploymentKind, statefulSetKind} {
		deployment.SetKind(kind)
		if made, err := Make(deployment, Creation{}, 0); err != nil || len(made.GetName()) > 253 {
			t.Errorf("%s: %d characters, %v", kind, len(made.GetName()), err)
		}
	}
}

func TestMakeOfALabelOfOurs(t *testing.T) {
	s := newServer(t, deploymentKind)
	s.set(map[string]any{"app": "web", v1alpha1.PlacementLabel("east"): "sync"}, "spec", "template", "metadata", "labels")
	made, err := Make(s.workload, Creation{Number: 1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if labels := made.GetLabels(); len(labels) != 2 || labels["app"] != "web" || labels[appsv1.DefaultDeploymentUniqueLabelKey] == "" {
		t.Errorf("the labels are %v", labels)
	}
	delete(s.workload.Object["spec"].(map[string]any)["template"].(map[string]any), "metadata")
	delete(s.workload.Object["spec"].(map[string]any), "selector")
	if _, err := Make(s.workload, Creation{Number: 1}, 0); err != nil {
		t.Error(err)
	}
}

func TestSlimLeavesOthersAlone(t *testing.T) {
	for _, text := range []string{"{apiVersion: v1, kind: Pod}", "{apiVersion: apps/v1, kind: Other}", "{apiVersion: example.com/v1, kind: ReplicaSet}"} {
		obj := yamltest.Object(t, text)
		before := obj.DeepCopy()
		if Slim(obj); !cmp.Equal(before, obj) {
			t.Errorf("%s became %v", text, obj)
		}
	}
	revision := orphan(t, "one", "web:1")
	revision.SetAnnotations(map[string]string{"kcp.io/cluster": "abc", "a": "b"})
	Slim(revision)
	Slim(revision)
	if got := revision.GetAnnotations(); len(got) != 1 || got["kcp.io/cluster"] != "abc" || Of(revision).Annotations["a"] != "b" {
		t.Errorf("the annotations are %v, of it %v", got, Of(revision).Annotations)
	}
	workload := newServer(t, deploymentKind).workload
	whole := DigestOf(workload)
	Slim(workload)
	delete(workload.Object, "spec")
	if Slim(workload); DigestOf(workload) != whole {
		t.Error("the digest of a slim workload is another one")
	}
}

func TestResourceOf(t *testing.T) {
	for resource, want := range map[string]string{
		"deployments.apps": "replicasets", "statefulsets.apps": "controllerrevisions", "daemonsets.apps": "controllerrevisions",
		"replicasets.apps": "", "deployments.extensions": "", "jobs.batch": "",
	} {
		got, has := ResourceOf(schema.ParseGroupResource(resource))
		if got.Resource != want || has != (want != "") {
			t.Errorf("%s: %v, %v, want %s", resource, got, has, want)
		}
	}
}

// BenchmarkSlim measures what each event of a Deployment costs.
func BenchmarkSlim(b *testing.B) {
	workload := newServer(b, deploymentKind).workload
	for b.Loop() {
		delete(workload.Object, digestField)
		Slim(workload)
	}
}

// BenchmarkEvaluate measures a turn for a Deployment with eleven revisions, at rest.
func BenchmarkEvaluate(b *testing.B) {
	s := newServer(b, deploymentKind)
	for i := range 11 {
		s.setImage(fmt.Sprint("web:", i))
		s.settle(false)
	}
	s.status(3, 3, 3)
	s.settle(false)
	workload, all := s.slimmed()
	for b.Loop() {
		if !Evaluate(Input{Workload: workload, Revisions: all, MayCreate: true}).IsEmpty() {
			b.Fatal("something is to be written")
		}
	}
}
