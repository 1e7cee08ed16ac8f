package install

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kcp-dev/logicalcluster/v3"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/manifests"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const (
	// DefaultTokenLifetime is how long a token is valid if the options do not say.
	DefaultTokenLifetime = 24 * time.Hour
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
	// Kinds are the resources to sync, as in "deployments" or "deployments.apps". None
	// means all that the APIExport serves.
	Kinds []string
	// FormerNames are clusters that this one was before. Its syncer may ask whether
	// they are registered still, and cleans up after those that are not.
	FormerNames []string
	// Isolated gives the cluster an APIExport of its own, through which it sees what is
	// placed on it and nothing else. It takes kcp v0.31.
	Isolated bool
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
}

// Join registers a cluster in the provider workspace and gives its syncer an account
// with the permissions that it needs, and a new token. What is in order already is not
// written, so that joining again gives a new token and changes nothing else. It fails
// when the options make no sense, the kcp side is not installed, the cluster is about
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
	j := &joining{server: s, options: options, export: v1alpha1.APIExportName}
	if options.Isolated {
		j.export = v1alpha1.ClusterExport(options.Cluster)
	}
	if err := j.look(ctx); err != nil {
		return Joined{}, err
	}
	if err := j.make(ctx); err != nil {
		return Joined{}, err
	}
	joined := Joined{Access: access, Export: j.export, Kinds: resourcesOf(j.kinds)}
	joined.Token, joined.Expires, err = j.token(ctx)
	return joined, err
}

// validate checks what no server has to be asked for.
func (o *JoinOptions) validate() error {
	var errs []error
	if !logicalcluster.NewPath(o.ProviderWorkspace).IsValid() {
		errs = append(errs, fmt.Errorf("%q is not the path of a workspace, such as root:tmc", o.ProviderWorkspace))
	}
	errs = append(errs, v1alpha1.ValidateClusterName(o.Cluster), checkRoleName(o.Cluster))
	for _, name := range o.FormerNames {
		if err := v1alpha1.ValidateClusterName(name); err != nil {
			errs = append(errs, fmt.Errorf("former name: %w", err))
		}
	}
	if longest := validation.LabelValueMaxLength; len(o.Location) > longest {
		errs = append(errs, fmt.Errorf("location %q has more than %d characters", o.Location, longest))
	}
	if err := metavalidation.ValidateLabels(o.Labels, nil).ToAggregate(); err != nil {
		errs = append(errs, fmt.Errorf("labels: %w", err))
	}
	if o.TokenLifetime == 0 {
		o.TokenLifetime = DefaultTokenLifetime
	}
	if o.TokenLifetime < MinTokenLifetime {
		errs = append(errs, fmt.Errorf("the token's lifetime is %s, expected at least %s", o.TokenLifetime, MinTokenLifetime))
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
	// kinds are what is synced.
	kinds []servedKind
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
	served, err := j.servedKinds(ctx, export)
	if err != nil {
		return err
	}
	if j.kinds, err = chooseKinds(served, j.options.Kinds); err != nil {
		return err
	}
	if j.options.Isolated {
		if len(j.kinds) < len(served) {
			// What is placed there and not claimed, nobody would let go of again.
			return errors.New("an isolated cluster takes all kinds that the APIExport serves: join without kinds, or without --isolated; of Secrets it sees those that what is placed on it uses")
		}
		return nil
	}
	return j.checkNotIsolated(ctx)
}

// readExport returns the APIExport that consumers bind.
func (j *joining) readExport(ctx context.Context) (*apisv1alpha2.APIExport, error) {
	var export apisv1alpha2.APIExport
	err := j.get(ctx, j.options.ProviderWorkspace, exportResource, v1alpha1.APIExportName, &export)
	switch {
	case isMissing(err):
		return nil, j.notInitialized(err)
	case apierrors.IsForbidden(err) && !isForeign(err):
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

// notInitialized says that the kcp side is not installed.
func (j *joining) notInitialized(err error) error {
	return fmt.Errorf("tmc is not installed in workspace %s: run `kubectl tmc init` first: %w", j.options.ProviderWorkspace, err)
}

// make makes what the cluster needs.
func (j *joining) make(ctx context.Context) error {
	if err := j.register(ctx); err != nil {
		return err
	}
	steps, err := j.steps()
	if err != nil {
		return err
	}
	for _, step := range steps {
		if _, err := j.apply(ctx, j.options.ProviderWorkspace, step.desired, step.merge); err != nil {
			return err
		}
	}
	if !j.options.Isolated || j.dryRun {
		return nil
	}
	return j.waitForExport(ctx, j.options.ProviderWorkspace, j.export)
}

// steps returns what the provider workspace is to have for the cluster, besides its
// registration.
func (j *joining) steps() ([]step, error) {
	var steps []step
	namespaces, err := manifests.Namespaces()
	if err != nil {
		return nil, err
	}
	for _, namespace := range namespaces {
		steps = append(steps, step{namespace, overlayObject})
	}
	if j.options.Isolated {
		isolated, err := isolationSteps(j.options.Cluster, j.options.ProviderWorkspace, j.kinds)
		if err != nil {
			return nil, err
		}
		steps = append(steps, isolated...)
	}
	account, err := accountSteps(account{cluster: j.options.Cluster, export: j.export, formerNames: j.options.FormerNames})
	return append(steps, account...), err
}

// token returns a new token for the cluster's account, and when it ends.
func (j *joining) token(ctx context.Context) (string, time.Time, error) {
	if j.dryRun {
		return PlaceholderToken, time.Time{}, nil
	}
	objects, err := j.objects(j.options.ProviderWorkspace)
	if err != nil {
		return "", time.Time{}, err
	}
	asked, err := toUnstructured(tokenRequest(j.options.Cluster, j.options.TokenLifetime))
	if err != nil {
		return "", time.Time{}, err
	}
	given, err := objects.Resource(corev1.SchemeGroupVersion.WithResource("serviceaccounts")).Namespace(v1alpha1.SyncersNamespace).
		Create(ctx, asked, metav1.CreateOptions{}, "token")
	if err != nil {
		err = fmt.Errorf("token for ServiceAccount %s/%s: %w", v1alpha1.SyncersNamespace, j.options.Cluster, err)
		return "", time.Time{}, j.explain(j.options.ProviderWorkspace, err)
	}
	var request authenticationv1.TokenRequest
	err = runtime.DefaultUnstructuredConverter.FromUnstructured(given.Object, &request)
	return request.Status.Token, request.Status.ExpirationTimestamp.Time, err
}
