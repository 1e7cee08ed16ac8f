package kcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/go-logr/logr/funcr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/klog/v2"
)

var deployments = schema.GroupResource{Group: "apps", Resource: "deployments"}

// TestMeaningsOfErrors asks each predicate about answers of kcp, of servers that are no kcp, and of nobody. The
// object that was asked for is web.
func TestMeaningsOfErrors(t *testing.T) {
	type meanings struct{ missing, missingObject, notServed, foreign, denied, transient, testFailed bool }
	noReason := func(code int32, details *metav1.StatusDetails) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Code: code, Details: details}}
	}
	cases := map[string]struct {
		err  error
		want meanings
	}{
		"no error":                                            {nil, meanings{}},
		"kcp has looked for the object":                       {apierrors.NewNotFound(deployments, "web"), meanings{missing: true, missingObject: true}},
		"wrapped, it means the same":                          {fmt.Errorf("asking: %w", apierrors.NewNotFound(deployments, "web")), meanings{missing: true, missingObject: true}},
		"its namespace is missing":                            {apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "default"), meanings{missing: true}},
		"kcp knows no workspace at the path":                  {apierrors.NewNotFound(WorkspacesResource.GroupResource(), "root:gone"), meanings{missing: true}},
		"the resource is not served, says a Status":           {noReason(404, &metav1.StatusDetails{}), meanings{notServed: true}},
		"the Status has no details":                           {noReason(404, nil), meanings{notServed: true}},
		"a page that is no Status, asked by a dynamic client": {apierrors.NewGenericServerResponse(404, "get", schema.GroupResource{}, "", "404 page not found", 0, true), meanings{notServed: true, foreign: true}},
		"a page that is no Status, asked by a typed client":   {apierrors.NewGenericServerResponse(404, "get", deployments, "web", "404 page not found", 0, true), meanings{notServed: true, foreign: true}},
		"kcp forbids the resource":                            {apierrors.NewForbidden(deployments, "web", errors.New("access denied")), meanings{denied: true}},
		"another server forbids the path":                     {apierrors.NewForbidden(schema.GroupResource{}, "", errors.New("forbidden path")), meanings{foreign: true}},
		"a refusal without details":                           {noReason(403, nil), meanings{foreign: true}},
		"the credentials are not accepted":                    {apierrors.NewUnauthorized("who?"), meanings{}},
		"somebody else has written":                           {apierrors.NewConflict(deployments, "web", errors.New("changed")), meanings{}},
		"the test of a JSON patch fails":                      {apierrors.NewGenericServerResponse(422, "", schema.GroupResource{}, "", "testing value failed", 0, false), meanings{testFailed: true}},
		"the object is not valid":                             {apierrors.NewInvalid(schema.GroupKind{Kind: "Deployment"}, "web", nil), meanings{}},
		"the server is busy":                                  {apierrors.NewTooManyRequests("later", 1), meanings{transient: true}},
		"the server has failed":                               {apierrors.NewInternalError(errors.New("etcd")), meanings{transient: true}},
		"kcp is down":                                         {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, meanings{transient: true}},
		"any other error":                                     {errors.New("x509: unknown authority"), meanings{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := meanings{IsMissing(tc.err), IsMissingObject(tc.err, "web"), IsNotServed(tc.err), IsForeign(tc.err), IsDenied(tc.err), IsTransient(tc.err), IsTestFailed(tc.err)}
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
	if IsMissingObject(noReason(404, &metav1.StatusDetails{}), "") {
		t.Error("a 404 that names nothing was taken for one about an object without a name")
	}
}

func TestLogReadError(t *testing.T) {
	cases := map[string]struct {
		err  error
		want string // a part of what is logged, empty for nothing
	}{
		"no error":                     {nil, ""},
		"the regular end of a watch":   {io.EOF, ""},
		"an expired watch":             {apierrors.NewResourceExpired("too old"), "listing anew"},
		"credentials are not accepted": {apierrors.NewUnauthorized("who?"), "credentials"},
		"access is denied":             {apierrors.NewForbidden(deployments, "", errors.New("no")), "denies access"},
		"nothing is served there":      {apierrors.NewNotFound(deployments, ""), "does not serve"},
		"kcp is down":                  {errors.New("connection refused"), "not reachable"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var logged []string
			ctx := klog.NewContext(t.Context(), funcr.New(func(_, args string) { logged = append(logged, args) }, funcr.Options{Verbosity: 2}))
			LogReadError(ctx, "deployments.apps", "https://kcp", tc.err)
			if got := strings.Join(logged, "\n"); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("logged %q, want %q in it", got, tc.want)
			}
			ended, cancel := context.WithCancel(ctx)
			cancel()
			logged = nil
			LogReadError(ended, "deployments.apps", "https://kcp", tc.err)
			if len(logged) != 0 {
				t.Errorf("logged %q after the end", logged)
			}
		})
	}
}

func TestIsRefusal(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"too long":  {apierrors.NewInvalid(schema.GroupKind{Kind: "ConfigMap"}, "big", field.ErrorList{field.TooLong(field.NewPath("metadata", "annotations"), "", 262144)}), true},
		"denied":    {apierrors.NewForbidden(deployments, "big", errors.New("a policy denies it")), true},
		"malformed": {apierrors.NewBadRequest("x"), true},
		"too large": {apierrors.NewRequestEntityTooLargeError("x"), true},
		"changed":   {apierrors.NewConflict(schema.GroupResource{}, "x", nil), false},
		"away":      {errors.New("connection refused"), false},
		"busy":      {apierrors.NewTooManyRequests("x", 1), false},
		"none":      {nil, false},
	} {
		if got := IsRefusal(tc.err); got != tc.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}
