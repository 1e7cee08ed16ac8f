package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// TestHealthAndMetricsOfPrograms asks all programs of the shared installation for health and metrics.
func TestHealthAndMetricsOfPrograms(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "health")
	u.apply(t, some(deployment("web")))
	u.rollOut(t, "web", east, west)
	for _, p := range env.shared.programs() {
		p.checkAnswers(t, "/healthz", http.StatusOK)
		p.checkAnswers(t, "/readyz", http.StatusOK)
		p.checkAnswers(t, "/metrics", http.StatusNotFound) // everybody may ask for health
		now, err := p.metrics(t.Context())
		check(t, err)
		if now.requests(http.MethodPatch) == 0 || now.sum("workqueue_adds_total") == 0 {
			t.Errorf("%s counts neither its patches nor what was in its queues", p.config.Name)
		}
	}
}

// TestLeaderElectionOfTwoControllers kills the controller that leads.
func TestLeaderElectionOfTwoControllers(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, "leader", "leader-east")
	// Short enough to wait for, long enough for a busy machine.
	lease := []string{"--leader-elect-lease-duration=10s", "--leader-elect-renew-deadline=8s", "--leader-elect-retry-period=1s"}
	leader, standby := in.newReadyController(t, "one", lease...), in.newReadyController(t, "two", lease...)
	eventually(t, "one of them to lead", startTimeout, func(context.Context) (bool, string, error) {
		return leader.leads() || standby.leads(), "none does", nil
	})
	if standby.leads() {
		leader, standby = standby, leader
	}
	u := newTenant(t, in, "leader")
	// Nobody needs to be heard of for a workload that names its cluster.
	in.inProvider(t).apply(t, "{apiVersion: tmc.kcp.io/v1alpha1, kind: ClusterRegistration, metadata: {name: leader-east}}")
	u.apply(t, some(deployment("first", on("leader-east"))))
	u.eventuallyLabelled(t, "first", "leader-east")
	own, err := standby.metrics(t.Context())
	check(t, err)
	if own.requests(http.MethodPatch) > 0 || standby.leads() {
		t.Errorf("the standby works: it has made %v patches", own.requests(http.MethodPatch))
	}

	check(t, leader.kill())
	start := time.Now()
	u.apply(t, some(deployment("second", on("leader-east"))))
	u.eventuallyLabelled(t, "second", "leader-east")
	t.Logf("the standby had placed a Deployment %s after the leader was killed", time.Since(start).Round(time.Millisecond))

	// One that is asked to end gives the lease back: nobody waits for it to run out.
	check(t, leader.startReady(t.Context()))
	check(t, standby.stop(t.Context()))
	start = time.Now()
	u.apply(t, some(deployment("third", on("leader-east"))))
	u.eventuallyLabelled(t, "third", "leader-east")
	t.Logf("the other one had placed a Deployment %s after the leader had ended", time.Since(start).Round(time.Millisecond))
}

// newReadyController runs one more controller of an installation, and returns when it would lead if it could.
func (in *installation) newReadyController(t *testing.T, name string, args ...string) *program {
	t.Helper()
	p, err := in.newController(in.logName("controller-"+name), args...)
	check(t, err)
	check(t, p.start())
	t.Cleanup(func() {
		if err := p.stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	check(t, p.waitReady(t.Context()))
	p.eventuallyLogs(t, "Attempting to acquire leader lease")
	return p
}

// leads reports whether a controller has begun to work.
func (p *program) leads() bool { return strings.Contains(p.log(), "Placing and aggregating") }

// eventuallyLabelled waits until a Deployment is placed.
func (u *tenant) eventuallyLabelled(t *testing.T, name, clusterName string) {
	t.Helper()
	eventuallyIs(t, "it to be placed", u.upstream(name), func(d *appsv1.Deployment) bool {
		return d.Labels[v1alpha1.PlacementLabel(clusterName)] == v1alpha1.PlacementLabelValue
	})
}

// eventuallyLogs waits until one line of a program's log has all the words.
func (p *program) eventuallyLogs(t *testing.T, words ...string) {
	t.Helper()
	eventually(t, p.config.Name+" to say "+strings.Join(words, "…"), startTimeout, func(context.Context) (bool, string, error) {
		log := p.log()
		for line := range strings.Lines(log) {
			if hasWords(line, words) {
				return true, "", nil
			}
		}
		return false, "its log ends:\n" + tail(log, 10), nil
	})
}

// checkAnswers fails the test unless a path answers with the code.
func (p *program) checkAnswers(t *testing.T, path string, want int) {
	t.Helper()
	// A program that has just started may not have come to listening.
	eventually(t, p.config.Name+" to answer", startTimeout, func(ctx context.Context) (bool, string, error) {
		_, err := p.status(ctx, "/healthz")
		return err == nil, "", err
	})
	got, err := p.status(t.Context(), path)
	check(t, err)
	if got != want {
		t.Errorf("%s of %s answers %d, want %d", path, p.config.Name, got, want)
	}
}
