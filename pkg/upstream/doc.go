// Package upstream reads and writes the objects of all consumer workspaces of kcp: caches
// over the virtual workspaces of an APIExport, one source for each shard, and narrow
// writes to single objects. It also works on one workspace alone, and on the workspaces
// that kcp initializes.
//
// It knows nothing of workloads: it hands on the changes and objects of whatever
// resources it is told to watch.
package upstream
