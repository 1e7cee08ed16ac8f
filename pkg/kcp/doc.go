// Package kcp knows kcp as a server: its URLs and workspace paths, its versions, the
// names of its APIs, where it lists its virtual workspaces, what permission claims
// allow, what it serves, and what its errors mean.
//
// It keeps nothing and watches nothing: package upstream does. It knows nothing of
// workloads.
package kcp
