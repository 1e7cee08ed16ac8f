package main

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/hack/measure"
)

// bulkFigures are what many creations at once came to.
type bulkFigures struct {
	created calls
	// copied and done are how long it took from the first creation until all copies existed, and until kcp said that all
	// were complete; each how long one took to be complete.
	copied, done time.Duration
	each         []time.Duration
	// copiesAt and doneAt are how long after the first creation each copy existed and each Deployment was complete.
	copiesAt, doneAt []time.Duration
	// cpu is what each process took, by its name.
	cpu map[string]time.Duration
	// writes are those of tmc's programs in kcp, a Deployment.
	writes float64
}

// makeBulk creates many Deployments of one pod on each of two clusters, and waits until all are complete.
func (b *bench) makeBulk(ctx context.Context) ([]section, error) {
	waitCtx, cancel := context.WithTimeout(ctx, 2*b.timeout)
	defer cancel()
	trail, err := b.trail()
	if err != nil {
		return nil, err
	}
	var copies, complete []*expectation
	for i := range b.bulk {
		name := numbered("bulk", i)
		for _, cluster := range clusterNames() {
			copies = append(copies, b.clusters[cluster].deployments.await(name, exists))
		}
		complete = append(complete, b.user.deployments.await(name, isComplete(1, int64(len(clusterNames())))))
	}
	before := b.usage()
	began := make([]time.Time, b.bulk)
	start := time.Now()
	f := &b.bulkFigures
	if f.created, err = inTurn(waitCtx, b.bulk, func(ctx context.Context, i int) error {
		began[i] = time.Now()
		_, err := b.user.objects.Resource(deploymentsResource).Namespace(namespace).Create(ctx, newDeployment(numbered("bulk", i), ""), metav1.CreateOptions{})
		return err
	}); err != nil {
		return nil, err
	}
	for _, one := range copies {
		at, err := one.wait(waitCtx)
		if err != nil {
			return nil, fmt.Errorf("copies: %w", err)
		}
		f.copiesAt, f.copied = append(f.copiesAt, at.Sub(start)), max(f.copied, at.Sub(start))
	}
	for i, one := range complete {
		at, err := one.wait(waitCtx)
		if err != nil {
			return nil, fmt.Errorf("deployment %s: %w", numbered("bulk", i), err)
		}
		f.each, f.doneAt = append(f.each, at.Sub(began[i])), append(f.doneAt, at.Sub(start))
		f.done = max(f.done, at.Sub(start))
	}
	if err := b.settle(ctx, trail); err != nil {
		return nil, err
	}
	f.cpu = cpuSince(before, b.usage())
	return b.bulkSections(trail), nil
}

// bulkSections says what the bulk came to.
func (b *bench) bulkSections(trail *measure.Trail) []section {
	f, l := &b.bulkFigures, b.limits
	count := 0
	for _, r := range trail.Requests {
		if r.IsWrite() && r.Side == measure.InKCP {
			count++
		}
	}
	f.writes = float64(count) / float64(b.bulk)
	times := section{
		title: fmt.Sprintf("%d Deployments at once, on two clusters, one pod on each", b.bulk),
		rows:  [][]string{{headWhat, "TOOK", "A SECOND", "TO THE RAW LIMIT"}},
	}
	add := func(what string, took, raw time.Duration) {
		times.rows = append(times.rows, []string{what, measure.Seconds(took), fmt.Sprintf("%.0f", perSecond(b.bulk, took)), ratio(took, raw)})
	}
	if l.create.count > 0 {
		add("created in kcp without tmc", l.create.wall, 0)
		add("created in one cluster without tmc", l.copies.wall, 0)
		add("running in one cluster without tmc", l.running, 0)
	}
	add("created in kcp", f.created.wall, l.create.wall)
	add("all copies exist", f.copied, l.create.wall+2*l.copies.wall)
	add("all complete in kcp", f.done, l.create.wall+2*l.running)
	times.rows = append(times.rows, []string{"one, from its creation to complete, p50", measure.Seconds(measure.Percentile(f.each, 50)), "", ""},
		[]string{"one, from its creation to complete, p99", measure.Seconds(measure.Percentile(f.each, 99)), "", ""})
	times.text = "The copies of one Deployment are two. The raw limit of all copies is the creations in kcp and then as many in one cluster " +
		"as there are copies; that of complete is the same with pods that run. Here all of them share the cores of one machine."
	times.picture = f.picture(l)
	return []section{times, f.share(b.bulk, l), {
		title: fmt.Sprintf("Writes of the %d Deployments, each", b.bulk),
		rows:  append([][]string{{"CHANGE", "AT", "WRITER", "WRITE", "EACH", "409", "OTHER ERRORS"}}, writesOf("bulk", trail.Requests, b.bulk)...),
	}}
}

// picture shows how the bulk came about, and what took the CPU.
func (f *bulkFigures) picture(l limits) *picture {
	progress := chart{Title: "Deployments after so many seconds", X: axis{Label: "seconds"}, Y: axis{Min: new(0.0)}, Series: []series{
		progressLine("created", f.created.ended), progressLine("complete", f.doneAt), progressLine("copies", f.copiesAt),
	}}
	if l.create.count > 0 {
		progress.Series = append(progress.Series, progressLine("kcp without tmc", l.create.ended))
	}
	cpu := chart{Title: "CPU time of one Deployment", Y: axis{Label: "ms"}, Series: []series{{Name: "CPU", As: asBars}}}
	for _, name := range sortedKeys(f.cpu) {
		cpu.X.Categories = append(cpu.X.Categories, name)
		cpu.Series[0].Values = append(cpu.Series[0].Values, milliseconds(f.cpu[name]/time.Duration(max(1, len(f.doneAt)))))
	}
	return &picture{name: "bulk", alt: "How many Deployments and copies there are after how many seconds, and the CPU time of each program", charts: []chart{progress, cpu}}
}

// share tells apart what kcp takes of the CPU, and for what.
func (f *bulkFigures) share(count int, l limits) section {
	s := section{
		title: "CPU time of a Deployment of the bulk, the control planes of the clusters left out",
		rows:  [][]string{{"PROGRAM", "FOR", "CPU EACH", "SHARE"}},
	}
	var all time.Duration
	for _, cpu := range f.cpu {
		all += cpu
	}
	if all == 0 || count == 0 {
		return s
	}
	add := func(program, what string, cpu time.Duration) {
		s.rows = append(s.rows, []string{
			program, what, fmt.Sprintf("%.1f ms", float64(cpu.Microseconds())/1000/float64(count)), fmt.Sprintf("%.0f %%", 100*float64(cpu)/float64(all)),
		})
	}
	for _, name := range sortedKeys(f.cpu) {
		add(name, "all", f.cpu[name])
		if name == kcpProgram && l.create.count > 0 {
			creating := l.create.each() * time.Duration(count)
			add(name, "the creations alone, without tmc", creating)
			add(name, fmt.Sprintf("the %.1f writes of tmc and its watches", f.writes), f.cpu[name]-creating)
		}
	}
	return s
}
