// Package docscheck compares the documents with the code. Its tests read README.md, CONTRIBUTING.md, SECURITY.md and
// docs/, and fail when these name a test, file, identifier, flag, key, reason or metric that does not exist, or leave
// one out that does.
//
// It must not know what tmc does: it reads sources and documents, and calls nothing of either.
package docscheck
