package framework

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// AccountToken returns a new token of a ServiceAccount, in a cluster or in a workspace of kcp. The server may give it a
// shorter lifetime than the one asked for. config is an administrator's.
func AccountToken(ctx context.Context, config *rest.Config, namespace, name string, lifetime time.Duration) (string, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(lifetime.Seconds()))}}
	answer, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("token of ServiceAccount %s/%s: %w", namespace, name, err)
	}
	return answer.Status.Token, nil
}

// AccountKubeconfig returns a kubeconfig for the server of an administrator's, as the user of a new token of a
// ServiceAccount there. See AccountToken for the lifetime.
func AccountKubeconfig(ctx context.Context, admin, namespace, name string, lifetime time.Duration) ([]byte, error) {
	kubeconfig, err := clientcmd.LoadFromFile(admin)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	config, err := restConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	token, err := AccountToken(ctx, config, namespace, name, lifetime)
	if err != nil {
		return nil, err
	}
	// restConfig has found the context.
	kubeconfig.AuthInfos = map[string]*api.AuthInfo{kubeconfig.Contexts[kubeconfig.CurrentContext].AuthInfo: {Token: token}}
	return clientcmd.Write(*kubeconfig)
}
