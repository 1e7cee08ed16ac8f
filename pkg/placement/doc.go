// Package placement decides which clusters run a workload, and what has to be
// written on the workload to get from the placement that stands to that one.
//
// It is pure: values in, values out. It knows no client, no logger and no
// context, and is told the time.
package placement
