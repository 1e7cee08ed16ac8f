package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/bootstrap"
)

// syncerNamespace is where the syncer is in each cluster.
const syncerNamespace = "tmc-system"

// join has a cluster join as a person would, and prepares its syncer: a process that has just what the manifest would
// give a pod, its command line, its credentials for kcp and its account in the cluster.
func (s *stage) join(ctx context.Context, name string) error {
	cluster, err := s.stack.Cluster(name)
	if err != nil {
		return err
	}
	manifest, err := s.pluginOutput(ctx, s.root, "join", name, "--image=example.com/tmc:v0.0.0", "--image-pull-policy=Never", "--namespace="+syncerNamespace)
	if err != nil {
		return err
	}
	if _, _, err := framework.KubectlInput(ctx, strings.NewReader(manifest), cluster.Kubeconfig(), "apply", "--filename=-"); err != nil {
		return err
	}
	// The process takes the place of the pods.
	if _, _, err := framework.Kubectl(ctx, cluster.Kubeconfig(), "scale", "--namespace="+syncerNamespace, "deployment/"+bootstrap.Name, "--replicas=0"); err != nil {
		return err
	}
	dir := filepath.Join(s.stack.Dir(), "joined", name)
	args, err := arguments(manifest, dir)
	if err != nil {
		return fmt.Errorf("manifest of %s: %w", name, err)
	}
	kubeconfig, err := accountsKubeconfig(ctx, cluster, dir)
	if err != nil {
		return fmt.Errorf("account of the syncer in %s: %w", name, err)
	}
	return s.add(syncerBinary+"-"+name, syncerBinary, append(args, "--kubeconfig="+kubeconfig)...)
}

// arguments returns a manifest's command line as that of a process, and writes the files that it names.
func arguments(manifest, dir string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	objects, err := decode(manifest)
	if err != nil {
		return nil, err
	}
	var args []string
	for _, object := range objects {
		switch object := object.(type) {
		case *appsv1.Deployment:
			args = object.Spec.Template.Spec.Containers[0].Args
		case *corev1.Secret:
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, bootstrap.KubeconfigKey), object.Data[bootstrap.KubeconfigKey], 0o600))
		case *corev1.ConfigMap:
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, bootstrap.RuleKey), []byte(object.Data[bootstrap.RuleKey]), 0o600))
		}
	}
	return asProcess(args, dir), err
}

// asProcess adapts a pod's command line: its files are elsewhere, and it shares the host's ports.
func asProcess(args []string, dir string) []string {
	var adapted []string
	for _, arg := range args {
		flag, value, _ := strings.Cut(arg, "=")
		switch flag {
		case "--kcp-kubeconfig", "--transform-config":
			adapted = append(adapted, flag+"="+filepath.Join(dir, filepath.Base(value)))
		case "--bind-address", "--metrics-bind-address":
		default:
			adapted = append(adapted, arg)
		}
	}
	return adapted
}

// decode reads the objects of a manifest as their Go types.
func decode(manifest string) ([]runtime.Object, error) {
	var objects []runtime.Object
	documents := yaml.NewYAMLToJSONDecoder(strings.NewReader(manifest))
	for {
		var raw runtime.RawExtension
		if err := documents.Decode(&raw); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(raw.Raw)) == 0 {
			continue
		}
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(raw.Raw, nil, nil)
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
}

// accountsKubeconfig writes a kubeconfig for the cluster with the account that the manifest has made.
func accountsKubeconfig(ctx context.Context, cluster framework.Cluster, dir string) (string, error) {
	admin, err := cluster.RESTConfig()
	if err != nil {
		return "", err
	}
	client, err := kubernetes.NewForConfig(admin)
	if err != nil {
		return "", err
	}
	day := int64(24 * 60 * 60)
	token, err := client.CoreV1().ServiceAccounts(syncerNamespace).CreateToken(ctx, bootstrap.Name,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &day}}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	config, err := clientcmd.LoadFromFile(cluster.Kubeconfig())
	if err != nil {
		return "", err
	}
	config.AuthInfos = map[string]*api.AuthInfo{config.Contexts[config.CurrentContext].AuthInfo: {Token: token.Status.Token}}
	file := filepath.Join(dir, "cluster.kubeconfig")
	return file, clientcmd.WriteToFile(*config, file)
}
