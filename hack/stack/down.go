package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

func newDownCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop the stack, or clean up after one that was killed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			start := time.Now()
			found, err := framework.Down(cmd.Context(), *dir)
			if err != nil {
				return err
			}
			took := time.Since(start).Round(100 * time.Millisecond)
			text := fmt.Sprintf("stack in %s: stopped after %s, the logs stay", *dir, took)
			if !found {
				text = fmt.Sprintf("stack in %s: nothing is running", *dir)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		},
	}
}

func newStatusCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "List the processes of the stack",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			processes, err := framework.Status(*dir)
			if err != nil {
				return err
			}
			if len(processes) == 0 {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "stack in %s: nothing is running\n", *dir)
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, p := range processes {
				pid := "-"
				if p.PID != 0 {
					pid = fmt.Sprint(p.PID)
				}
				if _, err := fmt.Fprintf(table, "%s\t%s\t%s\n", p.Name, p.State, pid); err != nil {
					return err
				}
			}
			return table.Flush()
		},
	}
}
