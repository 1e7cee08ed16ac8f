package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

func TestConditionsOfEveryStatus(t *testing.T) {
	complete := "type: {type: string}, status: {type: string}, lastTransitionTime: {type: string}, reason: {type: string}, message: {type: string}"
	tests := map[string]struct {
		reason string
		schema string
		// bare is a kind without a status subresource.
		bare      bool
		unchanged bool
		fails     bool
	}{
		"where Kubernetes has none":       {reason: "CronJob, Ingress", schema: "{properties: {status: {type: object, properties: {active: {type: integer}}}}}"},
		"where the status is empty":       {reason: "it has no map of properties to add to", schema: "{properties: {status: {type: object}}}"},
		"where Kubernetes has no status":  {reason: "NetworkPolicy", schema: "{properties: {spec: {type: object}}}"},
		"not where there are some":        {reason: "they have their own fields", schema: "{properties: {status: {properties: {conditions: {type: array, items: {required: [type, status], properties: {" + complete + "}}}}}}}", unchanged: true},
		"not without a status":            {reason: "nobody writes it", schema: "{properties: {spec: {type: object}}}", bare: true, unchanged: true},
		"and fails if a field is unknown": {reason: "a server would drop it", schema: "{properties: {status: {properties: {conditions: {type: array, items: {properties: {type: {type: string}}}}}}}}", fails: true},
		"and fails if more is required":   {reason: "a server would refuse ours", schema: "{properties: {status: {properties: {conditions: {type: array, items: {required: [lastProbeTime], properties: {" + complete + "}}}}}}}", fails: true},
		"and fails if there is no list":   {reason: "a server would refuse ours", schema: "{properties: {status: {properties: {conditions: {type: object}}}}}", fails: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			k := kind{subresources: statusOnly}
			if tc.bare {
				k = kind{}
			}
			source := schemaFrom(t, tc.schema)
			got, err := withConditions(source, k)
			if (err != nil) != tc.fails {
				t.Fatalf("error %v, want one: %t (%s)", err, tc.fails, tc.reason)
			}
			if diff := cmp.Diff(schemaFrom(t, tc.schema), source); diff != "" {
				t.Errorf("its argument has changed (-was +is)\n%s", diff)
			}
			if tc.fails {
				return
			}
			if same := cmp.Equal(source, got); same != tc.unchanged {
				t.Errorf("unchanged: %t, want %t (%s)", same, tc.unchanged, tc.reason)
			}
			if !tc.unchanged {
				hasConditions(t, got)
			}
		})
	}
}

// hasConditions checks that a schema has a list of conditions, keyed by type, that takes
// the fields of ours and requires no other.
func hasConditions(t *testing.T, schema apiextensionsv1.JSONSchemaProps) {
	t.Helper()
	conditions := schema.Properties["status"].Properties["conditions"]
	if err := checkConditions(conditions); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"type"}, conditions.XListMapKeys); diff != "" {
		t.Errorf("server-side apply could not merge them (-want +got)\n%s", diff)
	}
}
