package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/version"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/cmd/internal/daemon"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/heartbeat"
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

	heartbeatInterval time.Duration
	selfRegister      bool
	location          string
	clusterLabels     map[string]string
}

func newOptions() *options {
	return &options{common: daemon.NewOptions(), heartbeatInterval: heartbeat.DefaultInterval, selfRegister: true}
}

func (o *options) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.clusterName, "cluster-name", o.clusterName, "Name under which this cluster is known in kcp, a DNS label. Required.")
	flags.StringVar(&o.kubeconfig, "kubeconfig", o.kubeconfig, "Kubeconfig file for the cluster that is synced to. Default: in-cluster configuration.")
	flags.BoolVar(&o.singleWorkspace, "single-workspace", o.singleWorkspace, "Sync only the workspace that --kcp-kubeconfig points at, which has the APIs bound, instead of all consumers of the APIExport.")
	flags.StringVar(&o.transformConfig, "transform-config", o.transformConfig, "File with the rule by which copies are adapted to this cluster (YAML: namespacePrefix, namespaceMode, imageRegistry, resourceLimits, labels, annotations). It is read again when it changes. A rule in the ClusterRegistration's spec.transform takes its place.")
	flags.DurationVar(&o.heartbeatInterval, "heartbeat-interval", o.heartbeatInterval, "How often kcp is told that this cluster is alive.")
	flags.BoolVar(&o.selfRegister, "self-register", o.selfRegister, "Create the ClusterRegistration of this cluster when there is none. Otherwise, and where kcp does not allow it, wait until an administrator does.")
	flags.StringVar(&o.location, "location", o.location, "Where this cluster is: a region, a site. Only used when it registers itself.")
	flags.StringToStringVar(&o.clusterLabels, "cluster-labels", o.clusterLabels, "Labels, KEY=VALUE,…, that placements select this cluster by. Only used when it registers itself.")
}

// validate returns what is wrong with the flags, naming each.
func (o *options) validate() error {
	var errs []error
	if o.clusterName == "" {
		errs = append(errs, errors.New("--cluster-name is required: the name of this cluster in kcp"))
	} else if err := v1alpha1.ValidateClusterName(o.clusterName); err != nil {
		errs = append(errs, fmt.Errorf("--cluster-name: %w", err))
	}
	if o.heartbeatInterval <= 0 {
		errs = append(errs, fmt.Errorf("--heartbeat-interval: %s, expected more than 0, for instance 10s", o.heartbeatInterval))
	}
	if longest := validation.LabelValueMaxLength; len(o.location) > longest {
		errs = append(errs, fmt.Errorf("--location: %q has more than %d characters", o.location, longest))
	}
	if err := metavalidation.ValidateLabels(o.clusterLabels, nil).ToAggregate(); err != nil {
		errs = append(errs, fmt.Errorf("--cluster-labels: %w", err))
	}
	return errors.Join(errs...)
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

// heartbeatConfig is that of the syncer's own heartbeat.
func (o *options) heartbeatConfig(config syncer.Config, onRule func(*v1alpha1.TransformRule)) heartbeat.Config {
	return heartbeat.Config{
		Cluster:           config.Cluster,
		Upstream:          config.Upstream,
		Downstream:        config.Downstream,
		ProviderWorkspace: config.ProviderWorkspace,
		Interval:          o.heartbeatInterval,
		SelfRegister:      o.selfRegister,
		Location:          o.location,
		Labels:            o.clusterLabels,
		OnRule:            onRule,
	}
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
