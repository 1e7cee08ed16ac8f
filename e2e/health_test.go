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

// takesOver is how long it may take until another replica of the controller does the work of one that was killed.
const takesOver = 5 * time.Second

// TestLeaderElectionOfTwoControllers kills the controller that leads, stops the next one as if its machine stood still, and asks it to end.
// It measures seconds, so it does not run beside others.
func TestLeaderElectionOfTwoControllers(t *testing.T) {
	in := newInstallation(t, "leader", "leader-east")
	leader, standby := in.newReadyController(t, "one"), in.newReadyController(t, "two")
	eventually(t, "one of them to lead", startTimeout, func(context.Context) (bool, string, error) {
		return leader.leads() || standby.leads(), "none does", nil
	})
	if standby.leads() {
		leader, standby = standby, leader
	}
	u := newTenant(t, in, "leader")
	// Nobody needs to be heard of for a workload that names its cluster.
	in.inProvider(t).apply(t, "{apiVersion: tmc.kcp.io/v1alpha1, kind: ClusterRegistration, metadata: {name: leader-east}}")
	place := func(name string) time.Duration {
		t.Helper()
		start := time.Now()
		u.apply(t, some(deployment(name, on("leader-east"))))
		u.eventuallyLabelled(t, name, "leader-east")
		return time.Since(start).Round(time.Millisecond)
	}
	place("first")
	own, err := standby.metrics(t.Context())
	check(t, err)
	if own.requests(http.MethodPatch) > 0 || standby.leads() {
		t.Errorf("the standby works: it has made %v patches", own.requests(http.MethodPatch))
	}

	check(t, leader.kill())
	if after := place("second"); after > takesOver {
		t.Errorf("the standby had placed a Deployment %s after the leader was killed, want at most %s; its log ends:\n%s", after, takesOver, tail(standby.log(), 20))
	} else {
		t.Logf("the standby had placed a Deployment %s after the leader was killed", after)
	}
	check(t, leader.startReady(t.Context()))
	leader, standby = standby, leader

	stoodStill(t, leader, standby, place)

	// One that is asked to end gives the lease back: nobody waits for it to run out.
	check(t, standby.stop(t.Context()))
	if after := place("fourth"); after > takesOver {
		t.Errorf("the other one had placed a Deployment %s after the leader had ended, want at most %s", after, takesOver)
	}
	check(t, leader.runsOn())
}

// stoodStill has a leader stand still while another one takes over. It writes nothing any more when it goes on, stands by, and answers
// who asks for its health.
func stoodStill(t *testing.T, leader, standby *program, place func(name string) time.Duration) {
	t.Helper()
	before, err := leader.metrics(t.Context())
	check(t, err)
	written := func(s samples) (total float64) {
		for _, method := range []string{http.MethodPatch, http.MethodPost, http.MethodDelete} {
			total += s.sum("rest_client_requests_total", `code="2`, `method="`+method+`"`)
		}
		return total
	}
	check(t, leader.process.Freeze())
	if after := place("third"); after > takesOver {
		t.Errorf("the standby had placed a Deployment %s after the leader stood still, want at most %s; its log ends:\n%s", after, takesOver, tail(standby.log(), 20))
	}
	check(t, leader.process.Thaw())
	leader.eventuallyLogs(t, "The lease was lost")
	leader.checkAnswers(t, "/healthz", http.StatusOK)
	leader.checkAnswers(t, "/readyz", http.StatusOK)
	place("awake")
	now, err := leader.metrics(t.Context())
	check(t, err)
	if more := written(now) - written(before); more > 0 {
		t.Errorf("the leader has made %v writes after it stood still", more)
	}
	check(t, standby.runsOn())
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
