package main

import apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

// The rules that the kinds with a selector and a pod template share, as elements of
// x-kubernetes-validations.
const (
	selectorFitsTemplate = `
    - rule: "!has(self.selector) || !has(self.selector.matchLabels) || self.selector.matchLabels.all(key, has(self.template.metadata) && has(self.template.metadata.labels) && key in self.template.metadata.labels && self.template.metadata.labels[key] == self.selector.matchLabels[key])"
      message: "` + "`selector` does not match template `labels`" + `"
      fieldPath: .template.metadata.labels`

	selectorIsNotEmpty = "(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)"

	// nameIsLabel is about the whole object: a name that becomes one of a pod or of a
	// host (NameIsDNSLabel, apimachinery, pkg/api/validation/generic.go).
	nameIsLabel = `
- rule: size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')
  message: a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character
  fieldPath: .metadata`
)

var deployments = kind{
	group: "apps", version: "v1", resource: "deployments", kind: "Deployment",
	scope: apiextensionsv1.NamespaceScoped, singular: "deployment",
	shortNames: []string{"deploy"}, categories: []string{"all"},
	subresources: statusAndScale,
	columns: []apiextensionsv1.CustomResourceColumnDefinition{
		{Name: "Ready", Type: "integer", JSONPath: ".status.readyReplicas",
			Description: "Number of ready pods, over all clusters"},
		{Name: "Up-to-date", Type: "integer", JSONPath: ".status.updatedReplicas",
			Description: "Number of pods that run the current template"},
		{Name: "Available", Type: "integer", JSONPath: ".status.availableReplicas",
			Description: "Number of pods that are available to users"},
		ageColumn,
	},
	// Defaults: SetDefaults_Deployment (kubernetes, pkg/apis/apps/v1/defaults.go). Helm 3's
	// --wait reads rollingUpdate, and crashes where there is none. A schema cannot ask for
	// the type: Recreate has it as well, so that it is no error there. It never goes down
	// (FilledIn in pkg/kinds/table.go). Rules and words: ValidateDeploymentSpec
	// (pkg/apis/apps/validation/validation.go).
	immutable: []string{"selector"},
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
        - rule: ` + selectorIsNotEmpty + `
          message: empty selector is invalid for deployment
      strategy:
        default: {}
        properties:
          type: {default: RollingUpdate}
          rollingUpdate:
            default: {maxSurge: 25%, maxUnavailable: 25%}
            properties:
              maxSurge: {pattern: "^[0-9]+%$"}
              maxUnavailable: {pattern: "^[0-9]+%$"}
            x-kubernetes-validations:
            - rule: "!(has(self.maxSurge) && has(self.maxUnavailable) && (self.maxSurge == 0 || self.maxSurge == '0%') && (self.maxUnavailable == 0 || self.maxUnavailable == '0%'))"
              message: may not be 0 when ` + "`maxSurge`" + ` is 0
              fieldPath: .maxUnavailable
        x-kubernetes-validations:
        - rule: "!(self.type == 'Recreate' && has(self.rollingUpdate)) || self.rollingUpdate.?maxSurge.orValue(0) == '25%' && self.rollingUpdate.?maxUnavailable.orValue(0) == '25%'"
          message: may not be specified when strategy ` + "`type`" + ` is 'Recreate'
          fieldPath: .rollingUpdate
          reason: FieldValueForbidden
      template:
        properties:
          spec:
            properties:
              # A Deployment restarts its containers.
              restartPolicy: {enum: ["", Always]}
    x-kubernetes-validations:` + selectorFitsTemplate + `
    - rule: "!has(self.minReadySeconds) || self.progressDeadlineSeconds > self.minReadySeconds"
      message: must be greater than minReadySeconds
      fieldPath: .progressDeadlineSeconds
`,
}

var statefulSets = kind{
	group: "apps", version: "v1", resource: "statefulsets", kind: "StatefulSet",
	scope: apiextensionsv1.NamespaceScoped, singular: "statefulset",
	shortNames: []string{"sts"}, categories: []string{"all"},
	subresources: statusAndScale,
	columns: []apiextensionsv1.CustomResourceColumnDefinition{
		{Name: "Ready", Type: "integer", JSONPath: ".status.readyReplicas",
			Description: "Number of ready pods, over all clusters"},
		ageColumn,
	},
	// Defaults: SetDefaults_StatefulSet (kubernetes, pkg/apis/apps/v1/defaults.go), but
	// neither what belongs to rollingUpdate, which a schema cannot default only where it is
	// allowed, nor persistentVolumeClaimRetentionPolicy, which older clusters do not know.
	// Rules and words: ValidateStatefulSetSpec, validateRollingUpdateStatefulSet and
	// ValidateStatefulSetUpdate (pkg/apis/apps/validation/validation.go).
	// volumeClaimTemplates are compared one by one, because each may hold a null (see
	// withImmutability); the bounds on them are what CEL needs to know the cost.
	immutable:        []string{"podManagementPolicy", "selector", "serviceName"},
	immutableMessage: statefulSetIsImmutable,
	overlay: `
required: [spec]
properties:
  spec:
    properties:
      minReadySeconds: {minimum: 0}
      ordinals:
        properties:
          start: {minimum: 0}
      persistentVolumeClaimRetentionPolicy:
        properties:
          whenDeleted: {enum: ["", Delete, Retain]}
          whenScaled: {enum: ["", Delete, Retain]}
      podManagementPolicy: {default: OrderedReady}
      replicas: {default: 1, minimum: 0}
      revisionHistoryLimit: {default: 10, minimum: 0}
      selector:
        x-kubernetes-validations:
        - rule: ` + selectorIsNotEmpty + `
          message: empty selector is invalid for statefulset
      serviceName: {maxLength: 63, pattern: "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"}
      template:
        properties:
          spec:
            properties:
              # A StatefulSet restarts its containers.
              restartPolicy: {enum: ["", Always]}
      updateStrategy:
        default: {}
        properties:
          type: {default: RollingUpdate}
          rollingUpdate:
            properties:
              maxUnavailable: {pattern: "^0*(100|[1-9]?[0-9])%$"}
              partition: {minimum: 0}
            x-kubernetes-validations:
            - rule: "!(has(self.maxUnavailable) && (self.maxUnavailable == 0 || self.maxUnavailable == '0%'))"
              message: cannot be 0
              fieldPath: .maxUnavailable
        x-kubernetes-validations:
        - rule: "!(self.type == 'OnDelete' && has(self.rollingUpdate))"
          message: only allowed for updateStrategy 'RollingUpdate'
          fieldPath: .rollingUpdate
      volumeClaimTemplates:
        maxItems: 100
        items:
          required: [metadata, spec]
          properties:
            metadata:
              required: [name]
              properties:
                annotations: {maxProperties: 1000}
                labels: {maxProperties: 1000}
                name: {maxLength: 253}
    x-kubernetes-validations:` + selectorFitsTemplate + `
    - rule: "(has(self.volumeClaimTemplates) ? size(self.volumeClaimTemplates) : 0) == (has(oldSelf.volumeClaimTemplates) ? size(oldSelf.volumeClaimTemplates) : 0) && (!has(self.volumeClaimTemplates) || !has(oldSelf.volumeClaimTemplates) || self.volumeClaimTemplates.all(claim, oldSelf.volumeClaimTemplates.exists(old, claim.metadata.name == old.metadata.name && claim.spec == old.spec && ` +
		same("claim", "old", "metadata.annotations", "metadata.labels") + `)))"
      message: "` + statefulSetIsImmutable + `"
      reason: FieldValueForbidden
    - rule: "!has(self.template.spec.activeDeadlineSeconds)"
      message: activeDeadlineSeconds in StatefulSet is not Supported
      fieldPath: .template.spec.activeDeadlineSeconds
      reason: FieldValueForbidden
x-kubernetes-validations:` + nameIsLabel + `
`,
}

// statefulSetIsImmutable is what Kubernetes says when more of a StatefulSet changes than may.
const statefulSetIsImmutable = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', " +
	"'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"

var daemonSets = kind{
	group: "apps", version: "v1", resource: "daemonsets", kind: "DaemonSet",
	scope: apiextensionsv1.NamespaceScoped, singular: "daemonset",
	shortNames: []string{"ds"}, categories: []string{"all"},
	subresources: statusOnly,
	columns: []apiextensionsv1.CustomResourceColumnDefinition{
		{Name: "Desired", Type: "integer", JSONPath: ".status.desiredNumberScheduled",
			Description: "Number of nodes that should run the pod, over all clusters"},
		{Name: "Current", Type: "integer", JSONPath: ".status.currentNumberScheduled",
			Description: "Number of nodes that run the pod and should"},
		{Name: "Ready", Type: "integer", JSONPath: ".status.numberReady",
			Description: "Number of nodes whose pod is ready"},
		{Name: "Up-to-date", Type: "integer", JSONPath: ".status.updatedNumberScheduled",
			Description: "Number of nodes that run the current template"},
		{Name: "Available", Type: "integer", JSONPath: ".status.numberAvailable",
			Description: "Number of nodes whose pod is available to users"},
		ageColumn,
	},
	// Defaults: SetDefaults_DaemonSet (kubernetes, pkg/apis/apps/v1/defaults.go), of
	// rollingUpdate as a whole, and with OnDelete as well: see deployments. Rules and
	// words: ValidateDaemonSetSpec, ValidateRollingUpdateDaemonSet and
	// ValidateDaemonSetSpecUpdate (pkg/apis/apps/validation/validation.go); there,
	// maxUnavailable is 1 when it is not given.
	immutable: []string{"selector"},
	overlay: `
required: [spec]
properties:
  spec:
    properties:
      minReadySeconds: {minimum: 0}
      revisionHistoryLimit: {default: 10, minimum: 0}
      selector:
        x-kubernetes-validations:
        - rule: ` + selectorIsNotEmpty + `
          message: empty selector is invalid for daemonset
      template:
        properties:
          spec:
            properties:
              # A DaemonSet restarts its containers.
              restartPolicy: {enum: ["", Always]}
      updateStrategy:
        default: {}
        properties:
          type: {default: RollingUpdate}
          rollingUpdate:
            default: {maxSurge: 0, maxUnavailable: 1}
            properties:
              maxSurge: {pattern: "^0*(100|[1-9]?[0-9])%$"}
              maxUnavailable: {pattern: "^0*(100|[1-9]?[0-9])%$"}
        x-kubernetes-validations:
        - rule: "self.type != 'RollingUpdate' || !has(self.rollingUpdate) || !has(self.rollingUpdate.maxSurge) || self.rollingUpdate.maxSurge == 0 || self.rollingUpdate.maxSurge == '0%' || (has(self.rollingUpdate.maxUnavailable) && (self.rollingUpdate.maxUnavailable == 0 || self.rollingUpdate.maxUnavailable == '0%'))"
          message: may not be set when maxUnavailable is non-zero
          fieldPath: .rollingUpdate.maxSurge
        - rule: "self.type != 'RollingUpdate' || !has(self.rollingUpdate) || !has(self.rollingUpdate.maxUnavailable) || !(self.rollingUpdate.maxUnavailable == 0 || self.rollingUpdate.maxUnavailable == '0%') || (has(self.rollingUpdate.maxSurge) && !(self.rollingUpdate.maxSurge == 0 || self.rollingUpdate.maxSurge == '0%'))"
          message: cannot be 0 when maxSurge is 0
          fieldPath: .rollingUpdate.maxUnavailable
          reason: FieldValueRequired
    x-kubernetes-validations:` + selectorFitsTemplate + `
    - rule: "!has(self.template.spec.activeDeadlineSeconds)"
      message: activeDeadlineSeconds in DaemonSet is not Supported
      fieldPath: .template.spec.activeDeadlineSeconds
      reason: FieldValueForbidden
`,
}
