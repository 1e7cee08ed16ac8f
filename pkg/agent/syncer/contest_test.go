package syncer

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// fight is a syncer with another writer that changes the copy web whenever it is as the syncer has put it.
type fight struct {
	*harness

	key kcp.ObjectKey
	// change is what the other side does, nil for nothing any more.
	change func(copied *unstructured.Unstructured) *unstructured.Unstructured
	// puts are when the syncer wrote the copy, and taken is the resource version that the other side has left.
	puts  []time.Time
	taken string
	due   time.Time
}

func newFight(t *testing.T, change func(copied *unstructured.Unstructured) *unstructured.Unstructured) *fight {
	t.Helper()
	here := web(placed, held)
	f := &fight{harness: newHarness(t, newFakeCluster(madeNamespace("ws"), copyOf("ws", here)), v1alpha1.NamespaceModeExclusive), change: change}
	f.key = f.place(here)
	f.cacheAll(t)
	f.turn(t)
	return f
}

// stored returns the copy as the cluster has it.
func (f *fight) stored() *unstructured.Unstructured { return f.cluster.objects["deployments app/web"] }

// turn takes a turn of the key as an event or the time has it.
func (f *fight) turn(t *testing.T) {
	t.Helper()
	f.cluster.calls = nil
	again, err := f.spec(t, f.key)
	if err != nil {
		t.Fatal(err)
	}
	if f.due = (time.Time{}); again > 0 {
		f.due = f.time.Add(again)
	}
	if slices.Contains(f.cluster.writes(), applyWeb) {
		f.puts, f.due = append(f.puts, f.time), f.time // its own event
	}
	f.cacheAll(t)
}

// last lets the time pass, a tenth of a second after the other.
func (f *fight) last(t *testing.T, lasts time.Duration) {
	t.Helper()
	for end := f.time.Add(lasts); f.time.Before(end); f.time = f.time.Add(100 * time.Millisecond) {
		copied := f.stored()
		switch {
		case f.change != nil && copied != nil && copied.GetResourceVersion() != f.taken:
			delete(f.cluster.objects, "deployments app/web")
			f.taken = ""
			if changed := f.change(copied.DeepCopy()); changed != nil {
				f.taken = f.cluster.store(changed).GetResourceVersion()
			}
			f.cacheAll(t)
			f.turn(t)
		case !f.due.IsZero() && !f.time.Before(f.due):
			f.turn(t)
		}
	}
}

// within returns how many writes there were in the last time.
func (f *fight) within(lasts time.Duration) int {
	count := 0
	for _, at := range f.puts {
		if f.time.Sub(at) < lasts {
			count++
		}
	}
	return count
}

// takes has a manager take a field from us.
func takes(manager string, path ...string) func(copied *unstructured.Unstructured) *unstructured.Unstructured {
	return func(copied *unstructured.Unstructured) *unstructured.Unstructured {
		ours := copied.GetManagedFields()
		field, fields := `"f:`+strings.Join(path, `":{"f:`)+`":{}`, ours[0].FieldsV1.GetRawString()
		last := `"f:` + path[len(path)-1] + `":{}`
		for _, old := range []string{"," + last, last + ",", last} {
			if without := strings.Replace(fields, old, "", 1); without != fields {
				fields = without
				break
			}
		}
		ours[0].FieldsV1 = metav1.NewFieldsV1(strings.Replace(fields, `,"f:spec":{}`, "", 1))
		copied.SetManagedFields(append(ours[:1], metav1.ManagedFieldsEntry{
			Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, FieldsType: "FieldsV1",
			FieldsV1: metav1.NewFieldsV1("{" + field + strings.Repeat("}", len(path)-1) + "}"),
		}))
		return copied
	}
}

// TestContestIsBounded fights for three minutes, gives up, and says what is written and told.
func TestContestIsBounded(t *testing.T) {
	cases := map[string]struct {
		change func(copied *unstructured.Unstructured) *unstructured.Unstructured
		says   []string
	}{
		"a field of the spec": {takes("image-controller", "spec", "replicas"), []string{"image-controller on the cluster", "spec.replicas"}},
		"an annotation":       {takes("annotator", "metadata", "annotations", v1alpha1.SourceUIDAnnotation), []string{"annotator on the cluster", "metadata.annotations." + v1alpha1.SourceUIDAnnotation}},
		"the hash": {func(copied *unstructured.Unstructured) *unstructured.Unstructured {
			return shaped(copied, annotated(v1alpha1.AppliedHashAnnotation, "x"))
		}, []string{"somebody on the cluster", v1alpha1.AppliedHashAnnotation}},
		"the whole copy": {func(*unstructured.Unstructured) *unstructured.Unstructured { return nil }, []string{"somebody on the cluster", "the object itself"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFight(t, c.change)
			f.last(t, 2*time.Second)
			if now := f.within(time.Second); now > 3 || len(f.puts) < 3 {
				t.Errorf("%d writes in 2 s, %d of them in the last: the first few are made at once, and no more", len(f.puts), now)
			}
			f.last(t, 178*time.Second)
			if count := f.within(time.Minute); count < 1 || count > 3 {
				t.Errorf("%d writes in the third minute", count)
			}
			problems := f.memories.get(f.key).problems
			if len(problems) != 1 || problems[0].Reason != evaluate.ReasonContested {
				t.Fatalf("problems are %v", problems)
			}
			for _, word := range c.says {
				if !strings.Contains(problems[0].Message, word) {
					t.Errorf("%q does not say %q", problems[0].Message, word)
				}
			}
			f.change = nil
			f.last(t, 95*time.Second)
			if problems := f.memories.get(f.key).problems; len(problems) > 0 {
				t.Errorf("the other side has given up: %v", problems)
			}
			f.puts, f.change = nil, c.change
			f.last(t, 100*time.Millisecond)
			if len(f.puts) != 1 {
				t.Errorf("a single change after that is mended at once: %d writes", len(f.puts))
			}
		})
	}
}

func TestContestAsksOnlyWhenRepairsRepeat(t *testing.T) {
	f := newFight(t, takes("x", "spec", "replicas"))
	asks := 0
	for range 3 {
		f.time = f.time.Add(time.Second)
		f.cluster.store(f.change(f.stored()))
		f.cacheAll(t)
		f.turn(t)
		asks += len(f.cluster.calls) - len(f.cluster.writes())
	}
	if asks != 0 || len(f.puts) != 3 || len(f.memories.get(f.key).problems) != 0 {
		t.Errorf("%d requests beside %d writes", asks, len(f.puts))
	}
}

func TestContestDoesNotDelayWhatIsNew(t *testing.T) {
	f := newFight(t, takes("x", "spec", "replicas"))
	f.last(t, 20*time.Second)
	f.puts = nil
	f.kcp.objects[f.key] = shaped(f.kcp.objects[f.key].DeepCopy(), func(obj *unstructured.Unstructured) { obj.SetGeneration(2) })
	f.turn(t)
	if len(f.puts) != 1 {
		t.Error("a change in kcp waits")
	}
	f.last(t, 2*time.Second)
	if len(f.puts) != 1 || f.problems(f.key)[0] != evaluate.ReasonContested {
		t.Errorf("%d writes after that, problems %v: it ends no contest", len(f.puts), f.problems(f.key))
	}
}

func TestContestCannotAsk(t *testing.T) {
	f := newFight(t, takes("x", "spec", "replicas"))
	f.last(t, 300*time.Millisecond)
	f.cluster.store(f.change(f.stored()))
	f.cacheAll(t)
	f.cluster.errs[liveWeb] = errAway
	if _, err := f.spec(t, f.key); err == nil {
		t.Error("it waits without knowing for whom")
	}
	f.time = f.time.Add(2 * time.Second)
	if _, err := f.spec(t, f.key); err == nil {
		t.Error("it repairs without knowing against whom")
	}
	delete(f.cluster.errs, liveWeb)
	f.cluster.objects["deployments app/web"].SetUID(types.UID("another"))
	if _, err := f.spec(t, f.key); err == nil {
		t.Error("it writes onto another object")
	}
}

// TestRepairIsTold counts what a repair has written in kcp: that it was made, and, a minute later, nothing of it any more.
func TestRepairIsTold(t *testing.T) {
	f := newFight(t, nil)
	f.time = f.time.Add(time.Minute)
	tells := func(name string, patches int, word string) (again time.Duration) {
		t.Helper()
		f.kcp.patches = nil
		again, err := f.syncStatus(t.Context(), f.key)
		if err != nil {
			t.Fatal(err)
		}
		report := f.kcp.objects[f.key].GetAnnotations()[v1alpha1.StatusAnnotation("east")]
		if len(f.kcp.patches) != patches || strings.Contains(report, "DriftRepaired") != (word != "") || !strings.Contains(report, word) {
			t.Errorf("%s: %d patches, want %d; reported %s", name, len(f.kcp.patches), patches, report)
		}
		return again
	}
	tells("at rest", 0, "")
	f.cluster.store(takes("x", "spec", "replicas")(f.stored()))
	f.cacheAll(t)
	f.turn(t)
	tells("put back, and waiting for more", 0, "")
	f.time = f.time.Add(time.Second)
	if again := tells("put back", 1, "spec.replicas"); again != noteTime-time.Second {
		t.Errorf("again after %s", again)
	}
	f.turn(t)
	if again := tells("nothing new", 0, "spec.replicas"); again != noteTime-time.Second {
		t.Errorf("again after %s", again)
	}
	f.time = f.time.Add(noteTime)
	tells("a minute later, and waiting for more", 0, "spec.replicas")
	f.time = f.time.Add(time.Second)
	tells("a minute later", 1, "")
	tells("after that", 0, "")
}
