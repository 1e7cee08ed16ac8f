// Package aggregate merges what the clusters report of one object into the
// status that stands upstream.
//
// It is pure: the object with its placement, reports and present status in, the
// status out; equal input gives equal bytes. It knows no client, no logger and no
// context, and is told the time.
//
// Two things hold it together. The clusters that count are those of the
// placement, never those that happen to have reported. And what `kubectl rollout
// status` concludes from the merged status is what it would conclude from every
// cluster's own: done when all are done, failed when one has failed.
//
// How a kind is merged is one entry in the table of kinds.go.
package aggregate
