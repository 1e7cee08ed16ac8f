package transform

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// Origin says where a copy comes from and for which cluster it was made.
type Origin struct {
	// Workspace is the name of the upstream logical cluster, not its path.
	Workspace string
	// Namespace and Name are those of the upstream object.
	Namespace, Name string
	// Cluster is the name of the cluster that the copy is for.
	Cluster string
}

// OriginOf reads the origin of a downstream object from its annotations. It
// returns false when the object does not carry a whole origin: tmc did not make
// it.
func OriginOf(downstreamObj metav1.Object) (Origin, bool) {
	annotations := downstreamObj.GetAnnotations()
	origin := Origin{
		Workspace: annotations[v1alpha1.SourceWorkspaceAnnotation],
		Namespace: annotations[v1alpha1.SourceNamespaceAnnotation],
		Name:      annotations[v1alpha1.SourceNameAnnotation],
		Cluster:   annotations[v1alpha1.TargetClusterAnnotation],
	}
	return origin, origin.Workspace != "" && origin.Name != "" && origin.Cluster != ""
}

// SourceUID returns the UID of the upstream object that a copy was made from,
// empty when it has none.
func SourceUID(downstreamObj metav1.Object) types.UID {
	return types.UID(downstreamObj.GetAnnotations()[v1alpha1.SourceUIDAnnotation])
}

// Hash returns 32 hexadecimal digits that stand for the origin: short enough
// for a label value, long enough never to collide.
func (o Origin) Hash() string {
	return hash([]byte(strings.Join([]string{o.Workspace, o.Namespace, o.Name, o.Cluster}, "\x00")))
}

// hash returns the first 128 bits of the SHA-256 of data in hexadecimal.
func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// Target returns where on its cluster the copy lies. For the origin of a namespace
// itself, which has no Namespace, see DesiredNamespace.
func (o Origin) Target(rule v1alpha1.TransformRule) (namespace, name string) {
	if o.Namespace == "" {
		return "", o.Name
	}
	return Namespace(rule, o.Workspace, o.Namespace), o.Name
}
