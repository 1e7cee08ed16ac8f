// Package aggregate merges what the clusters report of one object into the status that is written upstream.
//
// It is pure: the object with its placement, reports and present status in, the status out; equal input gives equal bytes.
// It knows no client, no logger and no context, and is told the time.
//
// It keeps two rules. The clusters that count are those that the object is placed on, never those that happen to
// have reported. And what `kubectl rollout status` concludes from the merged status is what it would conclude from every
// cluster's own: done when all are done, failed when one has failed.
//
// What is known of a kind, its counters and conditions among them, is an entry of pkg/kinds. What is known of a cluster,
// such as whether its report counts and its copy is up to date, is an entry of pkg/protocol.
package aggregate
