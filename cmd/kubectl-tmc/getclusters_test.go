package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGetClusters(t *testing.T) {
	kcp := twoClusters(t)
	words := func(text string) [][]string {
		var all [][]string
		for line := range strings.Lines(text) {
			all = append(all, strings.Fields(line))
		}
		return all
	}
	out, _, err := run(t, "get", "clusters")
	if err != nil {
		t.Fatal(err)
	}
	got := words(out)
	got[1][5] = "0s" // the time passes
	want := words(`NAME LOCATION READY ISOLATION NAMESPACES HEARTBEAT VERSION NODES WORKLOADS CPU MEMORY PODS AGE
east - True Shared Exclusive 0s - 0 2 - - - <unknown>
west eu Unknown,Cordoned Shared - never - 0 1 - - - <unknown>
`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	kcp.forbidden = []string{virtualPath, leases, providerPath + "/apis/coordination.k8s.io"}
	out, _, err = run(t, "get", "cluster", "west")
	if err != nil || !strings.Contains(strings.Join(strings.Fields(out), " "), "west eu Unknown,Cordoned Shared - - - 0 - - - -") || strings.Contains(out, "east") {
		t.Errorf("who may not see heartbeats and workloads gets %v\n%s", err, out)
	}
}

func TestGetClustersOutput(t *testing.T) {
	twoClusters(t)
	out, _, err := run(t, "get", "clusters", "east", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Kind  string
		Items []struct {
			Metadata struct{ Name string }
			Spec     struct {
				Transform struct{ NamespacePrefix string }
			}
			Summary struct {
				Ready     string
				Workloads int
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	if list.Kind != "ClusterList" || len(list.Items) != 1 || list.Items[0].Summary.Ready != "True" || list.Items[0].Summary.Workloads != 2 || list.Items[0].Spec.Transform.NamespacePrefix != "k-" {
		t.Errorf("got %s", out)
	}
	out, _, err = run(t, "get", "clusters", "-o", "yaml")
	if err != nil || !strings.Contains(out, "kind: ClusterList\n") || !strings.Contains(out, "  summary:\n    isolation: Shared\n    ready: Unknown\n    scheduling: Cordoned\n") {
		t.Errorf("as YAML: %v\n%s", err, out)
	}
}
