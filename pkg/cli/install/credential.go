package install

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

var serviceAccountResource = corev1.SchemeGroupVersion.WithResource("serviceaccounts")

// Access is how a syncer reaches the provider workspace.
type Access struct {
	// Server is the https URL of the provider workspace.
	Server string
	// ServerName is the name in the server's certificate, empty if that is the host of Server.
	ServerName string
	// CAData are the certificates, in PEM, that vouch for the server; none means those that the system trusts.
	CAData []byte
	// User names the syncer in the kubeconfig.
	User string
	// Token is the credential.
	Token string
}

// Kubeconfig returns the access as a kubeconfig with everything in it. The same access gives the same bytes.
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

// access returns the cluster's access without the token. It fails when the syncer could not tell the server from
// another one that claims to be it.
func (s *server) access(options JoinOptions) (Access, error) {
	access := Access{ServerName: s.config.ServerName, User: options.Cluster}
	server := s.base
	if options.Server != "" {
		// The name in the kubeconfig is about the server in the kubeconfig.
		server, access.ServerName = options.Server, ""
	}
	full := server
	if !strings.Contains(server, "://") { // a kubeconfig may leave the scheme out
		full = "https://" + server
	}
	parsed, err := url.Parse(full)
	if err != nil || parsed.Scheme != "https" || parsed.Host == "" {
		return Access{}, fmt.Errorf("--kcp-server: %q is no URL of the form https://HOST: a syncer sends its token nowhere else", server)
	}
	base, _ := splitHost(parsed.String())
	access.Server = base + clustersPath + options.ProviderWorkspace
	access.CAData, err = authorities(s.config, options.CAData)
	return access, err
}

// authorities returns the certificates that vouch for the server: those given, or else those of the configuration.
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
		return nil, errors.New("--ca-file, or the kubeconfig's certificate-authority: there is no certificate in PEM")
	}
	return data, nil
}

// requestToken returns a token of an account of the provider workspace, for kcp.
func (s *server) requestToken(ctx context.Context, namespace, name string, lifetime time.Duration) (authenticationv1.TokenRequest, error) {
	var answer authenticationv1.TokenRequest
	objects, err := s.objects(s.provider)
	if err != nil {
		return answer, err
	}
	request := encode(&authenticationv1.TokenRequest{
		TypeMeta:   metav1.TypeMeta{APIVersion: authenticationv1.SchemeGroupVersion.String(), Kind: "TokenRequest"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(lifetime / time.Second))},
	})
	given, err := objects.Resource(serviceAccountResource).Namespace(namespace).Create(ctx, request, metav1.CreateOptions{}, "token")
	if err != nil {
		return answer, s.explain(s.provider, fmt.Errorf("token for ServiceAccount %s/%s: %w", namespace, name, err))
	}
	err = runtime.DefaultUnstructuredConverter.FromUnstructured(given.Object, &answer)
	return answer, err
}

// token returns a new token for the cluster's account, and when it ends.
func (j *joining) token(ctx context.Context) (string, time.Time, error) {
	if j.dryRun {
		return PlaceholderToken, time.Time{}, nil
	}
	request, err := j.requestToken(ctx, v1alpha1.SyncersNamespace, j.options.Cluster, j.options.TokenLifetime)
	return request.Status.Token, request.Status.ExpirationTimestamp.Time, err
}

// revoke deletes the account of the cluster if the options say so. All its tokens end with it: a token names the UID of
// its account, and kcp looks that up. Join makes another account of the same name. revoke returns a token of the
// deleted account, empty when there was none.
func (j *joining) revoke(ctx context.Context) (revoked string, err error) {
	if !j.options.Revoke {
		return "", nil
	}
	account := &unstructured.Unstructured{}
	account.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ServiceAccount"))
	account.SetNamespace(v1alpha1.SyncersNamespace)
	account.SetName(j.options.Cluster)
	if !j.dryRun {
		request, err := j.requestToken(ctx, account.GetNamespace(), account.GetName(), MinTokenLifetime)
		switch {
		case kcp.IsMissing(err):
			return "", nil
		case err != nil:
			return "", err
		}
		revoked = request.Status.Token
		// kcp remembers the answer from now on, so that it remembers no older one.
		if _, err := j.isAccepted(ctx, revoked); err != nil {
			return "", err
		}
	}
	return revoked, j.remove(ctx, map[string]string{v1alpha1.ClusterLabel: j.options.Cluster}, account)
}

// finishRevocation waits until kcp refuses the revoked token: kcp remembers for some seconds whose a token is. It then
// removes from the registration's status which cluster has the name, and what its syncer uses, for the syncer to write
// anew: somebody else may have written it.
func (j *joining) finishRevocation(ctx context.Context, revoked string) error {
	if !j.options.Revoke || j.dryRun {
		return nil
	}
	if revoked != "" {
		what := fmt.Sprintf("kcp to refuse the earlier tokens of cluster %s", j.options.Cluster)
		err := j.waitFor(ctx, what, func(ctx context.Context) (progress, error) {
			accepted, err := j.isAccepted(ctx, revoked)
			return progress{done: !accepted, state: "it remembers them for some seconds"}, err
		})
		if err != nil {
			return err
		}
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"clusterUID": nil, exportField: nil}})
	if err != nil {
		return err
	}
	objects, err := j.objects(j.provider)
	if err != nil {
		return err
	}
	_, err = objects.Resource(v1alpha1.ClusterRegistrationsResource).
		Patch(ctx, j.options.Cluster, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager}, "status")
	if err != nil {
		return j.explain(j.provider, fmt.Errorf("status of ClusterRegistration %s: %w", j.options.Cluster, err))
	}
	return nil
}

// isAccepted reports whether kcp accepts a token.
func (j *joining) isAccepted(ctx context.Context, token string) (bool, error) {
	config := rest.AnonymousClientConfig(j.in(j.provider))
	config.BearerToken = token
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return false, err
	}
	err = client.RESTClient().Get().AbsPath("/version").Do(ctx).Error()
	switch {
	case err == nil || apierrors.IsForbidden(err):
		return true, nil
	case apierrors.IsUnauthorized(err):
		return false, nil
	default:
		return false, err
	}
}
