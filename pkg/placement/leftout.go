package placement

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// SayLeftOut says, for a tenant, that objects of a kind cannot enter clusters, and what to
// do about it. tenantType is the path of the WorkspaceType whose workspaces have all
// clusters bound, empty when there is none. Of many clusters it names the first few.
func SayLeftOut(clusters []string, why v1alpha1.LeftOut, kind schema.GroupKind, tenantType string) string {
	names, is, does := strings.Join(clusters, ", "), "is", "does"
	if more := len(clusters) - mostNamed; more > 0 {
		names = fmt.Sprintf("%s and %d more", strings.Join(clusters[:mostNamed], ", "), more)
	}
	if len(clusters) > 1 {
		is, does = "are", "do"
	}
	orType := ""
	if tenantType != "" {
		orType = ", or make the workspace of type " + tenantType
	}
	switch why {
	case v1alpha1.LeftOutNotBound:
		return fmt.Sprintf("%s %s not bound here: kubectl tmc bind%s", names, is, orType)
	case v1alpha1.LeftOutBindingsHidden:
		return fmt.Sprintf("whether %s %s bound here is not known, for the workspace's APIBinding %s does not accept the claim on apibindings: kubectl tmc bind",
			names, is, v1alpha1.APIExportName)
	case v1alpha1.LeftOutKindNotAccepted:
		return fmt.Sprintf("%s %s bound here without %s: kubectl tmc bind", names, is, kind)
	case v1alpha1.LeftOutKindNotServed:
		return fmt.Sprintf("%s %s not take %s", names, does, kind)
	case v1alpha1.LeftOutPoliciesNotAccepted:
		return fmt.Sprintf("nothing new enters %s from here, for the workspace's APIBinding %s does not accept the claims on ValidatingAdmissionPolicies: kubectl tmc bind",
			names, v1alpha1.APIExportName)
	case v1alpha1.LeftOutPoliciesMissing:
		return fmt.Sprintf("nothing new enters %s from here until the workspace has tmc's ValidatingAdmissionPolicies as they were made: tmc-controller puts them in", names)
	default:
		return fmt.Sprintf("%s: %s", names, why)
	}
}

// SayAllLeftOut says of all clusters that an object cannot enter why, those of one reason
// together, in the order of the reasons.
func SayAllLeftOut(leftOut map[string]v1alpha1.LeftOut, kind schema.GroupKind, tenantType string) []string {
	byReason := map[v1alpha1.LeftOut][]string{}
	for _, cluster := range slices.Sorted(maps.Keys(leftOut)) {
		byReason[leftOut[cluster]] = append(byReason[leftOut[cluster]], cluster)
	}
	var said []string
	for _, why := range slices.Sorted(maps.Keys(byReason)) {
		said = append(said, SayLeftOut(byReason[why], why, kind, tenantType))
	}
	return said
}

func (s *survey) sayLeftOut(clusters []string, why v1alpha1.LeftOut) string {
	return SayLeftOut(clusters, why, s.kind(), s.TenantType)
}

func (s *survey) sayAllLeftOut(leftOut map[string]v1alpha1.LeftOut) []string {
	return SayAllLeftOut(leftOut, s.kind(), s.TenantType)
}

// firstLeftOut returns which of the clusters that are left out the annotation names, and
// whether there are others. Those that it names already come first: where hundreds are
// left out, one that comes or goes is no reason to write every object. One that it names
// and that is about to be entered stays until then, for there to be one write.
func firstLeftOut(leftOut map[string]v1alpha1.LeftOut, annotation string, isAboutToEnter func(cluster string) bool) (first map[string]v1alpha1.LeftOut, more bool) {
	var standing v1alpha1.PlacementReason
	_ = json.Unmarshal([]byte(annotation), &standing) // what nobody can read names none
	first = map[string]v1alpha1.LeftOut{}
	var named, others []string
	for _, cluster := range slices.Sorted(maps.Keys(leftOut)) {
		if _, isNamed := standing.LeftOut[cluster]; isNamed {
			named = append(named, cluster)
		} else {
			others = append(others, cluster)
		}
	}
	for _, cluster := range append(named, others...)[:min(len(leftOut), v1alpha1.MaxLeftOut)] {
		first[cluster] = leftOut[cluster]
	}
	for cluster, why := range standing.LeftOut {
		if isAboutToEnter(cluster) {
			first[cluster] = why
		}
	}
	return first, len(leftOut) > v1alpha1.MaxLeftOut
}
