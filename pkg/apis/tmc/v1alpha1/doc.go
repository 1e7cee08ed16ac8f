// Package v1alpha1 is the protocol that the programs of tmc share: the keys
// that they put on objects, who writes each and who reads it, the report of one
// cluster, and the names of what is installed in kcp.
//
// The hub (tmc-controller) and the agent (tmc-syncer) know each other through
// this package alone. It holds no behaviour beyond building and taking apart
// what it names, and it must not know clients, loggers or the time.
//
// +kubebuilder:object:generate=true
// +groupName=tmc.kcp.io
package v1alpha1
