// Package explain finds out why copies are not as ready as they should be. It watches the pods of such a copy, and of nothing else,
// from when the copy is found to lack something until it is ready again, and events only where the pods' statuses leave something
// open. While all copies are ready it asks the cluster for nothing.
//
// What it has read it hands to the pure package causes. It knows nothing of kcp but keys, and writes nothing.
package explain
