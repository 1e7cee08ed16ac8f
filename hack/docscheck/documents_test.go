package docscheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// root is that of the repository.
const root = "../.."

// line is one of a document.
type line struct {
	document string
	number   int
	text     string
	// fence is the info string of the fenced block that the line is in, "" for prose. The fences themselves are in none.
	fence string
	// isFenced is set within fenced blocks, isFence for the lines that begin and end one.
	isFenced, isFence bool
}

// isTable reports whether the line is one of a table.
func (l line) isTable() bool { return strings.HasPrefix(strings.TrimSpace(l.text), "|") }

// documents returns the paths, from the root, of all documents.
func documents(t *testing.T) []string {
	t.Helper()
	all := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md"}
	found, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range found {
		all = append(all, "docs/"+filepath.Base(file))
	}
	return all
}

// read returns the lines of a document.
func read(t *testing.T, document string) []line {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, document))
	if err != nil {
		t.Fatal(err)
	}
	var lines []line
	fence, within := "", false
	for i, text := range strings.Split(string(content), "\n") {
		l := line{document: document, number: i + 1, text: text, fence: fence, isFenced: within}
		if marker, info, _ := strings.Cut(strings.TrimSpace(text), "```"); marker == "" && strings.HasPrefix(strings.TrimSpace(text), "```") {
			l.isFence, l.isFenced, l.fence = true, false, ""
			within = !within
			fence = ""
			if within {
				fence = strings.TrimSpace(info)
			}
		}
		lines = append(lines, l)
	}
	return lines
}

// prose returns the lines of all documents outside of fenced blocks.
func prose(t *testing.T) []line {
	t.Helper()
	var lines []line
	for _, document := range documents(t) {
		for _, l := range read(t, document) {
			if !l.isFenced && !l.isFence {
				lines = append(lines, l)
			}
		}
	}
	return lines
}

// links are those of Markdown: the text, and the target.
var links = regexp.MustCompile(`\[([^\]]*)\]\(([^)\s]+)\)`)

// spans are the inline code of a line.
var spans = regexp.MustCompile("`([^`]+)`")

// TestDocumentsWrap measures the lines of prose. Tables, generated text and the targets of links do not count.
func TestDocumentsWrap(t *testing.T) {
	const widest = 120
	for _, l := range prose(t) {
		text := links.ReplaceAllString(l.text, "[$1]")
		if !l.isTable() && utf8.RuneCountInString(text) > widest {
			t.Errorf("%s:%d has %d characters, expected at most %d", l.document, l.number, utf8.RuneCountInString(text), widest)
		}
	}
}

// TestReadmeIsShort keeps it to what somebody reads who does not know tmc yet.
func TestReadmeIsShort(t *testing.T) {
	const longest = 120
	if lines := len(read(t, "README.md")); lines > longest {
		t.Errorf("README.md has %d lines, expected at most %d: the rest belongs into docs/", lines, longest)
	}
}

// TestDocumentsLinkToWhatIsThere follows links to files and to headings.
func TestDocumentsLinkToWhatIsThere(t *testing.T) {
	for _, l := range prose(t) {
		for _, link := range links.FindAllStringSubmatch(l.text, -1) {
			target, anchor, _ := strings.Cut(link[2], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file := filepath.Join(filepath.Dir(l.document), target)
			if target == "" {
				file = l.document
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s:%d links to %s, which does not exist", l.document, l.number, link[2])
				continue
			}
			if anchor != "" && strings.HasSuffix(file, ".md") && !anchors(t, file)[anchor] {
				t.Errorf("%s:%d links to %s, and %s has no such heading", l.document, l.number, link[2], file)
			}
		}
	}
}

// anchors returns what the headings of a document can be linked to as, after GitHub's rule.
func anchors(t *testing.T, document string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, l := range read(t, document) {
		if l.isFenced || !strings.HasPrefix(l.text, "#") {
			continue
		}
		heading := strings.ToLower(strings.TrimSpace(strings.TrimLeft(l.text, "#")))
		heading = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(heading, "")
		all[strings.ReplaceAll(heading, " ", "-")] = true
	}
	return all
}

// TestDocumentsAreInTheIndex has every page found from docs/README.md.
func TestDocumentsAreInTheIndex(t *testing.T) {
	index, err := os.ReadFile(filepath.Join(root, "docs", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range documents(t) {
		page, isPage := strings.CutPrefix(document, "docs/")
		if isPage && page != "README.md" && !strings.Contains(string(index), "("+page+")") {
			t.Errorf("docs/README.md does not link to %s", page)
		}
	}
}

var (
	// quotedPath is a path of the repository as documents quote it.
	quotedPath = regexp.MustCompile(`^(pkg|cmd|hack|e2e|manifests|docs|\.ci)/[A-Za-z0-9._/-]*$`)
	// quotedFile is the name of a source file without its directory.
	quotedFile = regexp.MustCompile(`^[a-z0-9_]+\.go$`)
	// quotedIdentifier is one of a package of the repository, with or without a method or field.
	quotedIdentifier = regexp.MustCompile(`^([a-z0-9]+)\.([A-Za-z][A-Za-z0-9]*)((?:\.[A-Za-z][A-Za-z0-9]*)?)(?:\(\))?$`)
	// quotedTest is what documents call tests.
	quotedTest = regexp.MustCompile("^Test[A-Z][A-Za-z0-9]*$")
)

// TestDocumentsQuoteFilesThatExist looks for the paths and file names in inline code.
func TestDocumentsQuoteFilesThatExist(t *testing.T) {
	names := map[string]bool{}
	eachGoFile(t, func(path string) { names[filepath.Base(path)] = true })
	for _, l := range prose(t) {
		for _, span := range spans.FindAllStringSubmatch(l.text, -1) {
			quoted := span[1]
			switch {
			case quotedPath.MatchString(quoted):
				if _, err := os.Stat(filepath.Join(root, quoted)); err != nil {
					t.Errorf("%s:%d names %s, which does not exist", l.document, l.number, quoted)
				}
			case quotedFile.MatchString(quoted) && !names[quoted]:
				t.Errorf("%s:%d names the file %s, and there is none of that name", l.document, l.number, quoted)
			}
		}
	}
}

// TestDocumentsQuoteIdentifiersThatExist looks for `package.Identifier` in inline code.
func TestDocumentsQuoteIdentifiersThatExist(t *testing.T) {
	const fewest = 5 // or the form is not recognized any more
	declared, checked := declarations(t), 0
	for _, l := range prose(t) {
		for _, span := range spans.FindAllStringSubmatch(l.text, -1) {
			found := quotedIdentifier.FindStringSubmatch(span[1])
			if found == nil || declared[found[1]] == nil || quotedFile.MatchString(span[1]) || found[2] == "io" { // a domain
				continue
			}
			checked++
			if !declared[found[1]][found[2]] {
				t.Errorf("%s:%d names %s, and package %s declares no %s", l.document, l.number, span[1], found[1], found[2])
			}
			if member := strings.TrimPrefix(found[3], "."); member != "" && !declared[found[1]][found[2]+"."+member] {
				t.Errorf("%s:%d names %s, and %s has no method or field %s", l.document, l.number, span[1], found[2], member)
			}
		}
	}
	if checked < fewest {
		t.Errorf("the documents quote %d identifiers, expected at least %d", checked, fewest)
	}
}

// TestDocumentsQuoteTestsThatExist looks for the names of tests in inline code.
func TestDocumentsQuoteTestsThatExist(t *testing.T) {
	const fewest = 20 // or the form is not recognized any more
	declared, named := testNames(t), 0
	for _, l := range prose(t) {
		for _, span := range spans.FindAllStringSubmatch(l.text, -1) {
			if !quotedTest.MatchString(span[1]) || span[1] == "TestName" {
				continue
			}
			named++
			if !declared[span[1]] {
				t.Errorf("%s:%d names %s, and there is no such test", l.document, l.number, span[1])
			}
		}
	}
	if named < fewest {
		t.Errorf("the documents name %d tests, expected at least %d", named, fewest)
	}
}

// eachGoFile visits the repository's Go files, by their paths from here.
func eachGoFile(t *testing.T, visit func(path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "bin"):
			return filepath.SkipDir
		case !entry.IsDir() && strings.HasSuffix(path, ".go"):
			visit(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// parse returns the syntax of a file.
func parse(t *testing.T, path string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// testNames returns the names of all tests.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	eachGoFile(t, func(path string) {
		if !strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, declaration := range parse(t, path).Decls {
			if function, isFunction := declaration.(*ast.FuncDecl); isFunction && strings.HasPrefix(function.Name.Name, "Test") {
				names[function.Name.Name] = true
			}
		}
	})
	return names
}

// declarations returns what the packages of the repository declare: by package, the names, and those of methods and
// fields after the name of their type and a dot.
func declarations(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{}
	eachGoFile(t, func(path string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		file := parse(t, path)
		names := all[file.Name.Name]
		if names == nil {
			names = map[string]bool{}
			all[file.Name.Name] = names
		}
		for _, declaration := range file.Decls {
			declare(names, declaration)
		}
	})
	delete(all, "main")
	return all
}

func declare(names map[string]bool, declaration ast.Decl) {
	switch declaration := declaration.(type) {
	case *ast.FuncDecl:
		name := declaration.Name.Name
		if declaration.Recv != nil {
			name = receiver(declaration.Recv.List[0].Type) + "." + name
		}
		names[name] = true
	case *ast.GenDecl:
		for _, spec := range declaration.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				names[spec.Name.Name] = true
				declareMembers(names, spec)
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					names[name.Name] = true
				}
			}
		}
	}
}

func declareMembers(names map[string]bool, spec *ast.TypeSpec) {
	var fields *ast.FieldList
	switch of := spec.Type.(type) {
	case *ast.StructType:
		fields = of.Fields
	case *ast.InterfaceType:
		fields = of.Methods
	default:
		return
	}
	for _, field := range fields.List {
		for _, name := range field.Names {
			names[spec.Name.Name+"."+name.Name] = true
		}
	}
}

// receiver returns the name of the type that a method is of.
func receiver(expression ast.Expr) string {
	switch expression := expression.(type) {
	case *ast.StarExpr:
		return receiver(expression.X)
	case *ast.IndexExpr:
		return receiver(expression.X)
	case *ast.Ident:
		return expression.Name
	default:
		return ""
	}
}
