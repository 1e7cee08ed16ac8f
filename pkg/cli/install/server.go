package install

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

const (
	// clustersPath precedes the workspace in the path of a kcp URL.
	clustersPath = "/clusters/"
	// fieldManager is the field manager of every write of this package.
	fieldManager = "kubectl-tmc"
	// requestTimeout bounds one request if the client configuration does not.
	requestTimeout = 30 * time.Second
	// pollInterval is the time between two reads of something that is waited for.
	pollInterval = 250 * time.Millisecond
)

// server reaches the workspaces of one kcp server.
type server struct {
	options Options
	// provider is the path of the provider workspace.
	provider string
	config   *rest.Config
	http     *http.Client
	// base is the server's URL without a workspace.
	base string
	// workspace is the one that the caller's configuration points at, empty when it points at none.
	workspace string
	// dryRun suppresses all writes.
	dryRun bool
	// telling serialises the calls of the options' functions: requests run side by side.
	telling sync.Mutex
}

// newServer returns the access to the server that the options point at. It fails when the path of the provider
// workspace is not valid, and when the configuration cannot make a client.
func newServer(options Options) (*server, error) {
	if err := options.validateProvider(); err != nil {
		return nil, err
	}
	if options.Config == nil {
		return nil, errors.New("no client configuration is given")
	}
	if options.Timeout == 0 {
		options.Timeout = DefaultTimeout
	}
	base, workspace := splitHost(options.Config.Host)
	config := rest.CopyConfig(options.Config)
	// The server limits its clients itself, by API priority and fairness.
	config.QPS = -1
	if config.Timeout == 0 {
		config.Timeout = requestTimeout
	}
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return &server{options: options, provider: options.ProviderWorkspace, config: config, http: httpClient, base: base, workspace: workspace}, nil
}

// splitHost separates a server URL into the URL of the kcp server and the workspace that it points at, empty when it
// points at none.
func splitHost(host string) (base, workspace string) {
	base, path, _ := strings.Cut(host, clustersPath)
	workspace, _, _ = strings.Cut(path, "/")
	return strings.TrimSuffix(base, "/"), workspace
}

// urlOf returns the URL of a workspace.
func (s *server) urlOf(workspace string) string { return s.base + clustersPath + workspace }

// in returns the configuration for one workspace.
func (s *server) in(workspace string) *rest.Config {
	config := rest.CopyConfig(s.config)
	config.Host = s.urlOf(workspace)
	return config
}

// objects returns a client for the objects of one workspace.
func (s *server) objects(workspace string) (dynamic.Interface, error) {
	return dynamic.NewForConfigAndClient(s.in(workspace), s.http)
}

// discovery returns a client for the versions and the resources of a workspace.
func (s *server) discovery(workspace string) (*discovery.DiscoveryClient, error) {
	return discovery.NewDiscoveryClientForConfigAndClient(s.in(workspace), s.http)
}

// checkVersion fails when tmc does not work with this version of kcp. It asks in the first of the workspaces that the
// caller may use.
func (s *server) checkVersion(workspaces ...string) error {
	var refused error
	for _, workspace := range workspaces {
		client, err := s.discovery(workspace)
		if err != nil {
			return err
		}
		info, err := client.ServerVersion()
		if err == nil {
			return kcp.CheckVersion(info.GitVersion)
		}
		refused = s.explain(workspace, fmt.Errorf("asking for the version of kcp: %w", err))
	}
	return refused
}

// resources returns the resources that a workspace serves, each with its group and version. It leaves out groups that
// cannot be read: none of kcp's or tmc's own is among them.
func (s *server) resources(workspace string) ([]metav1.APIResource, error) {
	client, err := s.discovery(workspace)
	if err != nil {
		return nil, err
	}
	_, lists, err := client.ServerGroupsAndResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, s.explain(workspace, err)
	}
	var found []metav1.APIResource
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, resource := range list.APIResources {
			resource.Group, resource.Version = version.Group, version.Version
			found = append(found, resource)
		}
	}
	return found, nil
}

// get reads an object of a workspace into a Go type.
func (s *server) get(ctx context.Context, workspace string, resource schema.GroupVersionResource, name string, into any) error {
	objects, err := s.objects(workspace)
	if err != nil {
		return err
	}
	object, err := objects.Resource(resource).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return s.explain(workspace, err)
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(v1alpha1.Believable(object.Object), into)
}

// list reads the objects of a workspace that a label selector selects, all when it is empty, into a list of their Go
// type.
func (s *server) list(ctx context.Context, workspace string, resource schema.GroupVersionResource, selector string, into any) error {
	objects, err := s.objects(workspace)
	if err != nil {
		return err
	}
	list, err := objects.Resource(resource).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return s.explain(workspace, err)
	}
	for i := range list.Items {
		list.Items[i].Object = v1alpha1.Believable(list.Items[i].Object)
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(list.UnstructuredContent(), into)
}

// explain returns the error of a request in a workspace with what is wrong and what to do. The cause stays wrapped.
func (s *server) explain(workspace string, err error) error {
	switch {
	case err == nil:
		return nil
	case kcp.IsForeign(err):
		return fmt.Errorf("%s does not look like a kcp server: point the kubeconfig at one: %w", s.base, err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s does not accept the kubeconfig's credentials: %w", s.base, err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("workspace %s does not exist, or you may not do this there: %w", workspace, err)
	default:
		return fmt.Errorf("workspace %s: %w", workspace, err)
	}
}

// notInitialized returns the error for a provider workspace without tmc.
func (s *server) notInitialized(err error) error {
	return fmt.Errorf("tmc is not installed in workspace %s: run `kubectl tmc init` first: %w", s.provider, err)
}

// progress is how far something has come that is waited for.
type progress struct {
	done bool
	// state says, for people, what is still missing.
	state string
}

// waitFor tells the caller that it waits for what, a noun phrase, and returns when check reports it done. It fails as
// poll does.
func (s *server) waitFor(ctx context.Context, what string, check func(context.Context) (progress, error)) error {
	told := false
	return s.poll(ctx, what, check, func(string) {
		if !told {
			s.tell(s.options.OnWaiting, "waiting for "+what)
		}
		told = true
	})
}

// poll returns when check reports done, and calls onState with each state before that. It fails with the error of check
// when that is not transient, when the timeout is over (the error says what was missing), and when ctx ends.
func (s *server) poll(ctx context.Context, what string, check func(context.Context) (progress, error), onState func(string)) error {
	var now progress
	err := wait.PollUntilContextTimeout(ctx, pollInterval, s.options.Timeout, true, func(ctx context.Context) (bool, error) {
		next, err := check(ctx)
		switch {
		case err == nil:
			now = next
		case ctx.Err() != nil:
			return false, ctx.Err() // now keeps what was missing, which says more
		case kcp.IsTransient(err):
			now, err = progress{state: err.Error()}, nil
		}
		if err == nil && !now.done {
			onState(now.state)
		}
		return now.done, err
	})
	if ctx.Err() != nil {
		return fmt.Errorf("waiting for %s was cut short: %w", what, context.Cause(ctx))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("gave up waiting for %s after %s: %s: %w. What was done stays: run the command again to go on, with a longer --timeout if kcp is slow",
			what, s.options.Timeout, now.state, err)
	}
	return err
}

// tell calls a function of the options with a message, if there is such a function.
func (s *server) tell(to func(string), message string) {
	s.telling.Lock()
	defer s.telling.Unlock()
	if to != nil {
		to(message)
	}
}

// noticef tells the caller what he should know.
func (s *server) noticef(format string, args ...any) {
	s.tell(s.options.OnNotice, fmt.Sprintf(format, args...))
}

// applied tells the caller what was done about an object.
func (s *server) applied(workspace string, object *unstructured.Unstructured, action Action) {
	s.telling.Lock()
	defer s.telling.Unlock()
	if s.options.OnApplied != nil {
		kind := object.GroupVersionKind()
		s.options.OnApplied(Result{Workspace: workspace, Group: kind.Group, Kind: kind.Kind, Name: object.GetName(), Action: action})
	}
}
