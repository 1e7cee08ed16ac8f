package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/install"
)

// kcpOptions are the flags that every command which talks to kcp has.
type kcpOptions struct {
	// loading and overrides are kubectl's flags that choose the kubeconfig and replace
	// parts of it.
	loading           *clientcmd.ClientConfigLoadingRules
	overrides         clientcmd.ConfigOverrides
	providerWorkspace string
	timeout           time.Duration
	// out is for results, progress for what happens meanwhile.
	out, progress io.Writer
}

// newKCPOptions returns the options with their defaults, and adds their flags to the
// command, which also says where to print.
func newKCPOptions(command *cobra.Command) *kcpOptions {
	o := &kcpOptions{
		loading:           clientcmd.NewDefaultClientConfigLoadingRules(),
		providerWorkspace: v1alpha1.DefaultProviderWorkspace,
		timeout:           install.DefaultTimeout,
	}
	flags := command.Flags()
	flags.StringVar(&o.loading.ExplicitPath, clientcmd.RecommendedConfigPathFlag, "", "Path to the kubeconfig file to use")
	names := clientcmd.RecommendedConfigOverrideFlags("")
	// Nothing here is about a namespace.
	names.ContextOverrideFlags.Namespace = clientcmd.FlagInfo{}
	clientcmd.BindOverrideFlags(&o.overrides, flags, names)
	flags.StringVar(&o.providerWorkspace, "provider-workspace", o.providerWorkspace, "Path of the workspace that holds tmc's APIExport")
	flags.DurationVar(&o.timeout, "timeout", o.timeout, "How long to wait for each thing that kcp has to do")
	return o
}

// complete fills in what is known when the command runs.
func (o *kcpOptions) complete(command *cobra.Command) {
	o.out, o.progress = command.OutOrStdout(), command.ErrOrStderr()
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
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(o.loading, &o.overrides).ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return install.Options{}, fmt.Errorf("there is no kubeconfig: set KUBECONFIG or --kubeconfig: %w", err)
	}
	if err != nil {
		return install.Options{}, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.WarningHandler = rest.NewWarningWriter(o.progress, rest.WarningWriterOptions{Deduplicate: true})
	return install.Options{
		Config:            config,
		ProviderWorkspace: o.providerWorkspace,
		Timeout:           o.timeout,
		OnApplied:         func(result install.Result) { fmt.Fprintln(o.out, result) },
		OnWaiting:         func(message string) { fmt.Fprintln(o.progress, message) },
	}, nil
}
