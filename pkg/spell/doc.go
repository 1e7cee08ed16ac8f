// Package spell keeps logs short: what goes on for a while is told of when it begins
// and when it ends, and not at every attempt in between.
//
// It knows nothing of what goes on.
package spell
