package syncer

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// What is in this file reads caches and memories, and does nothing else.

// gather reads all that the copy of an object depends on.
func (s *Syncer) gather(key kcp.ObjectKey) evaluate.Input {
	remembered, settings := s.memories.get(key), s.settings.Load()
	in := evaluate.Input{
		Origin:   transform.Origin{Workspace: key.Workspace.String(), Namespace: key.Namespace, Name: key.Name, Cluster: s.cluster},
		Resource: key.Resource, Settings: settings, Upstream: s.upstream.Cached(key), Final: remembered.final,
		NotServed: s.caches.lacks(key.Resource), Ineffective: remembered.ineffective,
	}
	if last := remembered.evaluation; last != nil && last.Settings == settings {
		in.Namespace, in.Name = last.Namespace, last.Name
	} else {
		in.Namespace, in.Name = in.Origin.Target(settings.Rule)
	}
	if in.Downstream = s.caches.at(key.Resource, in.Namespace, in.Name); in.Downstream != nil {
		in.HasAutoscaler = s.caches.hasAutoscaler(in.Downstream)
	}
	namespace := s.caches.namespace(in.Namespace)
	in.Target = evaluate.Target{
		Marked: namespace != nil, Made: namespace != nil && evaluate.IsMade(namespace), Owner: evaluate.Owner(namespace),
		Foreign: s.news.isForeign(in.Namespace, s.now()), Terminating: s.waitsFor(in.Namespace, namespace),
	}
	_, in.Target.Written = s.news.owner(in.Namespace)
	return in
}

// gatherAround reads what is decided with beside the evaluation. What the object needs is read only where that counts.
func (s *Syncer) gatherAround(key kcp.ObjectKey, e *evaluate.Evaluation) evaluate.Surroundings {
	around := evaluate.Surroundings{EndingFor: s.endingFor(key, e.Downstream), Contest: s.standing(key, e)}
	for _, downstreamObj := range s.caches.of(key.Resource, e.Origin) {
		if downstreamObj.GetNamespace() != e.Namespace || downstreamObj.GetName() != e.Name {
			around.Strays = append(around.Strays, evaluate.Stray{Copy: downstreamObj, HasWorkloads: s.caches.hasWorkloads(downstreamObj.GetNamespace())})
		}
	}
	if !e.Placed || e.Difference == evaluate.NoDifference {
		return around
	}
	for _, reference := range s.references(key, e.Upstream) {
		needed := s.upstream.Cached(reference)
		if needed == nil || !evaluate.IsPlaced(needed, s.cluster) {
			continue // the hub has not placed it here: it is optional, or missing, and the hub says so
		}
		remembered := s.memories.get(reference)
		around.Needs = append(around.Needs, evaluate.Need{Input: s.gather(reference), Last: remembered.evaluation, Problems: remembered.problems})
	}
	return around
}

// references returns the keys of what an upstream object names, and nothing on the cluster makes.
func (s *Syncer) references(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) []kcp.ObjectKey {
	whole, err := transform.Whole(upstreamObj)
	if err != nil {
		return nil // no copy is made of it either
	}
	served, provided := s.upstream.Resources(), s.settings.Load().Provided
	var keys []kcp.ObjectKey
	for _, reference := range s.kinds.Needs(whole) {
		if protocol.AnyHas(provided, reference.Resource, key.Namespace, reference.Name) {
			continue
		}
		for resource := range served {
			if resource.GroupResource() == reference.Resource {
				keys = append(keys, kcp.ObjectKey{Workspace: key.Workspace, Resource: resource, Namespace: key.Namespace, Name: reference.Name})
			}
		}
	}
	return keys
}

// gatherNamespace reads what is known of a namespace of the cluster.
func (s *Syncer) gatherNamespace(name string) evaluate.NamespaceInput {
	in := evaluate.NamespaceInput{Name: name, Cluster: s.cluster, Settings: s.settings.Load(), Namespace: s.caches.namespace(name)}
	s.caches.eachIn(name, func(_ schema.GroupVersionResource, downstreamObj *unstructured.Unstructured) bool {
		origin, ok := transform.OriginOf(downstreamObj)
		in.Copies = append(in.Copies, evaluate.CopyIn{Origin: origin, Lost: !ok, Created: downstreamObj.GetCreationTimestamp().Time})
		return true
	})
	if in.Namespace == nil {
		return in
	}
	owner, _ := transform.OriginOf(in.Namespace)
	_, in.Inherited = s.inherited.Load(inheritedNamespace{name, owner})
	if owner.Workspace == "" {
		return in
	}
	workspace := logicalcluster.Name(owner.Workspace)
	s.upstream.EachIn(workspace, owner.Name, func(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) {
		in.Awaited = in.Awaited || evaluate.IsPlaced(upstreamObj, s.cluster)
		in.Held = in.Held || s.holds(key, upstreamObj)
	})
	in.Upstream = s.upstream.Cached(kcp.ObjectKey{Workspace: workspace, Resource: v1alpha1.NamespacesResource, Name: owner.Name})
	return in
}

// copies returns all our copies of the object.
func (t turn) copies() []*unstructured.Unstructured {
	copies := t.strays()
	if t.Difference != evaluate.Missing && t.Difference != evaluate.Foreign {
		copies = append(copies, t.Downstream)
	}
	return copies
}

// strays returns our copies that lie where the object used to go.
func (t turn) strays() []*unstructured.Unstructured {
	strays := make([]*unstructured.Unstructured, 0, len(t.around.Strays)+1)
	for _, stray := range t.around.Strays {
		strays = append(strays, stray.Copy)
	}
	return strays
}
