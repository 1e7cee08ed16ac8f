// Package chaos runs tmc under fire: kcp with an etcd of its own, three clusters, two consumer workspaces, two hubs and two
// joined, isolated syncers for each cluster, all of whose connections go through proxies, among faults that are drawn from a
// seed.
//
// The Ground is all of that: it starts it, draws faults, ends them, and tells what the programs take and write. It watches
// that none of them ends by itself. A model says what there ought to be, and compares. Nothing here uses tmc's own packages:
// what is known of tmc is known as its users know it.
package chaos
