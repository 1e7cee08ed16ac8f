package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSchedule(t *testing.T) {
	cases := map[string]struct {
		args      []string
		out       string
		wantWrite string
	}{
		"Cordon":             {[]string{"cordon", "east"}, "cluster east cordoned\n", `east {"spec":{"unschedulable":true}}`},
		"CordonAgain":        {[]string{"cordon", "west"}, "cluster west already cordoned\n", ""},
		"Uncordon":           {[]string{"uncordon", "west"}, "cluster west uncordoned\n", `west {"spec":{"drain":null,"unschedulable":null}}`},
		"UncordonAgain":      {[]string{"uncordon", "east"}, "cluster east already uncordoned\n", ""},
		"drain without wait": {[]string{"drain", "west", "--wait=false"}, "cluster west draining\n", `west {"spec":{"drain":true,"unschedulable":true}}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			kcp := twoClusters(t)
			out, _, err := run(t, tc.args...)
			if err != nil || out != tc.out {
				t.Errorf("got %q and %v, want %q", out, err, tc.out)
			}
			got := strings.TrimPrefix(strings.Join(kcp.takeWrites(), "\n"), "PATCH "+registrations+"/")
			if got != tc.wantWrite {
				t.Errorf("wrote %q, want %q", got, tc.wantWrite)
			}
		})
	}
}

func TestScheduleUnknownCluster(t *testing.T) {
	kcp := twoClusters(t)
	for _, args := range [][]string{{"cordon", "east", "esat"}, {"uncordon", "esat", "west"}, {"drain", "east", "esat"}, {"remove", "esat"}, {"get", "clusters", "esat"}} {
		_, _, err := run(t, args...)
		if err == nil || !strings.Contains(err.Error(), `there is no cluster "esat"; there are: east, west`) {
			t.Errorf("%v: got %v", args, err)
		}
	}
	if writes := kcp.takeWrites(); len(writes) > 0 {
		t.Errorf("wrote %v", writes)
	}
}

func TestDrain(t *testing.T) {
	t.Run("it waits until nothing is there", func(t *testing.T) {
		kcp := twoClusters(t)
		looks := 0
		kcp.onGet = func(path string) {
			if path != virtualPath+configMaps {
				return
			}
			switch looks++; looks {
			case 2:
				kcp.remove(virtualPath + "/apis/apps/v1/namespaces/shop/deployments/web")
				kcp.remove(virtualPath + "/apis/apps/v1/namespaces/shop/deployments/api")
			case 3:
				kcp.remove(virtualPath + "/api/v1/namespaces/shop/configmaps/settings")
			}
		}
		out, progress, err := run(t, "drain", "east")
		if err != nil || out != "cluster east draining\ncluster east drained\n" {
			t.Errorf("got %q and %v", out, err)
		}
		if want := "cluster east: waiting for 3 to leave\ncluster east: waiting for 1 to leave\n"; progress != want {
			t.Errorf("progress is %q, want %q", progress, want)
		}
	})
	t.Run("it says what is still there when the time is over", func(t *testing.T) {
		kcp := twoClusters(t)
		for i := range 12 {
			kcp.add(virtualPath+"/apis/batch/v1/jobs", on("ws-a", fmt.Sprintf("job-%02d", i), "east"))
		}
		_, _, err := run(t, "drain", "east", "--timeout", "1ns")
		if err == nil {
			t.Fatal("did not give up")
		}
		for _, want := range []string{"gave up waiting for cluster east to be empty after 1ns: 15 still there:", "workspace ws-a: shop/deployment/api: it has not been asked to leave yet", "and 5 more"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("no %q in %v", want, err)
			}
		}
	})
	t.Run("it fails before it changes a cluster that it may not watch", func(t *testing.T) {
		kcp := twoClusters(t)
		kcp.forbidden = []string{virtualPath}
		_, _, err := run(t, "drain", "east")
		if err == nil || !strings.Contains(err.Error(), "--wait=false") || len(kcp.takeWrites()) > 0 {
			t.Errorf("got %v", err)
		}
	})
}

func TestRemove(t *testing.T) {
	t.Run("it waits until the hub lets go", func(t *testing.T) {
		kcp := twoClusters(t)
		kcp.keepsDeleted = true
		looks := 0
		kcp.onGet = func(path string) {
			if path == registrations+"/east" {
				if looks++; looks == 2 {
					kcp.remove(path)
				}
			}
		}
		out, progress, err := run(t, "remove", "east")
		if err != nil || out != "cluster east removed\n" || progress != "cluster east: waiting for 3 to leave\n" {
			t.Errorf("got %q, %q and %v", out, progress, err)
		}
		if diff := cmp.Diff([]string{"DELETE " + registrations + "/east"}, kcp.takeWrites()); diff != "" {
			t.Errorf("writes (-want +got):\n%s", diff)
		}
	})
	t.Run("it says what keeps a cluster", func(t *testing.T) {
		kcp := twoClusters(t)
		kcp.keepsDeleted = true
		_, _, err := run(t, "remove", "west", "--timeout", "1ns")
		if err == nil || !strings.Contains(err.Error(), "1 still there:\n  workspace ws-a: shop/deployment/db") || !strings.Contains(err.Error(), "--force") {
			t.Errorf("got %v", err)
		}
		kcp.remove(virtualPath + "/apis/apps/v1/namespaces/shop/deployments/db")
		_, _, err = run(t, "remove", "west", "--timeout", "1ns")
		if err == nil || !strings.Contains(err.Error(), "is tmc-controller running?") {
			t.Errorf("of an empty cluster that is not let go: %v", err)
		}
	})
}

func TestRemoveForce(t *testing.T) {
	t.Run("it lists what may still run there", func(t *testing.T) {
		kcp := twoClusters(t)
		_, _, err := run(t, "remove", "east", "--force")
		if err == nil || !strings.Contains(err.Error(), "cluster east is still heard of: drain it") || len(kcp.takeWrites()) > 0 {
			t.Errorf("a cluster that is heard of: %v", err)
		}
		out, _, err := run(t, "remove", "east", "--force", "--yes")
		if err != nil {
			t.Fatal(err)
		}
		want := `cluster east removed by force
what may still run there, 4 in all:
workspace ws-a (root:team-a):
  shop/configmap/old, there k-shop/configmap/old
  shop/configmap/settings, there k-shop/configmap/settings
  shop/deployment/api, there k-shop/deployment/api
workspace ws-b (root:team-b):
  shop/deployment/web, there k-shop/deployment/web
`
		if diff := cmp.Diff(want, out); diff != "" {
			t.Errorf("output (-want +got):\n%s", diff)
		}
		wantWrites := []string{
			"PATCH " + registrations + `/east {"metadata":{"annotations":{"tmc.kcp.io/release":"true"}}}`,
			"DELETE " + registrations + "/east",
		}
		if diff := cmp.Diff(wantWrites, kcp.takeWrites()); diff != "" {
			t.Errorf("writes (-want +got):\n%s", diff)
		}
	})
	t.Run("it lists that for programs, too", func(t *testing.T) {
		kcp := twoClusters(t)
		out, _, err := run(t, "remove", "west", "--force", "-o", "json")
		var list struct {
			Kind  string
			Items []map[string]string
		}
		if err != nil || json.Unmarshal([]byte(out), &list) != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		want := []map[string]string{{"workspace": "ws-a", "workspacePath": "root:team-a", "kind": "Deployment", "namespace": "shop", "name": "db", "clusterNamespace": "shop", "clusterName": "db"}}
		if diff := cmp.Diff(want, list.Items); diff != "" || list.Kind != "RemainList" {
			t.Errorf("%s (-want +got):\n%s", list.Kind, diff)
		}
		kcp.add(registrations, cluster("west", "Unknown", ""))
		kcp.keepsDeleted = true
		out, _, err = run(t, "remove", "west", "--force", "--timeout", "1ns")
		if err == nil || !strings.Contains(err.Error(), "is tmc-controller running?") || !strings.Contains(out, "cluster west given up\n") || !strings.Contains(out, "shop/deployment/db") {
			t.Errorf("a hub that is not there: %v\n%s", err, out)
		}
	})
}

func TestRegistryErrors(t *testing.T) {
	cases := map[string]struct {
		prepare func(*fakeKCP)
		args    []string
		want    string
	}{
		"NotAllowed":           {func(kcp *fakeKCP) { kcp.forbidden = []string{registrations} }, []string{"get", "clusters"}, "listing clusters: workspace root:tmc does not exist, or you may not do this there"},
		"no kcp":               {func(kcp *fakeKCP) { kcp.pointAt("") }, []string{"get", "clusters", "--provider-workspace", "root:other"}, "there is no registry of clusters at"},
		"no path":              {func(*fakeKCP) {}, []string{"get", "clusters", "--provider-workspace", "A b"}, "--provider-workspace"},
		"no name":              {func(*fakeKCP) {}, []string{"cordon"}, "the name of a cluster is needed"},
		"two names":            {func(*fakeKCP) {}, []string{"remove", "east", "west"}, "one cluster is removed at a time"},
		"an output that is no": {func(*fakeKCP) {}, []string{"get", "clusters", "-o", "xml"}, `--output: "xml"`},
		"a timeout below 0":    {func(*fakeKCP) {}, []string{"drain", "east", "--timeout=-1s"}, "--timeout"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			kcp := twoClusters(t)
			tc.prepare(kcp)
			out, _, err := run(t, tc.args...)
			if err == nil || !strings.Contains(err.Error(), tc.want) || out != "" {
				t.Errorf("got %q and %v, want an error that says %q", out, err, tc.want)
			}
		})
	}
}
