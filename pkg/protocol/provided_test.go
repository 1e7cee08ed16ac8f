package protocol

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestProvidedByCluster(t *testing.T) {
	cases := map[string]struct {
		reason, value string
		want          []Provided
		wrong         []string
	}{
		"one":             {"a kind and a name", "secret/tls-a", []Provided{{Kind: "secret", Name: "tls-a"}}, nil},
		"several":         {"with spaces, and a comma too many", " secret/tls-a , configmap/b,", []Provided{{Kind: "secret", Name: "tls-a"}, {Kind: "configmap", Name: "b"}}, nil},
		"patterns":        {"for any characters", "secrets/*-tls,certificates.cert-manager.io/*", []Provided{{Kind: "secrets", Name: "*-tls"}, {Kind: "certificates.cert-manager.io", Name: "*"}}, nil},
		"empty":           {"it says nothing", "", nil, nil},
		"a name alone":    {"and the others count", "tls-a,secret/b", []Provided{{Kind: "secret", Name: "b"}}, []string{`"tls-a", expected KIND/NAME`}},
		"another pattern": {"only * is one", "secret/[ab],secret/a?", nil, []string{`"secret/[ab]"`, `"secret/a?"`}},
		"a namespace":     {"it is that of who says it", "shop/secret/a", nil, []string{`"shop/secret/a"`}},
		"no name":         {"nothing is named", "secret/", nil, []string{`"secret/"`}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := object(annotated(v1alpha1.ProvidedByClusterAnnotation, tc.value))
			got, wrong := Read(obj).ProvidedByCluster()
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if len(wrong) != len(tc.wrong) {
				t.Fatalf("%s: %q, want %q", tc.reason, wrong, tc.wrong)
			}
			for i, want := range tc.wrong {
				if !strings.Contains(wrong[i], want) || !strings.Contains(wrong[i], v1alpha1.ProvidedByClusterAnnotation) {
					t.Errorf("%s: %q, want %q", tc.reason, wrong[i], want)
				}
			}
		})
	}
	if got, wrong := Read(object()).ProvidedByCluster(); got != nil || wrong != nil {
		t.Errorf("without the annotation: %v, %v", got, wrong)
	}
}

func TestProvidedHas(t *testing.T) {
	secrets, certificates := schema.GroupResource{Resource: "secrets"}, schema.GroupResource{Group: "cert-manager.io", Resource: "certificates"}
	cases := map[string]struct {
		text     string
		resource schema.GroupResource
		want     bool
	}{
		"a resource":              {"secrets/web-tls", secrets, true},
		"a kind":                  {"Secret/web-tls", secrets, true},
		"a kind in small letters": {"secret/web-tls", secrets, true},
		"a short name":            {"cm/web-tls", schema.GroupResource{Resource: "configmaps"}, true},
		"another short name":      {"cm/web-tls", secrets, false},
		"another kind":            {"configmap/web-tls", secrets, false},
		"with its group":          {"certificates.cert-manager.io/web-tls", certificates, true},
		"without its group":       {"certificate/web-tls", certificates, true},
		"of another group":        {"certificates.example.com/web-tls", certificates, false},
		"another name":            {"secrets/web", secrets, false},
		"a pattern":               {"secrets/*-tls", secrets, true},
		"another pattern":         {"secrets/*-ca", secrets, false},
		"every name":              {"secrets/*", secrets, true},
		"its namespace":           {"shop/secrets/*", secrets, true},
		"namespaces":              {"sh*/secrets/*", secrets, true},
		"another namespace":       {"bank/secrets/*", secrets, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := AnyHas(ParseProvided([]string{"secrets", tc.text, "a/b/c/d"}), tc.resource, "shop", "web-tls"); got != tc.want {
				t.Errorf("%s: %t, want %t", tc.text, got, tc.want)
			}
		})
	}
	if got := ParseProvided([]string{"secrets", "a/b/c/d"}); got != nil {
		t.Errorf("these are none: %v", got)
	}
}
