package inventory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
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
	// findTimeout bounds one request, and longestAnswer how many bytes of its answer are read:
	// whoever mounts something into a path can have any server answer there.
	findTimeout   = 5 * time.Second
	longestAnswer = 1 << 20
	// readerLifetime is how long a token of the path reader is valid; it is used for half of that.
	readerLifetime = time.Hour
)

// errNoPath says that no workspace is at a path, or that the path leads through something
// that is no workspace of kcp's own.
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

// isAt asks kcp whether a workspace is at a path. It follows the Workspace objects from root
// down: only somebody in the parent workspace can make one. Where the hub may not read them,
// which on kcp v0.31 no ServiceAccount may in another workspace than its own, it asks for the
// LogicalCluster at the path.
func (f *finder) isAt(ctx context.Context, workspace logicalcluster.Name, path logicalcluster.Path) (Answer, error) {
	found, err := f.walk(ctx, path)
	if apierrors.IsForbidden(err) {
		found, err = f.readAt(ctx, path)
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

// walk follows a path by the Workspaces on it. It reads each in its parent's logical cluster,
// by the name of that, and never at a path: kcp forwards requests to the path of a mount,
// credentials included, to a server that whoever made the mount has named.
func (f *finder) walk(ctx context.Context, path logicalcluster.Path) (logicalcluster.Name, error) {
	at := logicalcluster.Name(rootWorkspace)
	names := strings.Split(path.String(), ":")
	if names[0] != rootWorkspace || len(names) == 1 || slices.Contains(names, "") {
		return "", errNoPath
	}
	for _, name := range names[1:] {
		client, err := kcp.NewClient(f.config, at.Path(), dynamic.NewForConfig)
		if err != nil {
			return "", err
		}
		object, err := get(ctx, client, kcp.WorkspacesResource, name)
		if err != nil {
			return "", err
		}
		// An error means another type, which kcp does not serve. Whoever makes a mount can write
		// any logical cluster there.
		_, isMount, _ := unstructured.NestedMap(object.Object, "spec", "mount")
		cluster, _, _ := unstructured.NestedString(object.Object, "spec", "cluster")
		if at = logicalcluster.Name(cluster); isMount || !at.IsValid() {
			return "", errNoPath
		}
	}
	return at, nil
}

// readAt reads the LogicalCluster at a path, as the path reader.
func (f *finder) readAt(ctx context.Context, path logicalcluster.Path) (logicalcluster.Name, error) {
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
		f.drop(token) // the account may have been made anew
	}
	if err != nil {
		return "", err
	}
	// kcp makes this annotation from where the object is stored.
	return logicalcluster.From(self), nil
}

// readerToken returns a token of the path reader. The token can do nothing but read
// LogicalClusters: a server to which kcp forwards it gains nothing.
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
	if kcp.IsMissingObject(err, v1alpha1.PathReader) {
		return "", fmt.Errorf("the provider workspace has no ServiceAccount %s: run `kubectl tmc init`: %w", v1alpha1.PathReader, err)
	}
	if err != nil {
		return "", fmt.Errorf("asking for a token of ServiceAccount %s: %w", v1alpha1.PathReader, err)
	}
	f.reader, f.expires = answer.Status.Token, time.Now().Add(readerLifetime/2)
	return f.reader, nil
}

// drop has a token no longer used.
func (f *finder) drop(token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reader == token {
		f.reader = ""
	}
}

// get reads one object. It fails with errNoPath when kcp has answered that this object, or the
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
