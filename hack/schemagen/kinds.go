package main

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"
)

// kind is one entry of the table of served kinds.
type kind struct {
	// group, version, resource and kind name the API; the core group is "".
	group, version, resource, kind string
	// crdFile is the path, from the repository's root, of the CustomResourceDefinition
	// to take the schema from as it is. Empty for a built-in kind, whose schema comes
	// from a kube-apiserver; the fields below are for built-in kinds only.
	crdFile string
	// scope is Namespaced or Cluster.
	scope apiextensionsv1.ResourceScope
	// singular, shortNames and categories are what kubectl takes in place of resource.
	singular               string
	shortNames, categories []string
	// subresources are those that kcp can serve. The status subresource also makes
	// the generation count spec changes only.
	subresources apiextensionsv1.CustomResourceSubresources
	// columns are what `kubectl get` prints, unless the server knows better: kcp prints
	// kinds that Kubernetes has with Kubernetes' own columns (kcp,
	// pkg/server/crd_table_converter_provider.go). A column is one JSONPath, and only
	// its first match is printed (apiextensions-apiserver, tableconvertor.go), so
	// a column over a list, such as CONTAINERS, would lie.
	columns []apiextensionsv1.CustomResourceColumnDefinition
	// overlay is a JSON schema, in YAML, of what to lay over the published one: the
	// defaults and the validation that a kube-apiserver has in code. See overlay.go.
	overlay string
}

// kinds is the table of what tmc serves in kcp: a new kind is a new entry here and in
// SyncedResources of pkg/apis.
var kinds = []kind{{
	group: "apps", version: "v1", resource: "deployments", kind: "Deployment",
	scope: apiextensionsv1.NamespaceScoped, singular: "deployment",
	shortNames: []string{"deploy"}, categories: []string{"all"},
	subresources: apiextensionsv1.CustomResourceSubresources{
		Status: &apiextensionsv1.CustomResourceSubresourceStatus{},
		// A Deployment's status holds no selector in string form, so
		// labelSelectorPath stays empty.
		Scale: &apiextensionsv1.CustomResourceSubresourceScale{
			SpecReplicasPath:   ".spec.replicas",
			StatusReplicasPath: ".status.replicas",
		},
	},
	columns: []apiextensionsv1.CustomResourceColumnDefinition{
		{Name: "Ready", Type: "integer", JSONPath: ".status.readyReplicas",
			Description: "Number of ready pods, over all clusters"},
		{Name: "Up-to-date", Type: "integer", JSONPath: ".status.updatedReplicas",
			Description: "Number of pods that run the current template"},
		{Name: "Available", Type: "integer", JSONPath: ".status.availableReplicas",
			Description: "Number of pods that are available to users"},
		{Name: "Age", Type: "date", JSONPath: ".metadata.creationTimestamp",
			Description: "Time since the object was made"},
	},
	// Defaults: SetDefaults_Deployment (kubernetes, pkg/apis/apps/v1/defaults.go), but
	// not rollingUpdate, which a schema cannot default only where it is allowed. Rules
	// and words: ValidateDeploymentSpec (pkg/apis/apps/validation/validation.go).
	overlay: `
required: [spec]
properties:
  spec:
    properties:
      minReadySeconds: {minimum: 0}
      progressDeadlineSeconds: {default: 600, minimum: 0}
      replicas: {default: 1, minimum: 0}
      revisionHistoryLimit: {default: 10, minimum: 0}
      selector:
        x-kubernetes-validations:
        - rule: self == oldSelf
          message: field is immutable
        - rule: (has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)
          message: empty selector is invalid for deployment
      strategy:
        default: {}
        properties:
          type: {default: RollingUpdate}
          rollingUpdate:
            properties:
              maxSurge: {pattern: "^[0-9]+%$"}
              maxUnavailable: {pattern: "^[0-9]+%$"}
            x-kubernetes-validations:
            - rule: "!(has(self.maxSurge) && has(self.maxUnavailable) && (self.maxSurge == 0 || self.maxSurge == '0%') && (self.maxUnavailable == 0 || self.maxUnavailable == '0%'))"
              message: may not be 0 when ` + "`maxSurge`" + ` is 0
              fieldPath: .maxUnavailable
        x-kubernetes-validations:
        - rule: "!(self.type == 'Recreate' && has(self.rollingUpdate))"
          message: may not be specified when strategy ` + "`type`" + ` is 'Recreate'
          fieldPath: .rollingUpdate
          reason: FieldValueForbidden
      template:
        properties:
          spec:
            properties:
              # A Deployment restarts its containers.
              restartPolicy: {enum: ["", Always]}
    x-kubernetes-validations:
    - rule: "!has(self.selector.matchLabels) || self.selector.matchLabels.all(key, has(self.template.metadata) && has(self.template.metadata.labels) && key in self.template.metadata.labels && self.template.metadata.labels[key] == self.selector.matchLabels[key])"
      message: "` + "`selector` does not match template `labels`" + `"
      fieldPath: .template.metadata.labels
    - rule: "!has(self.minReadySeconds) || self.progressDeadlineSeconds > self.minReadySeconds"
      message: must be greater than minReadySeconds
      fieldPath: .progressDeadlineSeconds
`,
}}

// definitionOverlays are laid over OpenAPI definitions, by the definitions' names,
// wherever a kind uses them. Sources: pkg/apis/core/validation/validation.go for the
// rules, pkg/apis/core/v1/defaults.go for the enums in which "" means "not given" (a
// default from the schema would be sent to clusters whose own defaults may differ).
var definitionOverlays = map[string]string{
	"io.k8s.api.core.v1.Container": `
required: [name, image]
properties:
  name: {minLength: 1, maxLength: 63, pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}
  image: {minLength: 1}
  imagePullPolicy: {enum: ["", Always, IfNotPresent, Never]}
  terminationMessagePolicy: {enum: ["", FallbackToLogsOnError, File]}
`,
	"io.k8s.api.core.v1.HTTPGetAction": `
properties:
  scheme: {enum: ["", HTTP, HTTPS]}
`,
	// A logical unit number of 0 may be left out.
	"io.k8s.api.core.v1.ISCSIVolumeSource": `
properties:
  lun: {default: 0}
`,
	"io.k8s.api.core.v1.PodSpec": `
properties:
  containers: {minItems: 1}
  dnsPolicy: {enum: ["", ClusterFirst, ClusterFirstWithHostNet, Default, None]}
  restartPolicy: {enum: ["", Always, Never, OnFailure]}
`,
	"io.k8s.api.core.v1.PodTemplateSpec": `
required: [spec]
`,
	// Sleeping for 0 seconds may be left out.
	"io.k8s.api.core.v1.SleepAction": `
properties:
  seconds: {default: 0}
`,
	"io.k8s.api.core.v1.Toleration": `
properties:
  effect: {enum: ["", NoExecute, NoSchedule, PreferNoSchedule]}
  operator: {enum: ["", Equal, Exists, Gt, Lt]}
`,
	// Label values: apimachinery, pkg/api/validate/content. The bound on their number
	// is what CEL needs to know the cost of a rule over them.
	"io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector": `
properties:
  matchLabels:
    maxProperties: 10000
    additionalProperties: {maxLength: 63, pattern: "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"}
`,
	"io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelectorRequirement": `
properties:
  operator: {enum: [In, NotIn, Exists, DoesNotExist]}
`,
	// The metadata of a pod template. Many tools write its creationTimestamp, as null. A
	// null that is not allowed is dropped from what is created or patched, but refused in
	// a server-side apply.
	"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": `
properties:
  creationTimestamp: {nullable: true}
  labels:
    additionalProperties: {maxLength: 63, pattern: "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"}
`,
}

// permissionClaims are what tmc asks consumers for beyond the kinds it serves: events
// to tell users what went wrong, with the verbs of client-go's event recorder (it never
// updates, and kcp wants no get for a patch).
var permissionClaims = []apisv1alpha2.PermissionClaim{
	{GroupResource: apisv1alpha2.GroupResource{Resource: "events"}, Verbs: []string{"create", "patch"}},
}
