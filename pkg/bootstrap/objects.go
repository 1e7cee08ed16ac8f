package bootstrap

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// The labels that Kubernetes recommends
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/).
// There is no managed-by: that is whoever applies the objects.
const (
	nameLabel      = "app.kubernetes.io/name"
	instanceLabel  = "app.kubernetes.io/instance"
	componentLabel = "app.kubernetes.io/component"
	partOfLabel    = "app.kubernetes.io/part-of"
)

// podSecurityLabel has a namespace refuse pods that are not as the standard asks
// (k8s.io/pod-security-admission/api).
const podSecurityLabel = "pod-security.kubernetes.io/enforce"

// The command line's paths, and what is mounted there.
const (
	command        = "/usr/local/bin/tmc-syncer"
	kubeconfigDir  = "/etc/tmc/kcp"
	ruleDir        = "/etc/tmc/config"
	healthPort     = 8080
	healthName     = "health"
	metricsPort    = 8081
	metricsName    = "metrics"
	kubeconfigName = "kcp"
	ruleName       = "config"
)

// Objects returns the objects that run the syncer, in the order in which they are to be
// applied. It fails when the options are not valid.
func Objects(o Options) ([]runtime.Object, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	rule, err := yaml.Marshal(o.Rule)
	if err != nil {
		return nil, fmt.Errorf("encoding the rule: %w", err)
	}
	policy, err := networkPolicy(o)
	if err != nil {
		return nil, err
	}
	objects := []runtime.Object{namespace(o), serviceAccount(o)}
	if o.AdmissionPolicy { // before the account may do anything
		objects = append(objects, admissionPolicy(o)...)
	}
	objects = append(objects, clusterAccess(o)...)
	objects = append(objects, ownAccess(o)...)
	if o.Kubeconfig != nil {
		objects = append(objects, kcpSecret(o))
	}
	objects = append(objects, configMap(o, string(rule)), deployment(o), disruptionBudget(o), policy)
	if o.opensMetrics() {
		objects = append(objects, metricsService(o))
	}
	return objects, nil
}

// Arguments returns the syncer's command line, without the command.
func Arguments(o Options) []string {
	args := []string{
		"--cluster-name=" + o.Cluster,
		"--kcp-kubeconfig=" + kubeconfigDir + "/" + KubeconfigKey,
		"--kcp-secret=" + SecretName,
		"--namespace=" + o.Namespace,
		"--provider-workspace=" + o.ProviderWorkspace,
		"--export=" + o.Export,
		"--kinds=" + strings.Join(sortedNames(o.Kinds), ","),
		"--self-register=false", // join has registered it: a syncer may not
		"--leader-elect",
		"--transform-config=" + ruleDir + "/" + RuleKey,
		fmt.Sprintf("--bind-address=:%d", healthPort),
	}
	if o.opensMetrics() { // or they are for the pod itself
		args = append(args, fmt.Sprintf("--metrics-bind-address=:%d", metricsPort))
	}
	return args
}

// opensMetrics reports whether somebody may read metrics from outside of the pod.
func (o Options) opensMetrics() bool { return len(o.MetricsFrom) > 0 }

// sortedNames returns the kinds as flags have them: deployments.apps, and of the core
// group the resource alone.
func sortedNames(kinds []schema.GroupResource) []string {
	names := make([]string, 0, len(kinds))
	for _, kind := range kinds {
		names = append(names, kind.String())
	}
	slices.Sort(names)
	return names
}

// metadata returns the metadata of an object in the syncer's namespace.
func metadata(o Options, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: o.Namespace, Name: name, Labels: labels(o)}
}

func labels(o Options) map[string]string {
	return map[string]string{nameLabel: Name, instanceLabel: o.Cluster, componentLabel: "syncer", partOfLabel: "tmc"}
}

// selector selects the syncer's pods in its namespace. A Deployment's selector cannot
// be changed, so it holds nothing that may.
func selector() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{nameLabel: Name}}
}

func namespace(o Options) *corev1.Namespace {
	made := &corev1.Namespace{
		TypeMeta:   typeOf(corev1.SchemeGroupVersion, "Namespace"),
		ObjectMeta: metav1.ObjectMeta{Name: o.Namespace, Labels: labels(o)},
	}
	made.Labels[podSecurityLabel] = "restricted"
	return made
}

// serviceAccount is the syncer's. Its token is mounted where the pod asks for it.
func serviceAccount(o Options) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{
		TypeMeta:                     typeOf(corev1.SchemeGroupVersion, "ServiceAccount"),
		ObjectMeta:                   metadata(o, Name),
		AutomountServiceAccountToken: new(false),
	}
}

// clusterAccess is what the syncer may do on the cluster.
func clusterAccess(o Options) []runtime.Object {
	unnamespaced := metav1.ObjectMeta{Name: clusterWide(o), Labels: labels(o)}
	return []runtime.Object{
		&rbacv1.ClusterRole{
			TypeMeta:   typeOf(rbacv1.SchemeGroupVersion, "ClusterRole"),
			ObjectMeta: unnamespaced,
			Rules:      Rules(o.Kinds),
		},
		&rbacv1.ClusterRoleBinding{
			TypeMeta:   typeOf(rbacv1.SchemeGroupVersion, "ClusterRoleBinding"),
			ObjectMeta: unnamespaced,
			RoleRef:    roleRef("ClusterRole", clusterWide(o)),
			Subjects:   subjects(o),
		},
	}
}

// ownAccess is what the syncer may do in its namespace.
func ownAccess(o Options) []runtime.Object {
	return []runtime.Object{
		&rbacv1.Role{
			TypeMeta:   typeOf(rbacv1.SchemeGroupVersion, "Role"),
			ObjectMeta: metadata(o, Name),
			Rules:      ownRules(o.Kinds),
		},
		&rbacv1.RoleBinding{
			TypeMeta:   typeOf(rbacv1.SchemeGroupVersion, "RoleBinding"),
			ObjectMeta: metadata(o, Name),
			RoleRef:    roleRef("Role", Name),
			Subjects:   subjects(o),
		},
	}
}

// clusterWide is the name of what is in no namespace. It tells apart the syncers of
// several kcps that one cluster may have, each in a namespace of its own.
func clusterWide(o Options) string {
	if o.Namespace == DefaultNamespace {
		return Name
	}
	return Name + "-" + o.Namespace
}

func roleRef(kind, name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
}

func subjects(o Options) []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: o.Namespace, Name: Name}}
}

func kcpSecret(o Options) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   typeOf(corev1.SchemeGroupVersion, "Secret"),
		ObjectMeta: metadata(o, SecretName),
		Type:       corev1.SecretTypeOpaque,
		Data:       map[string][]byte{KubeconfigKey: o.Kubeconfig},
	}
}

func configMap(o Options, rule string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta:   typeOf(corev1.SchemeGroupVersion, "ConfigMap"),
		ObjectMeta: metadata(o, Name),
		Data:       map[string]string{RuleKey: rule},
	}
}

func typeOf(version schema.GroupVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: version.String(), Kind: kind}
}
