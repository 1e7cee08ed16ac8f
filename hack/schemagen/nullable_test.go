package main

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
)

func TestWithNullables(t *testing.T) {
	const source = `{type: object, required: [spec], x-kubernetes-validations: [{rule: "self.spec.named.name != ''"}], properties: {
		status: {type: object, properties: {phase: {type: string}}},
		spec: {type: object, required: [needed],
			x-kubernetes-validations: [{rule: "!has(self.read) || self.whole == oldSelf.whole && self.list.all(e, e.name != '') && size(self.names) > 0"}],
			properties: {
				plain: {type: string}, number: {type: integer}, either: {x-kubernetes-int-or-string: true},
				object: {type: object, required: [a], properties: {a: {type: string}, b: {type: string}}},
				needed: {type: object, properties: {b: {type: string}}},
				filled: {type: string, default: x},
				one: {type: string, enum: [a, b]},
				read: {type: object, properties: {b: {type: string}}},
				whole: {type: object, properties: {b: {type: string}}},
				list: {type: array, items: {type: object, properties: {name: {type: string}, b: {type: string}}}},
				names: {type: array, items: {type: string}},
				named: {type: object, properties: {name: {type: string}, b: {type: string}}},
				map: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [key], items: {type: object, properties: {key: {type: string}, b: {type: string}}}},
				choice: {type: object, oneOf: [{required: [left]}, {anyOf: [{required: [right]}]}], properties: {left: {type: string}, right: {type: string}, b: {type: string}}},
				self: {type: object, x-kubernetes-validations: [{rule: "self.all(k, k != '')"}], properties: {b: {type: string}}},
				text: {type: string, x-kubernetes-validations: [{rule: "self.contains('x')"}]}}}}}`
	schema := withNullables(schemaFrom(t, source))
	var got []string
	eachNullable(schema, "", func(path string) { got = append(got, path) })
	slices.Sort(got)
	want := []string{
		".spec.choice", ".spec.choice.b", ".spec.either", ".spec.list[].b", ".spec.map", ".spec.map[].b", ".spec.named.b", ".spec.needed.b", ".spec.number",
		".spec.object", ".spec.object.b", ".spec.plain", ".spec.read.b", ".spec.self", ".spec.text",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if bare := schemaFrom(t, "{type: object, properties: {data: {type: object}}}"); !cmp.Equal(bare, withNullables(bare)) {
		t.Error("something besides a spec is nullable")
	}
}

func TestAskedBy(t *testing.T) {
	for rule, want := range map[string]asked{
		"self == oldSelf":                         {"", ""},
		"self.contains('x')":                      {""},
		"self.all(key, key in x)":                 {"", ""},
		"!has(self.a.b) || self.a.b > oldSelf.c":  {"a.b.*", "a.b", "c"},
		"size(self.a) > 1 && 'x' in self.b":       {"a.*", "b"},
		"self.a.matches('^self$')":                {"a", ""},
		"self.a.all(e, has(e.b) && e.b != e.c.d)": {"a.*", "a.b.*", "a.b", "a.c.d"},
	} {
		if diff := cmp.Diff(want, askedBy(rule)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", rule, diff)
		}
	}
}

// TestServedNullsMeanAbsent has all that may be null be null, in objects of each kind: what comes of it is what comes of leaving
// it out, and may be written again.
func TestServedNullsMeanAbsent(t *testing.T) {
	specs := servedSpecs()
	specs[deployments.resource] = servedSpec{manifest: fullDeployment}
	all := 0
	for resource, spec := range specs {
		if _, isNotSynced := revisionSpecs[resource]; isNotSynced || slices.ContainsFunc(kinds, func(k kind) bool { return k.resource == resource && k.crdFile != "" }) ||
			slices.ContainsFunc(definitions, func(k kind) bool { return k.resource == resource }) {
			continue
		}
		t.Run(resource, func(t *testing.T) {
			server := serverOf(t, resource)
			want := patched(t, spec.manifest, "status: null")
			delete(want, "status")
			withNulls := deepCopy(want).(map[string]any)
			all += setNulls(withNulls, server.structural)
			if _, errs := server.admit(want, nil); len(errs) > 0 {
				t.Fatalf("refused: %v", errs)
			}
			if _, errs := server.admit(withNulls, nil); len(errs) > 0 {
				t.Fatalf("refused: %v", errs)
			}
			if _, errs := server.admit(deepCopy(withNulls).(map[string]any), deepCopy(withNulls).(map[string]any)); len(errs) > 0 {
				t.Errorf("the same again is refused: %v", errs)
			}
			dropNulls(withNulls)
			dropNulls(want)
			if diff := cmp.Diff(want, withNulls); diff != "" {
				t.Errorf("(-absent +null)\n%s", diff)
			}
		})
	}
	if all < 300 {
		t.Errorf("only %d fields could be null", all)
	}
}

// fullDeployment has something of most of what a pod template may have.
const fullDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  selector: {matchLabels: {app: web}, matchExpressions: [{key: app, operator: Exists}]}
  strategy: {rollingUpdate: {}}
  template:
    metadata: {labels: {app: web}}
    spec:
      affinity:
        nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}
        podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: zone}}]}
      containers:
      - name: web
        image: nginx
        env: [{name: A}, {name: B, valueFrom: {secretKeyRef: {name: s, key: k}}}]
        envFrom: [{configMapRef: {name: c}}]
        lifecycle: {preStop: {sleep: {}}}
        livenessProbe: {httpGet: {port: 80}}
        ports: [{containerPort: 80}]
        resources: {}
        securityContext: {capabilities: {}, seccompProfile: {type: RuntimeDefault}}
        volumeMounts: [{name: a, mountPath: /a}]
      initContainers: [{name: init, image: nginx}]
      securityContext: {}
      tolerations: [{}]
      topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]
      volumes:
      - {name: a, configMap: {items: [{key: a, path: a}]}}
      - {name: b, secret: {}}
      - {name: c, emptyDir: {}}
      - {name: d, projected: {sources: [{serviceAccountToken: {path: a}}]}}
      - {name: e, iscsi: {iqn: a, targetPortal: b}}
      - {name: f, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}}
`

// setNulls sets all fields that may be null and are not there, and returns how many.
func setNulls(value any, schema *structuralschema.Structural) (set int) {
	switch value := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
			property := schema.Properties[name]
			if _, has := value[name]; has {
				set += setNulls(value[name], &property)
			} else if property.Nullable {
				value[name] = nil
				set++
			}
		}
	case []any:
		for _, item := range value {
			set += setNulls(item, schema.Items)
		}
	}
	return set
}

// dropNulls removes the fields that are null, at any depth.
func dropNulls(value any) {
	switch value := value.(type) {
	case map[string]any:
		maps.DeleteFunc(value, func(_ string, field any) bool { return field == nil })
		for _, field := range value {
			dropNulls(field)
		}
	case []any:
		for _, item := range value {
			dropNulls(item)
		}
	}
}

// eachNullable calls visit with the path of each nullable property within a schema.
func eachNullable(schema apiextensionsv1.JSONSchemaProps, path string, visit func(string)) {
	for name, property := range schema.Properties {
		if property.Nullable {
			visit(path + "." + name)
		}
		eachNullable(property, path+"."+name, visit)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		eachNullable(*schema.Items.Schema, path+"[]", visit)
	}
}
