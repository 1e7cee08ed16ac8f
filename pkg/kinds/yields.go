package kinds

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Yield are fields that go down with an object and are the cluster's own from there on, while the object has a mark: a queue of
// the cluster starts it, and puts its pods where there is room.
type Yield struct {
	// Marks are the fields any one of which marks the object by being there.
	Marks []Mark `json:"marks"`
	// Paths lead to the fields, which may be in the items of lists. A map or a list of items with keys is yielded entry by entry.
	Paths []Path `json:"paths"`
}

// Mark is a field that marks an object.
type Mark struct {
	Path Path `json:"path"`
	// Except are values of it that mark nothing.
	Except []string `json:"except,omitempty"`
}

// isIn reports whether an object bears the mark.
func (m Mark) isIn(object map[string]any) bool {
	value := m.Path.In(object)
	return value != nil && value != "" && !slices.Contains(m.Except, fmt.Sprint(value))
}

// queueName is the label by which an object says which queue of Kueue's it waits in (https://kueue.sigs.k8s.io/docs/tasks/run/jobs).
const queueName = `metadata.labels.kueue\.x-k8s\.io/queue-name`

// queued are the marks of an object that a queue, or another controller than the kind's own, starts. The exceptions are the
// kinds' own controllers: JobControllerName in k8s.io/api/batch/v1, and those of JobSet and of the Kubeflow trainer.
func queued() []Mark {
	return []Mark{
		{Path: path(queueName)},
		{Path: path("spec.managedBy"), Except: []string{"kubernetes.io/job-controller", "jobset.sigs.k8s.io/jobset-controller"}},
		{Path: path("spec.runPolicy.managedBy"), Except: []string{"kubeflow.org/training-operator"}},
	}
}

// podSet are the fields of a pod template at the path that a queue fills in: PodSetInfo in sigs.k8s.io/kueue, pkg/podset.
func podSet(template string) []Path {
	var paths []Path
	for _, field := range []string{"metadata.labels", "metadata.annotations", "spec.nodeSelector", "spec.tolerations", "spec.schedulingGates"} {
		paths = append(paths, path(template+"."+field))
	}
	return paths
}

// jobYields is what Kueue sets of a Job whose spec is at the path: it suspends and resumes it, and with partial admission it sets
// parallelism and completions as well (pkg/controller/jobs/job in sigs.k8s.io/kueue).
func jobYields(spec string) []Path {
	paths := []Path{path(spec + ".suspend"), path(spec + ".parallelism"), path(spec + ".completions")}
	return append(paths, podSet(spec+".template")...)
}

// cronJobYields is that of the Jobs that a CronJob makes, which is marked itself or has its Jobs marked.
func cronJobYields() []Yield {
	return []Yield{{
		Marks: []Mark{
			{Path: path(queueName)}, {Path: path("spec.jobTemplate." + queueName)},
			{Path: path("spec.jobTemplate.spec.managedBy"), Except: []string{"kubernetes.io/job-controller"}},
		},
		Paths: jobYields("spec.jobTemplate.spec"),
	}}
}

// conventionalYields counts for every kind whose entry does not say otherwise: what Kueue sets of the kinds that it manages beside
// Jobs. These are Deployments, StatefulSets, JobSets, the kinds of Kubeflow's trainer and of Ray, AppWrappers, and whatever has a
// spec.suspend (https://kueue.sigs.k8s.io/docs/tasks/run).
var conventionalYields = []Yield{{Marks: queued(), Paths: conventionalPaths()}}

func conventionalPaths() []Path {
	paths := []Path{
		path("spec.suspend"), path("spec.runPolicy.suspend"),
		path("spec.replicatedJobs[].template.spec.parallelism"), path("spec.replicatedJobs[].template.spec.completions"),
	}
	templates := []string{
		"spec.template", "spec.replicatedJobs[].template.spec.template",
		"spec.headGroupSpec.template", "spec.workerGroupSpecs[].template",
		"spec.rayClusterSpec.headGroupSpec.template", "spec.rayClusterSpec.workerGroupSpecs[].template",
	}
	for _, framework := range []string{"jax", "mpi", "paddle", "pytorch", "tf", "xgb"} {
		for _, role := range []string{"Chief", "Evaluator", "Launcher", "Master", "PS", "Worker"} {
			templates = append(templates, "spec."+framework+"ReplicaSpecs."+role+".template")
		}
	}
	slices.Sort(templates)
	for _, template := range templates {
		paths = append(paths, podSet(template)...)
	}
	return paths
}

// YieldError says what is wrong with the annotation by which a user yields fields.
type YieldError struct{ Path, Expected string }

// Error names the annotation, what is wrong, and what was expected.
func (e *YieldError) Error() string {
	return fmt.Sprintf("annotation %s: %q is no field that can be yielded, expected %s", v1alpha1.YieldAnnotation, e.Path, e.Expected)
}

// Yields returns the fields of an object that go down and are the cluster's own from there on, none for most objects: those that
// its kind yields while it bears a mark, and those that the user names in an annotation. It fails with a YieldError where that
// names what cannot be yielded.
func (k Kinds) Yields(obj *unstructured.Unstructured) ([]Path, error) {
	yields := k.Of(obj.GroupVersionKind().GroupKind()).Yields
	if yields == nil {
		yields = conventionalYields
	}
	var paths []Path
	for _, y := range yields {
		if slices.ContainsFunc(y.Marks, func(mark Mark) bool { return mark.isIn(obj.Object) }) {
			paths = append(paths, y.Paths...)
		}
	}
	named, present := protocol.Read(obj).Yields()
	if !present {
		return paths, nil
	}
	for text := range strings.SplitSeq(named, ",") {
		text = strings.TrimSpace(text)
		path, err := ParsePath(text)
		if err != nil {
			return nil, &YieldError{text, "paths joined by commas, such as spec.suspend,spec.template.spec.nodeSelector"}
		}
		if expected := expectedOfYield(path); expected != "" {
			return nil, &YieldError{text, expected}
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// expectedOfYield says what is expected in place of a path that cannot be yielded, empty where it can.
func expectedOfYield(p Path) string {
	isMetadata := p[0] == metadataField
	switch {
	case isMetadata && (len(p) != 3 || p[1] != "labels" && p[1] != "annotations"):
		return `of metadata one label or annotation, such as metadata.labels.example\.com/key`
	case isMetadata && v1alpha1.IsOwnKey(p[2]):
		return "no key of tmc's or kcp's"
	case slices.Contains(whole, p.String()), p[0] == statusField, p[0] == "apiVersion", p[0] == "kind":
		return "the path of a field within spec, data or the like, such as spec.suspend"
	default:
		return ""
	}
}
