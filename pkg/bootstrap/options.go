package bootstrap

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// Names in the cluster. None contains the name of the cluster: a namespace has one syncer, and a cluster that joins
// again under another name gets no second set of objects.
const (
	// Name is the name of the syncer's ServiceAccount, roles, ConfigMap, Deployment, PodDisruptionBudget and
	// NetworkPolicy, and of the Lease by which its replicas elect their leader.
	Name = "tmc-syncer"
	// SecretName is the name of the Secret with the kubeconfig for kcp. The syncer keeps a renewed token in it.
	SecretName = "tmc-syncer-kcp" //nolint:gosec // a name, no credential
	// KubeconfigKey is the one key of the Secret.
	KubeconfigKey = "kubeconfig"
	// RuleKey is the one key of the ConfigMap, which holds a TransformRule in YAML.
	RuleKey = "rule.yaml"
	// MetricsServiceName is the name of the Service of /metrics, if there is one.
	MetricsServiceName = "tmc-syncer-metrics"
)

// Defaults for callers. Options themselves have no defaults.
const (
	// DefaultNamespace is where a syncer runs.
	DefaultNamespace = "tmc-system"
	// DefaultReplicas is one that works, and one that takes over.
	DefaultReplicas int32 = 2
)

// mostReplicas bounds Replicas: one works, all others wait.
const mostReplicas = 10

// Options describe one cluster's syncer.
type Options struct {
	// Cluster is the name under which the cluster is known in kcp.
	Cluster string
	// Namespace is where the syncer runs. The manifest makes it, and nothing else belongs there.
	Namespace string
	// Image contains the three programs of tmc. ImagePullPolicy is the kubelet's, empty for its default.
	Image           string
	ImagePullPolicy corev1.PullPolicy
	// Replicas is how many run, 1 to 10: one works, the others wait to take over.
	Replicas int32
	// ProviderWorkspace is the path of the workspace with the APIExport, Export is the name of the latter.
	ProviderWorkspace string
	Export            string
	// Kinds is what is synced, besides namespaces. The order does not matter.
	Kinds []schema.GroupResource
	// Rule is how copies are adapted to the cluster.
	Rule v1alpha1.TransformRule
	// MetricsFrom names the namespaces of the cluster whose pods may read the syncer's metrics; none means no pod. It
	// contains no labels, because tenants choose the labels of namespaces that come from kcp.
	MetricsFrom []string
	// AdmissionPolicy adds a ValidatingAdmissionPolicy by which the cluster itself restricts the syncer's account to
	// what is tmc's. Kubernetes has such policies since 1.30.
	AdmissionPolicy bool
	// PolicyNamespaces are the namespaces that tmc has not made and that the policy lets copies into; "*" in them
	// stands for any characters. The policy never lets copies into kube-system and its like.
	PolicyNamespaces []string
	// FormerNames are names that the cluster had before: the syncer may clean up what was made under them.
	FormerNames []string
	// Kubeconfig is for kcp, with the credentials inline. Nil leaves out the Secret, which somebody else makes then.
	Kubeconfig []byte
}

// Validate returns an error that names every invalid option and what was expected, nil when all are valid. It never
// repeats anything of the kubeconfig.
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

// validateNamespace checks that the namespace can be the syncer's own: whoever may read the Secret there may do in kcp
// what the syncer may.
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

// validateNames checks names of namespaces.
func validateNames(names []string, path *field.Path) field.ErrorList {
	var problems field.ErrorList
	for i, name := range names {
		if messages := validation.IsDNS1123Label(name); len(messages) > 0 {
			problems = append(problems, field.Invalid(path.Index(i), name, "expected the name of a namespace: "+strings.Join(messages, "; ")))
		}
	}
	return problems
}

// validatePolicy checks the options that become part of the policy's expressions.
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

// validateKinds checks that the kinds can be synced. It refuses asterisks and subresources: the role would contain
// them.
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

// isResource reports whether the names are valid for a resource: Kubernetes' own, or a custom one
// (ValidateCustomResourceDefinition in k8s.io/apiextensions-apiserver).
func isResource(kind schema.GroupResource) bool {
	return len(validation.IsDNS1035Label(kind.Resource)) == 0 &&
		(kind.Group == "" || len(validation.IsDNS1123Subdomain(kind.Group)) == 0)
}

// kubeconfig is the part of a kubeconfig (k8s.io/client-go/tools/clientcmd/api/v1) that says which server it is for,
// and whether the server's certificate is verified.
type kubeconfig struct {
	CurrentContext string `json:"current-context"`
	Contexts       []struct {
		Name    string `json:"name"`
		Context struct {
			Cluster string `json:"cluster"`
		} `json:"context"`
	} `json:"contexts"`
	Clusters []struct {
		Name    string            `json:"name"`
		Cluster kubeconfigCluster `json:"cluster"`
	} `json:"clusters"`
}

type kubeconfigCluster struct {
	Server                string `json:"server"`
	InsecureSkipTLSVerify bool   `json:"insecure-skip-tls-verify"`
}

// The errors repeat nothing of the kubeconfig: it is a credential.
var (
	errNoKubeconfig = errors.New("expected the YAML of a kubeconfig")
	errNoCurrent    = errors.New("expected a current context, and the cluster that it names")
	errNoServer     = errors.New("expected a server of the form https://HOST[:PORT]/clusters/WORKSPACE")
	errUnverified   = errors.New("expected that the server's certificate is verified, without insecure-skip-tls-verify")
)

// kcpPort returns the TCP port of the server that a kubeconfig's current context leads to. It fails when there is no
// such context, or when the server is not verified.
func kcpPort(data []byte) (int32, error) {
	var config kubeconfig
	if err := yaml.Unmarshal(data, &config); err != nil {
		return 0, errNoKubeconfig
	}
	cluster, ok := config.current()
	if !ok {
		return 0, errNoCurrent
	}
	if cluster.InsecureSkipTLSVerify {
		return 0, errUnverified
	}
	server, err := url.Parse(cluster.Server)
	if err != nil || server.Scheme != "https" || server.Hostname() == "" {
		return 0, errNoServer
	}
	if server.Port() == "" {
		return httpsPort, nil
	}
	port, err := strconv.ParseUint(server.Port(), 10, 16)
	if err != nil || port == 0 {
		return 0, errNoServer
	}
	return int32(port), nil
}

// current returns the cluster of the current context.
func (k kubeconfig) current() (kubeconfigCluster, bool) {
	for _, context := range k.Contexts {
		if context.Name != k.CurrentContext {
			continue
		}
		for _, cluster := range k.Clusters {
			if cluster.Name == context.Context.Cluster {
				return cluster.Cluster, true
			}
		}
	}
	return kubeconfigCluster{}, false
}
