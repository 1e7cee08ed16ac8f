// Package causes says why a copy is not as ready as it should be: from its pods, from what the cluster's events say of them and of
// the copy, and from the copy's own conditions. It makes of these the few worst causes, grouped, in words that stay the same while
// the cause does: without the names of pods, back-off times, numbers of nodes.
//
// It is pure. Package explain reads what it is given.
package causes
