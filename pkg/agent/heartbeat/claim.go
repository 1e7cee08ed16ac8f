package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// ClaimedError says that another cluster works under the name.
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

// action is what is to be done about a registration.
type action string

const (
	// actWork: it is this cluster's.
	actWork action = "work"
	// actClaim: it is nobody's yet.
	actClaim action = "claim"
	// actRegister: there is none.
	actRegister action = "register"
	// actAwait: it is about to go.
	actAwait action = "await"
	// actRefuse: it is another cluster's.
	actRefuse action = "refuse"
)

// decideClaim says what a cluster is to do about its registration, nil for none. One
// that is being deleted is not begun with; but who has begun goes on, for it has to
// clean up.
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

// hurdle is what keeps a cluster from being claimed for now. says is for people,
// empty when it will have gone in no time.
type hurdle struct {
	says string
	err  error
}

// What people may have to do something about.
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

// Claim waits until this syncer may work as the cluster. It fails with a ClaimedError
// when another cluster has the name, and with the context's error when that ends.
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

// overcome tries until there is no hurdle left, and tells of each once.
func overcome(ctx context.Context, try func(context.Context) (*hurdle, error)) error {
	delays := wait.Backoff{Duration: 250 * time.Millisecond, Factor: 2, Steps: 10, Cap: 5 * time.Second}
	said := ""
	for {
		hurdle, err := try(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || hurdle == nil {
			return err
		}
		if hurdle.says != "" && hurdle.says != said {
			said = hurdle.says
			hurdle.tell(ctx)
		}
		if !sleep(ctx, delays.Step()) {
			return ctx.Err()
		}
	}
}

func (h *hurdle) tell(ctx context.Context) {
	if h.err == nil {
		klog.FromContext(ctx).Info(h.says)
		return
	}
	klog.FromContext(ctx).Error(h.err, h.says)
}

// readUID asks the cluster who it is.
func (a *Agent) readUID(ctx context.Context) (*hurdle, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	namespace, err := a.cluster.client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return &hurdle{saysForbidden, err}, nil
	case err != nil:
		return &hurdle{saysSilent, err}, nil
	}
	a.uid = namespace.UID
	return nil, nil
}

// tryClaim makes the registration this cluster's, or says what is in the way.
func (a *Agent) tryClaim(ctx context.Context) (*hurdle, error) {
	registration, err := a.registry.get(ctx)
	if err != nil {
		return a.hurdleOf(err), nil
	}
	switch decideClaim(registration, a.uid) {
	case actWork:
		return a.begin(registration), nil
	case actRefuse:
		return nil, a.refuse(registration)
	case actAwait:
		return &hurdle{says: saysLeaving}, nil
	case actRegister:
		if !a.config.SelfRegister {
			return &hurdle{says: a.saysMissing()}, nil
		}
		if registration, err = a.register(ctx); err != nil {
			return a.hurdleToRegister(err)
		}
	case actClaim:
	}
	if err := a.claim(ctx, registration); err != nil {
		return a.hurdleOf(err), nil
	}
	return a.begin(registration), nil
}

// begin hands on the rule, without which nothing must be copied: elsewhere, copies
// would have to move when it comes.
func (a *Agent) begin(registration *v1alpha1.ClusterRegistration) *hurdle {
	a.config.OnDenied(registration.Spec.DeniedNamespaces)
	a.config.OnAllowed(registration.Spec.AllowedNamespaces)
	a.config.OnExport(registration.Spec.ExportFor(a.config.Cluster))
	if err := a.tellRule(registration.Spec.Transform); err != nil {
		return &hurdle{saysInvalidRule, err}
	}
	return nil
}

func (a *Agent) refuse(registration *v1alpha1.ClusterRegistration) error {
	return &ClaimedError{Cluster: a.config.Cluster, Ours: a.uid, Theirs: registration.Status.ClusterUID}
}

func (a *Agent) register(ctx context.Context) (*v1alpha1.ClusterRegistration, error) {
	registration, err := a.registry.create(ctx, &v1alpha1.ClusterRegistration{
		ObjectMeta: metav1.ObjectMeta{Name: a.config.Cluster, Labels: a.config.Labels},
		Spec:       v1alpha1.ClusterRegistrationSpec{Location: a.config.Location, AllowedNamespaces: a.config.AllowedNamespaces},
	})
	if err == nil {
		klog.FromContext(ctx).Info("Registered the cluster", "location", a.config.Location, "labels", a.config.Labels)
	}
	return registration, err
}

// claim writes who the cluster is, and through which APIExport it sees its objects. Of two
// that do, the first one wins.
func (a *Agent) claim(ctx context.Context, registration *v1alpha1.ClusterRegistration) error {
	status := map[string]any{"clusterUID": a.uid}
	if a.config.Export != "" {
		status["export"] = a.config.Export
	}
	return a.registry.patchStatus(ctx, registration, status)
}

// hurdleToRegister is hurdleOf for who has tried to create the registration. What
// kcp finds wrong with it is an error: it comes from flags.
func (a *Agent) hurdleToRegister(err error) (*hurdle, error) {
	switch {
	case apierrors.IsInvalid(err):
		return nil, err
	case apierrors.IsForbidden(err):
		return &hurdle{"kcp does not let the syncer register its cluster. " + a.saysMissing(), err}, nil
	case apierrors.IsAlreadyExists(err):
		return &hurdle{}, nil
	default:
		return a.hurdleOf(err), nil
	}
}

// hurdleOf says what a failed request means.
func (a *Agent) hurdleOf(err error) *hurdle {
	var unreadable *unreadableError
	switch {
	case errors.As(err, &unreadable):
		return &hurdle{saysUnreadable, err}
	case apierrors.IsConflict(err), kcp.IsMissingObject(err, a.config.Cluster):
		return &hurdle{} // somebody was faster: look again
	case apierrors.IsNotFound(err):
		return &hurdle{saysUnserved, err}
	case apierrors.IsForbidden(err):
		return &hurdle{saysDenied, err}
	case apierrors.IsUnauthorized(err):
		return &hurdle{saysUnknown, err}
	default:
		return &hurdle{saysUnreachable, err}
	}
}
