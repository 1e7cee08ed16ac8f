package main

import (
	"fmt"
	"path"
	"strings"

	"sigs.k8s.io/yaml"
)

// linterConfig is the part of golangci-lint's configuration that says which files are pure.
type linterConfig struct {
	Linters struct {
		Settings struct {
			Depguard struct {
				Rules map[string]struct {
					Files []string `json:"files"`
				} `json:"rules"`
			} `json:"depguard"`
		} `json:"settings"`
	} `json:"linters"`
}

// purePatterns returns the patterns of the pure packages: pkg/placement, or pkg/apis/** for all below pkg/apis.
func purePatterns(config []byte) ([]string, error) {
	var parsed linterConfig
	if err := yaml.Unmarshal(config, &parsed); err != nil {
		return nil, err
	}
	var patterns []string
	for _, name := range pureRules {
		rule, ok := parsed.Linters.Settings.Depguard.Rules[name]
		if !ok {
			return nil, fmt.Errorf("depguard has no rule %q, which names pure packages", name)
		}
		for _, file := range rule.Files {
			if !strings.HasPrefix(file, "!") && file != "$test" {
				patterns = append(patterns, path.Dir(strings.TrimPrefix(file, "**/")))
			}
		}
	}
	return patterns, nil
}

// matchesAny reports whether a package is that of a pattern.
func matchesAny(patterns []string, name string) bool {
	for _, pattern := range patterns {
		below, isTree := strings.CutSuffix(pattern, "/**")
		if name == pattern || isTree && (name == below || strings.HasPrefix(name, below+"/")) {
			return true
		}
	}
	return false
}
