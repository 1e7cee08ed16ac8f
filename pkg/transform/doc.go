// Package transform makes the downstream copy of an upstream object: what is removed, what is added, how a copy names
// its origin, and how one sees that a copy still is what was applied.
//
// It is pure: values in, values out. It knows no client, no logger, no context and no clock, so that tmc-syncer and
// `kubectl tmc render` run the same pipeline.
package transform
