package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const hostileText = "\x1b[31m€\u202e\u009bx\r"

func TestTerminal(t *testing.T) {
	t.Run("what is for people is escaped", func(t *testing.T) {
		var raw bytes.Buffer
		out := &terminal{Writer: &raw}
		fmt.Fprintf(out, "cluster %s: waiting\n\tä", hostileText)
		if got, want := raw.String(), "cluster "+`\x1b[31m€\u202e\x9bx\r`+": waiting\n\tä"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		raw.Reset()
		table := &metav1.Table{ColumnDefinitions: []metav1.TableColumnDefinition{{Name: "Name", Type: "string"}}, Rows: []metav1.TableRow{{Cells: []any{hostileText + "\nforged"}}}}
		if err := printTable(out, table); err != nil {
			t.Fatal(err)
		}
		if got := raw.String(); strings.ContainsAny(got, "\x1b\r\u202e\u009b") || strings.Contains(got, "forged") {
			t.Errorf("the table is %q", got)
		}
	})
	t.Run("a character that comes in pieces is not escaped", func(t *testing.T) {
		var raw bytes.Buffer
		out := &terminal{Writer: &raw}
		for _, b := range []byte("a€…\u202e𝄞b") {
			if n, err := out.Write([]byte{b}); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		if got, want := raw.String(), `a€…\u202e𝄞b`; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestOutputWrite(t *testing.T) {
	for _, how := range []output{asJSON, asYAML} {
		var raw, escaped bytes.Buffer
		value := map[string]string{"message": hostileText}
		err := errors.Join(how.write(&raw, value, nil), how.write(&terminal{Writer: &escaped}, value, nil))
		if err != nil || raw.String() != escaped.String() || raw.Len() == 0 {
			t.Errorf("%s: got %q, want %q (error: %v)", how, escaped.String(), raw.String(), err)
		}
	}
}
