package webhook

import (
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"

	"github.com/kcp-tmc/tmc/pkg/repair"
)

// judged counts what came of the writes that kcp asked about.
var judged = metrics.NewCounterVec(&metrics.CounterOpts{
	Namespace:      "tmc",
	Subsystem:      "repair",
	Name:           "writes_total",
	Help:           "Writes that kcp has asked about, by field manager and by what came of them: repaired, right (nothing was lost) or left.",
	StabilityLevel: metrics.ALPHA,
}, []string{"manager", "verdict"})

func init() { //nolint:gochecknoinits // how component-base has metrics registered
	legacyregistry.MustRegister(judged)
}

// count counts a write. Whoever is no manager that can be repaired counts as one: what clients call themselves is
// without bound.
func count(manager string, verdict repair.Verdict) {
	if manager != repair.ManagerApply && manager != repair.ManagerSet {
		manager = "other"
	}
	judged.WithLabelValues(manager, string(verdict)).Inc()
}
