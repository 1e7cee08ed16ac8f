package main

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	apisv1alpha1 "github.com/kcp-dev/sdk/apis/apis/v1alpha1"

	"github.com/kcp-tmc/tmc/manifests"
)

// The specs of this file are about the schemas that are committed: what an API server
// does with them, taken from the API server's own packages.

// embedded returns the embedded schemas. Reading them takes a while.
var embedded = sync.OnceValue(manifests.Schemas)

// served returns the embedded schema of a resource.
func served(t *testing.T, resource string) *apisv1alpha1.APIResourceSchema {
	t.Helper()
	schemas := embedded()
	at := slices.IndexFunc(schemas, func(schema *apisv1alpha1.APIResourceSchema) bool {
		return schema.Spec.Names.Plural == resource
	})
	if at < 0 {
		t.Fatalf("no schema for %s is embedded", resource)
	}
	return schemas[at]
}

// definitionFor returns the CustomResourceDefinition that kcp makes of a schema.
func definitionFor(t *testing.T, schema *apisv1alpha1.APIResourceSchema) *apiextensions.CustomResourceDefinition {
	t.Helper()
	version := schema.Spec.Versions[0]
	props, err := version.GetSchema()
	if err != nil {
		t.Fatal(err)
	}
	// A definition cannot say the core group by its empty name; kcp has its own way.
	group := schema.Spec.Group
	if group == "" {
		group = "core"
	}
	crd := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: schema.Spec.Names.Plural + "." + group, Annotations: schema.Annotations},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: group, Names: schema.Spec.Names, Scope: schema.Spec.Scope,
			Conversion: &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: version.Name, Served: true, Storage: true,
				Schema:                   &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: props},
				Subresources:             &version.Subresources,
				AdditionalPrinterColumns: version.AdditionalPrinterColumns,
			}},
		},
	}
	return internalOf(t, crd)
}

// internalOf returns a definition in the form that an API server checks.
func internalOf(t *testing.T, crd *apiextensionsv1.CustomResourceDefinition) *apiextensions.CustomResourceDefinition {
	t.Helper()
	crd = crd.DeepCopy()
	apiextensionsv1.SetDefaults_CustomResourceDefinition(crd)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&crd.Spec)
	crd.Status.StoredVersions = []string{crd.Spec.Versions[0].Name}
	var internal apiextensions.CustomResourceDefinition
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(crd, &internal, nil); err != nil {
		t.Fatal(err)
	}
	return &internal
}

func TestServedSchemasAreAccepted(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.resource, func(t *testing.T) {
			crd := definitionFor(t, served(t, k.resource))
			// Structure, defaults, list keys, and the rules' estimated costs.
			for _, err := range crdvalidation.ValidateCustomResourceDefinition(context.Background(), crd) {
				// kcp takes built-in groups such as apps, which have no dot.
				if err.Field != "spec.group" {
					t.Errorf("an API server refuses the schema: %v", err)
				}
			}
		})
	}
}

func TestServedDefinitionsAreAccepted(t *testing.T) {
	for _, k := range definitions {
		t.Run(k.resource, func(t *testing.T) {
			for _, err := range crdvalidation.ValidateCustomResourceDefinition(context.Background(), crdOf(t, k.resource)) {
				t.Errorf("an API server refuses the definition: %v", err)
			}
		})
	}
}

// kindServer does with objects of one kind what an API server does.
type kindServer struct {
	structural *structuralschema.Structural
	validator  validation.SchemaValidator
	rules      *cel.Validator
}

func deploymentServer(t *testing.T) *kindServer {
	t.Helper()
	return serverOf(t, "deployments")
}

// crdOf returns the definition that a resource is served by: its own, or the one
// that kcp makes of its schema.
func crdOf(t *testing.T, resource string) *apiextensions.CustomResourceDefinition {
	t.Helper()
	crds := manifests.CRDs()
	for _, crd := range crds {
		if crd.Spec.Names.Plural == resource {
			return internalOf(t, crd)
		}
	}
	return definitionFor(t, served(t, resource))
}

// serverOf returns the server of a resource.
func serverOf(t *testing.T, resource string) *kindServer {
	t.Helper()
	crd := crdOf(t, resource)
	// The conversion moves the schema of a single version to the top.
	props := crd.Spec.Validation.OpenAPIV3Schema
	structural, err := structuralschema.NewStructural(props)
	if err != nil {
		t.Fatal(err)
	}
	validator, _, err := validation.NewSchemaValidator(props)
	if err != nil {
		t.Fatal(err)
	}
	return &kindServer{structural, validator, cel.NewValidator(structural, true, celconfig.PerCallLimit)}
}

// admit prunes and defaults object in place. It returns the unknown fields, and the
// errors by path; old is nil for a new object.
func (s *kindServer) admit(object, old map[string]any) (unknown []string, errs field.ErrorList) {
	unknown = s.fill(object)
	errs = validation.ValidateCustomResource(nil, object, s.validator)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, s.structural, object)...)
	if len(errs) > 0 {
		return unknown, errs
	}
	ruleErrs, _ := s.check(object, old)
	return unknown, ruleErrs
}

// fill prunes and defaults object in place, and returns the unknown fields.
func (s *kindServer) fill(object map[string]any) (unknown []string) {
	unknown = pruning.PruneWithOptions(object, s.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	defaulting.PruneNonNullableNullsWithoutDefaults(object, s.structural)
	defaulting.Default(object, s.structural)
	return unknown
}

// check evaluates the rules. It returns their errors and what is left of the budget.
func (s *kindServer) check(object, old map[string]any) (errs field.ErrorList, left int64) {
	var oldObject any
	if old != nil {
		oldObject = old
	}
	return s.rules.Validate(context.Background(), nil, s.structural, object, oldObject, celconfig.RuntimeCELCostBudget)
}

// deployment is what the specs change: as short as it can be.
const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: nginx}]
`

// change returns the deployment with a merge patch, in YAML, applied to it.
func change(t *testing.T, patch string) map[string]any {
	t.Helper()
	return patched(t, deployment, patch)
}

// patched returns the manifest with a merge patch applied to it, both in YAML.
func patched(t *testing.T, manifest, patch string) map[string]any {
	t.Helper()
	object, fields := map[string]any{}, map[string]any{}
	if err := yaml.Unmarshal([]byte(manifest), &object); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(patch), &fields); err != nil {
		t.Fatal(err)
	}
	mergePatch(object, fields)
	return asServer(t, object)
}

// mergePatch is RFC 7386, but that it keeps null where the object has nothing.
func mergePatch(object, patch map[string]any) {
	for name, value := range patch {
		nested, isObject := value.(map[string]any)
		existing, isExisting := object[name].(map[string]any)
		_, has := object[name]
		switch {
		case isObject && isExisting:
			mergePatch(existing, nested)
		case value == nil && has:
			delete(object, name)
		default:
			object[name] = value
		}
	}
}

// asServer returns the object with numbers as an API server reads them.
func asServer(t *testing.T, object map[string]any) map[string]any {
	t.Helper()
	data, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	result := map[string]any{}
	if err := utiljson.Unmarshal(data, &result); err != nil {
		t.Fatal(err)
	}
	return result
}

// rolling is the strategy of a type with all that is filled in, whatever the type.
func rolling(strategy string) map[string]any {
	return map[string]any{"type": strategy, "rollingUpdate": map[string]any{"maxSurge": "25%", "maxUnavailable": "25%"}}
}

func TestServedDeploymentDefaults(t *testing.T) {
	server := deploymentServer(t)
	tests := map[string]struct {
		reason string
		patch  string
		want   map[string]any
	}{
		"of a short one": {
			reason: "as on a cluster",
			want: map[string]any{"replicas": int64(1), "revisionHistoryLimit": int64(10), "progressDeadlineSeconds": int64(600),
				"strategy": rolling("RollingUpdate")},
		},
		"of an empty strategy": {
			reason: "kubectl create deployment sends one", patch: "spec: {strategy: {}}",
			want: map[string]any{"replicas": int64(1), "revisionHistoryLimit": int64(10), "progressDeadlineSeconds": int64(600),
				"strategy": rolling("RollingUpdate")},
		},
		"of what is null": {
			reason: "templates leave empty fields", patch: "spec: {replicas: null, strategy: null, paused: null}",
			want: map[string]any{"replicas": int64(1), "revisionHistoryLimit": int64(10), "progressDeadlineSeconds": int64(600),
				"strategy": rolling("RollingUpdate"), "paused": nil},
		},
		"do not overwrite": {
			patch: "spec: {replicas: 0, revisionHistoryLimit: 0, progressDeadlineSeconds: 5, strategy: {type: Recreate}}",
			want: map[string]any{"replicas": int64(0), "revisionHistoryLimit": int64(0), "progressDeadlineSeconds": int64(5),
				"strategy": rolling("Recreate")},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			object := change(t, tc.patch)
			if unknown, errs := server.admit(object, nil); len(errs) > 0 || len(unknown) > 0 {
				t.Fatalf("refused: %v, unknown: %v", errs, unknown)
			}
			spec := object["spec"].(map[string]any)
			delete(spec, "selector")
			delete(spec, "template")
			if diff := cmp.Diff(tc.want, spec); diff != "" {
				t.Errorf("%s: (-want +got)\n%s", tc.reason, diff)
			}
		})
	}
}

// container is a patch that gives the deployment one container with more fields.
func container(fields string) string {
	return "spec: {template: {spec: {containers: [{name: web, image: nginx, " + fields + "}]}}}"
}

func TestServedDeploymentIsAccepted(t *testing.T) {
	server := deploymentServer(t)
	tests := map[string]struct{ reason, patch string }{
		"with several containers":                {patch: "spec: {template: {spec: {containers: [{name: a, image: a}, {name: b, image: b}]}}}"},
		"with more labels than it selects":       {patch: "spec: {template: {metadata: {labels: {tier: front}}}}"},
		"with an expression as selector":         {patch: "spec: {selector: {matchLabels: null, matchExpressions: [{key: app, operator: In, values: [web]}]}}"},
		"with quantities of all forms":           {patch: container("resources: {limits: {cpu: 1, memory: 1.5Gi}, requests: {cpu: 500m, memory: 1e3, x.io/y: '.5'}}")},
		"with ports by number and name":          {patch: container("ports: [{containerPort: 80, name: http}], readinessProbe: {httpGet: {path: /, port: http}}, livenessProbe: {tcpSocket: {port: 80}}")},
		"with the same port for two protocols":   {patch: container("ports: [{containerPort: 53}, {containerPort: 53, protocol: UDP}]")},
		"with what is filled in, and of no use":  {patch: "spec: {strategy: {type: Recreate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}}"},
		"with a share as maxSurge":               {patch: "spec: {strategy: {rollingUpdate: {maxSurge: 25%, maxUnavailable: 0}}}"},
		"with empty strings for what has enums":  {reason: "a cluster takes them for not given", patch: container("imagePullPolicy: '', terminationMessagePolicy: ''")},
		"with image pull secrets without a name": {reason: "the name is the list's key", patch: "spec: {template: {spec: {imagePullSecrets: [{}]}}}"},
		"with the null that kubectl wrote":       {reason: "kubectl create --dry-run -o yaml did so for years", patch: "spec: {template: {metadata: {creationTimestamp: null}}}"},
		"with empty fields left by a template":   {patch: "spec: {template: {metadata: {annotations: null}, spec: {nodeSelector: null, containers: [{name: web, image: nginx, env: null, resources: null}]}}}"},
		"with a claim template with metadata":    {patch: "spec: {template: {spec: {volumes: [{name: v, ephemeral: {volumeClaimTemplate: {metadata: {labels: {a: b}}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}}]}}}"},
		"with a status":                          {patch: "status: {replicas: 1, conditions: [{type: Available, status: 'True'}]}"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			object := change(t, tc.patch)
			unknown, errs := server.admit(object, nil)
			if len(errs) > 0 || len(unknown) > 0 {
				t.Fatalf("%s: refused: %v, unknown: %v", tc.reason, errs, unknown)
			}
			decodes(t, object)
		})
	}
}

// decodes fails if the object is no Deployment to Kubernetes' own type: kcp decodes
// whole lists that way to print them, so one such object would hide all others.
func decodes(t *testing.T, object map[string]any) {
	t.Helper()
	data, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &appsv1.Deployment{}); err != nil {
		t.Errorf("it is accepted, but no Deployment: %v", err)
	}
}

func TestServedDeploymentIsRefused(t *testing.T) {
	server := deploymentServer(t)
	tests := map[string]struct {
		patch string
		want  map[string]field.ErrorType
	}{
		"without a spec":                    {"spec: null", map[string]field.ErrorType{"spec": field.ErrorTypeRequired}},
		"without a selector":                {"spec: {selector: null}", map[string]field.ErrorType{"spec.selector": field.ErrorTypeRequired}},
		"with an empty selector":            {"spec: {selector: {matchLabels: null}}", map[string]field.ErrorType{"spec.selector": field.ErrorTypeInvalid}},
		"with a selector that does not fit": {"spec: {template: {metadata: {labels: {app: other}}}}", map[string]field.ErrorType{"spec.template.metadata.labels": field.ErrorTypeInvalid}},
		"with a template without labels":    {"spec: {template: {metadata: null}}", map[string]field.ErrorType{"spec.template.metadata.labels": field.ErrorTypeInvalid}},
		"without a template":                {"spec: {template: null}", map[string]field.ErrorType{"spec.template": field.ErrorTypeRequired}},
		"with a template without a spec":    {"spec: {template: {spec: null}}", map[string]field.ErrorType{"spec.template.spec": field.ErrorTypeRequired}},
		"without containers":                {"spec: {template: {spec: {containers: []}}}", map[string]field.ErrorType{"spec.template.spec.containers": field.ErrorTypeInvalid}},
		"with a container without image":    {"spec: {template: {spec: {containers: [{name: a}]}}}", map[string]field.ErrorType{"spec.template.spec.containers[0].image": field.ErrorTypeRequired}},
		"with a container without name":     {"spec: {template: {spec: {containers: [{image: a}]}}}", map[string]field.ErrorType{"spec.template.spec.containers[0].name": field.ErrorTypeRequired}},
		"with an init container of no image": {"spec: {template: {spec: {initContainers: [{name: a, image: ''}]}}}",
			map[string]field.ErrorType{"spec.template.spec.initContainers[0].image": field.ErrorTypeInvalid}},
		"with a container's name that is none": {"spec: {template: {spec: {containers: [{name: A_b, image: a}]}}}",
			map[string]field.ErrorType{"spec.template.spec.containers[0].name": field.ErrorTypeInvalid}},
		"with two containers of one name": {"spec: {template: {spec: {containers: [{name: a, image: a}, {name: a, image: b}]}}}",
			map[string]field.ErrorType{"spec.template.spec.containers[1]": field.ErrorTypeDuplicate}},
		"with less than no replicas":  {"spec: {replicas: -1}", map[string]field.ErrorType{"spec.replicas": field.ErrorTypeInvalid}},
		"with too many replicas":      {"spec: {replicas: 3000000000}", map[string]field.ErrorType{"<nil>": field.ErrorTypeInvalid}},
		"with replicas in words":      {"spec: {replicas: three}", map[string]field.ErrorType{"spec.replicas": field.ErrorTypeInvalid}},
		"with an unknown strategy":    {"spec: {strategy: {type: Recrate}}", map[string]field.ErrorType{"spec.strategy.type": field.ErrorTypeNotSupported}},
		"with parameters of no use":   {"spec: {strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}}", map[string]field.ErrorType{"spec.strategy.rollingUpdate": field.ErrorTypeForbidden}},
		"with a roll-out that stands": {"spec: {strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0%}}}", map[string]field.ErrorType{"spec.strategy.rollingUpdate.maxUnavailable": field.ErrorTypeInvalid}},
		"with no share as maxSurge":   {"spec: {strategy: {rollingUpdate: {maxSurge: lots}}}", map[string]field.ErrorType{"spec.strategy.rollingUpdate.maxSurge": field.ErrorTypeInvalid}},
		"with a port beyond numbers":  {container("livenessProbe: {tcpSocket: {port: 99999999999}}"), map[string]field.ErrorType{"spec.template.spec.containers[0].livenessProbe.tcpSocket.port": field.ErrorTypeInvalid}},
		"with a deadline before ready": {"spec: {minReadySeconds: 10, progressDeadlineSeconds: 10}",
			map[string]field.ErrorType{"spec.progressDeadlineSeconds": field.ErrorTypeInvalid}},
		"with pods that are not restarted": {"spec: {template: {spec: {restartPolicy: Never}}}", map[string]field.ErrorType{"spec.template.spec.restartPolicy": field.ErrorTypeNotSupported}},
		"with no quantity":                 {container("resources: {limits: {cpu: much}}"), map[string]field.ErrorType{"spec.template.spec.containers[0].resources.limits.cpu": field.ErrorTypeInvalid}},
		"with a quantity that takes minutes to read": {container("resources: {limits: {cpu: 1e99999999999}}"),
			map[string]field.ErrorType{"spec.template.spec.containers[0].resources.limits.cpu": field.ErrorTypeInvalid}},
		"with a label that is none":            {"spec: {template: {metadata: {labels: {x: 'a b'}}}}", map[string]field.ErrorType{"spec.template.metadata.labels.x": field.ErrorTypeInvalid}},
		"with metadata that cannot be decoded": {"spec: {template: {metadata: {finalizers: x}}}", map[string]field.ErrorType{"spec.template.metadata.finalizers": field.ErrorTypeInvalid}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, errs := server.admit(change(t, tc.patch), nil)
			got := map[string]field.ErrorType{}
			for _, err := range errs {
				got[err.Field] = err.Type
			}
			for path, errorType := range tc.want {
				if got[path] != errorType && got[path] != field.ErrorTypeTypeInvalid {
					t.Errorf("got %v, want %s at %s", errs, errorType, path)
				}
			}
		})
	}
}

func TestServedDeploymentSelectorIsImmutable(t *testing.T) {
	server := deploymentServer(t)
	old := change(t, "")
	changed := change(t, "spec: {selector: {matchLabels: {tier: front}}, template: {metadata: {labels: {tier: front}}}}")
	if _, errs := server.admit(changed, old); len(errs) != 1 || errs[0].Field != "spec.selector" {
		t.Errorf("got %v, want the change of spec.selector to be refused, and nothing else", errs)
	}
	if _, errs := server.admit(change(t, "spec: {replicas: 5}"), old); len(errs) > 0 {
		t.Errorf("another change is refused: %v", errs)
	}
}

func TestServedUnknownFieldsAreReported(t *testing.T) {
	server := deploymentServer(t)
	unknown, _ := server.admit(change(t, "spec: {replica: 3, template: {metadata: {lables: {a: b}}, spec: {hostNetwrok: true}}}"), nil)
	want := []string{"spec.replica", "spec.template.metadata.lables", "spec.template.spec.hostNetwrok"}
	if diff := cmp.Diff(want, unknown); diff != "" {
		t.Errorf("strict field validation would not name them (-want +got)\n%s", diff)
	}
}
