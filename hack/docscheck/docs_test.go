package docscheck

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is that of the repository.
const root = "../.."

// testNames are what documents call tests.
var testNames = regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]*)`")

// declared finds the tests of a file.
var declared = regexp.MustCompile(`(?m)^func (Test[A-Z][A-Za-z0-9]*)\(`)

// testsOfTheRepository returns the names of all tests.
func testsOfTheRepository(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), "."):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		content, err := os.ReadFile(path)
		for _, found := range declared.FindAllStringSubmatch(string(content), -1) {
			names[found[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestTheTestsThatTheDocumentsNameExist reads what is claimed to hold, and to be tried.
func TestTheTestsThatTheDocumentsNameExist(t *testing.T) {
	const fewest = 20 // or the words are not found any more
	there, named := testsOfTheRepository(t), 0
	for _, document := range []string{"docs/security.md", "SECURITY.md", "README.md", "docs/design.md"} {
		content, err := os.ReadFile(filepath.Join(root, document))
		if err != nil {
			t.Fatal(err)
		}
		for number, line := range strings.Split(string(content), "\n") {
			for _, found := range testNames.FindAllStringSubmatch(line, -1) {
				named++
				if !there[found[1]] {
					t.Errorf("%s, line %d: there is no %s", document, number+1, found[1])
				}
			}
		}
	}
	if named < fewest {
		t.Errorf("the documents name %d tests, want at least %d", named, fewest)
	}
}

// table is one of a document: the cells of its heading, and of its rows.
type table struct {
	heading []string
	rows    [][]string
}

// tables returns those of a document.
func tables(t *testing.T, document string) []table {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, document))
	if err != nil {
		t.Fatal(err)
	}
	var all []table
	within := false
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch isRow := strings.HasPrefix(line, "|"); {
		case isRow && !within:
			all = append(all, table{heading: cells})
		case isRow && !strings.HasPrefix(line, "|---"):
			last := &all[len(all)-1]
			last.rows = append(last.rows, cells)
		}
		within = strings.HasPrefix(line, "|")
	}
	return all
}

// TestEveryRowThatSaysWhatHoldsNamesATest reads the tables whose last column is the test.
func TestEveryRowThatSaysWhatHoldsNamesATest(t *testing.T) {
	const fewest = 20
	checked := 0
	for _, one := range tables(t, "docs/security.md") {
		if one.heading[len(one.heading)-1] != "test" {
			continue
		}
		for _, row := range one.rows {
			checked++
			if len(row) != len(one.heading) || !testNames.MatchString(row[len(row)-1]) {
				t.Errorf("the row that begins with %q has %d columns, want %d, and a test in the last", row[0], len(row), len(one.heading))
			}
		}
	}
	if checked < fewest {
		t.Errorf("there are %d rows of what holds, want at least %d", checked, fewest)
	}
}

// TestTheBaseOfTheImageIsNamedByItsDigest reads the Dockerfile.
func TestTheBaseOfTheImageIsNamedByItsDigest(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	if base := regexp.MustCompile(`(?m)^ARG BASE=(.*)$`).FindStringSubmatch(string(content)); base == nil || !regexp.MustCompile(`@sha256:[0-9a-f]{64}$`).MatchString(base[1]) {
		t.Errorf("the base is %q, want it with a digest", base)
	}
}
