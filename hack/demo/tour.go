package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"golang.org/x/sync/errgroup"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// The Deployment of the tour.
const (
	namespace = metav1.NamespaceDefault
	workload  = "nginx"
	resource  = "deployment/" + workload
	// container is what `kubectl create deployment` calls the container, after the image.
	container = "nginx"

	firstImage   = "nginx"
	secondImage  = "nginx:1.29"
	driftedImage = "nginx:drifted"
)

const (
	// settleTimeout is how long what no command waits for may take.
	settleTimeout = 30 * time.Second
	// repairTimeout is how long drift may stand.
	repairTimeout = 10 * time.Second
)

// run sets everything up, gives the tour, and stops everything.
func run(ctx context.Context, o options, out io.Writer) error {
	running, _, err := findDemo(o.dir)
	if err != nil {
		return err
	}
	if running {
		return fmt.Errorf("a demo is running in %s already: let it end first, or give another directory with --dir", short(o.dir))
	}
	start := time.Now()
	err = onStage(ctx, o, out, func(ctx context.Context, s *stage) error {
		t := &tour{stage: s}
		return t.all(ctx)
	})
	if err != nil {
		return err
	}
	(&console{w: out}).sayf("\nThe demo is over: all was as it should be, in %s. The logs are in %s;\n"+
		"`make demo-up` sets up the same and leaves it running for you to try things on.", seconds(time.Since(start)), short(o.logDir()))
	return nil
}

// tour is the life of a Deployment.
type tour struct {
	*stage

	// now is what is expected after the last step.
	now expectation
}

// step is one part of the tour.
type step struct {
	title string
	// text says what is going to happen, and why that is of interest.
	text string
	do   func(ctx context.Context) error
}

func (t *tour) steps() []step {
	return []step{
		{
			"Create a Deployment in kcp", "Nothing is said of clusters: it goes to all of them, and each runs all the replicas.\n" +
				"kcp adds up what they report, and `rollout status` returns when the last one is done.",
			t.create,
		},
		{"Scale it", "Each cluster follows.", t.scale},
		{"Change its image", "Each cluster does a rolling update of its own; kcp's is done when both are.", t.setImage},
		{
			"Change the copy in one cluster behind kcp's back",
			"kcp has the last word: the syncer puts it back at once. The generation in the cluster counts both changes,\n" +
				"that in kcp neither.",
			t.drift,
		},
		{"Take it off one cluster", "An annotation says which clusters are to run it. West's copy goes, and then kcp no longer counts it.", t.leave},
		{"Delete it", "kcp's object stays until the last copy is gone: when kubectl returns, all are.", t.remove},
	}
}

// all goes through the steps.
func (t *tour) all(ctx context.Context) error {
	for _, step := range t.steps() {
		t.out.title(step.title)
		t.out.sayf("%s\n", step.text)
		if err := step.do(ctx); err != nil {
			t.showLast(ctx)
			return fmt.Errorf("%q: %w", step.title, err)
		}
	}
	return nil
}

func (t *tour) create(ctx context.Context) error {
	t.now = expectation{clusters: clusterNames(), replicas: 2, image: firstImage, generation: 1}
	if err := t.rollOut(ctx, "create", "deployment", workload, "--image="+firstImage, "--replicas=2"); err != nil {
		return err
	}
	return t.plugin(ctx, t.user, "get", "workloads")
}

func (t *tour) scale(ctx context.Context) error {
	t.now.replicas = 5
	t.now.generation++
	return t.rollOut(ctx, "scale", resource, "--replicas=5")
}

func (t *tour) setImage(ctx context.Context) error {
	t.now.image = secondImage
	t.now.generation++
	return t.rollOut(ctx, "set", "image", resource, container+"="+secondImage)
}

// rollOut changes the Deployment in kcp. Once kcp says that it is rolled out, it has to be so everywhere, at once.
func (t *tour) rollOut(ctx context.Context, args ...string) error {
	start := time.Now()
	if err := t.kubectl(ctx, t.user, args...); err != nil {
		return err
	}
	if err := t.kubectl(ctx, t.user, "rollout", "status", resource); err != nil {
		return err
	}
	return t.check(ctx, start)
}

// drift changes the copy in a cluster, and takes the time until it is put back.
func (t *tour) drift(ctx context.Context) error {
	start := time.Now()
	at := t.clusters[0]
	before, err := generationIn(ctx, at)
	if err != nil {
		return err
	}
	stood, err := t.timeDrift(ctx, at)
	if err != nil {
		return err
	}
	t.out.sayf("%s: image %s seen, and %s again %s later", at.name, driftedImage, t.now.image, seconds(stood))
	if err := t.kubectl(ctx, at, "rollout", "status", resource); err != nil {
		return err
	}
	if err := t.settle(ctx, start); err != nil {
		return err
	}
	after, err := generationIn(ctx, at)
	if err != nil {
		return err
	}
	if want := before + 2; after != want {
		return fmt.Errorf("%s: generation: expected %d, one more for the drift and one for its repair, found %d", at.name, want, after)
	}
	return nil
}

// generationIn returns the generation of the Deployment in one place.
func generationIn(ctx context.Context, at place) (int64, error) {
	seen, err := lookAt(ctx, at)
	if err != nil {
		return 0, err
	}
	if seen.deployment == nil {
		return 0, fmt.Errorf("%s: expected a Deployment, found none", at.name)
	}
	return seen.deployment.Generation, nil
}

// timeDrift sets another image in a cluster and gives the time until the right one is back.
func (t *tour) timeDrift(ctx context.Context, at place) (time.Duration, error) {
	watcher, err := at.client.AppsV1().Deployments(namespace).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + workload})
	if err != nil {
		return 0, fmt.Errorf("watch the copy in %s: %w", at.name, err)
	}
	defer watcher.Stop()
	var stood time.Duration
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return t.kubectl(ctx, at, "set", "image", resource, container+"="+driftedImage)
	})
	group.Go(func() error {
		var err error
		if stood, err = waitRepaired(ctx, watcher.ResultChan(), t.now.image); err != nil {
			return fmt.Errorf("wait for the copy in %s to have image %s again: %w", at.name, t.now.image, err)
		}
		return nil
	})
	err = group.Wait()
	return stood, err
}

// waitRepaired sees the drift come and go, and gives the time between.
func waitRepaired(ctx context.Context, events <-chan watch.Event, image string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, repairTimeout)
	defer cancel()
	var since time.Time
	last := "no event"
	for {
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("not so after %s: last seen: %s: %w", repairTimeout, last, ctx.Err())
		case event, open := <-events:
			copied, ok := event.Object.(*appsv1.Deployment)
			if !open || !ok {
				return 0, fmt.Errorf("the watch has ended: %v", event.Object)
			}
			last = "image " + imageOf(copied)
			switch {
			case imageOf(copied) == driftedImage && since.IsZero():
				since = time.Now()
			case imageOf(copied) == image && !since.IsZero():
				return time.Since(since), nil
			}
		}
	}
}

func (t *tour) leave(ctx context.Context) error {
	start := time.Now()
	stays, leaves := t.clusters[0], t.clusters[1]
	t.now.clusters = []string{stays.name}
	if err := t.kubectl(ctx, t.user, "annotate", resource, v1alpha1.TargetClustersAnnotation+"="+stays.name); err != nil {
		return err
	}
	if err := t.kubectl(ctx, leaves, "wait", "--for=delete", resource); err != nil {
		return err
	}
	return t.settle(ctx, start)
}

func (t *tour) remove(ctx context.Context) error {
	start := time.Now()
	t.now = expectation{}
	if err := t.kubectl(ctx, t.user, "delete", resource); err != nil {
		return err
	}
	return t.check(ctx, start)
}

// check shows what there is, and fails unless it is as expected now.
func (t *tour) check(ctx context.Context, start time.Time) error {
	seen, err := t.look(ctx)
	if err != nil {
		return err
	}
	if differences := t.now.differences(seen); len(differences) > 0 {
		return errors.New("not as it should be:\n  " + strings.Join(differences, "\n  "))
	}
	t.show(seen, start)
	return nil
}

// settle is check for what no command waits for.
func (t *tour) settle(ctx context.Context, start time.Time) error {
	var seen view
	err := framework.Eventually(ctx, "kcp and the clusters to agree", settleTimeout, func(ctx context.Context) (bool, string, error) {
		var err error
		if seen, err = t.look(ctx); err != nil {
			return false, "", err
		}
		differences := t.now.differences(seen)
		return len(differences) == 0, strings.Join(differences, "; "), nil
	})
	if err != nil {
		return err
	}
	t.show(seen, start)
	return nil
}

// show shows a view that is as it should be.
func (t *tour) show(seen view, start time.Time) {
	t.out.sayf("")
	t.out.table(seen.table())
	t.out.sayf("  as it should be after %s: %s.", seconds(time.Since(start)), t.now)
}

// showLast shows what there is when something has gone wrong, if it can.
func (t *tour) showLast(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	seen, err := t.look(ctx)
	if err != nil {
		t.out.sayf("\n  (what there is cannot be shown: %v)", err)
		return
	}
	t.out.sayf("\n  NOT as it should be:")
	t.out.table(seen.table())
	for _, difference := range t.now.differences(seen) {
		t.out.sayf("  %s", difference)
	}
}
