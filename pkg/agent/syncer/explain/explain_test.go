package explain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/causes"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

const shop = "shop"

func keyOf(name string) kcp.ObjectKey {
	return kcp.ObjectKey{Workspace: "ws", Resource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}, Namespace: shop, Name: name}
}

// asking returns the question about a StatefulSet that wants so many pods.
func asking(name string, wanted int64) Question {
	return Question{Subject: causes.Subject{Namespace: shop, Name: name, UID: types.UID("uid-" + name), Selector: "app=" + name, PodsBy: kinds.PodsByObject, Wanted: wanted}}
}

// crashing returns a pod of a StatefulSet that crashes with an exit code.
func crashing(set string, number int, exitCode int32) *corev1.Pod {
	name := fmt.Sprintf("%s-%d", set, number)
	p := pending(set, number)
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "app", RestartCount: 3, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: exitCode, Reason: "Error", Message: "of " + name}},
	}}
	return p
}

// pending returns a pod of which nothing is known but that it is not ready.
func pending(set string, number int) *corev1.Pod {
	name := fmt.Sprintf("%s-%d", set, number)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: shop, UID: types.UID("uid-" + name), Labels: map[string]string{"app": set},
			OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: set, UID: types.UID("uid-" + set), Controller: new(true)}},
		},
		Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyAlways, Containers: []corev1.Container{{Name: "app", Image: "i"}}},
	}
}

// failedCreate returns the event that a StatefulSet cannot make its pods.
func failedCreate(set, words string) *corev1.Event {
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: set + ".1", Namespace: shop}, Type: corev1.EventTypeWarning, Reason: "FailedCreate", Message: "Error creating: " + words,
		InvolvedObject: corev1.ObjectReference{Kind: "StatefulSet", Name: set, UID: types.UID("uid-" + set)}, LastTimestamp: metav1.Now(),
	}
}

// bench is an Explainer that runs against a cluster.
type bench struct {
	*Explainer

	client *fake.Clientset
	mu     sync.Mutex
	told   []kcp.ObjectKey
}

// newBench returns an Explainer of a cluster with objects; change, if set, changes it before it runs.
func newBench(t *testing.T, change func(*bench), objects ...runtime.Object) *bench {
	t.Helper()
	b := &bench{client: fake.NewClientset(objects...)}
	b.Explainer = New(b.client, func(key kcp.ObjectKey) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.told = append(b.told, key)
	})
	if change != nil {
		change(b)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("it does not end")
		}
	})
	return b
}

// eventually waits until an answer is as wanted.
func (b *bench) eventually(t *testing.T, question Question, want ...protocol.Cause) {
	t.Helper()
	var found []protocol.Cause
	known := false
	for range 500 {
		found, known = b.Explain(keyOf(question.Subject.Name), question)
		if known && cmp.Equal(want, found) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("known: %t; causes (-want +got):\n%s", known, cmp.Diff(want, found))
}

// requests returns the requests that were made, such as "watch pods app=web" or "list events type=Warning".
func (b *bench) requests() []string {
	var requests []string
	for _, action := range b.client.Actions() {
		text := action.GetVerb() + " " + action.GetResource().Resource
		switch a := action.(type) {
		case clienttesting.WatchAction:
			text += " " + a.GetWatchRestrictions().Labels.String() + a.GetWatchRestrictions().Fields.String()
		case clienttesting.ListAction:
			text += " " + a.GetListRestrictions().Labels.String() + a.GetListRestrictions().Fields.String()
		}
		requests = append(requests, text)
	}
	return requests
}

func crash(exitCode int, of string) protocol.Cause {
	return protocol.Cause{Reason: "CrashLoopBackOff", Count: 1, Message: fmt.Sprintf("container app, exit code %d: of %s", exitCode, of)}
}

func TestExplain(t *testing.T) {
	b := newBench(t, nil, crashing("db", 0, 1), crashing("other", 0, 1))
	if len(b.requests()) > 0 {
		t.Fatalf("requests %v while nobody is asked about", b.requests())
	}
	b.eventually(t, asking("db", 1), crash(1, "db-0"))
	if got := b.requests(); !slices.Contains(got, "watch pods app=db") || slices.ContainsFunc(got, func(r string) bool { return !strings.Contains(r, "pods app=db") }) {
		t.Errorf("requests %v, want those for its pods alone", got)
	}
	if !slices.Equal(b.told, []kcp.ObjectKey{keyOf("db")}) {
		t.Errorf("told of %v", b.told)
	}

	_, err := b.client.CoreV1().Pods(shop).Create(t.Context(), crashing("db", 1, 2), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.eventually(t, asking("db", 1), crash(1, "db-0"), crash(2, "db-1"))

	if !b.IsAsked(keyOf("db")) {
		t.Error("it is not asked about")
	}
	b.Forget(keyOf("db"))
	if b.IsAsked(keyOf("db")) || b.watched() != 0 || len(b.feeds) != 0 {
		t.Error("it is asked about although nobody wants to know")
	}
	b.Forget(keyOf("db"))
}

// TestExplainTellsNothingOfChurn has a pod crash again, with other words.
func TestExplainTellsNothingOfChurn(t *testing.T) {
	b := newBench(t, nil, crashing("db", 0, 1))
	b.eventually(t, asking("db", 1), crash(1, "db-0"))
	again := crashing("db", 0, 1)
	again.Status.ContainerStatuses[0].RestartCount = 4
	again.Status.ContainerStatuses[0].LastTerminationState.Terminated.Message = "other words"
	if _, err := b.client.CoreV1().Pods(shop).UpdateStatus(t.Context(), again, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.eventually(t, asking("db", 1), protocol.Cause{Reason: "CrashLoopBackOff", Count: 1, Message: "container app, exit code 1: other words"})
	if b.mu.Lock(); len(b.told) != 1 {
		t.Errorf("told of it %d times", len(b.told))
	}
	b.mu.Unlock()
}

// TestExplainAsksForEventsWhereNeeded has a set without pods: its events say why.
func TestExplainAsksForEventsWhereNeeded(t *testing.T) {
	b := newBench(t, nil, failedCreate("db", "exceeded quota"), failedCreate("cache", "no room"))
	b.eventually(t, asking("db", 1), protocol.Cause{Reason: "FailedCreate", Message: "exceeded quota"})
	b.eventually(t, asking("cache", 1), protocol.Cause{Reason: "FailedCreate", Message: "no room"})
	if got := b.requests(); !slices.Contains(got, "watch events type=Warning") {
		t.Errorf("requests %v", got)
	}
	if len(b.feeds) != 1 {
		t.Errorf("%d feeds, want one for the namespace", len(b.feeds))
	}
	later := failedCreate("db", "another quota")
	if _, err := b.client.CoreV1().Events(shop).Update(t.Context(), later, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.eventually(t, asking("db", 1), protocol.Cause{Reason: "FailedCreate", Message: "another quota"})
	b.Forget(keyOf("db"))
	if len(b.feeds) != 1 {
		t.Error("the events that another needs are not watched any more")
	}
	b.Forget(keyOf("cache"))
	if len(b.feeds) != 0 {
		t.Error("events are watched that nobody needs")
	}
}

func TestExplainClaim(t *testing.T) {
	event := failedCreate("data", "x")
	event.Reason, event.Message, event.InvolvedObject.Kind, event.Type = "FailedBinding", "no volumes", "PersistentVolumeClaim", corev1.EventTypeNormal
	b := newBench(t, nil, event)
	claim := Question{Subject: causes.Subject{Namespace: shop, Name: "data", UID: "uid-data", IsClaim: true}}
	b.eventually(t, claim, protocol.Cause{Reason: "FailedBinding", Message: "no volumes"})
	if got := b.requests(); slices.ContainsFunc(got, func(r string) bool { return strings.Contains(r, "pods") }) || !slices.Contains(got, "watch events involvedObject.kind=PersistentVolumeClaim") {
		t.Errorf("requests %v, want those for events of claims alone", got)
	}
}

// TestExplainSettles leaves a copy alone at first.
func TestExplainSettles(t *testing.T) {
	b := newBench(t, nil, crashing("db", 0, 1))
	question := asking("db", 1)
	question.Subject.Settling = 300 * time.Millisecond
	start := time.Now()
	b.eventually(t, question, crash(1, "db-0"))
	if took := time.Since(start); took < 300*time.Millisecond {
		t.Errorf("it was asked after %s", took)
	}
}

// TestExplainOfAnother has the question change: of another object of the name, with another selector, and with more pods.
func TestExplainOfAnother(t *testing.T) {
	b := newBench(t, nil, crashing("db", 0, 1))
	b.eventually(t, asking("db", 1), crash(1, "db-0"))
	more := asking("db", 3)
	more.Own = causes.Own{{Reason: "Failed", Message: "own"}}
	b.eventually(t, more, protocol.Cause{Reason: "Failed", Message: "own"}, crash(1, "db-0"))

	elsewhere := asking("db", 1)
	elsewhere.Subject.Selector = "app=none"
	b.eventually(t, elsewhere)

	another := asking("db", 1)
	another.Subject.UID = "uid-another"
	if _, isKnown := b.Explain(keyOf("db"), another); isKnown {
		t.Error("the answer about another object counts")
	}
	b.eventually(t, another)
}

// TestExplainOfEnded has a Job that has ended: it is looked at once, and its last answer stays.
func TestExplainOfEnded(t *testing.T) {
	b := newBench(t, nil, crashing("load", 0, 1))
	ended := asking("load", 1)
	ended.Subject.Ended = true
	ended.Own = causes.Own{{Reason: "BackoffLimitExceeded", Message: "too often"}}
	want := []protocol.Cause{crash(1, "load-0"), {Reason: "BackoffLimitExceeded", Message: "too often"}}
	b.eventually(t, ended, want...)
	if got := b.requests(); !slices.Equal(got, []string{"list pods app=load"}) {
		t.Errorf("requests %v, want one", got)
	}
	b.eventually(t, Question{Subject: causes.Subject{Ended: true, Name: "load"}}, want...)
	b.eventually(t, Question{Subject: causes.Subject{Ended: true, Name: "another"}})
}

// TestExplainIsBounded has more copies than are watched at a time.
func TestExplainIsBounded(t *testing.T) {
	var objects []runtime.Object
	for i := range 5 {
		objects = append(objects, crashing(fmt.Sprintf("db%d", i), 0, int32(i)+1))
	}
	objects = append(objects, failedCreate("none", "exceeded quota"))
	b := newBench(t, func(b *bench) { b.limit = 2 }, objects...)
	for i := range 5 {
		b.eventually(t, asking(fmt.Sprintf("db%d", i), 1), crash(i+1, fmt.Sprintf("db%d-0", i)))
	}
	b.eventually(t, asking("none", 1), protocol.Cause{Reason: "FailedCreate", Message: "exceeded quota"})
	b.Explainer.mu.Lock()
	isWatched := b.asked[keyOf("db4")].isWatched && b.asked[keyOf("none")].isWatched
	number, pause := b.watched(), b.pollAfter()
	b.Explainer.mu.Unlock()
	if number != 2 || !isWatched || pause != pollInterval {
		t.Errorf("%d are watched, the last ones: %t; the others are looked at each %s", number, isWatched, pause)
	}
	// Without a watch, events are listed.
	b.Explainer.mu.Lock()
	b.giveWay()
	b.giveWay()
	b.asked[keyOf("none")].found = nil
	b.limit = 0
	b.Explainer.mu.Unlock()
	b.turns.Enqueue(keyOf("none"))
	b.eventually(t, asking("none", 1), protocol.Cause{Reason: "FailedCreate", Message: "exceeded quota"})
	if !slices.Contains(b.requests(), "list events type=Warning") {
		t.Errorf("requests %v", b.requests())
	}
}

func forbidden(resource string) clienttesting.ReactionFunc {
	return func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", errors.New("no"))
	}
}

// TestExplainWithoutRights has a cluster that lets nothing be read: what copies say themselves counts, and it is not asked again soon.
func TestExplainWithoutRights(t *testing.T) {
	b := newBench(t, func(b *bench) {
		b.client.PrependReactor("list", "pods", forbidden("pods"))
		b.client.PrependReactor("list", "events", forbidden("events"))
	})
	own := asking("db", 1)
	own.Own = causes.Own{{Reason: "FailedCreate", Message: "exceeded quota"}}
	b.eventually(t, own, protocol.Cause{Reason: "FailedCreate", Message: "exceeded quota"})
	number := len(b.requests())
	other := asking("cache", 1)
	b.eventually(t, other)
	if got := b.requests(); len(got) != number {
		t.Errorf("requests %v, want none after the first", got[number:])
	}
	if b.Explainer.mu.Lock(); !b.isTold[pods] || !b.isTold[events] || b.watched() != 0 {
		t.Errorf("told of %v, %d are watched", b.isTold, b.watched())
	}
	b.Explainer.mu.Unlock()
}

// TestExplainWithoutEvents has a cluster that lets pods be read and no events.
func TestExplainWithoutEvents(t *testing.T) {
	b := newBench(t, func(b *bench) { b.client.PrependReactor("list", "events", forbidden("events")) }, crashing("db", 0, 1), pending("db", 1))
	b.eventually(t, asking("db", 3), crash(1, "db-0"))
	if b.Explainer.mu.Lock(); len(b.feeds) != 0 {
		t.Error("events are watched that may not be read")
	}
	b.Explainer.mu.Unlock()
}

// TestExplainTriesAgain has a cluster that fails at first.
func TestExplainTriesAgain(t *testing.T) {
	failures := 2
	b := newBench(t, func(b *bench) {
		b.limit = 0
		b.client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
			failures--
			return failures >= 0, nil, errors.New("no connection")
		})
		b.client.PrependReactor("list", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
			return false, nil, nil
		})
	}, crashing("db", 0, 1))
	b.Explainer.mu.Lock()
	b.asked[keyOf("db")] = &asked{Question: asking("db", 1), isLookedAt: true}
	b.Explainer.mu.Unlock()
	b.turns.Enqueue(keyOf("db"))
	b.eventually(t, asking("db", 1), crash(1, "db-0"))
}

// TestExplainBeforeRun has copies asked about before it runs.
func TestExplainBeforeRun(t *testing.T) {
	b := newBench(t, func(b *bench) { b.Explain(keyOf("db"), asking("db", 1)) }, crashing("db", 0, 1))
	b.eventually(t, asking("db", 1), crash(1, "db-0"))
}

func TestPauseGrowsWithCopies(t *testing.T) {
	x := New(fake.NewClientset(), func(kcp.ObjectKey) {})
	for i := range 1000 {
		x.asked[keyOf(fmt.Sprint(i))] = &asked{}
	}
	if got := x.pollAfter(); got != 1000*pollPause {
		t.Errorf("each copy is looked at after %s", got)
	}
}
