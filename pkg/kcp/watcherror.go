package kcp

import (
	"context"
	"errors"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// ExplainWatchError returns what logs why something cannot be listed or watched at the moment,
// and what to do about it. The informer goes on trying with back-off.
func ExplainWatchError(what, url string) cache.WatchErrorHandlerWithContext {
	return func(ctx context.Context, _ *cache.Reflector, err error) {
		logger := klog.FromContext(ctx).WithValues("resource", what, "url", url)
		switch {
		case ctx.Err() != nil, err == nil, errors.Is(err, io.EOF):
			// Shutting down, or a watch that has come to its regular end.
		case apierrors.IsResourceExpired(err), apierrors.IsGone(err):
			logger.V(2).Info("Watch has expired, listing anew", "reason", err.Error())
		case apierrors.IsUnauthorized(err):
			logger.Error(err, "kcp does not accept the credentials: check the user in --kcp-kubeconfig; will try again")
		case apierrors.IsForbidden(err):
			logger.Error(err, "kcp denies access: check that the workspace exists and the user's RBAC in it; will try again")
		case apierrors.IsNotFound(err):
			logger.Error(err, "kcp does not serve the resource there: was `kubectl tmc init` run, and is the workspace still bound? will try again")
		default:
			logger.Error(err, "kcp is not reachable, will try again")
		}
	}
}
