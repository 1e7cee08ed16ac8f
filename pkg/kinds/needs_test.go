package kinds

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// parse reads an object as users write it.
func parse(tb testing.TB, text string) *unstructured.Unstructured {
	tb.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON(data); err != nil {
		tb.Fatal(err)
	}
	return obj
}

// inDeployment is a Deployment with that pod spec, in YAML's flow style.
func inDeployment(podSpec string) string {
	return "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {metadata: {labels: {app: web}}, spec: " + podSpec + "}}}"
}

func needed(what, name string) Need {
	switch what {
	case "configmap":
		return Need{Resource: configMaps, Name: name}
	case "secret":
		return Need{Resource: schema.GroupResource{Resource: "secrets"}, Name: name}
	case "claim":
		return Need{Resource: schema.GroupResource{Resource: "persistentvolumeclaims"}, Name: name}
	case "account":
		return Need{Resource: serviceAccounts, Name: name}
	}
	panic(what)
}

func optional(what, name string) Need {
	reference := needed(what, name)
	reference.Optional = true
	return reference
}

func TestReferencesAreWhatAnObjectNeedsBeforeIt(t *testing.T) {
	cases := map[string]struct {
		reason string
		obj    string
		want   []Need
	}{
		"nothing is named": {
			reason: "a plain workload needs nothing",
			obj:    inDeployment(`{containers: [{name: app, image: nginx, env: [{name: A, value: b}]}]}`),
		},
		"every kind of container": {
			reason: "init and ephemeral containers have environments as well",
			obj: inDeployment(`{
				containers: [{name: app, env: [{name: A, valueFrom: {configMapKeyRef: {name: main, key: a}}}]}],
				initContainers: [{name: init, envFrom: [{secretRef: {name: init}}]}],
				ephemeralContainers: [{name: debug, envFrom: [{configMapRef: {name: debug}}]}]}`),
			want: []Need{needed("configmap", "debug"), needed("configmap", "main"), needed("secret", "init")},
		},
		"a CronJob": {
			reason: "its pods have their template within that of its Jobs",
			obj:    `{apiVersion: batch/v1, kind: CronJob, metadata: {name: c}, spec: {jobTemplate: {spec: {template: {spec: {containers: [{envFrom: [{secretRef: {name: s}}]}]}}}}}}`,
			want:   []Need{needed("secret", "s")},
		},
		"a kind that nobody has heard of": {
			reason: "the template's shape tells, not the kind",
			obj:    `{apiVersion: example.com/v1, kind: Rollout, metadata: {name: r}, spec: {template: {spec: {containers: [], volumes: [{name: v, configMap: {name: c}}]}}}}`,
			want:   []Need{needed("configmap", "c")},
		},
		"a template of something else": {
			reason: "without containers it is none of a pod",
			obj:    `{apiVersion: example.com/v1, kind: Certificate, metadata: {name: r}, spec: {template: {spec: {volumes: [{name: v, configMap: {name: c}}]}}}}`,
		},
		"twice and once optional": {
			reason: "it is needed as soon as one mention needs it, in either order",
			obj: inDeployment(`{containers: [{envFrom: [
				{configMapRef: {name: a, optional: true}}, {configMapRef: {name: a}},
				{configMapRef: {name: b}}, {configMapRef: {name: b, optional: true}}]}]}`),
			want: []Need{needed("configmap", "a"), needed("configmap", "b")},
		},
		"TwiceOptional": {
			reason: "it is optional if every mention is",
			obj:    inDeployment(`{containers: [{envFrom: [{configMapRef: {name: a, optional: true}}]}], volumes: [{name: v, configMap: {name: a, optional: true}}]}`),
			want:   []Need{optional("configmap", "a")},
		},
		"not optional after all": {
			reason: "`optional: false` is the default spelled out",
			obj:    inDeployment(`{containers: [], volumes: [{name: v, secret: {secretName: s, optional: false}}]}`),
			want:   []Need{needed("secret", "s")},
		},
		"one name for two things": {
			reason: "a ConfigMap and a Secret of one name are two",
			obj:    inDeployment(`{containers: [{envFrom: [{configMapRef: {name: x, optional: true}}, {secretRef: {name: x}}]}]}`),
			want:   []Need{optional("configmap", "x"), needed("secret", "x")},
		},
		"the cluster's own root certificates": {
			reason: "each cluster has its own kube-root-ca.crt; a Secret of that name is somebody's",
			obj: inDeployment(`{containers: [], volumes: [
				{name: token, projected: {sources: [{serviceAccountToken: {path: token}}, {configMap: {name: kube-root-ca.crt}}, {downwardAPI: {}}, {secret: {name: s, optional: true}}]}},
				{name: odd, secret: {secretName: kube-root-ca.crt}}]}`),
			want: []Need{needed("secret", "kube-root-ca.crt"), optional("secret", "s")},
		},
		"Secrets for pulling images": {
			reason: "the kubelet goes on without them; entries without a name are valid and nothing",
			obj:    inDeployment(`{containers: [], imagePullSecrets: [{name: registry}, {}, {name: ""}]}`),
			want:   []Need{optional("secret", "registry")},
		},
		"a Secret for pulling that is mounted too": {
			reason: "the mount needs it",
			obj:    inDeployment(`{containers: [], imagePullSecrets: [{name: s}], volumes: [{name: v, secret: {secretName: s}}]}`),
			want:   []Need{needed("secret", "s")},
		},
		"a ServiceAccount":              {"pods are refused without it", inDeployment(`{containers: [], serviceAccountName: robot}`), []Need{needed("account", "robot")}},
		"the deprecated ServiceAccount": {"it is an alias", inDeployment(`{containers: [], serviceAccount: robot}`), []Need{needed("account", "robot")}},
		"both ServiceAccounts":          {"the newer field wins", inDeployment(`{containers: [], serviceAccountName: robot, serviceAccount: human}`), []Need{needed("account", "robot")}},
		"the default ServiceAccount":    {"each namespace has one, and it wins over the alias", inDeployment(`{containers: [], serviceAccountName: default, serviceAccount: human}`), nil},
		"an empty ServiceAccount":       {"that is the default", inDeployment(`{containers: [], serviceAccountName: ""}`), nil},
		"a ServiceAccount itself": {
			reason: "pods go on without either of its lists",
			obj:    `{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot}, imagePullSecrets: [{name: registry}], secrets: [{name: token}]}`,
			want:   []Need{optional("secret", "registry"), optional("secret", "token")},
		},
		"ServiceAccounts of another group": {
			reason: "the group is part of the kind",
			obj:    `{apiVersion: example.com/v1, kind: ServiceAccount, metadata: {name: robot}, imagePullSecrets: [{name: registry}]}`,
		},
		"an Ingress": {
			reason: "certificates may come later; entries without a Secret are valid",
			obj:    `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i}, spec: {tls: [{hosts: [a], secretName: cert}, {hosts: [b]}]}}`,
			want:   []Need{optional("secret", "cert")},
		},
		"a volume of a claim": {
			reason: "pods wait for it; an ephemeral one is made for each pod",
			obj:    inDeployment(`{containers: [], volumes: [{name: v, persistentVolumeClaim: {claimName: data}}, {name: e, ephemeral: {volumeClaimTemplate: {spec: {}}}}, {name: d, emptyDir: {}}]}`),
			want:   []Need{needed("claim", "data")},
		},
		"malformed here and there": {
			reason: "what can be read is",
			obj: inDeployment(`{containers: [null, 7, {env: nothing, envFrom: [{configMapRef: {name: good, optional: "yes"}}, {secretRef: {name: 5}}, {secretRef: []}]}],
				volumes: [{name: v, emptyDir: {sizeLimit: [no quantity]}, configMap: {name: also, defaultMode: "rw"}}], imagePullSecrets: {name: no list}, serviceAccountName: [no name]}`),
			want: []Need{needed("configmap", "also"), needed("configmap", "good")},
		},
		"no template at all": {"null is nothing", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: null}}`, nil},
		"spec is a text":     {"nor is a text", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: later}`, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, (Kinds{}).Needs(parse(t, tc.obj)), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// filler gives every field of a value a value, and each text another one.
type filler struct {
	texts int
	// names are the texts of those fields that name ConfigMaps, Secrets, claims and
	// service accounts.
	names []string
}

func (f *filler) fill(value reflect.Value) {
	switch value.Kind() {
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		f.fill(value.Elem())
	case reflect.Slice:
		value.Set(reflect.MakeSlice(value.Type(), 1, 1))
		f.fill(value.Index(0))
	case reflect.Struct:
		if value.Type() == reflect.TypeFor[resource.Quantity]() || value.Type() == reflect.TypeFor[metav1.FieldsV1]() {
			return // not any text is one
		}
		for i := range value.NumField() {
			if field := value.Type().Field(i); field.IsExported() && field.Name != "DeprecatedServiceAccount" {
				f.fill(value.Field(i))
				f.note(value, field.Name)
			}
		}
	case reflect.String:
		f.texts++
		value.SetString(fmt.Sprintf("t%03d", f.texts))
	default: // is no text and holds none
	}
}

func (f *filler) note(owner reflect.Value, field string) {
	if owner.Type() == reflect.TypeFor[corev1.LocalObjectReference]() || slices.Contains([]string{"SecretName", "ClaimName", "ServiceAccountName"}, field) {
		f.names = append(f.names, owner.FieldByName(field).String())
	}
}

func TestNoFieldOfAPodThatNamesAnObjectIsOverlooked(t *testing.T) {
	spec, f := corev1.PodSpec{}, filler{}
	f.fill(reflect.ValueOf(&spec).Elem())
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&spec)
	if err != nil {
		t.Fatal(err)
	}
	obj := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"template": map[string]any{"spec": content}}}}
	var got []string
	for _, reference := range (Kinds{}).Needs(obj) {
		got = append(got, reference.Name)
	}
	if diff := cmp.Diff(f.names, got, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
		t.Errorf("names of objects in a pod's spec (-in it +found):\n%s", diff)
	}
	if len(got) < 25 {
		t.Errorf("the test found %d names; it does not test what it says", len(got))
	}
}
