package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Reasons of events: on what was ignored, and on what was done.
const (
	reasonBadTarget    = "InvalidTargetClusters"
	reasonBadPlacement = "PlacementNotHeeded"
	reasonNeverSynced  = "NeverSynced"
	reasonPlaced       = "Placed"
	reasonUnsatisfied  = "PlacementUnsatisfied"
	reasonLeftOut      = "ClusterLeftOut"
)

// warn tells the user of an object what was ignored, and what cannot be had.
func (s *Scheduler) warn(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured, decision placement.Decision) {
	reason := reasonBadPlacement
	if _, named := protocol.Read(upstreamObj).Targets(); named {
		reason = reasonBadTarget
	}
	s.config.Notices.Warn(key, upstreamObj, reason, decision.Problems...)
	unsatisfied := []string{}
	if decision.Unsatisfied != "" && decision.Placement != "" {
		unsatisfied = append(unsatisfied, decision.Unsatisfied)
	}
	s.config.Notices.Warn(key, upstreamObj, reasonUnsatisfied, unsatisfied...)
}

// tell records, of what a placement has decided, where an object is by now that was on clusters already. Where it goes at first needs no
// telling, for its annotation says it, nor what goes everywhere by default: an event is a write.
func (s *Scheduler) tell(upstreamObj *unstructured.Unstructured, decision placement.Decision, change *protocol.Change) {
	isMoved := change.Moves() && len(protocol.Read(upstreamObj).Labelled()) > 0
	if decision.Placement == "" || !isMoved {
		return
	}
	var clusters []string
	for _, cluster := range decision.Clusters {
		if share, divided := decision.Shares[cluster]; divided {
			cluster += fmt.Sprintf(" (%d)", share)
		}
		clusters = append(clusters, cluster)
	}
	where := "on " + strings.Join(clusters, ", ")
	if len(clusters) == 0 {
		where = "nowhere"
	}
	s.config.Notices.Tell(upstreamObj, reasonPlaced, fmt.Sprintf("placement %s: %s", decision.Placement, where))
}

// tellLeftOut records, once, which clusters an object cannot enter: when the object comes to name them. Of clusters that its
// annotation target-clusters names, a warning tells.
func (s *Scheduler) tellLeftOut(upstreamObj *unstructured.Unstructured, change *protocol.Change) {
	explanation, _ := change.Explanation()
	object := protocol.Read(upstreamObj)
	before := object.Placement().LeftOut
	targets, _ := object.Targets()
	isTarget := func(cluster string) bool {
		return slices.ContainsFunc(strings.Split(targets, ","), func(name string) bool { return strings.TrimSpace(name) == cluster })
	}
	news := map[string]v1alpha1.LeftOut{}
	for cluster, why := range explanation.LeftOut {
		if before[cluster] != why && !isTarget(cluster) {
			news[cluster] = why
		}
	}
	for _, message := range placement.SayAllLeftOut(news, upstreamObj.GroupVersionKind().GroupKind(), s.config.TenantType) {
		s.config.Notices.Tell(upstreamObj, reasonLeftOut, message)
	}
}
