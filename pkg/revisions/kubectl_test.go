package revisions

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/kubernetes/fake"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
	"k8s.io/kubectl/pkg/polymorphichelpers"

	"github.com/kcp-tmc/tmc/pkg/yamltest"
)

// server is what kcp has of one workload and its revisions. Plans are carried out on it.
type server struct {
	t         testing.TB
	workload  *unstructured.Unstructured
	revisions map[string]*unstructured.Unstructured
	clock     int
	writes    []string
}

const workloadYAML = `
apiVersion: apps/v1
kind: KIND
metadata: {name: web, namespace: shop, uid: web-uid, generation: 1, labels: {app: web}}
spec:
  replicas: 3
  revisionHistoryLimit: 10
  selector: {matchLabels: {app: web}}
  updateStrategy: {type: RollingUpdate}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:0", resources: {limits: {memory: 1024Mi, cpu: 1}}, terminationMessagePath: /dev/termination-log}]}`

func newServer(tb testing.TB, kind string) *server {
	tb.Helper()
	return &server{t: tb, workload: yamltest.Object(tb, strings.ReplaceAll(workloadYAML, "KIND", kind)), revisions: map[string]*unstructured.Unstructured{}}
}

// set changes a field of the workload, as a user does.
func (s *server) set(value any, path ...string) {
	s.t.Helper()
	before := s.workload.DeepCopy()
	if err := unstructured.SetNestedField(s.workload.Object, value, path...); err != nil {
		s.t.Fatal(err)
	}
	if path[0] == "spec" && fmt.Sprint(before.Object["spec"]) != fmt.Sprint(s.workload.Object["spec"]) {
		s.workload.SetGeneration(s.workload.GetGeneration() + 1)
	}
}

func (s *server) setImage(image string) {
	s.t.Helper()
	containers, _, _ := unstructured.NestedSlice(s.workload.Object, "spec", "template", "spec", "containers")
	containers[0].(map[string]any)["image"] = image
	s.set(containers, "spec", "template", "spec", "containers")
}

// rollOut has the clusters end the roll-out with so many replicas; in the middle of it, less are updated.
func (s *server) status(replicas, updated, available int64) {
	s.set(map[string]any{
		"observedGeneration": s.workload.GetGeneration(),
		"replicas":           replicas, "updatedReplicas": updated, "readyReplicas": available, "availableReplicas": available,
		"desiredNumberScheduled": replicas, "updatedNumberScheduled": updated, "numberAvailable": available,
	}, "status")
}

// slimmed returns the workload and its revisions as caches have them.
func (s *server) slimmed() (*unstructured.Unstructured, []*Revision) {
	workload := s.workload.DeepCopy()
	Slim(workload)
	delete(workload.Object["spec"].(map[string]any), "template")
	var all []*Revision
	for _, name := range slices.Sorted(maps.Keys(s.revisions)) {
		revision := s.revisions[name].DeepCopy()
		Slim(revision)
		all = append(all, Of(revision))
	}
	return workload, all
}

// settle carries out plans until there is nothing to do.
func (s *server) settle(mayFall bool) Plan {
	s.t.Helper()
	for range 5 {
		workload, all := s.slimmed()
		plan := Evaluate(Input{Workload: workload, Revisions: all, MayCreate: true, MayFall: mayFall})
		if plan.IsEmpty() {
			return plan
		}
		s.carryOut(plan)
	}
	s.t.Fatal("there is no end")
	return Plan{}
}

func (s *server) carryOut(plan Plan) {
	s.t.Helper()
	if plan.Create != nil {
		s.create(*plan.Create)
	}
	for i := range plan.Changes {
		s.patch(&plan.Changes[i])
	}
	if plan.Annotation != "" {
		s.write("annotate " + plan.Annotation)
		s.set(plan.Annotation, "metadata", "annotations", RevisionAnnotation)
	}
	for _, revision := range plan.Delete {
		s.write("delete")
		delete(s.revisions, revision.Name)
	}
}

func (s *server) write(what string) { s.writes = append(s.writes, what) }

func (s *server) create(creation Creation) {
	s.t.Helper()
	made, err := Make(s.workload, creation, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.revisions[made.GetName()] != nil {
		s.t.Fatalf("%s is there already", made.GetName())
	}
	s.clock++
	made.SetUID(types.UID(fmt.Sprint("uid-", s.clock)))
	made.SetResourceVersion(fmt.Sprint(s.clock))
	made.SetGeneration(1)
	made.SetCreationTimestamp(metav1.Unix(int64(s.clock), 0))
	s.write("create")
	s.store(s.decode(made.Object))
}

func (s *server) patch(change *Change) {
	s.t.Helper()
	present := s.revisions[change.Of.Name]
	encoded, err := json.Marshal(change.Patch())
	if err != nil {
		s.t.Fatal(err)
	}
	before, err := present.MarshalJSON()
	if err != nil {
		s.t.Fatal(err)
	}
	after, err := jsonpatch.MergePatch(before, encoded)
	if err != nil {
		s.t.Fatal(err)
	}
	var patched map[string]any
	if err := json.Unmarshal(after, &patched); err != nil {
		s.t.Fatal(err)
	}
	revision := &unstructured.Unstructured{Object: patched}
	if revision.GetUID() != present.GetUID() || revision.GetResourceVersion() != present.GetResourceVersion() {
		s.t.Fatal("the patch is for another one")
	}
	s.clock++
	revision.SetResourceVersion(fmt.Sprint(s.clock))
	if fmt.Sprint(present.Object["spec"], present.Object["status"], present.Object["revision"]) != fmt.Sprint(patched["spec"], patched["status"], patched["revision"]) {
		revision.SetGeneration(present.GetGeneration() + 1)
	}
	s.write("patch")
	s.store(revision)
}

// decode returns a value as it is when it has been sent.
func (s *server) decode(value any) *unstructured.Unstructured {
	s.t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		s.t.Fatal(err)
	}
	decoded := &unstructured.Unstructured{}
	if err := json.Unmarshal(encoded, &decoded.Object); err != nil {
		s.t.Fatal(err)
	}
	return decoded
}

func (s *server) store(revision *unstructured.Unstructured) {
	s.t.Helper()
	if revision.GetKind() == replicaSetKind && number(revision, "status", "observedGeneration") != revision.GetGeneration() {
		s.t.Errorf("%s: generation %d, observed %d", revision.GetName(), revision.GetGeneration(), number(revision, "status", "observedGeneration"))
	}
	s.revisions[revision.GetName()] = revision
}

// client returns a client of a server that has all of it.
func (s *server) client() *fake.Clientset {
	s.t.Helper()
	objects := []runtime.Object{toTyped(s.t, s.workload)}
	for _, revision := range s.revisions {
		objects = append(objects, toTyped(s.t, revision))
	}
	return fake.NewClientset(objects...)
}

func toTyped(tb testing.TB, obj *unstructured.Unstructured) runtime.Object {
	tb.Helper()
	into := map[string]runtime.Object{
		deploymentKind: &appsv1.Deployment{}, statefulSetKind: &appsv1.StatefulSet{}, daemonSetKind: &appsv1.DaemonSet{},
		replicaSetKind: &appsv1.ReplicaSet{}, controllerRevisionKind: &appsv1.ControllerRevision{},
	}[obj.GetKind()]
	encoded, err := json.Marshal(obj.Object)
	if err == nil {
		err = json.Unmarshal(encoded, into)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return into
}

func (s *server) groupKind() schema.GroupKind { return s.workload.GroupVersionKind().GroupKind() }

// history returns what kubectl reads: the images by revision.
func (s *server) history() map[int64]string {
	s.t.Helper()
	viewer, err := polymorphichelpers.HistoryViewerFor(s.groupKind(), s.client())
	if err != nil {
		s.t.Fatal(err)
	}
	found, err := viewer.GetHistory("shop", "web")
	if err != nil {
		s.t.Fatal(err)
	}
	images := map[int64]string{}
	for number, obj := range found {
		said, err := viewer.ViewHistory("shop", "web", number)
		if err != nil {
			s.t.Fatal(err)
		}
		images[number] = templateOf(obj).Spec.Containers[0].Image
		if !strings.Contains(said, images[number]) {
			s.t.Errorf("kubectl says of revision %d: %s", number, said)
		}
	}
	return images
}

func templateOf(obj runtime.Object) corev1.PodTemplateSpec {
	switch obj := obj.(type) {
	case *appsv1.ReplicaSet:
		return obj.Spec.Template
	case *appsv1.StatefulSet:
		return obj.Spec.Template
	case *appsv1.DaemonSet:
		return obj.Spec.Template
	default:
		return corev1.PodTemplateSpec{}
	}
}

// undo has kubectl roll back, and returns what it says. What it writes becomes the workload.
func (s *server) undo(to int64) (string, error) {
	s.t.Helper()
	client := s.client()
	rollbacker, err := polymorphichelpers.RollbackerFor(s.groupKind(), client)
	if err != nil {
		s.t.Fatal(err)
	}
	said, err := rollbacker.Rollback(toTyped(s.t, s.workload), nil, to, cmdutil.DryRunNone)
	if err != nil {
		return said, err
	}
	var after any
	switch s.workload.GetKind() {
	case deploymentKind:
		after, err = client.AppsV1().Deployments("shop").Get(s.t.Context(), "web", metav1.GetOptions{})
	case statefulSetKind:
		after, err = client.AppsV1().StatefulSets("shop").Get(s.t.Context(), "web", metav1.GetOptions{})
	default:
		after, err = client.AppsV1().DaemonSets("shop").Get(s.t.Context(), "web", metav1.GetOptions{})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	written := s.decode(after)
	s.set(written.Object["spec"].(map[string]any)["template"], "spec", "template")
	if annotations, _, _ := unstructured.NestedMap(written.Object, "metadata", "annotations"); annotations != nil {
		s.set(annotations, "metadata", "annotations")
	}
	return said, nil
}

func (s *server) image() string {
	containers, _, _ := unstructured.NestedSlice(s.workload.Object, "spec", "template", "spec", "containers")
	image, _ := containers[0].(map[string]any)["image"].(string)
	return image
}

// model is the history as it is to be: the images by revision.
type model map[int64]string

func (m model) latest() int64 {
	latest := int64(0)
	for number := range m {
		latest = max(latest, number)
	}
	return latest
}

// use makes an image the present one.
func (m model) use(image string) {
	latest := m.latest()
	if m[latest] == image {
		return
	}
	maps.DeleteFunc(m, func(_ int64, other string) bool { return other == image })
	m[latest+1] = image
}

// trim drops the oldest beyond the limit, and the present one does not count.
func (m model) trim(limit int) {
	numbers := slices.Sorted(maps.Keys(m))
	for _, number := range numbers[:max(len(numbers)-1-limit, 0)] {
		delete(m, number)
	}
}

// TestRevisionsSatisfyKubectl takes workloads through random changes, and has kubectl's own code read their history and roll back.
func TestRevisionsSatisfyKubectl(t *testing.T) {
	for _, kind := range []string{deploymentKind, statefulSetKind, daemonSetKind} {
		for seed := range uint64(12) {
			t.Run(fmt.Sprint(kind, " ", seed), func(t *testing.T) {
				r := &run{server: newServer(t, kind), random: rand.New(rand.NewPCG(seed, 1)), want: model{}, limit: 10}
				r.do()
			})
		}
	}
}

// run is a random history under way.
type run struct {
	*server

	random   *rand.Rand
	want     model
	limit    int
	isPaused bool
}

func (r *run) do() {
	r.t.Helper()
	for range 40 {
		r.step()
		r.settle(false)
		isKnown := slices.Contains(slices.Collect(maps.Values(r.want)), r.image())
		if !r.isPaused || isKnown {
			r.want.use(r.image()) // a known one gets its number also while paused
			isKnown = true
		}
		r.status(4, 1, 2)
		r.settle(false)
		if isKnown {
			r.status(3, 3, 3)
		} else {
			r.status(3, 0, 3)
		}
		r.settle(true)
		if isKnown {
			r.want.trim(r.limit)
		} else {
			r.want.trim(max(r.limit-1, 0)) // all are old, and that with pods stays
		}
		r.check()
		written := len(r.writes)
		r.settle(true)
		if len(r.writes) != written {
			r.t.Fatal("something is written at rest")
		}
	}
}

func (r *run) step() {
	r.t.Helper()
	switch r.random.IntN(8) {
	case 0, 1, 2:
		r.setImage(fmt.Sprint("web:", r.random.IntN(6)))
	case 3:
		r.limit = r.random.IntN(4)
		r.set(int64(r.limit), "spec", "revisionHistoryLimit")
	case 4:
		r.set(int64(r.random.IntN(5)), "spec", "minReadySeconds")
	case 5:
		if r.workload.GetKind() == deploymentKind {
			r.isPaused = !r.isPaused
			r.set(r.isPaused, "spec", "paused")
		}
	default:
		r.rollBack()
	}
}

// rollBack has kubectl roll back to a revision that may be there, or to the one before.
func (r *run) rollBack() {
	r.t.Helper()
	to := int64(r.random.IntN(int(r.want.latest()) + 2))
	wanted := r.want[to]
	if numbers := slices.Sorted(maps.Keys(r.want)); to == 0 && len(numbers) > 1 {
		wanted = r.want[numbers[len(numbers)-2]]
	}
	said, err := r.undo(to)
	switch {
	case r.isPaused || wanted == "":
		if err == nil {
			r.t.Fatalf("kubectl rolls back to revision %d of %v: %s", to, r.want, said)
		}
	case err != nil:
		r.t.Fatalf("kubectl does not roll back to revision %d of %v: %v", to, r.want, err)
	case r.image() != wanted:
		r.t.Fatalf("kubectl rolls back to %s, want %s: %s", r.image(), wanted, said)
	}
}

func (r *run) check() {
	r.t.Helper()
	if got := r.history(); !maps.Equal(got, r.want) {
		r.t.Fatalf("kubectl reads the history %v, want %v", got, r.want)
	}
	if r.workload.GetKind() != deploymentKind {
		return
	}
	total := Numbers{}
	for _, obj := range r.revisions {
		revision := Of(obj)
		total = Numbers{total.Wanted + revision.Numbers.Wanted, total.Replicas + revision.Numbers.Replicas, total.Ready + revision.Numbers.Ready, total.Available + revision.Numbers.Available}
		if want := r.workload.GetAnnotations()[RevisionAnnotation]; revision.Number == r.want.latest() && want != fmt.Sprint(revision.Number) {
			r.t.Fatalf("the Deployment is at revision %s, want %d", want, revision.Number)
		}
	}
	if len(r.revisions) > 0 && total != (Numbers{3, 3, 3, 3}) {
		r.t.Fatalf("all revisions together have %+v", total)
	}
}
