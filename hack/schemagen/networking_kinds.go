package main

import apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

var ingresses = kind{
	group: "networking.k8s.io", version: "v1", resource: "ingresses", kind: "Ingress",
	scope: apiextensionsv1.NamespaceScoped, singular: "ingress",
	shortNames:   []string{"ing"},
	subresources: statusOnly,
	columns: []apiextensionsv1.CustomResourceColumnDefinition{
		{Name: "Class", Type: "string", JSONPath: ".spec.ingressClassName",
			Description: "Name of the class of ingresses"},
		ageColumn,
	},
	// There are no defaults. Rules and words: ValidateIngressSpec, validateIngressRules,
	// validateHTTPIngressPath (kubernetes, pkg/apis/networking/validation/validation.go).
	// Rules on backends are in definitions.go. Rules in CEL within lists of lists would
	// need bounds on the lists, so these are patterns.
	overlay: `
required: [spec]
properties:
  spec:
    properties:
      rules:
        items:
          properties:
            host: {maxLength: 253, pattern: "^((\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$"}
            http:
              properties:
                paths:
                  minItems: 1
                  items:
                    properties:
                      path: {pattern: "^(/|$)"}
    x-kubernetes-validations:
    - rule: has(self.defaultBackend) || (has(self.rules) && size(self.rules) > 0)
      message: "either ` + "`defaultBackend` or `rules`" + ` must be specified"
`,
}

var networkPolicies = kind{
	group: "networking.k8s.io", version: "v1", resource: "networkpolicies", kind: "NetworkPolicy",
	scope: apiextensionsv1.NamespaceScoped, singular: "networkpolicy",
	shortNames: []string{"netpol"},
	// Kubernetes took the status away; here it says where the policy has arrived.
	subresources: statusOnly,
	columns:      []apiextensionsv1.CustomResourceColumnDefinition{ageColumn},
	// Defaults: SetDefaults_NetworkPolicyPort (kubernetes,
	// pkg/apis/networking/v1/defaults.go), in definitions.go. policyTypes depends on
	// whether there is egress, so the clusters fill it in. Rules:
	// ValidateNetworkPolicySpec (pkg/apis/networking/validation/validation.go), and in
	// definitions.go. A policy without spec is one for all pods.
	overlay: `
properties:
  spec:
    properties:
      policyTypes: {maxItems: 2}
`,
}
