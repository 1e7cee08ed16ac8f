package v1alpha1

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Names of what `kubectl tmc init` installs in kcp.
const (
	// GroupName is the API group, and the domain under which every key lies.
	GroupName = "tmc.kcp.io"
	// APIExportName names the APIExport, its APIExportEndpointSlice, and the APIBinding by which consumer workspaces bind it.
	APIExportName = GroupName
	// DefaultProviderWorkspace is the workspace that holds the APIExport unless a flag says otherwise.
	DefaultProviderWorkspace = "root:tmc"
	// TenantWorkspaceType names the WorkspaceType in the provider workspace whose workspaces have tmc and the APIExports of
	// all isolated clusters and groups bound, also those that come later.
	TenantWorkspaceType = "tmc-tenant"
	// ClusterExportPrefix starts the name of the APIExport that an isolated cluster has for itself, and GroupExportPrefix
	// that of the one that the clusters of an isolation group share.
	ClusterExportPrefix = "cluster-"
	GroupExportPrefix   = "group-"
	// PathReader is the ServiceAccount, in the namespace default of the provider workspace, as which the hub asks what is at
	// the path that a workspace says is its own. It may read the LogicalClusters of workspaces that let it, and nothing else.
	PathReader = "tmc-path-reader"
)

// What repairs patches that kcp merges wrongly: `kubectl tmc init --repair-url` makes it, and tmc-controller keeps it.
const (
	// RepairName names the MutatingWebhookConfiguration in the provider workspace by which kcp asks tmc-controller, and
	// the Secret with its certificates.
	RepairName = "tmc-repair"
	// RepairNamespace is where in the provider workspace the Secret lies.
	RepairNamespace = "default"
	// RepairWebhook names the only webhook of the configuration.
	RepairWebhook = "repair." + GroupName
)

// FieldManager is the field manager of every write that a syncer makes, on either side. ControllerFieldManager is that of
// tmc-controller.
const (
	FieldManager           = "tmc-syncer"
	ControllerFieldManager = "tmc-controller"
)

// MaxGroupName is how many characters the name of an isolation group may have.
const MaxGroupName = 50

// ClusterExport returns the name of the isolated cluster's own APIExport.
func ClusterExport(cluster string) string { return ClusterExportPrefix + cluster }

// GroupExport returns the name of the APIExport of an isolation group.
func GroupExport(group string) string { return GroupExportPrefix + group }

// ClusterOfExport returns the cluster whose own APIExport has the name, if it is one.
func ClusterOfExport(export string) (cluster string, ok bool) {
	return strings.CutPrefix(export, ClusterExportPrefix)
}

// GroupOfExport returns the isolation group whose APIExport has the name, if it is one.
func GroupOfExport(export string) (group string, ok bool) {
	return strings.CutPrefix(export, GroupExportPrefix)
}

// ValidateClusterName returns nil when name can name a cluster, and otherwise
// an error that says what is expected: a DNS-1123 label (RFC 1123) of at most
// 63 characters, since the name becomes part of label keys and object names.
func ValidateClusterName(name string) error {
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return fmt.Errorf("%q is not a cluster name: %s", name, strings.Join(problems, "; "))
	}
	return nil
}

// ValidateGroupName returns nil when name can name an isolation group, and otherwise an
// error that says what is expected: a DNS-1123 label (RFC 1123) of at most MaxGroupName
// characters, since the name becomes part of label keys and of the names of objects.
func ValidateGroupName(name string) error {
	problems := validation.IsDNS1123Label(name)
	if len(name) > MaxGroupName {
		problems = append(problems, fmt.Sprintf("must have at most %d characters", MaxGroupName))
	}
	if len(problems) > 0 {
		return fmt.Errorf("%q is not the name of an isolation group: %s", name, strings.Join(problems, "; "))
	}
	return nil
}
