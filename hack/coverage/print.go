package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// trees are what is counted as a whole.
var trees = []string{"pkg/", "cmd/"}

// total returns the sum of the packages below a directory.
func total(packages map[string]count, below string) count {
	var sum count
	for name, c := range packages {
		if strings.HasPrefix(name, below) {
			sum = sum.plus(c)
		}
	}
	return sum
}

// report writes a line for each package, and one for each tree.
func report(out io.Writer, packages map[string]count, isPure func(string) bool) {
	fmt.Fprintln(out, "coverage by the package's own tests, in percent of statements:")
	line := func(c count, name, remark string) {
		fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf("%6.1f %6d/%-6d %-26s %s", c.percent(), c.covered, c.statements, name, remark), " "))
	}
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		remark := ""
		if isPure(name) {
			remark = fmt.Sprintf("pure, at least %d", leastPure)
		}
		line(packages[name], name, remark)
	}
	for _, tree := range trees {
		remark := ""
		if tree == "pkg/" {
			remark = fmt.Sprintf("at least %d", leastWhole)
		}
		line(total(packages, tree), tree+" as a whole", remark)
	}
}

// shortfalls returns an error for each pure package, and for pkg/ as a whole, of which too little is covered.
func shortfalls(packages map[string]count, isPure func(string) bool) []error {
	var missing []error
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		if got := packages[name].percent(); isPure(name) && got < leastPure {
			missing = append(missing, fmt.Errorf("%s: %.1f %% of the statements are covered, expected at least %d", name, got, leastPure))
		}
	}
	if got := total(packages, "pkg/").percent(); got < leastWhole {
		missing = append(missing, fmt.Errorf("pkg/ as a whole: %.1f %% of the statements are covered, expected at least %d", got, leastWhole))
	}
	return missing
}
