package framework

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// RunCommand runs a command until it is done, or until Ctrl-C or SIGTERM ends its context, and ends the process with code 1
// after an error, which it prints with ErrorPrefix. A second Ctrl-C ends the process at once; the reaper of a stack then
// does the cleaning.
func RunCommand(cmd *cobra.Command) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, ErrorPrefix+err.Error())
		os.Exit(1)
	}
}
