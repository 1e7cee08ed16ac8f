package inventory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

const (
	// findTimeout bounds one request, and longestAnswer what is read of its answer: who mounts
	// something into a path has a server of his own answer there.
	findTimeout   = 5 * time.Second
	longestAnswer = 1 << 20
	// readerLifetime is how long a token of the path reader is valid; it is used for half of that.
	readerLifetime = time.Hour
)

// errNoPath says that a path leads nowhere, or through something that is no workspace of
// kcp's own.
var errNoPath = errors.New("no workspace is at the path")

// finder asks kcp what is at a path.
type finder struct {
	config   *rest.Config
	provider logicalcluster.Path

	mu sync.Mutex
	// reader is the path reader's token, to be used until expires.
	reader  string
	expires time.Time
}

// isAt reports whether a workspace is at a path. It follows the Workspace objects from root
// down, each of which only those above it can make. Where the hub may not read these, which
// on kcp v0.31 no ServiceAccount may in another workspace than its own, it asks for the
// LogicalCluster at the path.
func (f *finder) isAt(ctx context.Context, workspace logicalcluster.Name, path logicalcluster.Path) (Answer, error) {
	found, err := f.walk(ctx, path)
	if apierrors.IsForbidden(err) {
		found, err = f.askThere(ctx, path)
	}
	switch {
	case apierrors.IsForbidden(err):
		return AnswerDenied, nil
	case errors.Is(err, errNoPath):
		return AnswerIsNotThere, nil
	case err != nil:
		return "", err
	case found == workspace:
		return AnswerIsThere, nil
	default:
		return AnswerIsNotThere, nil
	}
}

// walk follows a path by the Workspaces on it. Each is read in its parent's logical cluster,
// by the name of that, and never at a path: kcp hands on what is asked for at the path of a
// mount, credentials included, to a server that whoever made the mount has named.
func (f *finder) walk(ctx context.Context, path logicalcluster.Path) (logicalcluster.Name, error) {
	at := logicalcluster.Name(rootWorkspace)
	names := elements(path)
	if len(names) == 0 {
		return "", errNoPath
	}
	for _, name := range names {
		client, err := kcp.NewClient(f.config, at.Path(), dynamic.NewForConfig)
		if err != nil {
			return "", err
		}
		object, err := get(ctx, client, kcp.WorkspacesResource, name)
		if err != nil {
			return "", err
		}
		if at, err = childOf(object); err != nil {
			return "", err
		}
	}
	return at, nil
}

// childOf returns the logical cluster of a Workspace. kcp lets whoever makes a mount write
// there which one it is.
func childOf(workspace *unstructured.Unstructured) (logicalcluster.Name, error) {
	// An error means another type, which kcp does not serve.
	_, isMount, _ := unstructured.NestedMap(workspace.Object, "spec", "mount")
	cluster, _, _ := unstructured.NestedString(workspace.Object, "spec", "cluster")
	if child := logicalcluster.Name(cluster); !isMount && child.IsValid() {
		return child, nil
	}
	return "", errNoPath
}

// askThere asks for the LogicalCluster at a path, as the path reader.
func (f *finder) askThere(ctx context.Context, path logicalcluster.Path) (logicalcluster.Name, error) {
	token, err := f.readerToken(ctx)
	if err != nil {
		return "", err
	}
	config := rest.AnonymousClientConfig(f.config)
	config.BearerToken = token
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return shortAnswers{next} })
	client, err := kcp.NewClient(config, path, dynamic.NewForConfig)
	if err != nil {
		return "", err
	}
	self, err := get(ctx, client, kcp.LogicalClustersResource, kcp.LogicalClusterName)
	if apierrors.IsUnauthorized(err) {
		f.forget(token) // the account may have been made anew
	}
	if err != nil {
		return "", err
	}
	// kcp makes this annotation from where the object is stored.
	return logicalcluster.From(self), nil
}

// readerToken returns a token of the path reader. It can do nothing but read LogicalClusters,
// so that nobody gains from having it sent to him.
func (f *finder) readerToken(ctx context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reader != "" && time.Now().Before(f.expires) {
		return f.reader, nil
	}
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	client, err := kcp.NewClient(f.config, f.provider, kubernetes.NewForConfig)
	if err != nil {
		return "", err
	}
	answer, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).CreateToken(ctx, v1alpha1.PathReader, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(readerLifetime.Seconds()))},
	}, metav1.CreateOptions{})
	if apierrors.IsNotFound(err) {
		return "", fmt.Errorf("the provider workspace has no ServiceAccount %s: run `kubectl tmc init`: %w", v1alpha1.PathReader, err)
	}
	if err != nil {
		return "", fmt.Errorf("asking for a token of ServiceAccount %s: %w", v1alpha1.PathReader, err)
	}
	f.reader, f.expires = answer.Status.Token, time.Now().Add(readerLifetime/2)
	return f.reader, nil
}

// forget has a token used no more.
func (f *finder) forget(token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reader == token {
		f.reader = ""
	}
}

// get reads one object; errNoPath says that kcp has answered that this object, or the
// workspace that it would be in, does not exist.
func get(ctx context.Context, client dynamic.Interface, resource schema.GroupVersionResource, name string) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	object, err := client.Resource(resource).Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil:
		return object, nil
	case kcp.IsMissing(err): // also when kcp knows no workspace at the path (kcp v0.31, pkg/server/localproxy.go)
		return nil, errNoPath
	default:
		return nil, fmt.Errorf("asking kcp for %s %s: %w", resource.Resource, name, err)
	}
}

// shortAnswers reads no more of an answer than longestAnswer.
type shortAnswers struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t shortAnswers) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.RoundTripper.RoundTrip(request)
	if err == nil {
		response.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(response.Body, longestAnswer), response.Body}
	}
	return response, err
}
