package heartbeat

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// working is an agent that has claimed east and runs.
type working struct {
	*Agent

	t        *testing.T
	provider *provider
	body     *body
	said     *log
	rules    []*v1alpha1.TransformRule
	ended    chan error
}

// whileWorking runs test in a bubble in which an agent has been at work for a minute.
func whileWorking(t *testing.T, b *body, test func(w *working)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := &working{t: t, provider: newProvider(registration()), body: b, said: &log{}, ended: make(chan error, 1)}
		w.Agent = agentOf(t, w.provider, b, func(config *Config) {
			config.OnRule = func(rule *v1alpha1.TransformRule) { w.rules = append(w.rules, rule) }
		})
		ctx = w.said.into(ctx)
		if err := w.Claim(ctx); err != nil {
			t.Fatal(err)
		}
		go func() { w.ended <- w.Run(ctx) }()
		// A second past a beat, so that counts begin in between two.
		after(time.Minute + time.Second)
		test(w)
		cancel()
		synctest.Wait()
		if len(w.ended) == 0 {
			t.Error("Run has not ended with its context")
		}
	})
}

func after(duration time.Duration) {
	time.Sleep(duration)
	synctest.Wait()
}

func TestAgentSteadyState(t *testing.T) {
	whileWorking(t, newBody(ours, node("a", "4", "8Gi")), func(w *working) {
		if diff := cmp.Diff([]string{"patch/status", "patch/status"}, w.provider.written()); diff != "" {
			w.t.Errorf("writes at the start, want the claim and the first report (-want +got):\n%s", diff)
		}
		w.provider.beats()
		w.provider.registrations.ClearActions()
		after(minutes)
		if beats := w.provider.beats(); beats != 30 {
			w.t.Errorf("%d heartbeats in %s, want one in 10 s", beats, minutes)
		}
		for _, action := range w.provider.registrations.Actions() {
			w.t.Errorf("asked kcp: %s", action.GetVerb())
		}
	})
}

func TestReportKeepsWhatIsTheHubs(t *testing.T) {
	b := newBody(ours, node("a", "4", "8Gi"), pod("p", "a", "1", "1Gi"))
	whileWorking(t, b, func(w *working) {
		ready := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "R", LastTransitionTime: metav1.Unix(1, 0)}
		w.provider.put(registration(claimedBy(ours), func(r *v1alpha1.ClusterRegistration) {
			r.Status.Conditions = []metav1.Condition{ready}
		}))
		after(time.Minute)
		want := v1alpha1.ClusterRegistrationStatus{
			ClusterUID: ours, KubernetesVersion: "v1.36.3", Nodes: 1, Resources: []string{"configmaps/v1", "deployments.apps/v1"},
			Allocatable: list("4", "8Gi", "110"), Requested: list("1", "1Gi", "1"), Conditions: []metav1.Condition{ready},
		}
		if diff := cmp.Diff(want, w.provider.stored(w.t).Status); diff != "" {
			w.t.Errorf("status (-want +got):\n%s", diff)
		}
	})
}

func TestReportOfAGrowingCluster(t *testing.T) {
	b := newBody(ours, node("a", "4", "8Gi"))
	whileWorking(t, b, func(w *working) {
		if _, err := b.client.CoreV1().Nodes().Create(w.t.Context(), node("b", "4", "8Gi"), metav1.CreateOptions{}); err != nil {
			w.t.Fatal(err)
		}
		after(DefaultStatusInterval)
		if status := w.provider.stored(w.t).Status; status.Nodes != 2 || status.Allocatable.Cpu().Value() != 8 {
			w.t.Errorf("%d nodes, %v", status.Nodes, status.Allocatable)
		}
	})
}

func TestReportWithoutSize(t *testing.T) {
	b := newBody(ours, node("a", "4", "8Gi"))
	b.client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New("no"))
	})
	whileWorking(t, b, func(w *working) {
		status := w.provider.stored(w.t).Status
		if status.KubernetesVersion != "v1.36.3" || status.Nodes != 0 || status.Allocatable != nil || status.Requested != nil {
			w.t.Errorf("got %+v, want the version alone", status)
		}
		if times := w.said.times("RBAC", "pods"); times != 1 {
			w.t.Errorf("said %d times why, want once: %q", times, w.said.lines)
		}
	})
}

func TestAgentSilentCluster(t *testing.T) {
	whileWorking(t, newBody(ours), func(w *working) {
		w.body.die(errors.New("connection refused"))
		w.provider.beats()
		after(minutes)
		if beats := w.provider.beats(); beats != 0 {
			w.t.Errorf("%d heartbeats for a cluster that does not answer", beats)
		}
	})
}

func TestAgentLosesItsName(t *testing.T) {
	for name, lose := range map[string]func(*provider){
		"Changed":   func(p *provider) { p.put(registration(claimedBy(another))) },
		"Recreated": func(p *provider) { p.remove(); p.put(registration(claimedBy(another))) },
	} {
		t.Run(name, func(t *testing.T) {
			whileWorking(t, newBody(ours), func(w *working) {
				lose(w.provider)
				after(time.Second)
				var refused *ClaimedError
				if len(w.ended) == 0 {
					w.t.Fatal("Run goes on")
				}
				err := <-w.ended
				if !errors.As(err, &refused) || refused.Theirs != another {
					w.t.Errorf("Run ended with %v", err)
				}
				w.ended <- err
			})
		})
	}
}

func TestAgentRemovedCluster(t *testing.T) {
	whileWorking(t, newBody(ours), func(w *working) {
		w.provider.put(registration(claimedBy(ours), withPrefix("a-")))
		after(time.Second)
		w.provider.remove()
		after(time.Second)
		w.provider.beats()
		w.provider.written()
		after(minutes)
		if beats, written := w.provider.beats(), w.provider.written(); beats > 0 || len(written) > 0 || len(w.ended) > 0 {
			w.t.Errorf("%d heartbeats, writes: %v, ended: %d, after it was removed", beats, written, len(w.ended))
		}
		if times := w.said.times("registration is gone", "restarted"); times != 1 {
			w.t.Errorf("said %d times that it is gone: %q", times, w.said.lines)
		}
		if len(w.rules) != 2 {
			w.t.Errorf("the rule has changed because the registration went: %v", w.rules)
		}

		w.provider.put(registration())
		after(time.Minute)
		if status := w.provider.stored(w.t).Status; status.ClusterUID != ours || status.KubernetesVersion == "" || w.provider.beats() == 0 {
			w.t.Errorf("it does not work with the new registration: %+v", status)
		}
		if len(w.rules) != 3 || w.rules[2] != nil {
			w.t.Errorf("the new registration has no rule: %v", w.rules)
		}
	})
}

func TestAgentLeavingCluster(t *testing.T) {
	whileWorking(t, newBody(ours), func(w *working) {
		w.provider.put(registration(claimedBy(ours), leaving))
		after(time.Second)
		w.provider.beats()
		after(time.Minute)
		if beats := w.provider.beats(); beats != 6 || !w.Claimed() {
			w.t.Errorf("%d heartbeats in a minute, want 6: it has to clean up", beats)
		}
	})
}

func TestAgentInvalidRule(t *testing.T) {
	whileWorking(t, newBody(ours), func(w *working) {
		for _, prefix := range []string{"a-", "NO", "a-", "b-"} {
			w.provider.put(registration(claimedBy(ours), withPrefix(prefix)))
			after(time.Minute)
		}
		want := []*v1alpha1.TransformRule{nil, {NamespacePrefix: "a-"}, {NamespacePrefix: "b-"}}
		if diff := cmp.Diff(want, w.rules); diff != "" {
			w.t.Errorf("rules (-want +got):\n%s", diff)
		}
		if times := w.said.times("not usable", "namespacePrefix"); times != 1 {
			w.t.Errorf("said %d times what is wrong: %q", times, w.said.lines)
		}
	})
}

func TestAgentOutageOfKCP(t *testing.T) {
	whileWorking(t, newBody(ours), func(w *working) {
		w.provider.fail(func(string) error { return errors.New("connection refused") })
		after(minutes)
		w.provider.fail(func(string) error { return nil })
		w.provider.put(registration(claimedBy(ours), withPrefix("a-")))
		after(minutes)
		if len(w.ended) > 0 || !w.Claimed() || len(w.rules) != 2 {
			w.t.Errorf("ended: %d, claimed: %t, rules: %v", len(w.ended), w.Claimed(), w.rules)
		}
	})
}
