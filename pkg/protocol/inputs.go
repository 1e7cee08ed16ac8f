package protocol

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// deploymentDomain holds the annotations of the deployment controller, which runs downstream and would fight for them.
const deploymentDomain = "deployment.kubernetes.io/"

// Inputs stands, in 16 hexadecimal digits, for what of the object shapes the cluster's copy without moving the generation:
// the labels and annotations that go down, the cluster's override and its share of the replicas. A syncer names it in its
// report.
func (o Object) Inputs(cluster string) string { return o.inputs()(cluster) }

// inputs returns Inputs for many clusters: what is the same for all of them is encoded once.
func (o Object) inputs() func(cluster string) string {
	labels, annotations := json.RawMessage(encode(o.labels.usersOwn())), json.RawMessage(encode(o.annotations.usersOwn()))
	return func(cluster string) string {
		override, _ := o.Override(cluster)
		share, _ := o.annotations.get(v1alpha1.ReplicasAnnotation(cluster))
		sum := sha256.Sum256(encode([]any{labels, annotations, override, share}))
		return hex.EncodeToString(sum[:8])
	}
}

// UsersOwn returns, in a map of its own, the entries of labels or annotations that are the user's and go down.
func UsersOwn(entries map[string]string) map[string]string { return pairs{typed: entries}.usersOwn() }

func (p pairs) usersOwn() map[string]string {
	own := make(map[string]string, len(p.typed)+len(p.untyped))
	for key, value := range p.all() {
		if !v1alpha1.IsOwnKey(key) && key != corev1.LastAppliedConfigAnnotation && !strings.HasPrefix(key, deploymentDomain) {
			own[key] = value
		}
	}
	return own
}
