// Package install puts the kcp side of tmc into a provider workspace, and binds a
// consumer workspace to it. What is there already is compared first: a run that finds
// everything in order writes nothing.
//
// It decides in pure functions (merge.go, binding.go) and knows what to install from
// package manifests alone. It must not know flags, printing, clusters or syncing.
package install
