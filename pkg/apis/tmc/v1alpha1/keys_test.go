package v1alpha1

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestKeysOfClusterAndGroup(t *testing.T) {
	for want, got := range map[string]string{
		"cluster.tmc.kcp.io/east":   PlacementLabel("east"),
		"group.tmc.kcp.io/eu":       GroupLabel("eu"),
		"deletion.tmc.kcp.io/east":  DeletionAnnotation("east"),
		"syncer.tmc.kcp.io/east":    Finalizer("east"),
		"replicas.tmc.kcp.io/east":  ReplicasAnnotation("east"),
		"partition.tmc.kcp.io/east": PartitionAnnotation("east"),
		"override.tmc.kcp.io/east":  OverrideAnnotation("east"),
		"status.tmc.kcp.io/east":    StatusAnnotation("east"),
		"silent.tmc.kcp.io/east":    SilentCondition("east"),
		"kinds.tmc.kcp.io/east":     KindsAnnotation("east"),
		"cluster-east":              ClusterExport("east"),
		"group-eu":                  GroupExport("eu"),
	} {
		if got != want {
			t.Errorf("the key is %s, want %s: objects in kcp have it", got, want)
		}
	}
}

func TestIsOwnKeyAndIsMark(t *testing.T) {
	for key, want := range map[string]struct{ own, mark bool }{
		"tmc.kcp.io/managed-by":  {true, true},
		"status.tmc.kcp.io/east": {true, true},
		"kcp.io/cluster":         {true, false},
		"internal.kcp.io/x":      {true, false},
		"notkcp.io/x":            {false, false},
		"example.com/tmc.kcp.io": {false, false},
		"app":                    {false, false},
	} {
		if own, mark := IsOwnKey(key), IsMark(key); own != want.own || mark != want.mark {
			t.Errorf("%s: own %t, mark %t; want %+v", key, own, mark, want)
		}
	}
}

func TestExportsOfIsolation(t *testing.T) {
	for isolation, want := range map[Isolation]string{
		IsolationCluster: "cluster-east", IsolationGroup: "group-eu", IsolationShared: APIExportName, "": APIExportName,
	} {
		spec := ClusterRegistrationSpec{Isolation: isolation, IsolationGroup: "eu"}
		if got := spec.ExportFor("east"); got != want {
			t.Errorf("isolation %q: the APIExport is %s, want %s", isolation, got, want)
		}
	}
	if cluster, ok := ClusterOfExport("cluster-east"); cluster != "east" || !ok {
		t.Errorf("cluster-east is that of %q (%t)", cluster, ok)
	}
	if group, ok := GroupOfExport("group-eu"); group != "eu" || !ok {
		t.Errorf("group-eu is that of %q (%t)", group, ok)
	}
	if _, ok := GroupOfExport(APIExportName); ok {
		t.Errorf("%s is that of a group", APIExportName)
	}
}

func TestValidateNames(t *testing.T) {
	long := strings.Repeat("x", 64)
	for name, ok := range map[string]bool{"east": true, "eu-1": true, "East": false, "": false, "a.b": false, long: false} {
		if err := ValidateClusterName(name); (err == nil) != ok {
			t.Errorf("cluster name %q: %v, want valid %t", name, err, ok)
		}
		if err := ValidateGroupName(name); (err == nil) != ok {
			t.Errorf("group name %q: %v, want valid %t", name, err, ok)
		}
	}
	if err := ValidateGroupName(long[:MaxGroupName+1]); err == nil || !strings.Contains(err.Error(), "at most 50") {
		t.Errorf("a group name of %d characters: %v", MaxGroupName+1, err)
	}
}

func TestValidateNamespacePatterns(t *testing.T) {
	if err := ValidateNamespacePatterns([]string{"shop-*", "*", "default"}); err != nil {
		t.Error(err)
	}
	err := ValidateNamespacePatterns([]string{"Shop", "a", "a"})
	for _, words := range []string{`"Shop" is not the name of a namespace`, `"a" is there twice`} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("the error is %v, want one that says %q", err, words)
		}
	}
}

func TestReportedResource(t *testing.T) {
	if got := ReportedResource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}); got != "deployments.apps/v1" {
		t.Errorf("Deployments are called %s", got)
	}
	for group, want := range map[string]bool{"apps": true, "": true, "example.com": false} {
		if got := IsReported(group); got != want {
			t.Errorf("the group %q is reported: %t, want %t", group, got, want)
		}
	}
}

func TestTransformRuleSeparatesWorkspaces(t *testing.T) {
	for mode, want := range map[NamespaceMode]bool{"": true, NamespaceModeExclusive: true, NamespaceModeIsolated: true, NamespaceModeShared: false} {
		if got := (&TransformRule{NamespaceMode: mode}).SeparatesWorkspaces(); got != want {
			t.Errorf("mode %q separates workspaces: %t, want %t", mode, got, want)
		}
	}
	if warning := SharedWarning("east", "west"); !strings.Contains(warning, "east, west") {
		t.Errorf("the warning %q does not name the clusters", warning)
	}
}

func TestLeftOutHidesWhatIsThere(t *testing.T) {
	for leftOut, want := range map[LeftOut]bool{"": false, LeftOutNotBound: true, LeftOutPoliciesNotAccepted: false, LeftOutPoliciesMissing: false} {
		if got := leftOut.HidesWhatIsThere(); got != want {
			t.Errorf("%q hides what is there: %t, want %t", leftOut, got, want)
		}
	}
}
