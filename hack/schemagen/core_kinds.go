package main

import apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

var services = kind{
	version: "v1", resource: "services", kind: "Service",
	scope: apiextensionsv1.NamespaceScoped, singular: "service",
	shortNames: []string{"svc"}, categories: []string{"all"},
	subresources: statusOnly,
	columns: []apiextensionsv1.CustomResourceColumnDefinition{
		{Name: "Type", Type: "string", JSONPath: ".spec.type",
			Description: "How the service is exposed"},
		{Name: "Cluster-IP", Type: "string", JSONPath: ".spec.clusterIP",
			Description: "None for a headless service; 0.0.0.0 where each cluster has its own address"},
		ageColumn,
	},
	// Defaults: SetDefaults_Service (kubernetes, pkg/apis/core/v1/defaults.go), but nothing
	// that a cluster allocates (addresses, node ports) or that clusters may differ in
	// (families of addresses, policies, affinity).
	//
	// clusterIP is the unspecified address: there is one, and which one only a cluster can
	// say. A cluster's API server fills it in as well, when the Service is made and before
	// anything serves it, and clients wait for that alone: Helm 3's --wait, and kstatus for
	// load balancers. It never goes down (pkg/kinds/table.go). "" is what somebody has
	// written, and no default replaces it.
	//
	// Rules and words: validateService, validateServicePort and ValidateServiceUpdate, which
	// keeps a clusterIP that the update does not give (pkg/apis/core/validation/validation.go).
	// That the names of ports differ is left to the clusters: the rule's cost would need
	// a bound on ports.
	overlay: `
required: [spec]
properties:
  spec:
    properties:
      clusterIP: {default: 0.0.0.0}
      externalTrafficPolicy: {enum: ["", Cluster, Local]}
      ports:
        items:
          properties:
            name: {maxLength: 63, pattern: "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"}
            nodePort: {minimum: 0, maximum: 65535}
            port: {minimum: 1, maximum: 65535}
            # Not given and 0 and "" mean the same.
            targetPort: {maximum: 65535, maxLength: 15, pattern: "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"}
      selector:
        additionalProperties: {maxLength: 63, pattern: "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"}
      sessionAffinity: {enum: ["", ClientIP, None]}
      type: {default: ClusterIP}
    x-kubernetes-validations:
    - rule: self.type == 'ExternalName' || self.clusterIP == 'None' || (has(self.ports) && size(self.ports) > 0)
      message: only a headless service and one of type ExternalName need none
      fieldPath: .ports
      reason: FieldValueRequired
    - rule: "!has(self.ports) || size(self.ports) <= 1 || self.ports.all(port, has(port.name) && port.name != '')"
      message: each of several ports needs a name
      fieldPath: .ports
      reason: FieldValueRequired
    - rule: self.type != 'ExternalName' || (has(self.externalName) && self.externalName != '')
      message: a service of type ExternalName needs it
      fieldPath: .externalName
      reason: FieldValueRequired
    - rule: "!(self.type in ['LoadBalancer', 'NodePort'] && self.clusterIP == 'None')"
      message: may not be set to 'None' for LoadBalancer and NodePort services
      fieldPath: .clusterIP
    - rule: "!has(self.loadBalancerClass) || self.type == 'LoadBalancer'"
      message: "may only be used when ` + "`type`" + ` is 'LoadBalancer'"
      fieldPath: .loadBalancerClass
      reason: FieldValueForbidden
    - rule: "oldSelf.type != 'LoadBalancer' || self.type != 'LoadBalancer' || (` + unchanged("loadBalancerClass") + `)"
      message: may not change once set
      fieldPath: .loadBalancerClass
    - rule: oldSelf.type == 'ExternalName' || self.type == 'ExternalName' || self.clusterIP in ['', '0.0.0.0'] || self.clusterIP == oldSelf.clusterIP
      message: may not change once set
      fieldPath: .clusterIP
x-kubernetes-validations:` + nameIsLabel + `
`,
}

var persistentVolumeClaims = kind{
	version: "v1", resource: "persistentvolumeclaims", kind: "PersistentVolumeClaim",
	scope: apiextensionsv1.NamespaceScoped, singular: "persistentvolumeclaim",
	shortNames:   []string{"pvc"},
	subresources: statusOnly,
	columns: []apiextensionsv1.CustomResourceColumnDefinition{
		{Name: "Status", Type: "string", JSONPath: ".status.phase",
			Description: "Phase of the claim"},
		{Name: "Volume", Type: "string", JSONPath: ".spec.volumeName",
			Description: "Name of the volume that was asked for"},
		{Name: "Capacity", Type: "string", JSONPath: ".status.capacity.storage",
			Description: "Capacity of the volume"},
		{Name: "StorageClass", Type: "string", JSONPath: ".spec.storageClassName",
			Description: "Name of the class of storage"},
		ageColumn,
	},
	// Defaults and most rules are those of the definition of the spec, which other kinds
	// have in templates: definitions.go. Rules and words of updates:
	// ValidatePersistentVolumeClaimUpdate (kubernetes,
	// pkg/apis/core/validation/validation.go). volumeName and storageClassName may be set
	// once. That what is requested changes for bound claims only is left to the clusters:
	// a claim may be bound in one and not in another.
	immutable:        []string{"accessModes", "dataSource", "dataSourceRef", "resources.limits", "selector", "volumeMode"},
	immutableMessage: claimIsImmutable,
	overlay: `
required: [spec]
properties:
  spec:
    x-kubernetes-validations:
    - rule: size(self.accessModes) == 1 || !('ReadWriteOncePod' in self.accessModes)
      message: may not use ReadWriteOncePod with other access modes
      fieldPath: .accessModes
      reason: FieldValueForbidden
    - rule: "(!has(oldSelf.volumeName) || oldSelf.volumeName == '' || (` + unchanged("volumeName") + `)) && (!has(oldSelf.storageClassName) || (` + unchanged("storageClassName") + `))"
      message: ` + claimIsImmutable + `
      reason: FieldValueForbidden
`,
}

// claimIsImmutable is what Kubernetes says when more of a claim changes than may.
const claimIsImmutable = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
