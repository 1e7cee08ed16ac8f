package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	appslisters "k8s.io/client-go/listers/apps/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const (
	// many is how many Deployments there are to be silent about.
	many = 500
	// manyTimeout bounds their way there and back.
	manyTimeout = 6 * time.Minute
	// listening is how long silence is listened to. There is no condition to wait for.
	listening = 20 * time.Second
	// settling is as long as the syncer may hold a report back, and more.
	settling = 6 * time.Second
)

// TestIdleSystemIsSilent counts requests, so it does not run beside others.
func TestIdleSystemIsSilent(t *testing.T) {
	u := newTenant(t, env.shared, "silence")
	deployments, revisions := u.watch(t)
	trail := auditFromNow(t)
	start := time.Now()
	u.createMany(t)
	t.Logf("%d Deployments were created in %s", many, time.Since(start).Round(time.Millisecond))
	eventually(t, fmt.Sprintf("%d Deployments to be available and observed", many), manyTimeout, allDone(deployments))
	t.Logf("they were synced and reported %s after the first was created", time.Since(start).Round(time.Millisecond))
	eventually(t, fmt.Sprintf("the revisions of %d Deployments to have their numbers", many), soon, allCounted(revisions))
	logWrites(t, trail)
	t.Logf("the syncer of east has had %d MiB at most, the controller %d MiB",
		env.shared.syncers[east].peakMemory(t), env.shared.controller.peakMemory(t))

	waitTold(t)

	t.Run("an idle system sends nothing but heartbeats", func(t *testing.T) {
		settle(t)
		trail := auditFromNow(t)
		time.Sleep(listening) // see listening
		requests := trail.requests(t)
		for _, r := range requests {
			if !isHeartbeat(r) && !isWatching(r) {
				t.Errorf("in an idle system: %s", r)
			}
		}
		// Were there none at all, the audit would have said nothing.
		if len(requests) == 0 {
			t.Error("the audit logs have not even the heartbeats")
		}
	})
	t.Run("a syncer that starts anew writes nothing", func(t *testing.T) {
		restartsSilently(t, env.shared.syncers[east], "spec", "status")
		t.Logf("the syncer of east has had %d MiB at most since then", env.shared.syncers[east].peakMemory(t))
	})
	t.Run("a controller that starts anew writes nothing", func(t *testing.T) {
		restartsSilently(t, env.shared.controller, "scheduler", "aggregator", "revisions")
	})
}

// waitTold waits until east has told how many pods it has, which it does every 30 s at most, and again when the
// number has moved by a twentieth of what its nodes take.
func waitTold(t *testing.T) {
	t.Helper()
	const noticeable = nodes * 110 / 20
	provider := env.shared.inProvider(t)
	eventually(t, "east to have told of its pods", soon, func(ctx context.Context) (bool, string, error) {
		told, err := provider.get(ctx, "cr "+east, "{.status.requested.pods}")
		if err != nil {
			return false, "", err
		}
		pods, err := env.clusters[east].client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "status.phase=Running"})
		if err != nil {
			return false, "", err
		}
		count, _ := strconv.Atoi(told)
		missing := max(count-len(pods.Items), len(pods.Items)-count)
		return missing < noticeable, fmt.Sprintf("%s of %d", told, len(pods.Items)), nil
	})
}

// restartsSilently ends a program and starts it again, and listens on both sides from then until it is through
// with all objects.
func restartsSilently(t *testing.T, p *program, queues ...string) {
	t.Helper()
	check(t, p.stop(t.Context()))
	trail := auditFromNow(t)
	check(t, p.startReady(t.Context()))
	start := time.Now()
	p.eventuallyThrough(t, many, queues...)
	t.Logf("%s was through with %d objects %s after it was ready", p.config.Name, many, time.Since(start).Round(time.Millisecond))
	settle(t)
	for _, r := range trail.requests(t) {
		if !isHeartbeat(r) && !isWatching(r) && !isClaiming(r) {
			t.Errorf("after the restart: %s", r)
		}
	}
	// The program's own count; heartbeats are patches of Leases.
	own, err := p.metrics(t.Context())
	check(t, err)
	if count := own.requests(http.MethodPost, http.MethodDelete); count > 0 {
		t.Errorf("%s counts %v writes of its own after the restart", p.config.Name, count)
	}
}

// logWrites says what each Deployment has cost until then.
func logWrites(t *testing.T, trail auditTrail) {
	t.Helper()
	writes := map[string]int{}
	for _, r := range trail.requests(t) {
		if !isHeartbeat(r) && !isWatching(r) {
			program, _, _ := strings.Cut(r.UserAgent, "/")
			writes[fmt.Sprintf("%s %s in %s", program, r.Verb, r.log)]++
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(writes)) {
		t.Logf("for each Deployment, %s: %.2f requests", kind, float64(writes[kind])/many)
	}
}

// settle gives a report that was held back the time to come.
func settle(t *testing.T) {
	t.Helper()
	select {
	case <-time.After(settling):
	case <-t.Context().Done():
	}
}

// watch keeps the tenant's Deployments and their revisions at hand, so that waiting for many of them costs the servers nothing.
func (u *tenant) watch(t *testing.T) (appslisters.DeploymentLister, appslisters.ReplicaSetLister) {
	t.Helper()
	factory := informers.NewSharedInformerFactoryWithOptions(u.client, 0, informers.WithNamespace(u.namespace))
	deployments, revisions := factory.Apps().V1().Deployments().Lister(), factory.Apps().V1().ReplicaSets().Lister()
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	t.Cleanup(factory.Shutdown)
	return deployments, revisions
}

// createMany makes Deployments as fast as kcp takes them.
func (u *tenant) createMany(t *testing.T) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(8)
	for _, name := range names("web", many) {
		group.Go(func() error {
			_, err := u.client.AppsV1().Deployments(u.namespace).Create(ctx, deployment(name, on(east)), metav1.CreateOptions{})
			return err
		})
	}
	check(t, group.Wait())
}

// allDone reports whether all Deployments are available and kcp has no more to say about them.
func allDone(deployments appslisters.DeploymentLister) func(context.Context) (bool, string, error) {
	return func(context.Context) (bool, string, error) {
		all, err := deployments.List(labels.Everything())
		done := 0
		for _, d := range all {
			if isRolledOut(d) && isCalm(d) {
				done++
			}
		}
		return done == many, fmt.Sprintf("%d of %d", done, len(all)), err
	}
}

// allCounted reports whether there is a revision of each Deployment, with the numbers of the end.
func allCounted(revisions appslisters.ReplicaSetLister) func(context.Context) (bool, string, error) {
	return func(context.Context) (bool, string, error) {
		all, err := revisions.List(labels.Everything())
		done := 0
		for _, revision := range all {
			if revision.Status.ReadyReplicas == 1 {
				done++
			}
		}
		return done == many, fmt.Sprintf("%d of %d", done, len(all)), err
	}
}

// isCalm tells of a Deployment in kcp whether its conditions say that nothing more will happen.
func isCalm(d *appsv1.Deployment) bool {
	return condition(d, "Progressing").Reason == "NewReplicaSetAvailable" && condition(d, v1alpha1.ConditionSynced).Status == "True"
}
