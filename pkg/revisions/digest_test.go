package revisions

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/randfill"
	"sigs.k8s.io/yaml"
)

// template reads a pod template.
func template(tb testing.TB, text string) map[string]any {
	tb.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	var read map[string]any
	if err := utiljson.Unmarshal(data, &read); err != nil {
		tb.Fatal(err)
	}
	return read
}

func typed(tb testing.TB, untyped map[string]any) *corev1.PodTemplateSpec {
	tb.Helper()
	data, err := json.Marshal(untyped)
	if err != nil {
		tb.Fatal(err)
	}
	var read corev1.PodTemplateSpec
	if err := json.Unmarshal(data, &read); err != nil {
		tb.Fatalf("%v in %s", err, data)
	}
	return &read
}

const plain = `
metadata: {labels: {app: web}}
spec:
  containers:
  - {name: web, image: "web:1", resources: {limits: {memory: 1Gi, cpu: 1}}, ports: [{containerPort: 80}]}`

func TestDigestIsThatOfEqualTemplates(t *testing.T) {
	want := Digest(template(t, plain))
	for name, text := range map[string]string{
		"written otherwise": `
metadata: {labels: {app: web}, annotations: {}, creationTimestamp: null, name: ""}
spec:
  initContainers: []
  hostNetwork: false
  containers:
  - {name: web, image: "web:1", resources: {limits: {memory: 1024Mi, cpu: 1000m}, requests: {}}, ports: [{containerPort: 80, hostPort: 0}], env: null}`,
		"with the label of its ReplicaSet": strings.Replace(plain, "app: web}", "app: web, pod-template-hash: 12345}", 1),
		"with a field that nobody knows":   plain + "\n  unheardOf: {a: 1}",
	} {
		if got := Digest(template(t, text)); got != want {
			t.Errorf("%s: the digest is %s, want %s", name, got, want)
		}
	}
}

func TestDigestTellsTemplatesApart(t *testing.T) {
	seen := map[string]string{}
	for name, text := range map[string]string{
		"plain":                      plain,
		"another image":              strings.Replace(plain, "web:1", "web:2", 1),
		"another port":               strings.Replace(plain, "80", "81", 1),
		"more memory":                strings.Replace(plain, "1Gi", "1025Mi", 1),
		"a pointer to nothing":       plain + "\n  securityContext: {}",
		"a pointer to false":         plain + "\n  securityContext: {runAsNonRoot: false}",
		"a pointer to zero":          plain + "\n  terminationGracePeriodSeconds: 0",
		"a pointer to another":       plain + "\n  activeDeadlineSeconds: 0",
		"a number as text":           plain + "\n  initContainers: [{name: a, livenessProbe: {httpGet: {port: \"1\"}}}]",
		"a number":                   plain + "\n  initContainers: [{name: a, livenessProbe: {httpGet: {port: 1}}}]",
		"two in a list":              plain + "\n  initContainers: [{name: a}, {name: b}]",
		"two in a list, other order": plain + "\n  initContainers: [{name: b}, {name: a}]",
		"an empty volume":            plain + "\n  volumes: [{name: a}]",
		"an emptyDir":                plain + "\n  volumes: [{name: a, emptyDir: {}}]",
		"a selector of the label":    plain + "\n  nodeSelector: {pod-template-hash: a}",
		"another selector":           plain + "\n  nodeSelector: {pod-template-hash: b}",
		"a time":                     strings.Replace(plain, "{labels", "{creationTimestamp: \"2026-01-01T00:00:00Z\", labels", 1),
	} {
		digest := Digest(template(t, text))
		if other, isThere := seen[digest]; isThere {
			t.Errorf("%q and %q have the same digest", name, other)
		}
		seen[digest] = name
	}
}

func TestDigestDoesNotReadQuantitiesOutOfBounds(t *testing.T) {
	for _, value := range []string{`"1e2000000000"`, `"1e-2000000000"`, "a lot", "{}"} {
		began := time.Now()
		if got := Digest(template(t, strings.Replace(plain, "1Gi", value, 1))); got != "" {
			t.Errorf("the digest with %s is %q, want none", value, got)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s took %s", value, took)
		}
	}
}

// TestDigestIsEqualityOfKubernetes compares with the equality that kubectl and the deployment controller use, over random templates
// and one change of each at a random place.
func TestDigestIsEqualityOfKubernetes(t *testing.T) {
	fill := randfill.NewWithSeed(1).NilChance(.6).NumElements(0, 2).MaxDepth(14).Funcs(
		func(q *resource.Quantity, c randfill.Continue) {
			*q = resource.MustParse([]string{"0", "1", "1000m", "1Gi", "1024Mi", "1073741824", "1.5"}[c.Intn(7)])
		},
		func(v *intstr.IntOrString, c randfill.Continue) {
			*v = []intstr.IntOrString{intstr.FromInt32(0), intstr.FromInt32(7), intstr.FromString(""), intstr.FromString("http")}[c.Intn(4)]
		},
		func(_ *metav1.Time, _ randfill.Continue) {},
		func(_ *metav1.FieldsV1, _ randfill.Continue) {},
		func(v *string, c randfill.Continue) { *v = []string{"", "a", "b\"c"}[c.Intn(3)] },
	)
	random := rand.New(rand.NewPCG(1, 2))
	var differ int
	for range 400 {
		one := &corev1.PodTemplateSpec{}
		fill.Fill(one)
		untyped := toUntyped(t, one)
		changed := toUntyped(t, one)
		mutate(random, changed)
		one = typed(t, untyped)
		two := typed(t, changed)
		equal := apiequality.Semantic.DeepEqual(one, two)
		if !equal {
			differ++
		}
		if got := Digest(untyped) == Digest(changed); got != equal {
			a, _ := json.Marshal(untyped)
			b, _ := json.Marshal(changed)
			t.Fatalf("same digest: %v, equal: %v\n%s\n%s", got, equal, a, b)
		}
		if Digest(untyped) != Digest(toUntyped(t, one)) {
			t.Fatalf("the digest of what was read and written again differs")
		}
	}
	if differ < 50 {
		t.Errorf("only %d changes made a difference", differ)
	}
}

func toUntyped(tb testing.TB, spec *corev1.PodTemplateSpec) map[string]any {
	tb.Helper()
	data, err := json.Marshal(spec)
	if err != nil {
		tb.Fatal(err)
	}
	var untyped map[string]any
	if err := utiljson.Unmarshal(data, &untyped); err != nil {
		tb.Fatal(err)
	}
	return untyped
}

// mutate changes one value somewhere in an object: to another of its type, to an equal quantity, or to nothing.
func mutate(random *rand.Rand, object map[string]any) {
	var places []func()
	var collect func(value any, replace func(any))
	collect = func(value any, replace func(any)) {
		switch value := value.(type) {
		case map[string]any:
			places = append(places, func() {
				clear(value)
			})
			for key, inner := range value {
				places = append(places, func() { delete(value, key) })
				collect(inner, func(other any) { value[key] = other })
			}
		case []any:
			for i, inner := range value {
				collect(inner, func(other any) { value[i] = other })
			}
		case string:
			if equal, has := map[string]string{"1": "1000m", "1Gi": "1024Mi", "1500m": "1.5"}[value]; has {
				places = append(places, func() { replace(equal) })
			}
			if _, err := resource.ParseQuantity(value); err == nil {
				places = append(places, func() { replace("2") })
				break
			}
			places = append(places, func() { replace("") })
		case bool:
			places = append(places, func() { replace(!value) })
		case int64:
			places = append(places, func() { replace(int64(0)) })
		}
	}
	collect(object, nil)
	if len(places) > 0 {
		places[random.IntN(len(places))]()
	}
}
