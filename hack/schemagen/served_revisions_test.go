package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// revisionSpecs are the specs of the kinds that are served and not synced. Nothing is refused by their schemas: a policy
// says who writes them.
var revisionSpecs = map[string]servedSpec{
	"replicasets": {
		manifest: `
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web-5f77ddd4d5, namespace: default, labels: {app: web, pod-template-hash: 5f77ddd4d5}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web, pod-template-hash: 5f77ddd4d5}}
  template:
    metadata: {creationTimestamp: null, labels: {app: web, pod-template-hash: 5f77ddd4d5}, annotations: {a: b}}
    spec:
      containers: [{name: web, image: nginx, resources: {limits: {cpu: 1}}, unheardOf: {a: null}}]
`,
		defaults: "{}",
		changes:  map[string]string{"in its numbers": "spec: {replicas: 0}"},
		zeros:    "status: {replicas: 0}",
	},
	"controllerrevisions": {
		manifest: `
apiVersion: apps/v1
kind: ControllerRevision
metadata: {name: db-5f77ddd4d5, namespace: default}
revision: 1
data: {spec: {template: {$patch: replace, metadata: {creationTimestamp: null}, spec: {containers: [{name: db}]}}}}
`,
		defaults: "{}",
		refused:  map[string]refusal{"without a revision": {"revision: null", "revision", "Required value"}},
		changes:  map[string]string{"in its number": "revision: 3"},
	},
	"pods": {
		manifest: `
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default}
spec: {containers: [{name: web, image: nginx}], unheardOf: {a: null}}
`,
		defaults: "{}",
	},
}

// TestServedRevisionsHaveTheDefaultsOfDeployments: a default that the one had and the other had not would make the templates
// differ, and so begin a new revision of every Deployment.
func TestServedRevisionsHaveTheDefaultsOfDeployments(t *testing.T) {
	template := patched(t, `
template:
  metadata: {creationTimestamp: null, labels: {app: web}}
  spec:
    containers:
    - name: web
      image: nginx
      ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}]
      lifecycle: {preStop: {sleep: {}}}
      livenessProbe: {grpc: {port: 1}, httpGet: {port: 80}}
      resources: {limits: {cpu: 1}}
    initContainers: [{name: init, image: nginx, ports: [{containerPort: 80}]}]
    topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}]
    volumes:
    - {name: disk, iscsi: {iqn: a, targetPortal: b}}
    - {name: more, ephemeral: {volumeClaimTemplate: {metadata: {creationTimestamp: null}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}}
`, "")["template"]
	of := func(resource, kind string) any {
		object := patched(t, `{apiVersion: apps/v1, metadata: {name: web, namespace: default}, spec: {selector: {matchLabels: {app: web}}}}`, "")
		object["kind"], object["spec"].(map[string]any)["template"] = kind, deepCopy(template)
		if unknown, errs := serverOf(t, resource).create(object); len(errs) > 0 || len(unknown) > 0 {
			t.Fatalf("%s: refused: %v, unknown: %v", resource, errs, unknown)
		}
		return object["spec"].(map[string]any)["template"]
	}
	asDeployment, asRevision := of("deployments", "Deployment"), of("replicasets", "ReplicaSet")
	if diff := cmp.Diff(asDeployment, asRevision); diff != "" {
		t.Errorf("(-deployment +revision)\n%s", diff)
	}
	if cmp.Equal(template, asDeployment) {
		t.Error("the template has nothing that a default fills in")
	}
}

// deepCopy returns a copy of JSON.
func deepCopy(value any) any {
	switch value := value.(type) {
	case map[string]any:
		result := map[string]any{}
		for key, inner := range value {
			result[key] = deepCopy(inner)
		}
		return result
	case []any:
		result := make([]any, len(value))
		for i, inner := range value {
			result[i] = deepCopy(inner)
		}
		return result
	default:
		return value
	}
}

// TestServedRevisionsHaveAllDefaultsOfDeployments compares the schemas themselves.
func TestServedRevisionsHaveAllDefaultsOfDeployments(t *testing.T) {
	defaults := func(resource string) map[string]string {
		schema, err := served(t, resource).Spec.Versions[0].GetSchema()
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		collectDefaults(schema.Properties["spec"].Properties["template"], "template", found)
		return found
	}
	want := defaults("deployments")
	if len(want) < 10 {
		t.Fatalf("a pod template has only the defaults %v", want)
	}
	if diff := cmp.Diff(want, defaults("replicasets")); diff != "" {
		t.Errorf("(-deployments +replicasets)\n%s", diff)
	}
}

// collectDefaults adds the defaults within a schema to found, by their paths.
func collectDefaults(schema apiextensionsv1.JSONSchemaProps, path string, found map[string]string) {
	if schema.Default != nil {
		found[path] = string(schema.Default.Raw)
	}
	for name, property := range schema.Properties {
		collectDefaults(property, path+"."+name, found)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		collectDefaults(*schema.Items.Schema, path+"[]", found)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		collectDefaults(*schema.AdditionalProperties.Schema, path+"{}", found)
	}
}

func TestSlimmed(t *testing.T) {
	const source = `{properties: {
		spec: {type: object, properties: {
			template: {description: A template., type: object, properties: {
				ports: {type: array, items: {type: object, required: [port], properties: {
					port: {type: integer, minimum: 1},
					protocol: {type: string, enum: [TCP], default: TCP}}}},
				more: {type: object, additionalProperties: {type: object, properties: {mode: {type: string, default: a}}}},
				plain: {type: object, additionalProperties: {type: string}},
				when: {type: string, nullable: true, default: now},
				names: {type: array, items: {type: string}}}},
			bare: {description: Nothing to fill in., type: object, properties: {name: {type: string}}}}},
		status: {description: Said., type: object, properties: {phase: {type: string, default: a}}}}}`
	got, err := slimmed(schemaFrom(t, source), kind{opaque: []string{"status"}, defaultsOnly: []string{"spec.template", "spec.bare"}})
	if err != nil {
		t.Fatal(err)
	}
	want := schemaFrom(t, `{properties: {
		spec: {type: object, properties: {
			template: {description: A template., type: object, x-kubernetes-preserve-unknown-fields: true, properties: {
				ports: {type: array, items: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {
					protocol: {type: string, default: TCP}}}},
				more: {type: object, additionalProperties: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {mode: {type: string, default: a}}}},
				when: {type: string, nullable: true, default: now}}},
			bare: {description: Nothing to fill in., type: object, x-kubernetes-preserve-unknown-fields: true}}},
		status: {description: Said., type: object, x-kubernetes-preserve-unknown-fields: true}}}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, k := range []kind{{opaque: []string{"data"}}, {defaultsOnly: []string{"spec.jobTemplate"}}, {defaultsOnly: []string{"spec.template.ports.port"}}} {
		if _, err := slimmed(schemaFrom(t, source), k); err == nil {
			t.Errorf("%v, %v: no error", k.opaque, k.defaultsOnly)
		}
	}
}
