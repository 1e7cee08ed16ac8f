// Package protect keeps the APIBindings of a workspace while clusters see objects through them, as Kubernetes keeps a
// volume claim that pods use. Without its view, a syncer could not release the objects that it holds, and the deletion
// of their workspace would wait for ever. The package knows which clusters hold objects, and nothing of these objects.
package protect
