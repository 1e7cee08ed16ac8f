// Package refusals remembers the writes that kcp refuses for good: the object has no room for them, or a policy denies them. They
// are tried again ever less often, at once when the object changes, and their users are told.
package refusals
