package registry

import (
	"context"
	"slices"
	"strings"
	"testing"
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
	leasesDeleted  []string
}

func newFixture(t *testing.T, registration *v1alpha1.ClusterRegistration) *fixture {
	t.Helper()
	f := &fixture{t: t, time: began}
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{v1alpha1.ClusterRegistrationsResource: "ClusterRegistrationList"}, f.encode(registration))
	f.Registry = newRegistry(Config{SilentAfter: silentAfter}, client.Resource(v1alpha1.ClusterRegistrationsResource), f)
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

func (f *fixture) Delete(_ context.Context, name string, _ metav1.DeleteOptions) error {
	f.leasesDeleted = append(f.leasesDeleted, name)
	return apierrors.NewNotFound(schema.GroupResource{}, name)
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
	if cluster := f.Clusters()[0]; cluster.Ready || len(cluster.Taints) != 1 || cluster.Taints[0].Key != v1alpha1.TaintUnreachable || !cluster.Taints[0].TimeAdded.Time.Equal(f.time) {
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
		if !f.Clusters()[0].Draining {
			t.Error("it does not drain")
		}
		if again := f.turn(); !held(f) || len(f.released) > 0 || again == 0 {
			t.Errorf("held: %t, released: %v, evaluated again after %s", held(f), f.released, again)
		}
		f.keys = nil
		f.turn()
		if held(f) || len(f.leasesDeleted) != 1 {
			t.Errorf("held: %t, Leases deleted: %v", held(f), f.leasesDeleted)
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
