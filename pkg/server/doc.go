// Package server serves whether a program lives, whether it is ready, and its metrics. It
// knows nothing of what the program does.
package server
