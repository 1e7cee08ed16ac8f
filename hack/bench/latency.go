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
const idle = 200 * time.Millisecond

// sample is what one Deployment took from its creation to its status.
type sample struct {
	// created is how long kcp took to create it, copied until its last copy existed.
	created, copied time.Duration
	// ready is how long its last pod took to show in the copy's own status, merged in kcp's.
	ready, merged time.Duration
}

// latency measures the way down and the way up of one Deployment at a time, in a system that has nothing else to do.
func (b *bench) latency(ctx context.Context) ([]section, error) {
	one, err := b.series(ctx, []string{east})
	if err != nil {
		return nil, err
	}
	two, err := b.series(ctx, []string{east, west})
	if err != nil {
		return nil, err
	}
	return []section{latencySection(one, two)}, nil
}

// latencySection says what the samples of one and of two clusters came to. The raw limit of the way down is a creation in
// kcp and one in the cluster; that of the way up is the moment at which the copy's own status has the news, and two
// patches in kcp.
func latencySection(one, two []sample) section {
	s := section{
		title: "Latency of one Deployment in an idle system",
		text: fmt.Sprintf("%d Deployments on one cluster and as many on two, one after the other. Their pods get ready some time after they "+
			"were scheduled: at once, or up to half a second later. With two clusters the last copy and the last pod count. The "+
			"ratio is that of the median to what comes before it anyway: kcp's answer, or the copy's own status.", len(one)),
		rows: [][]string{{"FROM", "TO", "CLUSTERS", headP50, headP90, headP99, "MOST", "TO THE RAW LIMIT"}},
	}
	for _, row := range []struct {
		from, to string
		which    func(sample) time.Duration
		limit    func(sample) time.Duration
	}{
		{create, "answer of kcp", sample.creating, nil},
		{create, "copy exists", sample.copying, sample.creating},
		{"pod ready", "status of the copy", sample.counting, nil},
		{"pod ready", "status in kcp", sample.merging, sample.counting},
	} {
		for i, samples := range [][]sample{one, two} {
			cells := append([]string{row.from, row.to, fmt.Sprint(i + 1)}, percentiles(of(samples, row.which))...)
			limit := time.Duration(0)
			if row.limit != nil {
				limit = p50(of(samples, row.limit))
			}
			s.rows = append(s.rows, append(cells, ratio(p50(of(samples, row.which)), limit)))
		}
	}
	s.picture = &picture{
		name: "latency", alt: "How long it takes from a creation to the copy, and from a pod that is ready to the status in kcp",
		charts: []chart{
			{Title: "Creation to copy", X: percentileAxis(), Y: axis{Label: "ms"}, Series: []series{
				percentileBars("kcp's answer", of(one, sample.creating)), percentileBars("one cluster", of(one, sample.copying)), percentileBars("two", of(two, sample.copying)),
			}},
			{Title: "Pod ready to status in kcp", X: percentileAxis(), Y: axis{Label: "ms"}, Series: []series{
				percentileBars("the copy's own", of(one, sample.counting)), percentileBars("one cluster", of(one, sample.merging)), percentileBars("two", of(two, sample.merging)),
			}},
		},
	}
	return s
}

func (s sample) creating() time.Duration { return s.created }
func (s sample) copying() time.Duration  { return s.copied }
func (s sample) counting() time.Duration { return s.ready }
func (s sample) merging() time.Duration  { return s.merged }

func of(samples []sample, which func(sample) time.Duration) []time.Duration {
	var all []time.Duration
	for _, one := range samples {
		all = append(all, which(one))
	}
	return all
}

func p50(durations []time.Duration) time.Duration { return measure.Percentile(durations, 50) }

func percentiles(durations []time.Duration) []string {
	var cells []string
	for _, percent := range []int{50, 90, 99, 100} {
		cells = append(cells, brief(measure.Percentile(durations, percent)))
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
	deployment := byHand(newDeployment(name, targets(clusters)))
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
