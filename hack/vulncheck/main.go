package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// probeTimeout bounds how long the database may take to say that it is there.
const probeTimeout = 20 * time.Second

// foundCode is the exit code with which govulncheck says that it has found vulnerabilities
// which are called (golang.org/x/vuln, internal/scan/errors.go).
const foundCode = 3

// options are the flags.
type options struct {
	// database is the URL of a vulnerability database (https://go.dev/security/vuln/database#api).
	database string
	// tool is the path of govulncheck, timeout how long it may take.
	tool    string
	timeout time.Duration
	// packages are what it looks at.
	packages []string
}

func main() {
	o := options{}
	flag.StringVar(&o.database, "db", "https://vuln.go.dev", "URL of the vulnerability database")
	flag.StringVar(&o.tool, "tool", "bin/tools/govulncheck", "path of govulncheck")
	flag.DurationVar(&o.timeout, "timeout", 10*time.Minute, "how long govulncheck may take")
	flag.Parse()
	if o.packages = flag.Args(); len(o.packages) == 0 {
		o.packages = []string{"./..."}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vulncheck:", err)
		os.Exit(1)
	}
}

// run has the packages looked at if the database is there. It fails when a vulnerability is
// called, and when anything is wrong but that the database cannot be reached.
func run(ctx context.Context, o options, stdout, stderr io.Writer) error {
	unreachable, err := probe(ctx, &http.Client{Timeout: probeTimeout}, o.database)
	if err != nil {
		return err
	}
	if unreachable != "" {
		fmt.Fprintf(stdout, "vulncheck: nothing has been checked, for the vulnerability database %s cannot be reached: %s\n", o.database, unreachable)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	command := exec.CommandContext(ctx, o.tool, append([]string{"-db", o.database}, o.packages...)...)
	command.Stdout, command.Stderr = stdout, stderr
	err = command.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("govulncheck has not come to its end within %s: %w", o.timeout, context.Cause(ctx))
	case command.ProcessState != nil && command.ProcessState.ExitCode() == foundCode:
		return fmt.Errorf("vulnerabilities are called, see above: upgrade the modules that govulncheck names: %w", err)
	default:
		return fmt.Errorf("govulncheck %q: %w", o.tool, err)
	}
}
