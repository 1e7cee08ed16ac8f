package kcp

import (
	"context"
	"errors"
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
)

// ErrUnknownWorkspace is returned when no source is known to hold a workspace:
// nothing can be said about its objects.
var ErrUnknownWorkspace = errors.New("no known shard of kcp holds the workspace")

// Handler is told of every change in the caches: oldObj is nil when the object
// came, newObj when it went. An object that merely lost the selected label went,
// too. Handlers must not block, nor change the objects.
type Handler func(key ObjectKey, oldObj, newObj *unstructured.Unstructured)

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
	// WorkspaceType, if set, is watched instead of an APIExport: Upstream is then about the
	// LogicalClusters of the workspaces that kcp initializes for the WorkspaceType of that
	// name in ProviderWorkspace. Handlers are told of the WorkspaceType itself, too.
	WorkspaceType string
	// Want tells which of the resources that kcp serves there are watched. What it
	// begins to serve later is watched from then on.
	Want func(Resource) bool
	// Watching, if set, is told of each of them before its objects are read.
	Watching func(context.Context, Resource)
	// Selector is a label selector for all of them, empty for everything.
	Selector string
	// Transform strips what need not be cached.
	Transform cache.TransformFunc
	// Indexers are those that Each can look things up by.
	Indexers cache.Indexers
	// FieldManager names the writer.
	FieldManager string
}

// Upstream is kcp as a controller sees it: caches over the objects of all
// consumer workspaces, whatever shards they are on, and writes to single objects.
type Upstream struct {
	options  Options
	handlers []Handler
	// list is what says where to watch; nil with SingleWorkspace.
	list *endpointList

	mu      sync.RWMutex
	running map[string]*runningSource
	// shardOf remembers where a workspace was last seen, so that an object can be
	// asked for after it has left the caches.
	shardOf map[logicalcluster.Name]string
	// listed is set once the endpoint slice has been read.
	listed bool
}

type runningSource struct {
	*source

	stop context.CancelFunc
	done chan struct{}
}

// New returns an Upstream that has not yet connected to kcp.
func New(options Options) (*Upstream, error) {
	u := &Upstream{
		options: options,
		running: map[string]*runningSource{},
		shardOf: map[logicalcluster.Name]string{},
	}
	if options.SingleWorkspace {
		return u, nil
	}
	newList := newSliceList
	if options.WorkspaceType != "" {
		newList = newTypeList
	}
	var err error
	u.list, err = newList(options)
	return u, err
}

// Handle has handler told of all changes. It is called before Run.
func (u *Upstream) Handle(handler Handler) { u.handlers = append(u.handlers, handler) }

// Run watches until ctx ends, and returns when everything it started has ended.
func (u *Upstream) Run(ctx context.Context) error {
	defer u.stopAll()
	if u.options.SingleWorkspace {
		return u.runSingle(ctx)
	}
	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default: // one notice is enough: the whole list is read
		}
	}
	_, err := u.list.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { notify() },
		UpdateFunc: func(any, any) { notify() },
		DeleteFunc: func(any) { notify() },
	})
	if err != nil {
		return fmt.Errorf("watching %s: %w", u.list.name, err)
	}
	if u.options.WorkspaceType != "" {
		if _, err := u.list.AddEventHandler(eventHandler(WorkspaceTypesResource, u.handle)); err != nil {
			return fmt.Errorf("watching %s: %w", u.list.name, err)
		}
	}
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { u.list.RunWithContext(ctx) })
	if !cache.WaitForCacheSync(ctx.Done(), u.list.HasSynced) {
		return nil // ended before kcp answered
	}
	notify()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			if err := u.followSlice(ctx); err != nil {
				return err
			}
		}
	}
}

func (u *Upstream) runSingle(ctx context.Context) error {
	s, err := newWorkspaceSource(u.options, u.handleFrom(u.options.Config.Host))
	if err != nil {
		return err
	}
	u.start(ctx, s)
	u.markListed()
	<-ctx.Done()
	return nil
}

// followSlice starts and stops sources until they are those of the slice.
func (u *Upstream) followSlice(ctx context.Context) error {
	wanted := u.endpoints(ctx)
	u.mu.RLock()
	present := slices.Collect(maps.Keys(u.running))
	u.mu.RUnlock()
	for _, url := range present {
		if !slices.Contains(wanted, url) {
			klog.FromContext(ctx).Info("A shard has left the endpoint slice", "url", url)
			u.stop(url)
		}
	}
	for _, url := range wanted {
		if slices.Contains(present, url) {
			continue
		}
		s, err := u.newSource(url)
		if err != nil {
			return err
		}
		u.start(ctx, s)
	}
	u.markListed()
	return nil
}

// newSource returns the source of one URL of the list.
func (u *Upstream) newSource(url string) (*source, error) {
	if u.options.WorkspaceType != "" {
		return newInitializingSource(u.options, url, u.handleFrom(url))
	}
	return newShardSource(u.options, url, u.handleFrom(url))
}

// endpoints returns the URLs of the list, sorted, without duplicates.
func (u *Upstream) endpoints(ctx context.Context) []string {
	logger := klog.FromContext(ctx).WithValues("workspace", u.options.ProviderWorkspace, "name", u.list.name)
	obj, exists, err := u.list.GetStore().GetByKey(u.list.name)
	if err != nil || !exists {
		logger.Info(u.list.missing)
		return nil
	}
	urls := u.list.urls(obj)
	if len(urls) == 0 {
		logger.Info(u.list.empty)
	}
	slices.Sort(urls)
	return slices.Compact(urls)
}

// handle hands a change on.
func (u *Upstream) handle(key ObjectKey, oldObj, newObj *unstructured.Unstructured) {
	for _, handler := range u.handlers {
		handler(key, oldObj, newObj)
	}
}

// handleFrom returns what hands the changes of the source at url on.
func (u *Upstream) handleFrom(url string) Handler {
	return func(key ObjectKey, oldObj, newObj *unstructured.Unstructured) {
		u.remember(key.Workspace, url)
		u.handle(key, oldObj, newObj)
	}
}

func (u *Upstream) start(ctx context.Context, s *source) {
	ctx, cancel := context.WithCancel(ctx)
	r := &runningSource{source: s, stop: cancel, done: make(chan struct{})}
	u.mu.Lock()
	u.running[s.url] = r
	u.mu.Unlock()
	go func() {
		defer close(r.done)
		s.run(ctx)
	}()
}

// stop ends one source and waits for it. What it had cached is unknown from then
// on, not deleted: its handlers hear nothing.
func (u *Upstream) stop(url string) {
	u.mu.Lock()
	r := u.running[url]
	delete(u.running, url)
	u.mu.Unlock()
	r.stop()
	<-r.done
}

func (u *Upstream) stopAll() {
	for _, r := range u.sources() {
		u.stop(r.url)
	}
}

func (u *Upstream) sources() []*runningSource {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return slices.Collect(maps.Values(u.running))
}

func (u *Upstream) markListed() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.listed = true
}

func (u *Upstream) remember(workspace logicalcluster.Name, url string) {
	u.mu.RLock()
	known := u.shardOf[workspace]
	u.mu.RUnlock()
	if known == url {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.shardOf[workspace] = url
}

// HasSynced reports whether kcp has been read in full: the endpoint slice, and
// every source that it lists.
func (u *Upstream) HasSynced() bool {
	u.mu.RLock()
	listed := u.listed
	u.mu.RUnlock()
	if !listed {
		return false
	}
	for _, s := range u.sources() {
		if !s.hasSynced() {
			return false
		}
	}
	return true
}

// HasRead reports whether the objects of a resource have been read, wherever it is
// served. It says nothing of a resource that is served nowhere.
func (u *Upstream) HasRead(resource schema.GroupVersionResource) bool {
	served := false
	for _, s := range u.sources() {
		if _, here := s.resources()[resource]; here {
			if !s.hasRead(resource) {
				return false
			}
			served = true
		}
	}
	return served
}

// HasReadWorkspace reports whether all objects of a workspace have been read.
func (u *Upstream) HasReadWorkspace(workspace logicalcluster.Name) bool {
	s, err := u.sourceOf(workspace)
	return err == nil && s.hasSynced()
}

// Resources returns what is served, and watched, anywhere.
func (u *Upstream) Resources() map[schema.GroupVersionResource]Resource {
	resources := map[schema.GroupVersionResource]Resource{}
	for _, s := range u.sources() {
		maps.Copy(resources, s.resources())
	}
	return resources
}

// Each calls visit for every cached object. Callers must not change them.
func (u *Upstream) Each(visit func(ObjectKey, *unstructured.Unstructured)) {
	u.EachBy("", "", visit)
}

// EachIn calls visit for every cached object of a namespace of a workspace.
func (u *Upstream) EachIn(workspace logicalcluster.Name, namespace string, visit func(ObjectKey, *unstructured.Unstructured)) {
	u.EachBy(namespaceIndex, namespaceIndexValue(workspace, namespace), visit)
}

// EachInWorkspace calls visit for every cached object of a workspace.
func (u *Upstream) EachInWorkspace(workspace logicalcluster.Name, visit func(ObjectKey, *unstructured.Unstructured)) {
	u.EachBy(kcpcache.ClusterIndexName, kcpcache.ClusterIndexKey(workspace), visit)
}

// Provider returns the name of the logical cluster that holds the APIExport, empty while
// that has not been read.
func (u *Upstream) Provider() logicalcluster.Name {
	if u.list == nil {
		return ""
	}
	obj, exists, err := u.list.GetStore().GetByKey(u.list.name)
	if err != nil || !exists {
		return "" // GetByKey of a thread-safe store returns no error
	}
	return logicalcluster.From(obj.(metav1.Object))
}

// EachBy calls visit for every cached object that one of Options.Indexers has
// under the value.
func (u *Upstream) EachBy(index, value string, visit func(ObjectKey, *unstructured.Unstructured)) {
	for _, s := range u.sources() {
		s.each(index, value, visit)
	}
}

// Cached returns the object from the caches, nil when it is in none: it may be
// gone, may have lost the selected label, or be on a shard that is out of reach.
// Callers must not change it.
func (u *Upstream) Cached(key ObjectKey) *unstructured.Unstructured {
	for _, s := range u.sources() {
		if obj := s.cached(key); obj != nil {
			return obj
		}
	}
	return nil
}

// sourceOf returns the source that holds a workspace: where its objects were seen
// last.
func (u *Upstream) sourceOf(workspace logicalcluster.Name) (*runningSource, error) {
	sources := u.sources()
	if u.options.SingleWorkspace && len(sources) == 1 && sources[0].mayHold(workspace) {
		return sources[0], nil
	}
	u.mu.RLock()
	seen, running := u.running[u.shardOf[workspace]]
	u.mu.RUnlock()
	if running {
		return seen, nil
	}
	for _, s := range sources {
		if s.holds(workspace) {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknownWorkspace, workspace)
}

// objectsOf addresses the objects among which the key's is.
func (u *Upstream) objectsOf(key ObjectKey) (dynamic.ResourceInterface, error) {
	s, err := u.sourceOf(key.Workspace)
	if err != nil {
		return nil, err
	}
	return s.in(key.Workspace).Resource(key.Resource).Namespace(key.Namespace), nil
}

// Patch writes to one object, or to the named subresource of it, and returns the
// object as it is then. The resource version that a merge patch carries is a
// precondition, as everywhere.
func (u *Upstream) Patch(ctx context.Context, key ObjectKey, patchType types.PatchType, patch []byte, subresources ...string) (*unstructured.Unstructured, error) {
	objects, err := u.objectsOf(key)
	if err != nil {
		return nil, err
	}
	patched, err := objects.Patch(ctx, key.Name, patchType, patch, metav1.PatchOptions{FieldManager: u.options.FieldManager}, subresources...)
	if err != nil {
		return nil, fmt.Errorf("patching %s in kcp: %w", key, err)
	}
	return patched, nil
}

// Create makes an object in a workspace and returns it as the server has it.
func (u *Upstream) Create(ctx context.Context, key ObjectKey, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	objects, err := u.objectsOf(key)
	if err != nil {
		return nil, err
	}
	created, err := objects.Create(ctx, obj, metav1.CreateOptions{FieldManager: u.options.FieldManager})
	if err != nil {
		return nil, fmt.Errorf("creating %s in kcp: %w", key, err)
	}
	return created, nil
}

// Update replaces an object of a workspace, which has to be as its resource version says. It
// is for what nobody may patch: everything else takes Patch.
func (u *Upstream) Update(ctx context.Context, key ObjectKey, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	objects, err := u.objectsOf(key)
	if err != nil {
		return nil, err
	}
	updated, err := objects.Update(ctx, obj, metav1.UpdateOptions{FieldManager: u.options.FieldManager})
	if err != nil {
		return nil, fmt.Errorf("updating %s in kcp: %w", key, err)
	}
	return updated, nil
}

// Live asks kcp for one object; nil, without an error, says that kcp has
// answered that there is none. Where no shard answers for the workspace, it
// returns ErrUnknownWorkspace: a virtual workspace denies what lies in
// workspaces that are not bound, or are not its shard's, and that says nothing
// about the object. Nor does the one workspace of SingleWorkspace say anything about the
// objects of others. This is for decisions that cannot be taken back, not for the
// steady path.
func (u *Upstream) Live(ctx context.Context, key ObjectKey) (*unstructured.Unstructured, error) {
	for _, s := range u.sources() {
		if !s.mayHold(key.Workspace) {
			continue
		}
		obj, err := s.in(key.Workspace).Resource(key.Resource).Namespace(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
		switch {
		case err == nil:
			u.remember(key.Workspace, s.url)
			return obj, nil
		case isNotFound(err, key.Name):
			return nil, nil
		case !apierrors.IsForbidden(err):
			return nil, fmt.Errorf("asking kcp for %s: %w", key, err)
		}
	}
	return nil, fmt.Errorf("asking kcp for %s: %w", key, ErrUnknownWorkspace)
}

// isNotFound reports whether a server has said that just this object does not
// exist. A 404 that names no object comes from something on the way, or from a
// server that does not serve the resource (yet): it says nothing about the
// object.
func isNotFound(err error, name string) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details != nil && details.Name == name
}
