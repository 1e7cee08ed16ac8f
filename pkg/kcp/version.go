package kcp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	utilversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/kcp-dev/logicalcluster/v3"
)

// OldestVersion is the oldest kcp that tmc works with. Permission claims have default
// selectors from it on, and whoever uses a virtual workspace is no longer taken for an
// administrator of the consumer (https://github.com/kcp-dev/kcp/pull/3856).
var OldestVersion = utilversion.MajorMinor(0, 31)

var (
	// ErrTooOld is returned for a kcp that is older than OldestVersion.
	ErrTooOld = errors.New("kcp is too old")
	// ErrNotKCP is returned for a server that gives no version of kcp.
	ErrNotKCP = errors.New("the server gives no version of kcp")
)

// CheckVersion returns nil when tmc works with a server that gives gitVersion as its
// version in /version, such as v1.35.1+kcp-v0.31.2. Its errors are ErrTooOld and
// ErrNotKCP, and say what was found and what is expected. A build without tags says
// v0.0.0: it is taken for newer than any release.
func CheckVersion(gitVersion string) error {
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
		return fmt.Errorf("%w: it says %q, expected something like v1.35.1+kcp-v%s.0", ErrNotKCP, gitVersion, OldestVersion)
	case version.LessThan(OldestVersion):
		return fmt.Errorf("%w: it is v%s (%s), and tmc needs v%s or newer: update kcp first", ErrTooOld, version, gitVersion, OldestVersion)
	default:
		return nil
	}
}

// versionBackoff is how often kcp is asked for its version until it answers.
var versionBackoff = wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.2, Steps: 6, Cap: 30 * time.Second}

// WaitSupported asks the kcp of config for its version, by way of a workspace that the
// caller may use, until kcp answers. It returns an error of CheckVersion when tmc does not
// work with that version, and nil when it does, or when ctx ends first.
func WaitSupported(ctx context.Context, config *rest.Config, workspace logicalcluster.Path) error {
	config, err := ForWorkspace(config, workspace)
	if err != nil {
		return err
	}
	config.Timeout = 30 * time.Second
	client, err := discovery.NewDiscoveryClientForConfig(EndingWith(ctx, config))
	if err != nil {
		return fmt.Errorf("discovery client for %s: %w", config.Host, err)
	}
	var unsupported error
	logged := ""
	_ = versionBackoff.DelayFunc().Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		info, err := client.ServerVersion()
		if err == nil {
			unsupported = CheckVersion(info.GitVersion)
			return true, nil
		}
		if err.Error() != logged {
			logged = err.Error()
			LogReadError(ctx, "version", config.Host, err)
		}
		return false, nil
	}) // fails when ctx ends, and with nothing else
	return unsupported
}
