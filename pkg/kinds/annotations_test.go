package kinds

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// annotatedObject is an object of a kind, in the namespace shop, with an annotation.
func annotatedObject(kind, key, value string) string {
	apiVersion := "v1"
	if kind == "Ingress" {
		apiVersion = "networking.k8s.io/v1"
	}
	return fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {name: web, namespace: shop, annotations: {%s: %q}}}", apiVersion, kind, key, value)
}

func TestEveryAnnotationIsFollowedAndDocumented(t *testing.T) {
	document, err := os.ReadFile("../../docs/kinds.md")
	if err != nil {
		t.Fatal(err)
	}
	for kind, annotations := range map[string][]annotated{"Ingress": ingressAnnotations, "Service": serviceAnnotations} {
		for _, one := range annotations {
			value := "named"
			if one.within != "" {
				value = `{"` + one.within + `":"named"}`
			}
			want := []Need{{Resource: schema.GroupResource{Resource: one.resource}, Name: "named"}}
			if diff := cmp.Diff(want, (Kinds{}).Needs(parse(t, annotatedObject(kind, one.key, value)))); diff != "" {
				t.Errorf("%s of a %s (-want +got):\n%s", one.key, kind, diff)
			}
			domain, name, _ := strings.Cut(one.key, "/")
			if !strings.Contains(string(document), "`"+domain+"/`") || !strings.Contains(string(document), "`"+name+"`") {
				t.Errorf("docs/kinds.md lacks %s", one.key)
			}
		}
	}
}

func TestAnnotationsNameObjectsOfTheirNamespace(t *testing.T) {
	const secret, configMap, oidc = "nginx.ingress.kubernetes.io/auth-secret", "nginx.ingress.kubernetes.io/custom-headers", "alb.ingress.kubernetes.io/auth-idp-oidc"
	cases := map[string]struct {
		reason, obj string
		want        []Need
	}{
		"a name":                {"it is one of the namespace", annotatedObject("Ingress", secret, "basic"), []Need{needed("secret", "basic")}},
		"a namespace as well":   {"it is the same", annotatedObject("Ingress", secret, "shop/basic"), []Need{needed("secret", "basic")}},
		"another namespace":     {"nothing follows into another namespace", annotatedObject("Ingress", secret, "other/basic"), nil},
		"a ConfigMap":           {"of any kind that is in the table", annotatedObject("Ingress", configMap, "shop/headers"), []Need{needed("configmap", "headers")}},
		"with a scheme":         {"haproxy-ingress takes that for a Secret", annotatedObject("Ingress", "haproxy-ingress.github.io/auth-secret", "secret://shop/basic"), []Need{needed("secret", "basic")}},
		"a file":                {"it is in the controller's own image", annotatedObject("Ingress", "haproxy-ingress.github.io/auth-secret", "file:///etc/auth"), nil},
		"several":               {"each of them", annotatedObject("Service", "konghq.com/ca-certificates-secrets", "a, b,, other/c"), []Need{needed("secret", "a"), needed("secret", "b")}},
		"nothing":               {"an empty text names nothing", annotatedObject("Ingress", secret, ""), nil},
		"only spaces":           {"nor do spaces", annotatedObject("Ingress", secret, " "), nil},
		"within JSON":           {"the name is in it", annotatedObject("Ingress", oidc, `{"issuer":"https://example.com","secretName":"oidc"}`), []Need{needed("secret", "oidc")}},
		"no JSON":               {"it cannot be read", annotatedObject("Ingress", oidc, "oidc"), nil},
		"JSON without a name":   {"it names nothing", annotatedObject("Ingress", oidc, `{"secretName":7}`), nil},
		"of another kind":       {"nobody reads it there", annotatedObject("ConfigMap", secret, "basic"), nil},
		"of nobody":             {"the table does not have it", annotatedObject("Ingress", "example.com/auth-secret", "basic"), nil},
		"the cluster's own one": {"each cluster has one", annotatedObject("Ingress", configMap, "kube-root-ca.crt"), nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := parse(t, tc.obj)
			if diff := cmp.Diff(tc.want, (Kinds{}).Needs(obj), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			Slim(obj)
			if diff := cmp.Diff(tc.want, (Kinds{}).Needs(obj), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("from the cache (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNamesInEndsWhenToldTo(t *testing.T) {
	for name := range namesIn("a,b", "shop") {
		if name != "a" {
			t.Errorf("went on to %s", name)
		}
		break
	}
}

func TestParseExtends(t *testing.T) {
	own, err := Parse("f", []byte(`[{group: networking.k8s.io, kind: Ingress, extends: true, references: [{path: 'metadata.annotations.example\.com/auth', resource: secrets, within: auth.secret}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	gk := schema.GroupKind{Group: "networking.k8s.io", Kind: "Ingress"}
	builtIn, got := (Kinds{}).Of(gk), own.Of(gk)
	if !got.Addresses || got.Follows == nil || len(got.References) != len(builtIn.References)+1 {
		t.Errorf("what the entry does not say is lost: %+v", got)
	}
	want := []Need{needed("secret", "b")}
	if diff := cmp.Diff(want, own.Needs(parse(t, annotatedObject("Ingress", "example.com/auth", `{"auth":{"secret":"b"}}`)))); diff != "" {
		t.Errorf("the reference that was added (-want +got):\n%s", diff)
	}
	if slices.ContainsFunc(builtIn.References, func(r Reference) bool { return len(r.Within) > 1 }) {
		t.Error("the built-in entry has changed")
	}
	for content, want := range map[string]string{
		`[{kind: Widget, extends: true}]`:                                                                        "extends: there is no built-in entry",
		`[{kind: Service, extends: true, references: [{path: spec.a}]}]`:                                         "references[6]: expected path and resource",
		`[{kind: Widget, references: [{path: metadata.annotations.a, resource: secrets, within: 'items[].a'}]}]`: "references[0].within: expected the path of one field",
	} {
		if _, err := Parse("f", []byte(content)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("of %s: %v, want %q", content, err, want)
		}
	}
}
