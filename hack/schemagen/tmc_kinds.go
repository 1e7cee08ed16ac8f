package main

import "github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"

// The kinds of tmc itself are Go types, of which controller-gen makes
// CustomResourceDefinitions (`make generate`). The overlays say what there are no
// markers for: what is in types of Kubernetes, and in the values of maps.

// workloadPlacements are served by the APIExport, as the built-in kinds are.
var workloadPlacements = kind{
	group: v1alpha1.GroupName, version: "v1alpha1", resource: "workloadplacements", kind: "WorkloadPlacement",
	crdFile: "hack/schemagen/crds/tmc.kcp.io_workloadplacements.yaml",
	// Label selectors are checked as ValidateLabelSelector does (apimachinery,
	// pkg/apis/meta/v1/validation). The bounds are what CEL needs to know the cost of
	// the rules.
	overlay: `
properties:
  spec:
    properties:
      workloadSelector:
        properties:
          labelSelector: &labelSelector
            properties:
              matchLabels:
                maxProperties: 32
                additionalProperties: {maxLength: 63, pattern: "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"}
                x-kubernetes-validations:
                - rule: "self.all(key, !format.qualifiedName().validate(key).hasValue())"
                  message: expected keys that are qualified names, for instance example.com/tier
              matchExpressions:
                maxItems: 32
                items:
                  properties:
                    key: {maxLength: 317, pattern: "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"}
                    operator: {enum: [In, NotIn, Exists, DoesNotExist]}
                    values:
                      maxItems: 256
                      items: {maxLength: 63, pattern: "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"}
                  x-kubernetes-validations:
                  - rule: "!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)"
                    message: expected at least one with operator In or NotIn
                    fieldPath: .values
                  - rule: "self.operator in ['In', 'NotIn'] || !has(self.values) || size(self.values) == 0"
                    message: expected none with operator Exists or DoesNotExist
                    fieldPath: .values
      clusterSelector: {properties: {labelSelector: *labelSelector}}
      preferences: {items: {properties: {labelSelector: *labelSelector}}}
      weights: {items: {properties: {labelSelector: *labelSelector}}}
`,
}

// boundedQuantityPattern is what quantity.Parse takes: the hub computes with these.
const boundedQuantityPattern = `^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?0*[0-9]{1,2})?$`

// clusterRegistrations are served in the provider workspace alone, by a
// CustomResourceDefinition.
var clusterRegistrations = kind{
	group: v1alpha1.GroupName, version: "v1alpha1", resource: "clusterregistrations", kind: "ClusterRegistration",
	crdFile: "hack/schemagen/crds/tmc.kcp.io_clusterregistrations.yaml",
	// After transform.ValidateRule. The bound on their number is what CEL needs to know
	// the cost of the rules over them.
	overlay: `
properties:
  spec:
    properties:
      transform:
        properties:
          resourceLimits:
            maxProperties: 16
            additionalProperties: &quantity {maxLength: 64, pattern: '` + boundedQuantityPattern + `'}
          labels:
            additionalProperties: {maxLength: 63, pattern: "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"}
  status:
    properties:
      clusterUID: {maxLength: 64}
      allocatable: {maxProperties: 16, additionalProperties: *quantity}
      requested: {maxProperties: 16, additionalProperties: *quantity}
`,
}
