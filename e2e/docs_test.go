package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// docsMark is the line in a document before a block of shell that TestDocs runs.
const docsMark = "<!-- e2e -->"

// docsTimeout bounds one block.
const docsTimeout = 3 * time.Minute

// docs is a user who types what the documents say, in a directory of his own: an installation that he makes himself,
// with the contexts kcp, team-a and east in his kubeconfig.
type docs struct {
	installation installation
	dir          string
	// east is the cluster behind that name.
	east *cluster
}

// TestDocs runs the blocks of shell that are marked in the README and in the pages on its usage, as they stand there
// and in the order in which somebody reads them.
func TestDocs(t *testing.T) {
	t.Parallel()
	d := newDocs(t)
	for _, document := range []string{"README.md", "docs/placement.md", "docs/adapting.md", "docs/status.md", "docs/differences.md"} {
		for _, block := range markedBlocks(t, document) {
			d.run(t, document, block)
		}
	}
}

// newDocs makes the workspace of the user, and the files that the documents take for granted. The cluster is north,
// which the shared installation does not know: the documents call it east.
func newDocs(t *testing.T) *docs {
	t.Helper()
	d := &docs{installation: installation{provider: "root:" + unique("docs")}, dir: t.TempDir(), east: env.clusters[north]}
	team := unique("team-a")
	check(t, env.stack.KCP.CreateWorkspace(t.Context(), "root", team))
	files := map[string]string{"team-a": "", "kcp": "", "east": d.east.kubeconfig}
	var err error
	files["kcp"], err = env.stack.KCP.Kubeconfig("root")
	check(t, err)
	files["team-a"], err = env.stack.KCP.Kubeconfig("root:" + team)
	check(t, err)
	merged := api.NewConfig()
	for name, file := range files {
		config, err := clientcmd.LoadFromFile(file)
		check(t, err)
		current := config.Contexts[config.CurrentContext]
		merged.Clusters[name], merged.AuthInfos[name] = config.Clusters[current.Cluster], config.AuthInfos[current.AuthInfo]
		merged.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name}
	}
	check(t, clientcmd.WriteToFile(*merged, filepath.Join(d.dir, "kubeconfig")))
	content, err := os.ReadFile(files["kcp"])
	check(t, err)
	check(t, os.WriteFile(filepath.Join(d.dir, "kcp.kubeconfig"), content, 0o600))
	return d
}

// markedBlocks returns the blocks of shell of a document that follow a mark.
func markedBlocks(t *testing.T, document string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", document))
	check(t, err)
	var blocks []string
	for _, part := range strings.Split(string(content), docsMark+"\n```sh\n")[1:] {
		block, _, closed := strings.Cut(part, "```\n")
		if !closed {
			t.Fatalf("%s: a block of shell does not end", document)
		}
		blocks = append(blocks, block)
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no block of shell after a line %s", document, docsMark)
	}
	return blocks
}

// run runs a block, and fails the test when one of its commands does. A daemon runs until the test ends; the syncer of
// a cluster that has joined is started, for nothing runs in the local clusters' pods.
func (d *docs) run(t *testing.T, document, block string) {
	t.Helper()
	if args := strings.Fields(block); args[0] == controllerBinary {
		d.start(t, controllerBinary, append(args[1:], "--provider-workspace="+d.installation.provider)...)
		return
	}
	if strings.Contains(block, "tmc init") || strings.Contains(block, "tmc bind") {
		settingUp.Lock()
		defer settingUp.Unlock()
	}
	ctx, cancel := context.WithTimeout(t.Context(), docsTimeout)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", d.prologue(t)+block)
	shell.Dir = d.dir
	var out bytes.Buffer
	shell.Stdout, shell.Stderr = &out, &out
	err := shell.Run()
	t.Logf("%s:\n%s%s", document, block, out.String())
	if err != nil {
		t.Fatalf("%s: a command of the block fails: %v", document, err)
	}
	if strings.Contains(block, "tmc join") {
		d.startSyncer(t)
	}
}

// prologue has kubectl find the plugin under test, and the plugin use names of this test: for the provider workspace
// instead of root:tmc, and for the syncer's namespace instead of tmc-system.
func (d *docs) prologue(t *testing.T) string {
	t.Helper()
	tools, err := framework.ToolsDir()
	check(t, err)
	return fmt.Sprintf(`export KUBECONFIG=%q/kubeconfig
kubectl() {
	local args=(--provider-workspace=%s)
	if [[ $1 != tmc ]]; then %q "$@"; return; fi
	if [[ $2 == join ]]; then args+=(--namespace=%s); fi
	%q "${@:2}" "${args[@]}"
}
`, d.dir, d.installation.provider, filepath.Join(tools, "kubectl"), namespaceOfSyncer("docs"), filepath.Join(env.binaries, pluginBinary))
}

// start runs a daemon in the directory of the documents until the test ends, and waits until it is ready.
func (d *docs) start(t *testing.T, binary string, args ...string) {
	t.Helper()
	for i, arg := range args {
		if arg == "kcp.kubeconfig" {
			args[i] = filepath.Join(d.dir, arg)
		}
	}
	check(t, startProgram(t, "docs-"+binary, binary, args...).waitReady(t.Context()))
}

// startSyncer runs, with the rights that the manifest gives it, the syncer of the cluster that has joined.
func (d *docs) startSyncer(t *testing.T) {
	t.Helper()
	manifest, err := os.ReadFile(filepath.Join(d.dir, "east.yaml"))
	check(t, err)
	joined := &joined{logName: d.installation.logName("syncer-east"), on: d.east, namespace: namespaceOfSyncer("docs"), manifest: string(manifest)}
	args, err := joined.arguments(t.Context())
	check(t, err)
	d.start(t, syncerBinary, args...)
	check(t, d.installation.waitClusters(t.Context(), "east"))
	t.Cleanup(func() {
		_, _, err := framework.KubectlInput(context.WithoutCancel(t.Context()), bytes.NewReader(manifest), d.east.kubeconfig, "delete", "--ignore-not-found", "--filename=-")
		if err != nil {
			t.Error(err)
		}
	})
}
