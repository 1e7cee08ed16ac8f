package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"
)

// output is how results are printed.
type output string

// The ways that there are.
const (
	forPeople output = ""
	asJSON    output = "json"
	asYAML    output = "yaml"
)

// addFlag adds the flag that chooses.
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

// toYAML encodes a value. YAML takes no control characters, of which JSON writes some as they
// are: in a text of somebody else there may be any.
func toYAML(value any) ([]byte, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var safe strings.Builder
	for _, r := range string(data) { // what is not ASCII is inside of texts
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
