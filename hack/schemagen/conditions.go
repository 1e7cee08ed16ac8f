package main

import (
	"errors"
	"fmt"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// conditionFields are the fields of a condition that tmc writes into every object.
var conditionFields = []string{"type", "status", "lastTransitionTime", "reason", "message"}

// conditionList is the schema of status.conditions where Kubernetes has none: the
// fields of metav1.Condition, and required what its definition requires.
const conditionList = `
description: What is known about the object.
type: array
x-kubernetes-list-type: map
x-kubernetes-list-map-keys: [type]
items:
  description: One aspect of the state of the object.
  type: object
  required: [type, status, lastTransitionTime, reason, message]
  properties:
    type: {description: Type of the condition., type: string, minLength: 1}
    status: {description: "One of True, False, Unknown.", type: string, enum: ["True", "False", Unknown]}
    observedGeneration: {description: The generation of the object that the condition is about., type: integer, format: int64, minimum: 0}
    lastTransitionTime: {description: When the status of the condition last changed., type: string, format: date-time}
    reason: {description: "Why, as one word for programs.", type: string}
    message: {description: "Why, in words for people.", type: string}
`

// withConditions sees to it that tmc can write its condition to every object with
// a status: the status of a kind that has no conditions in Kubernetes (CronJob, Ingress)
// gets a list of them, and a kind without a status (NetworkPolicy) gets one. It fails
// when a kind has conditions that would refuse or lose the one of tmc.
func withConditions(schema apiextensionsv1.JSONSchemaProps, k kind) (apiextensionsv1.JSONSchemaProps, error) {
	if k.subresources.Status == nil {
		return schema, nil
	}
	schema = *schema.DeepCopy()
	status, ok := schema.Properties["status"]
	if !ok {
		status = apiextensionsv1.JSONSchemaProps{Type: objectType, Description: "What has become of the object."}
	}
	if conditions, ok := status.Properties["conditions"]; ok {
		return schema, checkConditions(conditions)
	}
	var conditions apiextensionsv1.JSONSchemaProps
	if err := yaml.UnmarshalStrict([]byte(conditionList), &conditions); err != nil {
		return schema, err
	}
	if status.Properties == nil {
		status.Properties = map[string]apiextensionsv1.JSONSchemaProps{}
	}
	status.Properties["conditions"] = conditions
	schema.Properties["status"] = status
	return schema, nil
}

// checkConditions fails when the schema of a list of conditions does not know a field of
// the condition of tmc, or requires one that it does not have.
func checkConditions(conditions apiextensionsv1.JSONSchemaProps) error {
	if conditions.Items == nil || conditions.Items.Schema == nil {
		return errors.New("status.conditions is no list")
	}
	items := conditions.Items.Schema
	for _, name := range conditionFields {
		if _, ok := items.Properties[name]; !ok {
			return fmt.Errorf("status.conditions has no %s", name)
		}
	}
	for _, name := range items.Required {
		if !slices.Contains(conditionFields, name) {
			return fmt.Errorf("status.conditions requires %s", name)
		}
	}
	return nil
}
