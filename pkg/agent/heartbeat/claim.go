package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// ClaimedError is returned when another cluster has claimed the name.
type ClaimedError struct {
	// Cluster is the name, Ours and Theirs are the UIDs of the two clusters'
	// kube-system namespaces.
	Cluster      string
	Ours, Theirs types.UID
}

// Error implements error.
func (e *ClaimedError) Error() string {
	return fmt.Sprintf("the name %s belongs to another cluster: its registration says %s, this cluster is %s (the UID of kube-system); "+
		"give this cluster another name, or, when the other is gone for good, run `kubectl tmc remove %s --force`, or, when this cluster was built anew in its place, "+
		"`kubectl tmc join %s --revoke`", e.Cluster, e.Theirs, e.Ours, e.Cluster, e.Cluster)
}

// action is what a cluster does about its registration.
type action string

const (
	// actWork is for a registration that is this cluster's.
	actWork action = "work"
	// actClaim is for one that no cluster has claimed yet.
	actClaim action = "claim"
	// actRegister is for none.
	actRegister action = "register"
	// actAwait is for one that is being deleted.
	actAwait action = "await"
	// actRefuse is for one that is another cluster's.
	actRefuse action = "refuse"
)

// decideClaim returns what a cluster does about its registration, nil for none. A cluster
// does not claim a registration that is being deleted. But if it has claimed it already, it
// goes on, for it has to clean up.
func decideClaim(registration *v1alpha1.ClusterRegistration, uid types.UID) action {
	switch {
	case registration == nil:
		return actRegister
	case registration.Status.ClusterUID == uid:
		return actWork
	case registration.Status.ClusterUID != "":
		return actRefuse
	case registration.DeletionTimestamp != nil:
		return actAwait
	default:
		return actClaim
	}
}

// obstacle is why a cluster cannot be claimed for now. The message is for people; it is empty
// for an obstacle that goes away at once.
type obstacle struct {
	message string
	err     error
}

// Messages about what people may have to do something about.
const (
	saysUnreachable = "kcp is not reachable, will try again"
	saysUnknown     = "kcp does not accept the credentials: check the user in --kcp-kubeconfig; will try again"
	saysDenied      = "kcp denies access to the cluster's registration: check that the provider workspace exists, and the user's RBAC in it; will try again"
	saysUnserved    = "kcp does not know ClusterRegistrations in the provider workspace: was `kubectl tmc init` run? will try again"
	saysUnreadable  = "The cluster's registration makes no sense, waiting until it is mended"
	saysInvalidRule = "The rule in spec.transform of the cluster's registration is not usable, waiting until it is mended"
	saysLeaving     = "The cluster's registration is being deleted, waiting until it is gone"
	saysSilent      = "The cluster does not answer, will try again"
	saysForbidden   = "The cluster does not let the syncer read the namespace kube-system, by whose UID it is known: check the RBAC of the syncer's account; will try again"
)

func (a *Agent) saysMissing() string {
	return fmt.Sprintf("The cluster is not registered, waiting until an administrator creates ClusterRegistration %s in the workspace %s", a.config.Cluster, a.config.ProviderWorkspace)
}

// Claim waits until this syncer may work as the cluster. It fails with a ClaimedError when
// another cluster has the name, and with the error of ctx when that ends first.
func (a *Agent) Claim(ctx context.Context) error {
	logger := klog.FromContext(ctx).WithValues("workspace", a.config.ProviderWorkspace.String())
	ctx = klog.NewContext(ctx, logger)
	if err := overcome(ctx, a.readUID); err != nil {
		return err
	}
	if err := overcome(ctx, a.tryClaim); err != nil {
		return err
	}
	a.claimed.Store(true)
	logger.Info("The cluster is registered", "clusterUID", a.uid)
	return nil
}

// overcome tries until there is no obstacle left, and logs each once.
func overcome(ctx context.Context, try func(context.Context) (*obstacle, error)) error {
	delays := wait.Backoff{Duration: 250 * time.Millisecond, Factor: 2, Steps: 10, Cap: 5 * time.Second}
	logged := ""
	for {
		found, err := try(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || found == nil {
			return err
		}
		if found.message != "" && found.message != logged {
			logged = found.message
			if found.err == nil {
				klog.FromContext(ctx).Info(found.message)
			} else {
				klog.FromContext(ctx).Error(found.err, found.message)
			}
		}
		if !sleep(ctx, delays.Step()) {
			return ctx.Err()
		}
	}
}

// readUID asks the cluster for its UID.
func (a *Agent) readUID(ctx context.Context) (*obstacle, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	namespace, err := a.cluster.client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return &obstacle{saysForbidden, err}, nil
	case err != nil:
		return &obstacle{saysSilent, err}, nil
	}
	a.uid = namespace.UID
	return nil, nil
}

// tryClaim makes the registration this cluster's, or returns the obstacle.
func (a *Agent) tryClaim(ctx context.Context) (*obstacle, error) {
	registration, err := a.registration.get(ctx)
	if err != nil {
		return a.obstacleOf(err), nil
	}
	switch decideClaim(registration, a.uid) {
	case actWork:
		return a.begin(registration), nil
	case actRefuse:
		return nil, a.refuse(registration)
	case actAwait:
		return &obstacle{message: saysLeaving}, nil
	case actRegister:
		if !a.config.SelfRegister {
			return &obstacle{message: a.saysMissing()}, nil
		}
		if registration, err = a.register(ctx); err != nil {
			return a.obstacleToRegister(err)
		}
	case actClaim:
	}
	if err := a.claim(ctx, registration); err != nil {
		return a.obstacleOf(err), nil
	}
	return a.begin(registration), nil
}

// begin hands on what the registration says. Nothing may be copied before the rule is known:
// copies would have to move when it comes.
func (a *Agent) begin(registration *v1alpha1.ClusterRegistration) *obstacle {
	if err := a.handOn(registration); err != nil {
		return &obstacle{saysInvalidRule, err}
	}
	return nil
}

// handOn calls the handlers of Config with what the registration says; that of the rule only
// when the rule is another one than before. It fails when the rule is not valid, and keeps the
// one before.
func (a *Agent) handOn(registration *v1alpha1.ClusterRegistration) error {
	a.config.OnDenied(registration.Spec.DeniedNamespaces)
	a.config.OnAllowed(registration.Spec.AllowedNamespaces)
	a.config.OnProvided(registration.Spec.ProvidedByCluster)
	a.config.OnExport(registration.Spec.ExportFor(a.config.Cluster))
	rule := registration.Spec.Transform
	if a.told && equality.Semantic.DeepEqual(rule, a.rule) {
		return nil
	}
	if rule != nil {
		if err := transform.ValidateRule(*rule); err != nil {
			return err
		}
	}
	a.rule, a.told = rule, true
	a.config.OnRule(rule)
	return nil
}

func (a *Agent) refuse(registration *v1alpha1.ClusterRegistration) error {
	return &ClaimedError{Cluster: a.config.Cluster, Ours: a.uid, Theirs: registration.Status.ClusterUID}
}

func (a *Agent) register(ctx context.Context) (*v1alpha1.ClusterRegistration, error) {
	registration, err := a.registration.create(ctx, &v1alpha1.ClusterRegistration{
		ObjectMeta: metav1.ObjectMeta{Name: a.config.Cluster, Labels: a.config.Labels},
		Spec:       v1alpha1.ClusterRegistrationSpec{Location: a.config.Location, AllowedNamespaces: a.config.AllowedNamespaces},
	})
	if err == nil {
		klog.FromContext(ctx).Info("Registered the cluster", "location", a.config.Location, "labels", a.config.Labels)
	}
	return registration, err
}

// claim writes the cluster's UID, and through which APIExport the syncer sees its objects. Of
// two clusters that write at once, the first one wins.
func (a *Agent) claim(ctx context.Context, registration *v1alpha1.ClusterRegistration) error {
	status := map[string]any{"clusterUID": a.uid}
	if a.config.Export != "" {
		status["export"] = a.config.Export
	}
	return a.registration.patchStatus(ctx, registration, status)
}

// obstacleToRegister is obstacleOf after an attempt to create the registration. It returns an
// error when kcp finds the registration invalid: that comes from flags.
func (a *Agent) obstacleToRegister(err error) (*obstacle, error) {
	switch {
	case apierrors.IsInvalid(err):
		return nil, err
	case apierrors.IsForbidden(err):
		return &obstacle{"kcp does not let the syncer register its cluster. " + a.saysMissing(), err}, nil
	case apierrors.IsAlreadyExists(err):
		return &obstacle{}, nil
	default:
		return a.obstacleOf(err), nil
	}
}

// obstacleOf returns the obstacle that the error of a request means.
func (a *Agent) obstacleOf(err error) *obstacle {
	var unreadable *unreadableError
	switch {
	case errors.As(err, &unreadable):
		return &obstacle{saysUnreadable, err}
	case apierrors.IsConflict(err), kcp.IsMissingObject(err, a.config.Cluster):
		return &obstacle{} // somebody else was faster: read it again
	case kcp.Is404(err):
		return &obstacle{saysUnserved, err}
	case apierrors.IsForbidden(err):
		return &obstacle{saysDenied, err}
	case apierrors.IsUnauthorized(err):
		return &obstacle{saysUnknown, err}
	default:
		return &obstacle{saysUnreachable, err}
	}
}

// followRetry is after what time the registration is read again when it could not be read or
// claimed.
const followRetry = 2 * time.Second

// follow does what the registration asks for, whenever it changes, until ctx ends. It fails
// with a ClaimedError when another cluster has claimed it.
func (a *Agent) follow(ctx context.Context) error {
	if !cache.WaitForCacheSync(ctx.Done(), a.watched.HasSynced) {
		return nil // ended before kcp had answered
	}
	for {
		isDone, err := a.followOnce(ctx)
		if err != nil {
			return err
		}
		var again <-chan time.Time
		if !isDone {
			again = time.After(followRetry)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.changed:
		case <-again:
		}
	}
}

// followOnce does what the registration asks for, and reports whether nothing is left to do
// until it changes.
func (a *Agent) followOnce(ctx context.Context) (isDone bool, err error) {
	registration, err := a.current(ctx)
	if err != nil {
		if ctx.Err() == nil {
			a.unread.Begin(ctx, err)
		}
		return false, nil
	}
	a.unread.End(ctx)
	switch decideClaim(registration, a.uid) {
	case actWork:
		a.resume(ctx, registration)
	case actRefuse:
		a.claimed.Store(false)
		return true, a.refuse(registration)
	case actClaim:
		a.pause(ctx, "The cluster's registration is new, claiming it")
		if err := a.claim(ctx, registration); err != nil {
			klog.FromContext(ctx).V(2).Info("Could not claim the cluster's registration, will try again", "reason", err.Error())
		}
		return false, nil // it is claimed when it reads so
	case actAwait:
		a.pause(ctx, "The cluster's registration is being deleted, and is not this cluster's: no more heartbeats, what there is goes on being synced")
	case actRegister:
		a.pause(ctx, "The cluster's registration is gone: no more heartbeats, what there is goes on being synced. "+
			"The cluster works again once an administrator registers it; a restarted syncer may do so itself")
	}
	return true, nil
}

// current returns the registration, nil when there is none. It believes the cache when that
// says that the registration is this cluster's; for anything else it asks kcp.
func (a *Agent) current(ctx context.Context) (*v1alpha1.ClusterRegistration, error) {
	registration, err := a.registration.cached(a.watched)
	if err != nil || decideClaim(registration, a.uid) == actWork {
		return registration, err
	}
	return a.registration.get(ctx)
}

func (a *Agent) pause(ctx context.Context, why string) {
	if a.claimed.Swap(false) {
		klog.FromContext(ctx).Info(why)
	}
}

func (a *Agent) resume(ctx context.Context, registration *v1alpha1.ClusterRegistration) {
	if !a.claimed.Swap(true) {
		klog.FromContext(ctx).Info("The cluster is registered again", "clusterUID", a.uid)
	}
	err := a.handOn(registration)
	switch {
	case err == nil:
		a.invalid = ""
	case err.Error() != a.invalid:
		a.invalid = err.Error()
		klog.FromContext(ctx).Error(err, "The rule in spec.transform of the cluster's registration is not usable, the one before is kept")
	}
}
