// Package guard keeps the policies in consumers' workspaces by which kcp itself checks who writes what is tmc's. It
// makes them, restores them, and says in which workspaces they are in force. It knows nothing of workloads.
package guard
