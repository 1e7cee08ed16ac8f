package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const (
	replicasPath = "{.spec.replicas}"
	imagePath    = "{.spec.template.spec.containers[0].image}"
)

// TestOverrideChangesOneCluster overrides the copy of one cluster, with a good patch and with a bad one.
func TestOverrideChangesOneCluster(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "override")
	kcp, atEast, atWest := u.inKCP(), u.onCluster(east), u.onCluster(west)
	override := func(patch string) {
		kcp.kubectl(t, "annotate", "--overwrite", "deployment/web", v1alpha1.OverrideAnnotation(east)+"="+patch)
	}
	u.apply(t, some(deployment("web")))
	u.rollOut(t, "web", east, west)
	override(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"` + overrideImage + `"}]`)
	atEast.eventually(t, "deployment/web", imagePath, overrideImage)
	u.rollOut(t, "web", east, west)
	atWest.eventually(t, "deployment/web", imagePath, image)

	before := get(t, u.copyOn(east, "web"))
	for _, bad := range []struct{ patch, word string }{
		{`[{"op":"replace","path":"/spec/replicas","value":3},{"op":"remove","path":"/spec/nope"}]`, "operation 2"},
		{`[{"op":"replace","path":"/metadata/name","value":"other"}]`, "/metadata/name"},
		{`not a patch`, v1alpha1.OverrideAnnotation(east)},
	} {
		override(bad.patch)
		kcp.eventuallyHas(t, "deployment/web", syncedPath, "False", "InvalidOverride", east, bad.word)
		u.eventuallyEvent(t, "web", "InvalidOverride", bad.word)
	}
	if after := get(t, u.copyOn(east, "web")); after.Generation != before.Generation {
		t.Errorf("a bad override went down: before %s; after %s", describe(before), describe(after))
	}
	kcp.kubectl(t, "annotate", "deployment/web", v1alpha1.OverrideAnnotation(east)+"-")
	kcp.eventuallyHas(t, "deployment/web", syncedPath, "True")
	atEast.eventually(t, "deployment/web", imagePath, image)
}

// TestReplicasScaledDownstream scales a copy on its cluster, and gives the number of replicas back.
func TestReplicasScaledDownstream(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "scaled")
	kcp, atEast, atWest := u.inKCP(), u.onCluster(east), u.onCluster(west)
	u.apply(t, some(deployment("web", withReplicas(1))))
	u.rollOut(t, "web", east, west)

	atEast.kubectl(t, "scale", "deployment/web", "--replicas=3")
	kcp.eventually(t, "deployment/web", "{.status.availableReplicas}", "4")
	kcp.kubectl(t, "scale", "deployment/web", "--replicas=2")
	atWest.eventually(t, "deployment/web", replicasPath, "2")
	kcp.kubectl(t, "rollout", "status", "deployment/web", "--timeout=120s")
	kcp.eventually(t, "deployment/web", "{.status.availableReplicas}", "5")
	atEast.eventually(t, "deployment/web", replicasPath, "3")

	atEast.kubectl(t, "scale", "deployment/web", "--replicas=2") // what kcp says: given back
	atEast.eventuallyHas(t, "deployment/web --show-managed-fields", `{.metadata.managedFields[?(@.operation=="Apply")].fieldsV1.f:spec}`, "f:replicas")
	kcp.kubectl(t, "scale", "deployment/web", "--replicas=1")
	atEast.eventually(t, "deployment/web", replicasPath, "1")

	// An edit is drift.
	atEast.kubectl(t, "patch", "deployment/web", "--type=merge", `--patch={"spec":{"replicas":4}}`)
	atEast.eventually(t, "deployment/web", replicasPath, "1")
}

const autoscaler = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 3
  maxReplicas: 5
`

// TestReplicasOwnedByAutoscaler has an autoscaler on the cluster decide the number of replicas for as long as it is
// there, but for zero, by which kcp switches it off.
func TestReplicasOwnedByAutoscaler(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "autoscaled")
	kcp, atEast := u.inKCP(), u.onCluster(east)
	u.apply(t, some(deployment("web", withReplicas(1))))
	kcp.apply(t, autoscaler)
	// Below its minimum it scales without any metrics.
	kcp.eventually(t, "deployment/web", "{.status.availableReplicas}", "6")
	u.kubectl(t, "set", "image", "deployment/web", "web="+newImage)
	u.rollOut(t, "web", east, west)
	atEast.eventually(t, "deployment/web", replicasPath, "3")

	kcp.kubectl(t, "scale", "deployment/web", "--replicas=0")
	for _, on := range []side{atEast, u.onCluster(west)} {
		on.eventually(t, "deployment/web", replicasPath, "0")
		on.eventually(t, "hpa/web", `{.status.conditions[?(@.type=="ScalingActive")].reason}`, "ScalingDisabled")
	}
	kcp.eventually(t, "deployment/web", "{.spec.replicas}/{.status.replicas}", "0/")
	kcp.kubectl(t, "scale", "deployment/web", "--replicas=1")
	kcp.eventually(t, "deployment/web", "{.status.availableReplicas}", "6")
	atEast.eventually(t, "deployment/web", replicasPath, "3")

	kcp.kubectl(t, "delete", "hpa/web", "--timeout=120s")
	atEast.eventually(t, "deployment/web", replicasPath, "1")
	u.rollOut(t, "web", east, west)
}

func job(field string) string {
	return `
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  ` + field + `
  template:
    spec:
      restartPolicy: Never
      containers: [{name: migrate, image: "example.com/migrate:1"}]
`
}

// completePath reads whether a Job is complete.
const completePath = `{.status.conditions[?(@.type=="Complete")].status}`

// TestJobIsNotRunAgain checks that a Job that has ended is not run again, whatever becomes of its clusters.
func TestJobIsNotRunAgain(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, "jobs", "jobs-"+east, "jobs-"+west)
	check(t, in.start(t.Context()))
	u := newTenant(t, in, "jobs")
	kcp := u.inKCP()
	clusters := []side{u.onCluster("jobs-" + east), u.onCluster("jobs-" + west)}
	const briefly = `'[{"op":"add","path":"/spec/ttlSecondsAfterFinished","value":1}]'`
	kcp.apply(t, strings.Replace(job("backoffLimit: 6"), "{name: migrate}", "{name: migrate, annotations: {"+
		v1alpha1.OverrideAnnotation("jobs-"+east)+": "+briefly+", "+v1alpha1.OverrideAnnotation("jobs-"+west)+": "+briefly+"}}", 1))
	kcp.eventually(t, "job/migrate", completePath, "True")
	for _, on := range clusters {
		on.eventuallyGone(t, "job/migrate") // by its cluster, which has been told to keep it for a second
	}
	notRunAgain := func(marker string) {
		t.Helper()
		kcp.kubectl(t, "create", "deployment", marker, "--image="+image)
		u.rollOut(t, marker, "jobs-"+east, "jobs-"+west)
		for _, on := range clusters {
			on.isNotThere(t, "job/migrate")
		}
		kcp.eventually(t, "job/migrate", completePath, "True")
	}
	notRunAgain("after-the-ttl")
	for _, syncer := range in.syncers {
		check(t, syncer.kill())
		check(t, syncer.startReady(t.Context()))
	}
	notRunAgain("after-a-restart")

	// A new one of the same name is another Job.
	kcp.kubectl(t, "delete", "job/migrate", "--timeout=120s")
	kcp.apply(t, job("backoffLimit: 1"))
	kcp.eventually(t, "job/migrate", completePath, "True")
	for _, on := range clusters {
		on.eventually(t, "job/migrate", completePath, "True")
		on.kubectl(t, "delete", "job/migrate")
	}
	notRunAgain("after-it-was-deleted-by-hand")
}

// TestReplaceOfImmutableCopy changes what a cluster refuses to change, with and without the annotation that allows
// replacing the copy.
func TestReplaceOfImmutableCopy(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "immutable")
	kcp, atEast := u.inKCP(), u.onCluster(east)
	u.apply(t, some(deployment("web")))
	u.rollOut(t, "web", east, west)
	uid := atEast.eventuallyThere(t, "deployment/web")
	kcp.kubectl(t, "annotate", "deployment/web", v1alpha1.OverrideAnnotation(east)+
		`=[{"op":"add","path":"/spec/selector/matchLabels/tier","value":"front"},{"op":"add","path":"/spec/template/metadata/labels/tier","value":"front"}]`)
	kcp.eventuallyHas(t, "deployment/web", syncedPath, "False", "Immutable", "spec.selector", v1alpha1.ReplaceAnnotation)
	u.eventuallyEvent(t, "web", "Immutable", "spec.selector")
	atEast.eventually(t, "deployment/web", uidPath, uid)

	kcp.kubectl(t, "annotate", "deployment/web", v1alpha1.ReplaceAnnotation+"=true")
	atEast.eventually(t, "deployment/web", "{.spec.selector.matchLabels.tier}", "front")
	if now := atEast.kubectl(t, "get", "deployment/web", "--output=jsonpath="+uidPath); now == uid {
		t.Error("the copy is the same object, with another selector")
	}
	kcp.eventuallyHas(t, "deployment/web", syncedPath, "True")
	u.rollOut(t, "web", east, west)
}

// TestNamespaceIsRemovedWhenEmpty checks that a namespace that tmc made is removed with the last object in it, and
// not before.
func TestNamespaceIsRemovedWhenEmpty(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "spaces")
	kcp, atEast, atWest := u.inKCP(), u.onCluster(east), u.onCluster(west)
	theirs := unique("listed-theirs")
	kcp.kubectl(t, "create", "namespace", theirs)
	atEast.kubectl(t, "create", "namespace", theirs)
	t.Cleanup(func() {
		if _, err := atEast.try(context.WithoutCancel(t.Context()), "delete", "namespace", theirs); err != nil {
			t.Error(err)
		}
	})
	kcp.kubectl(t, "label", "namespace", u.namespace, "pod-security.kubernetes.io/enforce=baseline")
	kcp.kubectl(t, "annotate", "namespace", u.namespace, "team=shop")
	for _, at := range []side{kcp, kcp.in(theirs)} {
		at.kubectl(t, "create", "deployment", "web", "--image="+image)
	}
	u.rollOut(t, "web", east, west)
	atEast.in(theirs).eventuallyThere(t, "deployment/web")
	// By default nothing of what the user wrote on his namespace goes down: it would grant rights there.
	atEast.eventually(t, "namespace/"+u.namespace, `{.metadata.labels.tmc\.kcp\.io/workspace}|{.metadata.labels.pod-security\.kubernetes\.io/enforce}|{.metadata.annotations.team}`, u.logicalCluster+"||")

	atWest.kubectl(t, "create", "configmap", "guest", "--from-literal=a=b")
	for _, at := range []side{kcp, kcp.in(theirs)} {
		at.kubectl(t, "delete", "deployment", "web", "--timeout=120s")
	}
	atEast.eventuallyGone(t, "namespace/"+u.namespace)
	if phase := atWest.kubectl(t, "get", "namespace", u.namespace, "--output=jsonpath={.status.phase}"); phase != "Active" {
		t.Errorf("the namespace that holds something of somebody else's is %s", phase)
	}
	atEast.eventuallyIs(t, "namespace/"+theirs, "{.status.phase} {.metadata.labels} {.metadata.annotations}", "to have no mark of tmc", func(got string) bool {
		return strings.HasPrefix(got, "Active") && !strings.Contains(got, v1alpha1.GroupName)
	})
	atWest.kubectl(t, "delete", "configmap", "guest")
	atWest.eventuallyGone(t, "namespace/"+u.namespace)
}

// TestCopyWithoutOriginIsNoOrphan strips a copy of its origin: it is repaired, and not removed.
func TestCopyWithoutOriginIsNoOrphan(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, "stripped", "stripped-"+east)
	check(t, in.start(t.Context()))
	u := newTenant(t, in, "stripped")
	kcp, atEast := u.inKCP(), u.onCluster("stripped-"+east)
	u.apply(t, some(deployment("web"), deployment("other")))
	u.rollOut(t, "web", "stripped-"+east)
	u.rollOut(t, "other", "stripped-"+east)
	strip := func(name string) {
		atEast.kubectl(t, "patch", "deployment", name, "--type=json", `--patch=[{"op":"remove","path":"/metadata/annotations"}]`)
	}
	strip("web")
	atEast.eventuallyHas(t, "deployment/web", "{.metadata.annotations}", v1alpha1.SourceUIDAnnotation, v1alpha1.AppliedHashAnnotation)

	syncer := in.syncers["stripped-"+east]
	check(t, syncer.kill())
	strip("other")
	kcp.kubectl(t, "delete", "deployment", "other", "--wait=false")
	check(t, syncer.startReady(t.Context()))
	atEast.eventuallyGone(t, "deployment/other")
	kcp.eventuallyGone(t, "deployment/other")
}

// TestConflictOfTwoWorkspacesIsToldToBoth has two workspaces want the same name in one namespace of a cluster.
func TestConflictOfTwoWorkspacesIsToldToBoth(t *testing.T) {
	t.Parallel()
	env.shared.setMode(t, west, v1alpha1.NamespaceModeShared)
	namespace := unique("both")
	first := newTenantIn(t, env.shared, unique("one"), namespace)
	second := newTenantIn(t, env.shared, unique("two"), namespace)
	first.inKCP().apply(t, `{apiVersion: v1, kind: Service, metadata: {name: web, annotations: {tmc.kcp.io/target-clusters: west}}, spec: {ports: [{port: 80}]}}`)
	first.inKCP().eventuallyHas(t, "service/web", syncedPath, "True")
	second.inKCP().apply(t, `{apiVersion: v1, kind: Service, metadata: {name: web, annotations: {tmc.kcp.io/target-clusters: west}}, spec: {ports: [{port: 81}]}}`)
	second.inKCP().eventuallyHas(t, "service/web", syncedPath, "False", "Conflict", "service", "web is in the way", "the copy of another object")
	first.eventuallyEvent(t, "web", "Conflict", "cluster west: an object of another workspace wants the place", "it is refused")
	for _, told := range []struct{ user, other *tenant }{{first, second}, {second, first}} {
		all := told.user.kubectl(t, "get", "service/web", "--output=yaml") + told.user.kubectl(t, "get", "events", "--output=yaml")
		if strings.Contains(all, told.other.logicalCluster) || strings.Contains(all, told.other.workspace) {
			t.Errorf("%s is told of %s:\n%s", told.user.workspace, told.other.workspace, all)
		}
	}
	first.inKCP().eventuallyHas(t, "service/web", syncedPath, "True")
	first.onCluster(west).eventually(t, "service/web", "{.spec.ports[0].port}", "80")
}
