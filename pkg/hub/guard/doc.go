// Package guard keeps the policies by which kcp itself checks, in consumers' workspaces, who
// writes what is tmc's: it puts them in, puts them back, and says where they do not stand. It
// knows nothing of workloads.
package guard
