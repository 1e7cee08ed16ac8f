package transform

import (
	"path"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

const (
	// isolationDigits end the name of an isolated namespace. The whole upstream name comes before them, so that only the
	// namespaces of other workspaces could collide, and nobody chooses the names of logical clusters: 64 bits are plenty.
	isolationDigits = 16
	// cutDigits end a name that had to be cut. Whoever chooses the part that was cut off can try many names: 96 bits.
	cutDigits = 24
	// allocatedOnOpenShift begins the annotations in which an OpenShift cluster keeps the user ids, groups and SELinux
	// labels that it has allocated to its namespace (UIDRangeAnnotation and its neighbours in
	// github.com/openshift/api/security/v1).
	allocatedOnOpenShift = "openshift.io/sa.scc."
)

// cutName is what a name that was cut looks like.
var cutName = regexp.MustCompile(`-[0-9a-f]{24}$`)

// Namespace returns the name of the namespace on the cluster that stands for a namespace of a workspace: prefix and
// name, and behind them a hash of workspace and name when the rule isolates workspaces. A name that gets too long for a
// DNS-1123 label is cut, and ends in a hash of all that it stands for. Two namespaces of a workspace never have one
// name; namespaces of several workspaces may have one where the rule does not isolate them.
func Namespace(rule v1alpha1.TransformRule, workspace, namespace string) string {
	name := rule.NamespacePrefix + namespace
	if rule.NamespaceMode == v1alpha1.NamespaceModeIsolated {
		identity := hash([]byte(workspace + "\x00" + namespace))
		if isolated := name + "-" + identity[:isolationDigits]; len(isolated) <= validation.DNS1123LabelMaxLength {
			return isolated
		}
		return cut(name, identity)
	}
	// A name that only looks as if it had been cut could be that of one which was. (Without a prefix, none is cut.)
	isTaken := rule.NamespacePrefix != "" && cutName.MatchString(name)
	if len(name) <= validation.DNS1123LabelMaxLength && !isTaken {
		return name
	}
	return cut(name, hash([]byte(namespace)))
}

func cut(name, identity string) string {
	readable := name[:min(len(name), validation.DNS1123LabelMaxLength-1-cutDigits)]
	return strings.TrimRight(readable, "-") + "-" + identity[:cutDigits]
}

// Matched returns the first of the patterns that a namespace of the cluster matches, empty when it matches none. In a
// pattern, "*" stands for any number of characters. (The schema of ClusterRegistrations lets no other special ones in.)
func Matched(patterns []string, namespace string) (pattern string) {
	for _, pattern := range patterns {
		if matched, err := path.Match(pattern, namespace); err == nil && matched {
			return pattern
		}
	}
	return ""
}

// DesiredNamespace returns the namespace that the cluster is to have for an upstream one, as the body of a server-side
// apply. The origin names the upstream namespace as an object: it has no Namespace. upstreamNamespace is nil when only
// its name is known. Of the user's labels and annotations those go downstream that the rule names (NamespaceLabels,
// NamespaceAnnotations), without those that say what a cluster has made of its own namespace; the rule's own are added,
// and win. Overrides are not applied: what a namespace may do (its pod security level) is decided by the operator.
func DesiredNamespace(upstreamNamespace *unstructured.Unstructured, origin Origin, rule v1alpha1.TransformRule) (*unstructured.Unstructured, error) {
	desired := BareNamespace(Namespace(rule, origin.Workspace, origin.Name))
	if upstreamNamespace != nil {
		labels, err := stringsOf(upstreamNamespace, labelsField)
		if err != nil {
			return nil, err
		}
		annotations, err := stringsOf(upstreamNamespace, annotationsField)
		if err != nil {
			return nil, err
		}
		add(desired, namespacesOwn(labels, rule.NamespaceLabels, rule.DropLabels),
			namespacesOwn(annotations, rule.NamespaceAnnotations, rule.DropAnnotations))
	}
	add(desired, rule.Labels, rule.Annotations)
	ours := map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
	if rule.SeparatesWorkspaces() {
		ours[v1alpha1.WorkspaceLabel] = workspaceValue(origin.Workspace)
	}
	add(desired, ours, ownersOf(origin))
	return seal(desired)
}

// NotedNamespace returns what is applied to a namespace that tmc did not make, to note in it which workspace uses it:
// that of the origin, which names the upstream namespace as in DesiredNamespace. Nothing else of the namespace changes.
func NotedNamespace(name string, origin Origin) (*unstructured.Unstructured, error) {
	noted := BareNamespace(name)
	add(noted, map[string]string{
		v1alpha1.ManagedByLabel: v1alpha1.ManagedByOthersValue,
		v1alpha1.WorkspaceLabel: workspaceValue(origin.Workspace),
	}, ownersOf(origin))
	return seal(noted)
}

// FreeNamespace returns what is applied to a namespace that tmc made for the cluster when no workspace uses it any more,
// and that stays for what else is in it: the rule's labels and annotations still apply.
func FreeNamespace(name, cluster string, rule v1alpha1.TransformRule) (*unstructured.Unstructured, error) {
	free := BareNamespace(name)
	add(free, rule.Labels, rule.Annotations)
	add(free, map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}, map[string]string{
		v1alpha1.TargetClusterAnnotation: cluster,
	})
	return seal(free)
}

// BareNamespace returns a namespace with nothing but its name. Applied, it takes back whatever else was applied before.
func BareNamespace(name string) *unstructured.Unstructured {
	bare := &unstructured.Unstructured{}
	bare.SetAPIVersion("v1")
	bare.SetKind("Namespace")
	bare.SetName(name)
	return bare
}

// ownersOf returns the annotations that say which workspace uses a namespace; OriginOf reads them.
func ownersOf(origin Origin) map[string]string {
	return map[string]string{
		v1alpha1.SourceWorkspaceAnnotation: origin.Workspace,
		v1alpha1.SourceNameAnnotation:      origin.Name,
		v1alpha1.TargetClusterAnnotation:   origin.Cluster,
	}
}

// namespacesOwn returns the labels or annotations of a namespace that go downstream: of the user's own, those whose keys
// one of the patterns names. A pattern is a key, a domain and "/*", or "*". What is dropped does not go down whatever names it.
func namespacesOwn(all map[string]string, patterns, drops []string) map[string]string {
	own := protocol.UsersOwn(all)
	for key := range own {
		isNamed := slices.ContainsFunc(patterns, func(pattern string) bool { return matchesKey(pattern, key) })
		if !isNamed || namespaceDrops(key, patterns, drops) || key == corev1.LabelMetadataName || strings.HasPrefix(key, allocatedOnOpenShift) {
			delete(own, key)
		}
	}
	return own
}

func matchesKey(pattern, key string) bool {
	if prefix, isPrefix := strings.CutSuffix(pattern, "*"); isPrefix {
		return strings.HasPrefix(key, prefix)
	}
	return pattern == key
}

// workspaceValue returns what stands for a workspace in WorkspaceLabel: the name of its logical cluster. Only kcp's own
// workspaces have names that are no label's value; those are hashed.
func workspaceValue(workspace string) string {
	if len(validation.IsValidLabelValue(workspace)) == 0 {
		return workspace
	}
	return hash([]byte(workspace))
}

func isNamespace(obj *unstructured.Unstructured) bool {
	return obj.GetAPIVersion() == "v1" && obj.GetKind() == "Namespace"
}
