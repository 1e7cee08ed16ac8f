package framework

import (
	"fmt"
	"net/url"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// workspaceKubeconfig points a kubeconfig of kcp at a workspace, as the user of a token. An empty
// workspace stands for the server itself.
func workspaceKubeconfig(admin *api.Config, workspace, user, token string) (*api.Config, error) {
	current := admin.Contexts[admin.CurrentContext]
	if current == nil {
		return nil, fmt.Errorf("kubeconfig has no context %q", admin.CurrentContext)
	}
	cluster := admin.Clusters[current.Cluster]
	if cluster == nil {
		return nil, fmt.Errorf("kubeconfig has no cluster %q", current.Cluster)
	}
	server, err := workspaceURL(cluster.Server, workspace)
	if err != nil {
		return nil, err
	}
	cluster = cluster.DeepCopy()
	cluster.Server = server
	name := kcpName
	if workspace != "" {
		name = workspace
	}
	return singleContext(name, cluster, user, &api.AuthInfo{Token: token}), nil
}

// workspaceURL replaces the path of a kcp server's URL by that of a workspace.
func workspaceURL(server, workspace string) (string, error) {
	parsed, err := url.Parse(server)
	if err != nil {
		return "", fmt.Errorf("parse server of kubeconfig: %w", err)
	}
	parsed.Path = ""
	if workspace != "" {
		parsed.Path = "/clusters/" + workspace
	}
	return parsed.String(), nil
}

// clusterKubeconfig gives a kubeconfig's current context the name of its cluster, and takes the files that
// it refers to into it, so that it can be copied anywhere.
func clusterKubeconfig(file, name string) (*api.Config, error) {
	config, err := clientcmd.LoadFromFile(file)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	if err := api.MinifyConfig(config); err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", file, err)
	}
	if err := api.FlattenConfig(config); err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", file, err)
	}
	current := config.Contexts[config.CurrentContext]
	return singleContext(name, config.Clusters[current.Cluster], "admin", config.AuthInfos[current.AuthInfo]), nil
}

func singleContext(name string, cluster *api.Cluster, user string, auth *api.AuthInfo) *api.Config {
	return &api.Config{
		Clusters:       map[string]*api.Cluster{name: cluster},
		AuthInfos:      map[string]*api.AuthInfo{user: auth},
		Contexts:       map[string]*api.Context{name: {Cluster: name, AuthInfo: user}},
		CurrentContext: name,
	}
}

func writeKubeconfig(file string, config *api.Config) error {
	data, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	if err := WriteFile(file, data); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}

// restConfig makes a client configuration of a kubeconfig, without a rate limit on the client's side.
func restConfig(kubeconfig *api.Config) (*rest.Config, error) {
	config, err := clientcmd.NewDefaultClientConfig(*kubeconfig, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	config.QPS = -1
	return config, nil
}

// workspaceFile names the kubeconfig file of a workspace. A colon would end an entry of $KUBECONFIG.
func workspaceFile(workspace string) string {
	if workspace == "" {
		return "kcp.kubeconfig"
	}
	return "kcp." + strings.ReplaceAll(workspace, ":", ".") + ".kubeconfig"
}
