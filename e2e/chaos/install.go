package chaos

import (
	"context"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// The files of a syncer for its cluster, beside those of the manifest.
const (
	clusterKubeconfig = "cluster.kubeconfig"
	clusterToken      = "cluster.token"
)

// day is how long the tokens of tenants, and those of the syncers for their clusters, are good.
const day = 24 * time.Hour

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
	stdout, _, err := framework.Output(command)
	return stdout, err
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
	pod, err := framework.ReadPod(manifest)
	if err != nil {
		return err
	}
	token, err := tokenIn(pod.Files[framework.FlagValue(pod.Args, "--kcp-kubeconfig")])
	if err != nil {
		return err
	}
	j.token = token
	// It shares the host's ports.
	j.args = append(pod.ProcessArgs(j.dir, "--bind-address", "--metrics-bind-address"), "--kubeconfig="+j.file(clusterKubeconfig))
	return pod.Write(j.dir)
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

// file returns the path of one of the syncers' files.
func (j *joined) file(name string) string { return filepath.Join(j.dir, name) }

// kcpToken returns the token for kcp that was stored last.
func (j *joined) kcpToken() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.token
}

// giveClusterToken gives the syncers a token of their account in the cluster, as a kubelet does, and a kubeconfig that
// names its file.
func (g *Ground) giveClusterToken(ctx context.Context, name string) error {
	token, err := framework.AccountToken(ctx, g.Clusters[name], syncerNamespace, syncerName, day)
	if err != nil {
		return err
	}
	j := g.joined[name]
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := framework.WriteFile(j.file(clusterToken), []byte(token)); err != nil {
		return err
	}
	data, err := g.kubeconfig("https://"+clusterHost(name), &api.AuthInfo{TokenFile: j.file(clusterToken)})
	if err != nil {
		return err
	}
	return framework.WriteFile(j.file(clusterKubeconfig), data)
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
	token, err := framework.AccountToken(ctx, g.Workspace(providerWorkspace), metav1.NamespaceDefault, hubBinary, 365*day)
	if err != nil {
		return "", err
	}
	data, err := g.kubeconfig("https://"+kcpHost+"/clusters/"+providerWorkspace, &api.AuthInfo{Token: token})
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
