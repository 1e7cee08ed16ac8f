package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"

	"github.com/kcp-tmc/tmc/pkg/cli/view"
)

// output is how results are printed.
type output string

// The values of the flag.
const (
	forPeople output = ""
	asJSON    output = "json"
	asYAML    output = "yaml"
)

// addFlag adds the flag to a command.
func (o *output) addFlag(command *cobra.Command) {
	command.Flags().StringVarP((*string)(o), "output", "o", "", "How to print, if not for people: json or yaml")
}

// validate checks the flag.
func (o *output) validate() error {
	switch *o {
	case forPeople, asJSON, asYAML:
		return nil
	default:
		return fmt.Errorf("--output: %q is not known; expected json or yaml", string(*o))
	}
}

// write prints a value for programs; for people it calls people.
func (o *output) write(out io.Writer, value any, people func() error) error {
	var data []byte
	var err error
	switch *o {
	case forPeople:
		return people()
	case asYAML:
		data, err = toYAML(value)
	default:
		data, err = json.MarshalIndent(value, "", "  ")
		data = append(data, '\n')
	}
	if err != nil {
		return fmt.Errorf("printing as %s: %w", *o, err)
	}
	_, err = forPrograms(out).Write(data)
	return err
}

// toYAML encodes a value. It escapes control characters, which JSON allows in part and YAML does not: a text that
// somebody else has written may contain any.
func toYAML(value any) ([]byte, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var safe strings.Builder
	for _, r := range string(data) { // in JSON, all but ASCII is inside of texts
		if unicode.IsControl(r) || r == '\ufffe' || r == '\uffff' {
			fmt.Fprintf(&safe, `\u%04x`, r)
			continue
		}
		safe.WriteRune(r)
	}
	return yaml.JSONToYAML([]byte(safe.String()))
}

// printTable prints a table as kubectl does.
func printTable(out io.Writer, table *metav1.Table) error {
	return printers.NewTablePrinter(printers.PrintOptions{}).PrintObj(table, out)
}

// terminal is where all commands print what is for people. It escapes what clusters and tenants have written. What is
// for programs goes to the writer behind it.
type terminal struct {
	io.Writer

	// begun is the beginning of a character that the next write ends.
	begun []byte
}

// Write implements io.Writer.
func (t *terminal) Write(data []byte) (int, error) {
	text := slices.Concat(t.begun, data)
	end := len(text)
	for back := 1; back < utf8.UTFMax && back <= len(text); back++ {
		if start := len(text) - back; utf8.RuneStart(text[start]) {
			if !utf8.FullRune(text[start:]) {
				end = start
			}
			break
		}
	}
	t.begun = slices.Clone(text[end:])
	if _, err := io.WriteString(t.Writer, view.Escape(string(text[:end]))); err != nil {
		return 0, err
	}
	return len(data), nil
}

// forPrograms returns the writer behind a terminal.
func forPrograms(out io.Writer) io.Writer {
	if t, ok := out.(*terminal); ok {
		return t.Writer
	}
	return out
}
