package policytest

import (
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/version"
)

func TestCompile(t *testing.T) {
	cases := map[string]struct{ variable, expression, message, want string }{
		"a policy":                {"name", "variables.name != ''", "'not ' + variables.name", ""},
		"a reserved name":         {"namespace", "true", "'no'", "variable namespace: the name is reserved"},
		"an unknown variable":     {"name", "variables.other", "'no'", "undefined field 'other'"},
		"no bool":                 {"name", "variables.name", "'no'", "must evaluate to bool"},
		"a message that is none":  {"name", "true", "1", "must evaluate to string"},
		"a function of later CEL": {"name", "[1].all(i, c, true)", "'no'", "undeclared reference"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			policy := &admissionregistrationv1.ValidatingAdmissionPolicy{}
			policy.Spec.Variables = []admissionregistrationv1.Variable{{Name: tc.variable, Expression: "request.name"}}
			policy.Spec.Validations = []admissionregistrationv1.Validation{{Expression: tc.expression, MessageExpression: tc.message}}
			_, err := compile(policy, version.MajorMinor(1, 30))
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
