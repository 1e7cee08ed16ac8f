package syncer

import (
	"fmt"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// Whoever brings a pod into a namespace has the use of what is there: of ServiceAccounts
// that have rights on the cluster, and of Secrets. In a namespace that tmc made there is
// what came from kcp. Any other one is entered only if the cluster's registration lists it,
// in every mode. What is in such a one already, from before this was so, is kept up.

// reasonNotAllowed is that of what is refused because the namespace is not tmc's and not
// listed.
const reasonNotAllowed = "NamespaceNotAllowed"

// lists reports whether the registration lists a namespace of the cluster among those that
// copies come into although tmc did not make them.
func (s *Syncer) lists(namespace string) bool {
	return transform.Matched(*s.allowed.Load(), namespace) != ""
}

// checkAllowed notes in the state when the namespace is known not to be tmc's, and is not
// listed. Of one that the caches know nothing of, the cluster is asked when a copy is to go
// there.
func (s *Syncer) checkAllowed(key kcp.ObjectKey, st *state) {
	isThere := st.isThere()
	if s.lists(st.namespace) || !s.isForeign(st.namespace, isThere) {
		return
	}
	// First the note, then the look: news that comes in between are not missed.
	s.waiters.note(namespaceKey(st.namespace), key)
	switch {
	case !s.isForeign(st.namespace, isThere):
	case isThere:
		st.tolerated = new(s.foreignProblem(st.namespace, keptUp))
	default:
		st.broken = new(s.foreignProblem(st.namespace, ""))
	}
}

// isForeign reports whether it is known, without a question, that the cluster has a namespace
// which tmc did not make. One in which a copy is exists; if the cache does not have it, it
// bears no mark of ours, unless that was written just now.
func (s *Syncer) isForeign(namespace string, holdsCopy bool) bool {
	switch present := s.copies.namespace(namespace); {
	case present != nil:
		return !isMadeByUs(present)
	case holdsCopy:
		return !s.claims.isWritten(namespace)
	default:
		return s.claims.isForeign(namespace, s.now())
	}
}

// keptUp is what is said of a copy that could not come in today.
const keptUp = "; the copy that was there before is kept up, but nothing new comes in"

func (s *Syncer) foreignProblem(namespace, addition string) v1alpha1.Problem {
	return v1alpha1.Problem{Reason: reasonNotAllowed, Message: fmt.Sprintf(
		"namespace %[1]s of the cluster was not made by tmc, and is not among those that may be used all the same: use another namespace, "+
			"or have the cluster's operator add %[1]s to spec.allowedNamespaces of ClusterRegistration %[2]s%[3]s", namespace, s.cluster, addition)}
}
