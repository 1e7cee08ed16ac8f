package upstream

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	kcpcache "github.com/kcp-dev/apimachinery/v2/pkg/cache"
	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// ErrUnknownWorkspace is returned when no source is known to serve a workspace:
// nothing can be said about its objects.
var ErrUnknownWorkspace error = unknownWorkspaceError{}

// unknownWorkspaceError is a controller.Unanswered: who gets it starts over when kcp answers again.
type unknownWorkspaceError struct{}

func (unknownWorkspaceError) Error() string { return "no known shard of kcp serves the workspace" }

// Unanswered implements controller.Unanswered.
func (unknownWorkspaceError) Unanswered() {}

// Handler is told of every change in the caches: oldObj is nil when the object
// came, newObj when it went. An object that merely lost the selected label went,
// too. Handlers must not block, nor change the objects.
type Handler func(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured)

// Options say what to watch, and where.
type Options struct {
	// Config is a kubeconfig's; its server may point at any workspace.
	Config *rest.Config
	// SingleWorkspace watches the workspace that Config points at, instead of all
	// consumers of the APIExport.
	SingleWorkspace bool
	// ProviderWorkspace and Export name the APIExport, and the endpoint slice that
	// lists its virtual workspaces.
	ProviderWorkspace logicalcluster.Path
	Export            string
	// WorkspaceType, if set, is watched instead of an APIExport: the Client is then about
	// the LogicalClusters of the workspaces that kcp initializes for the WorkspaceType of
	// that name in ProviderWorkspace. Handlers are told of the WorkspaceType itself, too.
	WorkspaceType string
	// Want reports whether a resource that kcp serves there is watched. What kcp begins to
	// serve later is watched from then on.
	Want func(kcp.Resource) bool
	// NotServed, if set, is what to log while nothing is served of what is wanted, which then may stay so: kcp is asked less often.
	NotServed string
	// Watching, if set, is told of each of them before its objects are read.
	Watching func(context.Context, kcp.Resource)
	// Selector is a label selector for all of them, empty for everything.
	Selector string
	// Transform strips what need not be cached.
	Transform cache.TransformFunc
	// Indexers are those that EachBy can look things up by.
	Indexers cache.Indexers
	// FieldManager names the writer.
	FieldManager string
}

// Client is kcp as a controller sees it: caches over the objects of all consumer
// workspaces, whatever shards they are on, and writes to single objects.
type Client struct {
	options  Options
	handlers []Handler
	// losers are told of each object that becomes unknown.
	losers []func(kcp.ObjectKey)
	// endpoints say where to watch; nil with SingleWorkspace.
	endpoints *endpoints

	mu sync.RWMutex
	// running are the sources by their URLs.
	running map[string]*source
	// seenAt is the URL of the source where a workspace was last seen, so that an object
	// can be asked for after it has left the caches.
	seenAt map[logicalcluster.Name]string
	// listed is set once the endpoints have been read.
	listed bool
}

// New returns a Client that has not yet connected to kcp. It fails when Config leads to no
// kcp.
func New(options Options) (*Client, error) {
	c := &Client{options: options, running: map[string]*source{}, seenAt: map[logicalcluster.Name]string{}}
	if options.SingleWorkspace {
		return c, nil
	}
	var err error
	c.endpoints, err = newEndpoints(options)
	return c, err
}

// Handle has the handlers told of all changes, in this order. It is called before Run.
func (c *Client) Handle(handlers ...Handler) { c.handlers = append(c.handlers, handlers...) }

// HandleLost has the handlers told of each object that becomes unknown, for a shard has left the endpoints: nobody knows whether it is
// there. It is called before Run. Handlers must not block.
func (c *Client) HandleLost(handlers ...func(kcp.ObjectKey)) {
	c.losers = append(c.losers, handlers...)
}

// Run watches until ctx ends, and returns when everything it started has ended.
func (c *Client) Run(ctx context.Context) error {
	defer c.stopAll()
	if c.options.SingleWorkspace {
		s, err := newWorkspaceSource(c.options, c.handleFrom(c.options.Config.Host))
		if err != nil {
			return err
		}
		c.start(ctx, s)
		c.markListed()
		<-ctx.Done()
		return nil
	}
	changed, err := c.watchEndpoints()
	if err != nil {
		return fmt.Errorf("watching %s: %w", c.endpoints.name, err)
	}
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { c.endpoints.RunWithContext(ctx) })
	if !cache.WaitForCacheSync(ctx.Done(), c.endpoints.HasSynced) {
		return nil // ended before kcp answered
	}
	for {
		if err := c.followEndpoints(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// watchEndpoints returns a channel that says when the endpoints have changed.
func (c *Client) watchEndpoints() (<-chan struct{}, error) {
	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default: // one notice is enough: the whole list is read
		}
	}
	_, err := c.endpoints.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { notify() },
		UpdateFunc: func(any, any) { notify() },
		DeleteFunc: func(any) { notify() },
	})
	if err == nil && c.options.WorkspaceType != "" {
		_, err = c.endpoints.AddEventHandler(eventHandler(c.endpoints.resource, c.handle))
	}
	return changed, err
}

// followEndpoints starts and stops sources until they are those that the endpoints list.
func (c *Client) followEndpoints(ctx context.Context) error {
	wanted := c.listedURLs(ctx)
	c.mu.RLock()
	present := slices.Collect(maps.Keys(c.running))
	c.mu.RUnlock()
	for _, url := range present {
		if !slices.Contains(wanted, url) {
			klog.FromContext(ctx).Info("A shard has left the endpoint slice", "url", url)
			c.stop(url)
		}
	}
	for _, url := range wanted {
		if slices.Contains(present, url) {
			continue
		}
		s, err := newShardSource(c.options, url, c.handleFrom(url))
		if err != nil {
			return err
		}
		c.start(ctx, s)
	}
	c.markListed()
	return nil
}

// listedURLs returns the URLs that the endpoints list, and logs why there are none.
func (c *Client) listedURLs(ctx context.Context) []string {
	logger := klog.FromContext(ctx).WithValues("workspace", c.options.ProviderWorkspace, "name", c.endpoints.name)
	obj := c.endpoints.object()
	if obj == nil {
		logger.Info(c.endpoints.missing)
		return nil
	}
	urls := c.endpoints.urlsIn(obj)
	if len(urls) == 0 {
		logger.Info(c.endpoints.empty)
	}
	return urls
}

// handle tells the handlers of a change.
func (c *Client) handle(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	for _, handler := range c.handlers {
		handler(key, oldObj, newObj)
	}
}

// handleFrom returns a handler of the changes of the source at url.
func (c *Client) handleFrom(url string) Handler {
	return func(key kcp.ObjectKey, oldObj, newObj *unstructured.Unstructured) {
		c.remember(key.Workspace, url)
		c.handle(key, oldObj, newObj)
	}
}

func (c *Client) start(ctx context.Context, s *source) {
	ctx, s.stop = context.WithCancel(ctx)
	c.mu.Lock()
	c.running[s.url] = s
	c.mu.Unlock()
	go func() {
		defer close(s.done)
		s.run(ctx)
	}()
}

// stop ends one source and waits for it. What it had cached is unknown from then on, not
// deleted: only those of HandleLost are told.
func (c *Client) stop(url string) {
	c.mu.Lock()
	s := c.running[url]
	delete(c.running, url)
	c.mu.Unlock()
	s.stop()
	<-s.done
	if len(c.losers) == 0 {
		return
	}
	s.each("", "", func(key kcp.ObjectKey, _ *unstructured.Unstructured) {
		for _, lose := range c.losers {
			lose(key)
		}
	})
}

func (c *Client) stopAll() {
	for _, s := range c.sources() {
		c.stop(s.url)
	}
}

func (c *Client) sources() []*source {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Collect(maps.Values(c.running))
}

func (c *Client) markListed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listed = true
}

// remember takes note of the source where a workspace was seen.
func (c *Client) remember(workspace logicalcluster.Name, url string) {
	c.mu.RLock()
	known := c.seenAt[workspace]
	c.mu.RUnlock()
	if known == url {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seenAt[workspace] = url
}

// HasSynced reports whether kcp has been read in full: the endpoints, and every source that
// they list.
func (c *Client) HasSynced() bool {
	c.mu.RLock()
	listed := c.listed
	c.mu.RUnlock()
	return listed && !slices.ContainsFunc(c.sources(), func(s *source) bool { return !s.hasSynced() })
}

// HasRead reports whether the objects of a resource have been read, wherever it is
// served. It reports false for a resource that is served nowhere.
func (c *Client) HasRead(resource schema.GroupVersionResource) bool {
	served := false
	for _, s := range c.sources() {
		if informer := s.informerOf(resource); informer != nil {
			if !informer.HasSynced() {
				return false
			}
			served = true
		}
	}
	return served
}

// HasReadWorkspace reports whether all objects of a workspace have been read.
func (c *Client) HasReadWorkspace(workspace logicalcluster.Name) bool {
	s, err := c.sourceOf(workspace)
	return err == nil && s.hasSynced()
}

// HasReadAll reports whether all objects of a resource have been read, on every shard.
func (c *Client) HasReadAll(resource schema.GroupVersionResource) bool {
	c.mu.RLock()
	listed := c.listed
	c.mu.RUnlock()
	return listed && !slices.ContainsFunc(c.sources(), func(s *source) bool {
		informer := s.informerOf(resource)
		return informer == nil || !informer.HasSynced()
	})
}

// Resources returns what is served, and watched, anywhere.
func (c *Client) Resources() map[schema.GroupVersionResource]kcp.Resource {
	resources := map[schema.GroupVersionResource]kcp.Resource{}
	for _, s := range c.sources() {
		maps.Copy(resources, s.resources())
	}
	return resources
}

// Each calls visit for every cached object. Callers must not change them.
func (c *Client) Each(visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	c.EachBy("", "", visit)
}

// Has reports whether one of Options.Indexers has any cached object under the value.
func (c *Client) Has(index, value string) bool {
	return slices.ContainsFunc(c.sources(), func(s *source) bool { return s.has(index, value) })
}

// EachIn calls visit for every cached object of a namespace of a workspace.
func (c *Client) EachIn(workspace logicalcluster.Name, namespace string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	c.EachBy(namespaceIndex, namespaceIndexValue(workspace, namespace), visit)
}

// EachInWorkspace calls visit for every cached object of a workspace.
func (c *Client) EachInWorkspace(workspace logicalcluster.Name, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	c.EachBy(kcpcache.ClusterIndexName, kcpcache.ClusterIndexKey(workspace), visit)
}

// EachBy calls visit for every cached object that one of Options.Indexers has under the
// value. Callers must not change them.
func (c *Client) EachBy(index, value string, visit func(kcp.ObjectKey, *unstructured.Unstructured)) {
	for _, s := range c.sources() {
		s.each(index, value, visit)
	}
}

// Replay tells a handler of all that is there as if it came now, the WorkspaceType of Options included. Between that and what the
// handlers of Handle are told, the caller has to keep order.
func (c *Client) Replay(handler Handler) {
	if c.options.WorkspaceType != "" {
		if obj := c.endpoints.object(); obj != nil {
			handler(kcp.KeyOf(c.endpoints.resource, obj), nil, obj)
		}
	}
	c.Each(func(key kcp.ObjectKey, upstreamObj *unstructured.Unstructured) { handler(key, nil, upstreamObj) })
}

// Provider returns the name of the logical cluster that holds the APIExport, empty while
// that has not been read.
func (c *Client) Provider() logicalcluster.Name {
	if c.endpoints == nil {
		return ""
	}
	if obj := c.endpoints.object(); obj != nil {
		return kcp.WorkspaceOf(obj)
	}
	return ""
}

// Cached returns the object from the caches, nil when it is in none: it may be
// gone, may have lost the selected label, or be on a shard that is out of reach.
// Callers must not change it.
func (c *Client) Cached(key kcp.ObjectKey) *unstructured.Unstructured {
	for _, s := range c.sources() {
		if obj := s.cached(key); obj != nil {
			return obj
		}
	}
	return nil
}

// sourceOf returns the source that serves a workspace: the one where its objects were seen
// last, or else one that has cached some. It fails with ErrUnknownWorkspace.
func (c *Client) sourceOf(workspace logicalcluster.Name) (*source, error) {
	sources := c.sources()
	if c.options.SingleWorkspace && len(sources) == 1 && sources[0].mayServe(workspace) {
		return sources[0], nil
	}
	c.mu.RLock()
	seen, isRunning := c.running[c.seenAt[workspace]]
	c.mu.RUnlock()
	if isRunning {
		return seen, nil
	}
	for _, s := range sources {
		if s.hasCached(workspace) {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknownWorkspace, workspace)
}

// write writes one object where its workspace was seen; doing is for the error.
func (c *Client) write(key kcp.ObjectKey, doing string, write func(dynamic.ResourceInterface) (*unstructured.Unstructured, error)) (*unstructured.Unstructured, error) {
	s, err := c.sourceOf(key.Workspace)
	if err != nil {
		return nil, err
	}
	written, err := write(s.in(key.Workspace).Resource(key.Resource).Namespace(key.Namespace))
	if err != nil {
		if kcp.IsMissingObject(err, key.Name) {
			s.doubt(key)
		}
		return nil, fmt.Errorf("%s %s in kcp: %w", doing, key, err)
	}
	return written, nil
}

// Patch writes to one object, or to the named subresource of it, and returns the
// object as it is then. The resource version that a merge patch carries is a
// precondition, as everywhere.
func (c *Client) Patch(ctx context.Context, key kcp.ObjectKey, patchType types.PatchType, patch []byte, subresources ...string) (*unstructured.Unstructured, error) {
	return c.write(key, "patching", func(objects dynamic.ResourceInterface) (*unstructured.Unstructured, error) {
		return objects.Patch(ctx, key.Name, patchType, patch, metav1.PatchOptions{FieldManager: c.options.FieldManager}, subresources...)
	})
}

// Create makes an object in a workspace and returns it as the server has it.
func (c *Client) Create(ctx context.Context, key kcp.ObjectKey, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return c.write(key, "creating", func(objects dynamic.ResourceInterface) (*unstructured.Unstructured, error) {
		return objects.Create(ctx, obj, metav1.CreateOptions{FieldManager: c.options.FieldManager})
	})
}

// Update replaces an object of a workspace; its resource version is a precondition. It is
// for what nobody may patch: everything else takes Patch. What kcp adds to objects when it reads them is not written back.
func (c *Client) Update(ctx context.Context, key kcp.ObjectKey, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	obj = kcp.WithoutOriginalVersion(obj)
	return c.write(key, "updating", func(objects dynamic.ResourceInterface) (*unstructured.Unstructured, error) {
		return objects.Update(ctx, obj, metav1.UpdateOptions{FieldManager: c.options.FieldManager})
	})
}

// Delete deletes an object of a workspace if it is as the preconditions have it; what it owns is deleted after it.
func (c *Client) Delete(ctx context.Context, key kcp.ObjectKey, preconditions metav1.Preconditions) error {
	_, err := c.write(key, "deleting", func(objects dynamic.ResourceInterface) (*unstructured.Unstructured, error) {
		return nil, objects.Delete(ctx, key.Name, metav1.DeleteOptions{Preconditions: &preconditions, PropagationPolicy: new(metav1.DeletePropagationBackground)})
	})
	return err
}

// Live asks kcp for one object. It returns nil, without an error, when kcp has answered
// that there is none, and ErrUnknownWorkspace when no shard answers for the workspace: a
// virtual workspace denies what lies in workspaces that are not bound, or are not its
// shard's, and that says nothing about the object. Nor does the one workspace of
// SingleWorkspace say anything about the objects of others. Live is for decisions that
// cannot be taken back, not for the steady path.
func (c *Client) Live(ctx context.Context, key kcp.ObjectKey) (*unstructured.Unstructured, error) {
	for _, s := range c.sources() {
		if !s.mayServe(key.Workspace) {
			continue
		}
		obj, err := s.in(key.Workspace).Resource(key.Resource).Namespace(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
		switch {
		case err == nil:
			c.remember(key.Workspace, s.url)
			return obj, nil
		case kcp.IsMissingObject(err, key.Name):
			s.doubt(key)
			return nil, nil
		case !apierrors.IsForbidden(err):
			return nil, fmt.Errorf("asking kcp for %s: %w", key, err)
		}
	}
	return nil, fmt.Errorf("asking kcp for %s: %w", key, ErrUnknownWorkspace)
}

// ToldPath returns the path of a workspace as one of its APIBindings tells it, empty when
// none does. A virtual workspace serves the bindings of its own export whatever that
// claims. The path is for people to read, and decides nothing: see kcp.SaidPath. It fails
// as Live does.
func (c *Client) ToldPath(ctx context.Context, workspace logicalcluster.Name) (string, error) {
	s, err := c.sourceOf(workspace)
	if err != nil {
		return "", err
	}
	bindings, err := s.in(workspace).Resource(kcp.APIBindingsResource).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("asking kcp for the path of workspace %s: %w", workspace, err)
	}
	for i := range bindings.Items {
		if path := kcp.SaidPath(&bindings.Items[i]); path != "" {
			return path, nil
		}
	}
	return "", nil
}
