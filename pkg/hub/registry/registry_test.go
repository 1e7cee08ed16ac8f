package registry

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	kubefake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

const silentAfter = 40 * time.Second

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// fixture is a registry with the cluster east, of which time and surroundings are the test's.
type fixture struct {
	*Registry

	t       *testing.T
	time    time.Time
	changes int
	// keys are on east; released are those that were taken off.
	keys, released []kcp.ObjectKey
	isUnread       bool
	leases         *kubefake.Clientset
}

// newClient returns a client that has a registration, if there is any.
func newClient(objects ...runtime.Object) *dynamicfake.FakeDynamicClient {
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{v1alpha1.ClusterRegistrationsResource: "ClusterRegistrationList"}, objects...)
}

func newFixture(t *testing.T, registration *v1alpha1.ClusterRegistration) *fixture {
	t.Helper()
	f := &fixture{t: t, time: began}
	client := newClient(f.encode(registration))
	f.leases = kubefake.NewClientset()
	var err error
	if f.Registry, err = newRegistry(Config{SilentAfter: silentAfter}, client, f.leases); err != nil {
		t.Fatal(err)
	}
	f.Handle(func(string) { f.changes++ })
	f.now, f.placed = func() time.Time { return f.time }, f
	f.read()
	return f
}

func (f *fixture) HasSynced() bool             { return !f.isUnread }
func (f *fixture) Keys(string) []kcp.ObjectKey { return f.keys }

func (f *fixture) Release(_ context.Context, key kcp.ObjectKey, _ string) error {
	f.released = append(f.released, key)
	f.keys = slices.DeleteFunc(slices.Clone(f.keys), func(other kcp.ObjectKey) bool { return other == key })
	return nil
}

func (f *fixture) encode(registration *v1alpha1.ClusterRegistration) *unstructured.Unstructured {
	f.t.Helper()
	registration.TypeMeta = metav1.TypeMeta{APIVersion: "tmc.kcp.io/v1alpha1", Kind: "ClusterRegistration"}
	registration.Name, registration.UID = "east", "uid"
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(registration)
	if err != nil {
		f.t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: content}
}

// stored returns the registration as the server has it, nil when it is gone.
func (f *fixture) stored() *v1alpha1.ClusterRegistration {
	f.t.Helper()
	obj, err := f.registrations.Get(f.t.Context(), "east", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		f.t.Fatal(err)
	}
	registration := &v1alpha1.ClusterRegistration{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, registration); err != nil {
		f.t.Fatal(err)
	}
	return registration
}

// read hands the registry what the server has, as a watch would.
func (f *fixture) read() {
	f.t.Helper()
	obj, err := f.registrations.Get(f.t.Context(), "east", metav1.GetOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	f.onRegistration("east", obj, false)
}

// change stores a changed registration and hands it on.
func (f *fixture) change(change func(*v1alpha1.ClusterRegistration)) {
	f.t.Helper()
	registration := f.stored()
	change(registration)
	if _, err := f.registrations.Update(f.t.Context(), f.encode(registration), metav1.UpdateOptions{}); err != nil {
		f.t.Fatal(err)
	}
	f.read()
}

func (f *fixture) heartbeat(at time.Time, isListed bool) {
	renewed := metav1.NewMicroTime(at)
	f.onLease("east", &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{RenewTime: &renewed}}, isListed)
}

// turn takes a turn and hands on what it wrote.
func (f *fixture) turn() time.Duration {
	f.t.Helper()
	again, err := f.sync(f.t.Context(), "east")
	if err != nil {
		f.t.Fatal(err)
	}
	f.read()
	return again
}

func (f *fixture) ready() string {
	f.t.Helper()
	condition := apimeta.FindStatusCondition(f.stored().Status.Conditions, v1alpha1.ConditionReady)
	if condition == nil {
		return ""
	}
	return string(condition.Status) + " " + condition.Reason
}

func TestRegistrySilentClusterIsNotReady(t *testing.T) {
	f := newFixture(t, &v1alpha1.ClusterRegistration{})
	f.turn()
	if got := f.ready(); got != "Unknown NeverHeard" {
		t.Errorf("before the first heartbeat it is %q", got)
	}
	f.heartbeat(began.Add(-time.Hour), false) // its clock is slow
	if again := f.turn(); again != silentAfter {
		t.Errorf("it is evaluated again after %s, want %s", again, silentAfter)
	}
	if got := f.ready(); got != "True HeartbeatReceived" || f.Silent("east") != "" {
		t.Errorf("after a heartbeat it is %q, and Silent says %q", got, f.Silent("east"))
	}
	f.time = began.Add(silentAfter - time.Second)
	if again := f.turn(); again != time.Second || f.Silent("east") != "" {
		t.Errorf("a second too early it is silent (%q), or not evaluated in time: %s", f.Silent("east"), again)
	}
	f.time = began.Add(silentAfter)
	f.fallsSilent()
	f.heartbeat(began, false)
	f.turn()
	if got := f.ready(); got != "True HeartbeatReceived" {
		t.Errorf("heard of again it is %q", got)
	}
}

// fallsSilent takes the turn that finds the cluster silent.
func (f *fixture) fallsSilent() {
	f.t.Helper()
	t, before := f.t, f.changes
	f.turn()
	if got := f.ready(); got != "Unknown Silent" || f.Silent("east") != "silent since 2026-01-02T02:04:05Z" {
		t.Errorf("it is %q, and Silent says %q", got, f.Silent("east"))
	}
	if f.changes == before {
		t.Error("nobody was told")
	}
	if cluster := f.Fleet().All()[0]; cluster.Ready || len(cluster.Taints) != 1 || cluster.Taints[0].Key != v1alpha1.TaintUnreachable || !cluster.Taints[0].TimeAdded.Time.Equal(f.time) {
		t.Errorf("placement sees %+v", cluster)
	}
}

func TestRegistryFailedWatchIsNoSilence(t *testing.T) {
	f := newFixture(t, &v1alpha1.ClusterRegistration{})
	f.heartbeat(began, false)
	f.turn()
	f.time = began.Add(silentAfter - time.Second)
	f.noteWatchFailed() // kcp is not reachable, and nor is it for the cluster
	f.time = began.Add(silentAfter)
	if again := f.turn(); f.Silent("east") != "" || again != silentAfter-time.Second {
		t.Errorf("Silent says %q, and it is evaluated again after %s", f.Silent("east"), again)
	}
	f.time = began.Add(2*silentAfter - time.Second)
	if f.turn(); f.Silent("east") == "" {
		t.Error("it had long enough to be heard again, and is not called silent")
	}
}

func TestRegistryTakesOverFromAnotherHub(t *testing.T) {
	condition := func(status metav1.ConditionStatus) []metav1.Condition {
		return []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status, Reason: "Stored", LastTransitionTime: metav1.NewTime(began.Add(-time.Hour))}}
	}
	cases := map[string]struct {
		reason     string
		conditions []metav1.Condition
		isListed   bool
		want       string
	}{
		"the last hub found it ready":                 {"its Lease counts as seen just now", condition(metav1.ConditionTrue), true, "True"},
		"the last hub found it silent":                {"its Lease is an old one", condition(metav1.ConditionUnknown), true, "Unknown"},
		"the last hub found it silent, and it renews": {"its Lease came while we watched", condition(metav1.ConditionUnknown), false, "True"},
		"no hub has written a condition":              {"it came while no hub was there", nil, true, "True"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, &v1alpha1.ClusterRegistration{Status: v1alpha1.ClusterRegistrationStatus{Conditions: tc.conditions}})
			f.heartbeat(began.Add(-time.Minute), tc.isListed)
			f.turn()
			if got, _, _ := strings.Cut(f.ready(), " "); got != tc.want {
				t.Errorf("%s: ready is %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}

// TestRegistryTimesOfOtherClocks has a taint, and the silence of a cluster, be noted by somebody whose clock is off: they count from
// when the hub first saw them at the latest.
func TestRegistryTimesOfOtherClocks(t *testing.T) {
	for name, tc := range map[string]struct {
		noted time.Time
		want  time.Time
	}{
		"earlier":           {began.Add(-time.Hour), began.Add(-time.Hour)},
		"ten minutes ahead": {began.Add(10 * time.Minute), began},
	} {
		t.Run(name, func(t *testing.T) {
			noted := metav1.NewTime(tc.noted)
			f := newFixture(t, &v1alpha1.ClusterRegistration{
				Spec:   v1alpha1.ClusterRegistrationSpec{Taints: []v1alpha1.Taint{{Key: "a", Effect: v1alpha1.TaintNoExecute, TimeAdded: &noted}}},
				Status: v1alpha1.ClusterRegistrationStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionUnknown, Reason: "Silent", LastTransitionTime: noted}}},
			})
			for _, taint := range f.Fleet().All()[0].Taints {
				if !taint.TimeAdded.Time.Equal(tc.want) {
					t.Errorf("taint %s counts from %s, want %s", taint.Key, taint.TimeAdded, tc.want)
				}
			}
		})
	}
}

// TestRegistryOfAClusterWithAnotherClock has the heartbeats of a cluster carry the times of its own clock.
func TestRegistryOfAClusterWithAnotherClock(t *testing.T) {
	for name, off := range map[string]time.Duration{"right": 0, "ten minutes ahead": 10 * time.Minute, "ten minutes behind": -10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, &v1alpha1.ClusterRegistration{})
			for beat := range 3 {
				f.time = began.Add(time.Duration(beat) * (silentAfter - time.Second))
				f.heartbeat(f.time.Add(off), false)
				if f.turn(); f.Silent("east") != "" {
					t.Errorf("beat %d: it is silent: %s", beat, f.Silent("east"))
				}
			}
			f.time = f.time.Add(silentAfter)
			if f.turn(); f.Silent("east") == "" {
				t.Error("it is not silent though nothing was heard of it for long")
			}
		})
	}
}

func TestRegistryWritesNothingTwice(t *testing.T) {
	f := newFixture(t, &v1alpha1.ClusterRegistration{})
	f.heartbeat(began, false)
	f.turn()
	f.turn() // the finalizer and the condition are two writes
	before := f.stored()
	changes := f.changes
	f.heartbeat(began.Add(time.Second), false)
	f.turn()
	if diff := cmp.Diff(before, f.stored()); diff != "" {
		t.Errorf("a heartbeat was written down (-before +after):\n%s", diff)
	}
	f.change(func(registration *v1alpha1.ClusterRegistration) {
		registration.Status.Requested = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
	})
	if f.changes != changes {
		t.Error("load or heartbeats had everything placed again")
	}
}

func TestRegistryRemovesEmptyClusters(t *testing.T) {
	web := kcp.ObjectKey{Name: "web"}
	leaving := func(f *fixture, annotations map[string]string) {
		f.turn()
		f.change(func(registration *v1alpha1.ClusterRegistration) {
			now := metav1.NewTime(began)
			registration.DeletionTimestamp, registration.Annotations = &now, annotations
		})
	}
	held := func(f *fixture) bool {
		registration := f.stored()
		return registration != nil && slices.Contains(registration.Finalizers, v1alpha1.RegistryFinalizer)
	}

	t.Run("drained", func(t *testing.T) {
		f := newFixture(t, &v1alpha1.ClusterRegistration{})
		f.keys = []kcp.ObjectKey{web}
		leaving(f, nil)
		if !f.Fleet().All()[0].Draining {
			t.Error("it does not drain")
		}
		if again := f.turn(); !held(f) || len(f.released) > 0 || again == 0 {
			t.Errorf("held: %t, released: %v, evaluated again after %s", held(f), f.released, again)
		}
		f.keys = nil
		f.turn()
		if deleted := f.leases.Actions(); held(f) || len(deleted) != 1 {
			t.Errorf("held: %t, what was done to Leases: %v", held(f), deleted)
		}
	})
	t.Run("released", func(t *testing.T) {
		f := newFixture(t, &v1alpha1.ClusterRegistration{})
		f.keys = []kcp.ObjectKey{web}
		leaving(f, map[string]string{v1alpha1.ReleaseAnnotation: "true"})
		f.turn()
		f.turn()
		if held(f) || len(f.released) != 1 {
			t.Errorf("held: %t, released: %v", held(f), f.released)
		}
	})
	t.Run("not known", func(t *testing.T) {
		f := newFixture(t, &v1alpha1.ClusterRegistration{})
		f.isUnread = true
		leaving(f, nil)
		f.turn()
		if !held(f) {
			t.Error("it was let go before it was known what is on it")
		}
	})
}

func TestRegistryCluster(t *testing.T) {
	f := newFixture(t, &v1alpha1.ClusterRegistration{})
	steps := []struct {
		reason        string
		change        func(*v1alpha1.ClusterRegistration)
		export, group string
		isNews        bool
	}{
		{"nothing is said", func(*v1alpha1.ClusterRegistration) {}, v1alpha1.APIExportName, "", false},
		{"what is not said is shared", func(r *v1alpha1.ClusterRegistration) { r.Spec.Isolation = v1alpha1.IsolationShared }, v1alpha1.APIExportName, "", false},
		{"it has a view of its own", func(r *v1alpha1.ClusterRegistration) { r.Spec.Isolation = v1alpha1.IsolationCluster }, "cluster-east", "", true},
		{"it has one with others", func(r *v1alpha1.ClusterRegistration) {
			r.Spec.Isolation, r.Spec.IsolationGroup = v1alpha1.IsolationGroup, "eu"
		}, "group-eu", "eu", true},
		{"it says what it takes", func(r *v1alpha1.ClusterRegistration) { r.Status.Resources = []string{"configmaps/v1"} }, "group-eu", "eu", true},
		{"it says it again", func(*v1alpha1.ClusterRegistration) {}, "group-eu", "eu", false},
	}
	for _, step := range steps {
		before := f.changes
		f.change(step.change)
		got := f.Cluster("east")
		if got.Export != step.export || strings.Join(got.Groups, " ") != step.group || f.changes-before != map[bool]int{true: 1}[step.isNews] {
			t.Errorf("%s: export %s, group %q, told %d times", step.reason, got.Export, got.Groups, f.changes-before)
		}
	}
	if !f.Cluster("east").Lacks(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}) {
		t.Error("it takes Deployments")
	}
	if got := f.Cluster("nope"); got.Name != "" {
		t.Errorf("one that is not registered is %+v", got)
	}
}

func TestRegistryExportsOf(t *testing.T) {
	east := func(isolation v1alpha1.Isolation, present string) *v1alpha1.ClusterRegistration {
		return &v1alpha1.ClusterRegistration{
			Spec: v1alpha1.ClusterRegistrationSpec{Isolation: isolation}, Status: v1alpha1.ClusterRegistrationStatus{Export: present},
		}
	}
	cases := map[string]struct {
		reason       string
		registration *v1alpha1.ClusterRegistration
		want         []string
	}{
		"its syncer runs as it joined": {"its syncer runs as it joined", east(v1alpha1.IsolationCluster, "cluster-east"), []string{"cluster-east"}},
		"its syncer never ran":         {"it is about to", east(v1alpha1.IsolationCluster, ""), []string{"cluster-east"}},
		"it has joined anew":           {"its syncer still sees through the former", east(v1alpha1.IsolationShared, "cluster-east"), []string{"tmc.kcp.io", "cluster-east"}},
		"it leaves a group":            {"likewise", east(v1alpha1.IsolationCluster, "group-eu"), []string{"cluster-east", "group-eu"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, tc.registration)
			if got := f.ExportsOf("east"); !slices.Equal(got, tc.want) {
				t.Errorf("%s: %v, want %v", tc.reason, got, tc.want)
			}
			if got := f.ExportsOf("west"); len(got) > 0 {
				t.Errorf("of one that is not registered: %v", got)
			}
		})
	}
}

// TestRegistryRun has a registration and its Lease come and go while a hub works.
func TestRegistryRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{t: t}
		client, leases := newClient(), kubefake.NewClientset()
		r, err := newRegistry(Config{SilentAfter: silentAfter}, client, leases)
		if err != nil {
			t.Fatal(err)
		}
		r.Handle(func(string) { f.changes++ })
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { r.Run(ctx) })
		running.Go(func() { r.Work(ctx, f) })
		registrations := client.Resource(v1alpha1.ClusterRegistrationsResource)
		renewed := metav1.NowMicro()
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.HeartbeatNamespace, Name: "east"}, Spec: coordinationv1.LeaseSpec{RenewTime: &renewed}}
		steps := []struct {
			name   string
			do     func() error
			ready  []bool // of the clusters that there are
			silent string
			isNews bool
		}{
			{"nothing is there", func() error { return nil }, nil, "is not registered", false},
			{"it is registered", func() error {
				_, err := registrations.Create(ctx, f.encode(&v1alpha1.ClusterRegistration{}), metav1.CreateOptions{})
				return err
			}, []bool{false}, "its syncer has not been heard of yet", true},
			{"it sends a heartbeat", func() error { return leases.Tracker().Add(lease) }, []bool{true}, "", true},
			{"its registration is gone", func() error { return registrations.Delete(ctx, "east", metav1.DeleteOptions{}) }, nil, "is not registered", true},
			{"its Lease is gone", func() error {
				return leases.Tracker().Delete(coordinationv1.SchemeGroupVersion.WithResource("leases"), v1alpha1.HeartbeatNamespace, "east")
			}, nil, "is not registered", false},
		}
		for _, step := range steps {
			before := f.changes
			if err := step.do(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			var ready []bool
			for _, cluster := range r.Fleet().All() {
				ready = append(ready, cluster.Ready)
			}
			if !r.HasSynced() || !slices.Equal(ready, step.ready) || r.Silent("east") != step.silent || f.changes > before != step.isNews {
				t.Errorf("%s: clusters ready %v, Silent says %q, told %d times", step.name, ready, r.Silent("east"), f.changes-before)
			}
		}
		cancel()
		running.Wait()
	})
}

func TestRegistryNotesFailedWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient()
		client.PrependReactor("list", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{}, "", errors.New("no"))
		})
		r, err := newRegistry(Config{SilentAfter: silentAfter}, client, kubefake.NewClientset())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r.Run(ctx)
		r.Work(ctx, nil)
		if r.HasSynced() || r.watchFailed.IsZero() || time.Since(r.watchFailed) > silentAfter {
			t.Errorf("synced: %t, the watch failed at %s", r.HasSynced(), r.watchFailed)
		}
	})
}

// TestRegistryJudge has a hub stand by from before the cluster was heard of: when it takes over, it must not take the cluster for one that
// has been unreachable for ever.
func TestRegistryJudge(t *testing.T) {
	f := newFixture(t, &v1alpha1.ClusterRegistration{})
	f.heartbeat(f.time, false)
	if f.Cluster("east").Ready {
		t.Error("one that stands by has judged a cluster")
	}
	f.Judge(t.Context())
	if cluster := f.Cluster("east"); !cluster.Ready || len(cluster.Taints) > 0 {
		t.Errorf("the cluster is %+v, want it to be ready and not tainted", cluster)
	}
}

// TestRegistryWorksAgain has it work, stand by, and work again: what changed in between is not missed.
func TestRegistryWorksAgain(t *testing.T) {
	f := newFixture(t, &v1alpha1.ClusterRegistration{})
	work := func(until string) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { f.Work(ctx, f); close(ended) }()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			if ready := apimeta.FindStatusCondition(f.stored().Status.Conditions, v1alpha1.ConditionReady); ready != nil && ready.Reason == until {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the cluster does not become %s", until)
			}
		}
		cancel()
		<-ended
	}
	work("NeverHeard")
	f.heartbeat(began, false)
	work("HeartbeatReceived")
}

func TestClusterTaints(t *testing.T) {
	tainted := func(unschedulable bool, taints ...v1alpha1.Taint) *v1alpha1.ClusterRegistration {
		return &v1alpha1.ClusterRegistration{Spec: v1alpha1.ClusterRegistrationSpec{Unschedulable: unschedulable, Taints: taints}}
	}
	c := &cluster{readiness: readiness{status: metav1.ConditionTrue}}
	gpu := v1alpha1.Taint{Key: "gpu", Effect: v1alpha1.TaintNoExecute}
	timed := v1alpha1.Taint{Key: "timed", Effect: v1alpha1.TaintNoExecute, TimeAdded: &metav1.Time{Time: began.Add(-time.Hour)}}
	for i, step := range []struct {
		registration *v1alpha1.ClusterRegistration
		want         map[string]time.Time
	}{
		{tainted(false, gpu, timed), map[string]time.Time{"gpu": began.Add(0), "timed": began.Add(-time.Hour)}},
		{tainted(true, gpu), map[string]time.Time{"gpu": began.Add(0), v1alpha1.TaintUnschedulable: {}}},
		{tainted(false), map[string]time.Time{}},
		{tainted(false, gpu), map[string]time.Time{"gpu": began.Add(3 * time.Minute)}},
	} {
		c.register(step.registration, began.Add(time.Duration(i)*time.Minute))
		c.readiness = readiness{status: metav1.ConditionTrue}
		got := map[string]time.Time{}
		for _, taint := range c.view().Taints {
			got[taint.Key] = taint.TimeAdded.Time
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestNewFailsWithoutAKCP(t *testing.T) {
	for _, config := range []*rest.Config{{Host: "https://kcp:port:/"}, {Host: "https://kcp", TLSClientConfig: rest.TLSClientConfig{CAData: []byte("no PEM")}}} {
		if _, err := New(Config{KCP: config}); err == nil {
			t.Errorf("no error for %s", config.Host)
		}
	}
	if _, err := New(Config{KCP: &rest.Config{Host: "https://kcp"}}); err != nil {
		t.Error(err)
	}
}
