package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kcp-tmc/tmc/hack/docscheck"
)

// TestReferenceOfCommands compares the commands and flags in docs/reference.md with those that there are.
func TestReferenceOfCommands(t *testing.T) {
	commands := leaves(newCommand())
	common := commonFlags(commands)
	var text strings.Builder
	text.WriteString("Every command that talks to kcp has these flags:\n\n")
	text.WriteString(docscheck.FlagTable(common, func(string) bool { return false }))
	for _, command := range commands {
		text.WriteString("\n### " + command.CommandPath() + "\n\n" + command.Short + ".\n\nUsage: `" + command.UseLine() + "`\n")
		table := docscheck.FlagTable(command.LocalFlags(), func(name string) bool { return isTalking(command) && common.Lookup(name) != nil })
		if strings.Count(table, "\n") > 2 {
			text.WriteString("\n" + table)
		}
	}
	docscheck.Generated(t, "../..", "docs/reference.md", "flags of kubectl tmc", text.String())
}

// leaves returns the commands that do something, those of cobra left out.
func leaves(command *cobra.Command) []*cobra.Command {
	if !command.HasSubCommands() {
		return []*cobra.Command{command}
	}
	var all []*cobra.Command
	for _, sub := range command.Commands() {
		if sub.Name() != "help" && sub.Name() != "completion" {
			all = append(all, leaves(sub)...)
		}
	}
	return all
}

// isTalking reports whether a command talks to kcp.
func isTalking(command *cobra.Command) bool { return command.LocalFlags().Lookup("kubeconfig") != nil }

// commonFlags returns the flags that all commands have which talk to kcp.
func commonFlags(commands []*cobra.Command) *pflag.FlagSet {
	talking, seen := 0, map[string]int{}
	flags := map[string]*pflag.Flag{}
	for _, command := range commands {
		if !isTalking(command) {
			continue
		}
		talking++
		command.LocalFlags().VisitAll(func(f *pflag.Flag) {
			seen[f.Name]++
			flags[f.Name] = f
		})
	}
	common := pflag.NewFlagSet("common", pflag.ContinueOnError)
	for name, times := range seen {
		if times == talking {
			common.AddFlag(flags[name])
		}
	}
	return common
}
