package docscheck

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// update has Generated write the documents. `make generate` sets it.
var update = flag.Bool("update-docs", false, "write the generated tables of the documents anew")

// FlagTable returns a Markdown table of the flags of a set, sorted by name, without those that skip names and without
// hidden ones. The set's defaults and usages are quoted as they are.
func FlagTable(flags *pflag.FlagSet, skip func(name string) bool) string {
	var table strings.Builder
	table.WriteString("| flag | default | what it does |\n|---|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || f.Name == "version" || skip(f.Name) {
			return
		}
		name, usage := pflag.UnquoteUsage(f)
		option := "--" + f.Name
		if f.Shorthand != "" {
			option = "-" + f.Shorthand + ", " + option
		}
		if name != "" && f.NoOptDefVal == "" {
			option += " " + strings.TrimSuffix(name, "[=true|false]")
		}
		byDefault := f.DefValue
		if byDefault == "[]" {
			byDefault = ""
		}
		if byDefault != "" {
			byDefault = code(byDefault)
		}
		table.WriteString("| " + code(option) + " | " + byDefault + " | " + cell(usage) + " |\n")
	})
	return table.String()
}

func code(text string) string { return "`" + cell(text) + "`" }

// cell makes one line of a text, as a cell of a table has to be.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}

// Generated fails the test unless the document, a path from the root of the repository, has the text between the lines
// `<!-- generated: NAME -->` and `<!-- end -->`. With -update-docs it writes the text there.
func Generated(t testing.TB, root, document, name, text string) {
	t.Helper()
	file := filepath.Join(root, document)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- generated: "+name+" -->\n", "<!-- end -->\n"
	before, rest, found := strings.Cut(string(content), begin)
	present, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no lines %q and %q", document, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	text = "\n" + text + "\n"
	switch {
	case present == text:
	case *update:
		if err := os.WriteFile(file, []byte(before+begin+text+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s: the text at %q is not what the code says. `make generate` writes it, or `go test -p 1 -run TestReference ./cmd/tmc-controller ./cmd/tmc-syncer ./cmd/kubectl-tmc -update-docs`. %s",
			document, name, firstDifference(present, text))
	}
}

// firstDifference says where two texts differ first.
func firstDifference(present, expected string) string {
	has, wants := strings.Split(present, "\n"), strings.Split(expected, "\n")
	for i := range min(len(has), len(wants)) {
		if has[i] != wants[i] {
			return "It has\n\t" + has[i] + "\nand should have\n\t" + wants[i]
		}
	}
	return "One is the beginning of the other."
}
