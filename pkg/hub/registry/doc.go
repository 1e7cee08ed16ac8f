// Package registry is the hub's side of the registry of clusters: it knows which clusters
// are registered and which of them send heartbeats, writes that into their conditions, and
// lets a registration go only when nothing is left on its cluster.
//
// It does not decide where workloads go: it hands out placement.Clusters.
package registry
