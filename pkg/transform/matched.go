package transform

import "path"

// Matched returns the first of the patterns that a namespace of the cluster matches,
// empty when it matches none. In a pattern, "*" stands for any number of characters
// (the schema of ClusterRegistrations lets no other special ones in).
func Matched(patterns []string, namespace string) (pattern string) {
	for _, pattern := range patterns {
		if matched, err := path.Match(pattern, namespace); err == nil && matched {
			return pattern
		}
	}
	return ""
}
