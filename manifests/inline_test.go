package manifests

import (
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestLet(t *testing.T) {
	variables := []admissionregistrationv1.Variable{
		{Name: "a", Expression: "1"},
		{Name: "unused", Expression: "variables.a"},
		{Name: "b", Expression: "variables.a + variables.a"},
		{Name: "texts", Expression: "variables.b"},
	}
	cases := map[string]struct{ expression, want string }{
		"none":          {"request.name == ''", "request.name == ''"},
		"one":           {"variables.a > 0", "[1].map(a, a > 0)[0]"},
		"one of others": {"variables.b > 0", "[1].map(a, [a + a].map(b, b > 0)[0])[0]"},
		"both":          {"variables.b > variables.a", "[1].map(a, [a + a].map(b, b > a)[0])[0]"},
		"a costly one":  {"variables.texts > variables.a", "[1].map(a, variables.texts > a)[0]"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := let(variables, tc.expression); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestInline(t *testing.T) {
	t.Run("the policies for kcp have no variables but the costly ones", func(t *testing.T) {
		for _, object := range allPolicies(t) {
			variables, _, err := unstructured.NestedSlice(object.Object, "spec", "variables")
			if err != nil {
				t.Fatal(err)
			}
			for _, variable := range variables {
				if name, _ := variable.(map[string]any)["name"].(string); object.GetName() != patchesPolicy || !costly.Has(name) {
					t.Errorf("%s has the variable %s", object.GetName(), name)
				}
			}
			if object.GetName() == patchesPolicy && object.GetKind() == "ValidatingAdmissionPolicy" && len(variables) != len(costly) {
				t.Errorf("%s has %d variables, and %d are costly", object.GetName(), len(variables), len(costly))
			}
		}
	})
	t.Run("a policy with a field that is misspelt is refused", func(t *testing.T) {
		policy := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"validation": []any{}}}}
		if err := inline(policy); err == nil {
			t.Error("it would hold nothing back")
		}
	})
}
