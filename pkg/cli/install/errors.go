package install

import (
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// explain turns an error of a request in a workspace into one that says what is wrong
// and what to do. The cause stays wrapped.
func (s *server) explain(workspace string, err error) error {
	switch {
	case err == nil:
		return nil
	case isForeign(err):
		return fmt.Errorf("%s does not look like a kcp server: point the kubeconfig at one: %w", s.base, err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s does not accept the kubeconfig's credentials: %w", s.base, err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("workspace %s does not exist, or you may not do this there: %w", workspace, err)
	default:
		return fmt.Errorf("workspace %s: %w", workspace, err)
	}
}

// notInitialized says that the kcp side is not installed.
func (s *server) notInitialized(err error) error {
	return fmt.Errorf("tmc is not installed in workspace %s: run `kubectl tmc init` first: %w", s.options.ProviderWorkspace, err)
}

// isForeign reports whether a request for a resource of a workspace was answered by
// a server that knows no workspaces. To such a server /clusters/… is a path like any
// other: it has nothing there (404 without a Status), or forbids the path, where kcp
// forbids the resource.
func isForeign(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	if apierrors.IsForbidden(err) {
		return details == nil || details.Kind == ""
	}
	return apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// isMissing reports whether kcp says that an object is not there.
func isMissing(err error) bool {
	return apierrors.IsNotFound(err) && !isForeign(err)
}

// isDenied reports whether kcp says that the caller may not do something.
func isDenied(err error) bool {
	return apierrors.IsForbidden(err) && !isForeign(err)
}

// isTransient reports whether a request that failed may succeed when it is made again.
func isTransient(err error) bool {
	return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) ||
		utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || utilnet.IsTimeout(err)
}
