package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kcp-tmc/tmc/hack/measure"
)

// stopTimeout bounds the stopping of it all.
const stopTimeout = 2 * time.Minute

// measurement is one thing that is measured.
type measurement struct {
	name string
	do   func(*bench, context.Context) ([]section, error)
}

// measurements are all there are, in the order in which they are made and shown.
func measurements() []measurement {
	return []measurement{
		{"latency", (*bench).latency},
		{"writes", (*bench).writes},
	}
}

func measurementNames() []string {
	var names []string
	for _, m := range measurements() {
		names = append(names, m.name)
	}
	return names
}

// section is a part of what was found out: a table, and what there is to say about it.
type section struct {
	title string
	// rows are the table's, its header first.
	rows [][]string
}

// bench is one run.
type bench struct {
	options
	*stage

	console *measure.Console
}

// run measures and prints what was found out, as far as it got.
func run(ctx context.Context, o options, out io.Writer) error {
	b := &bench{options: o, console: &measure.Console{W: out}}
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	var err error
	if b.stage, err = newStage(ctx, o, out, giveUp); err != nil {
		return err
	}
	sections, err := b.measure(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // what came of it is of no interest
	}
	if err != nil {
		err = fmt.Errorf("%w\nThe logs are kept in %s", err, b.stack.LogDir())
	}
	giveUp(nil) // kcp does not end while somebody watches
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err = errors.Join(err, b.stack.Stop(stopCtx))
	b.print(sections)
	return err
}

func (b *bench) measure(ctx context.Context) ([]section, error) {
	var sections []section
	if err := b.step("Install tmc, join the clusters, bind a workspace, start the programs", func() error { return b.install(ctx) }); err != nil {
		return nil, err
	}
	for _, m := range measurements() {
		if !b.wants(m.name) {
			continue
		}
		err := b.step("Measure "+m.name, func() error {
			found, err := m.do(b, ctx)
			sections = append(sections, found...)
			return err
		})
		if err != nil {
			return sections, err
		}
	}
	return sections, nil
}

// step says what is done and how long it took.
func (b *bench) step(title string, do func() error) error {
	b.console.Sayf("== %s", title)
	start := time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	b.console.Sayf("   done after %s", measure.Seconds(time.Since(start)))
	return nil
}

func (b *bench) print(sections []section) {
	for _, s := range sections {
		b.console.Sayf("\n%s", s.title)
		b.console.Table(s.rows)
	}
}
