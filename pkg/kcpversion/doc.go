// Package kcpversion says which versions of kcp tmc works with. It is pure: callers ask
// the server for its version.
package kcpversion
