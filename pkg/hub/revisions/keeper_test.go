package revisions

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/revisions"
	"github.com/kcp-tmc/tmc/pkg/yamltest"
)

// wrote compares what has been written since the last time.
func (f *fakeKCP) wrote(what string, want ...string) {
	f.t.Helper()
	if got := f.takeWrites(); !slices.Equal(got, want) {
		f.t.Errorf("%s: wrote %q, want %q", what, got, want)
	}
}

func (f *fakeKCP) has(want ...string) {
	f.t.Helper()
	if diff := cmp.Diff(want, f.replicaSets()); diff != "" {
		f.t.Errorf("ReplicaSets, revision: wanted/ready (-want +got)\n%s", diff)
	}
}

const (
	created   = "create replicasets"
	patched   = "patch replicasets"
	removed   = "delete replicasets"
	annotated = "patch deployments"
)

// TestKeeperWrites counts what each change costs.
func TestKeeperWrites(t *testing.T) {
	f := newFake(t, deployment)
	f.settle()
	f.wrote("a new Deployment", created, annotated)
	f.rollOut(3, 1, 0)
	f.settle()
	f.wrote("a roll-out under way")
	f.rollOut(3, 3, 3)
	f.settle()
	f.wrote("the end of the first roll-out", patched)
	f.has("1: 3/3")

	f.setImage("web:2")
	f.settle()
	f.wrote("a new template", created, annotated)
	f.rollOut(4, 2, 3)
	f.settle()
	f.wrote("the roll-out of it")
	f.has("1: 3/3", "2: 0/0")
	f.rollOut(3, 3, 3)
	f.settle()
	f.wrote("the end of it", patched, patched)
	f.has("1: 0/0", "2: 3/3")

	f.restart()
	f.settle()
	f.wrote("a restart")

	f.setImage("web:1")
	f.settle()
	f.wrote("a return to an older template", patched, annotated)
	f.rollOut(3, 3, 3)
	f.settle()
	f.wrote("the end of that", patched, patched)
	f.has("2: 0/0", "3: 3/3")

	f.setImage("web:3")
	f.settle()
	f.rollOut(3, 3, 3)
	f.settle()
	f.takeWrites()
	f.setImage("web:4")
	f.settle()
	f.rollOut(3, 3, 3)
	f.settle()
	f.wrote("one beyond the limit", created, annotated, patched, patched, removed)
	f.has("3: 0/0", "4: 0/0", "5: 3/3")

	f.change(web, func(obj *unstructured.Unstructured) {
		annotations := obj.GetAnnotations()
		annotations["kubernetes.io/change-cause"] = "because"
		annotations[v1alpha1.StatusAnnotation("east")] = "a report"
		obj.SetAnnotations(annotations)
	})
	f.catchUp()
	f.settle()
	f.wrote("an annotation", patched)
	f.change(web, func(obj *unstructured.Unstructured) {
		annotations := obj.GetAnnotations()
		annotations[v1alpha1.StatusAnnotation("east")] = "another report"
		obj.SetAnnotations(annotations)
	})
	f.catchUp()
	f.settle()
	f.wrote("a report")
}

// TestKeeperWritesTheFirstRevisionOnce has the roll-out of a new Deployment be done in time, or not. What comes after it does not wait.
func TestKeeperWritesTheFirstRevisionOnce(t *testing.T) {
	cases := map[string]struct {
		done   time.Duration
		writes []string
	}{
		"done within the time": {time.Second, []string{created, annotated}},
		"done after it":        {time.Minute, []string{created, annotated, patched}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, deployment)
			f.keeper.firstGrace = firstGrace
			if again := f.sync(); again != firstGrace {
				t.Errorf("looks again after %s, want %s", again, firstGrace)
			}
			f.wrote("a new Deployment")
			f.rollOut(3, 1, 1)
			f.clock = f.clock.Add(min(c.done, firstGrace))
			if c.done > firstGrace {
				f.settle()
			}
			f.rollOut(3, 3, 3)
			f.settle()
			f.wrote("the roll-out", c.writes...)
			f.has("1: 3/3")
			if len(f.keeper.memory.byKey) > 0 {
				t.Errorf("remembers %v", f.keeper.memory.byKey)
			}
			f.setImage("web:2")
			f.settle()
			f.wrote("a new template", created, annotated)
		})
	}
}

func TestKeeperScales(t *testing.T) {
	f := newFake(t, deployment)
	f.rollOut(3, 3, 3)
	f.settle()
	f.wrote("a Deployment that was there before the hub", created, annotated)
	f.has("1: 3/3")
	f.rollOut(5, 5, 5)
	f.settle()
	f.wrote("scaled out", patched)
	for _, replicas := range []int64{4, 3} {
		f.rollOut(replicas, replicas, replicas)
		if again := f.sync(); again <= 0 || again > settledGrace {
			t.Errorf("the next turn is after %s", again)
		}
		f.clock = f.clock.Add(settledGrace / 2)
	}
	f.wrote("scaled in, for a moment")
	f.settle()
	f.wrote("scaled in", patched)
	f.has("1: 3/3")

	f.rollOut(3, 3, 2)
	f.settle()
	f.clock = f.clock.Add(fallGrace - time.Second)
	f.settle()
	f.rollOut(3, 3, 3)
	f.settle()
	f.wrote("a pod that was not ready for a moment")
	f.rollOut(3, 3, 1)
	f.settle()
	f.clock = f.clock.Add(fallGrace)
	f.settle()
	f.wrote("pods that are not ready", patched)
	f.has("1: 3/1")
}

func TestKeeperDoesNotAct(t *testing.T) {
	for name, change := range map[string]func(*fakeKCP){
		"for what is not placed": func(f *fakeKCP) {
			f.change(web, func(obj *unstructured.Unstructured) { obj.SetLabels(nil) })
		},
		"for what is being deleted": func(f *fakeKCP) {
			f.change(web, func(obj *unstructured.Unstructured) { obj.SetDeletionTimestamp(new(metav1.Unix(1, 0))) })
		},
		"in a namespace that is being deleted": func(f *fakeKCP) {
			f.put(namespace, yamltest.Object(f.t, "{apiVersion: v1, kind: Namespace, metadata: {name: shop, deletionTimestamp: \"2026-01-01T00:00:00Z\"}}"))
		},
		"before all has been read": func(f *fakeKCP) { f.isUnread.Store(true) },
		"for what is gone":         func(f *fakeKCP) { delete(f.live, web) },
		"for what is paused": func(f *fakeKCP) {
			f.change(web, func(obj *unstructured.Unstructured) { obj.Object["spec"].(map[string]any)["paused"] = true })
		},
		"on what nobody can compare": func(f *fakeKCP) {
			f.change(web, func(obj *unstructured.Unstructured) {
				containers := []any{map[string]any{"name": "web", "resources": map[string]any{"limits": map[string]any{"cpu": "1e2000000000"}}}}
				check(f.t, unstructured.SetNestedSlice(obj.Object, containers, "spec", "template", "spec", "containers"))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, deployment)
			change(f)
			f.catchUp()
			f.settle()
			f.wrote(name)
		})
	}
}

// TestKeeperRemembers has the caches show nothing of what was written for a while.
func TestKeeperRemembers(t *testing.T) {
	f := newFake(t, deployment)
	for range 3 {
		f.sync()
	}
	f.wrote("with caches that lag", created, annotated)
	f.catchUp()
	f.settle()
	f.rollOut(3, 3, 3)
	for range 3 {
		f.sync()
	}
	f.wrote("the numbers, with caches that lag", patched)
	f.setImage("web:2")
	f.settle()
	f.change(web, func(obj *unstructured.Unstructured) {
		obj.Object["spec"].(map[string]any)["revisionHistoryLimit"] = int64(0)
	})
	f.rollOut(3, 3, 3)
	f.takeWrites()
	for range 3 {
		f.sync()
	}
	f.wrote("deleted, with caches that lag", patched, removed)
	f.catchUp()
	if len(f.keeper.memory.byKey) > 0 {
		f.sync()
	}
	if len(f.keeper.memory.byKey) > 0 {
		t.Errorf("with caches that have caught up, %d workloads are remembered", len(f.keeper.memory.byKey))
	}
}

// TestKeeperBelievesCachesInTheEnd has a revision go before the caches have seen it.
func TestKeeperBelievesCachesInTheEnd(t *testing.T) {
	f := newFake(t, deployment)
	f.sync()
	for key := range f.live {
		if key.Resource == v1alpha1.ReplicaSetsResource {
			delete(f.live, key)
		}
	}
	f.catchUp()
	f.takeWrites()
	f.settle()
	f.wrote("at once")
	f.clock = f.clock.Add(longestLag + time.Second)
	f.settle()
	f.wrote("later", created)
}

func TestKeeperAdopts(t *testing.T) {
	const left = `
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web-LEFT, namespace: shop, uid: LEFT, labels: {app: LABEL, pod-template-hash: x}, annotations: {kcp.io/cluster: team, deployment.kubernetes.io/revision: "7"}, generation: 4}
spec: {replicas: 3, template: {metadata: {labels: {app: web, pod-template-hash: x}}, spec: {containers: [{name: web, image: "web:1"}]}}}
status: {replicas: 3, readyReplicas: 3, availableReplicas: 3}`
	f := newFake(t, deployment, strings.NewReplacer("LEFT", "ours", "LABEL", "web").Replace(left), strings.NewReplacer("LEFT", "others", "LABEL", "api").Replace(left))
	f.rollOut(3, 3, 3)
	f.settle()
	f.wrote("one that was left behind", patched, annotated)
	adopted := f.live[revisionKey(web, "web-ours")]
	if owner := metav1.GetControllerOf(adopted); owner == nil || owner.UID != "web-uid" || owner.Kind != "Deployment" {
		t.Errorf("the owner is %v", owner)
	}
	if got := f.live[web].GetAnnotations()[revisions.RevisionAnnotation]; got != "7" {
		t.Errorf("the Deployment is at revision %q, want 7", got)
	}
	if owner := metav1.GetControllerOf(f.live[revisionKey(web, "web-others")]); owner != nil {
		t.Errorf("another one was adopted by %v", owner)
	}
}

// TestKeeperLeavesBehind has a Deployment deleted with --cascade=orphan.
func TestKeeperLeavesBehind(t *testing.T) {
	f := newFake(t, deployment)
	f.settle()
	f.takeWrites()
	for key := range f.live {
		if key.Resource == v1alpha1.ReplicaSetsResource {
			f.change(key, func(obj *unstructured.Unstructured) {
				obj.SetOwnerReferences(append(obj.GetOwnerReferences(), metav1.OwnerReference{APIVersion: "v1", Kind: "Thing", Name: "a", UID: "b"}))
			})
		}
	}
	f.change(web, func(obj *unstructured.Unstructured) {
		obj.SetDeletionTimestamp(new(metav1.Unix(1, 0)))
		obj.SetFinalizers([]string{metav1.FinalizerOrphanDependents})
	})
	f.catchUp()
	f.sync()
	f.sync()
	f.wrote("left behind, with caches that lag", patched)
	f.catchUp()
	f.settle()
	f.wrote("left behind")
	for key, obj := range f.live {
		if key.Resource == v1alpha1.ReplicaSetsResource && (metav1.GetControllerOf(obj) != nil || len(obj.GetOwnerReferences()) != 1) {
			t.Errorf("the owners are %v", obj.GetOwnerReferences())
		}
	}
	delete(f.live, web)
	f.catchUp()
	again := yamltest.Object(t, strings.ReplaceAll(deployment, "web-uid", "another-uid"))
	f.put(web, again)
	f.catchUp()
	f.settle()
	f.wrote("made anew", patched, annotated)
	f.has("1: 0/0")
}

func TestKeeperTakesAnotherName(t *testing.T) {
	f := newFake(t, deployment)
	taken := map[kcp.ObjectKey]bool{}
	f.intrude = func(key kcp.ObjectKey) {
		if len(taken) < 2 && !taken[key] {
			taken[key] = true
			obj := yamltest.Object(t, "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {namespace: shop, uid: x, ownerReferences: [{controller: true, uid: other}]}}")
			obj.SetName(key.Name)
			f.annotate(obj)
			f.put(key, obj)
		}
	}
	f.settle()
	f.wrote("with two names taken", created, created, created, annotated)
}

func TestKeeperFindsWhatItHasMade(t *testing.T) {
	f := newFake(t, deployment)
	f.sync()
	f.restart() // before the caches have seen it
	f.takeWrites()
	f.sync()
	f.wrote("a restart before the caches have caught up", created, annotated) // refused, and patched with what it is
	f.catchUp()
	f.settle()
	f.wrote("then")
	f.has("1: 0/0")
}

func TestKeeperGivesUpNames(t *testing.T) {
	f := newFake(t, deployment)
	f.intrude = func(key kcp.ObjectKey) {
		obj := yamltest.Object(t, "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {namespace: shop, uid: x, ownerReferences: [{controller: true, uid: other}]}}")
		obj.SetName(key.Name)
		f.put(key, obj)
	}
	if again := f.sync(); again < time.Second {
		t.Errorf("the next turn is after %s", again)
	}
}

func TestKeeperBacksOff(t *testing.T) {
	f := newFake(t, deployment)
	f.refuses = apierrors.NewForbidden(v1alpha1.ReplicaSetsResource.GroupResource(), "web", fmt.Errorf("policy"))
	for range 10 {
		again := f.sync()
		if again < time.Second {
			t.Fatalf("the next turn is after %s", again)
		}
		f.clock = f.clock.Add(again)
	}
	if len(f.told) != 1 || !strings.Contains(f.told[0], "policy") {
		t.Errorf("users are told %q, want what kcp refuses, once", f.told)
	}
	f.takeWrites()
	f.sync()
	f.sync()
	f.wrote("within the time to wait", created)
	f.refuses = nil
	f.setImage("web:2")
	f.settle()
	f.wrote("after a change", created, annotated)
}

func TestKeeperWaitsUntilRevisionsAreServed(t *testing.T) {
	f := newFake(t, deployment)
	f.refuses = &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonNotFound, Code: 404, Details: &metav1.StatusDetails{}}}
	for range 3 {
		if again := f.sync(); again != unservedRetry {
			t.Errorf("the next turn is after %s, want %s", again, unservedRetry)
		}
	}
	if len(f.told) > 0 {
		t.Errorf("users are told %q", f.told)
	}
	f.takeWrites()
	f.refuses = nil
	f.settle()
	f.wrote("when they are served", created, annotated)
}

// TestKeeperRevision has the scheduler write what the Deployment is to say.
func TestKeeperRevision(t *testing.T) {
	f := newFake(t, deployment)
	number := f.keeper.Revision(web, f.cache[web])
	f.change(web, func(obj *unstructured.Unstructured) {
		annotations := obj.GetAnnotations()
		annotations[revisions.RevisionAnnotation] = number
		obj.SetAnnotations(annotations)
	})
	f.catchUp()
	f.settle()
	f.wrote("a new Deployment that says its number", created)
	if again := f.keeper.Revision(web, f.cache[web]); number != "1" || again != "" {
		t.Errorf("the number is %q, then %q", number, again)
	}
	f.isUnread.Store(true)
	if number := f.keeper.Revision(web, f.cache[web]); number != "" {
		t.Errorf("before all has been read, the number is %q", number)
	}
	if number := f.keeper.Revision(namespace, f.cache[web]); number != "" {
		t.Errorf("of a namespace, the number is %q", number)
	}
}

func TestKeeperIgnoresReports(t *testing.T) {
	f := newFake(t, deployment)
	before := f.cache[web]
	for name, want := range map[string]bool{v1alpha1.StatusAnnotation("east"): true, "a": false} {
		after := before.DeepCopy()
		after.SetAnnotations(map[string]string{"kcp.io/cluster": "team", "team": "a", name: "b"})
		if got := f.keeper.isReport(before, after); got != want {
			t.Errorf("%s: got %t, want %t", name, got, want)
		}
	}
	after := before.DeepCopy()
	after.Object["status"] = map[string]any{"replicas": int64(1)}
	if f.keeper.isReport(before, after) {
		t.Error("another status is no report")
	}
}

func TestKeeperWaitsForTheCache(t *testing.T) {
	f := newFake(t, deployment)
	f.change(web, func(obj *unstructured.Unstructured) {
		check(t, unstructured.SetNestedSlice(obj.Object, []any{map[string]any{"name": "web", "image": "web:2"}}, "spec", "template", "spec", "containers"))
	})
	behind := func(what string) {
		t.Helper()
		if _, err := f.keeper.sync(t.Context(), web); !errors.Is(err, errBehind) {
			t.Errorf("%s: got %v, want %v", what, err, errBehind)
		}
		f.wrote(what)
	}
	behind("a template that is no longer so")
	delete(f.live, web)
	behind("a workload that is no longer there")

	f = newFake(t, deployment)
	f.settle()
	f.rollOut(3, 3, 3)
	for key := range f.live {
		if key.Resource == v1alpha1.ReplicaSetsResource {
			delete(f.live, key)
		}
	}
	f.takeWrites()
	if _, err := f.keeper.sync(t.Context(), web); !errors.Is(err, errBehind) {
		t.Errorf("a revision that is no longer there: got %v, want %v", err, errBehind)
	}
}

func TestKeeperKeepsControllerRevisions(t *testing.T) {
	f := newFake(t, strings.ReplaceAll(deployment, "Deployment", "StatefulSet"))
	web := web
	web.Resource.Resource = "statefulsets"
	turn := func() {
		_, err := f.keeper.sync(t.Context(), web)
		check(t, err)
		f.catchUp()
	}
	turn()
	turn()
	f.wrote("a StatefulSet", "create controllerrevisions")
}

// TestKeeperIsQueued tests which workloads have a turn after which events.
func TestKeeperIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, deployment)
		f.keeper.now = time.Now
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		f.isUnread.Store(true)
		go func() {
			time.Sleep(10 * time.Second)
			f.isUnread.Store(false)
		}()
		f.keeper.Run(ctx, 1)
		f.wrote("as soon as all has been read", created, annotated)
		f.keeper.OnUpstream(namespace, nil, yamltest.Object(t, "{metadata: {name: shop}}")) // is nobody's
	})
}

// TestKeeperIsSteady has random changes, lags and restarts come to the same end as none of them: nothing is made twice, and nothing is
// written at rest.
func TestKeeperIsSteady(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			f := newFake(t, deployment)
			image, number := "web:1", int64(1)
			latest := map[string]int64{image: 1}
			f.settle()
			for range 40 {
				if next := fmt.Sprint("web:", random.IntN(4)); next != image {
					image, number = next, number+1
					latest[image] = number
				}
				f.setImage(image)
				for range random.IntN(5) {
					switch random.IntN(4) {
					case 0:
						f.catchUp()
					case 1:
						f.restart()
						f.catchUp()
					default:
						_, err := f.keeper.sync(t.Context(), web)
						if err != nil && !apierrors.IsConflict(err) && !errors.Is(err, errBehind) {
							t.Fatal(err)
						}
					}
				}
				f.catchUp()
				f.settle()
				f.rollOut(3, 3, 3)
				f.settle()
				f.has(f.expected(latest, number)...)
				f.takeWrites()
				f.restart()
				f.settle()
				f.wrote("at rest")
			}
		})
	}
}

// expected are the last three revisions.
func (f *fakeKCP) expected(latest map[string]int64, present int64) []string {
	var numbers []int64
	for _, number := range latest {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	for image, number := range latest {
		if len(numbers) > 3 && number == numbers[0] {
			delete(latest, image)
		}
	}
	var want []string
	for _, number := range numbers[max(len(numbers)-3, 0):] {
		pods := "0/0"
		if number == present {
			pods = "3/3"
		}
		want = append(want, fmt.Sprintf("%d: %s", number, pods))
	}
	slices.Sort(want)
	return want
}
