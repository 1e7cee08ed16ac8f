package protocol

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Provided are objects that something on a cluster makes (cert-manager, external-secrets): an object that names them does not
// miss them where they are not upstream.
type Provided struct {
	// Namespace is a pattern of upstream namespaces, empty for the namespace of who names the object, whichever that is.
	Namespace string
	// Kind is a resource or a kind as people write it, with its group or without.
	Kind string
	// Name is a pattern of names. In patterns, "*" stands for any characters.
	Name string
}

// ExpectedProvided is what a text of Provided has to look like.
const ExpectedProvided = "KIND/NAME, for instance secret/web-tls, or secret/*-tls where * stands for any characters"

var providedPattern = regexp.MustCompile(`^[A-Za-z][-A-Za-z0-9.]*/[-a-z0-9.*]+$`)

// ProvidedByCluster returns what the user says of the objects that this one names: that its clusters make them. What cannot be
// read is in wrong, in words for people.
func (o Object) ProvidedByCluster() (provided []Provided, wrong []string) {
	value, said := o.annotations.get(v1alpha1.ProvidedByClusterAnnotation)
	if !said {
		return nil, nil
	}
	for text := range strings.SplitSeq(value, ",") {
		switch text = strings.TrimSpace(text); {
		case text == "":
		case providedPattern.MatchString(text):
			kind, name, _ := strings.Cut(text, "/")
			provided = append(provided, Provided{Kind: kind, Name: name})
		default:
			wrong = append(wrong, fmt.Sprintf("annotation %s: %q, expected %s", v1alpha1.ProvidedByClusterAnnotation, text, ExpectedProvided))
		}
	}
	return provided, wrong
}

// ParseProvided reads what the registration of a cluster says that it provides: texts of the form [NAMESPACE/]KIND/NAME. It leaves
// out those that are not; the schema of ClusterRegistrations lets no other in.
func ParseProvided(texts []string) []Provided {
	var provided []Provided
	for _, text := range texts {
		switch parts := strings.Split(text, "/"); len(parts) {
		case 2:
			provided = append(provided, Provided{Kind: parts[0], Name: parts[1]})
		case 3:
			provided = append(provided, Provided{Namespace: parts[0], Kind: parts[1], Name: parts[2]})
		}
	}
	return provided
}

// AnyHas reports whether an object of the resource is one of any of them.
func AnyHas(provided []Provided, resource schema.GroupResource, namespace, name string) bool {
	return slices.ContainsFunc(provided, func(p Provided) bool { return p.Has(resource, namespace, name) })
}

// Has reports whether an object of the resource is one of them.
func (p Provided) Has(resource schema.GroupResource, namespace, name string) bool {
	return p.Names(resource) && (p.Namespace == "" || matches(p.Namespace, namespace)) && matches(p.Name, name)
}

// Names reports whether Kind is a name of the resource.
func (p Provided) Names(resource schema.GroupResource) bool {
	kind, group, hasGroup := strings.Cut(strings.ToLower(p.Kind), ".")
	if hasGroup && group != resource.Group {
		return false
	}
	plural, _ := meta.UnsafeGuessKindToResource(schema.GroupVersionKind{Kind: kind})
	return slices.Contains([]string{kind, plural.Resource, shortNames[kind]}, resource.Resource)
}

// shortNames are those of kubectl for what workloads name.
var shortNames = map[string]string{"cm": "configmaps", "pvc": "persistentvolumeclaims", "sa": "serviceaccounts", "svc": "services"}

func matches(pattern, name string) bool {
	matched, err := path.Match(pattern, name)
	return err == nil && matched
}
