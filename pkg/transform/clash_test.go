package transform

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/managedfields/managedfieldstest"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/yaml"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// apiTypes are the API's own, with the keys of its lists.
var apiTypes = applyconfigurations.NewTypeConverter(scheme.Scheme)

// keeper is the part of an API server that keeps who owns what of one object. It neither fills anything in nor validates.
type keeper struct {
	fields *managedfields.FieldManager
	live   *unstructured.Unstructured
}

func newKeeper(t *testing.T, applied *unstructured.Unstructured) *keeper {
	t.Helper()
	gvk := applied.GroupVersionKind()
	s := &keeper{managedfieldstest.NewFakeFieldManager(apiTypes, gvk), &unstructured.Unstructured{}}
	s.live.SetGroupVersionKind(gvk)
	return s.apply(t, applied, v1alpha1.FieldManager)
}

func (s *keeper) apply(t *testing.T, applied *unstructured.Unstructured, manager string) *keeper {
	t.Helper()
	merged, err := s.fields.Apply(s.live, applied.DeepCopy(), manager, true)
	if err != nil {
		t.Fatal(err)
	}
	s.live = merged.(*unstructured.Unstructured)
	return s
}

// update has a manager change the object by a JSON patch; nobody does what the server itself does.
func (s *keeper) update(t *testing.T, manager, patch string) *keeper {
	t.Helper()
	if patch == "" {
		return s
	}
	operations, err := jsonpatch.DecodePatch([]byte(patch))
	if err != nil {
		t.Fatal(err)
	}
	before, err := s.live.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	after, err := operations.Apply(before)
	if err != nil {
		t.Fatal(err)
	}
	changed := &unstructured.Unstructured{}
	if err := changed.UnmarshalJSON(after); err != nil {
		t.Fatal(err)
	}
	if manager == "" {
		s.live = changed
		return s
	}
	updated, err := s.fields.Update(s.live, changed, manager)
	if err != nil {
		t.Fatal(err)
	}
	s.live = updated.(*unstructured.Unstructured)
	return s
}

// kinds of the cases, by what their spec begins with.
func objectOf(t *testing.T, kind, spec string) *unstructured.Unstructured {
	t.Helper()
	if kind == "Deployment" && !strings.Contains(spec, "template:") {
		spec = "{template: {spec: " + spec + "}}"
	}
	versions := map[string]string{"Deployment": "apps/v1", "Service": "v1", "PodDisruptionBudget": "policy/v1", "Ingress": "networking.k8s.io/v1", "CronJob": "batch/v1"}
	obj := &unstructured.Unstructured{}
	text := "{apiVersion: " + versions[kind] + ", kind: " + kind + ", metadata: {name: x, namespace: app, labels: {a: b}, annotations: {a: b}}, spec: " + spec + "}"
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := obj.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	return obj
}

func specOf(t *testing.T, obj *unstructured.Unstructured) string {
	t.Helper()
	spec := obj.Object["spec"]
	if obj.GetKind() == "Deployment" {
		if template, found, _ := unstructured.NestedMap(obj.Object, "spec", "template", "spec"); found && obj.Object["spec"].(map[string]any)["strategy"] == nil {
			spec = template
		}
	}
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func pathsOf(clashes []Clash) []string {
	var paths []string
	for _, clash := range clashes {
		path := clash.Path.String()
		for _, writer := range clash.Writers {
			path += " " + writer.Manager
		}
		paths = append(paths, path)
	}
	return paths
}

const (
	invalid   = metav1.CauseTypeFieldValueInvalid
	forbidden = metav1.CauseTypeForbidden
	duplicate = metav1.CauseTypeFieldValueDuplicate
	required  = metav1.CauseTypeFieldValueRequired
)

// clashCase is a copy that was applied, which the server has filled in and somebody has edited, and what is applied onto it.
type clashCase struct {
	kind, applied string
	// filled and edited are JSON patches: by the server, which nobody owns, and by kubectl-edit.
	filled, edited string
	// sidecar is what an injector applies.
	sidecar string
	desired string
	causes  []metav1.StatusCause
	// first and second are the clashes of the steps, and beyond those that are left alone.
	first, second, beyond []string
	// want is the spec after the first step; for a Deployment that has no strategy that of its pods.
	want string
}

func because(reason metav1.CauseType, field, message string) []metav1.StatusCause {
	return []metav1.StatusCause{{Type: reason, Field: field, Message: message}}
}

func TestClashes(t *testing.T) {
	const main, filler = ".spec.template.spec.containers[name=\"main\"]", "/spec/template/spec/"
	const tooMany = "Forbidden: may not specify more than 1 "
	cases := map[string]clashCase{
		"a strategy that the server filled in": {
			applied: "{template: {}}", filled: `[{"op":"add","path":"/spec/strategy","value":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":"25%"}}}]`,
			desired: "{strategy: {type: Recreate}, template: {}}",
			causes:  because(forbidden, "spec.strategy.rollingUpdate", "Forbidden: may not be specified when strategy `type` is 'Recreate'"),
			first:   []string{".spec.strategy.rollingUpdate"}, want: `{"strategy":{"type":"Recreate"},"template":{}}`,
		},
		"a strategy of which somebody has changed what the server filled in": {
			applied: "{strategy: {type: RollingUpdate}, template: {}}", edited: `[{"op":"add","path":"/spec/strategy/rollingUpdate","value":{"maxSurge":"25%"}}]`,
			desired: "{strategy: {type: Recreate}, template: {}}",
			causes:  because(forbidden, "spec.strategy.rollingUpdate", "Forbidden: may not be specified when strategy `type` is 'Recreate'"),
			first:   []string{".spec.strategy.rollingUpdate kubectl-edit"}, want: `{"strategy":{"type":"Recreate"},"template":{}}`,
		},
		"a source that the server gave a volume, beside one that it gave another": {
			applied: "{volumes: [{name: v}, {name: w}]}",
			filled:  `[{"op":"add","path":"` + filler + `volumes/0/emptyDir","value":{}},{"op":"add","path":"` + filler + `volumes/1/emptyDir","value":{}}]`,
			desired: "{volumes: [{name: v, configMap: {name: x}}, {name: w}]}",
			causes:  because(forbidden, "spec.template.spec.volumes[0].configMap", tooMany+"volume type"),
			first:   []string{`.spec.template.spec.volumes[name="v"].emptyDir`}, want: `{"volumes":[{"configMap":{"name":"x"},"name":"v"},{"emptyDir":{},"name":"w"}]}`,
		},
		"a source that somebody gave a volume instead of ours": {
			applied: "{volumes: [{name: v, configMap: {name: x}}]}", edited: `[{"op":"replace","path":"` + filler + `volumes/0","value":{"name":"v","hostPath":{"path":"/x"}}}]`,
			desired: "{volumes: [{name: v, configMap: {name: x}}]}",
			causes:  because(forbidden, "spec.template.spec.volumes[0].configMap", tooMany+"volume type"),
			first:   []string{`.spec.template.spec.volumes[name="v"].hostPath kubectl-edit`}, want: `{"volumes":[{"configMap":{"name":"x"},"name":"v"}]}`,
		},
		"another handler of a probe, beside numbers that are theirs": {
			applied: "{containers: [{name: main, livenessProbe: {httpGet: {path: /}}}]}",
			edited:  `[{"op":"replace","path":"` + filler + `containers/0/livenessProbe","value":{"exec":{"command":["x"]},"failureThreshold":9}}]`,
			desired: "{containers: [{name: main, livenessProbe: {httpGet: {path: /}}}]}",
			causes:  because(forbidden, "spec.template.spec.containers[0].livenessProbe.httpGet", tooMany+"handler type"),
			first:   []string{main + ".livenessProbe.exec kubectl-edit"}, second: []string{main + ".livenessProbe.exec kubectl-edit", main + ".livenessProbe.failureThreshold kubectl-edit"},
			want: `{"containers":[{"livenessProbe":{"failureThreshold":9,"httpGet":{"path":"/"}},"name":"main"}]}`,
		},
		"a variable that was turned from value to valueFrom": {
			applied: "{containers: [{name: main, env: [{name: M, value: safe}]}]}",
			edited:  `[{"op":"replace","path":"` + filler + `containers/0/env/0","value":{"name":"M","valueFrom":{"fieldRef":{"fieldPath":"a"}}}}]`,
			desired: "{containers: [{name: main, env: [{name: M, value: safe}]}]}",
			causes:  because(invalid, "spec.template.spec.containers[0].env[0].valueFrom", `Invalid value: "": may not be specified when `+"`value` is not empty"),
			first:   []string{main + `.env[name="M"].valueFrom kubectl-edit`}, want: `{"containers":[{"env":[{"name":"M","value":"safe"}],"name":"main"}]}`,
		},
		"a variable that was turned from valueFrom to value": {
			applied: "{containers: [{name: main, env: [{name: M, valueFrom: {fieldRef: {fieldPath: a}}}]}]}",
			edited:  `[{"op":"replace","path":"` + filler + `containers/0/env/0","value":{"name":"M","value":"x"}}]`,
			desired: "{containers: [{name: main, env: [{name: M, valueFrom: {fieldRef: {fieldPath: a}}}]}]}",
			causes:  because(invalid, "spec.template.spec.containers[0].env[0].valueFrom", `Invalid value: "": may not be specified when `+"`value` is not empty"),
			first:   []string{main + `.env[name="M"].value kubectl-edit`}, want: `{"containers":[{"env":[{"name":"M","valueFrom":{"fieldRef":{"fieldPath":"a"}}}],"name":"main"}]}`,
		},
		"another branch of valueFrom": {
			applied: "{containers: [{name: main, env: [{name: M, valueFrom: {fieldRef: {fieldPath: a}}}]}]}",
			edited:  `[{"op":"replace","path":"` + filler + `containers/0/env/0/valueFrom","value":{"configMapKeyRef":{"name":"x","key":"y"}}}]`,
			desired: "{containers: [{name: main, env: [{name: M, valueFrom: {fieldRef: {fieldPath: a}}}]}]}",
			causes:  because(invalid, "spec.template.spec.containers[0].env[0].valueFrom", `Invalid value: "": may not have more than one field specified at a time`),
			first:   []string{main + `.env[name="M"].valueFrom.configMapKeyRef kubectl-edit`}, want: `{"containers":[{"env":[{"name":"M","valueFrom":{"fieldRef":{"fieldPath":"a"}}}],"name":"main"}]}`,
		},
		"a port that was renumbered and keeps its name, beside one that was added": {
			kind: "Service", applied: "{ports: [{name: http, port: 80, protocol: TCP}]}",
			edited:  `[{"op":"replace","path":"/spec/ports/0/port","value":83},{"op":"add","path":"/spec/ports/-","value":{"name":"metrics","port":90,"protocol":"TCP"}}]`,
			desired: "{ports: [{name: http, port: 80, protocol: TCP}]}", causes: because(duplicate, "spec.ports[1].name", `Duplicate value: "http"`),
			first:  []string{`.spec.ports[port=83,protocol="TCP"] kubectl-edit`},
			second: []string{`.spec.ports[port=83,protocol="TCP"] kubectl-edit`, `.spec.ports[port=90,protocol="TCP"] kubectl-edit`},
			want:   `{"ports":[{"name":"metrics","port":90,"protocol":"TCP"},{"name":"http","port":80,"protocol":"TCP"}]}`,
		},
		"a port without a name that was renumbered": {
			kind: "Service", applied: "{ports: [{port: 80, protocol: TCP}]}", edited: `[{"op":"replace","path":"/spec/ports/0/port","value":83}]`,
			desired: "{ports: [{port: 80, protocol: TCP}]}", causes: append(because(required, "spec.ports[0].name", "Required value"), because(required, "spec.ports[1].name", "Required value")...),
			first: []string{`.spec.ports[port=83,protocol="TCP"] kubectl-edit`}, want: `{"ports":[{"port":80,"protocol":"TCP"}]}`,
		},
		"a port that was named and renumbered": {
			kind: "Service", applied: "{ports: [{port: 80, protocol: TCP}]}", edited: `[{"op":"replace","path":"/spec/ports/0","value":{"port":83,"name":"x","protocol":"TCP"}}]`,
			desired: "{ports: [{port: 80, protocol: TCP}]}", causes: because(required, "spec.ports[0].name", "Required value"),
			first: []string{`.spec.ports[port=83,protocol="TCP"] kubectl-edit`}, want: `{"ports":[{"port":80,"protocol":"TCP"}]}`,
		},
		"a container's port that was renumbered, beside a sidecar's": {
			applied: "{containers: [{name: main, ports: [{name: http, containerPort: 80, protocol: TCP}]}]}",
			edited:  `[{"op":"replace","path":"` + filler + `containers/0/ports/0/containerPort","value":90}]`,
			sidecar: "{containers: [{name: proxy, ports: [{name: http, containerPort: 15090, protocol: TCP}]}]}",
			desired: "{containers: [{name: main, ports: [{name: http, containerPort: 80, protocol: TCP}]}]}",
			causes:  because(duplicate, "spec.template.spec.containers[0].ports[1].name", `Duplicate value: "http"`),
			first:   []string{main + `.ports[containerPort=90,protocol="TCP"] kubectl-edit`}, beyond: []string{`.spec.template.spec.containers[name="proxy"] injector`},
			want: `{"containers":[{"name":"main","ports":[{"containerPort":80,"name":"http","protocol":"TCP"}]},{"name":"proxy","ports":[{"containerPort":15090,"name":"http","protocol":"TCP"}]}]}`,
		},
		"a sidecar that has our port is left alone": {
			applied: "{containers: [{name: main}]}", sidecar: "{containers: [{name: proxy, ports: [{hostPort: 81, containerPort: 81, protocol: TCP}]}]}",
			desired: "{containers: [{name: main, ports: [{hostPort: 81, containerPort: 81}]}]}",
			causes:  because(duplicate, "spec.template.spec.containers[1].ports[0].hostPort", `Duplicate value: "TCP//81"`),
			beyond:  []string{`.spec.template.spec.containers[name="proxy"] injector`},
		},
		"the other number of a budget, and nothing beside": {
			kind: "PodDisruptionBudget", applied: "{minAvailable: 1}",
			edited:  `[{"op":"remove","path":"/spec/minAvailable"},{"op":"add","path":"/spec/maxUnavailable","value":1},{"op":"add","path":"/spec/unhealthyPodEvictionPolicy","value":"AlwaysAllow"}]`,
			desired: "{minAvailable: 1}", causes: because(invalid, "spec", "Invalid value: minAvailable and maxUnavailable cannot be both set"),
			first:  []string{".spec.maxUnavailable kubectl-edit"},
			second: []string{".spec.maxUnavailable kubectl-edit", ".spec.unhealthyPodEvictionPolicy kubectl-edit"},
			want:   `{"minAvailable":1,"unhealthyPodEvictionPolicy":"AlwaysAllow"}`,
		},
		"another backend of an Ingress": {
			kind: "Ingress", applied: "{defaultBackend: {service: {name: x}}}", edited: `[{"op":"replace","path":"/spec/defaultBackend","value":{"resource":{"kind":"Z","name":"z"}}}]`,
			desired: "{defaultBackend: {service: {name: x}}}", causes: because(invalid, "spec.defaultBackend", `Invalid value: "": cannot set both resource and service backends`),
			first: []string{".spec.defaultBackend.resource kubectl-edit"}, want: `{"defaultBackend":{"service":{"name":"x"}}}`,
		},
		"a volume of a CronJob": {
			kind: "CronJob", applied: "{jobTemplate: {spec: {template: {spec: {volumes: [{name: v}]}}}}}",
			filled:  `[{"op":"add","path":"/spec/jobTemplate/spec/template/spec/volumes/0/emptyDir","value":{}}]`,
			desired: "{jobTemplate: {spec: {template: {spec: {volumes: [{name: v, secret: {secretName: s}}]}}}}}",
			causes:  because(forbidden, "spec.jobTemplate.spec.template.spec.volumes[0].secret", tooMany+"volume type"),
			first:   []string{`.spec.jobTemplate.spec.template.spec.volumes[name="v"].emptyDir`},
			want:    `{"jobTemplate":{"spec":{"template":{"spec":{"volumes":[{"name":"v","secret":{"secretName":"s"}}]}}}}}`,
		},
		"a field that the server calls by its Go name": {
			kind: "Service", applied: "{type: ClusterIP}", edited: `[{"op":"add","path":"/spec/loadBalancerSourceRanges","value":["10.0.0.0/8"]}]`,
			desired: "{type: ClusterIP}", causes: because(forbidden, "spec.LoadBalancerSourceRanges", "Forbidden: may only be used when `type` is 'LoadBalancer'"),
			first: []string{".spec.loadBalancerSourceRanges kubectl-edit"}, want: `{"type":"ClusterIP"}`,
		},
		"limits that others have set and that ours are above": {
			applied: "{containers: [{name: main, resources: {requests: {cpu: 1}}}]}", edited: `[{"op":"add","path":"` + filler + `containers/0/resources/limits","value":{"cpu":"1"}}]`,
			desired: "{containers: [{name: main, resources: {requests: {cpu: 2}}}]}",
			causes:  because(invalid, "spec.template.spec.containers[0].resources.requests", `Invalid value: "2": must be less than or equal to cpu limit of 1`),
			first:   []string{main + ".resources.limits kubectl-edit"}, want: `{"containers":[{"name":"main","resources":{"requests":{"cpu":2}}}]}`,
		},
		"entries that nobody owns": {
			kind: "Service", applied: "{ports: [{name: http, port: 80, protocol: TCP}]}", filled: `[{"op":"add","path":"/spec/ports/-","value":{"name":"http","port":83,"protocol":"UDP"}}]`,
			desired: "{ports: [{name: http, port: 80, protocol: TCP}]}", causes: because(duplicate, "spec.ports[1].name", `Duplicate value: "http"`),
			first: []string{`.spec.ports[port=83,protocol="UDP"]`}, want: `{"ports":[{"name":"http","port":80,"protocol":"TCP"}]}`,
		},
		"a list of what is not there": {
			kind: "Service", applied: "{type: ClusterIP}", desired: "{type: ClusterIP, ports: [{port: 80}], selector: {a: b}}",
			causes: append(because(duplicate, "spec.ports[0]", "Duplicate value"), because(invalid, "spec.selector[a]", "Invalid value")...),
		},
		"a value that is wrong wherever it is": {
			applied: "{strategy: {type: RollingUpdate}, template: {}}", filled: `[{"op":"add","path":"/spec/strategy/rollingUpdate","value":{"maxSurge":"25%"}}]`,
			desired: "{strategy: {type: Moon}, template: {}}", causes: because(metav1.CauseTypeFieldValueNotSupported, "spec.strategy.type", "Unsupported value"),
		},
		"a value of others that our own forbids": {
			kind: "Service", applied: "{ports: [{name: a, port: 1, protocol: TCP}]}",
			edited:  `[{"op":"add","path":"/spec/sessionAffinity","value":"Moon"},{"op":"add","path":"/spec/ports/-","value":{"name":"b","port":2,"protocol":"TCP"}}]`,
			desired: "{ports: [{name: a, port: 1, protocol: TCP}], type: ExternalName}",
			causes: append(because(metav1.CauseTypeFieldValueNotSupported, "spec.sessionAffinity", "Unsupported value"),
				because(metav1.CauseTypeFieldValueNotSupported, "spec.ports[0].protocol", "Unsupported value")...),
			first: []string{".spec.sessionAffinity kubectl-edit"},
			want:  `{"ports":[{"name":"a","port":1,"protocol":"TCP"},{"name":"b","port":2,"protocol":"TCP"}],"type":"ExternalName"}`,
		},
		"a cause about nothing that is known": {
			applied: "{containers: [{name: main}]}", desired: "{containers: [{name: main}]}", causes: append(
				because(invalid, "spec.moon.shine[0].x", "Invalid value"), metav1.StatusCause{Type: invalid, Field: "spec.template.spec.containers.name"},
				metav1.StatusCause{Type: invalid, Field: nowhere, Message: "it is not right"}, metav1.StatusCause{Type: invalid, Message: "denied"},
			),
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.kind = orDeployment(c.kind)
			s := newKeeper(t, objectOf(t, c.kind, c.applied)).update(t, "", c.filled).update(t, "kubectl-edit", c.edited)
			if c.sidecar != "" {
				s.apply(t, objectOf(t, c.kind, c.sidecar), "injector")
			}
			desired := objectOf(t, c.kind, c.desired)
			steps, beyond := Clashes(desired, s.live, c.causes)
			var got [2][]string
			for i := range steps {
				got[i] = pathsOf(steps[i])
			}
			if diff := cmp.Diff([][]string{c.first, c.second, c.beyond}, [][]string{got[0], got[1], pathsOf(beyond)}, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("first, second, beyond (-want +got):\n%s", diff)
			}
			if len(steps) > 0 {
				checkTaken(t, s, desired, steps[0], c.want)
			}
		})
	}
}

func orDeployment(kind string) string {
	if kind == "" {
		return "Deployment"
	}
	return kind
}

// checkTaken has clashes owned by us, which changes nothing else, and applies.
func checkTaken(t *testing.T, s *keeper, desired *unstructured.Unstructured, clashes []Clash, want string) {
	t.Helper()
	owned, err := Owned(s.live, clashes)
	if err != nil {
		t.Fatal(err)
	}
	changed := s.live.DeepCopy()
	changed.SetManagedFields(owned)
	updated, err := s.fields.Update(s.live, changed, v1alpha1.FieldManager)
	if err != nil {
		t.Fatal(err)
	}
	s.live = updated.(*unstructured.Unstructured)
	for range 2 {
		s.apply(t, desired, v1alpha1.FieldManager)
		if diff := cmp.Diff(want, specOf(t, s.live)); diff != "" {
			t.Errorf("spec (-want +got):\n%s", diff)
		}
	}
	for _, entry := range s.live.GetManagedFields() {
		if entry.Manager == v1alpha1.FieldManager && !isOwnApply(entry) {
			t.Errorf("the syncer owns fields by an update: %v", entry.FieldsV1)
		}
	}
	owns, ok := ownedFields(s.live)
	if !ok || !ownsApplied(desired, owns) {
		t.Error("what was applied is not owned")
	}
}

func TestChanged(t *testing.T) {
	const main, filler = ".spec.template.spec.containers[name=\"main\"]", "/spec/template/spec/"
	cases := map[string]struct {
		kind, applied, edited, filled, sidecar string
		changed                                []string
		// may is what MayBeChanged says where that is more than Changed.
		may  bool
		want string
	}{
		"a port without a name that was renumbered": {
			applied: "{containers: [{name: main, ports: [{containerPort: 80}]}]}", edited: `[{"op":"replace","path":"` + filler + `containers/0/ports/0/containerPort","value":90}]`,
			changed: []string{main + `.ports[containerPort=90,protocol="TCP"] kubectl-edit`}, want: `{"containers":[{"name":"main","ports":[{"containerPort":80}]}]}`,
		},
		"a port whose protocol was changed": {
			applied: "{containers: [{name: main, ports: [{containerPort: 80, name: dns}]}]}", edited: `[{"op":"add","path":"` + filler + `containers/0/ports/0/protocol","value":"UDP"}]`,
			changed: []string{main + `.ports[containerPort=80,protocol="UDP"] kubectl-edit`}, want: `{"containers":[{"name":"main","ports":[{"containerPort":80,"name":"dns"}]}]}`,
		},
		"a port that was added beside ours": {
			applied: "{containers: [{name: main, image: a, ports: [{containerPort: 80}]}]}",
			edited:  `[{"op":"add","path":"` + filler + `containers/0/ports/-","value":{"containerPort":90}},{"op":"replace","path":"` + filler + `containers/0/image","value":"b"}]`,
		},
		"a port that was taken away": {
			applied: "{containers: [{name: main, ports: [{containerPort: 80}, {containerPort: 81}]}]}", edited: `[{"op":"remove","path":"` + filler + `containers/0/ports/0"}]`, may: true,
		},
		"a port that others apply in place of ours": {
			applied: "{containers: [{name: main, ports: [{containerPort: 80}, {containerPort: 81}]}]}", edited: `[{"op":"remove","path":"` + filler + `containers/0/ports/0"}]`,
			sidecar: "{containers: [{name: main, ports: [{containerPort: 90}]}]}", may: true,
		},
		"a variable that was renamed": {
			applied: "{containers: [{name: main, env: [{name: A, value: x}, {name: B, value: z}]}]}", edited: `[{"op":"replace","path":"` + filler + `containers/0/env/0/name","value":"C"}]`,
			changed: []string{main + `.env[name="C"] kubectl-edit`}, want: `{"containers":[{"env":[{"name":"A","value":"x"},{"name":"B","value":"z"}],"name":"main"}]}`,
		},
		"a variable that was replaced by something else": {
			applied: "{containers: [{name: main, env: [{name: A, value: x}]}]}", edited: `[{"op":"replace","path":"` + filler + `containers/0/env/0","value":{"name":"C","value":"other"}}]`, may: true,
		},
		"a container that was renamed, whose arguments stay": {
			applied: "{containers: [{name: main, args: [a, b]}]}", edited: `[{"op":"replace","path":"` + filler + `containers/0/name","value":"other"}]`,
			changed: []string{`.spec.template.spec.containers[name="other"] kubectl-edit`}, want: `{"containers":[{"args":["a","b"],"name":"main"}]}`,
		},
		"a container that was replaced by one with other arguments": {
			applied: "{containers: [{name: main, args: [a, b]}]}", edited: `[{"op":"replace","path":"` + filler + `containers/0","value":{"name":"other","args":["a","c"]}}]`, may: true,
		},
		"a container that was replaced by one with fewer": {
			applied: "{containers: [{name: main, args: [a, b], resources: {limits: {cpu: 1}}}]}", edited: `[{"op":"replace","path":"` + filler + `containers/0","value":{"name":"other","args":["a"]}}]`, may: true,
		},
		"a mount that was moved": {
			applied: "{containers: [{name: main, volumeMounts: [{name: v, mountPath: /a}]}]}", edited: `[{"op":"replace","path":"` + filler + `containers/0/volumeMounts/0/mountPath","value":"/b"}]`,
			changed: []string{main + `.volumeMounts[mountPath="/b"] kubectl-edit`}, want: `{"containers":[{"name":"main","volumeMounts":[{"mountPath":"/a","name":"v"}]}]}`,
		},
		"an entry that the server filled in is nobody's change": {
			applied: "{containers: [{name: main, ports: [{containerPort: 80}]}]}",
			edited:  `[{"op":"remove","path":"` + filler + `containers/0/ports/0"}]`, filled: `[{"op":"add","path":"` + filler + `containers/0/ports","value":[{"containerPort":90,"protocol":"TCP"}]}]`,
			may: true,
		},
		"a list that the server replaces as a whole": {
			kind: "Ingress", applied: "{rules: [{host: a}]}", edited: `[{"op":"replace","path":"/spec/rules/0/host","value":"b"}]`, may: true,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			applied := objectOf(t, orDeployment(c.kind), c.applied)
			s := newKeeper(t, applied).update(t, "kubectl-edit", c.edited).update(t, "", c.filled)
			if c.sidecar != "" {
				s.apply(t, objectOf(t, orDeployment(c.kind), c.sidecar), "injector")
			}
			cached := s.live.DeepCopy()
			cached.SetManagedFields(OwnManagedFields(cached.GetManagedFields()))
			if may := len(c.changed) > 0 || c.may; MayBeChanged(applied, cached) != may {
				t.Errorf("it says that entries may be changed: %v", !may)
			}
			clashes := Changed(applied, s.live)
			if diff := cmp.Diff(c.changed, pathsOf(clashes)); diff != "" {
				t.Fatalf("clashes (-want +got):\n%s", diff)
			}
			if len(clashes) > 0 {
				checkTaken(t, s, applied, clashes, c.want)
			}
		})
	}
}

// TestClashesOfCustomResources is about what the API's own types do not have: causes without a field, and scalars that exclude
// each other.
func TestClashesOfCustomResources(t *testing.T) {
	entry := func(manager string, operation metav1.ManagedFieldsOperationType, fields string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Operation: operation, FieldsV1: metav1.NewFieldsV1(fields), Time: new(metav1.Unix(60, 0))}
	}
	ours := entry(v1alpha1.FieldManager, metav1.ManagedFieldsOperationApply, `{"f:spec":{"f:a":{},"f:same":{}}}`)
	desired := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"a": "1", "same": "x"}}}
	live := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"b": "2", "c": "3", "same": "x"}, "status": map[string]any{"d": "4"}}}
	cases := map[string]struct {
		managed []metav1.ManagedFieldsEntry
		cause   metav1.StatusCause
		want    [][]string
	}{
		"a rule names the fields": {
			managed: []metav1.ManagedFieldsEntry{ours, entry("one", metav1.ManagedFieldsOperationUpdate, `{"f:spec":{"f:b":{}}}`), entry("two", metav1.ManagedFieldsOperationApply, `{"f:spec":{"f:b":{},"f:c":{}}}`)},
			cause:   metav1.StatusCause{Type: invalid, Field: "spec", Message: `Invalid value: "object": only one of a and b may be set`},
			want:    [][]string{{".spec.b one two"}, {".spec.b one two", ".spec.c two"}},
		},
		"a schema is not fulfilled": {
			managed: []metav1.ManagedFieldsEntry{ours, entry("one", metav1.ManagedFieldsOperationUpdate, `{"f:spec":{"f:b":{}}}`), {Manager: "broken", FieldsV1: metav1.NewFieldsV1(`{"q":{}}`)}, {Manager: "empty"}},
			cause:   metav1.StatusCause{Type: invalid, Field: nowhere, Message: `Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives`},
			want:    [][]string{{".spec.b one", ".spec.c"}},
		},
		"what only we own goes by itself": {
			managed: []metav1.ManagedFieldsEntry{entry(v1alpha1.FieldManager, metav1.ManagedFieldsOperationApply, `{"f:spec":{"f:b":{},"f:c":{},"f:same":{}}}`)},
			cause:   metav1.StatusCause{Type: invalid, Field: "spec", Message: "b"},
		},
		"it is not ours": {managed: []metav1.ManagedFieldsEntry{entry("one", metav1.ManagedFieldsOperationApply, `{"f:spec":{"f:b":{}}}`)}, cause: metav1.StatusCause{Type: invalid, Field: "spec", Message: "b"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			live.SetManagedFields(c.managed)
			steps, _ := Clashes(desired, live, []metav1.StatusCause{c.cause})
			var got [][]string
			for _, step := range steps {
				got = append(got, pathsOf(step))
				for _, clash := range step {
					for _, writer := range clash.Writers {
						if !writer.Time.Equal(time.Unix(60, 0)) {
							t.Errorf("%s wrote at %s", writer.Manager, writer.Time)
						}
					}
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			if Changed(desired, live) != nil {
				t.Error("something counts as made of ours")
			}
		})
	}
}

func TestOwned(t *testing.T) {
	live := &unstructured.Unstructured{Object: map[string]any{}}
	live.SetManagedFields([]metav1.ManagedFieldsEntry{
		{Manager: "one", Operation: metav1.ManagedFieldsOperationUpdate, FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:b":{"f:x":{}},"f:c":{}}}`)},
		{Manager: "two", Operation: metav1.ManagedFieldsOperationUpdate, FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:b":{".":{}}}}`)},
		{Manager: "none", Operation: metav1.ManagedFieldsOperationUpdate},
	})
	clashes := []Clash{{Path: fieldpath.MakePathOrDie("spec", "b")}}
	if same, err := Owned(live, clashes); err != nil || len(same) != 3 {
		t.Errorf("of an object that is not ours: %v, %v", same, err)
	}
	live.SetManagedFields(append(live.GetManagedFields(), metav1.ManagedFieldsEntry{
		Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply, FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:a":{}}}`),
	}))
	owned, err := Owned(live, clashes)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, entry := range owned {
		got[entry.Manager] = ""
		if entry.FieldsV1 != nil {
			got[entry.Manager] = entry.FieldsV1.GetRawString()
		}
	}
	want := map[string]string{"one": `{"f:spec":{"f:c":{}}}`, "none": "", v1alpha1.FieldManager: `{"f:spec":{"f:a":{},"f:b":{}}}`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("managers (-want +got):\n%s", diff)
	}
}
