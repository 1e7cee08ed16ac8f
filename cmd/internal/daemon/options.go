package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/kinds"
)

// Options are the flags that both daemons take.
type Options struct {
	// KCPKubeconfig is the kubeconfig file for kcp.
	KCPKubeconfig string
	// ProviderWorkspace is the path of the workspace that holds the APIExport.
	ProviderWorkspace string
	// Workers is how many objects each loop works on at a time.
	Workers int
	// BindAddress is the host:port of health, MetricsBindAddress that of metrics, empty when metrics are not served.
	BindAddress, MetricsBindAddress string
	// KindsFile is the file with the operator's kinds, empty without one.
	KindsFile string

	logs *logsapi.LoggingConfiguration
}

// NewOptions returns the defaults.
func NewOptions() *Options {
	return &Options{
		ProviderWorkspace: v1alpha1.DefaultProviderWorkspace,
		Workers:           10,
		// A kubelet asks for health from its node. Metrics are for those who are let in.
		BindAddress:        ":8080",
		MetricsBindAddress: "127.0.0.1:8081",
		logs:               logs.NewOptions(),
	}
}

// AddFlags adds the flags.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.KCPKubeconfig, "kcp-kubeconfig", o.KCPKubeconfig, "Kubeconfig file for kcp. Required.")
	flags.StringVar(&o.ProviderWorkspace, "provider-workspace", o.ProviderWorkspace, "Workspace that holds the APIExport "+v1alpha1.APIExportName+".")
	flags.IntVar(&o.Workers, "workers", o.Workers, "How many objects each loop works on at a time.")
	flags.StringVar(&o.BindAddress, "bind-address", o.BindAddress, "Address, host:port, of /healthz and /readyz.")
	flags.StringVar(&o.MetricsBindAddress, "metrics-bind-address", o.MetricsBindAddress, "Address, host:port, of /metrics, for everybody who reaches it. Empty: they are not served.")
	flags.StringVar(&o.KindsFile, "kinds-file", o.KindsFile, "File that says what there is to know of kinds that tmc does not know, such as custom resources (YAML, a list of entries). tmc-controller and all syncers should have the same.")
	logsapi.AddFlags(o.logs, flags)
}

// Validate returns all that is wrong with the flags, naming each.
func (o *Options) Validate() error {
	var errs []error
	if o.KCPKubeconfig == "" {
		errs = append(errs, errors.New("--kcp-kubeconfig is required: the kubeconfig file for kcp"))
	}
	if !logicalcluster.NewPath(o.ProviderWorkspace).IsValid() {
		errs = append(errs, fmt.Errorf("--provider-workspace: %q is not a workspace path such as %s", o.ProviderWorkspace, v1alpha1.DefaultProviderWorkspace))
	}
	if o.Workers < 1 {
		errs = append(errs, fmt.Errorf("--workers: %d, expected at least 1", o.Workers))
	}
	if _, _, err := net.SplitHostPort(o.BindAddress); err != nil {
		errs = append(errs, fmt.Errorf("--bind-address: %q is not host:port: %w", o.BindAddress, err))
	}
	if o.MetricsBindAddress != "" {
		if _, _, err := net.SplitHostPort(o.MetricsBindAddress); err != nil {
			errs = append(errs, fmt.Errorf("--metrics-bind-address: %q is not host:port: %w", o.MetricsBindAddress, err))
		}
	}
	return errors.Join(errs...)
}

// Kinds reads the operator's kinds.
func (o *Options) Kinds() (kinds.Kinds, error) { return ReadKinds(o.KindsFile) }

// ReadKinds reads the file of --kinds-file, and returns its kinds and the built-in ones; those alone when there is no file. It
// fails when the file cannot be read, or an entry is not valid.
func ReadKinds(file string) (kinds.Kinds, error) {
	if file == "" {
		return kinds.Kinds{}, nil
	}
	content, err := os.ReadFile(file) //nolint:gosec // the operator names it
	if err != nil {
		return kinds.Kinds{}, fmt.Errorf("--kinds-file: %w", err)
	}
	known, err := kinds.Parse(file, content)
	if err != nil {
		return kinds.Kinds{}, fmt.Errorf("--kinds-file: %w", err)
	}
	return known, nil
}

// KCPConfig reads the kubeconfig for kcp. It fails when the file cannot be read, and when the path of its server is no
// workspace's.
func (o *Options) KCPConfig(userAgent string) (*rest.Config, error) {
	config, err := kcp.LoadConfig(o.KCPKubeconfig, userAgent)
	if err != nil {
		return nil, fmt.Errorf("--kcp-kubeconfig: %w", err)
	}
	if _, _, err := kcp.SplitHost(config.Host); err != nil {
		return nil, fmt.Errorf("--kcp-kubeconfig: %w", err)
	}
	return config, nil
}
