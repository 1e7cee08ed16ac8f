package e2e

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// TestDeploymentRunsOnEveryCluster creates a Deployment in kcp with one command, and does nothing else.
func TestDeploymentRunsOnEveryCluster(t *testing.T) {
	u := newTenantIn(t, env.shared, unique("plain"), metav1.NamespaceDefault)

	u.kubectl(t, "create", "deployment", "nginx", "--image="+wellKnownImage)
	u.rollOut(t, "nginx", east, west)

	upstream := get(t, u.upstream("nginx"))
	want := appsv1.DeploymentStatus{
		ObservedGeneration: upstream.Generation,
		Replicas:           2, UpdatedReplicas: 2, ReadyReplicas: 2, AvailableReplicas: 2,
	}
	got := upstream.Status
	got.Conditions = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the status in kcp is not the sum over the clusters (-want +got):\n%s", diff)
	}
	u.kubectl(t, "wait", "--for=condition=Available", "--timeout=10s", "deployment/nginx")
	// kcp prints the kinds of Kubernetes with Kubernetes' own columns: READY is out of spec.replicas, which
	// is what each cluster runs.
	checkColumns(t, u.kubectl(t, "get", "deployment", "nginx"), "nginx 2/1 2 2")
	for _, clusterName := range []string{east, west} {
		checkCopy(t, u, upstream, get(t, u.copyOn(clusterName, "nginx")), clusterName)
	}

	u.kubectl(t, "delete", "deployment", "nginx", "--timeout=120s")
}

// checkColumns compares what `kubectl get` prints with the columns that people are used to.
func checkColumns(t *testing.T, table, row string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if len(lines) != 2 {
		t.Fatalf("kubectl get printed %q, want a heading and one row", table)
	}
	if got, want := strings.Fields(lines[0]), strings.Fields("NAME READY UP-TO-DATE AVAILABLE AGE"); !cmp.Equal(got, want) {
		t.Errorf("the columns are %v, want %v", got, want)
	}
	fields := strings.Fields(lines[1])
	if got := strings.Join(fields[:max(0, len(fields)-1)], " "); got != row {
		t.Errorf("the row without its age is %q, want %q", got, row)
	}
}

// checkCopy checks that a copy says where it comes from, and that nothing else went down with it that belongs
// to kcp or to tmc.
func checkCopy(t *testing.T, u *tenant, upstream, copied *appsv1.Deployment, clusterName string) {
	t.Helper()
	origin := transform.Origin{Workspace: u.logicalCluster, Namespace: upstream.Namespace, Name: upstream.Name, Cluster: clusterName}
	wantLabels := map[string]string{
		"app":                    "nginx",
		v1alpha1.ManagedByLabel:  v1alpha1.ManagedByValue,
		v1alpha1.SourceHashLabel: origin.Hash(),
	}
	if diff := cmp.Diff(wantLabels, copied.Labels); diff != "" {
		t.Errorf("labels of the copy on %s (-want +got):\n%s", clusterName, diff)
	}
	wantAnnotations := map[string]string{
		v1alpha1.SourceWorkspaceAnnotation:  u.logicalCluster,
		v1alpha1.SourceNamespaceAnnotation:  upstream.Namespace,
		v1alpha1.SourceNameAnnotation:       upstream.Name,
		v1alpha1.SourceUIDAnnotation:        string(upstream.UID),
		v1alpha1.SourceGenerationAnnotation: "1",
		v1alpha1.TargetClusterAnnotation:    clusterName,
		// Whatever its value.
		v1alpha1.AppliedHashAnnotation:  copied.Annotations[v1alpha1.AppliedHashAnnotation],
		v1alpha1.SourceInputsAnnotation: copied.Annotations[v1alpha1.SourceInputsAnnotation],
		// The cluster's own controller's.
		"deployment.kubernetes.io/revision": "1",
	}
	if diff := cmp.Diff(wantAnnotations, copied.Annotations); diff != "" {
		t.Errorf("annotations of the copy on %s (-want +got):\n%s", clusterName, diff)
	}
	if len(copied.Finalizers) > 0 || len(copied.OwnerReferences) > 0 {
		t.Errorf("the copy on %s has finalizers %v and owners %v, want none", clusterName, copied.Finalizers, copied.OwnerReferences)
	}
	if got := imageOf(copied); got != wellKnownImage {
		t.Errorf("the copy on %s runs %q, want %s", clusterName, got, wellKnownImage)
	}
}
