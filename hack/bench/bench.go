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

// rawLimits is the measurement that comes before any of tmc's programs runs.
const rawLimits = "raw"

// measurement is one thing that is measured.
type measurement struct {
	name string
	do   func(*bench, context.Context) ([]section, error)
}

// measurements are all there are, in the order in which they are made and shown. The raw limits come first: none of tmc's
// programs runs yet.
func measurements() []measurement {
	return []measurement{
		{rawLimits, (*bench).raw},
		{"latency", (*bench).latency},
		{"drift", (*bench).drift},
		{"writes", (*bench).writes},
		{"bulk", (*bench).makeBulk},
		{"rest", (*bench).rest},
	}
}

func measurementNames() []string {
	var names []string
	for _, m := range measurements() {
		names = append(names, m.name)
	}
	return names
}

// Headings of columns in several tables.
const (
	headWhat = "WHAT"
	headP50  = "p50"
	headP90  = "p90"
	headP99  = "p99"
)

// section is a part of what was found out: a table, and what there is to say about it.
type section struct {
	title, text string
	// picture goes with it, if there is one.
	picture *picture
	// rows are the table's, its header first.
	rows [][]string
}

// bench is one run.
type bench struct {
	options
	*stage

	console *measure.Console
	// limits are what the raw calls took, zero if they were not measured.
	limits      limits
	bulkFigures bulkFigures
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
	if err != nil || b.docs == "" {
		return err
	}
	// Of the whole run, for ctx has ended.
	return b.write(stopCtx, sections)
}

func (b *bench) measure(ctx context.Context) ([]section, error) {
	var sections []section
	if err := b.console.Step("Install tmc, let two clusters join, bind a workspace", func() error { return b.install(ctx) }); err != nil {
		return nil, err
	}
	for _, m := range measurements() {
		if !b.wants(m.name) {
			continue
		}
		if m.name != rawLimits && !b.isRunning() {
			if err := b.console.Step("Start tmc's programs", func() error { return b.begin(ctx) }); err != nil {
				return sections, err
			}
		}
		err := b.console.Step("Measure "+m.name, func() error {
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

func (b *bench) print(sections []section) {
	for _, s := range sections {
		b.console.Sayf("\n%s", s.title)
		b.console.Table(s.rows)
	}
}
