package inventory

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// Upstream is what an Inventory needs of kcp's caches.
type Upstream interface {
	Cached(key kcp.ObjectKey) *unstructured.Unstructured
	Resources() map[schema.GroupVersionResource]kcp.Resource
	EachIn(workspace logicalcluster.Name, namespace string, visit func(kcp.ObjectKey, *unstructured.Unstructured))
	EachBy(index, value string, visit func(kcp.ObjectKey, *unstructured.Unstructured))
}

const (
	// needsIndex finds the objects that name an object.
	needsIndex = "needs"
	// clusterIndex finds what is placed on a cluster, or held by its syncer.
	clusterIndex = "on-cluster"
	// namesakesIndex finds what is placed anywhere by kind, namespace and name, in all
	// workspaces.
	namesakesIndex = "namesakes"
	// followersIndex finds what may follow an object, leadersIndex what an object may follow, by their ties: see pkg/kinds.
	followersIndex = "followers"
	leadersIndex   = "leaders"
	// placementsIndex finds the WorkloadPlacements of a namespace.
	placementsIndex = "placements"
)

var placementKind = schema.GroupKind{Group: v1alpha1.GroupName, Kind: "WorkloadPlacement"}

// Indexers returns the indexers that the caches must have. The kinds say what objects need.
func Indexers(known kinds.Kinds) cache.Indexers {
	valuesOf := map[string]func(*unstructured.Unstructured) []string{
		needsIndex: func(obj *unstructured.Unstructured) []string {
			var values []string
			for _, reference := range known.Needs(obj) {
				values = append(values, needsValue(kcp.WorkspaceOf(obj), reference.Resource, obj.GetNamespace(), reference.Name))
			}
			return values
		},
		clusterIndex: func(obj *unstructured.Unstructured) []string { return protocol.Read(obj).Present() },
		namesakesIndex: func(obj *unstructured.Unstructured) []string {
			if len(protocol.Read(obj).Labelled()) == 0 {
				return nil
			}
			return []string{namesakesValue(obj)}
		},
		followersIndex: func(obj *unstructured.Unstructured) []string {
			if !known.MayFollow(obj.GroupVersionKind().GroupKind()) {
				return nil
			}
			return tieValues(obj, followerTies(known, obj))
		},
		leadersIndex: func(obj *unstructured.Unstructured) []string {
			return tieValues(obj, leaderTies(known, obj))
		},
		placementsIndex: func(obj *unstructured.Unstructured) []string {
			if obj.GroupVersionKind().GroupKind() != placementKind {
				return nil
			}
			return []string{placementsValue(kcp.WorkspaceOf(obj), obj.GetNamespace())}
		},
		bindingsIndex: func(obj *unstructured.Unstructured) []string {
			if !isBinding(obj) {
				return nil
			}
			return []string{kcp.WorkspaceOf(obj).String()}
		},
	}
	indexers := cache.Indexers{}
	for name, values := range valuesOf {
		indexers[name] = func(obj any) ([]string, error) {
			upstreamObj, ok := obj.(*unstructured.Unstructured)
			if !ok {
				return nil, nil
			}
			return values(upstreamObj), nil
		}
	}
	return indexers
}

func needsValue(workspace logicalcluster.Name, resource schema.GroupResource, namespace, name string) string {
	return workspace.String() + "|" + resource.String() + "|" + namespace + "/" + name
}

func namesakesValue(upstreamObj *unstructured.Unstructured) string {
	return upstreamObj.GroupVersionKind().GroupKind().String() + "|" + upstreamObj.GetNamespace() + "/" + upstreamObj.GetName()
}

// selfTie is the tie of an object that goes where those go that name it.
func selfTie(resource schema.GroupResource, name string) string {
	return "self " + resource.String() + "/" + name
}

// followerTies returns the ties of an object by what it may follow, leaderTies those by what may follow it.
func followerTies(known kinds.Kinds, obj *unstructured.Unstructured) []string {
	return append(known.FollowerTies(obj), selfTie(known.ResourceOf(obj), obj.GetName()))
}

func leaderTies(known kinds.Kinds, obj *unstructured.Unstructured) []string {
	ties := known.LeaderTies(obj)
	for _, follower := range known.Followers(obj) {
		ties = append(ties, selfTie(follower.Resource, follower.Name))
	}
	if known.MayLead(obj.GroupVersionKind().GroupKind()) {
		ties = append(ties, known.OwnTies(obj)...)
	}
	return ties
}

func tieValue(workspace logicalcluster.Name, namespace, tie string) string {
	return workspace.String() + "|" + namespace + "|" + tie
}

func tieValues(obj *unstructured.Unstructured, ties []string) []string {
	workspace, namespace := kcp.WorkspaceOf(obj), obj.GetNamespace()
	for i, tie := range ties {
		ties[i] = tieValue(workspace, namespace, tie)
	}
	return ties
}

func placementsValue(workspace logicalcluster.Name, namespace string) string {
	return workspace.String() + "|" + namespace
}

// Inventory finds objects by how they relate to others, and to clusters.
type Inventory struct {
	upstream Upstream
	kinds    kinds.Kinds

	mu sync.Mutex
	// read are the placements of namespaces that have any, as they were read last.
	read map[string][]readPlacement
}

// readPlacement is a placement that was read, and what it was read from.
type readPlacement struct {
	obj *unstructured.Unstructured
	// placement is nil where it cannot be decoded.
	placement *v1alpha1.WorkloadPlacement
}

// New returns an Inventory over caches that have Indexers of the same kinds.
func New(upstream Upstream, known kinds.Kinds) *Inventory {
	return &Inventory{upstream: upstream, kinds: known, read: map[string][]readPlacement{}}
}

// Need is an object that another one names.
type Need struct {
	Key kcp.ObjectKey
	// Object is nil when there is none.
	Object *unstructured.Unstructured
	// Optional is set when the other object works without it.
	Optional bool
}

// Needs returns what the object names and its clusters do not make themselves, of the kinds that kcp serves.
func (i *Inventory) Needs(key kcp.ObjectKey, obj *unstructured.Unstructured) []Need {
	var needs []Need
	i.eachNeed(key, obj, func(needed kcp.ObjectKey, isOptional bool) {
		needs = append(needs, Need{Key: needed, Object: i.upstream.Cached(needed), Optional: isOptional})
	})
	return needs
}

// NeedKeys returns the keys of Needs.
func (i *Inventory) NeedKeys(key kcp.ObjectKey, obj *unstructured.Unstructured) []kcp.ObjectKey {
	var keys []kcp.ObjectKey
	i.eachNeed(key, obj, func(needed kcp.ObjectKey, _ bool) { keys = append(keys, needed) })
	return keys
}

func (i *Inventory) eachNeed(key kcp.ObjectKey, obj *unstructured.Unstructured, visit func(needed kcp.ObjectKey, isOptional bool)) {
	references := i.kinds.Needs(obj)
	if len(references) == 0 {
		return
	}
	served := i.upstream.Resources()
	for _, reference := range references {
		for resource := range served {
			if resource.GroupResource() == reference.Resource {
				visit(kcp.ObjectKey{Workspace: key.Workspace, Resource: resource, Namespace: key.Namespace, Name: reference.Name}, reference.Optional)
			}
		}
	}
}

// EachDependent calls visit for every object that names the one of the key. That object
// need not exist.
func (i *Inventory) EachDependent(key kcp.ObjectKey, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	i.upstream.EachBy(needsIndex, needsValue(key.Workspace, key.Resource.GroupResource(), key.Namespace, key.Name), visit)
}

// EachFollowed calls visit for every object that this one follows. It goes to their clusters, as to those of the objects that name it.
func (i *Inventory) EachFollowed(key kcp.ObjectKey, obj *unstructured.Unstructured, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	if !i.kinds.MayFollow(obj.GroupVersionKind().GroupKind()) {
		return
	}
	i.eachTied(key, leadersIndex, followerTies(i.kinds, obj), func(leader *unstructured.Unstructured) bool { return i.kinds.Follows(obj, leader) }, visit)
}

// EachFollower calls visit with the key of every object that goes to this one's clusters:
// those that it names, which need not exist, and those that follow it.
func (i *Inventory) EachFollower(key kcp.ObjectKey, obj *unstructured.Unstructured, visit func(kcp.ObjectKey)) {
	for _, need := range i.NeedKeys(key, obj) {
		visit(need)
	}
	i.eachTied(key, followersIndex, leaderTies(i.kinds, obj), func(follower *unstructured.Unstructured) bool { return i.kinds.Follows(follower, obj) },
		func(followerKey kcp.ObjectKey, _ *unstructured.Unstructured) { visit(followerKey) })
}

// eachTied calls visit once for every object of the namespace of the key that an index has under one of the ties, and that is a relation.
func (i *Inventory) eachTied(key kcp.ObjectKey, index string, ties []string, isRelated func(*unstructured.Unstructured) bool, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	seen := map[kcp.ObjectKey]*unstructured.Unstructured{}
	for _, tie := range ties {
		i.upstream.EachBy(index, tieValue(key.Workspace, key.Namespace, tie), func(other kcp.ObjectKey, obj *unstructured.Unstructured) {
			if _, isSeen := seen[other]; !isSeen && isRelated(obj) {
				seen[other] = obj
			}
		})
	}
	for other, obj := range seen {
		visit(other, obj)
	}
}

// EachOn calls visit for every object that is placed on the cluster or held by its syncer.
func (i *Inventory) EachOn(cluster string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	i.upstream.EachBy(clusterIndex, cluster, visit)
}

// EachNamesake calls visit for every object of other workspaces that has the kind, the
// namespace and the name of this one, and is placed on the cluster. Unless the cluster keeps
// workspaces apart, their copies would be one object there.
func (i *Inventory) EachNamesake(key kcp.ObjectKey, obj *unstructured.Unstructured, cluster string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	i.upstream.EachBy(namesakesIndex, namesakesValue(obj), func(otherKey kcp.ObjectKey, other *unstructured.Unstructured) {
		if protocol.Read(other).IsLabelled(cluster) && otherKey.Workspace != key.Workspace && otherKey.Resource == key.Resource {
			visit(otherKey, other)
		}
	})
}

// Placements returns the WorkloadPlacements of a namespace, in no order. It leaves out those
// that cannot be decoded; their schema does not let there be any. Nobody may change them: they are decoded once, and shared.
func (i *Inventory) Placements(workspace logicalcluster.Name, namespace string) []*v1alpha1.WorkloadPlacement {
	value := placementsValue(workspace, namespace)
	var found []*unstructured.Unstructured
	i.upstream.EachBy(placementsIndex, value, func(_ kcp.ObjectKey, obj *unstructured.Unstructured) { found = append(found, obj) })
	i.mu.Lock()
	defer i.mu.Unlock()
	before := i.read[value]
	if len(found) == 0 {
		if before != nil {
			delete(i.read, value)
		}
		return nil
	}
	now, placements := make([]readPlacement, 0, len(found)), make([]*v1alpha1.WorkloadPlacement, 0, len(found))
	for _, obj := range found {
		one := readPlacement{obj: obj}
		if at := slices.IndexFunc(before, func(r readPlacement) bool { return r.obj == obj }); at >= 0 {
			one = before[at]
		} else if placement := new(v1alpha1.WorkloadPlacement); runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, placement) == nil {
			one.placement = placement
		}
		if now = append(now, one); one.placement != nil {
			placements = append(placements, one.placement)
		}
	}
	i.read[value] = now
	return placements
}
