package transform

import (
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
	// isolationDigits end the name of an isolated namespace. What comes before them is
	// the whole upstream name, so that only other workspaces could collide, and nobody
	// chooses those names: 64 bits are plenty.
	isolationDigits = 16
	// cutDigits end a name that had to be cut. Whoever chooses the part that was cut
	// off may try names at leisure: 96 bits.
	cutDigits = 24
	// allocatedOnOpenShift starts the annotations in which an OpenShift cluster keeps
	// the user ids, groups and SELinux labels that it has allocated to its namespace
	// (UIDRangeAnnotation and its neighbours in github.com/openshift/api/security/v1).
	allocatedOnOpenShift = "openshift.io/sa.scc."
)

// cutName is what a name that was cut looks like.
var cutName = regexp.MustCompile(`-[0-9a-f]{24}$`)

// Namespace returns the name of the namespace on the cluster that stands for a
// namespace of a workspace: prefix and name, and a hash of workspace and name behind
// them when they are isolated. A name that gets too long for a DNS-1123 label is cut,
// and ends in a hash of all that it stands for instead. Two namespaces of a workspace
// never have one name; those of several workspaces have where they are not isolated.
func Namespace(rule v1alpha1.TransformRule, workspace, namespace string) string {
	name := rule.NamespacePrefix + namespace
	if rule.NamespaceMode == v1alpha1.NamespaceModeIsolated {
		identity := hash([]byte(workspace + "\x00" + namespace))
		if isolated := name + "-" + identity[:isolationDigits]; len(isolated) <= validation.DNS1123LabelMaxLength {
			return isolated
		}
		return cut(name, identity)
	}
	// A name that only looks as if it had been cut could be that of one which was.
	// (Without a prefix, none is.)
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

// DesiredNamespace returns the namespace that the cluster is to have for an upstream
// one, as the body of a server-side apply. The origin names the upstream namespace as
// an object: it has no Namespace. upstreamNamespace is nil when all that is known of
// it is its name. Of the user's labels and annotations those go down that the rule names
// (NamespaceLabels, NamespaceAnnotations), less those that say what a cluster has made of its
// own namespace; the rule's own are added, and win. Overrides are not applied: what a
// namespace may do (its pod security level) is the operator's word.
func DesiredNamespace(upstreamNamespace *unstructured.Unstructured, origin Origin, rule v1alpha1.TransformRule) (*unstructured.Unstructured, error) {
	desired := BareNamespace(Namespace(rule, origin.Workspace, origin.Name))
	if upstreamNamespace != nil {
		labels, err := stringsOf(upstreamNamespace, "labels")
		if err != nil {
			return nil, err
		}
		annotations, err := stringsOf(upstreamNamespace, "annotations")
		if err != nil {
			return nil, err
		}
		add(desired, allowed(namespacesOwn(labels), rule.NamespaceLabels), allowed(namespacesOwn(annotations), rule.NamespaceAnnotations))
	}
	add(desired, rule.Labels, rule.Annotations)
	ours := map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
	if rule.SeparatesWorkspaces() {
		ours[v1alpha1.WorkspaceLabel] = workspaceValue(origin.Workspace)
	}
	add(desired, ours, ownersOf(origin))
	if err := seal(desired); err != nil {
		return nil, err
	}
	return desired, nil
}

// NotedNamespace returns what is applied to a namespace that tmc did not make, for it to
// say whose it is: that of the workspace of the origin, which names the upstream
// namespace as in DesiredNamespace. Nothing else of it is touched.
func NotedNamespace(name string, origin Origin) (*unstructured.Unstructured, error) {
	noted := BareNamespace(name)
	add(noted, map[string]string{
		v1alpha1.ManagedByLabel: v1alpha1.ManagedByOthersValue,
		v1alpha1.WorkspaceLabel: workspaceValue(origin.Workspace),
	}, ownersOf(origin))
	if err := seal(noted); err != nil {
		return nil, err
	}
	return noted, nil
}

// FreeNamespace returns what is applied to a namespace that tmc made for the cluster when
// it is nobody's any more, and is kept for what is in it: the rule's labels and
// annotations hold on.
func FreeNamespace(name, cluster string, rule v1alpha1.TransformRule) (*unstructured.Unstructured, error) {
	free := BareNamespace(name)
	add(free, rule.Labels, rule.Annotations)
	add(free, map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}, map[string]string{
		v1alpha1.TargetClusterAnnotation: cluster,
	})
	if err := seal(free); err != nil {
		return nil, err
	}
	return free, nil
}

// BareNamespace returns a namespace of which nothing is said. Applied, it takes back
// whatever else was applied before.
func BareNamespace(name string) *unstructured.Unstructured {
	bare := &unstructured.Unstructured{}
	bare.SetAPIVersion("v1")
	bare.SetKind("Namespace")
	bare.SetName(name)
	return bare
}

// ownersOf returns the annotations that say whose a namespace is; OriginOf reads them.
func ownersOf(origin Origin) map[string]string {
	return map[string]string{
		v1alpha1.SourceWorkspaceAnnotation: origin.Workspace,
		v1alpha1.SourceNameAnnotation:      origin.Name,
		v1alpha1.TargetClusterAnnotation:   origin.Cluster,
	}
}

// namespacesOwn returns the labels or annotations of a namespace that go down.
func namespacesOwn(all map[string]string) map[string]string {
	own := protocol.UsersOwn(all)
	for key := range own {
		if key == corev1.LabelMetadataName || strings.HasPrefix(key, allocatedOnOpenShift) {
			delete(own, key)
		}
	}
	return own
}

// allowed returns the entries whose keys one of the patterns names: a key, a domain and
// "/*", or "*".
func allowed(all map[string]string, patterns []string) map[string]string {
	kept := map[string]string{}
	for key, value := range all {
		if slices.ContainsFunc(patterns, func(pattern string) bool { return matchesKey(pattern, key) }) {
			kept[key] = value
		}
	}
	return kept
}

func matchesKey(pattern, key string) bool {
	if prefix, isPrefix := strings.CutSuffix(pattern, "*"); isPrefix {
		return strings.HasPrefix(key, prefix)
	}
	return pattern == key
}

// workspaceValue is what stands for a workspace in WorkspaceLabel: the name of its logical
// cluster, which only kcp's own workspaces have one of that is no label's value.
func workspaceValue(workspace string) string {
	if len(validation.IsValidLabelValue(workspace)) == 0 {
		return workspace
	}
	return hash([]byte(workspace))
}

func isNamespace(obj *unstructured.Unstructured) bool {
	return obj.GetAPIVersion() == "v1" && obj.GetKind() == "Namespace"
}
