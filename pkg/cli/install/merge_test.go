package install

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/yamltest"
)

// object reads an object from YAML.
func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	result := yamltest.Object(t, text)
	result.SetAPIVersion("v1")
	result.SetKind("X")
	return result
}

func TestMerge(t *testing.T) {
	tests := map[string]struct {
		reason              string
		merge               merger
		live, desired, want string
	}{
		"an object as desired stays as it is": {
			reason: "nothing is written then", merge: overlayObject,
			live:    "{metadata: {name: a, uid: u}, rules: [{verbs: [get], resources: [x]}]}",
			desired: "{metadata: {name: a}, rules: [{verbs: [get], resources: [x]}]}",
			want:    "{metadata: {name: a, uid: u}, rules: [{verbs: [get], resources: [x]}]}",
		},
		"what the server filled in is no difference": {
			merge:   overlayObject,
			live:    "{metadata: {name: a}, subjects: [{name: s, apiGroup: rbac}]}",
			desired: "{metadata: {name: a}, subjects: [{name: s}]}",
			want:    "{metadata: {name: a}, subjects: [{name: s, apiGroup: rbac}]}",
		},
		"a list that differs is replaced": {
			reason: "a rule that is not desired any more must go", merge: overlayObject,
			live:    "{metadata: {name: a}, rules: [{verbs: [get]}, {verbs: [list]}]}",
			desired: "{metadata: {name: a}, rules: [{verbs: [get]}]}",
			want:    "{metadata: {name: a}, rules: [{verbs: [get]}]}",
		},
		"fields and labels of others stay": {
			merge:   overlayObject,
			live:    "{metadata: {name: a, labels: {their: label}}, other: 1, mine: 1}",
			desired: "{metadata: {name: a, labels: {our: label}}, mine: 2}",
			want:    "{metadata: {name: a, labels: {their: label, our: label}}, other: 1, mine: 2}",
		},
		"a schema stays as it is": {
			reason: "kcp lets nobody change it", merge: keepLive,
			live: "{metadata: {name: a}, spec: {a: 1}}", desired: "{metadata: {name: a}, spec: {a: 2}}", want: "{metadata: {name: a}, spec: {a: 1}}",
		},
		"a definition as desired stays as it is": {
			reason: "the server says how versions are converted", merge: mergeDefinition,
			live:    "{spec: {conversion: {strategy: None}, versions: [{name: v1, schema: {minimum: 1}}]}, status: {storedVersions: [v1]}}",
			desired: "{spec: {versions: [{name: v1, schema: {minimum: 1}}]}}",
			want:    "{spec: {conversion: {strategy: None}, versions: [{name: v1, schema: {minimum: 1}}]}, status: {storedVersions: [v1]}}",
		},
		"a definition loses what its schema does not say any more": {
			reason: "what is allowed now would still be refused", merge: mergeDefinition,
			live:    "{spec: {conversion: {strategy: None}, versions: [{name: v1, schema: {minimum: 1, maximum: 2}}]}}",
			desired: "{spec: {versions: [{name: v1, schema: {minimum: 1}}]}}",
			want:    "{spec: {conversion: {strategy: None}, versions: [{name: v1, schema: {minimum: 1}}]}}",
		},
		"a policy as desired stays as it is": {
			reason: "the server fills in what is matched", merge: mergePolicy,
			live: `{spec: {failurePolicy: Fail, matchConditions: [{name: a, expression: x}], validations: [{expression: y}],
				matchConstraints: {matchPolicy: Equivalent, namespaceSelector: {}, resourceRules: [{resources: [a], scope: "*"}]}}}`,
			desired: "{spec: {matchConditions: [{name: a, expression: x}], validations: [{expression: y}], matchConstraints: {resourceRules: [{resources: [a]}]}}}",
			want: `{spec: {failurePolicy: Fail, matchConditions: [{name: a, expression: x}], validations: [{expression: y}],
				matchConstraints: {matchPolicy: Equivalent, namespaceSelector: {}, resourceRules: [{resources: [a], scope: "*"}]}}}`,
		},
		"a policy loses what it does not say any more": {
			reason: "a condition that is left over lets pass what it should not", merge: mergePolicy,
			live:    "{spec: {matchConditions: [{name: a, expression: x}], variables: [{name: v, expression: z}], validations: [{expression: y, message: m}]}}",
			desired: "{spec: {validations: [{expression: y}]}}",
			want:    "{spec: {validations: [{expression: y}]}}",
		},
		"an export as desired stays as it is": {
			reason: "kcp fills in an empty identityHash and group", merge: mergeExport,
			live: `{spec: {identity: {secretRef: {name: s}}, resources: [{group: apps, name: d, schema: v1, storage: {crd: {}}}],
				permissionClaims: [{group: "", identityHash: "", resource: events, verbs: [create]}]}}`,
			desired: "{spec: {resources: [{group: apps, name: d, schema: v1, storage: {crd: {}}}], permissionClaims: [{resource: events, verbs: [create]}]}}",
			want: `{spec: {identity: {secretRef: {name: s}}, resources: [{group: apps, name: d, schema: v1, storage: {crd: {}}}],
				permissionClaims: [{group: "", identityHash: "", resource: events, verbs: [create]}]}}`,
		},
		"an export gets new schemas and resources and keeps those of others": {
			merge:   mergeExport,
			live:    "{spec: {resources: [{group: their, name: d, schema: x}, {group: apps, name: d, schema: v1}]}}",
			desired: "{spec: {resources: [{group: apps, name: d, schema: v2}, {group: apps, name: s, schema: v2}]}}",
			want:    "{spec: {resources: [{group: their, name: d, schema: x}, {group: apps, name: d, schema: v2}, {group: apps, name: s, schema: v2}]}}",
		},
		"an export loses claims that are not needed any more": {
			reason: "consumers should not be asked for them", merge: mergeExport,
			live:    "{spec: {permissionClaims: [{resource: secrets, verbs: [get]}, {resource: events, verbs: [create, get]}]}}",
			desired: "{spec: {permissionClaims: [{resource: events, verbs: [create]}]}}",
			want:    "{spec: {permissionClaims: [{resource: events, verbs: [create]}]}}",
		},
		"an export without claims has none": {
			merge: mergeExport,
			live:  "{spec: {permissionClaims: [{resource: secrets, verbs: [get]}]}}", desired: "{spec: {}}", want: "{spec: {}}",
		},
		"a binding accepts exactly what is asked for": {
			merge: mergeBinding,
			live: `{spec: {permissionClaims: [{resource: secrets, verbs: [get], state: Accepted, selector: {matchAll: true}},
				{resource: events, verbs: [create], state: Rejected, selector: {matchAll: true}}]}}`,
			desired: "{spec: {permissionClaims: [{resource: events, verbs: [create, patch], state: Accepted, selector: {matchAll: true}}]}}",
			want:    "{spec: {permissionClaims: [{resource: events, verbs: [create, patch], state: Accepted, selector: {matchAll: true}}]}}",
		},
		"a binding keeps the selector of a claim": {
			reason: "kcp lets nobody change it", merge: mergeBinding,
			live:    "{spec: {permissionClaims: [{resource: events, verbs: [create], state: Accepted, selector: {matchLabels: {a: b}}}]}}",
			desired: "{spec: {permissionClaims: [{resource: events, verbs: [create, patch], state: Accepted, selector: {matchAll: true}}]}}",
			want:    "{spec: {permissionClaims: [{resource: events, verbs: [create, patch], state: Accepted, selector: {matchLabels: {a: b}}}]}}",
		},
		"claims on one resource of two identities are two": {
			merge:   mergeBinding,
			live:    "{spec: {permissionClaims: [{group: g, resource: r, identityHash: one, verbs: [get]}]}}",
			desired: "{spec: {permissionClaims: [{group: g, resource: r, identityHash: one, verbs: [get]}, {group: g, resource: r, identityHash: two, verbs: [get]}]}}",
			want:    "{spec: {permissionClaims: [{group: g, resource: r, identityHash: one, verbs: [get]}, {group: g, resource: r, identityHash: two, verbs: [get]}]}}",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			live, desired := object(t, tc.live), object(t, tc.desired)
			got := tc.merge(live, desired)
			if diff := cmp.Diff(object(t, tc.want), got); diff != "" {
				t.Errorf("%s: (-want +got)\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(got, tc.merge(got, desired)); diff != "" {
				t.Errorf("merging again would write again (-once +twice)\n%s", diff)
			}
			if diff := cmp.Diff(object(t, tc.live), live); diff != "" {
				t.Errorf("the live object was changed in place (-before +after)\n%s", diff)
			}
			if diff := cmp.Diff(object(t, tc.desired), desired); diff != "" {
				t.Errorf("the desired object was changed in place (-before +after)\n%s", diff)
			}
		})
	}
}
