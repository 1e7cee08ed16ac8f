package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/dynamic"

	rbacv1 "k8s.io/api/rbac/v1"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/manifests"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

const (
	// DefaultTokenLifetime is how long a token is valid if the options do not say.
	DefaultTokenLifetime = v1alpha1.MaxTokenLifetime
	// MinTokenLifetime is the shortest that Kubernetes' TokenRequest API takes (pkg/apis/authentication/validation in
	// Kubernetes).
	MinTokenLifetime = 10 * time.Minute
	// PlaceholderToken takes the place of the token in a dry run.
	PlaceholderToken = "dry-run-no-token" //nolint:gosec // no credential at all
)

// JoinOptions say which cluster to join, and how.
type JoinOptions struct {
	Options

	// Cluster is the name of the cluster, a DNS label.
	Cluster string
	// Location and Labels are what placements select the cluster by. Of a cluster that is registered already, Join
	// changes only what is given here.
	Location string
	Labels   map[string]string
	// AllowedNamespaces are the cluster's namespaces that copies come into although tmc did not make them. Nil leaves
	// an existing registration as it is, empty allows none.
	AllowedNamespaces []string
	// Kinds are the resources to sync, as in "deployments" or "deployments.apps". None means all that the APIExport
	// serves.
	Kinds []string
	// FormerNames are names that the cluster had before. Its syncer may ask whether clusters of these names are still
	// registered, and cleans up after those that are not.
	FormerNames []string
	// Shared has the cluster see all objects of bound workspaces, Secrets included. Otherwise it sees what is placed on
	// it, through an APIExport of its own, and nothing else.
	Shared bool
	// Group has the cluster see what is placed on the clusters of an isolation group, which share one APIExport. Not
	// with Shared.
	Group string
	// NoToken has no token made: the cluster's syncer keeps its present one.
	NoToken bool
	// Revoke ends all tokens that the cluster has had: its account is made anew. Only a holder of the new credential
	// can then write which cluster has the name, and which APIExport it uses. Not with NoToken.
	Revoke bool
	// TokenLifetime is how long the token is valid. Zero means DefaultTokenLifetime.
	TokenLifetime time.Duration
	// Server is the https URL of kcp as the cluster reaches it. Empty means that of Config.
	Server string
	// CAData are the certificates, in PEM, by which the cluster verifies kcp. Empty means those of Config.
	CAData []byte
	// DryRun tells what would be written, and writes nothing.
	DryRun bool
}

// Joined is what the manifest of a cluster's syncer is made of.
type Joined struct {
	Access

	// Export is the name of the APIExport through which the cluster sees its objects.
	Export string
	// Kinds are the resources to sync, sorted.
	Kinds []schema.GroupResource
	// Expires is when the token ends.
	Expires time.Time
	// AllowedNamespaces are the namespaces that tmc did not make and that copies may come into, as the registration
	// lists them after the join.
	AllowedNamespaces []string
	// Former are the APIExports of an earlier isolation. The account may use them until the syncer runs with a manifest
	// for Export, and Join or Init has run again.
	Former []string
	// IsAgain is set when the cluster had an account before: its earlier tokens are valid until they end, unless they
	// were revoked.
	IsAgain bool
}

// Join registers a cluster in the provider workspace and gives its syncer an account with the permissions that it
// needs, and a new token. What is in order is not written: joining again gives a new token and changes nothing else.
// Joining again with another isolation makes what that needs, and leaves what the one before needs for as long as the
// cluster's syncer uses it. Join fails when the options are not valid, the kcp side is not installed, the cluster is
// being removed, kcp is too old, or the caller may not do it.
func Join(ctx context.Context, options JoinOptions) (Joined, error) {
	if err := options.validate(); err != nil {
		return Joined{}, err
	}
	s, err := newServer(options.Options)
	if err != nil {
		return Joined{}, err
	}
	s.dryRun = options.DryRun
	access, err := s.access(options)
	if err != nil {
		return Joined{}, err
	}
	spec := options.spec()
	j := &joining{server: s, options: options, export: spec.ExportFor(options.Cluster), allowed: options.AllowedNamespaces}
	if err := j.gather(ctx); err != nil {
		return Joined{}, err
	}
	if err := j.revokeAndMake(ctx); err != nil {
		return Joined{}, err
	}
	joined := Joined{Access: access, Export: j.export, AllowedNamespaces: j.allowed, Former: j.exports[1:], IsAgain: j.hadAccount}
	for _, kind := range j.kinds {
		joined.Kinds = append(joined.Kinds, kind.GroupResource)
	}
	if !options.NoToken {
		if joined.Token, joined.Expires, err = j.token(ctx); err != nil {
			return Joined{}, err
		}
	}
	if options.DryRun {
		return joined, nil
	}
	return joined, s.align(ctx, j.served, "")
}

// validate checks the options by themselves. Its errors name the flags of the options.
func (o *JoinOptions) validate() error {
	errs := []error{o.validateProvider(), v1alpha1.ValidateClusterName(o.Cluster), checkRoleName(o.Cluster)}
	if err := v1alpha1.ValidateNamespacePatterns(o.AllowedNamespaces); err != nil {
		errs = append(errs, fmt.Errorf("--allow-namespaces: %w", err))
	}
	for _, name := range o.FormerNames {
		if err := v1alpha1.ValidateClusterName(name); err != nil {
			errs = append(errs, fmt.Errorf("--former-name: %w", err))
		}
	}
	switch {
	case o.Shared && o.Group != "":
		errs = append(errs, fmt.Errorf("--shared has the cluster see everything, --group %s what is placed on the clusters of the group: give one of the two", o.Group))
	case o.Group != "":
		errs = append(errs, v1alpha1.ValidateGroupName(o.Group))
	}
	if longest := validation.LabelValueMaxLength; len(o.Location) > longest {
		errs = append(errs, fmt.Errorf("--location: %q has more than %d characters", o.Location, longest))
	}
	if err := metavalidation.ValidateLabels(o.Labels, nil).ToAggregate(); err != nil {
		errs = append(errs, fmt.Errorf("--labels: %w", err))
	}
	return errors.Join(append(errs, o.validateToken())...)
}

// validateToken checks the options about the cluster's tokens, and sets the default of TokenLifetime.
func (o *JoinOptions) validateToken() error {
	var errs []error
	if o.TokenLifetime == 0 {
		o.TokenLifetime = DefaultTokenLifetime
	}
	if o.TokenLifetime < MinTokenLifetime || o.TokenLifetime > v1alpha1.MaxTokenLifetime {
		errs = append(errs, fmt.Errorf("--token-lifetime is %s, expected %s to %s: its syncer may renew it for no longer", o.TokenLifetime, MinTokenLifetime, v1alpha1.MaxTokenLifetime))
	}
	if o.Revoke && o.NoToken {
		errs = append(errs, errors.New("--revoke ends the cluster's tokens, and --no-token makes no other one: give one of the two"))
	}
	return errors.Join(errs...)
}

// checkRoleName returns an error for a cluster whose role would have the name of one that tmc has for all clusters.
func checkRoleName(cluster string) error {
	for _, object := range manifests.RBAC() {
		if object.GetName() == accountName(cluster) {
			return fmt.Errorf("a cluster cannot be called %s: tmc has a %s %s for all clusters", cluster, object.GetKind(), object.GetName())
		}
	}
	return nil
}

// spec returns the registration's spec that the options ask for.
func (o *JoinOptions) spec() v1alpha1.ClusterRegistrationSpec {
	spec := v1alpha1.ClusterRegistrationSpec{Location: o.Location, Isolation: v1alpha1.IsolationCluster, IsolationGroup: o.Group, AllowedNamespaces: o.AllowedNamespaces}
	switch {
	case o.Shared:
		spec.Isolation = v1alpha1.IsolationShared
	case o.Group != "":
		spec.Isolation = v1alpha1.IsolationGroup
	}
	return spec
}

// joining is one run of Join.
type joining struct {
	*server

	options JoinOptions
	// export is the name of the APIExport through which the cluster sees its objects.
	export string
	// exports are the APIExports that the cluster's account may use: export, and those that its syncer may still need.
	exports []string
	// allowed are the namespaces that the registration lists, or is to list.
	allowed []string
	// served are all kinds, kinds those that are synced.
	served, kinds []servedKind
	// hadAccount is whether the cluster had an account before.
	hadAccount bool
}

// gather reads what exists, and fails when the cluster cannot be joined.
func (j *joining) gather(ctx context.Context) error {
	var export apisv1alpha2.APIExport
	err := j.get(ctx, j.provider, kcp.APIExportsResource, v1alpha1.APIExportName, &export)
	switch {
	case kcp.IsMissing(err):
		return j.notInitialized(err)
	case kcp.IsDenied(err):
		return fmt.Errorf("run `kubectl tmc init` first, if nobody has, or ask for access: %w", err)
	case err != nil:
		return err
	}
	if problem := exportProblem(&export); problem != "" {
		return fmt.Errorf("APIExport %s of workspace %s is not ready: %s: run `kubectl tmc init`, which waits for it", export.Name, j.provider, problem)
	}
	if err := j.checkVersion(j.provider); err != nil {
		return err
	}
	if j.served, err = j.servedKinds(ctx, &export); err != nil {
		return err
	}
	if j.kinds, err = chooseKinds(j.served, j.options.Kinds); err != nil {
		return err
	}
	j.exports, err = j.gatherExports(ctx)
	return err
}

// gatherExports returns the APIExports that the cluster's account may use from now on. It fails when the cluster is
// being removed.
func (j *joining) gatherExports(ctx context.Context) ([]string, error) {
	registration := &v1alpha1.ClusterRegistration{}
	err := j.get(ctx, j.provider, v1alpha1.ClusterRegistrationsResource, j.options.Cluster, registration)
	switch {
	case kcp.Is404(err) && kcp.IsForeign(err):
		// This is a kcp, since it has the export: what is installed is of an older tmc.
		return nil, j.notInitialized(err)
	case kcp.IsMissing(err):
		return []string{j.export}, nil
	case err != nil:
		return nil, err
	case registration.DeletionTimestamp != nil:
		return nil, fmt.Errorf("ClusterRegistration %s of workspace %s is being deleted: wait until it is gone", j.options.Cluster, j.provider)
	}
	if sharesNamespaces(registration) {
		j.noticef("%s", v1alpha1.SharedWarning(registration.Name))
	}
	if j.options.AllowedNamespaces == nil {
		j.allowed = registration.Spec.AllowedNamespaces
	}
	registration.Spec = j.options.spec()
	role, err := j.role(ctx)
	if j.options.Revoke { // no syncer works with an earlier manifest any more
		role = nil
	}
	return exportsFor(registration, role), err
}

// role returns the role of the account that the cluster has, nil when it has none.
func (j *joining) role(ctx context.Context) (*rbacv1.ClusterRole, error) {
	role := &rbacv1.ClusterRole{}
	err := j.get(ctx, j.provider, clusterRoleResource, accountName(j.options.Cluster), role)
	j.hadAccount = err == nil
	if kcp.IsMissing(err) {
		return nil, nil
	}
	return role, err
}

// revokeAndMake makes what the cluster needs, and revokes its earlier tokens before that, if the options say so.
func (j *joining) revokeAndMake(ctx context.Context) error {
	revoked, err := j.revoke(ctx)
	if err != nil {
		return err
	}
	if err := j.make(ctx); err != nil {
		return err
	}
	return j.finishRevocation(ctx, revoked)
}

// make makes what the cluster needs. Its account may use the new view before the registration tells the hub of it, and
// may still use the one before.
func (j *joining) make(ctx context.Context) error {
	// The account comes before the view: its role tells those who join other clusters meanwhile that the view is in use.
	steps := append(stepsOf(overlayObject, manifests.Namespaces()...),
		account{cluster: j.options.Cluster, exports: j.exports, formerNames: j.options.FormerNames}.steps()...)
	if view, isOwn := viewNamed(j.export); isOwn {
		kinds := v1alpha1.AllKinds
		if len(j.options.Kinds) > 0 {
			kinds = listKinds(j.kinds, ",")
		}
		steps = append(steps, view.steps(j.provider, j.options.Cluster, kinds, j.served)...)
	}
	if err := j.applyAll(ctx, j.provider, steps); err != nil {
		return err
	}
	if j.dryRun {
		return j.register(ctx)
	}
	if err := j.waitForExport(ctx, j.export); err != nil {
		return err
	}
	views, err := j.viewExports(ctx)
	if err != nil {
		return err
	}
	own := slices.DeleteFunc(views, func(view viewExport) bool { return view.export != j.export })
	if err := j.bindTenants(ctx, own); err != nil {
		return err
	}
	return j.register(ctx)
}

// register makes the registration of the cluster, or patches what differs from the options: syncer and hub write the
// registration all the time.
func (j *joining) register(ctx context.Context) error {
	desired := encode(&v1alpha1.ClusterRegistration{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "ClusterRegistration"},
		ObjectMeta: metav1.ObjectMeta{Name: j.options.Cluster, Labels: j.options.Labels},
		Spec:       j.options.spec(),
	})
	_, err := j.change(ctx, j.provider, desired, func(client dynamic.ResourceInterface, live *unstructured.Unstructured) (Action, error) {
		switch {
		case live == nil:
			return j.create(ctx, client, desired)
		case live.GetDeletionTimestamp() != nil:
			return "", errGoing(live)
		}
		patch := registrationPatch(live, j.options)
		switch {
		case len(patch) == 0:
			return Unchanged, nil
		case j.dryRun:
			return Updated, nil
		}
		data, err := json.Marshal(patch)
		if err != nil {
			return "", err
		}
		_, err = client.Patch(ctx, live.GetName(), types.MergePatchType, data, metav1.PatchOptions{FieldManager: fieldManager})
		return Updated, err
	})
	return err
}

// registrationPatch returns the merge patch by which a registration agrees with the options. It leaves alone what the
// options do not say.
func registrationPatch(live *unstructured.Unstructured, options JoinOptions) map[string]any {
	patch, spec := map[string]any{}, map[string]any{}
	labels := maps.Clone(options.Labels)
	maps.DeleteFunc(labels, func(key, value string) bool {
		existing, has := live.GetLabels()[key]
		return has && existing == value
	})
	if len(labels) > 0 {
		patch["metadata"] = map[string]any{"labels": labels}
	}
	wanted := options.spec()
	for field, value := range map[string]string{"location": wanted.Location, "isolation": string(wanted.Isolation), "isolationGroup": wanted.IsolationGroup} {
		present, _, _ := unstructured.NestedString(live.Object, "spec", field)
		switch {
		case present == value:
		case value != "":
			spec[field] = value
		case field == "isolationGroup":
			spec[field] = nil
		}
	}
	listed, _, _ := unstructured.NestedStringSlice(live.Object, "spec", "allowedNamespaces")
	if options.AllowedNamespaces != nil && !sets.New(listed...).Equal(sets.New(options.AllowedNamespaces...)) {
		spec["allowedNamespaces"] = options.AllowedNamespaces
	}
	if len(spec) > 0 {
		patch["spec"] = spec
	}
	return patch
}
