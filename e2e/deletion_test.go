package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// database is a StatefulSet whose claims, and the data in them, are to be deleted with it.
func database(name, storage string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: %[1]s}
spec:
  serviceName: %[1]s
  replicas: 2
  podManagementPolicy: Parallel
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Retain}
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      containers: [{name: main, image: "%[2]s", volumeMounts: [{name: data, mountPath: /data}]}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: %[3]s}}}
`, name, image, storage)
}

// belongings are the pods of a StatefulSet and their claims, each with its UID. They are "" until all four are there.
func (s side) belongings(ctx context.Context, name string) (string, error) {
	var all string
	for _, selector := range []string{"pods", "persistentvolumeclaims"} {
		found, err := s.try(ctx, "get", selector, "--selector=app="+name, `--output=jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid}{"\n"}{end}`)
		if err != nil || strings.Count(found, "\n") != 1 {
			return "", err
		}
		all += found + "\n"
	}
	return all, nil
}

// eventuallyOwned waits until a StatefulSet that is another one than that of the UID owns its pods and claims, and returns these.
func (s side) eventuallyOwned(t *testing.T, name, former string) (all string) {
	t.Helper()
	eventually(t, s.name+": "+name+" to own its pods and claims", soon, func(ctx context.Context) (bool, string, error) {
		uid, err := s.get(ctx, "statefulset/"+name, uidPath)
		if err != nil || uid == "" || uid == former {
			return false, "it is not there", err
		}
		owners, err := s.try(ctx, "get", "pods,persistentvolumeclaims", "--selector=app="+name, "--output=jsonpath={.items[*].metadata.ownerReferences[0].uid}")
		if err != nil {
			return false, "", err
		}
		all, err = s.belongings(ctx, name)
		return all != "" && owners == strings.Join([]string{uid, uid, uid, uid}, " "), owners + "; " + all, err
	})
	return all
}

// TestDeletionKeepsWhatItIsToKeep has pods, claims and copies stay as they would on one cluster.
func TestDeletionKeepsWhatItIsToKeep(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "deletion")
	t.Run("pods and claims that are orphaned", func(t *testing.T) { t.Parallel(); u.orphans(t) })
	t.Run("pods and claims of a copy that is replaced", func(t *testing.T) { t.Parallel(); u.replacesStatefulSet(t) })
	t.Run("copies of what somebody's finalizer keeps", func(t *testing.T) { t.Parallel(); u.isKeptByFinalizer(t) })
	t.Run("the object until its pods are gone", func(t *testing.T) { t.Parallel(); u.goesInForeground(t) })
	t.Run("nothing of what is written to it", func(t *testing.T) { t.Parallel(); u.refusesWritesToWhatGoes(t) })
}

func (u *tenant) orphans(t *testing.T) {
	kcp, clusters := u.inKCP(), []side{u.onCluster(east), u.onCluster(west)}
	kcp.apply(t, database("db", "1Gi"))
	kcp.apply(t, "{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}}")
	before := make([]string, len(clusters))
	uids, services := make([]string, len(clusters)), make([]string, len(clusters))
	for i, on := range clusters {
		before[i] = on.eventuallyOwned(t, "db", "")
		uids[i] = on.kubectl(t, "get", "statefulset/db", "--output=jsonpath="+uidPath)
		services[i] = on.eventuallyThere(t, "service/db")
	}
	kcp.kubectl(t, "delete", "statefulset/db", "--cascade=orphan", "--timeout=60s")
	for i, on := range clusters {
		on.isNotThere(t, "statefulset/db")
		if now, err := on.belongings(t.Context(), "db"); err != nil || now != before[i] {
			t.Errorf("%s: had\n%s and has\n%s, %v", on.name, before[i], now, err)
		}
	}
	kcp.apply(t, database("db", "2Gi"))
	for i, on := range clusters {
		if now := on.eventuallyOwned(t, "db", uids[i]); now != before[i] {
			t.Errorf("%s: had\n%s and has\n%s", on.name, before[i], now)
		}
		on.eventually(t, "statefulset/db", "{.spec.volumeClaimTemplates[0].spec.resources.requests.storage}", "2Gi")
		if now := on.kubectl(t, "get", "service/db", "--output=jsonpath="+uidPath); now != services[i] {
			t.Errorf("%s: the Service that leads to the pods has gone meanwhile", on.name)
		}
	}
	kcp.eventually(t, "service/db", `{.metadata.annotations.tmc\.kcp\.io/stays-for}`, "")
	kcp.kubectl(t, "delete", "statefulset/db", "--timeout=60s")
	for _, on := range clusters {
		eventually(t, on.name+" to have none of it", soon, func(ctx context.Context) (bool, string, error) {
			left, err := on.try(ctx, "get", "pods,persistentvolumeclaims", "--selector=app=db", "--output=name")
			return left == "", left, err
		})
	}
}

func (u *tenant) replacesStatefulSet(t *testing.T) {
	kcp, on := u.inKCP(), u.onCluster(east)
	kcp.apply(t, database("queue", "1Gi"))
	before := on.eventuallyOwned(t, "queue", "")
	uid := on.kubectl(t, "get", "statefulset/queue", "--output=jsonpath="+uidPath)
	kcp.kubectl(t, "annotate", "statefulset/queue", v1alpha1.ReplaceAnnotation+"=true",
		v1alpha1.OverrideAnnotation(east)+`=[{"op":"replace","path":"/spec/serviceName","value":"other"}]`)
	if now := on.eventuallyOwned(t, "queue", uid); now != before {
		t.Errorf("had\n%s and has\n%s", before, now)
	}
	on.eventually(t, "statefulset/queue", "{.spec.serviceName}", "other")

	// With another selector the next one would not take them over, and the claims would go with this one.
	kcp.kubectl(t, "annotate", "--overwrite", "statefulset/queue", v1alpha1.OverrideAnnotation(east)+
		`=[{"op":"add","path":"/spec/selector/matchLabels/tier","value":"x"},{"op":"add","path":"/spec/template/metadata/labels/tier","value":"x"}]`)
	kcp.eventuallyHas(t, "statefulset/queue", syncedPath, "False", "Immutable", "claims of volumes")
	if now, err := on.belongings(t.Context(), "queue"); err != nil || now != before {
		t.Errorf("had\n%s and has\n%s, %v", before, now, err)
	}
	kcp.kubectl(t, "delete", "statefulset/queue", "--timeout=60s")
}

// letGo is how long clusters may take from when nobody holds an object any more.
const letGo = 15 * time.Second

func (u *tenant) isKeptByFinalizer(t *testing.T) {
	kcp := u.inKCP()
	const finalizer = "example.com/drain"
	settings := `{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, finalizers: [` + finalizer + `], annotations: {tmc.kcp.io/target-clusters: "*"}}, data: {a: %s}}`
	u.apply(t, some(deployment("held")))
	kcp.apply(t, fmt.Sprintf(settings, "b"))
	u.rollOut(t, "held", east, west)
	// The list is there since the Deployment was placed.
	kcp.kubectl(t, "patch", "deployment/held", "--type=json", `--patch=[{"op":"add","path":"/metadata/finalizers/-","value":"`+finalizer+`"}]`)
	for _, name := range []string{east, west} {
		u.onCluster(name).eventually(t, "configmap/settings", "{.data.a}", "b")
	}
	kcp.kubectl(t, "delete", "deployment/held", "configmap/settings", "--wait=false")

	// It is kept up to date, which shows that it has been looked at since.
	kcp.kubectl(t, "patch", "deployment/held", "--type=merge", `--patch={"spec":{"replicas":2}}`)
	kcp.apply(t, fmt.Sprintf(settings, "c"))
	u.rollOut(t, "held", east, west)
	kcp.eventually(t, "deployment/held", "{.status.readyReplicas}", "4")
	kcp.eventuallyHas(t, "deployment/held", syncedPath, "True")
	for _, name := range []string{east, west} {
		u.onCluster(name).eventually(t, "deployment/held", "{.status.readyReplicas}", "2")
		u.onCluster(name).eventually(t, "configmap/settings", "{.data.a}", "c")
	}

	began := time.Now()
	for _, object := range []string{"deployment/held", "configmap/settings"} {
		finalizers := strings.Fields(strings.Trim(kcp.kubectl(t, "get", object, "--output=jsonpath={.metadata.finalizers[*]}"), " "))
		for i, one := range finalizers {
			if one == finalizer {
				kcp.kubectl(t, "patch", object, "--type=json", fmt.Sprintf(`--patch=[{"op":"test","path":"/metadata/finalizers/%[1]d","value":"%[2]s"},{"op":"remove","path":"/metadata/finalizers/%[1]d"}]`, i, finalizer))
			}
		}
	}
	for _, object := range []string{"deployment/held", "configmap/settings"} {
		kcp.eventuallyGone(t, object)
		for _, name := range []string{east, west} {
			u.onCluster(name).isNotThere(t, object)
		}
	}
	if took := time.Since(began); took > letGo {
		t.Errorf("it took %s until all was gone", took)
	}
}

func (u *tenant) goesInForeground(t *testing.T) {
	u.apply(t, some(deployment("front", withReplicas(2))))
	u.rollOut(t, "front", east, west)
	u.kubectl(t, "delete", "deployment/front", "--cascade=foreground", "--timeout=60s")
	for _, name := range []string{east, west} {
		left, err := u.onCluster(name).try(t.Context(), "get", "pods,replicasets,deployments", "--selector=app=front", "--output=name")
		check(t, err)
		if left != "" {
			t.Errorf("%s has %s", name, left)
		}
	}
}

// goingChart is a chart with a Deployment.
func goingChart(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(dir, "templates"), 0o700))
	for name, text := range map[string]string{
		"Chart.yaml":          "apiVersion: v2\nname: going\nversion: 1.0.0\n",
		"values.yaml":         "replicas: 1\n",
		"templates/some.yaml": strings.ReplaceAll(going, "replicas: 1", "replicas: {{ .Values.replicas }}"),
	} {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

const going = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: going}
spec:
  replicas: 1
  selector: {matchLabels: {app: going}}
  template:
    metadata: {labels: {app: going}}
    spec:
      containers: [{name: main, image: "` + image + `"}]
`

// refusesWritesToWhatGoes has a cluster let go of an object slowly, by a finalizer on its copy.
func (u *tenant) refusesWritesToWhatGoes(t *testing.T) {
	kcp, on := u.inKCP(), u.onCluster(east)
	chart := goingChart(t)
	run := func(program string, args ...string) error {
		return runTool(t.Context(), editedSide{side: kcp}, program, "HELM_CACHE_HOME="+t.TempDir(), append([]string{"--namespace=" + u.namespace}, args...)...)
	}
	helm := func(args ...string) error { return run(helmCommand, args...) }
	check(t, helm("install", "going", chart))
	u.rollOut(t, "going", east, west)
	on.kubectl(t, "patch", "deployment/going", "--type=merge", `--patch={"metadata":{"finalizers":["example.com/slow"]}}`)
	check(t, helm("uninstall", "going"))
	u.onCluster(west).eventuallyGone(t, "deployment/going")

	words := []string{"Deployment going is being deleted", "letting go of it", east, "try again in a moment"}
	for what, refused := range map[string]error{
		"kubectl patch": func() error {
			_, err := kcp.try(t.Context(), "patch", "deployment/going", "--type=merge", `--patch={"spec":{"replicas":2}}`)
			return err
		}(),
		"kubectl set": func() error {
			_, err := kcp.try(t.Context(), "set", "image", "deployment/going", "main=other")
			return err
		}(),
		"a server-side apply of what is there": kcp.tryApply(t.Context(), going),
	} {
		if refused == nil || !hasWords(refused.Error(), words) {
			t.Errorf("%s: got %v, want it refused with %q", what, refused, words)
		}
	}
	// Helm sends no request for what is as in its manifest.
	words = []string{"cannot be imported", "being deleted, and its clusters are letting go of it; try again in a moment"}
	for _, program := range []string{helmCommand, helm4Command} {
		for _, values := range []string{"replicas=1", "replicas=2"} {
			if err := run(program, "install", "going", chart, "--set="+values); err == nil || !hasWords(err.Error(), words) {
				t.Errorf("%s install with %s: got %v, want it refused with %q", program, values, err, words)
			}
		}
	}
	kcp.kubectl(t, "annotate", "deployment/going", "example.com/note=kept")
	on.kubectl(t, "patch", "deployment/going", "--type=merge", `--patch={"metadata":{"finalizers":null}}`)
	kcp.eventuallyGone(t, "deployment/going")
	check(t, helm("upgrade", "--install", "going", chart))
	u.rollOut(t, "going", east, west)
	u.kubectl(t, "delete", "deployment/going", "--timeout=60s")
}
