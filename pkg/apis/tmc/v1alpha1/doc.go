// Package v1alpha1 holds the types of tmc's API, every key that the programs of tmc put on objects, each with its writer and
// its readers (keys.go), and the names of what is installed in kcp (names.go). What the keys of an upstream object say is
// decoded in pkg/protocol.
//
// The package holds no behaviour beyond building and checking names, and knows no client, no logger and no time.
//
// +kubebuilder:object:generate=true
// +groupName=tmc.kcp.io
package v1alpha1
