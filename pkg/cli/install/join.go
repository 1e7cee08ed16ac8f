package install

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kcp-dev/logicalcluster/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	rbacv1 "k8s.io/api/rbac/v1"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/manifests"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const (
	// DefaultTokenLifetime is how long a token is valid if the options do not say.
	DefaultTokenLifetime = v1alpha1.MaxTokenLifetime
	// MinTokenLifetime is the shortest that Kubernetes' TokenRequest API takes
	// (pkg/apis/authentication/validation in Kubernetes).
	MinTokenLifetime = 10 * time.Minute
	// PlaceholderToken stands where the token would, when nothing is written.
	PlaceholderToken = "dry-run-no-token" //nolint:gosec // no credential at all
)

// JoinOptions say which cluster to join, and how.
type JoinOptions struct {
	Options

	// Cluster is the name of the cluster, a DNS label.
	Cluster string
	// Location and Labels are what placements select the cluster by. Where the cluster
	// is registered already, only what is given here is changed.
	Location string
	Labels   map[string]string
	// AllowedNamespaces are the cluster's namespaces that copies come into although tmc did
	// not make them. Nil leaves a registration that there is as it is, empty allows none.
	AllowedNamespaces []string
	// Kinds are the resources to sync, as in "deployments" or "deployments.apps". None
	// means all that the APIExport serves.
	Kinds []string
	// FormerNames are clusters that this one was before. Its syncer may ask whether
	// they are registered still, and cleans up after those that are not.
	FormerNames []string
	// Shared has the cluster see all objects of the workspaces that are bound, Secrets
	// included. Otherwise, it has an APIExport of its own, through which it sees what is
	// placed on it and nothing else.
	Shared bool
	// Group has the cluster see what is placed on the clusters of an isolation group, which
	// share one APIExport. Not with Shared.
	Group string
	// NoToken has no token made: the cluster's syncer goes on with the one that it has.
	NoToken bool
	// Revoke ends all tokens that the cluster has had: its account is made anew. Whatever has
	// its credential says whose the name is and which APIExport is used, from then on. Not with
	// NoToken.
	Revoke bool
	// TokenLifetime is how long the token is valid. Zero means DefaultTokenLifetime.
	TokenLifetime time.Duration
	// Server is the https URL of kcp as the cluster reaches it. Empty means that of
	// Config.
	Server string
	// CAData are the certificates, in PEM, by which the cluster knows kcp. Empty means
	// those of Config.
	CAData []byte
	// DryRun has what would be written told of, and nothing written.
	DryRun bool
}

// Joined is what the syncer of a cluster needs to know.
type Joined struct {
	Access

	// Export is the name of the APIExport through which the cluster sees its objects.
	Export string
	// Kinds are the resources to sync, sorted.
	Kinds []schema.GroupResource
	// Expires is when the token ends.
	Expires time.Time
	// AllowedNamespaces are the cluster's namespaces, of those that tmc has not made, that
	// copies may come into: what the registration says after the join.
	AllowedNamespaces []string
	// Former are the APIExports through which the cluster was isolated before, or was not.
	// Its account may use them until its syncer runs with a manifest for Export, and Join
	// or Init has run again.
	Former []string
	// IsAgain is set when the cluster had an account before: its earlier tokens are valid until
	// they end, unless they were revoked.
	IsAgain bool
}

// Join registers a cluster in the provider workspace and gives its syncer an account
// with the permissions that it needs, and a new token. What is in order already is not
// written, so that joining again gives a new token and changes nothing else. Joining again
// with another isolation makes what is needed for that, and leaves what was there for the
// one before for as long as the cluster's syncer uses it. It fails when the options make no
// sense, the kcp side is not installed, the cluster is about
// to be removed, kcp is too old for what is wanted, or the caller may not do it.
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
	if err := j.look(ctx); err != nil {
		return Joined{}, err
	}
	if err := j.revokeAndMake(ctx); err != nil {
		return Joined{}, err
	}
	joined := Joined{
		Access: access, Export: j.export, Kinds: resourcesOf(j.kinds), AllowedNamespaces: j.allowed,
		Former: j.exports[1:], IsAgain: j.hadAccount,
	}
	if !options.NoToken {
		if joined.Token, joined.Expires, err = j.token(ctx); err != nil {
			return Joined{}, err
		}
	}
	if options.DryRun {
		return joined, nil
	}
	return joined, s.settle(ctx, j.served)
}

// validate checks what no server has to be asked for.
func (o *JoinOptions) validate() error {
	var errs []error
	if !logicalcluster.NewPath(o.ProviderWorkspace).IsValid() {
		errs = append(errs, fmt.Errorf("%q is not the path of a workspace, such as root:tmc", o.ProviderWorkspace))
	}
	errs = append(errs, v1alpha1.ValidateClusterName(o.Cluster), checkRoleName(o.Cluster), v1alpha1.ValidateNamespacePatterns(o.AllowedNamespaces))
	for _, name := range o.FormerNames {
		if err := v1alpha1.ValidateClusterName(name); err != nil {
			errs = append(errs, fmt.Errorf("former name: %w", err))
		}
	}
	switch {
	case o.Shared && o.Group != "":
		errs = append(errs, fmt.Errorf("--shared has the cluster see everything, --group %s what is placed on the clusters of the group: give one of the two", o.Group))
	case o.Group != "":
		errs = append(errs, v1alpha1.ValidateGroupName(o.Group))
	}
	if longest := validation.LabelValueMaxLength; len(o.Location) > longest {
		errs = append(errs, fmt.Errorf("location %q has more than %d characters", o.Location, longest))
	}
	if err := metavalidation.ValidateLabels(o.Labels, nil).ToAggregate(); err != nil {
		errs = append(errs, fmt.Errorf("labels: %w", err))
	}
	return errors.Join(append(errs, o.validateToken())...)
}

// validateToken checks what is said about the cluster's tokens.
func (o *JoinOptions) validateToken() error {
	var errs []error
	if o.TokenLifetime == 0 {
		o.TokenLifetime = DefaultTokenLifetime
	}
	if o.TokenLifetime < MinTokenLifetime || o.TokenLifetime > v1alpha1.MaxTokenLifetime {
		errs = append(errs, fmt.Errorf("the token's lifetime is %s, expected %s to %s: its syncer may renew it for no longer", o.TokenLifetime, MinTokenLifetime, v1alpha1.MaxTokenLifetime))
	}
	if o.Revoke && o.NoToken {
		errs = append(errs, errors.New("--revoke ends the cluster's tokens, and --no-token makes no other one: give one of the two"))
	}
	return errors.Join(errs...)
}

// checkRoleName refuses a cluster whose role would be called like one that is there for
// all clusters.
func checkRoleName(cluster string) error {
	objects, err := manifests.RBAC()
	if err != nil {
		return err
	}
	for _, object := range objects {
		if object.GetName() == accountName(cluster) {
			return fmt.Errorf("a cluster cannot be called %s: tmc has a %s %s for all clusters", cluster, object.GetKind(), object.GetName())
		}
	}
	return nil
}

// joining is one run of Join.
type joining struct {
	*server

	options JoinOptions
	// export is the name of the APIExport through which the cluster sees its objects.
	export string
	// exports are the APIExports that the cluster's account may use: export, and those that
	// its syncer may still need.
	exports []string
	// allowed are the namespaces that the registration lists, or is to.
	allowed []string
	// served are the kinds that there are, kinds those that are synced.
	served, kinds []servedKind
	// hadAccount is whether the cluster had an account before.
	hadAccount bool
}

// look finds out what the cluster is to sync, and whether it can be done.
func (j *joining) look(ctx context.Context) error {
	export, err := j.readExport(ctx)
	if err != nil {
		return err
	}
	if err := j.checkVersion(j.options.ProviderWorkspace); err != nil {
		return err
	}
	if j.served, err = j.servedKinds(ctx, export); err != nil {
		return err
	}
	if j.kinds, err = chooseKinds(j.served, j.options.Kinds); err != nil {
		return err
	}
	j.exports, err = j.lookAtFormer(ctx)
	return err
}

// lookAtFormer returns the APIExports that the cluster's account may use from now on. It fails
// when the cluster is being removed.
func (j *joining) lookAtFormer(ctx context.Context) ([]string, error) {
	registration := &v1alpha1.ClusterRegistration{}
	err := j.get(ctx, j.options.ProviderWorkspace, v1alpha1.ClusterRegistrationsResource, j.options.Cluster, registration)
	switch {
	case apierrors.IsNotFound(err) && isForeign(err):
		// The export is there, so this is a kcp; but what is installed is of an older tmc.
		return nil, j.notInitialized(err)
	case isMissing(err):
		return []string{j.export}, nil
	case err != nil:
		return nil, err
	case registration.DeletionTimestamp != nil:
		return nil, fmt.Errorf("ClusterRegistration %s of workspace %s is being deleted: wait until it is gone", j.options.Cluster, j.options.ProviderWorkspace)
	}
	if sharesNamespaces(registration) {
		j.notice(v1alpha1.SharedWarning(registration.Name))
	}
	if j.options.AllowedNamespaces == nil {
		j.allowed = registration.Spec.AllowedNamespaces
	}
	registration.Spec = j.options.spec()
	role := &rbacv1.ClusterRole{}
	err = j.get(ctx, j.options.ProviderWorkspace, clusterRoleResource, accountName(j.options.Cluster), role)
	switch {
	case isMissing(err):
		return exportsFor(registration, nil), nil
	case err != nil:
		return nil, err
	}
	j.hadAccount = true
	if j.options.Revoke {
		return exportsFor(registration, nil), nil // no syncer works with an earlier manifest any more
	}
	return exportsFor(registration, role), nil
}

// readExport returns the APIExport that consumers bind.
func (j *joining) readExport(ctx context.Context) (*apisv1alpha2.APIExport, error) {
	var export apisv1alpha2.APIExport
	err := j.get(ctx, j.options.ProviderWorkspace, exportResource, v1alpha1.APIExportName, &export)
	switch {
	case isMissing(err):
		return nil, j.notInitialized(err)
	case isDenied(err):
		return nil, fmt.Errorf("run `kubectl tmc init` first, if nobody has, or ask for access: %w", err)
	case err != nil:
		return nil, err
	}
	if state := exportMissing(&export); state != "" {
		return nil, fmt.Errorf("APIExport %s of workspace %s is not ready: %s: run `kubectl tmc init`, which waits for it",
			export.Name, j.options.ProviderWorkspace, state)
	}
	return &export, nil
}

// make makes what the cluster needs. The account may use the new view before the
// registration tells the hub of it, and goes on using the one before.
func (j *joining) make(ctx context.Context) error {
	steps, err := j.steps()
	if err != nil {
		return err
	}
	if err := j.applyAll(ctx, j.options.ProviderWorkspace, steps); err != nil {
		return err
	}
	if !j.dryRun {
		if err := j.waitForExport(ctx, j.options.ProviderWorkspace, j.export); err != nil {
			return err
		}
		if err := j.bindTenantsToIt(ctx); err != nil {
			return err
		}
	}
	return j.register(ctx)
}

// bindTenantsToIt binds the view in the workspaces of the tenants' type that there are.
func (j *joining) bindTenantsToIt(ctx context.Context) error {
	views, err := j.viewExports(ctx)
	if err != nil {
		return err
	}
	return j.bindTenants(ctx, slices.DeleteFunc(views, func(view unstructured.Unstructured) bool { return view.GetName() != j.export }))
}

// steps returns what the provider workspace is to have for the cluster, besides its
// registration.
func (j *joining) steps() ([]step, error) {
	namespaces, err := manifests.Namespaces()
	if err != nil {
		return nil, err
	}
	steps := stepsOf(namespaces, overlayObject)
	if view, isOwn := viewCalled(j.export); isOwn {
		own, err := view.steps(j.options.ProviderWorkspace, j.options.Cluster, j.kindsNote(), j.served)
		if err != nil {
			return nil, err
		}
		steps = append(steps, own...)
	}
	account, err := accountSteps(account{cluster: j.options.Cluster, exports: j.exports, formerNames: j.options.FormerNames})
	return append(steps, account...), err
}

// kindsNote is what the view notes of the kinds that the cluster takes.
func (j *joining) kindsNote() string {
	if len(j.options.Kinds) == 0 {
		return v1alpha1.AllKinds
	}
	return listKinds(j.kinds, ",")
}

// token returns a new token for the cluster's account, and when it ends.
func (j *joining) token(ctx context.Context) (string, time.Time, error) {
	if j.dryRun {
		return PlaceholderToken, time.Time{}, nil
	}
	request, err := j.requestToken(ctx, v1alpha1.SyncersNamespace, j.options.Cluster, j.options.TokenLifetime)
	return request.Status.Token, request.Status.ExpirationTimestamp.Time, err
}
