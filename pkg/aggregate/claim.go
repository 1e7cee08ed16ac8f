package aggregate

import (
	corev1 "k8s.io/api/core/v1"
)

// phase is a field in the status of a PersistentVolumeClaim.
const phase = "phase"

// addPhase says of a claim that it is bound when it is in every cluster shown, and
// lost as soon as it is in one: what was written there is gone, whatever the others
// have. Nothing is bound that is placed nowhere, or where a cluster is silent.
func addPhase(m *merge) {
	in := func(want corev1.PersistentVolumeClaimPhase) int {
		return count(m.shown, func(o observation) bool { return o.report.Texts[phase] == string(want) })
	}
	merged := corev1.ClaimPending
	switch bound := in(corev1.ClaimBound); {
	case in(corev1.ClaimLost) > 0:
		merged = corev1.ClaimLost
	case bound > 0 && bound == len(m.shown):
		merged = corev1.ClaimBound
	}
	m.status[phase] = string(merged)
}
