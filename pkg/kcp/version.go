package kcp

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/kcpversion"
)

// versionBackoff is how often kcp is asked for its version until it answers.
var versionBackoff = wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.2, Steps: 6, Cap: 30 * time.Second}

// WaitSupported asks the kcp of config for its version, by way of a workspace that the
// caller may use, until kcp answers. It returns an error of kcpversion when tmc does not
// work with that version, and nil when it does, or when ctx ends first.
func WaitSupported(ctx context.Context, config *rest.Config, workspace logicalcluster.Path) error {
	config, err := ForWorkspace(config, workspace)
	if err != nil {
		return err
	}
	config.Timeout = 30 * time.Second
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &endsWith{next, ctx} })
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("discovery client for %s: %w", config.Host, err)
	}
	var unsupported error
	said := ""
	_ = versionBackoff.DelayFunc().Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		info, err := client.ServerVersion()
		if err == nil {
			unsupported = kcpversion.Check(info.GitVersion)
			return true, nil
		}
		if err.Error() != said {
			said = err.Error()
			ExplainWatchError("version", config.Host)(ctx, nil, err)
		}
		return false, nil
	}) // fails when ctx ends, and with nothing else
	return unsupported
}
