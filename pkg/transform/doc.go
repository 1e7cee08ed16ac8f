// Package transform turns an upstream object into the copy that a cluster gets:
// what is stripped, what is added, how a copy names its origin, and how one sees
// that a copy still is what was applied.
//
// It is pure: values in, values out. It knows no client, no logger, no context
// and no clock, so that syncing and printing run the same pipeline.
package transform
