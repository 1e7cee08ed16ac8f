// Package docscheck has tests of what the documents say of the code, and nothing else: that
// the tests exist which they name, and that what a build stands on is named by its digest.
package docscheck
