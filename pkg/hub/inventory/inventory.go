package inventory

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
)

// Upstream is what an Inventory needs of kcp's caches.
type Upstream interface {
	Cached(key kcp.ObjectKey) *unstructured.Unstructured
	Resources() map[schema.GroupVersionResource]kcp.Resource
	EachIn(workspace logicalcluster.Name, namespace string, visit func(kcp.ObjectKey, *unstructured.Unstructured))
	EachBy(index, value string, visit func(kcp.ObjectKey, *unstructured.Unstructured))
}

// needsIndex finds the objects that name an object.
const needsIndex = "needs"

// Indexers are those that the caches must have. The kinds say what objects need.
func Indexers(known kinds.Kinds) cache.Indexers {
	return cache.Indexers{
		needsIndex:      indexer(func(obj *unstructured.Unstructured) []string { return needsValues(known, obj) }),
		clusterIndex:    indexer(clusterValues),
		namesakesIndex:  indexer(namesakesValues),
		placementsIndex: indexer(placementsValues),
		bindingsIndex:   indexer(bindingsValues),
	}
}

func indexer(values func(*unstructured.Unstructured) []string) cache.IndexFunc {
	return func(obj any) ([]string, error) {
		upstreamObj, ok := obj.(*unstructured.Unstructured)
		if !ok {
			return nil, nil
		}
		return values(upstreamObj), nil
	}
}

func needsValues(known kinds.Kinds, upstreamObj *unstructured.Unstructured) []string {
	var values []string
	for _, reference := range known.Needs(upstreamObj) {
		values = append(values, needsValue(logicalcluster.From(upstreamObj), reference.Resource, upstreamObj.GetNamespace(), reference.Name))
	}
	return values
}

func needsValue(workspace logicalcluster.Name, resource schema.GroupResource, namespace, name string) string {
	return workspace.String() + "|" + resource.String() + "|" + namespace + "/" + name
}

// Inventory looks relations up.
type Inventory struct {
	upstream Upstream
	kinds    kinds.Kinds
}

// New returns an Inventory over caches that have Indexers of the same kinds.
func New(upstream Upstream, known kinds.Kinds) *Inventory { return &Inventory{upstream, known} }

// Need is an object that another one names.
type Need struct {
	Key kcp.ObjectKey
	// Object is nil when there is none.
	Object *unstructured.Unstructured
	// Optional is set when the other does without.
	Optional bool
}

// Needs returns what the object names, of the kinds that kcp serves.
func (i *Inventory) Needs(key kcp.ObjectKey, obj *unstructured.Unstructured) []Need {
	references := i.kinds.Needs(obj)
	if len(references) == 0 {
		return nil
	}
	served := i.upstream.Resources()
	var needs []Need
	for _, reference := range references {
		for resource := range served {
			if resource.GroupResource() != reference.Resource {
				continue
			}
			needed := kcp.ObjectKey{Workspace: key.Workspace, Resource: resource, Namespace: key.Namespace, Name: reference.Name}
			needs = append(needs, Need{Key: needed, Object: i.upstream.Cached(needed), Optional: reference.Optional})
		}
	}
	return needs
}

// EachDependent calls visit for every object that names the one of the key, which
// need not exist.
func (i *Inventory) EachDependent(key kcp.ObjectKey, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	i.upstream.EachBy(needsIndex, needsValue(key.Workspace, key.Resource.GroupResource(), key.Namespace, key.Name), visit)
}

// EachLeader calls visit for every object to whose clusters this one goes: those
// that name it, and those that it belongs with.
func (i *Inventory) EachLeader(key kcp.ObjectKey, obj *unstructured.Unstructured, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	i.EachDependent(key, visit)
	if !i.kinds.MayFollow(obj.GroupVersionKind().GroupKind()) {
		return
	}
	i.upstream.EachIn(key.Workspace, key.Namespace, func(leaderKey kcp.ObjectKey, leader *unstructured.Unstructured) {
		if i.kinds.Follows(obj, leader) {
			visit(leaderKey, leader)
		}
	})
}

// EachFollower calls visit with the key of every object that goes to this one's
// clusters. Of what it names, that need not exist.
func (i *Inventory) EachFollower(key kcp.ObjectKey, obj *unstructured.Unstructured, visit func(kcp.ObjectKey)) {
	for _, need := range i.Needs(key, obj) {
		visit(need.Key)
	}
	i.upstream.EachIn(key.Workspace, key.Namespace, func(followerKey kcp.ObjectKey, follower *unstructured.Unstructured) {
		if i.kinds.MayFollow(follower.GroupVersionKind().GroupKind()) && i.kinds.Follows(follower, obj) {
			visit(followerKey)
		}
	})
}
