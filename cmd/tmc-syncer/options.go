package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/version"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/cmd/internal/daemon"
	"github.com/kcp-tmc/tmc/pkg/agent/credential"
	"github.com/kcp-tmc/tmc/pkg/agent/heartbeat"
	"github.com/kcp-tmc/tmc/pkg/agent/syncer"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// options are the flags.
type options struct {
	common          *daemon.Options
	clusterName     string
	kubeconfig      string
	namespace       string
	kcpSecret       string
	renewTokenAfter time.Duration
	export          string
	singleWorkspace bool
	kinds           []string
	transformConfig string
	leaderElect     bool
	lease           daemon.Lease

	heartbeatInterval time.Duration
	selfRegister      bool
	location          string
	clusterLabels     map[string]string
	allowNamespaces   []string
}

func newOptions() *options {
	return &options{
		common: daemon.NewOptions(), export: v1alpha1.APIExportName, lease: daemon.NewLease(),
		heartbeatInterval: heartbeat.DefaultInterval, selfRegister: true,
	}
}

func (o *options) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.clusterName, "cluster-name", o.clusterName, "Name under which this cluster is known in kcp, a DNS label. Required.")
	flags.StringVar(&o.kubeconfig, "kubeconfig", o.kubeconfig, "Kubeconfig file for the cluster that is synced to. Default: in-cluster configuration.")
	flags.StringVar(&o.namespace, "namespace", o.namespace, "Namespace of this cluster that the syncer itself runs in. Nothing is synced into it.")
	flags.StringVar(&o.kcpSecret, "kcp-secret", o.kcpSecret, "Secret in --namespace that --kcp-kubeconfig comes from, under the key kubeconfig. The syncer renews the token in it, and follows when somebody else does. Without it, the token is used for as long as it lasts.")
	flags.DurationVar(&o.renewTokenAfter, "renew-token-after", o.renewTokenAfter, "How old the token in --kcp-secret gets before it is renewed. Default: half of its life.")
	flags.StringVar(&o.export, "export", o.export, "APIExport in the provider workspace through which kcp is read and written: that of all clusters, this cluster's own, or that of its isolation group, as \"kubectl tmc join\" makes them.")
	flags.StringSliceVar(&o.kinds, "kinds", o.kinds, "Resources that may come to this cluster, RESOURCE.GROUP,…, for instance deployments.apps,configmaps. Default: all that kcp serves.")
	flags.BoolVar(&o.leaderElect, "leader-elect", o.leaderElect, "Work only while holding a lease in --namespace, so that several replicas can run.")
	o.lease.AddFlags(flags)
	flags.BoolVar(&o.singleWorkspace, "single-workspace", o.singleWorkspace, "Sync only the workspace that --kcp-kubeconfig points at, which has the APIs bound, instead of all consumers of the APIExport.")
	flags.StringVar(&o.transformConfig, "transform-config", o.transformConfig, "File with the rule by which copies are adapted to this cluster (YAML: namespacePrefix, namespaceMode, imageRegistry, resourceLimits, labels, annotations). It is read again when it changes. A rule in the ClusterRegistration's spec.transform takes its place.")
	flags.DurationVar(&o.heartbeatInterval, "heartbeat-interval", o.heartbeatInterval, "How often kcp is told that this cluster is alive.")
	flags.BoolVar(&o.selfRegister, "self-register", o.selfRegister, "Create the ClusterRegistration of this cluster when there is none. Otherwise, and where kcp does not allow it, wait until an administrator does.")
	flags.StringVar(&o.location, "location", o.location, "Where this cluster is: a region, a site. Only used when it registers itself.")
	flags.StringToStringVar(&o.clusterLabels, "cluster-labels", o.clusterLabels, "Labels, KEY=VALUE,…, that placements select this cluster by. Only used when it registers itself.")
	flags.StringSliceVar(&o.allowNamespaces, "allow-namespaces", o.allowNamespaces, "Namespaces of this cluster that copies come into although tmc did not make them, such as default,shop-*. What is in them, ServiceAccounts and Secrets, can be used from kcp. Only used when it registers itself.")
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
	if err := v1alpha1.ValidateNamespacePatterns(o.allowNamespaces); err != nil {
		errs = append(errs, fmt.Errorf("--allow-namespaces: %w", err))
	}
	return errors.Join(append(errs, o.validateSurroundings())...)
}

// validateSurroundings is validate for the flags that say where the syncer is and what it works on.
func (o *options) validateSurroundings() error {
	errs := []error{o.lease.Validate()}
	switch {
	case o.namespace != "":
		for _, wrong := range validation.IsDNS1123Label(o.namespace) {
			errs = append(errs, fmt.Errorf("--namespace: %q: %s", o.namespace, wrong))
		}
	case o.kcpSecret != "":
		errs = append(errs, errors.New("--kcp-secret needs --namespace: the namespace that the Secret is in"))
	case o.leaderElect:
		errs = append(errs, errors.New("--leader-elect needs --namespace: the namespace that the lease is in"))
	}
	if o.renewTokenAfter < 0 {
		errs = append(errs, fmt.Errorf("--renew-token-after: %s, expected 0 or more", o.renewTokenAfter))
	}
	for _, wrong := range validation.IsDNS1123Subdomain(o.export) {
		errs = append(errs, fmt.Errorf("--export: %q: %s", o.export, wrong))
	}
	for _, kind := range o.kinds {
		if resource := schema.ParseGroupResource(kind); !v1alpha1.IsSynced(resource, true) || len(validation.IsDNS1123Subdomain(kind)) > 0 {
			errs = append(errs, fmt.Errorf("--kinds: %q is not the name of a resource that can be synced, such as deployments.apps or configmaps", kind))
		}
	}
	return errors.Join(errs...)
}

// isSynced returns what reports whether --kinds lets a resource in, nil for all.
func (o *options) isSynced() func(schema.GroupResource) bool {
	if len(o.kinds) == 0 {
		return nil
	}
	named := sets.New[schema.GroupResource]()
	for _, kind := range o.kinds {
		named.Insert(schema.ParseGroupResource(kind))
	}
	return named.Has
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
	known, err := o.common.Kinds()
	if err != nil {
		return syncer.Config{}, err
	}
	return syncer.Config{
		Kinds:             known,
		Cluster:           o.clusterName,
		Upstream:          upstream,
		Downstream:        downstream,
		ProviderWorkspace: logicalcluster.NewPath(o.common.ProviderWorkspace),
		Export:            o.export,
		SingleWorkspace:   o.singleWorkspace,
		Synced:            o.isSynced(),
		Namespace:         o.namespace,
		Workers:           o.common.Workers,
	}, nil
}

// credentialConfig is that of what keeps the credentials for kcp good. The kubeconfig is read again from its file where no Secret is
// named.
func (o *options) credentialConfig(config syncer.Config, downstream kubernetes.Interface) credential.Config {
	return credential.Config{
		Cluster:           config.Cluster,
		Upstream:          config.Upstream,
		KubeconfigFile:    o.common.KCPKubeconfig,
		Downstream:        downstream,
		Namespace:         o.namespace,
		Secret:            o.kcpSecret,
		ProviderWorkspace: config.ProviderWorkspace,
		RenewAfter:        o.renewTokenAfter,
	}
}

// heartbeatConfig is that of the syncer's own heartbeat, which tells the settings of the registration.
func (o *options) heartbeatConfig(config syncer.Config, told *settings) heartbeat.Config {
	var reports func(group, resource string) bool // those of the usual groups, where all are synced
	if config.Synced != nil {
		reports = func(group, resource string) bool {
			return config.Synced(schema.GroupResource{Group: group, Resource: resource})
		}
	}
	return heartbeat.Config{
		Cluster:           config.Cluster,
		Upstream:          config.Upstream,
		Downstream:        config.Downstream,
		ProviderWorkspace: config.ProviderWorkspace,
		Interval:          o.heartbeatInterval,
		SelfRegister:      o.selfRegister,
		Location:          o.location,
		Labels:            o.clusterLabels,
		AllowedNamespaces: o.allowNamespaces,
		OnRule:            told.setRegistered,
		OnDenied:          told.setDenied,
		OnAllowed:         told.setAllowed,
		Export:            config.Export,
		OnProvided:        told.setProvided,
		OnExport:          told.setExport,
		Reports:           reports,
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
