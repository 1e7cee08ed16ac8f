// Package view words, for people and for programs, what the plugin shows: which workload is on which cluster and how it fares
// there, how the clusters are, and what is wrong. It takes objects and gives rows, texts and the structs that `kubectl tmc
// -o json` prints. It asks no server and no clock, and knows nothing of flags.
package view
