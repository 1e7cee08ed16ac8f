package install

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// DefaultTimeout is how long each thing is waited for if the options do not say. A
// binding takes some 7 seconds: an API server waits 5 of them before it serves a new
// kind (apiextensions-apiserver, pkg/controller/establish).
const DefaultTimeout = 2 * time.Minute

// requestTimeout bounds one request if the client configuration does not.
const requestTimeout = 30 * time.Second

// Options say where to install or bind, and whom to tell.
type Options struct {
	// Config points at a kcp server. Its host may name a workspace, as in
	// https://kcp.example.com/clusters/root:team-a; Bind binds that one.
	Config *rest.Config
	// ProviderWorkspace is the path of the workspace that holds the APIExport, such as
	// root:tmc.
	ProviderWorkspace string
	// Timeout bounds each thing that is waited for. Zero means DefaultTimeout.
	Timeout time.Duration
	// RepairURL is the URL, https://HOST:PORT, at which kcp reaches the webhook of tmc-controller that repairs patches; see
	// ValidateRepairURL. Empty means that kcp is not to ask it any more; nil leaves it as it is. Init alone looks at it.
	RepairURL *string
	// OnApplied, if not nil, is called for each object, right after it is dealt with.
	OnApplied func(Result)
	// OnWaiting, if not nil, is called when something has to be waited for, with what
	// that is, and again with what kcp says about it when that changes.
	OnWaiting func(message string)
	// OnNotice, if not nil, is called with what the caller should know: what could not be
	// done, for instance, and what follows from that, where the rest is of use without it.
	OnNotice func(message string)
}

// Action is what was done about an object.
type Action string

// These are the actions: Unchanged means that nothing was written.
const (
	Created   Action = "created"
	Updated   Action = "updated"
	Unchanged Action = "unchanged"
	Deleted   Action = "deleted"
)

// Result tells what was done about one object.
type Result struct {
	// Workspace is the path of the workspace that the object is in.
	Workspace string
	// Group, Kind and Name identify the object.
	Group, Kind, Name string
	Action            Action
}

// String returns the result as kubectl would print it: kind.group/name action.
func (r Result) String() string {
	kind := strings.ToLower(r.Kind)
	if r.Group != "" {
		kind += "." + r.Group
	}
	return fmt.Sprintf("%s/%s %s", kind, r.Name, r.Action)
}
