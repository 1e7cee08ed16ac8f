// This module stands in for kcp's code generator, which is not published. kcp's go.mod
// requires it for its build scripts; no program of kcp imports it.
module github.com/kcp-dev/code-generator/v3

go 1.25.0
