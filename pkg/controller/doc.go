// Package controller is the loop that every controller of tmc runs: a typed queue
// of keys and the workers that take them off it. It knows nothing of workloads.
package controller
