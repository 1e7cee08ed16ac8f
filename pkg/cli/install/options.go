package install

import (
	"fmt"
	"strings"
	"time"

	"github.com/kcp-dev/logicalcluster/v3"
	"k8s.io/client-go/rest"
)

// DefaultTimeout bounds each wait if the options do not say. A binding takes some 7 seconds: an API server waits 5 of
// them before it serves a new kind (apiextensions-apiserver, pkg/controller/establish).
const DefaultTimeout = 2 * time.Minute

// Options say where to install or bind, and whom to tell.
type Options struct {
	// Config points at a kcp server. Its host may name a workspace, as in https://kcp.example.com/clusters/root:team-a;
	// Bind binds that one.
	Config *rest.Config
	// ProviderWorkspace is the path of the workspace that holds the APIExport, such as root:tmc.
	ProviderWorkspace string
	// Timeout bounds each wait. Zero means DefaultTimeout.
	Timeout time.Duration
	// RepairURL is the URL, https://HOST:PORT, at which kcp reaches the webhook of tmc-controller that repairs patches;
	// see ValidateRepairURL. Init removes the webhook when the URL is empty, and leaves it as it is when RepairURL is
	// nil. The other functions ignore it.
	RepairURL *string
	// OnApplied, if not nil, is called for each object, right after it was compared and written.
	OnApplied func(Result)
	// OnWaiting, if not nil, is called with what is waited for, and again when what kcp says about it changes.
	OnWaiting func(message string)
	// OnNotice, if not nil, is called with what the caller should know, for instance what could not be done and what
	// follows from that.
	OnNotice func(message string)
}

// validateProvider returns an error unless ProviderWorkspace is the path of a workspace.
func (o *Options) validateProvider() error {
	if !logicalcluster.NewPath(o.ProviderWorkspace).IsValid() {
		return fmt.Errorf("--provider-workspace: %q is not the path of a workspace, such as root:tmc", o.ProviderWorkspace)
	}
	return nil
}

// Action is what was done about an object.
type Action string

// The actions. Unchanged means that nothing was written.
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
