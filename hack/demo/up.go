package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const (
	// logName is the file in the directory that the process in the background logs to.
	logName = "demo.log"
	// hintsName is the file in the directory with what to try.
	hintsName = "try.txt"
	// stackProcess is what framework.Status calls the process that runs a stack.
	stackProcess = "stack"
)

// up sets everything up in a process of its own, which lives on, and says what to try.
func up(ctx context.Context, o options, out io.Writer) error {
	if err := o.requireBinaries(); err != nil {
		return err
	}
	c := &console{w: out}
	running, missing, err := findDemo(o.dir)
	switch {
	case err != nil:
		return err
	case running && len(missing) > 0:
		return fmt.Errorf("a demo is running in %s, without %s: it is still starting, or has lost them; `make demo-down` stops it",
			short(o.dir), strings.Join(missing, ", "))
	case running:
		c.sayf("The demo is running already.")
		return printHints(c, o.dir)
	}
	start := time.Now()
	_, err = framework.Detach(ctx, []string{"up", "--detached", "--dir=" + o.dir, "--bin-dir=" + o.binDir}, filepath.Join(o.dir, logName), out)
	if err != nil {
		return err
	}
	c.sayf("\nThe demo is ready after %s, and runs in the background.", seconds(time.Since(start)))
	return printHints(c, o.dir)
}

// findDemo reports whether a demo is running in a directory, and which of its processes are not.
func findDemo(dir string) (running bool, missing []string, err error) {
	processes, err := framework.Status(dir)
	if err != nil {
		return false, nil, err
	}
	missing = []string{controllerBinary}
	for _, name := range clusterNames() {
		missing = append(missing, syncerName(name))
	}
	for _, process := range processes {
		if process.State == "stopped" {
			missing = append(missing, process.Name)
			continue
		}
		running = running || process.Name == stackProcess
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == process.Name })
	}
	return running, missing, nil
}

// runDetached is the process in the background.
func runDetached(ctx context.Context, o options, out io.Writer) error {
	report := framework.NewReport(out)
	return onStage(ctx, o, report, func(watched context.Context, s *stage) error {
		if err := s.writeHints(); err != nil {
			return err
		}
		report.Ready()
		<-watched.Done()
		if ctx.Err() == nil {
			// Somebody tries what happens without one of the programs: the others stay.
			s.out.sayf("%v", context.Cause(watched))
		}
		<-ctx.Done()
		return nil
	})
}

// writeHints leaves word how to use the stage.
func (s *stage) writeHints() error {
	tools, err := framework.ToolsDir()
	if err != nil {
		return err
	}
	binDir, err := filepath.Abs(s.options.binDir)
	if err != nil {
		return fmt.Errorf("directory of the programs: %w", err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\nThe user's side, workspace %s in kcp:\n\n", "root:"+consumer)
	fmt.Fprintf(&text, "  export PATH=%s:%s:$PATH\n", tools, binDir)
	fmt.Fprintf(&text, "  export KUBECONFIG=%s\n", s.user.kubeconfig)
	for _, line := range []string{
		"create deployment nginx --image=nginx --replicas=2",
		"rollout status deployment/nginx",
		"get deployment nginx",
	} {
		fmt.Fprintf(&text, "  kubectl %s\n", line)
	}
	text.WriteString("\nWhat each cluster has made of it:\n\n")
	for _, at := range s.clusters {
		fmt.Fprintf(&text, "  kubectl --kubeconfig=%s get deployments,pods\n", at.kubeconfig)
	}
	text.WriteString("\nThen, in kcp again:\n\n")
	for _, line := range []string{
		"scale deployment/nginx --replicas=5",
		"annotate deployment/nginx " + v1alpha1.TargetClustersAnnotation + "=" + clusterNames()[0],
		"delete deployment/nginx",
	} {
		fmt.Fprintf(&text, "  kubectl %s\n", line)
	}
	fmt.Fprintf(&text, "\nThe logs are in %s. `make demo-down` stops everything.\n", s.stack.LogDir())
	if err := os.WriteFile(filepath.Join(s.stack.Dir(), hintsName), []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("write what to try: %w", err)
	}
	return nil
}

// printHints says what to try.
func printHints(c *console, dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, hintsName))
	if err != nil {
		return fmt.Errorf("read what to try: %w", err)
	}
	c.answer(string(text))
	return nil
}

// down stops what up has left running.
func down(ctx context.Context, dir string, out io.Writer) error {
	c := &console{w: out}
	start := time.Now()
	c.sayf("Stopping what runs in %s.", short(dir))
	found, err := framework.Down(ctx, dir)
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, hintsName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove what to try: %w", err)
	}
	if !found {
		c.sayf("Nothing was running.")
		return nil
	}
	c.sayf("Stopped after %s. The logs stay, in %s.", seconds(time.Since(start)), short(filepath.Join(dir, "logs")))
	return nil
}
