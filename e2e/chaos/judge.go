package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// CopyKey names an object on a cluster.
type CopyKey struct {
	Key

	Cluster, Namespace string
}

func copyKey(cluster, namespace string, key Key) CopyKey {
	return CopyKey{Key: key, Cluster: cluster, Namespace: namespace}
}

func (c CopyKey) String() string { return c.Cluster + ": " + c.Namespace + " " + c.Key.String() }

// World is what there is, in kcp and on the clusters, at a quiet moment.
type World struct {
	// Upstream are the tenants' objects.
	Upstream map[NamespaceKey]map[Key]*unstructured.Unstructured
	// Ending are the namespaces and workspaces in kcp that are being deleted, and the objects of theirs that are left.
	Ending []string
	// Copies are all objects of the synced kinds on the clusters, but those of the clusters' own namespaces.
	Copies map[CopyKey]*unstructured.Unstructured
	// Namespaces are those of the clusters, by cluster and name.
	Namespaces map[string]map[string]*unstructured.Unstructured
}

// Excuses say what of a round explains that something is not as it else has to be.
type Excuses struct {
	// Meddled are the copies with which a fault has meddled since the last comparison, and how.
	Meddled map[CopyKey]string
	// Foreign are the objects on clusters that the suite has made for others, and their namespaces.
	Foreign           map[CopyKey]*unstructured.Unstructured
	ForeignNamespaces map[string]bool
}

// judgement compares a world with what is wanted.
type judgement struct {
	state    State
	world    World
	excuses  Excuses
	problems []string
	// expected are the copies that are to be there, and namespaces where they are to be.
	expected   map[CopyKey]bool
	namespaces map[string]map[string]bool
}

// Judge says what is not as the tenants want it, sorted; nothing when all is well.
func Judge(state State, world World, excuses Excuses) []string {
	j := &judgement{state: state, world: world, excuses: excuses, expected: map[CopyKey]bool{}, namespaces: map[string]map[string]bool{}}
	for _, name := range ClusterNames {
		j.namespaces[name] = map[string]bool{}
	}
	for _, what := range world.Ending {
		j.complainf("%s is still being deleted", what)
	}
	for namespace, objects := range state.Namespaces {
		j.upstream(namespace, objects)
		for _, wanted := range objects {
			if wanted.Exists && wanted.Kind != WorkloadPlacement {
				j.object(namespace, objects, wanted)
			}
		}
	}
	j.strays()
	slices.Sort(j.problems)
	return j.problems
}

func (j *judgement) complainf(format string, args ...any) {
	j.problems = append(j.problems, fmt.Sprintf(format, args...))
}

// upstream compares what kcp has with what the tenants wrote.
func (j *judgement) upstream(namespace NamespaceKey, objects map[Key]Wanted) {
	there := j.world.Upstream[namespace]
	for key, wanted := range objects {
		object := there[key]
		switch {
		case wanted.Exists && object == nil:
			j.complainf("kcp: %s %s is not there", namespace, key)
		case wanted.Exists:
			for _, wrong := range missing("", wanted.Manifest(), object.Object) {
				j.complainf("kcp: %s %s%s", namespace, key, wrong)
			}
		}
	}
	for key, object := range there {
		if object.GetDeletionTimestamp() != nil {
			j.complainf("kcp: %s %s is still being deleted: finalizers %v", namespace, key, object.GetFinalizers())
		} else if !objects[key].Exists {
			j.complainf("kcp: %s %s is there, and should not be", namespace, key)
		}
	}
}

// placedOn returns the clusters that an object in kcp is placed on, and those that it is to leave.
func placedOn(object *unstructured.Unstructured) (placed, leaving []string) {
	for key, value := range object.GetLabels() {
		cluster, found := strings.CutPrefix(key, placementPrefix)
		if !found || value != placementValue {
			continue
		}
		if _, leaves := object.GetAnnotations()[deletionPrefix+cluster]; leaves {
			leaving = append(leaving, cluster)
		} else {
			placed = append(placed, cluster)
		}
	}
	slices.Sort(placed)
	slices.Sort(leaving)
	return placed, leaving
}

// object compares where an object is, what its copies say, and its status.
func (j *judgement) object(namespace NamespaceKey, objects map[Key]Wanted, wanted Wanted) {
	upstream := j.world.Upstream[namespace][wanted.Key]
	if upstream == nil || upstream.GetDeletionTimestamp() != nil {
		return // which is complained of already
	}
	placed, leaving := placedOn(upstream)
	if len(leaving) > 0 {
		j.complainf("kcp: %s %s is still leaving %v", namespace, wanted.Key, leaving)
	}
	for _, wrong := range j.misplaced(namespace, objects, wanted, upstream, placed) {
		j.complainf("kcp: %s %s is on %v: %s", namespace, wanted.Key, placed, wrong)
	}
	copies := j.copies(namespace, wanted, upstream, placed, dividedBy(objects, wanted))
	j.replicas(namespace, objects, wanted, copies)
	if len(copies) == len(placed) {
		for _, wrong := range statusProblems(wanted, upstream, copies) {
			j.complainf("kcp: %s %s%s", namespace, wanted.Key, wrong)
		}
	}
}

// copies compares an object's copies with it, and returns them by cluster.
func (j *judgement) copies(namespace NamespaceKey, wanted Wanted, upstream *unstructured.Unstructured, placed []string, divided bool) map[string]*unstructured.Unstructured {
	copies := map[string]*unstructured.Unstructured{}
	for _, cluster := range placed {
		at := copyKey(cluster, namespace.Name, wanted.Key)
		j.expected[at] = true
		if j.namespaces[cluster] != nil {
			j.namespaces[cluster][namespace.Name] = true
		}
		if j.excuses.Foreign[at] != nil {
			continue
		}
		there := j.world.Copies[at]
		switch {
		case there == nil && j.isRun(at, upstream):
		case there == nil:
			j.complainf("%s is not there", at)
		default:
			copies[cluster] = there
			j.content(at, wanted, there, divided)
			j.marks(at, upstream, there)
		}
	}
	return copies
}

// isRun reports whether a copy is away rightly: a Job that has run is not run again when somebody deletes it.
func (j *judgement) isRun(at CopyKey, upstream *unstructured.Unstructured) bool {
	return at.Kind == Job && j.excuses.Meddled[at] != "" && condition(upstream, "Complete") == isTrue
}

// content compares a copy with what the tenant wrote, field by field.
func (j *judgement) content(at CopyKey, wanted Wanted, there *unstructured.Unstructured, divided bool) {
	manifest := wanted.Manifest()
	if spec, has := manifest["spec"].(map[string]any); has && divided {
		delete(spec, "replicas") // the sum of the shares counts
	}
	unstructured.RemoveNestedField(manifest, "metadata", "annotations", targetsKey) // which is for kcp
	for _, wrong := range missing("", manifest, there.Object) {
		j.complainf("%s%s", at, wrong)
	}
	labels := wanted.labels()
	for _, key := range []string{appLabel, groupLabel, noteLabel} {
		if _, wants := labels[key]; !wants && there.GetLabels()[key] != "" {
			j.complainf("%s has the label %s=%s, which the tenant has taken off", at, key, there.GetLabels()[key])
		}
	}
	if _, has := there.GetAnnotations()[targetsKey]; has {
		j.complainf("%s has the annotation %s", at, targetsKey)
	}
	data, _, _ := unstructured.NestedMap(there.Object, "data")
	maps.DeleteFunc(data, func(key string, _ any) bool { return strings.HasPrefix(key, "chaos-") }) // what others add to a copy is theirs
	if want, has := manifest["data"]; has && text(want) != text(data) {
		j.complainf("%s.data: want exactly %s, have %s", at, text(want), text(data))
	}
}

// marks looks at what says whose a copy is, and at what a fault may have left.
func (j *judgement) marks(at CopyKey, upstream, there *unstructured.Unstructured) {
	if uid := there.GetAnnotations()[sourceUIDKey]; uid != string(upstream.GetUID()) {
		j.complainf("%s is the copy of another object: of %s and not of %s", at, uid, upstream.GetUID())
	}
	if there.GetLabels()[managedByKey] != managedByValue {
		j.complainf("%s has lost its label %s", at, managedByKey)
	}
	if there.GetDeletionTimestamp() != nil {
		j.complainf("%s is being deleted: finalizers %v", at, there.GetFinalizers())
	}
	if len(there.GetFinalizers()) > 0 && at.Kind != Job {
		j.complainf("%s has finalizers: %v", at, there.GetFinalizers())
	}
}

// placement returns the WorkloadPlacement that decides about a workload.
func placement(objects map[Key]Wanted, wanted Wanted) (Wanted, bool) {
	p := objects[Key{WorkloadPlacement, wanted.Group}]
	return p, wanted.Kind.isWorkload() && wanted.Targets == nil && wanted.Group != "" && p.Exists
}

// dividedBy reports whether the replicas of an object are divided over its clusters.
func dividedBy(objects map[Key]Wanted, wanted Wanted) bool {
	p, decides := placement(objects, wanted)
	return decides && p.Divided && wanted.Kind.isScalable()
}

// replicas compares the sum of divided replicas.
func (j *judgement) replicas(namespace NamespaceKey, objects map[Key]Wanted, wanted Wanted, copies map[string]*unstructured.Unstructured) {
	if !dividedBy(objects, wanted) || len(copies) == 0 {
		return
	}
	sum := int64(0)
	for _, there := range copies {
		replicas, _, _ := unstructured.NestedInt64(there.Object, "spec", "replicas")
		sum += replicas
	}
	if sum != wanted.Replicas {
		j.complainf("%s %s: its copies have %d replicas together, want %d", namespace, wanted.Key, sum, wanted.Replicas)
	}
}

// strays looks for what is ours, and should not be there.
func (j *judgement) strays() {
	for at, object := range j.world.Copies {
		if j.expected[at] || j.excuses.Foreign[at] != nil && j.excuses.Foreign[at].GetUID() == object.GetUID() {
			continue
		}
		_, hashed := object.GetLabels()[sourceHashKey]
		if object.GetLabels()[managedByKey] == managedByValue || hashed || object.GetAnnotations()[sourceUIDKey] != "" {
			j.complainf("%s is there, and should not be (uid %s, deletion %v, finalizers %v)", at, object.GetUID(),
				object.GetDeletionTimestamp(), object.GetFinalizers())
		}
	}
	for _, cluster := range slices.Sorted(maps.Keys(j.world.Namespaces)) {
		j.strayNamespaces(cluster)
	}
}

// strayNamespaces looks for namespaces of a cluster that should not be there, and for those that should.
func (j *judgement) strayNamespaces(cluster string) {
	for name, namespace := range j.world.Namespaces[cluster] {
		if j.namespaces[cluster][name] || j.excuses.ForeignNamespaces[cluster+"/"+name] {
			continue
		}
		if _, marked := namespace.GetLabels()[managedByKey]; marked || isTenants(name) {
			j.complainf("%s: namespace %s is there, and should not be (phase %s, finalizers %v)", cluster, name,
				text(namespace.Object["status"]), namespace.GetFinalizers())
		}
	}
	for name := range j.namespaces[cluster] {
		if j.world.Namespaces[cluster][name] == nil {
			j.complainf("%s: namespace %s is not there", cluster, name)
		}
	}
}

// isTenants reports whether a namespace of a cluster has a name that a tenant of the suite uses.
func isTenants(name string) bool {
	for _, workspace := range append(slices.Clone(workspaces), "gone") {
		if strings.HasPrefix(name, workspace+"-") {
			return true
		}
	}
	return false
}

// isTrue is the status of a condition that holds.
const isTrue = "True"

// condition returns the status of a condition, "" where there is none.
func condition(object *unstructured.Unstructured, kind string) string {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, each := range conditions {
		if fields, ok := each.(map[string]any); ok && fields["type"] == kind {
			status, _ := fields["status"].(string)
			return status
		}
	}
	return ""
}

// counters are the numbers of a status that are sums over the clusters.
var counters = map[Kind][]string{
	Deployment:  {"replicas", "readyReplicas", "updatedReplicas", "availableReplicas", "unavailableReplicas"},
	StatefulSet: {"replicas", "readyReplicas", "updatedReplicas", "availableReplicas"},
	Job:         {"succeeded", "active", "failed"},
}

// statusProblems compares the status in kcp with the copies' own.
func statusProblems(wanted Wanted, upstream *unstructured.Unstructured, copies map[string]*unstructured.Unstructured) []string {
	problems := wrongSums(wanted, upstream, copies)
	if wanted.Kind.isScalable() {
		observed, _, _ := unstructured.NestedInt64(upstream.Object, "status", "observedGeneration")
		if len(copies) > 0 && observed != upstream.GetGeneration() { // what is placed nowhere, no cluster observes
			problems = append(problems, fmt.Sprintf(".status.observedGeneration is %d, and the generation %d", observed, upstream.GetGeneration()))
		}
	}
	if wanted.Kind.isWorkload() && len(copies) > 0 && condition(upstream, "Synced") != isTrue {
		conditions, _, _ := unstructured.NestedSlice(upstream.Object, "status", "conditions")
		problems = append(problems, ".status.conditions: Synced is not True: "+text(conditions))
	}
	for cluster, there := range copies {
		problems = append(problems, copyUndone(wanted, cluster, there)...)
	}
	return problems
}

// wrongSums compares the numbers of a status with the sums of the copies' own.
func wrongSums(wanted Wanted, upstream *unstructured.Unstructured, copies map[string]*unstructured.Unstructured) []string {
	var problems []string
	for _, field := range counters[wanted.Kind] {
		have, _, _ := unstructured.NestedInt64(upstream.Object, "status", field)
		sum, parts := int64(0), []string(nil)
		for _, cluster := range slices.Sorted(maps.Keys(copies)) {
			n, _, _ := unstructured.NestedInt64(copies[cluster].Object, "status", field)
			sum += n
			parts = append(parts, cluster+" "+strconv.FormatInt(n, 10))
		}
		hasLeft := wanted.Kind == Job && condition(upstream, "Complete") == isTrue && have > sum // where it has run counts, though it has left
		if have != sum && !hasLeft {
			problems = append(problems, fmt.Sprintf(".status.%s is %d, and that of the clusters together %d (%s)", field, have, sum, strings.Join(parts, ", ")))
		}
	}
	return problems
}

// copyUndone says what a copy's own controller has still to do.
func copyUndone(wanted Wanted, cluster string, there *unstructured.Unstructured) []string {
	if wanted.Kind == Job {
		if condition(there, "Complete") != isTrue {
			return []string{": the Job has not ended on " + cluster}
		}
		return nil
	}
	if !wanted.Kind.isScalable() {
		return nil
	}
	replicas, _, _ := unstructured.NestedInt64(there.Object, "spec", "replicas")
	observed, _, _ := unstructured.NestedInt64(there.Object, "status", "observedGeneration")
	for _, field := range []string{"updatedReplicas", "readyReplicas", "replicas"} {
		n, _, _ := unstructured.NestedInt64(there.Object, "status", field)
		if n != replicas || observed != there.GetGeneration() {
			return []string{fmt.Sprintf(": %s is not done with its copy: %s is %d of %d, observed generation %d of %d", cluster, field, n,
				replicas, observed, there.GetGeneration())}
		}
	}
	return nil
}
