// Package registry is the hub's side of the registry of clusters: it knows which
// there are and which of them are heard of, says so in their conditions, and sees
// that nothing is left on a cluster before its registration goes.
//
// Where workloads go is not its business: it hands out placement.Clusters.
package registry
