package main

import (
	"fmt"
	"io"
	"time"

	"github.com/kcp-dev/logicalcluster/v3"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/cli/install"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// requestTimeout bounds one request if neither the kubeconfig nor a flag does.
const requestTimeout = 30 * time.Second

// clientOptions are the flags that every command which talks to kcp has.
type clientOptions struct {
	// loading and overrides are kubectl's flags that choose the kubeconfig and replace
	// parts of it.
	loading           *clientcmd.ClientConfigLoadingRules
	overrides         clientcmd.ConfigOverrides
	providerWorkspace string
	// out is for results, progress for what happens meanwhile.
	out, progress io.Writer
}

// scope says whether a command is about a namespace.
type scope bool

const (
	noNamespace  scope = false
	inANamespace scope = true
)

// newClientOptions returns the options with their defaults, and adds their flags to the
// command, which also says where to print.
func newClientOptions(command *cobra.Command, scope scope) *clientOptions {
	o := &clientOptions{
		loading:           clientcmd.NewDefaultClientConfigLoadingRules(),
		providerWorkspace: v1alpha1.DefaultProviderWorkspace,
	}
	flags := command.Flags()
	flags.StringVar(&o.loading.ExplicitPath, clientcmd.RecommendedConfigPathFlag, "", "Path to the kubeconfig file to use")
	names := clientcmd.RecommendedConfigOverrideFlags("")
	if scope == noNamespace {
		names.ContextOverrideFlags.Namespace = clientcmd.FlagInfo{}
	}
	clientcmd.BindOverrideFlags(&o.overrides, flags, names)
	flags.StringVar(&o.providerWorkspace, "provider-workspace", o.providerWorkspace, "Path of the workspace that holds tmc's APIExport")
	return o
}

// complete fills in what is known when the command runs.
func (o *clientOptions) complete(command *cobra.Command) {
	o.out, o.progress = &terminal{Writer: command.OutOrStdout()}, &terminal{Writer: command.ErrOrStderr()}
}

// loader reads the kubeconfig that the flags choose.
func (o *clientOptions) loader() clientcmd.ClientConfig {
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(o.loading, &o.overrides)
}

// restConfig returns the configuration of the workspace that the kubeconfig points at.
// It fails when there is no usable kubeconfig.
func (o *clientOptions) restConfig() (*rest.Config, error) {
	config, err := o.loader().ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, fmt.Errorf("there is no kubeconfig: set KUBECONFIG or --kubeconfig: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.WarningHandler = rest.NewWarningWriter(o.progress, rest.WarningWriterOptions{Deduplicate: true})
	return config, nil
}

// bounded returns a copy of config whose requests end, and that leaves it to the server
// to limit its clients.
func bounded(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.QPS = -1
	if config.Timeout == 0 {
		config.Timeout = requestTimeout
	}
	return config
}

// tenantType returns the path of the WorkspaceType whose workspaces have all clusters bound.
func (o *clientOptions) tenantType() string {
	return logicalcluster.NewPath(o.providerWorkspace).Join(v1alpha1.TenantWorkspaceType).String()
}

// providerConfig returns the configuration of the provider workspace.
func (o *clientOptions) providerConfig() (*rest.Config, error) {
	path := logicalcluster.NewPath(o.providerWorkspace)
	if !path.IsValid() {
		return nil, fmt.Errorf("--provider-workspace: %q is not the path of a workspace", o.providerWorkspace)
	}
	config, err := o.restConfig()
	if err != nil {
		return nil, err
	}
	return kcp.ForWorkspace(bounded(config), path)
}

// consumerConfig returns the configuration of the workspace that the kubeconfig points
// at, and fails when that is none.
func (o *clientOptions) consumerConfig() (*rest.Config, error) {
	config, err := o.restConfig()
	if err != nil {
		return nil, err
	}
	_, workspace, err := kcp.SplitHost(config.Host)
	if err != nil {
		return nil, err
	}
	if workspace.Empty() {
		return nil, fmt.Errorf("the kubeconfig's server %s points to no workspace: it should end in /clusters/<workspace>", config.Host)
	}
	return bounded(config), nil
}

// kcpOptions are the flags of the commands that install.
type kcpOptions struct {
	*clientOptions

	timeout time.Duration
}

// newKCPOptions returns the options with their defaults, and adds their flags to the
// command.
func newKCPOptions(command *cobra.Command) *kcpOptions {
	o := &kcpOptions{clientOptions: newClientOptions(command, noNamespace), timeout: install.DefaultTimeout}
	command.Flags().DurationVar(&o.timeout, "timeout", o.timeout, "How long to wait for each thing that kcp has to do")
	return o
}

// validate checks what no server has to be asked for.
func (o *kcpOptions) validate() error {
	if o.timeout <= 0 {
		return fmt.Errorf("--timeout must be more than 0, not %s", o.timeout)
	}
	return nil
}

// installOptions returns what the install package takes. It fails when there is no
// usable kubeconfig.
func (o *kcpOptions) installOptions() (install.Options, error) {
	config, err := o.restConfig()
	if err != nil {
		return install.Options{}, err
	}
	return install.Options{
		Config:            config,
		ProviderWorkspace: o.providerWorkspace,
		Timeout:           o.timeout,
		OnApplied:         func(result install.Result) { fmt.Fprintln(o.out, result) },
		OnWaiting:         func(message string) { fmt.Fprintln(o.progress, message) },
		OnNotice:          func(message string) { fmt.Fprintln(o.progress, "note:", message) },
	}, nil
}
