package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestImmutability(t *testing.T) {
	base := "{type: object, required: [spec], properties: {spec: {type: object, x-kubernetes-validations: [{rule: other}], properties: {a: {type: string}, b: {type: object, properties: {c: {type: string}}}}}}}"
	const keepsA = "has(self.a) == has(oldSelf.a) && (!has(self.a) || self.a == oldSelf.a)"
	const hasC, hadC = "(has(self.b) && has(self.b.c))", "(has(oldSelf.b) && has(oldSelf.b.c))"
	const keepsC = hasC + " == " + hadC + " && (!" + hasC + " || self.b.c == oldSelf.b.c)"
	tests := map[string]struct {
		reason string
		kind   kind
		base   string
		want   string
		fails  bool
	}{
		"of nothing": {base: base, want: "[{rule: other}]"},
		"of each property by itself": {
			base: base, kind: kind{immutable: []string{"a", "b.c"}},
			want: "[{rule: other}, {rule: '" + keepsA + "', message: field is immutable, fieldPath: .a}, {rule: '" + keepsC + "', message: field is immutable, fieldPath: .b.c}]",
		},
		"of all in one, with Kubernetes' words": {
			base: base, kind: kind{immutable: []string{"a", "b.c"}, immutableMessage: "no"},
			want: "[{rule: other}, {rule: '" + keepsA + " && " + keepsC + "', message: 'no', reason: FieldValueForbidden}]",
		},
		"of a property that is gone": {
			reason: "the rule would be lost", base: base, kind: kind{immutable: []string{"b.d"}}, fails: true,
		},
		"of what may hold a null": {
			reason: "old servers take a null for a change", kind: kind{immutable: []string{"a"}}, fails: true,
			base: "{type: object, required: [spec], properties: {spec: {type: object, properties: {a: {type: array, items: {type: object, properties: {b: {type: object, additionalProperties: {type: string, nullable: true}}}}}}}}}",
		},
		"within a spec that may be left out": {
			reason: "a rule is not evaluated when what it is about is removed", kind: kind{immutable: []string{"a"}}, fails: true,
			base: "{type: object, properties: {spec: {type: object, properties: {a: {type: string}}}}}",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			source := schemaFrom(t, tc.base)
			got, err := withImmutability(source, tc.kind)
			if (err != nil) != tc.fails {
				t.Fatalf("error %v, want one: %t (%s)", err, tc.fails, tc.reason)
			}
			if diff := cmp.Diff(schemaFrom(t, tc.base), source); diff != "" {
				t.Errorf("its argument has changed (-was +is)\n%s", diff)
			}
			if tc.fails {
				return
			}
			want := schemaFrom(t, "{x-kubernetes-validations: "+tc.want+"}").XValidations
			if diff := cmp.Diff(want, got.Properties["spec"].XValidations); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
