package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// detach starts the stack in a process of its own session, shows its progress, and returns when it is ready.
// When ctx ends before that, the stack is stopped.
func detach(ctx context.Context, o upOptions, out io.Writer) error {
	pid, err := framework.Detach(ctx, append(o.args(), "--detached"), filepath.Join(o.dir, "stack.log"), out)
	if err != nil {
		return fmt.Errorf("the stack did not start: %w", err)
	}
	_, err = fmt.Fprintf(out, "running in the background (process %d); `stack down` stops everything\n", pid)
	return err
}

// runDetached runs the stack and reports to the command that started it, until it is ready.
func runDetached(ctx context.Context, o upOptions, out io.Writer) error {
	report := framework.NewReport(out)
	return run(ctx, o, report, func(ctx context.Context, _ io.Writer) {
		report.Ready()
		<-ctx.Done()
	})
}
