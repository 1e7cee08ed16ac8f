package e2e

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// rolled is a workload that kubectl's rollout verbs are tried on, in kcp and on a plain cluster.
type rolled struct {
	// object is the workload as kubectl names it.
	object, manifest string
	// share is how many pods a cluster may have at any moment, 0 where that is not looked at.
	share int
	steps []verb
}

// verb is one command of kubectl's. OBJECT in it stands for the workload.
type verb struct {
	command string
	// ends is set where the last line alone is compared: how often numbers change on the way differs.
	ends bool
	// asks is set where nothing is changed, so that the command can be repeated until controllers are through.
	asks bool
	// image is what the copies are to run afterwards, empty where that is not looked at.
	image string
}

func does(command string) verb { return verb{command: command} }
func asks(command string) verb { return verb{command: command, asks: true} }

// runs waits for the roll-out, and looks whether both clusters run the image.
func runs(image string) verb {
	return verb{command: "rollout status OBJECT --timeout=100s", ends: true, image: image}
}

// verbsOfAll are what can be done to all three kinds. Of each revision, the image's tag is the number.
func verbsOfAll() []verb {
	return []verb{
		runs("1"),
		asks("rollout history OBJECT"),
		does("rollout undo OBJECT"), // there is none before
		does("set image OBJECT main=registry.example.com/app:2"),
		runs("2"),
		does("set env OBJECT --containers=main B=2"),
		runs("2"),
		asks("rollout history OBJECT"),
		asks("rollout history OBJECT --revision=1"),
		asks("rollout history OBJECT --revision=3"),
		asks("rollout history OBJECT --revision=9"),
		does("rollout undo OBJECT --to-revision=1 --dry-run=server"),
		asks("rollout undo OBJECT --to-revision=1 --dry-run=client"),
		does("rollout undo OBJECT --to-revision=9"),
		does("rollout undo OBJECT --to-revision=3"), // that is what runs
		does("rollout undo OBJECT"),
		runs("2"),
		asks("rollout history OBJECT"),
		does("rollout undo OBJECT --to-revision=1"),
		runs("1"),
		asks("rollout history OBJECT"),
		does("rollout restart OBJECT"),
		runs("1"),
		asks("rollout history OBJECT"),
		// Two in a row, and the first has not come to its end.
		does("rollout undo OBJECT --to-revision=4"),
		does("rollout undo OBJECT --to-revision=3"),
		runs("2"),
		asks("rollout history OBJECT"),
		{command: "rollout status OBJECT --revision=7 --timeout=20s", ends: true},
		{command: "rollout status OBJECT --revision=2 --timeout=20s", ends: true},
	}
}

// verbsOfDeployments are what only Deployments can do, from where verbsOfAll end.
func verbsOfDeployments() []verb {
	return []verb{
		asks("describe OBJECT --show-events=false"),
		does("rollout pause OBJECT"),
		does("rollout undo OBJECT"),
		does("set image OBJECT main=registry.example.com/app:3"),
		asks("rollout history OBJECT"),
		does("rollout resume OBJECT"),
		runs("3"),
		does("annotate OBJECT kubernetes.io/change-cause=third"),
		asks("rollout history OBJECT"),
		does("rollout undo OBJECT"),
		runs("2"),
		asks("rollout history OBJECT"),
		asks("describe OBJECT --show-events=false"),
	}
}

// verbsRefused are what kubectl refuses of the other kinds.
func verbsRefused() []verb {
	return []verb{does("rollout pause OBJECT"), does("rollout resume OBJECT")}
}

// rolledWorkload is a manifest of two containers. Where replicas are duplicated, its numbers are those of a cluster.
const rolledWorkload = `
apiVersion: apps/v1
kind: %[1]s
metadata: {name: %[2]s, labels: {app: %[2]s}, annotations: {team: blue, kubernetes.io/change-cause: first%[3]s}}
spec:
  selector: {matchLabels: {app: %[2]s}}
  %[4]s
  template:
    metadata: {labels: {app: %[2]s}}
    spec:
      containers:
      - {name: main, image: "registry.example.com/app:1", env: [{name: A, value: "1"}], ports: [{containerPort: 80}], resources: {requests: {cpu: 10m}}}
      - {name: log, image: "registry.example.com/log:1", volumeMounts: [{name: scratch, mountPath: /scratch}]}
      volumes: [{name: scratch, emptyDir: {}}]
`

// dividing has the replicas of what has the label app of that value divided over both clusters.
const dividing = `
apiVersion: tmc.kcp.io/v1alpha1
kind: WorkloadPlacement
metadata: {name: %[1]s}
spec: {workloadSelector: {labelSelector: {matchLabels: {app: %[1]s}}}, clusterSelector: {clusterNames: [east, west]}, replicas: Divided}
`

// perCluster has a status show the numbers of one cluster.
const perCluster = ", " + v1alpha1.StatusCountersAnnotation + ": per-cluster"

// TestRolloutVerbs does with kubectl in kcp, as a tenant, and on a cluster that no syncer serves, what can be done with roll-outs. It
// compares what kubectl says, step by step, and looks whether the clusters run what was rolled back to.
func TestRolloutVerbs(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "rollback")
	kcp := u.asConsumer(t)
	check(t, env.clusters[north].kubectl(t, "create", "namespace", u.namespace))
	t.Cleanup(func() { check(t, env.clusters[north].kubectl(t, "delete", "namespace", u.namespace, "--wait=false")) })
	plain := side{"a plain cluster", env.clusters[north].kubeconfig, u.namespace}
	for _, divided := range []string{"split", "parts"} {
		u.inKCP().apply(t, fmt.Sprintf(dividing, divided))
	}
	const oneByOne = "replicas: 4\n  strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}"
	for name, r := range map[string]rolled{
		"a Deployment":          {"deployment/web", fmt.Sprintf(rolledWorkload, "Deployment", "web", perCluster, "replicas: 2"), 0, slices.Concat(verbsOfAll(), verbsOfDeployments())},
		"a divided Deployment":  {"deployment/split", fmt.Sprintf(rolledWorkload, "Deployment", "split", "", oneByOne), 2, slices.Concat(verbsOfAll(), verbsOfDeployments())},
		"a divided StatefulSet": {"statefulset/parts", fmt.Sprintf(rolledWorkload, "StatefulSet", "parts", "", "serviceName: parts\n  replicas: 2\n  podManagementPolicy: Parallel\n  updateStrategy: {rollingUpdate: {partition: 0}}"), 1, slices.Concat(verbsOfAll(), verbsRefused())},
		"a DaemonSet":           {"daemonset/agent", fmt.Sprintf(rolledWorkload, "DaemonSet", "agent", perCluster, `updateStrategy: {rollingUpdate: {maxUnavailable: "100%"}}`), 0, slices.Concat(verbsOfAll(), verbsRefused())},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, kcp.tryApply(t.Context(), r.manifest))
			plain.apply(t, r.manifest)
			most := u.watchReplicas(t, r)
			for _, step := range r.steps {
				r.compare(t, step, kcp, plain)
				for _, clusterName := range []string{east, west} {
					if step.image != "" {
						u.onCluster(clusterName).eventually(t, r.object, "{.spec.template.spec.containers[0].image}", "registry.example.com/app:"+step.image)
					}
				}
			}
			for clusterName, replicas := range most() {
				if replicas != r.share {
					t.Errorf("the copy on %s had up to %d replicas, and its share is %d", clusterName, replicas, r.share)
				}
			}
		})
	}
}

// compare runs one command on both sides, and compares what it says.
func (r rolled) compare(t *testing.T, step verb, kcp, plain side) {
	t.Helper()
	args := strings.Fields(strings.ReplaceAll(step.command, "OBJECT", r.object))
	said := func(ctx context.Context, s side) string {
		out, err := s.try(ctx, args...)
		if step.ends {
			out = out[strings.LastIndex(out, "\n")+1:]
		}
		if err != nil {
			out += "\nfails: " + err.Error()
		}
		return normalized(out)
	}
	var diff string
	once := func(ctx context.Context) (bool, string, error) {
		var got, want string
		var both sync.WaitGroup
		both.Go(func() { got = said(ctx, kcp) })
		both.Go(func() { want = said(ctx, plain) })
		both.Wait()
		diff = cmp.Diff(want, got)
		return diff == "", diff, nil
	}
	if step.asks {
		eventually(t, "kubectl "+strings.Join(args, " ")+" to say the same", soon, once)
	} else if same, _, err := once(t.Context()); err != nil || !same {
		t.Fatalf("kubectl %s: %v (-plain +kcp):\n%s", strings.Join(args, " "), err, diff)
	}
}

var (
	// hashes are those at the end of names of revisions, and the labels that hold them.
	hashes         = regexp.MustCompile(`\b(web|split|parts|agent)-[0-9a-z]{6,10}\b`)
	templateHashes = regexp.MustCompile(`pod-template-hash=\w+`)
	// times are those of annotations and of creation.
	times = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	// ofTMC are the lines of a description that are about what tmc writes beside the rest, and when it was created.
	ofTMC = regexp.MustCompile(`^\s.*kcp\.io/|^\s+\{"(v|by)":|^\s+Synced |^CreationTimestamp:`)
	// listed are the lines of a description that name ReplicaSets, in the order of their hashes.
	listed = regexp.MustCompile(`^(OldReplicaSets: +)(.*)$`)
)

// normalized is what kubectl says without what differs between any two clusters, and without what is tmc's own.
func normalized(said string) string {
	said = times.ReplaceAllString(templateHashes.ReplaceAllString(hashes.ReplaceAllString(said, "$1-HASH"), "pod-template-hash=HASH"), "TIME")
	var lines, conditions []string
	for line := range strings.Lines(said) {
		line = strings.TrimRight(line, " \n")
		switch {
		case ofTMC.MatchString(line):
			continue
		case strings.HasPrefix(line, "  Available ") || strings.HasPrefix(line, "  Progressing "):
			conditions = append(conditions, strings.Join(strings.Fields(line), " ")) // in the order in which they were set
			continue
		case listed.MatchString(line):
			found := listed.FindStringSubmatch(line)
			line = found[1] + strings.Join(slices.Sorted(strings.SplitSeq(found[2], ", ")), ", ")
		}
		lines = append(lines, line)
	}
	slices.Sort(conditions)
	return strings.Join(append(lines, conditions...), "\n")
}

// watchReplicas returns what says how many replicas the copy on each cluster has been given at most, since it was called. Pods are no
// measure: a cluster's own controllers may start a new one before they have deleted the old one.
func (u *tenant) watchReplicas(t *testing.T, r rolled) func() map[string]int {
	t.Helper()
	most, mu := map[string]int{}, sync.Mutex{}
	if r.share == 0 {
		return func() map[string]int { return nil }
	}
	kind, name, _ := strings.Cut(r.object, "/")
	for _, clusterName := range []string{east, west} {
		var changes watch.Interface
		var err error
		apps, one := env.clusters[clusterName].client.AppsV1(), metav1.ListOptions{FieldSelector: "metadata.name=" + name}
		if kind == "statefulset" {
			changes, err = apps.StatefulSets(u.namespace).Watch(t.Context(), one)
		} else {
			changes, err = apps.Deployments(u.namespace).Watch(t.Context(), one)
		}
		check(t, err)
		t.Cleanup(changes.Stop)
		go func() {
			for event := range changes.ResultChan() {
				var replicas *int32
				switch workload := event.Object.(type) {
				case *appsv1.Deployment:
					replicas = workload.Spec.Replicas
				case *appsv1.StatefulSet:
					replicas = workload.Spec.Replicas
				}
				if replicas == nil {
					continue
				}
				mu.Lock()
				most[clusterName] = max(most[clusterName], int(*replicas))
				mu.Unlock()
			}
		}()
	}
	return func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(most)
	}
}
