package protocol

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"k8s.io/utils/ptr"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// DecidedBy is who decides where an object goes.
type DecidedBy string

const (
	// ByNobody is that of an object that follows others, and of one of which nothing is said.
	ByNobody DecidedBy = ""
	// ByAnnotation is the user's annotation target-clusters.
	ByAnnotation DecidedBy = "annotation"
	// ByDefault is the hub's default for workloads that name no clusters.
	ByDefault DecidedBy = "default"
	// ByPlacement is a WorkloadPlacement.
	ByPlacement DecidedBy = "placement"
)

// Placement says why an object is where it is: the value of v1alpha1.PlacementAnnotation, as JSON.
type Placement struct {
	// By is who decided. Name is the name of the WorkloadPlacement if one did.
	By   DecidedBy `json:"by"`
	Name string    `json:"name,omitempty"`
	// Replicas is what the shares add up to, where the replicas are divided. Until it is spec.replicas, the division is not
	// that of the present spec.
	Replicas *int64 `json:"replicas,omitempty"`
	// Clusters say, for people, why the object is on each cluster.
	Clusters map[string]string `json:"clusters,omitempty"`
	// Kept are those of Clusters, sorted, that the object leaves as soon as it is available where it goes instead.
	Kept []string `json:"kept,omitempty"`
	// LeftOut are clusters that the object would go to as well, and why it cannot: the first v1alpha1.MaxLeftOut that were
	// found. MoreLeftOut is set when there are others.
	LeftOut     map[string]v1alpha1.LeftOut `json:"leftOut,omitempty"`
	MoreLeftOut bool                        `json:"moreLeftOut,omitempty"`
	// Message says, for people, what is missing. It is empty when nothing is.
	Message string `json:"message,omitempty"`
}

// Forms that earlier versions wrote, before there were fields for them.
const (
	formerByPlacement = "placement " // then the name
	formerKept        = "stays until it is available elsewhere"
)

// Placement returns why the object is where it is. It returns the zero value where nothing is said, or nothing that can be
// read: the scheduler writes that again. It reads the forms of earlier versions.
func (o Object) Placement() Placement {
	value, _ := o.annotations.get(v1alpha1.PlacementAnnotation)
	return parsePlacement(value)
}

// Kept returns the clusters, sorted, that the object leaves as soon as it is available where it goes instead. Few objects have
// any: of the others nothing is decoded, which would cost more than a decision.
func (o Object) Kept() []string {
	value, _ := o.annotations.get(v1alpha1.PlacementAnnotation)
	if !strings.Contains(value, `"kept"`) && !strings.Contains(value, formerKept) {
		return nil
	}
	return parsePlacement(value).Kept
}

func parsePlacement(value string) Placement {
	var p Placement
	if value == "" || json.Unmarshal([]byte(value), &p) != nil {
		return Placement{}
	}
	if name, ok := strings.CutPrefix(string(p.By), formerByPlacement); ok {
		p.By, p.Name = ByPlacement, name
		for _, cluster := range slices.Sorted(maps.Keys(p.Clusters)) {
			if p.Clusters[cluster] == formerKept {
				p.Kept = append(p.Kept, cluster)
			}
		}
	}
	return p
}

// IsKept reports whether the object leaves the cluster as soon as it is available where it goes instead.
func (p Placement) IsKept(cluster string) bool { return slices.Contains(p.Kept, cluster) }

// String says who decided, for people: "annotation", "default", or "placement NAME".
func (p Placement) String() string { return strings.TrimSpace(string(p.By) + " " + p.Name) }

// withTextsOf returns the placement with those texts of the other one that still hold: while the same decides, and the
// object is on the cluster for good or for a while as before. So thousands of objects are not written because reasons are
// worded otherwise.
func (p Placement) withTextsOf(other Placement) Placement {
	if p.By != other.By || p.Name != other.Name {
		return p
	}
	p.Clusters = maps.Clone(p.Clusters)
	for cluster := range p.Clusters {
		if text, found := other.Clusters[cluster]; found && p.IsKept(cluster) == other.IsKept(cluster) {
			p.Clusters[cluster] = text
		}
	}
	return p
}

func (p Placement) equals(other Placement) bool {
	return p.By == other.By && p.Name == other.Name && p.Message == other.Message && ptr.Equal(p.Replicas, other.Replicas) &&
		maps.Equal(p.Clusters, other.Clusters) && slices.Equal(p.Kept, other.Kept) &&
		maps.Equal(p.LeftOut, other.LeftOut) && p.MoreLeftOut == other.MoreLeftOut
}
