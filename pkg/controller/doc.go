// Package controller is the loop that every controller of tmc runs: a typed queue of keys and
// the workers that reconcile them. It also logs what fails for a while. It knows nothing of
// workloads.
package controller
