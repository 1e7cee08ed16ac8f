// Command stack runs the local stack of the end-to-end cases, a kcp and some physical clusters, for a
// person to try things on. All it does is in package e2e/framework; this is flags and words.
package main
