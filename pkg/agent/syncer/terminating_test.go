package syncer

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// clockwork takes the turns of a harness when they are due.
type clockwork struct {
	*harness

	due      map[kcp.ObjectKey]time.Time
	checkDue time.Time
}

// run takes turns until so much time has passed.
func (c *clockwork) run(t *testing.T, passes time.Duration) {
	t.Helper()
	const step = 100 * time.Millisecond
	for end := c.time.Add(passes); c.time.Before(end); c.time = c.time.Add(step) {
		for _, key := range c.specs.take() {
			c.due[key] = c.time
		}
		for key, due := range c.due {
			if due.After(c.time) {
				continue
			}
			delete(c.due, key)
			again, err := c.syncSpec(t.Context(), key)
			if err != nil {
				again = step
			}
			if again > 0 {
				c.due[key] = c.time.Add(again)
			}
		}
		if len(c.namespaces.take()) > 0 {
			c.checkDue = c.time
		}
		if c.checkDue.IsZero() || c.checkDue.After(c.time) {
			continue
		}
		again, err := c.syncNamespace(t.Context(), app)
		if c.checkDue = c.time.Add(again); err != nil || again == 0 {
			c.checkDue = time.Time{}
		}
	}
}

func isTerminating(name string) error {
	err := apierrors.NewForbidden(deployments.GroupResource(), name, errors.New("namespace is being terminated"))
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	return err
}

// TestTerminatingNamespaceIsLeftAlone has four objects go to a namespace that is being deleted for a minute: one that tmc made, and
// one that the operator made, which no cache shows.
func TestTerminatingNamespaceIsLeftAlone(t *testing.T) {
	names := []string{"a", "b", "c", "d"}
	for name, made := range map[string]*unstructured.Unstructured{"made by tmc": madeNamespace("ws", deleting), "the operator's": operatorsNamespace("", deleting)} {
		for _, mode := range []v1alpha1.NamespaceMode{v1alpha1.NamespaceModeExclusive, v1alpha1.NamespaceModeShared} {
			t.Run(name+" "+string(mode), func(t *testing.T) {
				c := &clockwork{harness: newHarness(t, newFakeCluster(made), mode), due: map[kcp.ObjectKey]time.Time{}}
				if evaluate.IsMade(made) {
					c.cache(t, made)
				}
				var keys []kcp.ObjectKey
				for _, name := range names {
					keys = append(keys, c.place(web(placed, held, func(obj *unstructured.Unstructured) { obj.SetName(name) })))
					c.cluster.errs["apply deployments app/"+name] = isTerminating(name)
				}
				c.specs.keys = keys
				c.run(t, time.Minute)
				if writes, asked := len(c.cluster.writes()), len(c.cluster.calls); writes > len(names) || asked > len(names)+12+1 {
					t.Errorf("%d writes and %d requests in a minute: %v", writes, asked, c.cluster.calls)
				}
				for _, key := range keys {
					if got := fmt.Sprint(c.problems(key)); got != "[NamespaceTerminating]" {
						t.Errorf("problems of %s: %s", key.Name, got)
					}
				}
				c.goes(t, made)
				c.run(t, 6*time.Second)
				for _, key := range keys {
					if c.cluster.objects["deployments app/"+key.Name] == nil || len(c.problems(key)) > 0 {
						t.Errorf("%s is not back: problems %v, requests %v", key.Name, c.problems(key), c.cluster.calls)
					}
				}
			})
		}
	}
}

// goes has the namespace be gone.
func (c *clockwork) goes(t *testing.T, namespace *unstructured.Unstructured) {
	t.Helper()
	delete(c.cluster.objects, "namespaces /"+app)
	clear(c.cluster.errs)
	if evaluate.IsMade(namespace) {
		if err := c.caches.namespaces.informer.GetStore().Delete(namespace); err != nil {
			t.Fatal(err)
		}
		c.onNamespace(app)
	}
}

// TestTerminatingNamespaceTells has the problem say what blocks the namespace as its conditions come to say that.
func TestTerminatingNamespaceTells(t *testing.T) {
	here := web(placed, held)
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"), copyOf("ws", here))
	key := h.place(here)
	if _, err := h.spec(t, key); err != nil || len(h.problems(key)) > 0 {
		t.Fatalf("%v, problems %v", err, h.problems(key))
	}
	blocked := func(message string) *unstructured.Unstructured {
		return madeNamespace("ws", deleting, func(obj *unstructured.Unstructured) {
			obj.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "NamespaceFinalizersRemaining", "status": "True", "message": message}}}
		})
	}
	for _, message := range []string{"x", "example.com/hold"} {
		h.cache(t, blocked(message))
		h.specs.take()
		h.onNamespace(app)
		if woken := h.specs.take(); len(woken) == 0 {
			t.Fatal("the object is not woken")
		}
		if _, err := h.syncSpec(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		problems := h.memories.get(key).problems
		if len(problems) != 1 || !strings.Contains(problems[0].Message, message) || len(h.cluster.calls) > 0 {
			t.Errorf("problems %v, requests %v", problems, h.cluster.calls)
		}
	}
}

func TestCheckTerminatingFails(t *testing.T) {
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
	h.news.setTerminating(app, "x")
	h.cluster.errs["live namespaces /app"] = errAway
	if _, err := h.syncNamespace(t.Context(), app); !errors.Is(err, errAway) {
		t.Errorf("got %v", err)
	}
}

func TestStuckCopyIsTold(t *testing.T) {
	here := web(placed, held)
	ending := copyOf("ws", here, deleting, func(obj *unstructured.Unstructured) { obj.SetFinalizers([]string{"example.com/hold"}) })
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"), ending)
	key := h.place(here)
	if again, err := h.spec(t, key); again != evaluate.StuckAfter || err != nil || len(h.problems(key)) > 0 {
		t.Fatalf("again after %s, %v, problems %v", again, err, h.problems(key))
	}
	h.time = h.time.Add(evaluate.StuckAfter)
	if again, err := h.spec(t, key); again != evaluate.Recheck || err != nil || fmt.Sprint(h.problems(key)) != "[CopyTerminating]" {
		t.Errorf("again after %s, %v, problems %v", again, err, h.problems(key))
	}
}
