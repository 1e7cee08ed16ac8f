package protocol

import (
	"slices"
	"strings"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// SameButReports reports whether two states of an object say the same, reports aside: most changes are reports.
func (o Object) SameButReports(other Object) bool {
	isReport := func(key string) bool { return strings.HasPrefix(key, v1alpha1.StatusAnnotationPrefix) }
	return o.IsDeleting() == other.IsDeleting() && slices.Equal(o.object.GetFinalizers(), other.object.GetFinalizers()) &&
		o.labels.same(other.labels, isReport) && o.annotations.same(other.annotations, isReport)
}

// same reports whether both have the same entries, those aside whose keys do not count.
func (p pairs) same(other pairs, doesNotCount func(key string) bool) bool {
	for _, one := range [][2]pairs{{p, other}, {other, p}} {
		for key, value := range one[0].all() {
			if otherValue, found := one[1].get(key); (!found || otherValue != value) && !doesNotCount(key) {
				return false
			}
		}
	}
	return true
}
