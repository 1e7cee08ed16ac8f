// Package protocol reads and writes what tmc says on an upstream object: labels that place it on clusters, annotations
// that ask clusters to leave it and hold their shares and their reports, and finalizers that hold it for their syncers. No
// other package parses these keys or makes changes of them. The keys themselves, each with its writer and its readers, are
// in pkg/apis/tmc/v1alpha1/keys.go.
//
// The package is pure: it reaches nothing, waits for nothing and has no clock. Enums and fields carry state. The packages
// that show it to people make sentences of it.
package protocol
