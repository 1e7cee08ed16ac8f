// Package framework runs everything a tmc end-to-end case needs on one machine: a real kcp, any
// number of named physical clusters, and tmc's own binaries as child processes. Start brings a
// Stack up and waits until it can be used, Stop takes it down again; several stacks, of one process
// or of many, can run side by side.
//
// A stack lives in one directory:
//
//	lock                        held by the process that owns the stack for as long as it runs
//	stack.json                  what the stack consists of, for Down and Status
//	kubeconfigs/                admin kubeconfigs: kcp.<workspace>.kubeconfig, cluster.<name>.kubeconfig
//	logs/kcp.log                one log file per process; kcp-etcd.log where kcp has an etcd of its own
//	logs/<cluster>/<part>.log   etcd, kube-apiserver, …, and kwokctl.log for their creation
//	kcp/ kwok/                  data
//
// Nothing of a stack outlives it. Every process carries the stack's mark in its environment, and
// whoever cleans up looks for that mark rather than for a process id that may have a new owner: Stop,
// Down, and the reaper, a small process that does nothing but wait for its owner to die.
//
// The package knows nothing of workloads, placement or syncing: it starts binaries that it is told
// of, reads of a manifest what its pods get, and gives out kubeconfigs. It needs Linux, and kcp and
// kube-apiserver need a machine with a default route, though nothing is sent over it.
package framework
