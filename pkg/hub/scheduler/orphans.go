package scheduler

import (
	"context"
	"errors"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// What was deleted with --cascade=orphan leaves pods behind that run on. They use what went where it went: claims of volumes with
// their data, ConfigMaps, the Service that leads to them. That stays, too, until there is an object of that name again, which it
// follows then. It is noted on each before kcp may forget how the object was deleted, and so before the object can be gone.

// retire writes what is to be written on an object that is being deleted.
func (s *Scheduler) retire(ctx context.Context, key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) error {
	whole, regained := s.restored(key, upstreamObj)
	change := placement.Retire(whole, s.groupsOf)
	if wish := change.Annotations[v1alpha1.PropagationAnnotation]; wish != nil && *wish == string(metav1.DeletePropagationOrphan) {
		if err := s.keepFollowers(ctx, key, upstreamObj); err != nil {
			return err
		}
	}
	return s.write(ctx, key, change.Regaining(protocol.Read(upstreamObj), regained))
}

// keepFollowers notes on what follows an object that it stays where it is.
func (s *Scheduler) keepFollowers(ctx context.Context, key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) error {
	var followers []kcp.ObjectKey
	s.config.Inventory.EachFollower(key, upstreamObj, func(follower kcp.ObjectKey) { followers = append(followers, follower) })
	var errs []error
	for _, followerKey := range followers {
		follower := s.config.Upstream.Cached(followerKey)
		if follower == nil || follower.GetDeletionTimestamp() != nil || !s.lastDecision(followerKey, follower).Follows {
			continue
		}
		said, leader := protocol.Read(follower), nameOf(key)
		if stays := said.StaysFor(); len(said.Placed()) > 0 && !slices.Contains(stays, leader) {
			change := said.NewChange()
			change.StayFor(append(slices.Clone(stays), leader))
			klog.FromContext(ctx).V(2).Info("Keeping what is left behind from losing what it uses", "object", followerKey)
			errs = append(errs, s.write(ctx, followerKey, change))
		}
	}
	return errors.Join(errs...)
}

// nameOf returns how StaysForAnnotation names an object.
func nameOf(key kcp.ObjectKey) string { return key.Resource.GroupResource().String() + "/" + key.Name }

// staysFor returns those that an object stays for which are not there again.
func (s *Scheduler) staysFor(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) []string {
	stays := protocol.Read(upstreamObj).StaysFor()
	if len(stays) == 0 {
		return nil
	}
	return slices.DeleteFunc(stays, func(leader string) bool { return s.isThere(key, strings.TrimSpace(leader)) })
}

// isThere reports whether there is an object of the namespace of the key that StaysForAnnotation names so, and is not being deleted.
func (s *Scheduler) isThere(key kcp.ObjectKey, leader string) bool {
	kind, name, _ := strings.Cut(leader, "/")
	for resource := range s.config.Upstream.Resources() {
		if resource.GroupResource().String() != kind {
			continue
		}
		key.Resource, key.Name = resource, name
		if other := s.config.Upstream.Cached(key); other != nil && other.GetDeletionTimestamp() == nil {
			return true
		}
	}
	return false
}

// stay adds to where an object goes that follows others where it stays: for what was left behind, and, where it holds data, when it
// follows nothing any more. Who deletes a Deployment, to make it anew perhaps, has not asked for its volumes to be deleted, and on
// one cluster they are not. It stays on clusters that are there, and not being drained.
func (s *Scheduler) stay(upstreamObj *unstructured.Unstructured, decision placement.Decision, stays []string) placement.Decision {
	isLeft := len(decision.Clusters) == 0 && s.config.Kinds.Of(upstreamObj.GroupVersionKind().GroupKind()).HoldsData
	if !decision.Follows || len(stays) == 0 && !isLeft {
		return decision
	}
	for _, name := range protocol.Read(upstreamObj).Placed() {
		if cluster := s.config.Registry.Cluster(name); cluster.Name != "" && !cluster.Draining && !slices.Contains(decision.Clusters, name) {
			decision.Clusters = append(decision.Clusters, name)
		}
	}
	slices.Sort(decision.Clusters)
	return decision
}
