package main

import (
	"context"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"github.com/kcp-tmc/tmc/pkg/hub/webhook"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// repairing is the webhook that repairs patches, and what keeps its certificates.
type repairing struct {
	server *webhook.Server
	keeper *webhook.Keeper
}

func newRepairing(config hubConfig) (*repairing, error) {
	client, err := kcp.NewClient(config.kcp, config.providerWorkspace, kubernetes.NewForConfig)
	if err != nil {
		return nil, err
	}
	server := webhook.NewServer(config.repairAddress)
	keeper, err := webhook.NewKeeper(client, server)
	return &repairing{server, keeper}, err
}

// run serves until ctx ends, whether this replica leads or not: kcp may ask any of them.
func (r *repairing) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		r.keeper.Run(ctx)
		return nil
	})
	group.Go(func() error { return r.server.Run(ctx) })
	return group.Wait()
}
