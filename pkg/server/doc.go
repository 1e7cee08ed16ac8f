// Package server serves what runs a program look at: whether it lives, whether it
// is ready, and its metrics. It knows nothing of what the program does.
package server
