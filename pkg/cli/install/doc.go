// Package install puts the kcp side of tmc into a provider workspace, binds consumer
// workspaces to it, and makes there what a cluster needs to take part: its registration,
// and an account for its syncer. What is there already is compared first: a run that
// finds everything in order writes nothing.
//
// It decides in pure functions (merge.go, binding.go, account.go, isolate.go) and knows
// what to install from package manifests alone. It must not know flags, printing, what
// runs in a cluster, or syncing.
package install
