// Package protect keeps the APIBindings of a workspace while clusters see something through
// them, as Kubernetes keeps a volume claim that pods use: a syncer whose view is gone could
// not let go of what it holds, and who deletes the workspace would wait for ever. It knows
// which clusters hold something, and nothing of what that is.
package protect
