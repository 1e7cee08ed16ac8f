package evaluate

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// NamespaceAction is what one turn does with a namespace of the cluster.
type NamespaceAction string

// The actions.
const (
	// Keep leaves the namespace as it is.
	Keep NamespaceAction = "keep"
	// Adjust applies it as its owner is to have it.
	Adjust NamespaceAction = "adjust"
	// Assign notes the owner of a namespace that bears no mark of ours, though copies are there: they came when workspaces were
	// not separated, or somebody took the mark off.
	Assign NamespaceAction = "assign"
	// Reassign makes another workspace, which has copies there, the owner.
	Reassign NamespaceAction = "reassign"
	// Unassign takes our mark off a namespace that tmc did not make.
	Unassign NamespaceAction = "unassign"
	// Remove removes a namespace that tmc made, if it is empty.
	Remove NamespaceAction = "remove"
)

// NamespaceInput is what is known of a namespace of the cluster.
type NamespaceInput struct {
	Name, Cluster string
	Settings      *Settings
	// Namespace is nil when it bears no mark of ours.
	Namespace *unstructured.Unstructured
	// Inherited is set when it was made for a cluster name that is not registered any more, and is looked after by this syncer.
	Inherited bool
	// Copies are the copies in it, those included that were made for other cluster names.
	Copies []CopyIn
	// Awaited is set when objects that go there are placed here: objects of the upstream namespace that the owner has it for. Held is
	// set when such objects are held for the cluster, and may have a copy that the cache does not show yet.
	Awaited, Held bool
	// Upstream is that upstream namespace, nil when the caches do not have it.
	Upstream *unstructured.Unstructured
}

// CopyIn is a copy in a namespace.
type CopyIn struct {
	Origin transform.Origin
	// Lost is set when the copy does not say any more what it is of.
	Lost    bool
	Created time.Time
}

// NamespaceEvaluation is what follows from a NamespaceInput.
type NamespaceEvaluation struct {
	Action NamespaceAction
	// Owner is whose the namespace is, without a workspace when it has no owner, and Desired how it should be for the owner, nil
	// when that is not known.
	Owner   transform.Origin
	Desired *unstructured.Unstructured
	// Next is who is to own the namespace when its owner does not use it: of the workspaces that have copies there, the one with
	// the oldest. It is nil when there is none, or workspaces share namespaces.
	Next *transform.Origin
	// OnlyHeld is set when the owner uses the namespace for nothing but objects that are to leave: no copy is in it, and none is to
	// come.
	OnlyHeld bool
}

// Owner returns the workspace that owns a namespace of the cluster, nil for none, empty when none does. The namespace has no
// marks but those that are the syncer's.
func Owner(namespace *unstructured.Unstructured) string {
	if namespace == nil {
		return ""
	}
	origin, _ := transform.OriginOf(namespace)
	return origin.Workspace
}

// IsMade reports whether tmc made a namespace of the cluster.
func IsMade(namespace *unstructured.Unstructured) bool {
	return namespace.GetLabels()[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue
}

// Namespace returns what to do about a namespace: nothing about one that is not the syncer's to look after. It fails when
// the namespace, as it should be, cannot be encoded.
func Namespace(in NamespaceInput) (NamespaceEvaluation, error) {
	e := NamespaceEvaluation{Action: Keep}
	if in.Namespace != nil {
		e.Owner, _ = transform.OriginOf(in.Namespace)
	}
	if e.Owner.Cluster != "" && e.Owner.Cluster != in.Cluster && !in.Inherited {
		return e, nil // another syncer looks after it
	}
	isUsed, err := e.isUsed(in)
	if err != nil {
		return NamespaceEvaluation{}, err
	}
	if !isUsed && in.Settings.Rule.SeparatesWorkspaces() && in.Settings.Denies(in.Name) == "" {
		e.Next = nextOwner(in)
	}
	e.Action = e.decide(in.Namespace, isUsed)
	return e, nil
}

// decide returns what to do about a namespace, nil for one that bears no mark of ours.
func (e *NamespaceEvaluation) decide(namespace *unstructured.Unstructured, isUsed bool) NamespaceAction {
	switch {
	case namespace == nil && e.Next != nil:
		return Assign
	case namespace == nil, isEnding(namespace), e.Next == nil && e.hasLostMark(namespace):
		return Keep // it is not known whose one was to look after that has lost its mark
	case isUsed && e.Desired != nil && !transform.IsInSync(e.Desired, namespace):
		return Adjust
	case isUsed:
		return Keep
	case e.Next != nil:
		return Reassign
	case IsMade(namespace):
		return Remove
	default:
		return Unassign
	}
}

// hasLostMark reports whether tmc made a namespace that no longer says for which cluster name.
func (e *NamespaceEvaluation) hasLostMark(namespace *unstructured.Unstructured) bool {
	return IsMade(namespace) && e.Owner.Cluster == ""
}

// isUsed reports whether the owner of a namespace uses it, and makes the namespace as the owner is to have it.
func (e *NamespaceEvaluation) isUsed(in NamespaceInput) (bool, error) {
	if in.Namespace == nil {
		return false, nil
	}
	isShared := !in.Settings.Rule.SeparatesWorkspaces() && IsMade(in.Namespace)
	isUsed := slices.ContainsFunc(in.Copies, func(c CopyIn) bool { return isShared || c.Lost || c.Origin.Workspace == e.Owner.Workspace })
	if e.Owner.Workspace == "" || transform.Namespace(in.Settings.Rule, e.Owner.Workspace, e.Owner.Name) != in.Name {
		return isUsed, nil // it has no owner; or the rule has changed, and nothing new goes there
	}
	e.OnlyHeld = in.Held && !in.Awaited && !isUsed
	return isUsed || in.Awaited || in.Held, e.makeDesired(in)
}

// makeDesired makes the namespace as its owner is to have it.
func (e *NamespaceEvaluation) makeDesired(in NamespaceInput) (err error) {
	owner := e.Owner
	owner.Cluster = in.Cluster
	if !IsMade(in.Namespace) {
		e.Desired, err = transform.NotedNamespace(in.Name, owner)
	} else if in.Upstream != nil { // or it is gone, or nothing of it is placed here any more
		e.Desired, err = transform.DesiredNamespace(in.Upstream, owner, in.Settings.Rule)
	}
	return err
}

// nextOwner returns the workspace, as an owner, that has the oldest copy in the namespace, nil for none. Copies that were made
// for other cluster names do not count: their syncers look after them.
func nextOwner(in NamespaceInput) *transform.Origin {
	var next *transform.Origin
	var since time.Time
	for _, c := range in.Copies {
		if c.Lost || c.Origin.Cluster != in.Cluster {
			continue
		}
		if next == nil || c.Created.Before(since) || c.Created.Equal(since) && c.Origin.Workspace < next.Workspace {
			next, since = &transform.Origin{Workspace: c.Origin.Workspace, Name: c.Origin.Namespace, Cluster: in.Cluster}, c.Created
		}
	}
	return next
}
