// Package placement decides which clusters run a workload, and what has to be
// written on the workload to get from the placement that stands to that one.
//
// It is pure: values in, values out. It knows no client, no logger and no
// context, and is told the time.
//
// A decision looks at what the object says of itself: what it is on stays, unless a
// rule sends it away. So the same decision follows once it has been carried out, and
// after a restart; what is decided and not written yet has to be told (Assumed).
package placement
