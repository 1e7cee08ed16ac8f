// Package placement decides which clusters run a workload, and what has to be written on the workload to get there from
// where it is.
//
// It is pure: values in, values out. It knows no client, no logger and no context, and is told the time.
//
// A decision starts from what the object says of itself: what is on a cluster stays there unless a rule sends it away. So
// the same decision follows once it has been carried out, and after a restart. What has been decided and not been written
// yet is handed to the next decision (Assumed).
//
// A decision takes three steps. A filter (filter.go) rules out clusters that cannot take the object. A score (score.go)
// orders the candidates that are left. Replicas are divided among the chosen ones (divide.go). keep.go keeps what is on
// other clusters until the chosen ones serve.
package placement
