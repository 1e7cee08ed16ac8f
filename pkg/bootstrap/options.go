package bootstrap

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// Names in the cluster. There is one syncer in a namespace, so none of them holds the
// name of the cluster: a cluster that joins anew under another name gets no second set.
const (
	// Name is the name of the syncer's ServiceAccount, roles, ConfigMap, Deployment,
	// PodDisruptionBudget and NetworkPolicy, and of the Lease by which its replicas
	// elect their leader.
	Name = "tmc-syncer"
	// SecretName is the name of the Secret with the kubeconfig for kcp. The syncer
	// keeps a renewed token in it.
	SecretName = "tmc-syncer-kcp" //nolint:gosec // a name, no credential
	// KubeconfigKey is the one key of the Secret.
	KubeconfigKey = "kubeconfig"
	// RuleKey is the one key of the ConfigMap, which holds a TransformRule in YAML.
	RuleKey = "rule.yaml"
	// MetricsServiceName is the name of the Service before /metrics, where somebody may
	// scrape it.
	MetricsServiceName = "tmc-syncer-metrics"
)

// Defaults for those who fill in Options: in Options themselves, nothing is left out.
const (
	// DefaultNamespace is where a syncer runs.
	DefaultNamespace = "tmc-system"
	// DefaultReplicas is one that works, and one that takes over.
	DefaultReplicas int32 = 2
)

// mostReplicas bounds what is sensible: one works, all others wait.
const mostReplicas = 10

// Options say what a syncer is to be.
type Options struct {
	// Cluster is the name under which the cluster is known in kcp.
	Cluster string
	// Namespace is where the syncer runs. It is made, and nothing else belongs there.
	Namespace string
	// Image holds the three programs of tmc, ImagePullPolicy is the kubelet's; empty for
	// what it does by default.
	Image           string
	ImagePullPolicy corev1.PullPolicy
	// Replicas is how many run, 1 to 10: one works, the others wait to take over.
	Replicas int32
	// ProviderWorkspace is the path of the workspace with the APIExport, Export is the
	// name of the latter.
	ProviderWorkspace string
	Export            string
	// Kinds is what is synced, besides namespaces. The order does not matter.
	Kinds []schema.GroupResource
	// Rule says how copies are adapted to the cluster.
	Rule v1alpha1.TransformRule
	// MetricsFrom names the namespaces of the cluster whose pods may read the syncer's
	// metrics; without any, nobody does. They are names and not labels, which tenants may
	// choose for the namespaces that come from kcp.
	MetricsFrom []string
	// AdmissionPolicy has the cluster itself hold the syncer's account to what is tmc's, by a
	// ValidatingAdmissionPolicy, which Kubernetes has since 1.30.
	AdmissionPolicy bool
	// PolicyNamespaces are the namespaces, of those that tmc has not made, that the policy lets
	// copies into; "*" in them stands for any characters. A policy lists none by default, and
	// never those that the cluster lives by.
	PolicyNamespaces []string
	// FormerNames are those that the cluster had before: what was made under them, the syncer
	// may clean up.
	FormerNames []string
	// Kubeconfig is for kcp, with the credentials inline; nil leaves the Secret out, for
	// somebody else to make.
	Kubeconfig []byte
}

// Validate returns an error that names every option that cannot be, and what was
// expected; nil when there is none. It never repeats anything of the kubeconfig.
func (o Options) Validate() error {
	var problems field.ErrorList
	problems = append(problems, o.validateNames()...)
	problems = append(problems, o.validatePods()...)
	problems = append(problems, validateKinds(o.Kinds, field.NewPath("kinds"))...)
	problems = append(problems, validateNames(o.MetricsFrom, field.NewPath("metricsFrom"))...)
	problems = append(problems, o.validatePolicy()...)
	if o.Kubeconfig != nil {
		if _, err := kcpPort(o.Kubeconfig); err != nil {
			problems = append(problems, field.Invalid(field.NewPath("kubeconfig"), field.OmitValueType{}, err.Error()))
		}
	}
	err := transform.ValidateRule(o.Rule)
	if err != nil {
		err = fmt.Errorf("rule: %w", err)
	}
	return errors.Join(problems.ToAggregate(), err)
}

func (o Options) validateNames() field.ErrorList {
	var problems field.ErrorList
	if err := v1alpha1.ValidateClusterName(o.Cluster); err != nil {
		problems = append(problems, field.Invalid(field.NewPath("cluster"), o.Cluster, err.Error()))
	}
	problems = append(problems, validateNamespace(o.Namespace, field.NewPath("namespace"))...)
	path := logicalcluster.NewPath(o.ProviderWorkspace)
	if !path.IsValid() || path == logicalcluster.Wildcard {
		problems = append(problems, field.Invalid(field.NewPath("providerWorkspace"), o.ProviderWorkspace,
			"expected the path of a workspace, for instance "+v1alpha1.DefaultProviderWorkspace))
	}
	if messages := validation.IsDNS1123Subdomain(o.Export); len(messages) > 0 {
		problems = append(problems, field.Invalid(field.NewPath("export"), o.Export,
			"expected the name of an APIExport, for instance "+v1alpha1.APIExportName+": "+strings.Join(messages, "; ")))
	}
	return problems
}

// validateNamespace checks that the syncer gets a namespace that can be its own: what
// may read its Secret there may do in kcp what it may.
func validateNamespace(namespace string, path *field.Path) field.ErrorList {
	if messages := validation.IsDNS1123Label(namespace); len(messages) > 0 {
		return field.ErrorList{field.Invalid(path, namespace, "expected the name of a namespace: "+strings.Join(messages, "; "))}
	}
	if namespace == metav1.NamespaceDefault || strings.HasPrefix(namespace, "kube-") {
		return field.ErrorList{field.Invalid(path, namespace,
			"expected a namespace of the syncer's own, neither default nor one of the cluster's (kube-…), for instance "+DefaultNamespace)}
	}
	return nil
}

func (o Options) validatePods() field.ErrorList {
	var problems field.ErrorList
	if o.Image == "" {
		problems = append(problems, field.Required(field.NewPath("image"), "expected the image of tmc, for instance registry.example.com/kcp-tmc/tmc:v1.2.3"))
	} else if _, err := reference.ParseNormalizedNamed(o.Image); err != nil {
		problems = append(problems, field.Invalid(field.NewPath("image"), o.Image,
			"expected the reference of an image, for instance registry.example.com/kcp-tmc/tmc:v1.2.3: "+err.Error()))
	}
	policies := []corev1.PullPolicy{corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever}
	if o.ImagePullPolicy != "" && !slices.Contains(policies, o.ImagePullPolicy) {
		problems = append(problems, field.NotSupported(field.NewPath("imagePullPolicy"), o.ImagePullPolicy, policies))
	}
	if o.Replicas < 1 || o.Replicas > mostReplicas {
		problems = append(problems, field.Invalid(field.NewPath("replicas"), o.Replicas, fmt.Sprintf("expected 1 to %d", mostReplicas)))
	}
	return problems
}

// validateNames checks that they can name namespaces.
func validateNames(names []string, path *field.Path) field.ErrorList {
	var problems field.ErrorList
	for i, name := range names {
		if messages := validation.IsDNS1123Label(name); len(messages) > 0 {
			problems = append(problems, field.Invalid(path.Index(i), name, "expected the name of a namespace: "+strings.Join(messages, "; ")))
		}
	}
	return problems
}

// validatePolicy checks what becomes part of the expressions of the policy.
func (o Options) validatePolicy() field.ErrorList {
	var problems field.ErrorList
	for i, pattern := range o.PolicyNamespaces {
		if !v1alpha1.IsNamespacePattern(pattern) {
			problems = append(problems, field.Invalid(field.NewPath("policyNamespaces").Index(i), pattern,
				"expected the name of a namespace, in which * stands for any characters, for instance shop-*"))
		}
	}
	if len(o.PolicyNamespaces) > 0 && !o.AdmissionPolicy {
		problems = append(problems, field.Invalid(field.NewPath("policyNamespaces"), o.PolicyNamespaces, "expected none without the admission policy, which would list them"))
	}
	for i, name := range o.FormerNames {
		if err := v1alpha1.ValidateClusterName(name); err != nil {
			problems = append(problems, field.Invalid(field.NewPath("formerNames").Index(i), name, err.Error()))
		}
	}
	return problems
}

// validateKinds checks that what is named can be synced, and that nothing else can be
// meant: an asterisk or a subresource would become one in the role.
func validateKinds(kinds []schema.GroupResource, path *field.Path) field.ErrorList {
	if len(kinds) == 0 {
		return field.ErrorList{field.Required(path, "expected at least one, for instance deployments.apps")}
	}
	var problems field.ErrorList
	seen := map[schema.GroupResource]bool{}
	for i, kind := range kinds {
		at := path.Index(i)
		switch {
		case seen[kind]:
			problems = append(problems, field.Duplicate(at, kind.String()))
		case !isResource(kind):
			problems = append(problems, field.Invalid(at, kind.String(), "expected the plural of a resource and its group, for instance deployments.apps"))
		case !v1alpha1.IsSynced(kind, !isOfCluster(kind)):
			problems = append(problems, field.Invalid(at, kind.String(), "expected a kind that is synced: what lies in namespaces (which come by themselves), but neither events nor tmc's own"))
		}
		seen[kind] = true
	}
	return problems
}

// isResource reports whether the names are such as Kubernetes has them: its own and those
// of custom resources (ValidateCustomResourceDefinition in k8s.io/apiextensions-apiserver).
func isResource(kind schema.GroupResource) bool {
	return len(validation.IsDNS1035Label(kind.Resource)) == 0 &&
		(kind.Group == "" || len(validation.IsDNS1123Subdomain(kind.Group)) == 0)
}
