package main

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/version"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/cmd/internal/daemon"
	"github.com/kcp-tmc/tmc/pkg/aggregate"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/placement"
)

// options are the flags.
type options struct {
	common           *daemon.Options
	silentAfter      time.Duration
	failoverAfter    time.Duration
	defaultPlacement string
	statusCounters   string
	leaderElect      bool
	lease            daemon.Lease
	repairAddress    string
}

func newOptions() *options {
	return &options{
		common:           daemon.NewOptions(),
		silentAfter:      40 * time.Second,
		failoverAfter:    5 * time.Minute,
		defaultPlacement: string(placement.DefaultAll),
		statusCounters:   v1alpha1.CountersSum,
		leaderElect:      true,
		lease:            daemon.NewLease(),
	}
}

func (o *options) addFlags(flags *pflag.FlagSet) {
	flags.DurationVar(&o.silentAfter, "cluster-silent-after", o.silentAfter, "How long a cluster may send no heartbeat before it no longer counts as available. It should be several times the syncers' --heartbeat-interval.")
	flags.DurationVar(&o.failoverAfter, "failover-after", o.failoverAfter, "How long a cluster may be silent before its workloads are placed on other clusters, where they may be. A placement can say otherwise by tolerating the taint "+v1alpha1.TaintUnreachable+".")
	flags.StringVar(&o.defaultPlacement, "default-placement", o.defaultPlacement, "Where workloads go that name no clusters: \"all\" or \"none\".")
	flags.StringVar(&o.statusCounters, "status-counters", o.statusCounters, "Whose numbers statuses show of what does not say so, nor its placement: \""+v1alpha1.CountersSum+"\" for the sums over all clusters, or \""+v1alpha1.CountersPerCluster+"\" for those of the cluster that is least advanced, as Helm 4 and Flux need it where replicas are duplicated.")
	flags.BoolVar(&o.leaderElect, "leader-elect", o.leaderElect, "Work only while holding a lease in the provider workspace, so that several replicas can run.")
	o.lease.AddFlags(flags)
	flags.StringVar(&o.repairAddress, "repair-bind-address", o.repairAddress, "Address, host:port, of the webhook that repairs patches which kcp merges wrongly. Empty: it is not served. kcp asks it after \"kubectl tmc init --repair-url\".")
}

// validate returns all that is wrong with the flags, naming each.
func (o *options) validate() error {
	var errs []error
	if o.silentAfter <= 0 {
		errs = append(errs, fmt.Errorf("--cluster-silent-after: %s, expected more than 0", o.silentAfter))
	}
	if o.failoverAfter < 0 {
		errs = append(errs, fmt.Errorf("--failover-after: %s, expected 0 or more", o.failoverAfter))
	}
	if byDefault := placement.Default(o.defaultPlacement); byDefault != placement.DefaultAll && byDefault != placement.DefaultNone {
		errs = append(errs, fmt.Errorf("--default-placement: %q, expected %q or %q", o.defaultPlacement, placement.DefaultAll, placement.DefaultNone))
	}
	if !aggregate.IsCounters(o.statusCounters) {
		errs = append(errs, fmt.Errorf("--status-counters: %q, expected %q or %q", o.statusCounters, v1alpha1.CountersSum, v1alpha1.CountersPerCluster))
	}
	if o.repairAddress != "" {
		if _, _, err := net.SplitHostPort(o.repairAddress); err != nil {
			errs = append(errs, fmt.Errorf("--repair-bind-address: %q is not host:port: %w", o.repairAddress, err))
		}
	}
	return errors.Join(append(errs, o.lease.Validate())...)
}

// hubConfig is what the flags and the files that they name come to.
type hubConfig struct {
	kcp               *rest.Config
	providerWorkspace logicalcluster.Path
	silentAfter       time.Duration
	failoverAfter     time.Duration
	defaultPlacement  placement.Default
	statusCounters    string
	workers           int
	leaderElect       bool
	lease             daemon.Lease
	// repairAddress is empty when patches are not repaired.
	repairAddress string
	kinds         kinds.Kinds
}

// complete reads the files that the flags name.
func (o *options) complete() (hubConfig, error) {
	config, err := o.common.KCPConfig(v1alpha1.ControllerFieldManager + "/" + version.Get().GitVersion)
	if err != nil {
		return hubConfig{}, err
	}
	known, err := o.common.Kinds()
	if err != nil {
		return hubConfig{}, err
	}
	return hubConfig{
		kinds:             known,
		kcp:               config,
		providerWorkspace: logicalcluster.NewPath(o.common.ProviderWorkspace),
		silentAfter:       o.silentAfter,
		failoverAfter:     o.failoverAfter,
		defaultPlacement:  placement.Default(o.defaultPlacement),
		statusCounters:    o.statusCounters,
		workers:           o.common.Workers,
		leaderElect:       o.leaderElect,
		lease:             o.lease,
		repairAddress:     o.repairAddress,
	}, nil
}
