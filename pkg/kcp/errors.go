package kcp

import (
	"context"
	"errors"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/klog/v2"
)

// What the error of a request to kcp means. Wrapped errors mean what their cause means.
//
// A 404 alone says little. kcp v0.31.2 gives three:
//   - About an object that it has looked for, a Status that names it in its details
//     (NewNotFound in k8s.io/apimachinery/pkg/api/errors).
//   - About a path at which there is no workspace, a Status that names the path
//     (pkg/server/localproxy.go).
//   - About a resource that it does not serve, or not yet, as while a shard starts, a page
//     that is no Status, or a Status that names nothing. Of a page, client-go makes a Status
//     with the cause UnexpectedServerResponse, in which typed clients name the object that
//     they asked for (newUnstructuredResponseError in k8s.io/client-go/rest/request.go).

// IsMissing reports whether a server has said that an object does not exist: the one that
// was asked for, or one that it lies in, such as its namespace or its workspace.
func IsMissing(err error) bool { return missingName(err) != "" }

// IsMissingObject reports whether a server has said that just the object of that name does
// not exist.
func IsMissingObject(err error, name string) bool { return name != "" && missingName(err) == name }

// missingName returns the name of the object that does not exist according to a 404, empty
// when err says of no object that it does not exist.
func missingName(err error) string {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || isNoStatus(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return ""
	}
	return status.Status().Details.Name
}

// Is404 reports whether a server has answered 404, whatever that is about. It is for those who wait, or explain: nothing is gone
// because of it. The linter keeps apierrors.IsNotFound away from everybody else.
func Is404(err error) bool { return apierrors.IsNotFound(err) }

// IsNotServed reports whether a 404 is about no object: the server does not serve the
// resource there, or does not serve it yet.
func IsNotServed(err error) bool { return apierrors.IsNotFound(err) && !IsMissing(err) }

// IsRefusal reports whether a server, kcp or a cluster, has understood a write and will not have it: trying again at once would
// be a loop.
func IsRefusal(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsForbidden(err) || apierrors.IsRequestEntityTooLargeError(err)
}

// IsTestFailed reports whether a server has not applied a JSON patch because a test in it fails, or a path that it names is not there:
// the object is not as it was read. The answer is the one about an invalid object, without the object (applyJSPatch in
// pkg/endpoints/handlers/patch.go of k8s.io/apiserver).
func IsTestFailed(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details == nil || details.Kind == "" && details.Name == ""
}

// IsForeign reports whether a request for a resource that every workspace serves was answered
// by a server that knows no workspaces. To such a server /clusters/… is a path like any other:
// it has nothing there, which is a 404 that is no Status, or it forbids the path, where kcp
// forbids the resource. Of other resources it says nothing: kcp answers the same 404 for one
// that it does not serve.
func IsForeign(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	if details := status.Status().Details; apierrors.IsForbidden(err) {
		return details == nil || details.Kind == ""
	}
	return apierrors.IsNotFound(err) && isNoStatus(err)
}

// isNoStatus reports whether client-go has made an error from an answer that is no Status.
func isNoStatus(err error) bool {
	return apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// IsDenied reports whether kcp says that the caller may not do something. Of a workspace
// that does not exist, or that a virtual workspace does not show, it says the same: that
// says nothing about the objects there.
func IsDenied(err error) bool { return apierrors.IsForbidden(err) && !IsForeign(err) }

// IsTransient reports whether a request that failed may succeed when it is made again.
func IsTransient(err error) bool {
	return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) ||
		utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || utilnet.IsTimeout(err)
}

// LogReadError logs why what cannot be read at url at the moment, and what to do about it.
// It logs nothing when ctx has ended, nor for a watch that has come to its regular end. The
// caller goes on trying.
func LogReadError(ctx context.Context, what, url string, err error) {
	logger := klog.FromContext(ctx).WithValues("resource", what, "url", url)
	switch {
	case ctx.Err() != nil, err == nil, errors.Is(err, io.EOF):
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
