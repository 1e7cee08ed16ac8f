// Package inventory says how the objects in the hub's caches relate: what each one
// needs, who needs it, what goes where it goes, and what their workspaces are called and
// have bound. It decides nothing and writes nothing; the rules themselves are in pkg/kinds.
package inventory
