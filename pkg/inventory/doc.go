// Package inventory says how the objects in the hub's caches relate: what each one
// needs, who needs it, and what goes where it goes. It decides nothing and writes
// nothing; the rules themselves are dependency's.
package inventory
