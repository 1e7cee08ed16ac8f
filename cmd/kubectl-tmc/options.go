package main

import (
	"context"
	"errors"
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

// clientOptions are the flags of every command that talks to kcp.
type clientOptions struct {
	// loading and overrides are kubectl's flags that choose the kubeconfig and replace parts of it.
	loading           *clientcmd.ClientConfigLoadingRules
	overrides         clientcmd.ConfigOverrides
	providerWorkspace string
	// kindsFile is the file with the operator's kinds, empty without one.
	kindsFile string
	// out is for results, progress for what happens meanwhile.
	out, progress io.Writer
}

// newClientOptions returns the options with their defaults, and adds their flags to the command. The flag --namespace is
// for commands that are about a namespace.
func newClientOptions(command *cobra.Command, hasNamespace bool) *clientOptions {
	o := &clientOptions{
		loading:           clientcmd.NewDefaultClientConfigLoadingRules(),
		providerWorkspace: v1alpha1.DefaultProviderWorkspace,
	}
	flags := command.Flags()
	flags.StringVar(&o.loading.ExplicitPath, clientcmd.RecommendedConfigPathFlag, "", "Path to the kubeconfig file to use")
	names := clientcmd.RecommendedConfigOverrideFlags("")
	if !hasNamespace {
		names.ContextOverrideFlags.Namespace = clientcmd.FlagInfo{}
	}
	clientcmd.BindOverrideFlags(&o.overrides, flags, names)
	if hasNamespace {
		flags.StringVar(&o.kindsFile, "kinds-file", "", "File that says what there is to know of custom resources: that of tmc-controller")
	}
	flags.StringVar(&o.providerWorkspace, "provider-workspace", o.providerWorkspace, "Path of the workspace that holds tmc's APIExport")
	return o
}

// runs has the command call run. The command says where to print.
func (o *clientOptions) runs(command *cobra.Command, run func(ctx context.Context, args []string) error) *cobra.Command {
	command.RunE = func(command *cobra.Command, args []string) error {
		o.out, o.progress = &terminal{Writer: command.OutOrStdout()}, &terminal{Writer: command.ErrOrStderr()}
		return run(command.Context(), args)
	}
	return command
}

// loader reads the kubeconfig that the flags choose.
func (o *clientOptions) loader() clientcmd.ClientConfig {
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(o.loading, &o.overrides)
}

// namespace returns the namespace that the flags or the kubeconfig choose.
func (o *clientOptions) namespace() (string, error) {
	namespace, _, err := o.loader().Namespace()
	if err != nil {
		return "", fmt.Errorf("reading the kubeconfig: %w", err)
	}
	return namespace, nil
}

// restConfig returns the configuration of the workspace that the kubeconfig points at. It fails when there is no usable
// kubeconfig.
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

// bounded returns a copy of config whose requests end. The server limits its clients itself.
func bounded(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.QPS = -1
	if config.Timeout == 0 {
		config.Timeout = requestTimeout
	}
	return config
}

// consumerConfig returns the configuration of the workspace that the kubeconfig points at, and fails when that is none.
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

// tenantType returns the path of the WorkspaceType whose workspaces have all clusters bound.
func (o *clientOptions) tenantType() string {
	return logicalcluster.NewPath(o.providerWorkspace).Join(v1alpha1.TenantWorkspaceType).String()
}

// installOptions returns the options of the install package. It fails when there is no usable kubeconfig.
func (o *clientOptions) installOptions() (install.Options, error) {
	config, err := o.restConfig()
	return install.Options{
		Config:            config,
		ProviderWorkspace: o.providerWorkspace,
		OnApplied:         func(result install.Result) { fmt.Fprintln(o.out, result) },
		OnWaiting:         func(message string) { fmt.Fprintln(o.progress, message) },
		OnNotice:          func(message string) { fmt.Fprintln(o.progress, "note:", message) },
	}, err
}

// kcpOptions are the flags of the commands that wait for kcp.
type kcpOptions struct {
	*clientOptions

	timeout time.Duration
}

// newKCPOptions returns the options with their defaults, and adds their flags to the command.
func newKCPOptions(command *cobra.Command) *kcpOptions {
	o := &kcpOptions{clientOptions: newClientOptions(command, false), timeout: install.DefaultTimeout}
	command.Flags().DurationVar(&o.timeout, "timeout", o.timeout, "How long to wait for each thing that kcp has to do")
	return o
}

// installOptions validates the flags, and returns the options of the install package.
func (o *kcpOptions) installOptions() (install.Options, error) {
	if o.timeout <= 0 {
		return install.Options{}, fmt.Errorf("--timeout: expected more than 0, not %s", o.timeout)
	}
	options, err := o.clientOptions.installOptions()
	options.Timeout = o.timeout
	return options, err
}

// needClusters refuses a command without the name of a cluster.
func needClusters(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("the name of a cluster is needed; `kubectl tmc get clusters` lists them")
	}
	return nil
}

// needOneCluster refuses a command without the name of just one cluster. done says what happens to it.
func needOneCluster(done string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if len(args) > 1 {
			return fmt.Errorf("one cluster is %s at a time", done)
		}
		return needClusters(command, args)
	}
}
