package bootstrap

import (
	"errors"
	"net/url"
	"strconv"

	"sigs.k8s.io/yaml"
)

// kubeconfig is what matters here of a kubeconfig (k8s.io/client-go/tools/clientcmd/api/v1):
// where it leads to, and that whoever is there has to prove it.
type kubeconfig struct {
	CurrentContext string `json:"current-context"`
	Contexts       []struct {
		Name    string `json:"name"`
		Context struct {
			Cluster string `json:"cluster"`
		} `json:"context"`
	} `json:"contexts"`
	Clusters []struct {
		Name    string            `json:"name"`
		Cluster kubeconfigCluster `json:"cluster"`
	} `json:"clusters"`
}

type kubeconfigCluster struct {
	Server                string `json:"server"`
	InsecureSkipTLSVerify bool   `json:"insecure-skip-tls-verify"`
}

// Errors say what was expected and nothing of what was found: it is a credential.
var (
	errNoKubeconfig = errors.New("expected the YAML of a kubeconfig")
	errNoCurrent    = errors.New("expected a current context, and the cluster that it names")
	errNoServer     = errors.New("expected a server of the form https://HOST[:PORT]/clusters/WORKSPACE")
	errUnverified   = errors.New("expected that the server's certificate is verified, without insecure-skip-tls-verify")
)

// kcpPort returns the TCP port of the server that a kubeconfig's current context leads
// to. It fails when there is no such context, or when the server is not verified.
func kcpPort(data []byte) (int32, error) {
	var config kubeconfig
	if err := yaml.Unmarshal(data, &config); err != nil {
		return 0, errNoKubeconfig
	}
	cluster, ok := config.current()
	if !ok {
		return 0, errNoCurrent
	}
	if cluster.InsecureSkipTLSVerify {
		return 0, errUnverified
	}
	server, err := url.Parse(cluster.Server)
	if err != nil || server.Scheme != "https" || server.Hostname() == "" {
		return 0, errNoServer
	}
	if server.Port() == "" {
		return httpsPort, nil
	}
	port, err := strconv.ParseUint(server.Port(), 10, 16)
	if err != nil || port == 0 {
		return 0, errNoServer
	}
	return int32(port), nil
}

// current returns the cluster of the current context.
func (k kubeconfig) current() (kubeconfigCluster, bool) {
	for _, context := range k.Contexts {
		if context.Name != k.CurrentContext {
			continue
		}
		for _, cluster := range k.Clusters {
			if cluster.Name == context.Context.Cluster {
				return cluster.Cluster, true
			}
		}
	}
	return kubeconfigCluster{}, false
}
