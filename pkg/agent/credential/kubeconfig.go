package credential

import (
	"errors"
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/kcp-tmc/tmc/pkg/kcp"
)

// tokenIn returns the token of a kubeconfig's current context. It fails when there is
// none, and when it is one for another server than ours, which must not be told it.
func tokenIn(kubeconfig []byte, ours string) (token, error) {
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return token{}, fmt.Errorf("not a kubeconfig: %w", err)
	}
	cluster, user, err := pointedAt(config)
	if err != nil {
		return token{}, err
	}
	if user.Token == "" {
		return token{}, errors.New("the user of the current context has no token")
	}
	base, _, err := kcp.SplitHost(cluster.Server)
	if err != nil {
		return token{}, err
	}
	if expected, _, _ := kcp.SplitHost(ours); base != expected {
		return token{}, fmt.Errorf("the server is %s, expected %s: another one is used from the next start on", base, expected)
	}
	return readToken(user.Token), nil
}

// withToken returns the kubeconfig with another token for the user of its current
// context, and with nothing else changed.
func withToken(kubeconfig []byte, value string) ([]byte, error) {
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("not a kubeconfig: %w", err)
	}
	_, user, err := pointedAt(config)
	if err != nil {
		return nil, err
	}
	user.Token = value
	return clientcmd.Write(*config)
}

// pointedAt returns what a kubeconfig's current context points at.
func pointedAt(config *api.Config) (*api.Cluster, *api.AuthInfo, error) {
	context := config.Contexts[config.CurrentContext]
	if context == nil {
		return nil, nil, fmt.Errorf("current-context %q is not among the contexts", config.CurrentContext)
	}
	cluster, user := config.Clusters[context.Cluster], config.AuthInfos[context.AuthInfo]
	if cluster == nil {
		return nil, nil, fmt.Errorf("cluster %q of the current context is not among the clusters", context.Cluster)
	}
	if user == nil {
		return nil, nil, fmt.Errorf("user %q of the current context is not among the users", context.AuthInfo)
	}
	return cluster, user, nil
}
