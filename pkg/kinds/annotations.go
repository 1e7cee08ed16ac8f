package kinds

import (
	"encoding/json"
	"iter"
	"strings"
)

// An annotated is an annotation that names a Secret or a ConfigMap, which the controller that heeds it reads on its cluster.
type annotated struct {
	key, resource string
	// within is where the name is in a value that is JSON.
	within string
}

// The resources that annotations name.
const (
	secrets        = "secrets"
	configMapsName = "configmaps"
)

// ingressAnnotations are those of Ingresses, by the controller that reads them. docs/kinds.md lists them.
var ingressAnnotations = []annotated{
	// https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/; secure-verify-ca-secret is of
	// versions before 0.22.
	{key: "nginx.ingress.kubernetes.io/auth-secret", resource: secrets},
	{key: "nginx.ingress.kubernetes.io/auth-tls-secret", resource: secrets},
	{key: "nginx.ingress.kubernetes.io/proxy-ssl-secret", resource: secrets},
	{key: "nginx.ingress.kubernetes.io/secure-verify-ca-secret", resource: secrets},
	{key: "nginx.ingress.kubernetes.io/auth-proxy-set-headers", resource: configMapsName},
	{key: "nginx.ingress.kubernetes.io/custom-headers", resource: configMapsName},
	{key: "nginx.ingress.kubernetes.io/fastcgi-params-configmap", resource: configMapsName},
	// https://docs.nginx.com/nginx-ingress-controller/configuration/ingress-resources/advanced-configuration-with-annotations/
	{key: "nginx.org/basic-auth-secret", resource: secrets},
	{key: "nginx.com/jwt-key", resource: secrets},
	// https://haproxy-ingress.github.io/docs/configuration/keys/; ingress.kubernetes.io is its older domain, which others of that
	// time (Traefik 1, Voyager) read as well.
	{key: "haproxy-ingress.github.io/auth-secret", resource: secrets},
	{key: "haproxy-ingress.github.io/auth-tls-secret", resource: secrets},
	{key: "haproxy-ingress.github.io/secure-crt-secret", resource: secrets},
	{key: "haproxy-ingress.github.io/secure-verify-ca-secret", resource: secrets},
	{key: "ingress.kubernetes.io/auth-secret", resource: secrets},
	{key: "ingress.kubernetes.io/auth-tls-secret", resource: secrets},
	{key: "ingress.kubernetes.io/secure-crt-secret", resource: secrets},
	{key: "ingress.kubernetes.io/secure-verify-ca-secret", resource: secrets},
	// https://www.haproxy.com/documentation/kubernetes-ingress/community/configuration-reference/ingress/
	{key: "haproxy.org/auth-secret", resource: secrets},
	{key: "haproxy.org/server-ca", resource: secrets},
	{key: "haproxy.org/server-crt", resource: secrets},
	// https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/ingress/annotations/
	{key: "alb.ingress.kubernetes.io/auth-idp-oidc", resource: secrets, within: "secretName"},
	// https://docs.openshift.com/container-platform/latest/networking/routes/route-configuration.html
	{key: "route.openshift.io/destination-ca-certificate-secret", resource: secrets},
}

// serviceAnnotations are those of Services. service.beta.openshift.io/serving-cert-secret-name is none: the cluster makes that
// Secret.
var serviceAnnotations = []annotated{
	{key: "haproxy-ingress.github.io/secure-crt-secret", resource: secrets},
	{key: "haproxy-ingress.github.io/secure-verify-ca-secret", resource: secrets},
	{key: "haproxy.org/server-ca", resource: secrets},
	{key: "haproxy.org/server-crt", resource: secrets},
	// https://docs.konghq.com/kubernetes-ingress-controller/latest/reference/annotations/
	{key: "konghq.com/ca-certificates-secrets", resource: secrets},
	{key: "konghq.com/client-cert", resource: secrets},
}

// named returns the references that annotations are.
func named(annotations []annotated) []Reference {
	references := make([]Reference, 0, len(annotations))
	for _, one := range annotations {
		reference := Reference{Path: annotation(one.key), Resource: one.resource}
		if one.within != "" {
			reference.Within = path(one.within)
		}
		references = append(references, reference)
	}
	return references
}

// secretScheme begins names of Secrets where files may be named as well (haproxy-ingress, auth-secret).
const secretScheme = "secret://"

// namesIn returns the names of the objects of a namespace that a text names: it is a name, or several with commas between
// them, each of which may have its namespace and a slash before it. What is in another namespace, and a file, is left out. No
// name of an object has any of these characters.
func namesIn(text, namespace string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !strings.ContainsAny(text, ",/: ") {
			yield(text) // as almost always
			return
		}
		for name := range strings.SplitSeq(text, ",") {
			name = strings.TrimPrefix(strings.TrimSpace(name), secretScheme)
			before, after, isNamespaced := strings.Cut(name, "/")
			switch {
			case isNamespaced && before == namespace:
				name = after
			case isNamespaced:
				continue
			}
			if name != "" && !strings.ContainsAny(name, "/:") && !yield(name) {
				return
			}
		}
	}
}

// nameWithin returns the name in a text: at the path, where there is one and the text is JSON, or else the text.
func nameWithin(text string, within Path) string {
	if len(within) == 0 {
		return text
	}
	var object map[string]any
	if json.Unmarshal([]byte(text), &object) != nil {
		return ""
	}
	name, _ := within.In(object).(string)
	return name
}
