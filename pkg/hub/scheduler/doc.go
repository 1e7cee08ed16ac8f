// Package scheduler is the hub controller around pkg/placement: it writes the labels that place an object on clusters, and
// removes them once the object has left a cluster. It knows nothing of syncers beyond what pkg/protocol says.
//
// A change of an object, a cluster or a placement queues the objects that it concerns (events.go). A turn of the loop
// (sync.go) decides where an object is to be (decide.go, one decision after the other), plans what to write, and writes one
// patch. status.go sums up in the status of each WorkloadPlacement what it has decided.
package scheduler
