package framework

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

const (
	kcpStartTimeout  = 3 * time.Minute
	workspaceTimeout = time.Minute

	// kcpMemory is from when on kcp's garbage collector works harder. The whole e2e makes some 200 workspaces in it, which
	// take up to 7 GiB: twice that, without a limit, is more than a small machine has to spare. Until then the collector
	// may let garbage grow to gcPercent of what is in use: collecting takes a quarter of kcp's time otherwise.
	kcpMemory = "10GiB"
	gcPercent = "200"

	// kcpUser is the user of all kubeconfigs that KCP gives out. kcp's own admin gets a new token with each
	// start, which would lock everybody out after a restart; this one's comes from a file and stays.
	kcpUser  = "stack-admin"
	kcpGroup = "system:kcp:admin"
)

var (
	workspaceGVR      = schema.GroupVersionResource{Group: "tenancy.kcp.io", Version: "v1alpha1", Resource: "workspaces"}
	logicalClusterGVR = schema.GroupVersionResource{Group: "core.kcp.io", Version: "v1alpha1", Resource: "logicalclusters"}
	namespaceGVR      = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
)

// kcpConfig is what a KCP is made of.
type kcpConfig struct {
	// binary is the kcp to run; extraArgs come after the stack's own.
	binary    string
	extraArgs []string
	// address is the IP address at which kcp listens, and which its URLs name.
	address string
	// auditPolicy is the file of an audit policy, or empty.
	auditPolicy string
	// dir is the stack's.
	dir *directory
	run string
}

// KCP is the kcp server of a stack: one process that keeps its data, its ports and its users over restarts.
type KCP struct {
	config kcpConfig
	lease  *PortLease
	token  string

	mu      sync.Mutex
	process *Process
	// admin is kcp's own kubeconfig as of the first time it was ready. kcp writes the file again with each
	// start, not in one step; what is taken from it stays the same.
	admin *api.Config
}

func newKCP(config kcpConfig) (*KCP, error) {
	lease, err := ReservePorts(3)
	if err != nil {
		return nil, fmt.Errorf("kcp: %w", err)
	}
	k := &KCP{config: config, lease: lease, token: rand.Text()}
	line := fmt.Sprintf("%s,%s,%s,%q\n", k.token, kcpUser, kcpUser, kcpGroup)
	if err := WriteFile(k.tokenFile(), []byte(line)); err != nil {
		return nil, errors.Join(fmt.Errorf("kcp: write tokens: %w", err), lease.Release())
	}
	return k, nil
}

// URL gives kcp's address, without the path of a workspace.
func (k *KCP) URL() string {
	return "https://" + net.JoinHostPort(k.config.address, strconv.Itoa(k.lease.Ports()[0]))
}

// LogFile returns the path of kcp's log, which all its starts append to.
func (k *KCP) LogFile() string { return k.config.dir.file(logsName, "kcp.log") }

// AuditLog returns the path of kcp's audit log. The file is there only with Options.AuditPolicy.
func (k *KCP) AuditLog() string { return k.config.dir.file(logsName, "kcp-audit.log") }

// Process returns the process of the last start, to freeze it or to send it a signal.
func (k *KCP) Process() *Process {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.process
}

// Start runs kcp, again after Stop or Kill, and returns when it serves and its root workspace is ready. It
// fails when kcp ends before that, when it is not ready after 3 minutes, or when ctx ends; then kcp does not run.
func (k *KCP) Start(ctx context.Context) error {
	if process := k.Process(); process != nil && !process.Exited() {
		return fmt.Errorf("start kcp: it is running (process %d)", process.PID())
	}
	process, err := StartProcess(ProcessConfig{
		Name:    kcpName,
		Path:    k.config.binary,
		Args:    k.args(),
		Env:     append(mark(k.config.run, "kcp"), "GOMEMLIMIT="+kcpMemory, "GOGC="+gcPercent),
		Dir:     k.config.dir.path,
		LogFile: k.LogFile(),
	})
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.process = process
	k.mu.Unlock()
	err = Eventually(ctx, "kcp to be ready", kcpStartTimeout, func(ctx context.Context) (bool, string, error) {
		if code, exited := process.ExitCode(); exited {
			return true, "", fmt.Errorf("it ended with exit code %d", code)
		}
		return k.ready(ctx)
	})
	if err != nil {
		err = withTail(err, process.LogFile())
		// Asked to end in the middle of its start, kcp takes its time, and there is nothing to save.
		return errors.Join(err, process.Kill9())
	}
	return k.keepAdmin()
}

func (k *KCP) keepAdmin() error {
	admin, err := k.adminConfig()
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.admin = admin
	return nil
}

func (k *KCP) adminConfig() (*api.Config, error) {
	k.mu.Lock()
	admin := k.admin
	k.mu.Unlock()
	if admin != nil {
		return admin, nil
	}
	return clientcmd.LoadFromFile(k.config.dir.file(kcpName, "admin.kubeconfig"))
}

// args names each directory, port and URL: kcp's own choices would be the working directory, fixed ports,
// and an address that is not this machine's loopback.
func (k *KCP) args() []string {
	ports := k.lease.Ports()
	root := k.config.dir.file(kcpName)
	args := []string{
		"start",
		"--root-directory=" + root,
		"--bind-address=" + k.config.address,
		"--secure-port=" + strconv.Itoa(ports[0]),
		"--embedded-etcd-client-port=" + strconv.Itoa(ports[1]),
		"--embedded-etcd-peer-port=" + strconv.Itoa(ports[2]),
		"--external-hostname=" + k.config.address,
		"--shard-base-url=" + k.URL(),
		"--shard-external-url=" + k.URL(),
		"--token-auth-file=" + k.tokenFile(),
	}
	if k.config.auditPolicy != "" {
		args = append(args, "--audit-policy-file="+k.config.auditPolicy, "--audit-log-path="+k.AuditLog())
	}
	return append(args, k.config.extraArgs...)
}

func (k *KCP) tokenFile() string { return k.config.dir.file(kcpName, "tokens.csv") }

// ready looks once whether kcp can be used.
func (k *KCP) ready(ctx context.Context) (done bool, state string, err error) {
	config, err := k.RESTConfig("root")
	if err != nil {
		return false, "no admin kubeconfig", err
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return true, "", err
	}
	if ok, state, err := getOK(ctx, client, k.URL()+"/readyz"); !ok || err != nil {
		return false, "/readyz: " + state, err
	}
	root, err := dynamic.NewForConfigAndClient(config, client)
	if err != nil {
		return true, "", err
	}
	logicalCluster, err := root.Resource(logicalClusterGVR).Get(ctx, "cluster", metav1.GetOptions{})
	if err != nil {
		return false, "workspace root", err
	}
	if done, state, err := phaseReady(logicalCluster); !done || err != nil {
		return done, state, err
	}
	// On a busy machine kcp denies its administrators new workspaces for a moment longer.
	_, err = root.Resource(workspaceGVR).Create(ctx, newWorkspace("probe", "root", "universal"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err == nil, "a workspace cannot be made in root", err
}

// phaseReady looks at the phase of a Workspace or a LogicalCluster.
func phaseReady(object *unstructured.Unstructured) (done bool, state string, err error) {
	phase, _, err := unstructured.NestedString(object.Object, "status", "phase")
	return err == nil && phase == "Ready", fmt.Sprintf("%s is in phase %q", object.GetName(), phase), err
}

// Stop ends kcp and keeps its data and ports. It returns an error when kcp had to be killed. It does nothing
// when kcp does not run.
func (k *KCP) Stop(ctx context.Context) error {
	process := k.Process()
	if process == nil {
		return nil
	}
	return process.Stop(ctx)
}

// Restart is Stop and Start.
func (k *KCP) Restart(ctx context.Context) error {
	if err := k.Stop(ctx); err != nil {
		return err
	}
	return k.Start(ctx)
}

// Kill ends kcp as a crash would, with SIGKILL.
func (k *KCP) Kill() error {
	process := k.Process()
	if process == nil {
		return nil
	}
	return process.Kill9()
}

// Kubeconfig writes an admin kubeconfig for a workspace, such as "root:team-a", and gives the file's path.
// The empty workspace stands for the server without a workspace. The file holds all it needs, and stays
// valid over restarts of kcp. kcp must have been ready once; whether the workspace is there is not looked at.
func (k *KCP) Kubeconfig(workspace string) (string, error) {
	config, err := k.clientConfig(workspace)
	if err != nil {
		return "", err
	}
	file := k.config.dir.file(kubeconfigsName, workspaceFile(workspace))
	return file, writeKubeconfig(file, config)
}

// RESTConfig returns what Kubeconfig writes as a client configuration, without client-side rate limit.
func (k *KCP) RESTConfig(workspace string) (*rest.Config, error) {
	config, err := k.clientConfig(workspace)
	if err != nil {
		return nil, err
	}
	return restConfig(config)
}

func (k *KCP) clientConfig(workspace string) (*api.Config, error) {
	admin, err := k.adminConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig for workspace %q: %w", workspace, err)
	}
	config, err := workspaceKubeconfig(admin, workspace, kcpUser, k.token)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig for workspace %q: %w", workspace, err)
	}
	return config, nil
}

// CreateWorkspace makes a workspace of kcp's universal type below parent, such as "root", and waits until it
// can be used. A workspace that is there already is waited for. It fails when that takes longer than a
// minute.
func (k *KCP) CreateWorkspace(ctx context.Context, parent, name string) error {
	return k.CreateWorkspaceOfType(ctx, parent, name, "root", "universal")
}

// CreateWorkspaceOfType is CreateWorkspace for a WorkspaceType, which is in the workspace of
// typePath.
func (k *KCP) CreateWorkspaceOfType(ctx context.Context, parent, name, typePath, typeName string) error {
	config, err := k.RESTConfig(parent)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("create workspace %s:%s: %w", parent, name, err)
	}
	workspaces := client.Resource(workspaceGVR)
	_, err = workspaces.Create(ctx, newWorkspace(name, typePath, typeName), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create workspace %s:%s: %w", parent, name, err)
	}
	what := fmt.Sprintf("workspace %s:%s to be ready", parent, name)
	return Eventually(ctx, what, workspaceTimeout, func(ctx context.Context) (bool, string, error) {
		workspace, err := workspaces.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		if done, state, err := phaseReady(workspace); !done {
			return false, state, err
		}
		return k.serves(ctx, parent+":"+name)
	})
}

// serves looks once whether a workspace answers: its phase is Ready a moment before everybody knows it.
func (k *KCP) serves(ctx context.Context, workspace string) (done bool, state string, err error) {
	config, err := k.RESTConfig(workspace)
	if err != nil {
		return true, "", err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return true, "", err
	}
	_, err = client.Resource(namespaceGVR).Get(ctx, metav1.NamespaceDefault, metav1.GetOptions{})
	return err == nil, "namespace default", err
}

func newWorkspace(name, typePath, typeName string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": workspaceGVR.GroupVersion().String(),
		"kind":       "Workspace",
		"metadata":   map[string]any{"name": name},
		"spec":       map[string]any{"type": map[string]any{"name": typeName, "path": typePath}},
	}}
}

// close stops kcp for good.
func (k *KCP) close(ctx context.Context) error {
	return errors.Join(k.Stop(ctx), k.lease.Release())
}
