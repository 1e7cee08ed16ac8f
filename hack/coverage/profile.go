package main

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// module is what the names of our packages begin with.
const module = "github.com/kcp-tmc/tmc/"

// count is how many statements there are, and how many of them tests ran.
type count struct{ statements, covered int }

// percent returns the covered part in percent, 100 where there are no statements.
func (c count) percent() float64 {
	if c.statements == 0 {
		return 100
	}
	return 100 * float64(c.covered) / float64(c.statements)
}

func (c count) plus(other count) count {
	return count{c.statements + other.statements, c.covered + other.covered}
}

// parseProfile returns the counts by package, such as pkg/placement, of a profile whose lines are
//
//	github.com/kcp-tmc/tmc/pkg/placement/decide.go:10.2,12.3 STATEMENTS TIMES
//
// (golang.org/x/tools/cover). A block that has several lines is one, and is covered when any of them says so.
func parseProfile(profile string) (map[string]count, error) {
	type block struct {
		count

		name string
	}
	blocks := map[string]block{}
	for number, line := range strings.Split(strings.TrimSpace(profile), "\n") {
		if strings.HasPrefix(line, "mode: ") {
			continue
		}
		fields := strings.Fields(line)
		file, _, hasPlace := strings.Cut(line, ":")
		if len(fields) != 3 || !hasPlace {
			return nil, fmt.Errorf("line %d: %q is not FILE:FROM,TO STATEMENTS TIMES", number+1, line)
		}
		statements, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("line %d: number of statements: %w", number+1, err)
		}
		if strings.HasPrefix(path.Base(file), "zz_generated") {
			continue
		}
		seen := blocks[fields[0]]
		if seen.statements = statements; fields[2] != "0" {
			seen.covered = statements
		}
		seen.name = strings.TrimPrefix(path.Dir(file), module)
		blocks[fields[0]] = seen
	}
	packages := map[string]count{}
	for _, b := range blocks {
		packages[b.name] = packages[b.name].plus(b.count)
	}
	return packages, nil
}
