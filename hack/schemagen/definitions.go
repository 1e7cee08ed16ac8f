package main

// definitionOverlays are laid over OpenAPI definitions, by the definitions' names,
// wherever a kind uses them: in itself or in a template. Sources: pkg/apis/core/validation/validation.go for the
// rules, pkg/apis/core/v1/defaults.go for the enums in which "" means "not given" (a
// default from the schema would be sent to clusters whose own defaults may differ).
var definitionOverlays = map[string]string{
	// validateMetricSpec, validateMetricTarget, validateScalingRules and
	// validateScalingPolicy (pkg/apis/autoscaling/validation/validation.go).
	"io.k8s.api.autoscaling.v2.HPAScalingPolicy": `
properties:
  periodSeconds: {minimum: 1, maximum: 1800}
  type: {enum: [Percent, Pods]}
  value: {minimum: 1}
`,
	"io.k8s.api.autoscaling.v2.HPAScalingRules": `
properties:
  selectPolicy: {enum: [Disabled, Max, Min]}
  stabilizationWindowSeconds: {minimum: 0, maximum: 3600}
`,
	"io.k8s.api.autoscaling.v2.MetricSpec": `
properties:
  type: {enum: [ContainerResource, External, Object, Pods, Resource]}
`,
	"io.k8s.api.autoscaling.v2.MetricTarget": `
properties:
  averageUtilization: {minimum: 1}
  type: {enum: [AverageValue, Utilization, Value]}
`,
	// What holds for Jobs and for the Jobs of CronJobs: validateJobSpec
	// (pkg/apis/batch/validation/validation.go).
	"io.k8s.api.batch.v1.JobSpec": `
properties:
  activeDeadlineSeconds: {minimum: 0}
  backoffLimit: {minimum: 0}
  backoffLimitPerIndex: {minimum: 0}
  completions: {minimum: 0}
  maxFailedIndexes: {minimum: 0}
  parallelism: {minimum: 0}
  template:
    properties:
      spec:
        required: [containers, restartPolicy]
        properties:
          restartPolicy: {enum: [Never, OnFailure]}
  ttlSecondsAfterFinished: {minimum: 0}
x-kubernetes-validations:
- rule: "!(has(self.completionMode) && self.completionMode == 'Indexed') || has(self.completions)"
  message: when completion mode is Indexed
  fieldPath: .completions
  reason: FieldValueRequired
- rule: "!has(self.backoffLimitPerIndex) || (has(self.completionMode) && self.completionMode == 'Indexed')"
  message: requires indexed completion mode
  fieldPath: .backoffLimitPerIndex
- rule: "!has(self.successPolicy) || (has(self.completionMode) && self.completionMode == 'Indexed')"
  message: requires indexed completion mode
  fieldPath: .successPolicy
- rule: "!has(self.maxFailedIndexes) || has(self.backoffLimitPerIndex)"
  message: when maxFailedIndexes is specified
  fieldPath: .backoffLimitPerIndex
  reason: FieldValueRequired
- rule: "!has(self.podFailurePolicy) || self.template.spec.restartPolicy == 'Never'"
  message: only "Never" is supported when podFailurePolicy is specified
  fieldPath: .template.spec.restartPolicy
`,
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
	// Also that of ephemeral volumes and of the claims of StatefulSets. Default:
	// SetDefaults_PersistentVolumeClaimSpec (pkg/apis/core/v1/defaults.go), the same in
	// all clusters. Rules: ValidatePersistentVolumeClaimSpec.
	"io.k8s.api.core.v1.PersistentVolumeClaimSpec": `
required: [accessModes, resources]
properties:
  accessModes: {minItems: 1}
  resources:
    required: [requests]
    properties:
      requests: {required: [storage]}
  volumeMode: {default: Filesystem}
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
	// validateIngressBackend, ValidateNetworkPolicyPort, ValidateNetworkPolicyPeer and
	// ValidateIPBlock (pkg/apis/networking/validation/validation.go).
	"io.k8s.api.networking.v1.IngressBackend": `
oneOf:
- required: [service]
- required: [resource]
`,
	"io.k8s.api.networking.v1.IngressServiceBackend": `
required: [name, port]
properties:
  name: {minLength: 1}
`,
	"io.k8s.api.networking.v1.IPBlock": `
properties:
  cidr: {format: cidr}
  except: {items: {format: cidr}}
`,
	"io.k8s.api.networking.v1.NetworkPolicyPeer": `
oneOf:
- required: [ipBlock]
- anyOf:
  - required: [podSelector]
  - required: [namespaceSelector]
`,
	"io.k8s.api.networking.v1.NetworkPolicyPort": `
properties:
  endPort: {minimum: 1, maximum: 65535}
  port: {minimum: 1, maximum: 65535, maxLength: 15, pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}
  protocol: {default: TCP}
`,
	"io.k8s.api.networking.v1.ServiceBackendPort": `
properties:
  name: {maxLength: 15, pattern: "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"}
  number: {minimum: 0, maximum: 65535}
anyOf:
- required: [name]
- required: [number]
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
