// Package syncer is the agent of one cluster. It pulls what is placed on its
// cluster from kcp, keeps a copy of it downstream, and reports upstream what
// became of it.
//
// Two loops share the same keys, one for the spec on its way down and one for the
// status on its way up. Each turn gathers both objects from the caches, lets a
// pure function decide, and makes at most a few narrow writes. It knows nothing
// of the hub: the keys on the upstream object are all that they share.
package syncer
