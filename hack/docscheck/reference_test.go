package docscheck

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// reference is the document that has every key, condition, reason and metric.
const reference = "docs/reference.md"

// constants are the string constants of the packages below pkg/, by value: the names that have it, as package.Name, and
// their types, "string" where they have none of their own.
type constants map[string][]named

type named struct{ name, typeName string }

// packages returns the directories below pkg/ that have Go files, but for helpers of tests, whose names end in test.
func packages(t *testing.T) []string {
	t.Helper()
	found := map[string]bool{}
	eachGoFile(t, func(path string) {
		if strings.HasPrefix(path, filepath.Join(root, "pkg")) && !strings.HasSuffix(filepath.Dir(path), "test") {
			found[filepath.Dir(path)] = true
		}
	})
	var all []string
	for directory := range found {
		all = append(all, directory)
	}
	slices.Sort(all)
	return all
}

// noImports has type checking go on without what a package imports: constants need nothing of it.
type noImports struct{}

func (noImports) Import(path string) (*types.Package, error) {
	return types.NewPackage(path, filepath.Base(path)), nil
}

// stringConstants evaluates the constants of all packages below pkg/.
func stringConstants(t *testing.T) constants {
	t.Helper()
	all := constants{}
	for _, directory := range packages(t) {
		set := token.NewFileSet()
		var files []*ast.File
		for _, path := range sources(t, directory) {
			file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
		if len(files) == 0 {
			continue
		}
		config := types.Config{Importer: noImports{}, Error: func(error) {}, IgnoreFuncBodies: true}
		checked, _ := config.Check(directory, set, files, nil) // what it imports is not there, and not needed
		for _, name := range checked.Scope().Names() {
			c, isConstant := checked.Scope().Lookup(name).(*types.Const)
			if !isConstant || c.Val() == nil || c.Val().Kind() != constant.String {
				continue
			}
			typeName := "string"
			if of, isNamed := c.Type().(*types.Named); isNamed {
				typeName = of.Obj().Name()
			}
			value := constant.StringVal(c.Val())
			all[value] = append(all[value], named{checked.Name() + "." + name, typeName})
		}
	}
	return all
}

// sources returns the Go files of a directory that are no tests.
func sources(t *testing.T, directory string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(directory, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(found, func(path string) bool { return strings.HasSuffix(path, "_test.go") })
}

// documented returns the code in the first column of the tables below the heading of the reference, and fails the test
// for a row that has an empty cell.
func documented(t *testing.T, section string, pattern *regexp.Regexp) map[string]bool {
	t.Helper()
	words, found := map[string]bool{}, false
	for _, one := range tables(t, reference) {
		if one.section != section {
			continue
		}
		found = true
		for _, row := range one.rows {
			if len(row) != len(one.heading) || slices.Contains(row, "") {
				t.Errorf("%s, %q: the row of %s has %d columns, expected %d, none of them empty", reference, section, row[0], len(row), len(one.heading))
			}
			for _, span := range spans.FindAllStringSubmatch(row[0], -1) {
				if pattern.MatchString(span[1]) {
					words[span[1]] = true
				}
			}
		}
	}
	if !found {
		t.Fatalf("%s has no table below the heading %q", reference, section)
	}
	return words
}

// compare fails the test for whatever only one of the two has.
func compare(t *testing.T, what string, documented map[string]bool, declared map[string]string) {
	t.Helper()
	const fewest = 3 // or they are not recognized any more
	if len(declared) < fewest {
		t.Fatalf("%d are declared, expected at least %d", len(declared), fewest)
	}
	for word, where := range declared {
		if !documented[word] {
			t.Errorf("%s does not have the %s %s (%s)", reference, what, word, where)
		}
	}
	for word := range documented {
		if declared[word] == "" {
			t.Errorf("%s has the %s %s, which nothing declares", reference, what, word)
		}
	}
}

// key is a key of tmc's, or the beginning of one.
var key = regexp.MustCompile(`^([a-z]+\.)?tmc\.kcp\.io/([a-z-]+)?(<[a-z]+>)?$`)

// TestReferenceHasEveryKey compares the keys of labels, annotations, finalizers and taints with the constants.
func TestReferenceHasEveryKey(t *testing.T) {
	declared := map[string]string{}
	for value, names := range stringConstants(t) {
		if key.MatchString(value) {
			declared[value] = names[0].name
		}
	}
	inTables := map[string]bool{}
	for word := range documented(t, "Labels, annotations, finalizers and taints", key) {
		prefix, _, _ := strings.Cut(word, "<")
		inTables[prefix] = true
	}
	compare(t, "key", inTables, declared)
}

// word is what a reason or the type of a condition looks like.
var word = regexp.MustCompile(`^[A-Z][A-Za-z]+$`)

// TestReferenceHasEveryReason compares the reasons of conditions and events with the constants whose names or types say
// that they are reasons, and with the literals that are given as one.
func TestReferenceHasEveryReason(t *testing.T) {
	declared := map[string]string{}
	for value, names := range stringConstants(t) {
		for _, n := range names {
			if word.MatchString(value) && isReason(n) {
				declared[value] = n.name
			}
		}
	}
	for _, directory := range packages(t) {
		for _, path := range sources(t, directory) {
			for _, literal := range reasonLiterals(parse(t, path)) {
				declared[literal] = path
			}
		}
	}
	inTables := map[string]bool{}
	for _, section := range []string{"Condition Synced", "Conditions of workloads", "Conditions of ClusterRegistrations and WorkloadPlacements", "Events", "Causes"} {
		for found := range documented(t, section, word) {
			inTables[found] = true
		}
	}
	compare(t, "reason", inTables, declared)
}

// reasonTypes are the types of our own whose values are reasons of conditions.
var reasonTypes = []string{"LeftOut", "Belief"}

// isReason reports whether a constant is a reason: by its name, or by its type.
func isReason(n named) bool {
	_, name, _ := strings.Cut(n.name, ".")
	return strings.HasPrefix(strings.ToLower(name), "reason") || strings.HasSuffix(n.typeName, "Reason") || slices.Contains(reasonTypes, n.typeName)
}

// reasonLiterals returns the words that a file gives as a Reason without a constant.
func reasonLiterals(file *ast.File) []string {
	var literals []string
	ast.Inspect(file, func(node ast.Node) bool {
		for name, value := range assigned(node) {
			literal, isLiteral := value.(*ast.BasicLit)
			if !isLiteral || !strings.EqualFold(name, "reason") {
				continue
			}
			if text := strings.Trim(literal.Value, "`\""); word.MatchString(text) {
				literals = append(literals, text)
			}
		}
		return true
	})
	return literals
}

// assigned returns what a node gives to which variables or fields, by their names.
func assigned(node ast.Node) map[string]ast.Expr {
	values := map[string]ast.Expr{}
	switch node := node.(type) {
	case *ast.KeyValueExpr:
		values[nameOf(node.Key)] = node.Value
	case *ast.AssignStmt:
		for i, left := range node.Lhs {
			if i < len(node.Rhs) {
				values[nameOf(left)] = node.Rhs[i]
			}
		}
	}
	return values
}

// nameOf returns the name of a variable or field, empty for other expressions.
func nameOf(expression ast.Expr) string {
	switch expression := expression.(type) {
	case *ast.SelectorExpr:
		return expression.Sel.Name
	case *ast.Ident:
		return expression.Name
	default:
		return ""
	}
}

// TestReferenceHasEveryMetric compares the metrics of our own with the options that they are made of.
func TestReferenceHasEveryMetric(t *testing.T) {
	declared := map[string]string{}
	for _, directory := range packages(t) {
		for _, path := range sources(t, directory) {
			ast.Inspect(parse(t, path), func(node ast.Node) bool {
				if name := metricName(node); name != "" {
					declared[name] = path
				}
				return true
			})
		}
	}
	inTables := documented(t, "Metrics", regexp.MustCompile(`^tmc_[a-z_]+$`))
	for name, where := range declared {
		if !inTables[name] {
			t.Errorf("%s does not have the metric %s (%s)", reference, name, where)
		}
	}
	for name := range inTables {
		if declared[name] == "" {
			t.Errorf("%s has the metric %s, which nothing registers", reference, name)
		}
	}
	if len(declared) == 0 {
		t.Error("no metric is found in the sources")
	}
}

// TestReferenceHasEveryQueue compares the names of queues, which are labels of metrics, with those that are made.
func TestReferenceHasEveryQueue(t *testing.T) {
	declared := map[string]string{}
	for _, directory := range packages(t) {
		for _, path := range sources(t, directory) {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range regexp.MustCompile(`controller\.New(?:\[[^\]]*\])?\("([a-z]+)"`).FindAllStringSubmatch(string(content), -1) {
				declared[found[1]] = path
			}
		}
	}
	compare(t, "queue", documented(t, "Queues", regexp.MustCompile(`^[a-z]+$`)), declared)
}

// metricName returns the name of the metric that a literal of component-base's or Prometheus' options is for.
func metricName(node ast.Node) string {
	literal, isLiteral := node.(*ast.CompositeLit)
	if !isLiteral {
		return ""
	}
	of, isSelector := literal.Type.(*ast.SelectorExpr)
	if !isSelector || !strings.HasSuffix(of.Sel.Name, "Opts") {
		return ""
	}
	parts := map[string]string{}
	for _, element := range literal.Elts {
		field, isField := element.(*ast.KeyValueExpr)
		if !isField {
			continue
		}
		name, isName := field.Key.(*ast.Ident)
		value, isText := field.Value.(*ast.BasicLit)
		if isName && isText {
			parts[name.Name] = strings.Trim(value.Value, "\"`")
		}
	}
	if parts["Name"] == "" {
		return ""
	}
	all := []string{parts["Namespace"], parts["Subsystem"], parts["Name"]}
	return strings.Join(slices.DeleteFunc(all, func(part string) bool { return part == "" }), "_")
}

// TestTroubleshootingQuotesRealMessages has each block of output in troubleshooting.md contain the words of a message
// in the sources, at least minWords characters of them, apart from what the program fills in.
func TestTroubleshootingQuotesRealMessages(t *testing.T) {
	const document, minWords = "docs/troubleshooting.md", 14
	messages := messagePatterns(t, minWords)
	var block []line
	for _, l := range read(t, document) {
		switch {
		case l.isFenced && l.fence == "text":
			block = append(block, l)
		case len(block) > 0:
			var text strings.Builder
			for _, l := range block {
				text.WriteString(l.text + " ")
			}
			if output := strings.Join(strings.Fields(text.String()), " "); !slices.ContainsFunc(messages, func(m *regexp.Regexp) bool { return m.MatchString(output) }) {
				t.Errorf("%s:%d quotes what no program says: %s", document, block[0].number, output)
			}
			block = nil
		}
	}
}

// verbs are those of fmt.
var verbs = regexp.MustCompile(`%[-+# 0]*(\[\d+\])?[\d.]*[a-zA-Z]`)

// messagePatterns returns what the messages in the programs and in kcp's policies match: verbs stand for anything.
func messagePatterns(t *testing.T, fewest int) []*regexp.Regexp {
	t.Helper()
	all := policyMessages(t, fewest)
	eachGoFile(t, func(path string) {
		inPrograms := strings.HasPrefix(path, filepath.Join(root, "pkg")) || strings.HasPrefix(path, filepath.Join(root, "cmd"))
		if !inPrograms || strings.HasSuffix(path, "_test.go") {
			return
		}
		ast.Inspect(parse(t, path), func(node ast.Node) bool {
			if literal, isLiteral := node.(*ast.BasicLit); isLiteral && literal.Kind == token.STRING {
				text := constant.StringVal(constant.MakeFromLiteral(literal.Value, token.STRING, 0))
				if len(verbs.ReplaceAllString(text, "")) >= fewest {
					all = append(all, messagePattern(text))
				}
			}
			return true
		})
	})
	if len(all) == 0 {
		t.Fatal("no message is found in the sources")
	}
	return all
}

// messagePattern returns what a format matches, with one blank for any.
func messagePattern(format string) *regexp.Regexp {
	fixed := verbs.Split(format, -1)
	for i, part := range fixed {
		fixed[i] = regexp.MustCompile(`\s+`).ReplaceAllString(regexp.QuoteMeta(part), " ")
	}
	return regexp.MustCompile(strings.TrimSpace(strings.Join(fixed, ".*?")))
}

// policyMessages returns what the texts in the expressions of kcp's policies match.
func policyMessages(t *testing.T, fewest int) []*regexp.Regexp {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "manifests", "kcp", "policies", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var all []*regexp.Regexp
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`'([^'\n]+)'`).FindAllStringSubmatch(string(content), -1) {
			if len(found[1]) >= fewest {
				all = append(all, regexp.MustCompile(regexp.QuoteMeta(strings.TrimSpace(found[1]))))
			}
		}
	}
	return all
}

// TestMakeTargetsExist looks for the targets of make that documents name.
func TestMakeTargetsExist(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`make ([a-z0-9-]+)")
	for _, l := range prose(t) {
		for _, found := range named.FindAllStringSubmatch(l.text, -1) {
			if !regexp.MustCompile(`(?m)^` + found[1] + `:`).Match(content) {
				t.Errorf("%s:%d names make %s, and there is no such target", l.document, l.number, found[1])
			}
		}
	}
}
