package main

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/version"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/cmd/internal/daemon"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/syncer"
)

// options are the flags.
type options struct {
	common          *daemon.Options
	clusterName     string
	kubeconfig      string
	singleWorkspace bool
	transformConfig string
}

func newOptions() *options { return &options{common: daemon.NewOptions()} }

func (o *options) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.clusterName, "cluster-name", o.clusterName, "Name under which this cluster is known in kcp, a DNS label. Required.")
	flags.StringVar(&o.kubeconfig, "kubeconfig", o.kubeconfig, "Kubeconfig file for the cluster that is synced to. Default: in-cluster configuration.")
	flags.BoolVar(&o.singleWorkspace, "single-workspace", o.singleWorkspace, "Sync only the workspace that --kcp-kubeconfig points at, which has the APIs bound, instead of all consumers of the APIExport.")
	flags.StringVar(&o.transformConfig, "transform-config", o.transformConfig, "File with the rule by which copies are adapted to this cluster (YAML: namespacePrefix, namespaceMode, imageRegistry, resourceLimits, labels, annotations). It is read again when it changes.")
}

// validate returns what is wrong with the flags, naming each.
func (o *options) validate() error {
	if o.clusterName == "" {
		return errors.New("--cluster-name is required: the name of this cluster in kcp")
	}
	if err := v1alpha1.ValidateClusterName(o.clusterName); err != nil {
		return fmt.Errorf("--cluster-name: %w", err)
	}
	return nil
}

// complete reads the files that the flags name.
func (o *options) complete() (syncer.Config, error) {
	upstream, err := o.common.KCPConfig(o.userAgent())
	if err != nil {
		return syncer.Config{}, err
	}
	if o.singleWorkspace {
		if _, workspace, _ := kcp.SplitHost(upstream.Host); workspace.Empty() {
			return syncer.Config{}, fmt.Errorf("--single-workspace: the server %s in --kcp-kubeconfig points at no workspace, expected https://HOST/clusters/WORKSPACE", upstream.Host)
		}
	}
	downstream, err := o.downstreamConfig()
	if err != nil {
		return syncer.Config{}, err
	}
	return syncer.Config{
		Cluster:           o.clusterName,
		Upstream:          upstream,
		Downstream:        downstream,
		ProviderWorkspace: logicalcluster.NewPath(o.common.ProviderWorkspace),
		SingleWorkspace:   o.singleWorkspace,
		Workers:           o.common.Workers,
	}, nil
}

func (o *options) downstreamConfig() (*rest.Config, error) {
	if o.kubeconfig != "" {
		config, err := kcp.LoadConfig(o.kubeconfig, o.userAgent())
		if err != nil {
			return nil, fmt.Errorf("--kubeconfig: %w", err)
		}
		return config, nil
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, fmt.Errorf("no --kubeconfig, and not in a cluster: %w", err)
	}
	return kcp.Unlimited(config, o.userAgent()), nil
}

// userAgent names the program, its version and the cluster to both servers.
func (o *options) userAgent() string {
	return v1alpha1.FieldManager + "/" + version.Get().GitVersion + " (cluster " + o.clusterName + ")"
}
