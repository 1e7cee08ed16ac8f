// Package inventory answers the hub's questions about the objects in its caches and about
// their workspaces: what an object needs, which objects need it or follow it, what is on a
// cluster; and what the path of a workspace is, and what it has bound. It decides nothing and
// writes nothing. The rules of what belongs together are those of kinds.
package inventory
