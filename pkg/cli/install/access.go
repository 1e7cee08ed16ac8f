package install

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Access is how a syncer gets at the provider workspace.
type Access struct {
	// Server is the https URL of the provider workspace.
	Server string
	// ServerName is the name that the certificate of the server has; empty if that is
	// its host.
	ServerName string
	// CAData are the certificates, in PEM, that vouch for the server; none means those
	// that the system trusts.
	CAData []byte
	// User names the syncer in the kubeconfig.
	User string
	// Token is the credential.
	Token string
}

// Kubeconfig returns the access as a kubeconfig with everything in it. The same access
// gives the same bytes.
func (a Access) Kubeconfig() ([]byte, error) {
	const cluster = "kcp"
	config := clientcmdapi.NewConfig()
	config.Clusters[cluster] = &clientcmdapi.Cluster{Server: a.Server, TLSServerName: a.ServerName, CertificateAuthorityData: a.CAData}
	config.AuthInfos[a.User] = &clientcmdapi.AuthInfo{Token: a.Token}
	config.Contexts[cluster] = &clientcmdapi.Context{Cluster: cluster, AuthInfo: a.User}
	config.CurrentContext = cluster
	data, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fmt.Errorf("writing the kubeconfig of %s: %w", a.User, err)
	}
	return data, nil
}

// access returns the cluster's access, without the token. It fails when the server
// could not be told from another one that claims to be it.
func (s *server) access(options JoinOptions) (Access, error) {
	access := Access{ServerName: s.config.ServerName, User: options.Cluster}
	server := s.base
	if options.Server != "" {
		// The name in the kubeconfig is about the server in the kubeconfig.
		server, access.ServerName = options.Server, ""
	}
	server, err := secureURL(server)
	if err != nil {
		return Access{}, err
	}
	base, _ := splitHost(server)
	access.Server = base + clustersPath + options.ProviderWorkspace
	access.CAData, err = authorities(s.config, options.CAData)
	return access, err
}

// secureURL returns the URL of a server, which has to be one of https. A kubeconfig may
// leave the scheme out.
func secureURL(server string) (string, error) {
	full := server
	if !strings.Contains(server, "://") {
		full = "https://" + server
	}
	parsed, err := url.Parse(full)
	if err != nil || parsed.Scheme != "https" || parsed.Host == "" {
		return "", fmt.Errorf("the server %q is no URL of the form https://HOST: a syncer sends its token nowhere else", server)
	}
	return parsed.String(), nil
}

// authorities returns the certificates that vouch for the server: those given, or else
// those of the configuration.
func authorities(config *rest.Config, given []byte) ([]byte, error) {
	data := given
	switch {
	case len(given) > 0:
	case config.Insecure:
		return nil, errors.New("the kubeconfig says insecure-skip-tls-verify, which no syncer does: give the certificates of kcp's authority (--ca-file)")
	case len(config.CAData) > 0:
		data = config.CAData
	case config.CAFile != "":
		read, err := os.ReadFile(config.CAFile)
		if err != nil {
			return nil, fmt.Errorf("the kubeconfig's certificate-authority: %w", err)
		}
		data = read
	default:
		return nil, nil
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return nil, errors.New("what is given as kcp's authority holds no certificate in PEM")
	}
	return data, nil
}
