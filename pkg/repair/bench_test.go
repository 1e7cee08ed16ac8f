package repair

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// BenchmarkJudge is the part of a write's latency that is spent here.
func BenchmarkJudge(b *testing.B) {
	live := withDefaults(withLastApplied(b, object(b, two)))
	set := kcp(b, live, setPatch(b, live, func(p *corev1.PodSpec) { p.Containers[0].Image = "nginx:2" }))
	patch, err := applyPatch(b, live, replaced(b, "nginx:1", "nginx:2"))
	must(b, err)
	for manager, byKCP := range map[string]map[string]any{ManagerSet: set, ManagerApply: kcp(b, live, patch)} {
		b.Run(manager, func(b *testing.B) {
			for b.Loop() {
				if judgement := Judge(Write{Manager: manager, Old: live, New: byKCP}); judgement.Verdict != Repaired {
					b.Fatal(judgement.Verdict, judgement.Reason)
				}
			}
		})
	}
}
