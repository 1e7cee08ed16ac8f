package heartbeat

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const (
	east    = "east"
	ours    = types.UID("uid-of-ours")
	another = types.UID("uid-of-another")
)

var registrations = v1alpha1.ClusterRegistrationsResource

// provider is a provider workspace: client-go's fakes, which keep versions as a server
// does.
type provider struct {
	registrations *dynamicfake.FakeDynamicClient
	upstream      *kubefake.Clientset

	mu      sync.Mutex
	version int
	// writes are those of registrations, "verb" or "verb/subresource".
	writes []string
	// fails answers a verb with an error while it returns one.
	fails func(verb string) error
}

func newProvider(objects ...*unstructured.Unstructured) *provider {
	p := &provider{
		registrations: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
			map[schema.GroupVersionResource]string{registrations: "ClusterRegistrationList"}),
		upstream: kubefake.NewClientset(),
		version:  100,
		fails:    func(string) error { return nil },
	}
	for _, obj := range objects {
		p.put(obj)
	}
	p.registrations.PrependReactor("*", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		p.mu.Lock()
		err := p.fails(action.GetVerb())
		p.mu.Unlock()
		return err != nil, nil, err
	})
	p.registrations.PrependReactor("patch", "*", p.patch)
	p.registrations.PrependReactor("create", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		p.noteWrite(action)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.stamp(action.(clienttesting.CreateAction).GetObject().(*unstructured.Unstructured))
		return false, nil, nil
	})
	return p
}

func (p *provider) noteWrite(action clienttesting.Action) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes = append(p.writes, strings.TrimSuffix(action.GetVerb()+"/"+action.GetSubresource(), "/"))
}

// stamp gives an object what a server gives it.
func (p *provider) stamp(obj *unstructured.Unstructured) {
	p.version++
	obj.SetResourceVersion(strconv.Itoa(p.version))
	if obj.GetUID() == "" {
		obj.SetUID(types.UID("registration-" + obj.GetResourceVersion()))
	}
}

// patch merges a patch of the status, if the object has not changed since.
func (p *provider) patch(action clienttesting.Action) (bool, runtime.Object, error) {
	p.noteWrite(action)
	patch := struct {
		Metadata struct{ ResourceVersion string }
		Status   map[string]any
	}{}
	if err := json.Unmarshal(action.(clienttesting.PatchAction).GetPatch(), &patch); err != nil {
		return true, nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.fails("patch"); err != nil {
		return true, nil, err
	}
	name := action.(clienttesting.PatchAction).GetName()
	found, err := p.registrations.Tracker().Get(registrations, "", name)
	if err != nil {
		return true, nil, err
	}
	obj := found.(*unstructured.Unstructured).DeepCopy()
	if obj.GetResourceVersion() != patch.Metadata.ResourceVersion {
		return true, nil, apierrors.NewConflict(registrations.GroupResource(), name, errors.New("it has changed"))
	}
	status, _, _ := unstructured.NestedMap(obj.Object, "status")
	status = maps.Clone(status)
	if status == nil {
		status = map[string]any{}
	}
	for key, value := range patch.Status {
		status[key] = value
		if value == nil {
			delete(status, key)
		}
	}
	obj.Object["status"] = runtime.DeepCopyJSONValue(status)
	p.stamp(obj)
	return true, obj, p.registrations.Tracker().Update(registrations, obj, "")
}

// put stores an object, as somebody else would.
func (p *provider) put(obj *unstructured.Unstructured) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stamp(obj)
	err := p.registrations.Tracker().Update(registrations, obj, "")
	if apierrors.IsNotFound(err) {
		err = p.registrations.Tracker().Create(registrations, obj, "")
	}
	if err != nil {
		panic(err)
	}
}

func (p *provider) remove() {
	if err := p.registrations.Tracker().Delete(registrations, "", east); err != nil {
		panic(err)
	}
}

func (p *provider) fail(fails func(verb string) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fails = fails
}

// stored returns the registration, nil when there is none.
func (p *provider) stored(t *testing.T) *v1alpha1.ClusterRegistration {
	t.Helper()
	obj, err := p.registrations.Tracker().Get(registrations, "", east)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	registration, err := decode(obj.(*unstructured.Unstructured))
	if err != nil {
		t.Fatal(err)
	}
	return registration
}

// written returns the writes of registrations since it was last asked.
func (p *provider) written() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	written := p.writes
	p.writes = nil
	return written
}

// beats returns how often the Lease was written since it was last asked.
func (p *provider) beats() int {
	beats := 0
	for _, action := range p.upstream.Actions() {
		if slices.Contains([]string{"patch", "create"}, action.GetVerb()) {
			beats++
		}
	}
	p.upstream.ClearActions()
	return beats
}

// registration returns the registration of east, with mutations.
func registration(mutations ...func(*v1alpha1.ClusterRegistration)) *unstructured.Unstructured {
	typed := &v1alpha1.ClusterRegistration{
		TypeMeta:   metav1.TypeMeta{APIVersion: registrations.GroupVersion().String(), Kind: "ClusterRegistration"},
		ObjectMeta: metav1.ObjectMeta{Name: east},
	}
	for _, mutate := range mutations {
		mutate(typed)
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		panic(err)
	}
	return &unstructured.Unstructured{Object: content}
}

func claimedBy(uid types.UID) func(*v1alpha1.ClusterRegistration) {
	return func(r *v1alpha1.ClusterRegistration) { r.Status.ClusterUID = uid }
}

func leaving(r *v1alpha1.ClusterRegistration) {
	r.Finalizers = []string{v1alpha1.RegistryFinalizer}
	r.DeletionTimestamp = new(metav1.Now())
}

func withPrefix(prefix string) func(*v1alpha1.ClusterRegistration) {
	return func(r *v1alpha1.ClusterRegistration) {
		r.Spec.Transform = &v1alpha1.TransformRule{NamespacePrefix: prefix}
	}
}

// body is a physical cluster.
type body struct {
	client *kubefake.Clientset

	mu sync.Mutex
	// dead is what it answers when it does not.
	dead error
}

func newBody(uid types.UID, objects ...runtime.Object) *body {
	system := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: uid}}
	return &body{client: kubefake.NewClientset(append(objects, system)...)}
}

func (b *body) answers(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dead
}

func (b *body) die(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dead = err
}

func (b *body) discover(context.Context) (served, error) {
	return served{version: "v1.36.3", resources: []schema.GroupVersionResource{
		{Group: "example.com", Version: "v1", Resource: "widgets"},
		{Group: "apps", Version: "v1", Resource: "deployments"},
		{Version: "v1", Resource: "configmaps"},
	}}, nil
}

// agentOf returns the agent of a cluster, with mutations of its configuration.
func agentOf(t *testing.T, p *provider, b *body, mutations ...func(*Config)) *Agent {
	t.Helper()
	config := Config{Cluster: east, ProviderWorkspace: logicalcluster.NewPath("root:tmc"), SelfRegister: true}
	for _, mutate := range mutations {
		mutate(&config)
	}
	a, err := newAgent(config, clients{
		registrations: p.registrations, upstream: p.upstream, downstream: b.client, answers: b.answers, discover: b.discover,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// log is what a program has said.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) into(ctx context.Context) context.Context {
	return klog.NewContext(ctx, funcr.New(func(_, args string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lines = append(l.lines, args)
	}, funcr.Options{}))
}

// times returns how many lines have all the words.
func (l *log) times(words ...string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	times := 0
	for _, line := range l.lines {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			times++
		}
	}
	return times
}

func forbidden(verbs ...string) func(string) error {
	return func(verb string) error {
		if slices.Contains(verbs, verb) {
			return apierrors.NewForbidden(registrations.GroupResource(), east, errors.New("no"))
		}
		return nil
	}
}

// unserved is what client-go makes of a server that does not know the resource.
func unserved(verb string) error {
	return apierrors.NewGenericServerResponse(http.StatusNotFound, verb, registrations.GroupResource(), east, "404 page not found", 0, true)
}

// minutes is long compared with every interval.
const minutes = 5 * time.Minute
