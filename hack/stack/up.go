package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// stopTimeout bounds the stopping of the stack after Ctrl-C.
const stopTimeout = time.Minute

// upOptions are the flags of up.
type upOptions struct {
	dir      string
	clusters []string
	nodes    int
	tools    string
	kcp      string
	detach   bool
	// detached is set by up --detach for the process that it leaves behind.
	detached bool
}

func newUpCommand(dir *string) *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the stack and run it until Ctrl-C",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.dir = *dir
			if err := o.validate(); err != nil {
				return err
			}
			switch {
			case o.detach:
				return detach(cmd.Context(), o, cmd.OutOrStdout())
			case o.detached:
				return runDetached(cmd.Context(), o, cmd.OutOrStdout())
			default:
				return run(cmd.Context(), o, cmd.OutOrStdout(), waitForInterrupt)
			}
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.clusters, "clusters", []string{"east", "west"}, "names of the physical clusters")
	flags.IntVar(&o.nodes, "nodes", 3, "number of nodes of each cluster")
	flags.StringVar(&o.tools, "tools-dir", "", "directory of the binaries (default $"+framework.ToolsDirEnv+" or bin/tools)")
	flags.StringVar(&o.kcp, "kcp-binary", "", "kcp to run (default $"+framework.KCPBinaryEnv+" or the one of the tools)")
	flags.BoolVar(&o.detach, "detach", false, "return when the stack is ready and leave it running; down stops it")
	flags.BoolVar(&o.detached, "detached", false, "")
	_ = flags.MarkHidden("detached") // it exists: the line before has made it
	return cmd
}

func (o upOptions) validate() error {
	if o.nodes < 1 {
		return fmt.Errorf("--nodes must be at least 1, not %d", o.nodes)
	}
	for _, name := range o.clusters {
		if err := framework.ValidateClusterName(name); err != nil {
			return fmt.Errorf("--clusters: %w", err)
		}
	}
	return nil
}

// args returns the flags for another up of the same stack.
func (o upOptions) args() []string {
	return []string{
		"up",
		"--dir=" + o.dir,
		"--clusters=" + strings.Join(o.clusters, ","),
		fmt.Sprintf("--nodes=%d", o.nodes),
		"--tools-dir=" + o.tools,
		"--kcp-binary=" + o.kcp,
	}
}

// run starts the stack, calls use with it, and stops it when use returns.
func run(ctx context.Context, o upOptions, out io.Writer, use func(ctx context.Context, out io.Writer)) error {
	start := time.Now()
	stack, err := framework.Start(ctx, framework.Options{
		Dir:       o.dir,
		Clusters:  o.clusters,
		Nodes:     o.nodes,
		Progress:  out,
		ToolsDir:  o.tools,
		KCPBinary: o.kcp,
	})
	if err != nil {
		return err
	}
	err = printReady(out, stack, o.clusters, time.Since(start))
	if err == nil {
		use(ctx, out)
	}
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return errors.Join(err, stack.Stop(stopCtx))
}

// printReady says how to use the stack.
func printReady(out io.Writer, stack *framework.Stack, clusters []string, took time.Duration) error {
	root, err := stack.KCP.Kubeconfig("root")
	if err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "stack: ready after %s, logs in %s\n\n", took.Round(100*time.Millisecond), stack.LogDir())
	fmt.Fprintf(&text, "export KUBECONFIG=%s  # kcp, workspace root\n", root)
	for _, name := range clusters {
		cluster, err := stack.Cluster(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "export KUBECONFIG=%s  # cluster %s\n", cluster.Kubeconfig(), name)
	}
	_, err = fmt.Fprintln(out, text.String())
	return err
}

func waitForInterrupt(ctx context.Context, out io.Writer) {
	// Nobody reading is no reason to stop.
	_, _ = fmt.Fprintln(out, "running; Ctrl-C stops everything")
	<-ctx.Done()
}
