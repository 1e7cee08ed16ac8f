package e2e

import (
	"context"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const (
	suspendPath  = "{.spec.suspend}"
	pullPath     = "{.imagePullSecrets[*].name}"
	orderedNames = "{.spec.template.spec.initContainers[*].name} {.spec.template.spec.containers[0].env[*].name}"
)

// ordered is a Deployment in whose lists the order means something.
const ordered = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: ordered}
spec:
  replicas: 1
  selector: {matchLabels: {app: ordered}}
  template:
    metadata: {labels: {app: ordered}}
    spec:
      initContainers:
      - {name: migrate, image: "example.com/a:1"}
      - {name: fetch, image: "example.com/a:1"}
      containers:
      - {name: main, image: "example.com/a:1", env: [{name: BASE, value: b}, {name: URL, value: $(BASE)/x}]}
`

func queuedJob(name, label string) string {
	return `
apiVersion: batch/v1
kind: Job
metadata: {name: ` + name + `, labels: {` + label + `}}
spec:
  suspend: true
  completions: 3
  parallelism: 3
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: "example.com/a:1"}]
`
}

// TestWhatIsChangedOnACluster changes copies where that is drift, and where the cluster decides.
func TestWhatIsChangedOnACluster(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "changed")
	kcp, atEast, atWest := u.inKCP(), u.onCluster(east), u.onCluster(west)
	kcp.apply(t, ordered)
	kcp.apply(t, queuedJob("queued", "kueue.x-k8s.io/queue-name: team"))
	kcp.apply(t, queuedJob("unqueued", ""))
	atEast.eventually(t, "job/queued", suspendPath, "true")
	atEast.eventually(t, "job/unqueued", suspendPath, "true")
	u.rollOut(t, "ordered", east, west)

	t.Run("the order of lists", func(t *testing.T) {
		const swapped = `[{"op":"move","from":"/spec/template/spec/initContainers/0","path":"/spec/template/spec/initContainers/1"},` +
			`{"op":"move","from":"/spec/template/spec/containers/0/env/0","path":"/spec/template/spec/containers/0/env/1"}]`
		generation := atEast.kubectl(t, "get", "deployment/ordered", "--output=jsonpath={.metadata.generation}")
		got := atEast.kubectl(t, "patch", "deployment/ordered", "--type=json", "--patch="+swapped, "--output=jsonpath="+orderedNames)
		if got != "fetch migrate URL BASE" {
			t.Fatalf("the lists are %s", got)
		}
		atEast.eventually(t, "deployment/ordered", orderedNames, "migrate fetch BASE URL")
		if after := atEast.kubectl(t, "get", "deployment/ordered", "--output=jsonpath={.metadata.generation}"); after == generation {
			t.Errorf("the generation is %s as before", after)
		}
		u.eventuallyEvent(t, "ordered", "DriftRepaired", "cluster "+east)
		u.rollOut(t, "ordered", east, west)
	})
	t.Run("a Job of a queue", func(t *testing.T) {
		start := `--patch={"spec":{"suspend":false,"template":{"spec":{"nodeSelector":{"kubernetes.io/os":"linux"}}}}}`
		atEast.kubectl(t, "patch", "job/queued", "--type=merge", start)
		kcp.kubectl(t, "label", "job/queued", "later=yes")
		atEast.eventually(t, "job/queued", `{.metadata.labels.later}`, "yes")
		atEast.eventually(t, "job/queued", completePath, "True")
		if events := atEast.kubectl(t, "get", "events", "--field-selector=involvedObject.name=queued", "--output=jsonpath={.items[*].reason}"); strings.Count(events, "Resumed") != 1 {
			t.Errorf("events are %s, want that it was resumed once", events)
		}
		atWest.eventually(t, "job/queued", suspendPath, "true")
		kcp.kubectl(t, "patch", "job/queued", "--type=merge", `--patch={"spec":{"suspend":false}}`)
		atWest.eventually(t, "job/queued", suspendPath, "false")
		kcp.eventually(t, "job/queued", completePath, "True")
	})
	t.Run("a Job of no queue", func(t *testing.T) {
		atEast.kubectl(t, "patch", "job/unqueued", "--type=merge", `--patch={"spec":{"suspend":false}}`)
		atEast.eventually(t, "job/unqueued", suspendPath, "true")
		u.eventuallyEvent(t, "unqueued", "DriftRepaired", "cluster "+east, "spec.suspend")
		kcp.kubectl(t, "annotate", "job/unqueued", v1alpha1.YieldAnnotation+"=spec")
		kcp.eventuallyHas(t, "job/unqueued", syncedPath, "False", "InvalidYield", v1alpha1.YieldAnnotation)
		kcp.kubectl(t, "annotate", "job/unqueued", v1alpha1.YieldAnnotation+"-")
		kcp.kubectl(t, "patch", "job/unqueued", "--type=merge", `--patch={"spec":{"suspend":false}}`)
		kcp.eventually(t, "job/unqueued", completePath, "True")
	})
}

// rival is a controller of a cluster that wants a field otherwise.
type rival struct {
	stop func()

	mu     sync.Mutex
	writes int
}

// newRival has somebody change an object whenever isTheirs is false of a field of it, until the test ends or stop is called.
func newRival(t *testing.T, on side, object, path string, isTheirs func(string) bool, change ...string) *rival {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	r := &rival{stop: func() { cancel(); running.Wait() }}
	t.Cleanup(r.stop)
	running.Go(func() {
		for ctx.Err() == nil {
			if got, err := on.get(ctx, object, path); err != nil || isTheirs(got) {
				continue
			}
			if _, err := on.try(ctx, change...); err == nil {
				r.mu.Lock()
				r.writes++
				r.mu.Unlock()
			}
		}
	})
	return r
}

func (r *rival) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.writes
}

// TestTwoWritersDoNotFight has controllers of a cluster that will not give a field up.
func TestTwoWritersDoNotFight(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "contest")
	kcp, atEast := u.inKCP(), u.onCluster(east)
	kcp.kubectl(t, "create", "secret", "generic", "regcred")
	kcp.apply(t, `
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
imagePullSecrets: [{name: regcred}]
`)
	web := deployment("web")
	web.Spec.Template.Spec.ServiceAccountName = "robot"
	u.apply(t, some(web))
	u.rollOut(t, "web", east, west)

	account := newRival(t, atEast, "serviceaccount/robot", pullPath, func(got string) bool { return strings.Contains(got, "robot-dockercfg") },
		"patch", "serviceaccount/robot", "--type=json", `--patch=[{"op":"add","path":"/imagePullSecrets/-","value":{"name":"robot-dockercfg"}}]`)
	atEast.eventually(t, "serviceaccount/robot", pullPath, "regcred robot-dockercfg")
	begin := time.Now()
	image := newRival(t, atEast, "deployment/web", imagePath, func(got string) bool { return got == "theirs" }, "set", "image", "deployment/web", "web=theirs")
	kcp.eventuallyHas(t, "deployment/web", syncedPath, "False", "Contested", east, "kubectl-set", "image")
	u.eventuallyEvent(t, "web", "Contested", "cluster "+east, "kubectl-set")
	// The first few at once, then after 1, 2, 4 ... seconds.
	if lasted := time.Since(begin).Seconds(); image.count() > 5+int(math.Log2(lasted+1)) {
		t.Errorf("the other side has had to write %d times in %.0f s", image.count(), lasted)
	}
	u.kubectl(t, "set", "image", "deployment/web", "web="+newImage)
	image.stop()
	atEast.eventually(t, "deployment/web", imagePath, newImage)
	kcp.eventuallyHas(t, "deployment/web", syncedPath, "True")

	account.stop()
	if account.count() != 1 {
		t.Errorf("the other side has written the account %d times, want once", account.count())
	}
	atEast.eventuallyHas(t, "serviceaccount/robot", "{.metadata.annotations}", v1alpha1.OthersAnnotation, "robot-dockercfg")
	kcp.kubectl(t, "patch", "serviceaccount/robot", "--type=json", `--patch=[{"op":"remove","path":"/imagePullSecrets"}]`)
	atEast.eventually(t, "serviceaccount/robot", pullPath, "robot-dockercfg")
}
