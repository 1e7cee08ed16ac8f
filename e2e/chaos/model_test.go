package chaos

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

func TestPlanIsTheSameForTheSameSeed(t *testing.T) {
	plan := func(seed uint64) []Round {
		p := NewPlanner(seed)
		return []Round{p.SetUp(), p.Round(80, 160, time.Minute), p.Round(80, 160, time.Minute)}
	}
	if !reflect.DeepEqual(plan(7), plan(7)) {
		t.Error("seed 7 gives two plans")
	}
	if reflect.DeepEqual(plan(7), plan(8)) {
		t.Error("seeds 7 and 8 give the same plan")
	}
}

// TestPlanHolds checks over many seeds that the operations follow from each other, so that what a run wants does not depend on
// what happens.
func TestPlanHolds(t *testing.T) {
	verbs := map[Verb]int{}
	for seed := range uint64(50) {
		p := NewPlanner(seed)
		now := map[NamespaceKey]map[Key]Wanted{}
		for _, round := range []Round{p.SetUp(), p.Round(60, 120, time.Minute), p.Round(60, 120, time.Minute)} {
			for i, op := range round.Ops {
				verbs[op.Verb]++
				if i > 0 && op.At < round.Ops[i-1].At {
					t.Fatalf("seed %d: %s is before %s", seed, op, round.Ops[i-1])
				}
				follow(t, now, op)
			}
		}
		for namespace, objects := range p.State().Namespaces {
			for key, object := range objects {
				if !reflect.DeepEqual(object, now[namespace][key]) && (object.Exists || now[namespace][key].Exists) {
					t.Fatalf("seed %d: %s %s: the plan ends with %+v, its operations with %+v", seed, namespace, key, object, now[namespace][key])
				}
			}
		}
	}
	for _, verb := range []Verb{Create, Change, Delete, Recreate, RecreateNamespace, SetFleet, CreateWorkspace, DeleteWorkspace} {
		if verbs[verb] == 0 {
			t.Errorf("no plan has: %s", verb)
		}
	}
}

// follow carries an operation out on what there is, in the order of the plan.
func follow(t *testing.T, now map[NamespaceKey]map[Key]Wanted, op Op) {
	t.Helper()
	switch op.Verb {
	case SetFleet, CreateWorkspace:
		return
	case DeleteWorkspace, RecreateNamespace:
		delete(now, op.Namespace)
		return
	default:
	}
	if now[op.Namespace] == nil {
		now[op.Namespace] = map[Key]Wanted{}
	}
	there := now[op.Namespace][op.Now.Key]
	if wants := op.Verb != Create; there.Exists != wants {
		t.Fatalf("%s: exists %t before", op, there.Exists)
	}
	if there.Exists && !reflect.DeepEqual(there, op.Was) {
		t.Fatalf("%s: thinks that there is %+v, and there is %+v", op, op.Was, there)
	}
	now[op.Namespace][op.Now.Key] = op.Now
}

func TestPatchBetween(t *testing.T) {
	p := NewPlanner(3)
	p.SetUp()
	changes := 0
	for _, op := range p.Round(100, 400, time.Minute).Ops {
		if op.Verb != Change {
			continue
		}
		changes++
		data, err := patchBetween(op.Was, op.Now)
		check(t, err)
		patch, err := jsonpatch.DecodePatch(data)
		check(t, err)
		before, err := json.Marshal(op.Was.Manifest())
		check(t, err)
		after, err := patch.Apply(before)
		check(t, err)
		var have map[string]any
		check(t, json.Unmarshal(after, &have))
		if text(have) != text(op.Now.Manifest()) {
			t.Errorf("%s: patched to %s, want %s", op, text(have), text(op.Now.Manifest()))
		}
		if _, err := patch.Apply(after); err == nil && op.Was.Op != op.Now.Op {
			t.Errorf("%s: the patch can be applied twice", op)
		}
	}
	if changes < 50 {
		t.Errorf("%d changes, want more to look at", changes)
	}
}

func TestTurns(t *testing.T) {
	a, b := NamespaceKey{"x", "a"}, NamespaceKey{"x", "b"}
	object := func(namespace NamespaceKey, name string) Op {
		return Op{Verb: Change, Namespace: namespace, Now: Wanted{Key: Key{Deployment, name}}}
	}
	for name, test := range map[string]struct {
		first, second Op
		want          bool
	}{
		"one object":                  {object(a, "web"), object(a, "web"), true},
		"two objects":                 {object(a, "web"), object(a, "db"), false},
		"an object and its namespace": {object(a, "web"), Op{Verb: RecreateNamespace, Namespace: a}, true},
		"a namespace and its object":  {Op{Verb: RecreateNamespace, Namespace: a}, object(a, "web"), true},
		"a namespace and another's":   {Op{Verb: RecreateNamespace, Namespace: a}, object(b, "web"), false},
		"a workspace and its object":  {Op{Verb: CreateWorkspace, Namespace: NamespaceKey{Workspace: "x"}}, object(b, "web"), true},
		"the clusters and an object":  {Op{Verb: SetFleet}, object(b, "web"), false},
		"the clusters twice":          {Op{Verb: SetFleet}, Op{Verb: SetFleet}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := conflict(test.first, test.second); got != test.want {
				t.Errorf("have to wait for each other: %t, want %t", got, test.want)
			}
		})
	}
}

// world is one in which all is well: a Deployment on two clusters with its ConfigMap.
func goodWorld() (State, World) {
	namespace := NamespaceKey{"team-a", "team-a-main"}
	web := Wanted{
		Key: Key{Deployment, "web-0"}, Exists: true, Op: 3, Version: 2, Replicas: 3, Targets: new("east,west"),
		Mounts: []Key{{ConfigMap, "conf-0"}},
	}
	conf := Wanted{Key: Key{ConfigMap, "conf-0"}, Exists: true, Op: 2, Version: 1}
	state := State{
		Namespaces: map[NamespaceKey]map[Key]Wanted{namespace: {web.Key: web, conf.Key: conf}},
		Fleet:      map[string]FleetState{"east": Open, "north": Open, "west": Open},
	}
	world := World{
		Upstream:   map[NamespaceKey]map[Key]*unstructured.Unstructured{namespace: {}},
		Copies:     map[CopyKey]*unstructured.Unstructured{},
		Namespaces: map[string]map[string]*unstructured.Unstructured{},
	}
	for _, wanted := range []Wanted{web, conf} {
		upstream := made(wanted, "up-"+wanted.Name)
		upstream.SetGeneration(4)
		labels := upstream.GetLabels()
		for _, cluster := range []string{"east", "west"} {
			labels[placementPrefix+cluster] = placementValue
			there := made(wanted, cluster+"-"+wanted.Name)
			annotations := there.GetAnnotations()
			annotations[sourceUIDKey] = "up-" + wanted.Name
			delete(annotations, targetsKey)
			there.SetAnnotations(annotations)
			marked := there.GetLabels()
			marked[managedByKey] = managedByValue
			there.SetLabels(marked)
			there.SetGeneration(9)
			if wanted.Kind == Deployment {
				setStatus(there, 3, 9)
			}
			world.Copies[copyKey(cluster, namespace.Name, wanted.Key)] = there
			world.Namespaces[cluster] = map[string]*unstructured.Unstructured{namespace.Name: {Object: map[string]any{}}}
		}
		upstream.SetLabels(labels)
		if wanted.Kind == Deployment {
			setStatus(upstream, 6, 4)
		}
		world.Upstream[namespace][wanted.Key] = upstream
	}
	return state, world
}

func made(wanted Wanted, uid string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: wanted.Manifest()}
	object.SetUID(types.UID(uid))
	return object
}

func setStatus(object *unstructured.Unstructured, n, observed int64) {
	object.Object["status"] = map[string]any{
		"replicas": n, "readyReplicas": n, "updatedReplicas": n, "availableReplicas": n, "observedGeneration": observed,
		"conditions": []any{
			map[string]any{"type": "Synced", "status": "True"},
			map[string]any{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
		},
	}
}

func set(object *unstructured.Unstructured, value any, fields ...string) {
	_ = unstructured.SetNestedField(object.Object, value, fields...)
}

func TestJudge(t *testing.T) {
	namespace := NamespaceKey{"team-a", "team-a-main"}
	web, conf := Key{Deployment, "web-0"}, Key{ConfigMap, "conf-0"}
	onEast := copyKey("east", namespace.Name, web)
	for name, test := range map[string]struct {
		change func(State, World, *Excuses)
		want   []string
	}{
		"all is well":            {func(State, World, *Excuses) {}, nil},
		"a copy that is missing": {func(_ State, w World, _ *Excuses) { delete(w.Copies, onEast) }, []string{"east: team-a-main deployment/web-0 is not there"}},
		"an object that is lost": {func(_ State, w World, _ *Excuses) { delete(w.Upstream[namespace], web) }, []string{"kcp: team-a|team-a-main deployment/web-0 is not there"}},
		"an older image":         {func(_ State, w World, _ *Excuses) { w.Copies[onEast] = made(old(), "east-web-0") }, []string{`image: want "registry.example.com/app:v2", have "registry.example.com/app:v1"`}},
		"data that was edited": {func(_ State, w World, _ *Excuses) {
			set(w.Copies[copyKey("west", namespace.Name, conf)], "x", "data", "version")
		}, []string{`.data.version: want "v1", have "x"`}},
		"data that nobody wrote": {func(_ State, w World, _ *Excuses) {
			set(w.Copies[copyKey("west", namespace.Name, conf)], "x", "data", "more")
		}, []string{"want exactly"}},
		"replicas that were scaled": {func(_ State, w World, _ *Excuses) { set(w.Copies[onEast], int64(2), "spec", "replicas") }, []string{".spec.replicas: want 3, have 2"}},
		"a mark that is off":        {func(_ State, w World, _ *Excuses) { w.Copies[onEast].SetLabels(map[string]string{appLabel: "web-0"}) }, []string{"has lost its label"}},
		"a label that stayed": {func(_ State, w World, _ *Excuses) {
			set(w.Copies[onEast], "n1", "metadata", "labels", noteLabel)
		}, []string{"which the tenant has taken off"}},
		"the copy of a former object": {func(_ State, w World, _ *Excuses) {
			set(w.Copies[onEast], "up-former", "metadata", "annotations", sourceUIDKey)
		}, []string{"is the copy of another object"}},
		"a status that counts wrongly": {func(_ State, w World, _ *Excuses) { setStatus(w.Upstream[namespace][web], 5, 4) }, []string{".status.replicas is 5, and that of the clusters together 6"}},
		"a status that is not current": {func(_ State, w World, _ *Excuses) { setStatus(w.Upstream[namespace][web], 6, 3) }, []string{".status.observedGeneration is 3, and the generation 4"}},
		"a deletion that hangs": {func(_ State, w World, _ *Excuses) {
			set(w.Upstream[namespace][conf], "2026-01-01T00:00:00Z", "metadata", "deletionTimestamp")
		}, []string{"still being deleted"}},
		"an object that was to go": {func(s State, _ World, _ *Excuses) {
			s.Namespaces[namespace][web] = Wanted{Key: web}
		}, []string{"kcp: team-a|team-a-main deployment/web-0 is there, and should not be", "east: team-a-main deployment/web-0 is there, and should not be", "want it not on east"}},
		"a copy on another cluster": {func(_ State, w World, _ *Excuses) {
			w.Copies[copyKey("north", namespace.Name, web)] = w.Copies[onEast]
		}, []string{"north: team-a-main deployment/web-0 is there, and should not be"}},
		"a namespace that was left": {func(_ State, w World, _ *Excuses) {
			w.Namespaces["north"] = map[string]*unstructured.Unstructured{"gone-main": {Object: map[string]any{}}}
		}, []string{"north: namespace gone-main is there, and should not be"}},
		"a cluster too many":        {func(s State, _ World, _ *Excuses) { aim(s, namespace, web, "east") }, []string{"may be on [east] alone"}},
		"a cluster too few":         {func(s State, _ World, _ *Excuses) { aim(s, namespace, web, "*") }, []string{"want north as well"}},
		"a cluster that is drained": {func(s State, _ World, _ *Excuses) { s.Fleet["west"] = Drained }, []string{"may be on [east] alone"}},
		"a cluster too few that is cordoned": {func(s State, w World, _ *Excuses) {
			aim(s, namespace, web, "*")
			set(w.Upstream[namespace][web], "*", "metadata", "annotations", targetsKey)
			s.Fleet["north"] = Cordoned
		}, nil},
		"what it needs is elsewhere": {func(_ State, w World, _ *Excuses) {
			labels := w.Upstream[namespace][conf].GetLabels()
			delete(labels, placementPrefix+"west")
			w.Upstream[namespace][conf].SetLabels(labels)
		}, []string{"want west as well, where a workload is that needs it", "west: team-a-main configmap/conf-0 is there, and should not be"}},
		"somebody else's in its place": {func(_ State, w World, e *Excuses) {
			foreign := made(Wanted{Key: web}, "foreign")
			w.Copies[onEast] = foreign
			e.Foreign = map[CopyKey]*unstructured.Unstructured{onEast: foreign}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			state, world := goodWorld()
			excuses := Excuses{}
			test.change(state, world, &excuses)
			got := Judge(state, world, excuses)
			if len(test.want) == 0 && len(got) > 0 {
				t.Errorf("complains of %s", strings.Join(got, "\n"))
			}
			for _, want := range test.want {
				if !slices.ContainsFunc(got, func(line string) bool { return strings.Contains(line, want) }) {
					t.Errorf("want a complaint with %q, have\n%s", want, strings.Join(got, "\n"))
				}
			}
		})
	}
}

func old() Wanted {
	return Wanted{Key: Key{Deployment, "web-0"}, Exists: true, Op: 3, Version: 1, Replicas: 3}
}

func aim(s State, namespace NamespaceKey, key Key, targets string) {
	object := s.Namespaces[namespace][key]
	object.Targets = &targets
	s.Namespaces[namespace][key] = object
}

func TestIsRolledOut(t *testing.T) {
	_, world := goodWorld()
	upstream := world.Upstream[NamespaceKey{"team-a", "team-a-main"}][Key{Deployment, "web-0"}]
	if !isRolledOut(upstream) {
		t.Error("what is rolled out is not")
	}
	setStatus(upstream, 6, 3)
	if isRolledOut(upstream) {
		t.Error("what has not been observed is rolled out")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
