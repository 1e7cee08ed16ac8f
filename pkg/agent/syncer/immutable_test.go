package syncer

import (
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func TestOnlyWhatCannotBeChangedIsImmutable(t *testing.T) {
	invalid := func(problems ...*field.Error) error {
		return fmt.Errorf("applying: %w", apierrors.NewInvalid(schema.GroupKind{Group: "apps", Kind: "Deployment"}, "web", problems))
	}
	path := field.NewPath("spec", "selector")
	immutableField := field.Invalid(path, "x", "field is immutable")
	cases := map[string]struct {
		reason string
		err    error
		want   bool
	}{
		"AnImmutableField":    {"made anew, it would be taken", invalid(immutableField), true},
		"AStatefulSet":        {"its words are others", invalid(field.Forbidden(field.NewPath("spec"), "updates to statefulset spec for fields other than 'replicas' are forbidden")), true},
		"AnAddress":           {"likewise", invalid(field.Invalid(path, "x", "may not change once set")), true},
		"AnotherMistakeToo":   {"made anew, it would be refused", invalid(immutableField, field.Required(path, "")), false},
		"AnotherMistake":      {"it is wrong in any case", invalid(field.Invalid(path, "x", "must be a name")), false},
		"ADuplicateThatIs":    {"no change that is refused", invalid(field.Duplicate(path, "immutable")), false},
		"APolicy":             {"it denies whatever it says", apierrors.NewForbidden(schema.GroupResource{}, "web", errors.New("immutable")), false},
		"AConnectionThatFail": {"nothing was answered", errors.New("immutable"), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := isImmutable(tc.err); got != tc.want {
				t.Errorf("got %t, want %t: %s", got, tc.want, tc.reason)
			}
		})
	}
}
