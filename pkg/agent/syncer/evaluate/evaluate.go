package evaluate

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// Settings are what the cluster's operator has decided.
type Settings struct {
	// Kinds are the kinds that are known.
	Kinds kinds.Kinds
	// Rule says how copies are adapted to the cluster.
	Rule v1alpha1.TransformRule
	// Own is the namespace that the syncer itself runs in, empty when it runs outside of the cluster. Nothing comes into it.
	Own string
	// Denied are patterns of namespaces that nothing comes into, Allowed those of namespaces that copies come into although
	// tmc did not make them: see transform.Matched.
	Denied, Allowed []string
	// Provided are the objects that something on the cluster makes: no copy waits for them.
	Provided []protocol.Provided
}

// Denies says why nothing may come into a namespace of the cluster, empty when copies may.
func (s *Settings) Denies(namespace string) string {
	if namespace == s.Own {
		return fmt.Sprintf("namespace %s of the cluster is the syncer's own, and denied to what comes from kcp", namespace)
	}
	if pattern := transform.Matched(s.Denied, namespace); pattern != "" {
		return fmt.Sprintf("namespace %s of the cluster is denied to what comes from kcp (spec.deniedNamespaces of the cluster's registration: %s)", namespace, pattern)
	}
	return ""
}

// Allows reports whether copies may come into a namespace although tmc did not make it.
func (s *Settings) Allows(namespace string) bool {
	return transform.Matched(s.Allowed, namespace) != ""
}

// Input is all that a copy depends on, and what lies where it goes. The objects belong to caches and are not to be changed.
type Input struct {
	// Origin says which upstream object it is about, and for which cluster.
	Origin   transform.Origin
	Resource schema.GroupVersionResource
	// Namespace and Name are where the copy goes.
	Namespace, Name string
	// Settings are the cluster's. They are replaced as a whole, never changed.
	Settings *Settings
	// Upstream is the upstream object, nil when the caches do not have it. It may be packed: see transform.Whole.
	Upstream *unstructured.Unstructured
	// Downstream is what lies where the copy goes, nil for nothing. It bears no marks of tmc but those that are the syncer's:
	// see transform.KeepOwnMarks.
	Downstream *unstructured.Unstructured
	// Final is the last that was seen of a copy that has ended and is gone, nil when there was none.
	Final *unstructured.Unstructured
	// NotServed says why the cluster can have no copies of the resource, empty when it can.
	NotServed string
	// HasAutoscaler is set while an autoscaler of the cluster scales the copy.
	HasAutoscaler bool
	// Target is what is known of the namespace that the copy goes to.
	Target Target
	// Ineffective is the last apply that changed nothing.
	Ineffective Apply
}

// Apply is one apply: the hash of what was applied, and the fingerprint (transform.Fingerprint) of what it was applied onto.
type Apply struct{ Hash, Onto string }

// Target is what is known, without asking the cluster, of the namespace that a copy goes to.
type Target struct {
	// Marked is set when the cache has the namespace, with a mark of ours; Made when tmc made it.
	Marked, Made bool
	// Owner is the workspace that owns the namespace, empty when none does.
	Owner string
	// Written is set when we wrote the namespace and the cache does not show that yet.
	Written bool
	// Foreign is set when the cluster has answered a moment ago that it has the namespace, and that tmc did not make it.
	Foreign bool
	// Terminating says what the namespace waits for that is being deleted: see WaitsFor. It is empty when the namespace is not.
	Terminating string
}

// Difference is how what lies where the copy goes differs from the copy as it should be.
type Difference string

// The kinds of difference.
const (
	// NoDifference is a copy as it should be.
	NoDifference Difference = "none"
	// Missing is that of no object.
	Missing Difference = "missing"
	// Foreign is an object that is not our copy of the upstream object.
	Foreign Difference = "foreign"
	// Namesake is the copy of an earlier upstream object of the same name.
	Namesake Difference = "namesake"
	// Outdated is a copy that was made from something else: of the upstream object, of the rule, or of tmc.
	Outdated Difference = "outdated"
	// Drifted is a copy of which somebody has changed or removed fields that we applied.
	Drifted Difference = "drifted"
	// Undetermined is a copy of ours, when there is nothing to compare it with.
	Undetermined Difference = "undetermined"
)

// Evaluation is what follows from an Input alone.
type Evaluation struct {
	// Input is what was evaluated.
	Input

	// Difference is that of Input.Downstream.
	Difference Difference
	// Desired is the copy as it should be, not to be changed. It is nil when the object is not placed here, when there is a
	// Problem, and when it was forgotten: see Forget.
	Desired *unstructured.Unstructured
	// Problem keeps the copy from being made, nil when nothing does.
	Problem *protocol.Problem
	// Tolerated is the problem that the copy lies in a namespace that it could not come into today, nil when it could. The
	// copy is kept up all the same.
	Tolerated *protocol.Problem
	// AwaitsNamespace is set when news of the namespace may change the evaluation.
	AwaitsNamespace bool
	// Placed is set when the object is to be on the cluster.
	Placed bool
	// IsBare is set when the object is to be on the cluster and has lost what the hub says of it, its share of the replicas above all
	// (see protocol.Object.IsBare): the copy is left as it is until the hub has said it again.
	IsBare bool
	// HasRun is set for a Job that has come to its end here: it is not run again.
	HasRun bool
	// Current is set when the copy that is reported is as it should be: see Input.Reported.
	Current bool

	// base is the copy that Desired is, fitted to what lies there (transform.Onto); isScaledElsewhere and failure are of what it was
	// made: without the replicas, and what transform.Desired returned.
	base              *unstructured.Unstructured
	isScaledElsewhere bool
	failure           error
}

// Evaluate returns what follows from the input. last is what it returned for the key before, or nil: as long as nothing has
// changed that matters (all but the status of the copy, and what is noted upstream for others), nothing is made, hashed or
// compared again. It fails when the copy cannot be encoded.
func Evaluate(in Input, last *Evaluation) (*Evaluation, error) {
	if last != nil && last.isSame(in) {
		same := *last
		same.Input = in // so that older states of the objects are not kept
		return &same, nil
	}
	e := &Evaluation{Input: in, Placed: in.Upstream != nil && IsPlaced(in.Upstream, in.Origin.Cluster)}
	e.IsBare = e.Placed && in.isBare()
	if e.Placed && !e.IsBare {
		e.HasRun = hasRun(in)
		if err := e.makeDesired(last); err != nil {
			return nil, err
		}
	}
	e.Difference = e.differenceOf(in.Downstream)
	e.Current = e.Difference == NoDifference || in.Downstream == nil && e.HasRun && e.differenceOf(in.Final) == NoDifference
	return e, nil
}

// isBare reports whether an undo has taken off the upstream object what the hub says of it.
func (in Input) isBare() bool {
	return in.kind().LosesAnnotations() && protocol.Read(in.Upstream).IsBare()
}

// Forget returns the evaluation as it is to be remembered: without a desired copy that is not about to be applied, unless it
// has a user's override, which may cost much to make.
func (e *Evaluation) Forget() *Evaluation {
	isApplied := e.Difference == NoDifference || e.Difference == Missing && e.HasRun
	if !isApplied || e.Desired == nil {
		return e
	}
	if _, overridden := protocol.Read(e.Upstream).Override(e.Origin.Cluster); overridden {
		return e
	}
	short := *e
	short.base, short.Desired = nil, nil
	return &short
}

// Place returns where the copy goes, and whether that was with these settings and is still so.
func (e *Evaluation) Place(settings *Settings) (namespace, name string, same bool) {
	if e == nil || e.Settings != settings {
		return "", "", false
	}
	return e.Namespace, e.Name, true
}

// IsPlaced reports whether the upstream object is to be on the cluster. One that is being deleted is for as long as a finalizer of
// somebody else keeps it, if the syncer holds it: it can get no finalizer any more.
func IsPlaced(upstreamObj *unstructured.Unstructured, cluster string) bool {
	said := protocol.Read(upstreamObj)
	isKept := !said.IsDeleting() || said.IsHeld(cluster) && !said.IsEnding()
	return isKept && said.IsPlaced(cluster) && transform.IsNeverSynced(upstreamObj) == ""
}

// IsOurs reports whether a downstream object is a copy of just this upstream object: made by tmc, from that workspace,
// namespace and name, for this cluster. Where somebody took the annotations off that say so, the hash in its label still does.
func (in Input) IsOurs(downstreamObj *unstructured.Unstructured) bool {
	if origin, ok := transform.OriginOf(downstreamObj); ok {
		return origin == in.Origin
	}
	return downstreamObj.GetLabels()[v1alpha1.SourceHashLabel] == in.Origin.Hash()
}

// isSame reports whether nothing has changed between two inputs that an evaluation depends on.
func (in Input) isSame(now Input) bool {
	if !in.isSameUpstream(now) || (in.Downstream == nil) != (now.Downstream == nil) {
		return false
	}
	if in.Downstream != now.Downstream && !SameButStatus(in.Downstream, now.Downstream) {
		return false
	}
	if in.Upstream != now.Upstream && len(now.kind().Ends) > 0 {
		// Our own report says whether it has run.
		before, _ := protocol.Read(in.Upstream).EncodedReport(in.Origin.Cluster)
		if after, _ := protocol.Read(now.Upstream).EncodedReport(in.Origin.Cluster); before != after {
			return false
		}
	}
	in.Upstream, in.Downstream = now.Upstream, now.Downstream
	return in == now
}

// isSameUpstream reports whether nothing has changed of the upstream object that a copy depends on.
func (in Input) isSameUpstream(now Input) bool {
	return in.Upstream == now.Upstream ||
		in.Upstream != nil && now.Upstream != nil && SameUpstream(in.Upstream, now.Upstream, in.Origin.Cluster)
}

// makeDesired makes the desired copy, or says what keeps it from being made.
func (e *Evaluation) makeDesired(last *Evaluation) error {
	if e.checkTarget(); e.Problem != nil {
		return nil
	}
	whole, err := transform.Whole(e.Upstream)
	if err != nil {
		return err
	}
	e.isScaledElsewhere = isScaledElsewhere(e.Input, whole)
	if e.isMadeOf(last) {
		e.base, e.failure = last.base, last.failure
	} else {
		e.base, e.failure = transform.Desired(transform.Input{
			Object: whole, Origin: e.Origin, Rule: e.Settings.Rule, OmitReplicas: e.isScaledElsewhere, Kinds: e.Settings.Kinds,
		})
	}
	bad, isBad := errors.AsType[*transform.OverrideError](e.failure)
	yield, isBadYield := errors.AsType[*kinds.YieldError](e.failure)
	never, isNever := errors.AsType[*transform.NeverSyncedError](e.failure)
	switch {
	case isBad:
		e.Problem = &protocol.Problem{Reason: ReasonBadOverride, Message: shorten(bad.Error())}
	case isBadYield:
		e.Problem = &protocol.Problem{Reason: ReasonBadYield, Message: shorten(yield.Error())}
	case isNever:
		e.Problem = &protocol.Problem{Reason: ReasonNeverSynced, Message: never.Error()}
	case e.failure != nil:
		return fmt.Errorf("transforming for cluster %s: %w", e.Origin.Cluster, e.failure)
	default:
		e.fit()
	}
	return nil
}

// fit makes of the copy what is to be applied onto what lies there.
func (e *Evaluation) fit() {
	e.Desired = e.base
	if e.Downstream != nil && e.IsOurs(e.Downstream) {
		e.Desired = transform.Onto(transform.AsBefore(e.base, e.Downstream, e.kind()), e.Downstream, e.kind().Merged)
	}
}

// isMadeOf reports whether the last evaluation made, and still has, what this one would make.
func (e *Evaluation) isMadeOf(last *Evaluation) bool {
	return last != nil && (last.base != nil || last.failure != nil) && last.Settings == e.Settings &&
		last.isScaledElsewhere == e.isScaledElsewhere && last.isSameUpstream(e.Input)
}

// checkTarget says what keeps any copy of the object from being made.
func (e *Evaluation) checkTarget() {
	_, _, badShare := protocol.Read(e.Upstream).Share(e.Origin.Cluster)
	denied := e.Settings.Denies(e.Namespace)
	switch {
	case e.NotServed != "":
		e.Problem = &protocol.Problem{Reason: ReasonNotServed, Message: e.NotServed}
	case denied != "":
		e.Problem = &protocol.Problem{Reason: ReasonDenied, Message: denied}
	case e.Target.Terminating != "" && !e.HasRun:
		e.AwaitsNamespace = true
		e.Problem = new(Terminating(e.Namespace, e.Target.Terminating))
	default:
		e.checkNamespace()
	}
	if e.Problem == nil && badShare != nil {
		e.Problem = &protocol.Problem{Reason: ReasonBadShare, Message: badShare.Error()}
	}
}

// checkNamespace says whether the copy may be in the namespace that it goes to. One that tmc did not make has ServiceAccounts
// and Secrets of others, which whoever brings a pod into it can use: copies come into it only if the operator allows it. Where
// workspaces are separated, each namespace has one that owns it. A copy that is there already is kept up all the same.
func (e *Evaluation) checkNamespace() {
	in, target := e.Input, e.Target
	isThere := in.Downstream != nil && in.IsOurs(in.Downstream)
	suffix := ""
	if isThere {
		suffix = "; the copy that was there before is kept up, but nothing new comes in"
	}
	var problem *protocol.Problem
	switch {
	case !in.Settings.Allows(in.Namespace) && target.isForeign(isThere):
		problem = new(NotAllowed(in.Namespace, in.Origin.Cluster, suffix))
	case !in.Settings.Rule.SeparatesWorkspaces() || target.Owner == in.Origin.Workspace || target.Owner == "" && !isThere:
		return
	case target.Owner != "":
		problem = new(Taken(in.Namespace, suffix))
	}
	e.AwaitsNamespace = true
	if isThere {
		e.Tolerated = problem
	} else {
		e.Problem = problem
	}
}

// isForeign reports whether it is known that the cluster has the namespace and that tmc did not make it. A namespace that has
// a copy exists. If the cache does not have it, it bears no mark of ours, unless that was written just now.
func (t Target) isForeign(hasCopy bool) bool {
	switch {
	case t.Marked:
		return !t.Made
	case hasCopy:
		return !t.Written
	default:
		return t.Foreign
	}
}

// differenceOf says how a downstream object differs from the copy as it should be.
func (e *Evaluation) differenceOf(downstreamObj *unstructured.Unstructured) Difference {
	switch {
	case downstreamObj == nil:
		return Missing
	case !e.IsOurs(downstreamObj):
		return Foreign
	case e.Placed && isNamesakes(downstreamObj, e.Upstream):
		return Namesake
	case e.Desired == nil:
		return Undetermined
	case e.HasRun && e.isAsApplied(downstreamObj):
		return NoDifference // what has changed is the cluster's rule, which does not concern a Job that has run
	case e.isIneffective(downstreamObj):
		return NoDifference // something on the cluster takes our fields from us, and applying again would not help
	case hashIn(downstreamObj) != hashIn(e.Desired):
		return Outdated
	case !transform.IsInSync(e.Desired, downstreamObj):
		return Drifted
	default:
		return NoDifference
	}
}

// Fields returns what of the copy is not as it should be, for a Contest and for people; downstreamObj is what lies there, nil for
// nothing. It returns none where others have only put something into a list that we share.
func (e *Evaluation) Fields(downstreamObj *unstructured.Unstructured) []string {
	if downstreamObj == nil {
		return []string{wholeCopy}
	}
	var names []string
	taken := transform.Taken(e.Desired, downstreamObj)
	for _, path := range taken {
		if name := transform.FieldName(path); !e.isShared(name, downstreamObj) {
			names = append(names, name)
		}
	}
	switch {
	case len(names) > 0 || len(taken) > 0:
		return names
	case hashIn(downstreamObj) != hashIn(e.Desired):
		return []string{"metadata.annotations." + v1alpha1.AppliedHashAnnotation}
	default:
		return []string{orderOfLists}
	}
}

// isShared reports whether a field, by name, is a list that we share, and has all that it is to have, or is what we note of it.
func (e *Evaluation) isShared(name string, downstreamObj *unstructured.Unstructured) bool {
	return name == "metadata.annotations."+v1alpha1.OthersAnnotation || slices.ContainsFunc(e.kind().Merged, func(path kinds.Path) bool {
		return path.String() == name && reflect.DeepEqual(path.In(e.Desired.Object), path.In(downstreamObj.Object))
	})
}

// isIneffective reports whether an apply of the copy onto just this object has changed nothing.
func (e *Evaluation) isIneffective(downstreamObj *unstructured.Unstructured) bool {
	return hashIn(e.Desired) == e.Ineffective.Hash && transform.Fingerprint(downstreamObj) == e.Ineffective.Onto
}

// hashIn returns the hash of what was applied, or is to be applied, to a copy.
func hashIn(downstreamObj *unstructured.Unstructured) string {
	return downstreamObj.GetAnnotations()[v1alpha1.AppliedHashAnnotation]
}

// isNamesakes reports whether a copy is that of an earlier upstream object of the same name. One that does not say which it is
// of has lost an annotation: that is mended, not deleted for.
func isNamesakes(downstreamObj, upstreamObj *unstructured.Unstructured) bool {
	uid := transform.SourceUID(downstreamObj)
	return uid != "" && uid != upstreamObj.GetUID()
}

// isAsApplied reports whether the user has changed nothing since the copy was applied.
func (e *Evaluation) isAsApplied(downstreamObj *unstructured.Unstructured) bool {
	return transform.AppliedGeneration(downstreamObj) == e.Upstream.GetGeneration() &&
		downstreamObj.GetAnnotations()[v1alpha1.SourceInputsAnnotation] == protocol.Read(e.Upstream).Inputs(e.Origin.Cluster)
}

// SameUpstream reports whether two states of an upstream object are one to the spec loop: most changes in kcp are reports and
// merged statuses, and with many clusters the labels and finalizers of others.
func SameUpstream(oldObj, newObj *unstructured.Unstructured, cluster string) bool {
	before, after := protocol.Read(oldObj), protocol.Read(newObj)
	return oldObj.GetUID() == newObj.GetUID() &&
		oldObj.GetGeneration() == newObj.GetGeneration() &&
		before.IsDeleting() == after.IsDeleting() && before.IsEnding() == after.IsEnding() && before.Propagation() == after.Propagation() &&
		before.IsHeld(cluster) == after.IsHeld(cluster) &&
		before.SaysSameTo(cluster, after) &&
		sameContent(oldObj, newObj)
}

// sameContent reports whether two states of an object of equal generation have the same content, other than metadata and
// status, which is not cached. Only kinds without generations (ConfigMaps, Secrets) are compared.
func sameContent(oldObj, newObj *unstructured.Unstructured) bool {
	if newObj.GetGeneration() != 0 {
		return true
	}
	return sameFields(oldObj, newObj, "metadata")
}

// sameFields reports whether all fields of two objects but those are equal.
func sameFields(oldObj, newObj *unstructured.Unstructured, but ...string) bool {
	for _, one := range []struct{ some, other map[string]any }{{oldObj.Object, newObj.Object}, {newObj.Object, oldObj.Object}} {
		for name, field := range one.some {
			if !slices.Contains(but, name) && !reflect.DeepEqual(field, one.other[name]) {
				return false
			}
		}
	}
	return true
}

// SameButStatus reports whether two states of a copy differ in their status at most. It compares managedFields as they are
// encoded.
func SameButStatus(oldObj, newObj *unstructured.Unstructured) bool {
	if oldObj.GetUID() != newObj.GetUID() || oldObj.GetGeneration() != newObj.GetGeneration() || isEnding(oldObj) != isEnding(newObj) {
		return false
	}
	if newObj.GetGeneration() == 0 && !sameFields(oldObj, newObj, "metadata", "status") {
		return false // nothing else of such a kind tells it
	}
	if !transform.SameOwned(oldObj, newObj) {
		return false
	}
	before, _ := oldObj.Object["metadata"].(map[string]any)
	after, _ := newObj.Object["metadata"].(map[string]any)
	for _, field := range []string{"labels", "annotations", "managedFields"} {
		if !reflect.DeepEqual(before[field], after[field]) {
			return false
		}
	}
	return true
}
