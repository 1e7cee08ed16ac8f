package framework

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// What a machine has of kind.
const (
	// KindBinaryEnv names the variable that says which kind binary to run instead of the one of the tools.
	KindBinaryEnv = "KIND_BIN"
	// KindNodeImageEnv names the variable that says which image the nodes are made of instead of kind's own choice.
	KindNodeImageEnv = "KIND_NODE_IMAGE"
)

const (
	// kindPrefix begins the names of all that the provider makes in Docker, which knows no stacks.
	kindPrefix = "tmc-e2e"
	// kindWait is how long kind waits for a node that it has made to be ready.
	kindWait = 3 * time.Minute
	// kindDeleteTimeout bounds the end of a cluster, which has to happen also when a context has ended.
	kindDeleteTimeout = time.Minute
)

// KindProvider makes clusters with kind: real kubelets, and pods that run, in containers of the local Docker. The
// clusters and their network have the same names in every run, so a machine has room for one run at a time, which
// also removes what a killed one has left behind.
type KindProvider struct {
	kind, image, dir string
}

// NewKindProvider returns a provider that keeps kubeconfigs in a directory. It runs $KIND_BIN, or else the kind of the
// tools, and makes nodes of $KIND_NODE_IMAGE, or else of the image that this kind was published with. It
// fails when there is no kind, or no docker in the path.
func NewKindProvider(dir string) (*KindProvider, error) {
	tools, err := ToolsDir()
	if err != nil {
		return nil, err
	}
	p := &KindProvider{
		kind:  cmp.Or(os.Getenv(KindBinaryEnv), filepath.Join(tools, "kind")),
		image: os.Getenv(KindNodeImageEnv),
		dir:   dir,
	}
	if err := makeAbsolute(&p.kind, &p.dir); err != nil {
		return nil, err
	}
	if _, err := os.Stat(p.kind); err != nil {
		return nil, fmt.Errorf("kind: %w: run `make bin/tools/kind`, or set %s", err, KindBinaryEnv)
	}
	if _, err := exec.LookPath("docker"); err != nil {
		return nil, fmt.Errorf("kind: %w", err)
	}
	return p, nil
}

// HostAddress returns the IP address at which pods of the clusters reach this machine: the gateway of the network that
// the clusters share. It makes the network if need be, for whatever is to listen there is often there before them.
func (p *KindProvider) HostAddress(ctx context.Context) (string, error) {
	if _, err := p.run(ctx, "docker", "network", "inspect", kindPrefix); err != nil {
		if _, err := p.run(ctx, "docker", "network", "create", kindPrefix); err != nil {
			return "", err
		}
	}
	gateways, err := p.run(ctx, "docker", "network", "inspect", "--format={{range .IPAM.Config}}{{.Gateway}} {{end}}", kindPrefix)
	if err != nil {
		return "", err
	}
	return firstIPv4(gateways)
}

// firstIPv4 picks the first IPv4 address among those of a network, which may have an IPv6 one as well.
func firstIPv4(addresses string) (string, error) {
	for field := range strings.FieldsSeq(addresses) {
		if address, err := netip.ParseAddr(field); err == nil && address.Is4() {
			return field, nil
		}
	}
	return "", fmt.Errorf("the gateways of the network %s are %q, expected an IPv4 address among them", kindPrefix, addresses)
}

// Create implements Provider. A cluster has one node, which is all that every node image can do, and no audit log.
func (p *KindProvider) Create(ctx context.Context, name string, options ClusterOptions) (Cluster, error) {
	if options.Nodes != 1 || options.AuditPolicy != "" {
		return nil, fmt.Errorf("create cluster %s: with %d nodes and audit policy %q, expected 1 and none of a kind cluster",
			name, options.Nodes, options.AuditPolicy)
	}
	c := &kindCluster{provider: p, name: name}
	// A killed run may have left one.
	err := p.Delete(ctx, name)
	if err == nil {
		err = c.create(ctx)
	}
	if err != nil {
		err = fmt.Errorf("create cluster %s: %w", name, err)
		return nil, errors.Join(err, p.Delete(context.WithoutCancel(ctx), name))
	}
	return c, nil
}

// Delete implements Provider.
func (p *KindProvider) Delete(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, kindDeleteTimeout)
	defer cancel()
	_, err := p.run(ctx, p.kind, "delete", "cluster", "--name="+kindName(name), "--kubeconfig="+p.kubeconfig(name))
	if err != nil {
		return fmt.Errorf("delete cluster %s: %w", name, err)
	}
	return os.RemoveAll(p.kubeconfig(name))
}

// Close removes what the clusters shared. They have to be deleted.
func (p *KindProvider) Close(ctx context.Context) error {
	_, err := p.run(ctx, "docker", "network", "rm", kindPrefix)
	return err
}

// LoadImage gives a cluster an image that the local Docker has.
func (p *KindProvider) LoadImage(ctx context.Context, cluster, image string) error {
	_, err := p.run(ctx, p.kind, "load", "docker-image", image, "--name="+kindName(cluster))
	if err != nil {
		return fmt.Errorf("load image %s into cluster %s: %w", image, cluster, err)
	}
	return nil
}

// NamePause gives the image that holds a pod's network namespace, and which every node therefore has, more names: pods
// of these images run, for as long as they are wanted, without anything being pulled. The names are full
// ones, such as example.com/web:1.
func (p *KindProvider) NamePause(ctx context.Context, cluster string, names ...string) error {
	node := kindNode(cluster)
	images, err := p.run(ctx, "docker", "exec", node, "ctr", "--namespace=k8s.io", "images", "list", "--quiet")
	if err != nil {
		return err
	}
	pause, err := findPause(images)
	if err != nil {
		return fmt.Errorf("node %s: %w", node, err)
	}
	tag := append([]string{"exec", node, "ctr", "--namespace=k8s.io", "images", "tag", "--force", pause}, names...)
	_, err = p.run(ctx, "docker", tag...)
	return err
}

// findPause finds the pause image by its tag in a list of image names, a line each.
func findPause(images string) (string, error) {
	for image := range strings.FieldsSeq(images) {
		if strings.Contains(image, "/pause:") && !strings.Contains(image, "@") {
			return image, nil
		}
	}
	return "", fmt.Errorf("no image …/pause:… among %q", strings.Fields(images))
}

// run runs kind or docker to its end, and gives what it wrote to stdout.
func (p *KindProvider) run(ctx context.Context, program string, args ...string) (stdout string, err error) {
	cmd := exec.CommandContext(ctx, program, args...)
	// In a network of their own the clusters leave the one of a user's own kind clusters alone.
	cmd.Env = append(os.Environ(), "KIND_EXPERIMENTAL_DOCKER_NETWORK="+kindPrefix)
	stdout, _, err = Output(cmd)
	return stdout, err
}

func (p *KindProvider) kubeconfig(name string) string {
	return filepath.Join(p.dir, "cluster."+name+".kubeconfig")
}

// kindName returns the name that kind knows a cluster under.
func kindName(cluster string) string { return kindPrefix + "-" + cluster }

// kindNode returns the name of the container that is a cluster's only node.
func kindNode(cluster string) string { return kindName(cluster) + "-control-plane" }

// kindCluster is a cluster of the KindProvider.
type kindCluster struct {
	provider *KindProvider
	name     string
}

// create makes the cluster and waits until pods can run.
func (c *kindCluster) create(ctx context.Context) error {
	args := []string{
		"create", "cluster", "--name=" + kindName(c.name), "--kubeconfig=" + c.Kubeconfig(), "--wait=" + kindWait.String(),
	}
	if c.provider.image != "" {
		args = append(args, "--image="+c.provider.image)
	}
	if _, err := c.provider.run(ctx, c.provider.kind, args...); err != nil {
		return err
	}
	kubeconfig, err := clusterKubeconfig(c.Kubeconfig(), c.name)
	if err != nil {
		return err
	}
	if err := writeKubeconfig(c.Kubeconfig(), kubeconfig); err != nil {
		return err
	}
	config, err := c.RESTConfig()
	if err != nil {
		return err
	}
	return waitUsable(ctx, config, c.name, 1)
}

// Name implements Cluster.
func (c *kindCluster) Name() string { return c.name }

// Kubeconfig implements Cluster.
func (c *kindCluster) Kubeconfig() string { return c.provider.kubeconfig(c.name) }

// RESTConfig implements Cluster.
func (c *kindCluster) RESTConfig() (*rest.Config, error) {
	config, err := clientcmd.LoadFromFile(c.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("kubeconfig of cluster %s: %w", c.name, err)
	}
	return restConfig(config)
}

// AuditLog implements Cluster.
func (c *kindCluster) AuditLog() string { return "" }

// StopComponent implements Cluster. The kubelet would start the component again.
func (c *kindCluster) StopComponent(_ context.Context, component string) error {
	return c.unsupported("stop", component)
}

// StartComponent implements Cluster.
func (c *kindCluster) StartComponent(_ context.Context, component string) error {
	return c.unsupported("start", component)
}

// FreezeComponent implements Cluster. The kubelet would take the component for dead.
func (c *kindCluster) FreezeComponent(_ context.Context, component string) error {
	return c.unsupported("freeze", component)
}

// ThawComponent implements Cluster.
func (c *kindCluster) ThawComponent(_ context.Context, component string) error {
	return c.unsupported("thaw", component)
}

func (c *kindCluster) unsupported(verb, component string) error {
	return fmt.Errorf("%s %s of kind cluster %s: %w", verb, component, c.name, errors.ErrUnsupported)
}
