package main

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/utils/ptr"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// expectation is what kcp and the clusters are to have once a change has come through everywhere.
type expectation struct {
	// clusters are those that run the Deployment, sorted. Without any, it is to be gone, in kcp as well.
	clusters []string
	// replicas is how many of them each cluster runs.
	replicas int32
	image    string
	// generation is that of the Deployment in kcp: it counts what the user has changed of its spec.
	generation int64
}

// String says for people what is so when the expectation is met.
func (e expectation) String() string {
	if len(e.clusters) == 0 {
		return "nothing of it is left, neither in kcp nor in the clusters"
	}
	return fmt.Sprintf("%d of %d replicas run %s in %s; kcp counts %d, and has observed generation %d",
		e.replicas, e.replicas, e.image, and(e.clusters), e.total(), e.generation)
}

// total is what the clusters run together.
func (e expectation) total() int32 { return e.replicas * int32(len(e.clusters)) }

// differences returns what in a view is not as expected, one line each.
func (e expectation) differences(v view) []string {
	c := &comparison{where: v.upstream.where}
	if c.presence(v.upstream.deployment, len(e.clusters) > 0) {
		e.compareUpstream(c, v.upstream.deployment)
	}
	for _, seen := range v.downstream {
		c.where = seen.where
		if c.presence(seen.deployment, slices.Contains(e.clusters, seen.where)) {
			e.compareDownstream(c, seen.deployment)
		}
	}
	return c.found
}

// compareUpstream compares what kcp says: the sums, and that it knows of all clusters.
func (e expectation) compareUpstream(c *comparison, d *appsv1.Deployment) {
	e.compareDeployment(c, d, e.total())
	c.compare("generation", e.generation, d.Generation)
	c.compare("placement", strings.Join(e.clusters, ","), strings.Join(protocol.Read(d).Labelled(), ","))
	var finalizers []string
	for _, cluster := range e.clusters {
		finalizers = append(finalizers, v1alpha1.Finalizer(cluster))
	}
	c.compare("finalizers", strings.Join(finalizers, ","), strings.Join(slices.Sorted(slices.Values(d.Finalizers)), ","))
	c.compare("condition Synced", "True", conditionOf(d, v1alpha1.ConditionSynced))
}

// compareDownstream compares what a cluster says of its copy, which its own controllers look after.
func (e expectation) compareDownstream(c *comparison, d *appsv1.Deployment) {
	e.compareDeployment(c, d, e.replicas)
	c.compare("generation of kcp that the copy is of", fmt.Sprint(e.generation), d.Annotations[v1alpha1.SourceGenerationAnnotation])
}

// compareDeployment compares what is said alike on both sides. running is how many replicas are to be counted.
func (e expectation) compareDeployment(c *comparison, d *appsv1.Deployment, running int32) {
	c.compare("replicas asked for", e.replicas, ptr.Deref(d.Spec.Replicas, 1))
	c.compare("image", e.image, imageOf(d))
	c.compare("observed generation", d.Generation, d.Status.ObservedGeneration)
	c.compare("replicas", running, d.Status.Replicas)
	c.compare("ready replicas", running, d.Status.ReadyReplicas)
	c.compare("up-to-date replicas", running, d.Status.UpdatedReplicas)
	c.compare("available replicas", running, d.Status.AvailableReplicas)
	c.compare("unavailable replicas", int32(0), d.Status.UnavailableReplicas)
	c.compare("condition Available", "True", conditionOf(d, string(appsv1.DeploymentAvailable)))
	c.compare("condition Progressing", "True", conditionOf(d, string(appsv1.DeploymentProgressing)))
}

// conditionOf returns the status of a condition, and why it is not true.
func conditionOf(d *appsv1.Deployment, conditionType string) string {
	for _, condition := range d.Status.Conditions {
		if string(condition.Type) != conditionType {
			continue
		}
		if condition.Status == "True" {
			return "True"
		}
		return fmt.Sprintf("%s (%s: %s)", condition.Status, condition.Reason, condition.Message)
	}
	return "none"
}

// comparison collects what is not as expected in one place after the other.
type comparison struct {
	where string
	found []string
}

// compare notes when a value is not the wanted one. Both are of the same type.
func (c *comparison) compare(what string, want, got any) {
	if want != got {
		c.found = append(c.found, fmt.Sprintf("%s: %s: expected %v, found %v", c.where, what, orNothing(want), orNothing(got)))
	}
}

// presence notes when a Deployment is not there that should be, or the other way round. It says whether there is
// one to compare.
func (c *comparison) presence(d *appsv1.Deployment, want bool) bool {
	switch {
	case want && d == nil:
		c.found = append(c.found, c.where+": expected a Deployment, found none")
	case !want && d != nil:
		c.found = append(c.found, c.where+": expected no Deployment, found one (image "+imageOf(d)+")")
	}
	return want && d != nil
}

// orNothing makes an empty text visible.
func orNothing(value any) any {
	if value == "" {
		return "nothing"
	}
	return value
}
