package kinds

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// rich is a Deployment with references of every sort and much else.
const rich = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  generation: 3
  labels: {team: a}
  annotations: {note: mine, kubectl.kubernetes.io/last-applied-configuration: "{}"}
  managedFields: [{manager: kubectl}]
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  strategy: {type: Recreate}
  template:
    metadata: {labels: {app: web}, annotations: {checksum: abc}}
    spec:
      serviceAccount: robot
      imagePullSecrets: [{name: registry}]
      nodeSelector: {disk: ssd}
      initContainers: [{name: init, image: busybox}]
      containers:
      - name: app
        image: nginx
        resources: {limits: {cpu: 1}}
        env: [{name: A, value: b}, {name: C, valueFrom: {secretKeyRef: {name: s, key: k, optional: true}}}, {name: D, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        envFrom: [{prefix: P_, configMapRef: {name: env}}]
      volumes:
      - {name: scratch, emptyDir: {}}
      - {name: files, configMap: {name: files, items: [{key: a, path: b}], optional: false}}
      - {name: data, persistentVolumeClaim: {claimName: data}}
      - {name: all, projected: {sources: [{secret: {name: p}}, {downwardAPI: {}}, {configMap: {name: kube-root-ca.crt}}]}}
      - {name: drive, csi: {driver: d, nodePublishSecretRef: {name: csi}}}
status: {replicas: 3, conditions: [{type: Available, status: "True"}]}
`

func TestSlimKeepsWhatIsLookedAt(t *testing.T) {
	cases := map[string]struct{ reason, obj, want string }{
		"a workload": {
			reason: "of the template there are labels, references and what it requests, of the rest there is all",
			obj:    rich,
			want: `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, generation: 3, labels: {team: a}, annotations: {note: mine}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  strategy: {type: Recreate}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: robot
      imagePullSecrets: [{name: registry}]
      containers:
      - env: [{valueFrom: {secretKeyRef: {name: s, optional: true}}}]
        envFrom: [{configMapRef: {name: env}}]
        resources: {limits: {cpu: 1}}
      volumes:
      - configMap: {name: files}
      - persistentVolumeClaim: {claimName: data}
      - projected: {sources: [{secret: {name: p}}, {configMap: {name: kube-root-ca.crt}}]}
      - csi: {nodePublishSecretRef: {name: csi}}
status: {replicas: 3, conditions: [{type: Available, status: "True"}]}
`,
		},
		"a CronJob": {
			reason: "the template lies deeper; without any reference it still is one",
			obj:    `{apiVersion: batch/v1, kind: CronJob, metadata: {name: c}, spec: {schedule: "@daily", jobTemplate: {spec: {backoffLimit: 3, template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}}}`,
			want:   `{apiVersion: batch/v1, kind: CronJob, metadata: {name: c}, spec: {schedule: "@daily", jobTemplate: {spec: {backoffLimit: 3, template: {metadata: {labels: {}}, spec: {containers: []}}}}}}`,
		},
		"a Secret": {
			reason: "its data goes, its type stays",
			obj:    `{apiVersion: v1, kind: Secret, type: Opaque, immutable: true, metadata: {name: s}, data: {a: Yg==}, stringData: {c: d}}`,
			want:   `{apiVersion: v1, kind: Secret, type: Opaque, immutable: true, metadata: {name: s}}`,
		},
		"a ConfigMap": {
			reason: "so does that of a ConfigMap",
			obj:    `{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: b}, binaryData: {c: ZA==}}`,
			want:   `{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}`,
		},
		"another template": {
			reason: "what is no pod template is left alone",
			obj:    `{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}, spec: {template: {spec: {image: i}}}}`,
			want:   `{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}, spec: {template: {spec: {image: i}}}}`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := parse(t, tc.obj)
			Slim(got)
			if diff := cmp.Diff(parse(t, tc.want).Object, got.Object); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestAnEmptyObjectNeedsNothingAndFollowsNothing(t *testing.T) {
	empty := &unstructured.Unstructured{}
	Slim(empty)
	if references := (Kinds{}).Needs(empty); len(references) > 0 || (Kinds{}).Follows(empty, empty) {
		t.Errorf("it has references %v, follows itself: %t", references, (Kinds{}).Follows(empty, empty))
	}
}

// samples are objects of every kind that has rules here.
var samples = []string{
	rich, webDeployment, bareJob, nightlyJobs, database, webService, settings,
	autoscaler(`{apiVersion: apps/v1, kind: Deployment, name: web}`),
	service(`{selector: {app: web}}`),
	service(`{clusterIP: None}`),
	budget(`{selector: {matchLabels: {app: web}, matchExpressions: [{key: tier, operator: In, values: [back, front]}]}}`),
	budget(`{selector: {}}`),
	networkPolicy(`{podSelector: {matchLabels: {app: nightly}}}`),
	networkPolicy(`{podSelector: {}}`),
	ingress(`{tls: [{secretName: cert}], defaultBackend: {service: {name: db-peers}}, rules: [{http: {paths: [{backend: {service: {name: web}}}]}}]}`),
	`{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot}, imagePullSecrets: [{name: registry}], secrets: [{name: token}]}`,
}

// disturb changes some places of a value, and returns it.
func disturb(random *rand.Rand, value any) any {
	if random.IntN(24) == 0 {
		odd := []any{nil, "", "web", "default", int64(7), 0.5, true, false, []any{}, []any{nil}, map[string]any{}, map[string]any{"name": "web"}, []any{map[string]any{"name": "web", "optional": true}}}
		return odd[random.IntN(len(odd))]
	}
	switch value := value.(type) {
	case map[string]any:
		keys := make([]string, 0, len(value))
		for key := range value {
			keys = append(keys, key)
		}
		slices.Sort(keys) // a seed gives one result
		for _, key := range keys {
			value[key] = disturb(random, value[key])
		}
	case []any:
		for i := range value {
			value[i] = disturb(random, value[i])
		}
	}
	return value
}

// disturbed returns a disturbed copy of an object, which still is an object.
func disturbed(random *rand.Rand, obj *unstructured.Unstructured) *unstructured.Unstructured {
	content, isObject := disturb(random, obj.DeepCopy().Object).(map[string]any)
	if !isObject {
		content = nil
	}
	return &unstructured.Unstructured{Object: content}
}

// checkSlim fails the test when Slim changes an answer about the object, as seen
// from any of the others.
func checkSlim(t *testing.T, obj *unstructured.Unstructured, others []*unstructured.Unstructured) {
	t.Helper()
	slim := obj.DeepCopy()
	Slim(slim)
	if diff := cmp.Diff((Kinds{}).Needs(obj), (Kinds{}).Needs(slim)); diff != "" {
		t.Fatalf("references (-of the object +of the slim one):\n%s\n%v\n%v", diff, obj.Object, slim.Object)
	}
	for _, other := range others {
		if (Kinds{}).Follows(obj, other) != (Kinds{}).Follows(slim, other) || (Kinds{}).Follows(other, obj) != (Kinds{}).Follows(other, slim) {
			t.Fatalf("the slim object is not among the same followers:\n%v\n%v\nto %v", obj.Object, slim.Object, other.Object)
		}
	}
	again := slim.DeepCopy()
	Slim(again)
	if diff := cmp.Diff(slim, again); diff != "" {
		t.Fatalf("slimming it again changes it (-once +twice):\n%s", diff)
	}
}

func parseSamples(tb testing.TB) []*unstructured.Unstructured {
	tb.Helper()
	parsed := make([]*unstructured.Unstructured, 0, len(samples))
	for _, sample := range samples {
		parsed = append(parsed, parse(tb, sample))
	}
	return parsed
}

func TestASlimObjectGivesTheSameAnswers(t *testing.T) {
	others := parseSamples(t)
	withReferences, following := 0, 0
	for seed := range uint64(5000) {
		random := rand.New(rand.NewPCG(seed, 1))
		obj := disturbed(random, others[random.IntN(len(others))])
		checkSlim(t, obj, others)
		if len((Kinds{}).Needs(obj)) > 0 {
			withReferences++
		}
		for _, other := range others {
			if (Kinds{}).Follows(obj, other) || (Kinds{}).Follows(other, obj) {
				following++
				break
			}
		}
	}
	if withReferences < 500 || following < 500 {
		t.Errorf("%d objects had references, %d follow or lead; the test does not test it", withReferences, following)
	}
}

func FuzzReferences(f *testing.F) {
	others := parseSamples(f)
	for i, other := range others {
		data, err := other.MarshalJSON()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, uint64(i))
	}
	f.Add([]byte(`{"apiVersion":"a/b/c","kind":"ServiceAccount","secrets":[[],{"name":null}]}`), uint64(0))
	f.Add([]byte(`{"kind":"Deployment","spec":{"template":{"spec":{"containers":[{"env":[{"valueFrom":7}]}]}}}}`), uint64(1))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		obj := &unstructured.Unstructured{}
		if obj.UnmarshalJSON(data) != nil || obj.IsList() {
			return
		}
		checkSlim(t, obj, others)
		checkSlim(t, disturbed(rand.New(rand.NewPCG(seed, 2)), obj), others)
	})
}
