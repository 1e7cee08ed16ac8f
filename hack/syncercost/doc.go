// Command syncercost measures what one tmc-syncer costs that has many objects of its own on a cluster with many of others: how long and
// how much CPU time a restart takes, what is written then, its memory and its CPU time at rest, what foreign pods and objects add to
// that, and how long a burst of creations takes beside the same creations by plain client-go.
//
// The syncer is the program as it is released. The cluster is a kube-apiserver and an etcd of bin/tools without controllers, nodes or
// pods that run: nothing happens there but what the measuring does. kcp is hack/fakekcp. The times are those of this machine. Counts, ratios,
// memory and CPU time are what to compare.
package main
