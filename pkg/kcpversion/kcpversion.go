package kcpversion

import (
	"errors"
	"fmt"
	"strings"

	utilversion "k8s.io/apimachinery/pkg/util/version"
)

// Oldest is the oldest kcp that tmc works with. Permission claims have default selectors
// from it on, and whoever uses a virtual workspace is no longer taken for an
// administrator of the consumer (https://github.com/kcp-dev/kcp/pull/3856).
var Oldest = utilversion.MajorMinor(0, 31)

var (
	// ErrTooOld is returned for a kcp that is older than Oldest.
	ErrTooOld = errors.New("kcp is too old")
	// ErrNotKCP is returned for a server that gives no version of kcp.
	ErrNotKCP = errors.New("the server gives no version of kcp")
)

// Check returns nil when tmc works with a server that gives gitVersion as its version in
// /version, such as v1.35.1+kcp-v0.31.2. Its errors are ErrTooOld and ErrNotKCP, and say
// what was found and what is expected. A build without tags says v0.0.0: it is taken for
// newer than any release.
func Check(gitVersion string) error {
	kubernetes, own, isKCP := strings.Cut(gitVersion, "+kcp-")
	if !isKCP {
		own = kubernetes // a build of kcp without any version says v0.0.0-master+…
	}
	version, err := utilversion.ParseGeneric(own)
	isUntagged := err == nil && version.Major() == 0 && version.Minor() == 0
	switch {
	case isUntagged:
		return nil
	case err != nil || !isKCP:
		return fmt.Errorf("%w: it says %q, expected something like v1.35.1+kcp-v%s.0", ErrNotKCP, gitVersion, Oldest)
	case version.LessThan(Oldest):
		return fmt.Errorf("%w: it is v%s (%s), and tmc needs v%s or newer: update kcp first", ErrTooOld, version, gitVersion, Oldest)
	default:
		return nil
	}
}
