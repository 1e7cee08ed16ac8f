package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// The least that is asked for, in percent of statements.
const (
	leastPure  = 95 // of each pure package
	leastWhole = 80 // of pkg/ as a whole
)

// pureRules are the rules of depguard, in the linter's configuration, whose files are the pure packages.
var pureRules = []string{"pure", "evaluate", "bootstrap", "repair", "view"}

func main() {
	profile := flag.String("profile", "", "the file that `go test -coverprofile` wrote")
	linter := flag.String("linter", ".golangci.yml", "the linter's configuration, which lists the pure packages")
	gate := flag.Bool("gate", false, "fail where less is covered than is asked for")
	flag.Parse()
	if err := run(os.Stdout, *profile, *linter, *gate); err != nil {
		fmt.Fprintln(os.Stderr, "coverage:", err)
		os.Exit(1)
	}
}

// run prints the coverage, and returns an error when a file cannot be read or, with gate, too little is covered.
func run(out io.Writer, profileFile, linterFile string, gate bool) error {
	profile, err := os.ReadFile(profileFile)
	if err != nil {
		return err
	}
	packages, err := parseProfile(string(profile))
	if err != nil {
		return fmt.Errorf("%s: %w", profileFile, err)
	}
	config, err := os.ReadFile(linterFile)
	if err != nil {
		return err
	}
	patterns, err := purePatterns(config)
	if err != nil {
		return fmt.Errorf("%s: %w", linterFile, err)
	}
	isPure := func(name string) bool { return matchesAny(patterns, name) }
	report(out, packages, isPure)
	if missing := shortfalls(packages, isPure); gate && len(missing) > 0 {
		return errors.Join(missing...)
	}
	return nil
}
