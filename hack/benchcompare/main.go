package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the command at once
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	// baseline is the file that is compared with, input one with what "go test -bench" has printed.
	baseline, input string
	update          bool
	// time is -benchtime, count is -count.
	time  string
	count int
	// slower is by which factor the time of an operation may grow, beside that of the calibration.
	slower float64
}

func newCommand() *cobra.Command {
	o := options{baseline: "hack/benchcompare/baseline.txt", time: "200x", count: 3, slower: 2}
	cmd := &cobra.Command{
		Use: "benchcompare", Short: "Run the benchmarks of the hot functions, and compare them with the baseline", Args: cobra.NoArgs, SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), o, cmd.OutOrStdout()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.baseline, "baseline", o.baseline, "file of the baseline")
	flags.StringVar(&o.input, "input", "", "file with the output of \"go test -bench\", instead of running it")
	flags.BoolVar(&o.update, "update", false, "write a new baseline")
	flags.StringVar(&o.time, "benchtime", o.time, "how long to run each, as go test has it")
	flags.IntVar(&o.count, "count", o.count, "how often to run each; the best counts")
	flags.Float64Var(&o.slower, "slower", o.slower, "by which factor the time of an operation may grow, measured in that of the calibration; 0 for any")
	return cmd
}

func run(ctx context.Context, o options, out io.Writer) error {
	printed, err := o.output(ctx)
	if err != nil {
		return err
	}
	now, err := parse(printed)
	if err != nil {
		return err
	}
	if o.update {
		return os.WriteFile(o.baseline, []byte(now.encode()), 0o644)
	}
	content, err := os.ReadFile(o.baseline)
	if err != nil {
		return fmt.Errorf("the baseline: %w; --update writes one", err)
	}
	before, err := decode(string(content))
	if err != nil {
		return fmt.Errorf("%s: %w", o.baseline, err)
	}
	rows, dearer := compare(before, now, o.slower)
	printTable(out, rows)
	if dearer > 0 {
		return fmt.Errorf("%d operations have become dearer than the baseline allows; where that is meant, --update writes a new one", dearer)
	}
	return nil
}

// output returns what the benchmarks print.
func (o options) output(ctx context.Context) (string, error) {
	if o.input != "" {
		content, err := os.ReadFile(o.input)
		return string(content), err
	}
	command := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench=^BenchmarkHot$", "-benchmem", "-benchtime="+o.time,
		fmt.Sprintf("-count=%d", cmp.Or(o.count, 1)), "./hack/benchcompare")
	command.Stderr = os.Stderr
	printed, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("go test: %w\n%s", err, printed)
	}
	return string(printed), nil
}
