package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// syncerNamespace is where the manifest puts the syncer, in each cluster, and syncerName what is the syncer's is called there.
const (
	syncerNamespace = "tmc-system"
	syncerName      = "tmc-syncer"
)

// joined is a cluster that has joined: its syncers run as processes with just what its manifest gives a pod.
type joined struct {
	cluster string
	// dir has the files that a pod would have: both replicas read the same.
	dir string

	// mu is held while they are written: faults overlap.
	mu   sync.Mutex
	args []string
	// token is the one for kcp that was stored last.
	token string
}

// The files of a syncer.
const (
	kcpKubeconfig     = "kubeconfig"
	clusterKubeconfig = "cluster.kubeconfig"
	clusterToken      = "cluster.token"
	ruleFile          = "rule.yaml"
)

// install sets tmc up in kcp, has the clusters join and binds the workspaces.
func (g *Ground) install(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return g.step("kubectl tmc init", func() error {
			_, err := g.Plugin(groupCtx, "root", "init", "--provider-workspace="+providerWorkspace)
			return err
		})
	})
	for _, path := range g.Workspaces {
		group.Go(func() error { return g.makeWorkspace(groupCtx, path) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := g.step("kubectl tmc join", func() error { return g.joinAll(ctx) }); err != nil {
		return err
	}
	return g.step("kubectl tmc bind", func() error {
		for _, path := range g.Workspaces {
			if err := g.Bind(ctx, path); err != nil {
				return err
			}
		}
		return nil
	})
}

func (g *Ground) joinAll(ctx context.Context) error {
	for _, name := range ClusterNames {
		g.joined[name] = &joined{cluster: name, dir: g.file("joined", name)}
		if err := os.MkdirAll(g.joined[name].dir, 0o700); err != nil {
			return err
		}
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, name := range ClusterNames {
		group.Go(func() error { return g.join(groupCtx, name) })
	}
	return group.Wait()
}

// MakeWorkspace makes a workspace below root and binds it to tmc. It does nothing about one that is there.
func (g *Ground) MakeWorkspace(ctx context.Context, path string) error {
	if err := g.makeWorkspace(ctx, path); err != nil {
		return err
	}
	return g.Bind(ctx, path)
}

func (g *Ground) makeWorkspace(ctx context.Context, path string) error {
	at := strings.LastIndexByte(path, ':')
	return g.stack.KCP.CreateWorkspace(ctx, path[:at], path[at+1:])
}

// Bind binds a workspace to tmc.
func (g *Ground) Bind(ctx context.Context, path string) error {
	_, err := g.Plugin(ctx, path, "bind", "--provider-workspace="+providerWorkspace)
	return err
}

// Plugin runs kubectl-tmc for a workspace as an administrator, and returns what it prints.
func (g *Ground) Plugin(ctx context.Context, workspace string, args ...string) (string, error) {
	kubeconfig, err := g.stack.KCP.Kubeconfig(workspace)
	if err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, filepath.Join(g.binaries, pluginBinary), append(args, "--kubeconfig="+kubeconfig)...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("kubectl-tmc %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// join has a cluster join, again if it has, and gives its syncers what the manifest says.
func (g *Ground) join(ctx context.Context, name string) error {
	manifest, err := g.joinManifest(ctx, name)
	if err != nil {
		return err
	}
	return g.giveManifest(ctx, name, manifest)
}

// joinManifest has a cluster join, and returns the manifest.
func (g *Ground) joinManifest(ctx context.Context, name string, args ...string) (string, error) {
	return g.Plugin(ctx, "root", append([]string{"join", name, "--provider-workspace=" + providerWorkspace,
		"--namespace=" + syncerNamespace, "--image=tmc:chaos", "--kcp-server=https://" + kcpHost, "--ca-file=" + g.file("ca.pem")}, args...)...)
}

// giveManifest applies the manifest of a join, and writes the files that it gives a pod.
func (g *Ground) giveManifest(ctx context.Context, name, manifest string) error {
	cluster, err := g.stack.Cluster(name)
	if err != nil {
		return err
	}
	_, _, err = framework.KubectlInput(ctx, strings.NewReader(manifest), cluster.Kubeconfig(), "apply", "--server-side", "--force-conflicts", "--filename=-")
	if err != nil {
		return err
	}
	j := g.joined[name]
	j.mu.Lock()
	err = j.take(manifest)
	j.mu.Unlock()
	if err != nil {
		return err
	}
	return g.giveClusterToken(ctx, name)
}

// take writes the files that the manifest gives a pod, and notes its command line.
func (j *joined) take(manifest string) error {
	objects, err := decodeManifest(manifest)
	if err != nil {
		return err
	}
	var errs []error
	for _, object := range objects {
		switch object := object.(type) {
		case *appsv1.Deployment:
			j.args = asProcess(object.Spec.Template.Spec.Containers[0].Args, j.dir)
		case *corev1.Secret:
			var err error
			j.token, err = tokenIn(object.Data["kubeconfig"])
			errs = append(errs, err, j.write(kcpKubeconfig, object.Data["kubeconfig"]))
		case *corev1.ConfigMap:
			for _, data := range object.Data {
				errs = append(errs, j.write(ruleFile, []byte(data)))
			}
		}
	}
	return errors.Join(errs...)
}

// tokenIn returns the token of a kubeconfig with one user.
func tokenIn(kubeconfig []byte) (string, error) {
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return "", err
	}
	for _, user := range config.AuthInfos {
		return user.Token, nil
	}
	return "", errors.New("the kubeconfig has no user")
}

// kcpToken returns the token for kcp that was stored last.
func (j *joined) kcpToken() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.token
}

// write replaces a file in one step, as a kubelet does.
func (j *joined) write(name string, data []byte) error {
	file := filepath.Join(j.dir, name)
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// asProcess adapts a pod's command line: its files are elsewhere, and it shares the host's ports.
func asProcess(args []string, dir string) []string {
	adapted := []string{"--kubeconfig=" + filepath.Join(dir, clusterKubeconfig)}
	for _, arg := range args {
		flag, _, _ := strings.Cut(arg, "=")
		switch flag {
		case "--kcp-kubeconfig":
			adapted = append(adapted, flag+"="+filepath.Join(dir, kcpKubeconfig))
		case "--transform-config":
			adapted = append(adapted, flag+"="+filepath.Join(dir, ruleFile))
		case "--bind-address", "--metrics-bind-address":
		default:
			adapted = append(adapted, arg)
		}
	}
	return adapted
}

// giveClusterToken gives the syncers a token of their account in the cluster, as a kubelet does, and a kubeconfig that
// names its file.
func (g *Ground) giveClusterToken(ctx context.Context, name string) error {
	client, err := kubernetes.NewForConfig(g.Clusters[name])
	if err != nil {
		return err
	}
	day := int64(24 * 60 * 60)
	token, err := client.CoreV1().ServiceAccounts(syncerNamespace).CreateToken(ctx, syncerName,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &day}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	j := g.joined[name]
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.write(clusterToken, []byte(token.Status.Token)); err != nil {
		return err
	}
	data, err := g.kubeconfig("https://"+clusterHost(name), &api.AuthInfo{TokenFile: filepath.Join(j.dir, clusterToken)})
	if err != nil {
		return err
	}
	return j.write(clusterKubeconfig, data)
}

// clusterHost is the name by which syncers know their cluster.
func clusterHost(name string) string { return name + ".test" }

// kubeconfig returns one for a server behind the proxies.
func (g *Ground) kubeconfig(server string, user *api.AuthInfo) ([]byte, error) {
	const name = "chaos"
	return clientcmd.Write(api.Config{
		Clusters:       map[string]*api.Cluster{name: {Server: server, CertificateAuthorityData: g.authority.PEM()}},
		AuthInfos:      map[string]*api.AuthInfo{name: user},
		Contexts:       map[string]*api.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	})
}

// hubKubeconfig writes the kubeconfig of the hubs, for the account that init has made for them.
func (g *Ground) hubKubeconfig(ctx context.Context) (string, error) {
	client, err := kubernetes.NewForConfig(g.Workspace(providerWorkspace))
	if err != nil {
		return "", err
	}
	year := int64(365 * 24 * 60 * 60)
	token, err := client.CoreV1().ServiceAccounts("default").CreateToken(ctx, hubBinary,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &year}}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	data, err := g.kubeconfig("https://"+kcpHost+"/clusters/"+providerWorkspace, &api.AuthInfo{Token: token.Status.Token})
	if err != nil {
		return "", err
	}
	file := g.file("hub.kubeconfig")
	return file, os.WriteFile(file, data, 0o600)
}

// serverURL returns the server's URL, without a path.
func serverURL(config *rest.Config) (*url.URL, error) {
	parsed, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	return &url.URL{Scheme: parsed.Scheme, Host: parsed.Host}, nil
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
