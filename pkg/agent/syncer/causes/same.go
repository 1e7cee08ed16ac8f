package causes

import (
	"regexp"
	"slices"
	"strings"

	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// freeReasons are those of causes whose words are a program's: they change while the cause stays the same. What such a cause is
// about is before the separator. Those of bareReasons are about nothing but the pod.
var (
	freeReasons = slices.Concat(startReasons, volumeReasons, []string{
		reasonCrashLoop, reasonOOM, reasonError, reasonUnhealthy, reasonCreate, completed, "PostStartHookError", "ProvisioningFailed",
	})
	bareReasons = slices.Concat(sandboxReasons, nodeReasons, []string{reasonTerminating, "Evicted", "NodeLost", "Terminated"})
)

// churning is what changes in words while they say the same: numbers, identifiers, and what a text was shortened to.
var churning = regexp.MustCompile(`\b[0-9a-f]{8,}\b|\d+|…`)

// identity is what makes a cause the one that it is.
func identity(c protocol.Cause) string {
	head, words, _ := strings.Cut(c.Message, separator)
	switch {
	case slices.Contains(bareReasons, c.Reason):
		return c.Reason
	case slices.Contains(freeReasons, c.Reason):
		return c.Reason + "\n" + head
	case c.Reason == reasonImage:
		return c.Reason + "\n" + head + "\n" + pullClass(words)
	default:
		return c.Reason + "\n" + churning.ReplaceAllString(c.Message, "#")
	}
}

// Same reports whether two lists of causes, as reports have them, say the same: only words churn. Messages may have been shortened.
func Same(reported, found []protocol.Cause) bool {
	return slices.EqualFunc(reported, found, func(a, b protocol.Cause) bool { return a.Count == b.Count && isSame(a, b) })
}

// isSame reports whether two causes are the same one, of however many pods.
func isSame(a, b protocol.Cause) bool {
	if a.Reason != b.Reason {
		return false
	}
	if a.Reason == reasonImage { // a kubelet that waits may not say any more what the registry has said
		before, words, _ := strings.Cut(a.Message, separator)
		now, others, _ := strings.Cut(b.Message, separator)
		return before == now && (words == "" || others == "" || pullClass(words) == pullClass(others))
	}
	x, y := identity(a), identity(b)
	if strings.HasSuffix(a.Message, "…") || strings.HasSuffix(b.Message, "…") {
		shorter := min(len(strings.TrimSuffix(x, "#")), len(strings.TrimSuffix(y, "#")))
		return x[:shorter] == y[:shorter]
	}
	return x == y
}

// Kept returns what was found, with the words that were reported of the same cause where there are none now.
func Kept(reported, found []protocol.Cause) []protocol.Cause {
	kept := slices.Clone(found)
	for i, c := range kept {
		if strings.Contains(c.Message, separator) {
			continue
		}
		at := slices.IndexFunc(reported, func(r protocol.Cause) bool { return isSame(r, c) })
		if at >= 0 && strings.HasPrefix(reported[at].Message, c.Message) {
			kept[i].Message = reported[at].Message
		}
	}
	return protocol.BoundedCauses(kept)
}
