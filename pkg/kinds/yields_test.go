package kinds

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func TestYields(t *testing.T) {
	own, err := Parse("f.yaml", []byte(`[{group: example.com, kind: Run, yields: [{marks: [{path: spec.queue}], paths: [spec.stopped]}]}, {group: example.com, kind: Never, yields: []}]`))
	if err != nil {
		t.Fatal(err)
	}
	const queue = `metadata: {labels: {kueue.x-k8s.io/queue-name: team}}`
	cases := map[string]struct {
		obj  string
		want []string
		not  []string
	}{
		"a Job without a mark":             {`{apiVersion: batch/v1, kind: Job, spec: {suspend: true}}`, nil, []string{"spec.suspend"}},
		"a Job of a queue":                 {`{apiVersion: batch/v1, kind: Job, ` + queue + `}`, []string{"spec.suspend", "spec.parallelism", "spec.completions", "spec.template.spec.nodeSelector", "spec.template.metadata.labels", "spec.template.spec.schedulingGates"}, []string{"spec.backoffLimit"}},
		"a Job of the queue without name":  {`{apiVersion: batch/v1, kind: Job, metadata: {labels: {kueue.x-k8s.io/queue-name: ""}}}`, nil, []string{"spec.suspend"}},
		"a Job that another manages":       {`{apiVersion: batch/v1, kind: Job, spec: {managedBy: kueue.x-k8s.io/multikueue}}`, []string{"spec.suspend"}, nil},
		"a Job that its own manages":       {`{apiVersion: batch/v1, kind: Job, spec: {managedBy: kubernetes.io/job-controller}}`, nil, []string{"spec.suspend"}},
		"a CronJob of a queue":             {`{apiVersion: batch/v1, kind: CronJob, ` + queue + `}`, []string{"spec.jobTemplate.spec.suspend", "spec.jobTemplate.spec.template.spec.tolerations"}, []string{"spec.suspend"}},
		"a CronJob whose Jobs have one":    {`{apiVersion: batch/v1, kind: CronJob, spec: {jobTemplate: {` + queue + `}}}`, []string{"spec.jobTemplate.spec.suspend"}, nil},
		"a CronJob whose Jobs are others":  {`{apiVersion: batch/v1, kind: CronJob, spec: {jobTemplate: {spec: {managedBy: x}}}}`, []string{"spec.jobTemplate.spec.suspend"}, nil},
		"a JobSet of a queue":              {`{apiVersion: jobset.x-k8s.io/v1alpha2, kind: JobSet, ` + queue + `}`, []string{"spec.suspend", "spec.replicatedJobs[].template.spec.parallelism", "spec.replicatedJobs[].template.spec.template.spec.nodeSelector"}, nil},
		"a PyTorchJob of a queue":          {`{apiVersion: kubeflow.org/v1, kind: PyTorchJob, ` + queue + `}`, []string{"spec.runPolicy.suspend", "spec.pytorchReplicaSpecs.Worker.template.spec.nodeSelector"}, nil},
		"a Deployment of a queue":          {`{apiVersion: apps/v1, kind: Deployment, ` + queue + `}`, []string{"spec.template.metadata.labels"}, []string{"spec.replicas"}},
		"a Deployment":                     {`{apiVersion: apps/v1, kind: Deployment}`, nil, []string{"spec.template.metadata.labels"}},
		"an operator's kind":               {`{apiVersion: example.com/v1, kind: Run, spec: {queue: a}, ` + queue + `}`, []string{"spec.stopped"}, []string{"spec.suspend"}},
		"an operator's kind that does not": {`{apiVersion: example.com/v1, kind: Never, ` + queue + `}`, nil, []string{"spec.suspend"}},
		"what the user names":              {`{apiVersion: v1, kind: ConfigMap, metadata: {annotations: {tmc.kcp.io/yield: 'data.a\.b, metadata.labels.example\.com/x,spec.list[].name'}}}`, []string{"data.a\\.b", "metadata.labels.example\\.com/x", "spec.list[].name"}, nil},
		"both":                             {`{apiVersion: batch/v1, kind: Job, metadata: {labels: {kueue.x-k8s.io/queue-name: a}, annotations: {tmc.kcp.io/yield: spec.backoffLimit}}}`, []string{"spec.suspend", "spec.backoffLimit"}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			paths, err := own.Yields(objectOf(t, c.obj))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]bool{}
			for _, path := range paths {
				got[path.String()] = true
			}
			for _, want := range c.want {
				if !got[want] {
					t.Errorf("%s is not yielded", want)
				}
			}
			for _, not := range c.not {
				if got[not] {
					t.Errorf("%s is yielded", not)
				}
			}
			if len(c.want) == 0 && len(got) > 0 {
				t.Errorf("got %v, want nothing", got)
			}
		})
	}
}

func objectOf(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &obj.Object); err != nil {
		t.Fatal(err)
	}
	return obj
}

func TestYieldsErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                               `"" is no field`,
		"spec.suspend,":                  `"" is no field`,
		"spec..x":                        "expected paths joined by commas, such as spec.suspend,spec.template.spec.nodeSelector",
		"spec":                           "expected the path of a field within spec",
		"status.replicas":                "expected the path of a field within spec",
		"kind":                           "expected the path of a field within spec",
		"metadata.name":                  "expected of metadata one label or annotation",
		"metadata.labels":                "expected of metadata one label or annotation",
		`metadata.labels.tmc\.kcp\.io/x`: "expected no key of tmc's or kcp's",
	} {
		obj := &unstructured.Unstructured{Object: map[string]any{}}
		obj.SetAnnotations(map[string]string{"tmc.kcp.io/yield": text})
		_, err := Kinds{}.Yields(obj)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "annotation tmc.kcp.io/yield") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
