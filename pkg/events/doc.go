// Package events tells users about their objects in kcp: it writes events next to the
// objects, in their workspaces, and writes each only once.
//
// It knows nothing of what the events are about.
package events
