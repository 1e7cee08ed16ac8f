package placement

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// What people read. Nothing is decided by these texts.

// mostNamed is how many clusters a message names.
const mostNamed = 3

const notReady = "not ready"

// taintText is a taint as people know it.
func taintText(taint v1alpha1.Taint) string {
	switch taint.Key {
	case v1alpha1.TaintUnreachable:
		return notReady
	case v1alpha1.TaintUnschedulable:
		return "cordoned"
	}
	text := "taint " + taint.Key
	if taint.Value != "" {
		text += "=" + taint.Value
	}
	return text + ":" + string(taint.Effect)
}

// reason says why the placement has a cluster that it has.
func (t terms) reason(cluster *Cluster) string {
	if t.Strategy == v1alpha1.StrategyAffinity {
		if preference := t.preference(cluster); preference < len(t.preferences) {
			return fmt.Sprintf("preference %d", preference+1)
		}
		return "in none of the preferences"
	}
	switch {
	case t.NumberOfClusters == nil:
		return "every ready cluster that it selects"
	case t.Strategy == v1alpha1.StrategyRoundRobin:
		return "the next in turn"
	case t.Strategy == v1alpha1.StrategyLeastLoaded:
		return "the least loaded"
	case cluster.Location != "":
		return "spread over locations (" + cluster.Location + ")"
	default:
		return "spread"
	}
}

// shortfall says what the placement asks for and cannot have, empty when it has all.
func (s *snapshot) shortfall(t terms, c candidates, has int) string {
	wants := 1
	if t.NumberOfClusters != nil {
		wants = int(*t.NumberOfClusters)
	}
	switch {
	case has >= wants:
		return ""
	case t.NumberOfClusters == nil:
		return s.unsatisfied(fmt.Sprintf("placement %s: no cluster comes into question", t.name), c)
	default:
		return s.unsatisfied(fmt.Sprintf("placement %s: %d of %d clusters", t.name, has, wants), c)
	}
}

// unsatisfied completes a message with why other clusters are no candidates.
func (s *snapshot) unsatisfied(message string, c candidates) string {
	if s.closed {
		return "" // it asks for nothing any more
	}
	why := slices.Clone(c.rejected)
	if more := len(why) - mostNamed; more > 0 {
		why = append(why[:mostNamed], fmt.Sprintf("%d more in such states", more))
	}
	for _, reason := range slices.Sorted(maps.Keys(c.outside)) {
		why = append(why, fmt.Sprintf("%d %s", c.outside[reason], reason))
	}
	parts := []string{message, strings.Join(why, ", "), s.sayLeftOut(c.leftOut)}
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), "; ")
}

func (s *snapshot) sayLeftOut(leftOut map[string]v1alpha1.LeftOut) string {
	return strings.Join(SayAllLeftOut(leftOut, s.kind.GroupKind(), s.TenantType), "; ")
}

// SayAllLeftOut says of all clusters that an object of the kind cannot enter why, those of one reason together, in the order
// of the reasons. The parameters are those of SayLeftOut.
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

// SayLeftOut says, for a tenant, that objects of a kind cannot enter clusters, and what to do about it. tenantType is the path
// of the WorkspaceType whose workspaces have all clusters bound, empty when there is none. Of many clusters it names the first
// few.
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
