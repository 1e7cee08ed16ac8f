// Package daemon is what tmc-syncer and tmc-controller have in common: the flags
// that both take, signals, and serving health and metrics.
package daemon
