package transform

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/kcp-tmc/tmc/pkg/apis/quantity"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// longestPrefix leaves room for a part of the namespace's own name before the hash of a name that has to be cut.
const longestPrefix = 32

// ParseRule reads a rule from YAML or JSON. Unknown and repeated fields are errors, and so is whatever ValidateRule
// finds. An empty input is the rule that does nothing.
func ParseRule(data []byte) (v1alpha1.TransformRule, error) {
	// The quantities are read one by one, so that an error names the one that is none.
	var input struct {
		v1alpha1.TransformRule

		ResourceLimits map[corev1.ResourceName]any `json:"resourceLimits,omitempty"`
	}
	if err := yaml.UnmarshalStrict(data, &input); err != nil {
		return v1alpha1.TransformRule{}, fmt.Errorf("not a transform rule: %w", err)
	}
	rule := input.TransformRule
	limits, problems := parseQuantities(input.ResourceLimits)
	rule.ResourceLimits = limits
	if err := errors.Join(problems.ToAggregate(), ValidateRule(rule)); err != nil {
		return v1alpha1.TransformRule{}, err
	}
	return rule, nil
}

func parseQuantities(values map[corev1.ResourceName]any) (corev1.ResourceList, field.ErrorList) {
	if len(values) == 0 {
		return nil, nil
	}
	var problems field.ErrorList
	quantities := corev1.ResourceList{}
	for name, value := range values {
		parsed, ok := quantity.Parse(value)
		if !ok {
			path := field.NewPath("resourceLimits").Key(string(name))
			problems = append(problems, field.Invalid(path, shortened(value), "must be "+quantity.Expected))
			continue
		}
		quantities[name] = parsed
	}
	return quantities, problems
}

// shortened returns an invalid value as an error may quote it.
func shortened(value any) any {
	if text, isText := value.(string); isText {
		return cut64(text)
	}
	return value
}

// ValidateRule returns an error that names every invalid field of the rule and what was expected, nil when there is none.
func ValidateRule(rule v1alpha1.TransformRule) error {
	var problems field.ErrorList
	problems = append(problems, validatePrefix(rule.NamespacePrefix, field.NewPath("namespacePrefix"))...)
	modes := []v1alpha1.NamespaceMode{v1alpha1.NamespaceModeExclusive, v1alpha1.NamespaceModeIsolated, v1alpha1.NamespaceModeShared}
	if rule.NamespaceMode != "" && !slices.Contains(modes, rule.NamespaceMode) {
		problems = append(problems, field.NotSupported(field.NewPath("namespaceMode"), rule.NamespaceMode, modes))
	}
	problems = append(problems, validatePatterns(rule.NamespaceLabels, field.NewPath("namespaceLabels"))...)
	problems = append(problems, validatePatterns(rule.NamespaceAnnotations, field.NewPath("namespaceAnnotations"))...)
	if rule.ImageRegistry != "" {
		if err := checkRegistry(rule.ImageRegistry); err != nil {
			problems = append(problems, field.Invalid(field.NewPath("imageRegistry"), rule.ImageRegistry, err.Error()))
		}
	}
	problems = append(problems, validateCaps(rule.ResourceLimits, field.NewPath("resourceLimits"))...)
	problems = append(problems, validateDrops(rule.DropLabels, field.NewPath("dropLabels"))...)
	problems = append(problems, validateDrops(rule.DropAnnotations, field.NewPath("dropAnnotations"))...)
	labels, annotations := field.NewPath(labelsField), field.NewPath(annotationsField)
	problems = append(problems, metavalidation.ValidateLabels(rule.Labels, labels)...)
	problems = append(problems, validateKeys(rule.Labels, labels)...)
	problems = append(problems, apivalidation.ValidateAnnotations(rule.Annotations, annotations)...)
	problems = append(problems, validateKeys(rule.Annotations, annotations)...)
	slices.SortStableFunc(problems, func(a, b *field.Error) int { return strings.Compare(a.Field, b.Field) })
	return problems.ToAggregate()
}

// validatePrefix checks that a prefix begins names of namespaces, and none of Kubernetes' own: with "k", a namespace
// ube-system would be kube-system.
func validatePrefix(prefix string, path *field.Path) field.ErrorList {
	if prefix == "" {
		return nil
	}
	var problems field.ErrorList
	if len(prefix) > longestPrefix {
		problems = append(problems, field.TooLong(path, prefix, longestPrefix))
	}
	if messages := validation.IsDNS1123Label(prefix + "x"); len(prefix) <= longestPrefix && len(messages) > 0 {
		problems = append(problems, field.Invalid(path, prefix, "must begin a name: "+strings.Join(messages, "; ")))
	}
	if strings.HasPrefix(prefix, kubernetesNamespaces) || strings.HasPrefix(kubernetesNamespaces, prefix) {
		problems = append(problems, field.Invalid(path, prefix, "must not begin names of the form kube-…, which are the cluster's own"))
	}
	return problems
}

// keyPattern is what matchesKey takes as a pattern; the schema has it as well.
var keyPattern = regexp.MustCompile(`^([*]|[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[*]|([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)$`)

func validatePatterns(patterns []string, path *field.Path) field.ErrorList {
	var problems field.ErrorList
	for i, pattern := range patterns {
		if !keyPattern.MatchString(pattern) {
			problems = append(problems, field.Invalid(path.Index(i), shortened(pattern),
				"must be a key, for instance example.com/team, a domain with all its keys, for instance example.com/*, or *"))
		}
	}
	return problems
}

// dropPattern is what isDropped takes; the schema has it as well.
var dropPattern = regexp.MustCompile(`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`)

// validateDrops checks the keys, or beginnings of keys, that stay upstream.
func validateDrops(drops []string, path *field.Path) field.ErrorList {
	var problems field.ErrorList
	for i, drop := range drops {
		switch {
		case drop == "" || !dropPattern.MatchString(drop):
			problems = append(problems, field.Invalid(path.Index(i), shortened(drop),
				"must be a key, for instance example.com/team, or a domain with a slash for all its keys, for instance example.com/"))
		case isWritten(drop):
			problems = append(problems, field.Forbidden(path.Index(i), cut64(drop)+" is written by tmc, kcp or the cluster itself"))
		}
	}
	return problems
}

// errNoRegistry says what the registry of a rule looks like.
var errNoRegistry = errors.New("must be HOST[:PORT][/PATH] without a scheme, a tag or a slash at the end, for instance " +
	"registry.example.com:5000/mirror; a host has a dot or a port, or is localhost")

// checkRegistry returns an error unless image references can begin with registry.
func checkRegistry(registry string) error {
	host, _, _ := strings.Cut(registry, "/")
	if !strings.ContainsAny(host, ".:") && host != "localhost" {
		return errNoRegistry
	}
	// Any image will do. It has two components, since the grammar takes single ones for images of Docker Hub.
	if named, err := reference.ParseNormalizedNamed(registry + "/some/image"); err != nil || !reference.IsNameOnly(named) {
		return errNoRegistry
	}
	return nil
}

func validateCaps(caps corev1.ResourceList, path *field.Path) field.ErrorList {
	var problems field.ErrorList
	for name, ceiling := range caps {
		key := path.Key(string(name))
		ceiling = quantity.Clamp(name, ceiling)
		if message := checkResource(name); message != "" {
			problems = append(problems, field.Invalid(key, string(name), message))
		}
		if ceiling.Sign() <= 0 {
			problems = append(problems, field.Invalid(key, ceiling.String(), "must be more than 0"))
		}
		if isWhole := ceiling.Cmp(*resource.NewQuantity(ceiling.Value(), resource.DecimalSI)) == 0; !isWhole && !isForAnyContainer(name) {
			problems = append(problems, field.Invalid(key, ceiling.String(), "must be a whole number"))
		}
	}
	return problems
}

// checkResource returns what is wrong with the name of a resource of containers: a name without a domain is one of
// Kubernetes' own (validateContainerResourceName in k8s.io/kubernetes).
func checkResource(name corev1.ResourceName) string {
	if messages := validation.IsQualifiedName(string(name)); len(messages) > 0 {
		return "must be the name of a resource: " + strings.Join(messages, "; ")
	}
	if strings.Contains(string(name), "/") || isForAnyContainer(name) || strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) {
		return ""
	}
	return "must be cpu, memory, ephemeral-storage, hugepages-SIZE or a name with a domain, for instance example.com/gpu"
}

// validateKeys refuses the keys that tmc or the cluster writes itself.
func validateKeys(entries map[string]string, path *field.Path) field.ErrorList {
	var problems field.ErrorList
	for key := range entries {
		if isWritten(key) {
			problems = append(problems, field.Forbidden(path.Key(key), "is written by tmc, kcp or the cluster itself"))
		}
	}
	return problems
}

// isWritten reports whether a key, or all that begin so, are written by tmc, kcp or the cluster.
func isWritten(key string) bool {
	return len(protocol.UsersOwn(map[string]string{key: ""})) == 0 || key == corev1.LabelMetadataName
}
