package docscheck

import (
	"reflect"
	"strings"
	"testing"

	"github.com/kcp-tmc/tmc/pkg/kinds"
)

// TestKindsPageHasEveryField compares the table of fields in docs/kinds.md with those that an entry has.
func TestKindsPageHasEveryField(t *testing.T) {
	documented := map[string]bool{}
	for _, one := range tables(t, "docs/kinds.md") {
		if one.heading[0] != "field" {
			continue
		}
		for _, row := range one.rows {
			for _, span := range spans.FindAllStringSubmatch(row[0], -1) {
				documented[span[1]] = true
			}
		}
	}
	declared := map[string]string{}
	entry := reflect.TypeFor[kinds.Kind]()
	for field := range entry.Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			declared[name] = "kinds.Kind." + field.Name
		}
	}
	for name, where := range declared {
		if !documented[name] {
			t.Errorf("docs/kinds.md does not have the field %s (%s)", name, where)
		}
	}
	for name := range documented {
		if declared[name] == "" {
			t.Errorf("docs/kinds.md has the field %s, which entries do not have", name)
		}
	}
}
