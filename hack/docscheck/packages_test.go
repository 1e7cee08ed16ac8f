package docscheck

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the path that imports of the repository begin with.
const module = "github.com/kcp-tmc/tmc/"

// layers returns the layer of each package in the table of docs/design.md, the topmost first.
func layers(t *testing.T) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, one := range tables(t, "docs/design.md") {
		if one.heading[0] != "layer" {
			continue
		}
		for i, row := range one.rows {
			for _, span := range spans.FindAllStringSubmatch(row[1], -1) {
				all[span[1]] = i
			}
		}
	}
	return all
}

// layerOf returns the layer of a package: that of the longest path in the table that it is at or below.
func layerOf(layers map[string]int, name string) (int, bool) {
	for at := name; at != "."; at = filepath.Dir(at) {
		if layer, ok := layers[at]; ok {
			return layer, true
		}
	}
	return 0, false
}

// TestDesignHasEveryPackage has each package in a section of docs/design.md, and in its picture.
func TestDesignHasEveryPackage(t *testing.T) {
	picture, err := os.ReadFile(filepath.Join(root, "docs", "packages.svg"))
	if err != nil {
		t.Fatal(err)
	}
	design, err := os.ReadFile(filepath.Join(root, "docs", "design.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, directory := range packages(t) {
		name := relative(t, directory)
		if strings.HasPrefix(name, "pkg/apis/") {
			name = "pkg/apis"
		}
		if !hasSection(string(design), name) {
			t.Errorf("docs/design.md has no section on %s", name)
		}
		if !strings.Contains(string(picture), ">"+filepath.Base(name)+"<") {
			t.Errorf("docs/packages.svg does not show %s", name)
		}
	}
}

// TestDesignLayersHold has each package in a layer of the table, and none import one of a layer above its own.
func TestDesignLayersHold(t *testing.T) {
	layers := layers(t)
	for _, directory := range packages(t) {
		name := relative(t, directory)
		layer, ok := layerOf(layers, name)
		if !ok {
			t.Errorf("%s is in no layer of the table in docs/design.md", name)
			continue
		}
		for _, imported := range imports(t, directory) {
			if other, ok := layerOf(layers, imported); ok && other < layer {
				t.Errorf("%s imports %s, which is in a layer above it in docs/design.md", name, imported)
			}
		}
	}
	for name := range layers {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("docs/design.md has the package %s in a layer, which does not exist", name)
		}
	}
}

// relative returns the path of a directory from the root.
func relative(t *testing.T, directory string) string {
	t.Helper()
	name, err := filepath.Rel(root, directory)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// hasSection reports whether a heading of the document names the package.
func hasSection(document, name string) bool {
	for line := range strings.Lines(document) {
		if strings.HasPrefix(line, "#") && slices.Contains(strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune("# ,\n", r) }), name) {
			return true
		}
	}
	return false
}

// imports returns the packages of the repository that a directory's sources import, by their paths from the root.
func imports(t *testing.T, directory string) []string {
	t.Helper()
	var all []string
	for _, path := range sources(t, directory) {
		for _, spec := range parse(t, path).Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if name, ours := strings.CutPrefix(imported, module); ours {
				all = append(all, name)
			}
		}
	}
	return all
}
