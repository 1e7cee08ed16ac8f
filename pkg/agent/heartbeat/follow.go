package heartbeat

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// followRetry is after what time the registration is looked at again that could not
// be read or claimed.
const followRetry = 2 * time.Second

// follow keeps to what becomes of the registration until ctx ends. It fails when
// another cluster gets it.
func (a *Agent) follow(ctx context.Context) error {
	if !cache.WaitForCacheSync(ctx.Done(), a.watched.HasSynced) {
		return nil // ended before kcp had answered
	}
	for {
		settled, err := a.look(ctx)
		if err != nil {
			return err
		}
		var again <-chan time.Time
		if !settled {
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

// look does what the registration asks for, and tells whether nothing is left to do
// until it changes.
func (a *Agent) look(ctx context.Context) (settled bool, err error) {
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
		return false, nil // claimed it is when it reads so
	case actAwait:
		a.pause(ctx, "The cluster's registration is being deleted, and is not this cluster's: no more heartbeats, what there is goes on being synced")
	case actRegister:
		a.pause(ctx, "The cluster's registration is gone: no more heartbeats, what there is goes on being synced. "+
			"The cluster works again once an administrator registers it; a restarted syncer may do so itself")
	}
	return true, nil
}

// current returns the registration, nil when there is none. The cache is believed
// when it says that all is well; what has consequences is not done on hearsay.
func (a *Agent) current(ctx context.Context) (*v1alpha1.ClusterRegistration, error) {
	registration, err := a.registry.cached(a.watched)
	if err != nil || decideClaim(registration, a.uid) == actWork {
		return registration, err
	}
	return a.registry.get(ctx)
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
	a.config.OnDenied(registration.Spec.DeniedNamespaces)
	a.config.OnAllowed(registration.Spec.AllowedNamespaces)
	a.config.OnExport(registration.Spec.ExportFor(a.config.Cluster))
	err := a.tellRule(registration.Spec.Transform)
	switch {
	case err == nil:
		a.invalid = ""
	case err.Error() != a.invalid:
		a.invalid = err.Error()
		klog.FromContext(ctx).Error(err, "The rule in spec.transform of the cluster's registration is not usable, the one before is kept")
	}
}

// tellRule hands the rule on when it is not the one that was handed on last, unless
// it cannot be.
func (a *Agent) tellRule(rule *v1alpha1.TransformRule) error {
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
