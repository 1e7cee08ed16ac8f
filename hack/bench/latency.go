package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/hack/measure"
)

// podDelays are how long pods take to get ready after they were scheduled, in turn: the worst moment for a report is not
// always the same.
var podDelays = []time.Duration{0, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond}

// idle is the pause between two samples: nothing of the one before is still going on.
const idle = 300 * time.Millisecond

// sample is what one Deployment took from its creation to its status.
type sample struct {
	// created is how long kcp took to create it, copied until its last copy existed.
	created, copied time.Duration
	// ready is how long its last pod took to show in the copy's own status, merged in kcp's.
	ready, merged time.Duration
}

// latency measures the way down and the way up of one Deployment at a time, in a system that has nothing else to do.
func (b *bench) latency(ctx context.Context) ([]section, error) {
	s := section{
		title: "Latency of one Deployment in an idle system",
		rows:  [][]string{{"FROM", "TO", "CLUSTERS", "p50", "p90", "p99", "MOST"}},
	}
	for _, clusters := range [][]string{{east}, {east, west}} {
		samples, err := b.series(ctx, clusters)
		if err != nil {
			return nil, err
		}
		count := fmt.Sprint(len(clusters))
		of := func(which func(sample) time.Duration) []time.Duration {
			var all []time.Duration
			for _, one := range samples {
				all = append(all, which(one))
			}
			return all
		}
		for _, row := range []struct {
			from, to string
			which    func(sample) time.Duration
		}{
			{create, "answer of kcp", func(s sample) time.Duration { return s.created }},
			{create, "copy exists", func(s sample) time.Duration { return s.copied }},
			{"pod ready", "status of the copy", func(s sample) time.Duration { return s.ready }},
			{"pod ready", "status in kcp", func(s sample) time.Duration { return s.merged }},
		} {
			s.rows = append(s.rows, append([]string{row.from, row.to, count}, percentiles(of(row.which))...))
		}
	}
	return []section{s}, nil
}

func percentiles(durations []time.Duration) []string {
	var cells []string
	for _, percent := range []int{50, 90, 99, 100} {
		cells = append(cells, measure.Millis(measure.Percentile(durations, percent)))
	}
	return cells
}

// series makes Deployments of one pod on each of some clusters, one after the other.
func (b *bench) series(ctx context.Context, clusters []string) ([]sample, error) {
	var all []sample
	for i := range b.samples {
		name := numbered(fmt.Sprintf("latency%d", len(clusters)), i)
		one, err := b.sample(ctx, name, clusters, podDelays[i%len(podDelays)])
		if err != nil {
			return nil, fmt.Errorf("deployment %s: %w", name, err)
		}
		all = append(all, one)
		if err := pause(ctx, idle); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// sample follows one Deployment. Its pods get ready a while after they were scheduled, all at the same time.
func (b *bench) sample(ctx context.Context, name string, clusters []string, delay time.Duration) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	var copies, pods, counted []*expectation
	for _, cluster := range clusters {
		copies = append(copies, b.clusters[cluster].deployments.await(name, exists))
		pods = append(pods, b.clusters[cluster].pods.await(name, exists))
		counted = append(counted, b.clusters[cluster].deployments.await(name, isReady(1)))
	}
	merged := b.user.deployments.await(name, isComplete(1, int64(len(clusters))))
	began := time.Now()
	deployment := byHand(newDeployment(name, targets(clusters), 1))
	if _, err := b.user.objects.Resource(deploymentsResource).Namespace(namespace).Create(ctx, deployment, metav1.CreateOptions{}); err != nil {
		return sample{}, err
	}
	one := sample{created: time.Since(began)}
	copied, err := last(ctx, copies)
	if err != nil {
		return one, fmt.Errorf("copies: %w", err)
	}
	one.copied = copied.Sub(began)
	if _, err := last(ctx, pods); err != nil {
		return one, fmt.Errorf("pods: %w", err)
	}
	if err := pause(ctx, delay); err != nil {
		return one, err
	}
	ready := time.Now()
	for _, cluster := range clusters {
		if err := b.clusters[cluster].makeReady(ctx, b.clusters[cluster].pods.get(name)); err != nil {
			return one, err
		}
	}
	seen, err := last(ctx, counted)
	if err != nil {
		return one, fmt.Errorf("status of the copies: %w", err)
	}
	one.ready = seen.Sub(ready)
	at, err := merged.wait(ctx)
	if err != nil {
		return one, fmt.Errorf("status: %w", err)
	}
	one.merged = at.Sub(ready)
	return one, nil
}

// last waits for all, and gives the moment of the last.
func last(ctx context.Context, all []*expectation) (time.Time, error) {
	var moments []time.Time
	for _, one := range all {
		at, err := one.wait(ctx)
		if err != nil {
			return time.Time{}, err
		}
		moments = append(moments, at)
	}
	return slices.MaxFunc(moments, time.Time.Compare), nil
}

// pause lets some time go by.
func pause(ctx context.Context, duration time.Duration) error {
	select {
	case <-time.After(duration):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
