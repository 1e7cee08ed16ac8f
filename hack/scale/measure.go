package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/hack/measure"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const (
	// copies is on how many clusters each workload is placed.
	copies = 3
	// mostSyncers is how many cluster names there are.
	mostSyncers = 1000
	// listening is how long silence is listened to.
	listening = 30 * time.Second
	// quiet is how long nothing must have been written for a system to count as idle: what a cluster is loaded
	// with is told every 30 s at most.
	quiet = 35 * time.Second
	// stopTimeout bounds the stopping of it all.
	stopTimeout = 2 * time.Minute
)

// measurement is one run: what it works on, and what it has found out.
type measurement struct {
	options
	stage

	console *measure.Console
	// figures are name and value of what has been found out, in the order in which it was.
	figures [][]string
	ledger  measure.Ledger
	fleet   *fleet
	// trail are the requests from the first workload on, until the system was silent.
	trail *measure.Trail
	// beginning are the requests while the syncers started.
	beginning *measure.Trail
	// alone is what this process took before it had syncers.
	alone measure.Usage
	// ready counts the clusters that are; available, settled and off the workloads that are, and that are not
	// placed on the first cluster.
	ready, available, settled, off *measure.Tally
	// began has the moment at which the creation of each workload began.
	began map[string]time.Time
}

// run does all of it, and prints the figures, as far as it got.
func run(ctx context.Context, o options, out io.Writer) error {
	m := &measurement{options: o, console: &measure.Console{W: out}}
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	if err := m.setUp(ctx, o, out, giveUp); err != nil {
		return err
	}
	err := m.story(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // what came of it is of no interest
	}
	if err != nil {
		err = fmt.Errorf("%w\nThe logs are kept in %s", err, m.stack.LogDir())
	}
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err = errors.Join(err, m.fleet.stopAll(stopCtx), m.stack.Stop(stopCtx))
	m.addMishaps()
	m.print()
	return err
}

// story goes through the steps.
func (m *measurement) story(ctx context.Context) error {
	steps := []struct {
		title string
		do    func(context.Context) error
	}{
		{"Install tmc, bind a workspace, start the controller", m.install},
		{fmt.Sprintf("Start %d syncers", m.syncers), m.startSyncers},
		{fmt.Sprintf("Create %d workloads", m.workloads), m.createWorkloads},
		{"Wait until each runs on three clusters", m.settle},
		{"Listen to silence", m.listen},
		{"Drain a cluster", m.drain},
	}
	for _, step := range steps {
		if err := m.console.Step(step.title, func() error { return step.do(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// print prints the figures, as far as there are any.
func (m *measurement) print() {
	m.console.Sayf("")
	m.console.Table(m.figures)
	if m.beginning != nil {
		m.console.Sayf("\nRequests while the syncers started")
		m.console.Table(m.beginning.Count(m.workloads, copies))
	}
	if m.trail != nil {
		m.console.Sayf("\nRequests from the first workload until silence")
		m.console.Table(m.trail.Count(m.workloads, copies))
	}
	if m.ledger.HasNotes() {
		m.console.Sayf("\nProcesses")
		m.console.Table(m.ledger.Table())
	}
}

// addMishaps says what went wrong on the way, and mended itself.
func (m *measurement) addMishaps() {
	m.add("restarts of "+controllerBinary+" (expected 0)", strconv.FormatInt(m.restarts.Load(), 10))
	if m.ready != nil {
		m.add("clusters that were not Ready for a while (expected 0)", strconv.Itoa(m.ready.Lost()))
	}
}

// add takes note of a figure.
func (m *measurement) add(name, value string) { m.figures = append(m.figures, []string{name, value}) }

// startSyncers starts them, and waits until all have read both sides and kcp says that the clusters are ready.
func (m *measurement) startSyncers(ctx context.Context) error {
	config, err := m.stack.KCP.RESTConfig(v1alpha1.DefaultProviderWorkspace)
	if err != nil {
		return err
	}
	provider, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client for the provider workspace: %w", err)
	}
	m.ready = measure.NewTally(isReady)
	if err := measure.Follow(ctx, provider, v1alpha1.ClusterRegistrationsResource, m.ready); err != nil {
		return err
	}
	if m.alone, err = measure.UsageOfSelf(); err != nil {
		return err
	}
	m.ledger.Note(ctx, "")
	if m.fleet, err = m.newFleet(ctx); err != nil {
		return err
	}
	if m.beginning, err = m.auditFromNow(); err != nil {
		return err
	}
	if err := m.awaitSyncers(ctx); err != nil {
		return err
	}
	m.ledger.Note(ctx, "CPU TO START")
	return m.weighSyncers("no workloads")
}

// awaitSyncers starts them and says how long that took.
func (m *measurement) awaitSyncers(ctx context.Context) error {
	start := time.Now()
	took, err := m.fleet.start(ctx, m.starting, m.timeout, m.giveUp)
	if err != nil {
		return err
	}
	m.add(fmt.Sprintf("all syncers have read kcp and the cluster, %d started at a time", m.starting), measure.Seconds(time.Since(start)))
	m.add("a syncer's start to that", measure.Summary(took))
	last, err := m.ready.Wait(ctx, m.console, "clusters are ready", m.timeout, m.syncers)
	if err != nil {
		return err
	}
	m.add("all clusters Ready, from the first syncer's start", measure.Seconds(last.Sub(start)))
	return m.beginning.Read()
}

// weighSyncers says what memory one syncer takes of the process that has all.
func (m *measurement) weighSyncers(when string) error {
	now, err := measure.UsageOfSelf()
	if err != nil {
		return err
	}
	m.add("memory of a syncer, "+when, fmt.Sprintf("%.1f MiB resident, %.1f MiB live heap",
		float64(now.Resident-m.alone.Resident)/measure.MiB/float64(m.syncers), float64(measure.LiveHeap())/measure.MiB/float64(m.syncers)))
	return nil
}

// createWorkloads makes them as fast as kcp takes them.
func (m *measurement) createWorkloads(ctx context.Context) error {
	config, err := m.stack.KCP.RESTConfig(consumerWorkspace)
	if err != nil {
		return err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client for the user's workspace: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client for the user's workspace: %w", err)
	}
	m.available, m.settled, m.off = measure.NewTally(isAvailable), measure.NewTally(isSettled), measure.NewTally(isOff(clusterName(0)))
	if err := measure.Follow(ctx, objects, deploymentsResource, m.available, m.settled, m.off); err != nil {
		return err
	}
	if err := makePlacements(ctx, client, objects); err != nil {
		return err
	}
	if m.trail, err = m.auditFromNow(); err != nil {
		return err
	}
	start := time.Now()
	if m.began, err = makeWorkloads(ctx, client, m.workloads); err != nil {
		return err
	}
	m.add("all workloads created", measure.Seconds(time.Since(start)))
	return nil
}

// settle waits until each workload runs and kcp has no more to say about it. What has been found out by then is
// told in any case.
func (m *measurement) settle(ctx context.Context) error {
	err := m.awaitWorkloads(ctx)
	m.add(fmt.Sprintf("creation to available, of %d workloads", m.available.Done()), measure.Summary(m.available.Since(m.began)))
	m.add(fmt.Sprintf("creation to settled, of %d workloads", m.settled.Done()), measure.Summary(m.settled.Since(m.began)))
	m.ledger.Note(ctx, "CPU TO SETTLE")
	return errors.Join(err, m.trail.Read())
}

func (m *measurement) awaitWorkloads(ctx context.Context) error {
	first := measure.Earliest(m.began)
	last, err := m.available.Wait(ctx, m.console, "workloads are available", m.timeout, m.workloads)
	if err != nil {
		return err
	}
	m.add("all workloads available, from the first's creation", measure.Seconds(last.Sub(first)))
	if last, err = m.settled.Wait(ctx, m.console, "workloads are settled", m.timeout, m.workloads); err != nil {
		return err
	}
	m.add("all workloads settled, from the first's creation", measure.Seconds(last.Sub(first)))
	return nil
}

// listen waits for silence, and listens whether it lasts.
func (m *measurement) listen(ctx context.Context) error {
	settled := time.Now()
	err := framework.Eventually(ctx, "silence", m.timeout, func(context.Context) (bool, string, error) {
		err := m.trail.Read()
		since := time.Since(m.trail.LastWrite())
		return err == nil && since > quiet, fmt.Sprintf("written %s ago", measure.Seconds(since)), err
	})
	if err != nil {
		return err
	}
	m.add("last write, after the last workload was settled", measure.Seconds(max(0, m.trail.LastWrite().Sub(settled))))
	m.ledger.Note(ctx, "")
	idle, err := m.auditFromNow()
	if err != nil {
		return err
	}
	select {
	case <-time.After(listening): // silence has no condition
	case <-ctx.Done():
		return ctx.Err()
	}
	m.ledger.Note(ctx, fmt.Sprintf("CPU IN %s IDLE", listening))
	if err := idle.Read(); err != nil {
		return err
	}
	heartbeats, others := idle.Split()
	m.add(fmt.Sprintf("in %s idle", listening), fmt.Sprintf("%d heartbeats, %d other requests (expected 0)", heartbeats, len(others)))
	for _, r := range others[:min(len(others), mostShown)] {
		m.console.Sayf("   in an idle system: %s", r)
	}
	if heartbeats == 0 {
		return errors.New("the audit logs have not even the heartbeats")
	}
	return m.weighSyncers("all workloads")
}

// mostShown is how many requests are shown that should not be.
const mostShown = 20

// drain has everything leave the first cluster.
func (m *measurement) drain(ctx context.Context) error {
	there := m.workloads - m.off.Done()
	start := time.Now()
	if err := m.plugin(ctx, "drain", clusterName(0), "--timeout="+m.timeout.String()); err != nil {
		return err
	}
	m.add(fmt.Sprintf("drain of %s with %d workloads, until nothing was placed there", clusterName(0), there), measure.Seconds(time.Since(start)))
	if _, err := m.off.Wait(ctx, m.console, "workloads are elsewhere", m.timeout, m.workloads); err != nil {
		return err
	}
	last, err := m.settled.Wait(ctx, m.console, "workloads are settled", m.timeout, m.workloads)
	if err != nil {
		return err
	}
	m.add("drain, until all workloads were settled again", measure.Seconds(max(0, last.Sub(start))))
	m.ledger.Note(ctx, "CPU TO DRAIN")
	return nil
}
