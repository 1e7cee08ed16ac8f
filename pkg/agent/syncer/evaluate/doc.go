// Package evaluate decides what a syncer does about one object, and about one namespace of its cluster. It makes the copy
// that the cluster should have, says how the copy that is there differs from it, decides what follows, and says what is
// reported.
//
// The package is pure: it gets values that the syncer has read, and returns values. It has no client, no logger, no context
// and no clock. What an earlier turn has found out is one of the values that it gets.
package evaluate
