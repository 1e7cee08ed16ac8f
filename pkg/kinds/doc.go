// Package kinds is the one table of what tmc knows of each kind of objects: whether it is a workload, where its replicas
// are and which counters tell how many there are, what its conditions mean, when it has ended, how a roll-out is judged,
// which objects it needs and follows, and which fields only a cluster fills in.
//
// A kind is one entry of the table (table.go). A kind without an entry is treated as the conventions of Kubernetes have it
// (unknown), and an operator adds entries of his own in a file (Parse). A Kinds value is passed to whoever asks; its zero
// value is the built-in table.
//
// The package is pure: values in, values out. It knows nothing of clusters and placements. What it reads of objects was
// written by users and controllers: what is not as the kind should be counts as absent.
package kinds
