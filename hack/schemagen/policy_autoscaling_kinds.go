package main

import apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

var podDisruptionBudgets = kind{
	group: "policy", version: "v1", resource: "poddisruptionbudgets", kind: "PodDisruptionBudget",
	scope: apiextensionsv1.NamespaceScoped, singular: "poddisruptionbudget",
	shortNames:   []string{"pdb"},
	subresources: statusOnly,
	columns: []apiextensionsv1.CustomResourceColumnDefinition{
		{Name: "Min Available", Type: "string", JSONPath: ".spec.minAvailable",
			Description: "Number or share of pods that must be available, in each cluster"},
		{Name: "Max Unavailable", Type: "string", JSONPath: ".spec.maxUnavailable",
			Description: "Number or share of pods that may be unavailable, in each cluster"},
		{Name: "Allowed Disruptions", Type: "integer", JSONPath: ".status.disruptionsAllowed",
			Description: "Number of pods that may be disrupted now"},
		ageColumn,
	},
	// There are no defaults. Rules and words: ValidatePodDisruptionBudgetSpec (kubernetes,
	// pkg/apis/policy/validation/validation.go).
	overlay: `
properties:
  spec:
    properties:
      maxUnavailable: {pattern: "^0*(100|[1-9]?[0-9])%$"}
      minAvailable: {pattern: "^0*(100|[1-9]?[0-9])%$"}
    x-kubernetes-validations:
    - rule: "!(has(self.minAvailable) && has(self.maxUnavailable))"
      message: minAvailable and maxUnavailable cannot be both set
`,
}

var horizontalPodAutoscalers = kind{
	group: "autoscaling", version: "v2", resource: "horizontalpodautoscalers", kind: "HorizontalPodAutoscaler",
	scope: apiextensionsv1.NamespaceScoped, singular: "horizontalpodautoscaler",
	shortNames: []string{"hpa"}, categories: []string{"all"},
	subresources: statusOnly,
	columns: []apiextensionsv1.CustomResourceColumnDefinition{
		{Name: "Reference", Type: "string", JSONPath: ".spec.scaleTargetRef.name",
			Description: "Name of what is scaled"},
		{Name: "MinPods", Type: "integer", JSONPath: ".spec.minReplicas",
			Description: "Lowest number of replicas, in each cluster"},
		{Name: "MaxPods", Type: "integer", JSONPath: ".spec.maxReplicas",
			Description: "Highest number of replicas, in each cluster"},
		{Name: "Replicas", Type: "integer", JSONPath: ".status.currentReplicas",
			Description: "Number of replicas"},
		ageColumn,
	},
	// Defaults: SetDefaults_HorizontalPodAutoscaler (kubernetes,
	// pkg/apis/autoscaling/v2/defaults.go), but neither metrics nor behavior: they are
	// filled in also where they are given but empty. Rules and words:
	// validateHorizontalPodAutoscalerSpec (pkg/apis/autoscaling/validation/validation.go);
	// whether minReplicas may be 0 is a feature of each cluster.
	overlay: `
properties:
  spec:
    properties:
      maxReplicas: {minimum: 1}
      minReplicas: {default: 1, minimum: 0}
      scaleTargetRef:
        properties:
          kind: {minLength: 1}
          name: {minLength: 1}
    x-kubernetes-validations:
    - rule: self.maxReplicas >= self.minReplicas
      message: "must be greater than or equal to ` + "`minReplicas`" + `"
      fieldPath: .maxReplicas
`,
}
