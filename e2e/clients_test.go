package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

const (
	helm4Command = "helm4"
	fluxCommand  = "fluxapply"
	clientsChart = "testdata/clients-chart"
	// notYet is how long a client that has to wait is watched, after what it must not take for the end.
	notYet = 3 * time.Second
)

// countings are the ways in which a workload of several clusters has numbers that other clients than kubectl can read.
var countings = map[string]string{
	"per-cluster": "{workloadSelector: {}, clusterSelector: {}, statusCounters: PerCluster}",
	"divided":     "{workloadSelector: {}, clusterSelector: {}, replicas: Divided}",
}

// release is the clients' chart, in a namespace of its own, which has its name on all sides.
type release struct {
	*tenant

	name                string
	kcp, atEast, atWest side
	// dir is for what programs keep.
	dir string
	// web and db are labels that no node has, until the test gives them to it.
	web, db string
}

// newRelease makes a namespace with a placement, and volumes on both clusters.
func newRelease(t *testing.T, u *tenant, client, counting string) *release {
	t.Helper()
	name := unique(client + "-" + counting)
	r := &release{tenant: u, name: name, dir: t.TempDir(), web: name + "-web", db: name + "-db"}
	r.kcp, r.atEast, r.atWest = u.inKCP().in(name), u.onCluster(east).in(name), u.onCluster(west).in(name)
	r.kcp.kubectl(t, "create", "namespace", name)
	r.kcp.apply(t, fmt.Sprintf("{apiVersion: tmc.kcp.io/v1alpha1, kind: WorkloadPlacement, metadata: {name: all}, spec: %s}", countings[counting]))
	for _, c := range u.installation.clusters {
		u.createOn(t, c, fmt.Sprintf(`{apiVersion: v1, kind: PersistentVolume, metadata: {name: %[1]s}, spec: {storageClassName: %[1]s,
			capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], persistentVolumeReclaimPolicy: Retain, hostPath: {path: /tmp}}}`, name))
	}
	return r
}

// letPods gives all nodes of a cluster a label that pods ask for, until the test ends.
func letPods(t *testing.T, clusterName, label string) {
	t.Helper()
	c := env.clusters[clusterName]
	check(t, c.kubectl(t, "label", "nodes", "--all", "--overwrite", label+"=ready"))
	t.Cleanup(func() { check(t, c.kubectl(t, "label", "nodes", "--all", label+"-")) })
}

// giveAddress does what a cluster's load balancer does.
func giveAddress(t *testing.T, s side, service string) {
	t.Helper()
	s.eventuallyThere(t, "service/"+service)
	s.kubectl(t, "patch", "service", service, "--subresource=status", "--type=merge", `--patch={"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}}`)
}

// set are the values of the chart, beside others.
func (r *release) set(values ...string) string {
	return "--set=" + strings.Join(append(values, "storageClass="+r.name, "db="+r.db, "service=LoadBalancer"), ",")
}

// checkDone fails the test unless the copies of all workloads are rolled out, on both clusters, now, and run the tag. Helm 3 lets
// some pods of a DaemonSet be not ready (maxUnavailable), on one cluster as well.
func (r *release) checkDone(t *testing.T, tag string) {
	t.Helper()
	for _, s := range []side{r.atEast, r.atWest} {
		got := s.kubectl(t, "get", "deployment,statefulset,daemonset", r.name, "--output=jsonpath="+
			`{range .items[*]}{.kind} {.spec.template.metadata.annotations.tag} {.metadata.generation}={.status.observedGeneration} {.spec.replicas}={.status.readyReplicas} `+
			`{.status.replicas}={.status.updatedReplicas} {.status.desiredNumberScheduled}={.status.updatedNumberScheduled}{"\n"}{end}`)
		for line := range strings.Lines(got) {
			if !isDone(strings.Fields(line), tag) {
				t.Errorf("on %s, not all is done: %s", s.name, got)
			}
		}
	}
}

// isDone reports whether a line of checkDone says that a workload is done: that it has the tag, and both of each pair are the same.
func isDone(fields []string, tag string) bool {
	done := len(fields) > 2 && fields[1] == tag
	for _, pair := range fields[2:] {
		left, right, _ := strings.Cut(pair, "=")
		done = done && left == right
	}
	return done
}

// waits runs a client that waits for both clusters, while the pods of west wait for a label of nodes: the client must not
// return before they have it.
func (r *release) waits(t *testing.T, run func() error) {
	t.Helper()
	letPods(t, east, r.web)
	letPods(t, east, r.db)
	done := make(chan error, 1)
	go func() { done <- run() }()
	giveAddress(t, r.atEast, r.name)
	r.atEast.eventually(t, "deployment/"+r.name, "{.status.conditions[?(@.type=='Available')].status}", "True")
	r.atWest.eventuallyThere(t, "statefulset/"+r.name)
	select {
	case err := <-done:
		t.Fatalf("it has returned (%v) while west has no pods", err)
	case <-time.After(notYet):
	}
	letPods(t, west, r.db)
	letPods(t, west, r.web)
	giveAddress(t, r.atWest, r.name)
	check(t, <-done)
}

// checkNothingLeft waits until no side has anything of the release: garbage collectors take what belonged to it a moment later.
func (r *release) checkNothingLeft(t *testing.T) {
	t.Helper()
	const kinds = "deployments,statefulsets,daemonsets,replicasets,controllerrevisions,services,persistentvolumeclaims,jobs,configmaps,secrets"
	for _, s := range []side{r.kcp, r.atEast, r.atWest} {
		eventually(t, s.name+" to have nothing of it", soon, func(ctx context.Context) (bool, string, error) {
			got, err := s.try(ctx, "get", kinds, "--output=name")
			return err == nil && !strings.Contains(got, r.name), got, err
		})
	}
}

// client runs a program on the workspace and returns what it prints.
func (r *release) client(ctx context.Context, program string, args ...string) (string, error) {
	tools, err := framework.ToolsDir()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(tools, program), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+r.kcp.kubeconfig, "HELM_CACHE_HOME="+r.dir, "HELM_CONFIG_HOME="+r.dir, "HELM_DATA_HOME="+r.dir)
	stdout, _, err := framework.Output(command)
	return stdout, err
}

// helmOf returns a function that runs a Helm on the workspace and then looks whether a cluster has what is Helm's alone.
func (r *release) helmOf(t *testing.T, program string) func(args ...string) error {
	t.Helper()
	return func(args ...string) error {
		_, err := r.client(t.Context(), program, append([]string{"--namespace=" + r.name}, args...)...)
		for _, s := range []side{r.atEast, r.atWest} {
			if got, getErr := s.try(t.Context(), "get", "secrets", "--output=name"); getErr != nil || strings.Contains(got, "sh.helm.release") {
				t.Errorf("%s has secrets %q, %v: want none of Helm's", s.name, got, getErr)
			}
		}
		return err
	}
}

// TestHelmWaitsForAllClusters runs Helm 3 and Helm 4 as a user of one cluster does, with --wait.
func TestHelmWaitsForAllClusters(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "helm")
	// Helm 4 may change lists as well, and Helm 3 may not.
	onFailure := map[string]string{helmCommand: "--atomic", helm4Command: "--rollback-on-failure"}
	port := map[string]string{helmCommand: "80", helm4Command: "81"}
	t.Run("clients", func(t *testing.T) {
		for program := range onFailure {
			for counting := range countings {
				t.Run(program+" "+counting, func(t *testing.T) {
					t.Parallel()
					r := newRelease(t, u, program, counting)
					r.runsWithHelm(t, r.helmOf(t, program), onFailure[program], port[program])
				})
			}
		}
	})
}

func (r *release) runsWithHelm(t *testing.T, helm func(args ...string) error, onFailure, port string) {
	const wait, timeout = "--wait", "--timeout=120s"
	web := "web=" + r.web
	r.waits(t, func() error { return helm("install", r.name, clientsChart, wait, timeout, r.set(web)) })
	r.checkDone(t, "1")
	r.checkMigrated(t)
	check(t, helm("upgrade", r.name, clientsChart, wait, timeout, r.set(web, "tag=2", "port="+port)))
	r.checkDone(t, "2")
	r.kcp.eventually(t, "service/"+r.name, "{.spec.ports[*].port}", port)
	r.checkMigrated(t)
	check(t, helm("rollback", r.name, "1", wait, timeout))
	r.checkDone(t, "1")
	r.kcp.eventually(t, "service/"+r.name, "{.spec.ports[*].port}", "80")

	// East alone has nodes for it.
	letPods(t, east, r.web+"-2")
	failing := []string{"upgrade", r.name, clientsChart, wait, "--timeout=20s", "--no-hooks", r.set("web="+r.web+"-2", "tag=3", "deadline=3")}
	if err := helm(failing...); err == nil {
		t.Error("an upgrade that cannot become ready on west succeeds")
	}
	r.saysWhy(t)
	if err := helm(append(failing, onFailure)...); err == nil {
		t.Error("such an upgrade succeeds with " + onFailure)
	}
	r.kcp.eventually(t, "deployment/"+r.name, "{.spec.template.metadata.annotations.tag} {.spec.template.spec.nodeSelector}", `1 {"`+r.web+`":"ready"}`)
	check(t, helm("upgrade", r.name, clientsChart, wait, timeout, r.set(web, "tag=4")))
	r.checkDone(t, "4")

	check(t, helm("uninstall", r.name, wait, timeout))
	r.checkNothingLeft(t)
}

// saysWhy waits until the Deployment's condition says why it has failed, and where. kstatus shows that message as well.
func (r *release) saysWhy(t *testing.T) {
	t.Helper()
	r.kcp.eventuallyHas(t, "deployment/"+r.name, `{.status.conditions[?(@.type=="Progressing")].reason} {.status.conditions[?(@.type=="Progressing")].message}`,
		"ProgressDeadlineExceeded", west, "Unschedulable")
}

// checkMigrated fails the test unless the hook's Job is gone everywhere: Helm deletes it when it has succeeded, which is when it has
// on all clusters.
func (r *release) checkMigrated(t *testing.T) {
	t.Helper()
	for _, s := range []side{r.kcp, r.atEast, r.atWest} {
		s.eventuallyGone(t, "job/"+r.name+"-migrate")
	}
}

// TestFluxWaitsForAllClusters runs what Flux' kustomize-controller does: apply a set, prune, and wait for all of it.
func TestFluxWaitsForAllClusters(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "flux")
	t.Run("countings", func(t *testing.T) {
		for counting := range countings {
			t.Run(counting, func(t *testing.T) {
				t.Parallel()
				newRelease(t, u, "flux", counting).runsWithFlux(t)
			})
		}
	})
}

func (r *release) runsWithFlux(t *testing.T) {
	web := "web=" + r.web
	r.waits(t, func() error {
		_, err := r.flux(t, r.set(web, "more=true"))
		return err
	})
	r.checkDone(t, "1")
	// A report that comes between two of its requests it takes for a change.
	eventually(t, "what is applied again to be unchanged", soon, func(context.Context) (bool, string, error) {
		said, err := r.flux(t, r.set(web, "more=true"))
		return err == nil && strings.Count(said, " unchanged\n") == strings.Count(said, "\n")-1, said, err
	})

	said, err := r.flux(t, r.set(web, "tag=2"))
	check(t, err)
	r.checkDone(t, "2")
	if want := "Deployment/" + r.name + "/" + r.name + "-more deleted"; !strings.Contains(said, want) {
		t.Errorf("it says %q, want %q", said, want)
	}
	for _, s := range []side{r.kcp, r.atEast, r.atWest} {
		s.eventuallyGone(t, "deployment/"+r.name+"-more")
	}

	letPods(t, east, r.web+"-2")
	_, err = r.flux(t, r.set("web="+r.web+"-2", "tag=3", "deadline=3"))
	if err == nil || !hasWords(err.Error(), []string{"Deployment/" + r.name + "/" + r.name + " status: 'Failed'", "ProgressDeadlineExceeded", west}) {
		t.Errorf("what cannot become ready on west ends with %v", err)
	}
	r.saysWhy(t)
	_, err = r.flux(t, r.set(web, "tag=4"))
	check(t, err)
	r.checkDone(t, "4")

	_, err = r.flux(t, "")
	check(t, err)
	r.checkNothingLeft(t)
}

// flux applies the chart with values as kustomize-controller would, or deletes all of it without any, and returns what it says.
func (r *release) flux(t *testing.T, values string) (string, error) {
	t.Helper()
	args := []string{"--name=" + r.name, "--inventory=" + filepath.Join(r.dir, "inventory"), "--timeout=120s", "--interval=1s"}
	if values == "" {
		return r.client(t.Context(), fluxCommand, append(args, "--delete")...)
	}
	manifests, err := r.client(t.Context(), helm4Command, "template", r.name, clientsChart, "--no-hooks", values)
	if err != nil {
		return "", err
	}
	file := filepath.Join(r.dir, "manifests.yaml")
	if err := os.WriteFile(file, []byte(manifests), 0o600); err != nil {
		return "", err
	}
	return r.client(t.Context(), fluxCommand, append(args, "--target-namespace="+r.name, "--filename="+file)...)
}
