// Command schemagen writes the kcp side of the API that tmc serves: an
// APIResourceSchema for each kind in the table of kinds.go, the APIExport that refers to
// them, and the role that says the most that consumers may do with them.
//
// A built-in kind is no CustomResourceDefinition, so there is no schema to copy. It
// is made from what a real kube-apiserver publishes at /openapi/v3: references are
// inlined, what structural schemas do not know is dropped, and the rules that a
// kube-apiserver has in code (defaults, immutability, ranges) are laid over it.
//
// The output depends on the table and on the Kubernetes version only: the same input
// gives the same bytes. It must not know a kcp or a cluster that tmc runs on.
package main
