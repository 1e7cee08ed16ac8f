package repair

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
)

// rounds is how many random edits each property is tried with.
const rounds = 120

// randomApply makes an object that was applied, and was changed by others since, and a manifest that is applied to it.
func randomApply(t *testing.T, seed uint64) (live, manifest map[string]any) {
	t.Helper()
	r := newRandom(seed)
	first := r.manifest(append(kindsWithPods, "Service")[r.IntN(len(kindsWithPods)+1)])
	live = withLastApplied(t, first)
	if r.chance(50) {
		annotations := live["metadata"].(map[string]any)["annotations"]
		live = r.edited(live)
		live["metadata"].(map[string]any)["annotations"] = annotations
	}
	return withDefaults(decode(t, encode(t, live))), r.edited(first)
}

func TestJudgeRandomApply(t *testing.T) {
	t.Parallel()
	verdicts := map[Verdict]int{}
	for seed := range uint64(rounds) {
		live, manifest := randomApply(t, seed)
		patch, err := applyPatch(t, live, manifest)
		must(t, err)
		want, byKCP := kubernetes(t, live, patch), kcp(t, live, patch)
		judgement, got := judged(t, ManagerApply, live, byKCP)
		verdicts[judgement.Verdict]++
		if judgement.Verdict == Left {
			t.Fatalf("seed %d: %v", seed, judgement.Reason)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d, %s of a patch %s (-kubernetes +repaired)\n%s", seed, judgement.Verdict, patch, diff)
		}
	}
	if verdicts[Repaired] < rounds/10 || verdicts[Right] < rounds/100 {
		t.Errorf("the cases are not of all sorts: %v", verdicts)
	}
}

func TestJudgeMergedLists(t *testing.T) {
	t.Parallel()
	for seed := range uint64(rounds) {
		live, manifest := randomApply(t, seed)
		patch, err := applyPatch(t, live, manifest)
		must(t, err)
		if judgement, _ := judged(t, ManagerApply, live, kubernetes(t, live, patch)); judgement.Verdict != Right {
			t.Fatalf("seed %d: what is applied is %s (%v), patch %v", seed, judgement.Verdict, judgement.Reason, judgement.Patch)
		}
		live, patch = randomSet(t, seed)
		if judgement, _ := judged(t, ManagerSet, live, kubernetes(t, live, patch)); judgement.Verdict == Repaired {
			t.Fatalf("seed %d: what is set is repaired: %v", seed, judgement.Patch)
		}
	}
}

func TestJudgeRepaired(t *testing.T) {
	t.Parallel()
	for seed := range uint64(rounds) {
		live, manifest := randomApply(t, seed)
		patch, err := applyPatch(t, live, manifest)
		must(t, err)
		_, repaired := judged(t, ManagerApply, live, kcp(t, live, patch))
		if judgement, _ := judged(t, ManagerApply, live, repaired); judgement.Verdict != Right {
			t.Fatalf("seed %d: %s (%v), patch %v", seed, judgement.Verdict, judgement.Reason, judgement.Patch)
		}
		live, patch = randomSet(t, seed)
		_, repaired = judged(t, ManagerSet, live, kcp(t, live, patch))
		if judgement, _ := judged(t, ManagerSet, live, repaired); judgement.Verdict == Repaired {
			t.Fatalf("seed %d: what is set is repaired twice: %v", seed, judgement.Patch)
		}
	}
}

// randomSet makes an object with pods, and the patch of a `kubectl set image`, `env` or `resources`.
func randomSet(t *testing.T, seed uint64) (live map[string]any, patch []byte) {
	t.Helper()
	r := newRandom(seed)
	live = withDefaults(r.manifest(kindsWithPods[r.IntN(len(kindsWithPods))]))
	live = decode(t, encode(t, live))
	return live, setPatch(t, live, r.change())
}

// change returns what one of the commands does to pods, as pkg/cmd/set of kubectl does it.
func (r random) change() func(*corev1.PodSpec) {
	only := []string{"*", "a", "b", "i"}[r.IntN(4)]
	alter := []func(*corev1.Container){r.setImage(), r.setEnv(), r.setResources()}[r.IntN(3)]
	return func(pod *corev1.PodSpec) {
		for _, containers := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
			for i := range containers {
				if only == "*" || containers[i].Name == only {
					alter(&containers[i])
				}
			}
		}
	}
}

func (r random) setImage() func(*corev1.Container) {
	image := fmt.Sprintf("new:%d", r.IntN(2))
	return func(c *corev1.Container) { c.Image = image }
}

func (r random) setResources() func(*corev1.Container) {
	name := []corev1.ResourceName{"cpu", "memory"}[r.IntN(2)]
	quantity := resource.MustParse(fmt.Sprint(1 + r.IntN(3)))
	return func(c *corev1.Container) {
		if len(c.Resources.Limits) == 0 {
			c.Resources.Limits = corev1.ResourceList{}
		}
		c.Resources.Limits[name] = quantity
	}
}

func (r random) setEnv() func(*corev1.Container) {
	var add []corev1.EnvVar
	remove := map[string]bool{}
	for _, name := range []string{"FOO", "BAR", "NEW", "LAST"} {
		switch r.IntN(4) {
		case 0:
			remove[name] = true
		case 1:
			add = append(add, corev1.EnvVar{Name: name, Value: []string{"", "v1", "v9"}[r.IntN(3)]})
		case 2:
			add = append(add, corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: "s"}, Key: []string{"k", "other"}[r.IntN(2)],
			}}})
		}
	}
	return func(c *corev1.Container) { c.Env = updateEnv(c.Env, add, remove) }
}

// updateEnv does what kubectl's function of that name does.
func updateEnv(existing, add []corev1.EnvVar, remove map[string]bool) []corev1.EnvVar {
	out := []corev1.EnvVar{}
	done := map[string]bool{}
	for _, e := range existing {
		if remove[e.Name] || done[e.Name] {
			continue
		}
		for _, newer := range add {
			if newer.Name == e.Name {
				e = newer
				done[e.Name] = true
			}
		}
		out = append(out, e)
	}
	for _, e := range add {
		if !done[e.Name] && !remove[e.Name] {
			out = append(out, e)
		}
	}
	return out
}

func TestJudgeRandomSet(t *testing.T) {
	t.Parallel()
	verdicts := map[Verdict]int{}
	for seed := range uint64(rounds) {
		live, patch := randomSet(t, seed)
		want, byKCP := kubernetes(t, live, patch), kcp(t, live, patch)
		judgement, got := judged(t, ManagerSet, live, byKCP)
		verdicts[judgement.Verdict]++
		if judgement.Verdict == Left {
			t.Fatalf("seed %d: %v: %s", seed, judgement.Reason, patch)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d, %s of a patch %s (-kubernetes +repaired)\n%s", seed, judgement.Verdict, patch, diff)
		}
	}
	if verdicts[Repaired] < rounds/10 || verdicts[Right] < rounds/100 {
		t.Errorf("the cases are not of all sorts: %v", verdicts)
	}
}

// TestJudgeRandomWrites has the managers write anything at all: whole objects that have nothing to do
// with the patch that they would send.
func TestJudgeRandomWrites(t *testing.T) {
	t.Parallel()
	for seed := range uint64(rounds) {
		live, manifest := randomApply(t, seed)
		r := random{rand.New(rand.NewPCG(seed, 2))}
		written := withDefaults(r.edited(runtime.DeepCopyJSON(live)))
		written["metadata"] = withLastApplied(t, manifest)["metadata"]
		written = decode(t, encode(t, written))
		for _, manager := range []string{ManagerApply, ManagerSet} {
			judgement, _ := judged(t, manager, live, written)
			if judgement.Verdict == Repaired && manager == ManagerSet {
				t.Fatalf("seed %d: %s is taken for a patch of %s: %v", seed, encode(t, written), manager, judgement.Patch)
			}
			if judgement.Verdict != Repaired {
				continue
			}
			patch, err := applyPatch(t, live, manifest)
			must(t, err)
			if diff := cmp.Diff(specOf(kcp(t, live, patch)), specOf(written)); diff != "" {
				t.Fatalf("seed %d: taken for a patch of %s that it is not (-patch +written)\n%s", seed, manager, diff)
			}
		}
	}
}
