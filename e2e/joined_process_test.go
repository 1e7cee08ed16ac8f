package e2e

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
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/kcp-tmc/tmc/pkg/bootstrap"
)

// Local clusters run no containers: there, the syncer of a cluster that has joined is a process that has just what
// the manifest would give a pod: its command line, its credentials for kcp and its account in the cluster.

// newJoinedSyncer has a cluster join and prepares its syncer as a process. Several syncers, of as many installations,
// may be in one cluster: each has a namespace of its own.
func (in *installation) newJoinedSyncer(ctx context.Context, name string, on *cluster) (*program, error) {
	j, err := in.join(ctx, name, on, namespaceOfSyncer(name))
	if err != nil {
		return nil, err
	}
	if err := j.start(ctx); err != nil {
		return nil, err
	}
	args, err := j.arguments(ctx)
	if err != nil {
		return nil, err
	}
	return newProgram(j.logName, syncerBinary, args...)
}

// namespaceOfSyncer is that of a syncer that is a process.
func namespaceOfSyncer(clusterName string) string { return "tmc-" + clusterName }

// syncerNamespace is where the manifest of a cluster of the installation puts its syncer.
func (in *installation) syncerNamespace(clusterName string) string {
	if j, ok := in.joined[clusterName]; ok {
		return j.namespace
	}
	return namespaceOfSyncer(clusterName)
}

// arguments returns the manifest's command line as that of a process, and writes the files that it names.
func (j *joined) arguments(ctx context.Context) ([]string, error) {
	dir := filepath.Join(filepath.Dir(env.stack.LogDir()), "joined", j.logName)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	objects, err := decodeManifest(j.manifest)
	if err != nil {
		return nil, err
	}
	var args []string
	for _, object := range objects {
		switch object := object.(type) {
		case *appsv1.Deployment:
			args = object.Spec.Template.Spec.Containers[0].Args
		case *corev1.Secret:
			err = errors.Join(err, writeFile(dir, bootstrap.KubeconfigKey, object.Data[bootstrap.KubeconfigKey]))
		case *corev1.ConfigMap:
			err = errors.Join(err, writeFile(dir, bootstrap.RuleKey, []byte(object.Data[bootstrap.RuleKey])))
		}
	}
	kubeconfig, kubeconfigErr := j.accountsKubeconfig(ctx, dir)
	if err := errors.Join(err, kubeconfigErr); err != nil {
		return nil, err
	}
	return append(asProcess(args, dir), "--kubeconfig="+kubeconfig), nil
}

// asProcess adapts a pod's command line: its files are elsewhere, and it is alone and shares the host's ports.
func asProcess(args []string, dir string) []string {
	var adapted []string
	for _, arg := range args {
		flag, value, _ := strings.Cut(arg, "=")
		switch flag {
		case "--kcp-kubeconfig", "--transform-config":
			adapted = append(adapted, flag+"="+filepath.Join(dir, filepath.Base(value)))
		case "--leader-elect", "--bind-address", "--metrics-bind-address":
		default:
			adapted = append(adapted, arg)
		}
	}
	return adapted
}

// accountsKubeconfig writes a kubeconfig for the cluster with the account that the manifest has made.
func (j *joined) accountsKubeconfig(ctx context.Context, dir string) (string, error) {
	day := int64(24 * 60 * 60)
	token, err := j.on.client.CoreV1().ServiceAccounts(j.namespace).CreateToken(ctx, bootstrap.Name,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &day}}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	config, err := clientcmd.LoadFromFile(j.on.kubeconfig)
	if err != nil {
		return "", err
	}
	config.AuthInfos = map[string]*api.AuthInfo{config.Contexts[config.CurrentContext].AuthInfo: {Token: token.Status.Token}}
	file := filepath.Join(dir, "cluster.kubeconfig")
	return file, clientcmd.WriteToFile(*config, file)
}

func writeFile(dir, name string, content []byte) error {
	if len(content) == 0 {
		return fmt.Errorf("the manifest has nothing for %s", name)
	}
	return os.WriteFile(filepath.Join(dir, name), content, 0o600)
}

// decodeManifest reads the objects of a manifest as their Go types.
func decodeManifest(manifest string) ([]runtime.Object, error) {
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
