package main

import (
	"testing"

	"github.com/kcp-tmc/tmc/hack/docscheck"
)

// TestReferenceOfFlags compares the flags in docs/reference.md with those that there are.
func TestReferenceOfFlags(t *testing.T) {
	table := docscheck.FlagTable(newCommand().Flags(), func(string) bool { return false })
	docscheck.Generated(t, "../..", "docs/reference.md", "flags of tmc-syncer", table)
}
