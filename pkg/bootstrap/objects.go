package bootstrap

import (
	"bytes"
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
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/). managed-by is left out: whoever
// applies the objects manages them.
const (
	nameLabel      = "app.kubernetes.io/name"
	instanceLabel  = "app.kubernetes.io/instance"
	componentLabel = "app.kubernetes.io/component"
	partOfLabel    = "app.kubernetes.io/part-of"
)

// podSecurityLabel has a namespace refuse pods that violate a standard (k8s.io/pod-security-admission/api).
const podSecurityLabel = "pod-security.kubernetes.io/enforce"

// The paths of the command line, and the names and ports in the pod.
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

// Objects returns the objects that run the syncer, in the order in which they are to be applied. It fails when the
// options are not valid.
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
	namespace := &corev1.Namespace{
		TypeMeta:   typeOf(corev1.SchemeGroupVersion, "Namespace"),
		ObjectMeta: metav1.ObjectMeta{Name: o.Namespace, Labels: labels(o)},
	}
	namespace.Labels[podSecurityLabel] = "restricted"
	objects := []runtime.Object{namespace, &corev1.ServiceAccount{
		TypeMeta:                     typeOf(corev1.SchemeGroupVersion, "ServiceAccount"),
		ObjectMeta:                   metadata(o, Name),
		AutomountServiceAccountToken: new(false), // the syncer's pod asks for its token
	}}
	if o.AdmissionPolicy { // before the account may do anything
		objects = append(objects, admissionPolicy(o)...)
	}
	objects = append(objects, access(o)...)
	if o.Kubeconfig != nil {
		objects = append(objects, &corev1.Secret{
			TypeMeta:   typeOf(corev1.SchemeGroupVersion, "Secret"),
			ObjectMeta: metadata(o, SecretName),
			Type:       corev1.SecretTypeOpaque,
			Data:       map[string][]byte{KubeconfigKey: o.Kubeconfig},
		})
	}
	objects = append(objects, &corev1.ConfigMap{
		TypeMeta:   typeOf(corev1.SchemeGroupVersion, "ConfigMap"),
		ObjectMeta: metadata(o, Name),
		Data:       map[string]string{RuleKey: string(rule)},
	}, deployment(o), disruptionBudget(o), policy)
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

// opensMetrics reports whether metrics can be read from outside of the pod.
func (o Options) opensMetrics() bool { return len(o.MetricsFrom) > 0 }

// sortedNames returns the kinds as flags name them: deployments.apps, and services for the core group.
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

// selector returns the selector of the syncer's pods in its namespace. It contains nothing that may change: the
// selector of a Deployment cannot be changed.
func selector() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{nameLabel: Name}}
}

// access returns the roles, and their bindings, for what the syncer may do on the cluster and in its own namespace.
func access(o Options) []runtime.Object {
	unnamespaced := metav1.ObjectMeta{Name: clusterWide(o), Labels: labels(o)}
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: o.Namespace, Name: Name}}
	roleRef := func(kind, name string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
	}
	return []runtime.Object{
		&rbacv1.ClusterRole{TypeMeta: typeOf(rbacv1.SchemeGroupVersion, "ClusterRole"), ObjectMeta: unnamespaced, Rules: Rules(o.Kinds)},
		&rbacv1.ClusterRoleBinding{
			TypeMeta: typeOf(rbacv1.SchemeGroupVersion, "ClusterRoleBinding"), ObjectMeta: unnamespaced,
			RoleRef: roleRef("ClusterRole", clusterWide(o)), Subjects: subjects,
		},
		&rbacv1.Role{TypeMeta: typeOf(rbacv1.SchemeGroupVersion, "Role"), ObjectMeta: metadata(o, Name), Rules: ownRules(o.Kinds)},
		&rbacv1.RoleBinding{
			TypeMeta: typeOf(rbacv1.SchemeGroupVersion, "RoleBinding"), ObjectMeta: metadata(o, Name),
			RoleRef: roleRef("Role", Name), Subjects: subjects,
		},
	}
}

// clusterWide returns the name of objects that lie in no namespace. It differs for each namespace: one cluster may have
// the syncers of several kcps, each in a namespace of its own.
func clusterWide(o Options) string {
	if o.Namespace == DefaultNamespace {
		return Name
	}
	return Name + "-" + o.Namespace
}

func typeOf(version schema.GroupVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: version.String(), Kind: kind}
}

// Manifest returns the objects as YAML documents, in the order of application, below a comment that says what they are.
// The same options give the same bytes. It fails when the options are not valid.
func Manifest(o Options) ([]byte, error) {
	objects, err := Objects(o)
	if err != nil {
		return nil, err
	}
	documents, err := Encode(objects...)
	if err != nil {
		return nil, err
	}
	return append(header(o), documents...), nil
}

func header(o Options) []byte {
	var text bytes.Buffer
	fmt.Fprintf(&text, "# The syncer of the cluster %s: it keeps copies of what workspaces of kcp place there.\n", o.Cluster)
	fmt.Fprintf(&text, "# Apply it to that cluster: kubectl --context %s apply -f FILE\n", o.Cluster)
	if o.Kubeconfig != nil {
		fmt.Fprintf(&text, "# It holds a credential for kcp, in the Secret %s: let nobody read it, and keep no copy.\n", SecretName)
	} else {
		fmt.Fprintf(&text, "# It runs once there is a Secret %s with a kubeconfig for kcp.\n", SecretName)
	}
	if o.AdmissionPolicy {
		fmt.Fprintln(&text, "# Its ValidatingAdmissionPolicy needs Kubernetes 1.30: kubectl tmc join --admission-policy=false leaves it out.")
	}
	return text.Bytes()
}

// Encode returns objects as YAML documents, with separators between them: keys sorted, and without what a server fills
// in (status) or an empty spec. It fails when an object cannot be encoded.
func Encode(objects ...runtime.Object) ([]byte, error) {
	var documents bytes.Buffer
	for i, object := range objects {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", object.GetObjectKind().GroupVersionKind().Kind, err)
		}
		delete(fields, "status")
		if spec, isMap := fields["spec"].(map[string]any); isMap && len(spec) == 0 {
			delete(fields, "spec") // a Namespace's
		}
		data, err := yaml.Marshal(fields)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", object.GetObjectKind().GroupVersionKind().Kind, err)
		}
		if i > 0 {
			documents.WriteString("---\n")
		}
		documents.Write(data)
	}
	return documents.Bytes(), nil
}
