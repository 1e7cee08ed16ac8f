package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/protocol"
)

const web = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  uid: u-web
  generation: 1
  labels: {cluster.tmc.kcp.io/east: sync, cluster.tmc.kcp.io/west: sync}
  annotations:
    tmc.kcp.io/placement: '{"by":"default","clusters":{"east":"all clusters","west":"all clusters"}}'
    status.tmc.kcp.io/east: '{"v":1,"cluster":"east","gen":1,"in":"INPUTS","lgen":1,"lobs":1,"want":2,"n":{"availableReplicas":2}}'
spec: {replicas: 2}
`

// noInputs is what a report says that was made from an object without labels and
// annotations of its user's.
func noInputs(t *testing.T) string {
	t.Helper()
	return protocol.Read(&unstructured.Unstructured{Object: map[string]any{}}).Inputs("east")
}

// workspaceWithWeb has web, and a Job in another namespace.
func workspaceWithWeb(t *testing.T) *fakeKCP {
	t.Helper()
	kcp := newFakeKCP(t)
	kcp.add(consumerPath+deployments, strings.Replace(web, "INPUTS", noInputs(t), 1))
	kcp.add(consumerPath+"/apis/batch/v1/jobs", "{apiVersion: batch/v1, kind: Job, metadata: {name: once, namespace: other}}")
	kcp.add(consumerPath+"/api/v1/namespaces", "metadata: {name: shop}")
	kcp.add(consumerPath+"/api/v1/events", "{metadata: {name: e, namespace: shop}, type: Warning, reason: Odd, message: it is odd, source: {component: tmc-controller}}")
	return kcp
}

func TestGetWorkloads(t *testing.T) {
	t.Run("it shows each cluster", func(t *testing.T) {
		kcp := workspaceWithWeb(t)
		kcp.forbidden = []string{registrations}
		out, _, err := run(t, "get", "workloads")
		want := "KIND         NAME   READY   EAST   WEST\nDeployment   web    2/4     2/2    0/2 …\n"
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		out, _, err = run(t, "get", "workloads", "-A")
		want = "NAMESPACE   KIND         NAME   READY   EAST   WEST\nother       Job          once   -       -      -\nshop        Deployment   web    2/4     2/2    0/2 …\n"
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out); diff != "" {
			t.Errorf("-A (-want +got):\n%s", diff)
		}
	})
	t.Run("a caller who may see the registry is told of silent clusters", func(t *testing.T) {
		kcp := workspaceWithWeb(t)
		kcp.add(registrations, cluster("east", "Unknown", ""), cluster("west", "True", ""))
		out, _, err := run(t, "get", "workloads", "web", "-o", "json")
		if err != nil || strings.Count(out, `"silent": true`) != 1 || !strings.Contains(out, `"kind": "WorkloadList"`) || !strings.Contains(out, `"available": 0`) {
			t.Errorf("got %v\n%s", err, out)
		}
	})
	t.Run("all kinds, and where each of them is", func(t *testing.T) {
		kcp := workspaceWithWeb(t)
		kcp.forbidden = []string{registrations, consumerPath + "/api/v1/namespaces/shop/serviceaccounts"}
		kcp.add(consumerPath+"/api/v1/configmaps", "metadata: {name: by-api, namespace: shop}", "metadata: {name: kube-root-ca.crt, namespace: shop}")
		kcp.add(consumerPath+"/apis/networking.k8s.io/v1/ingresses", "metadata: {name: web, namespace: shop, labels: {cluster.tmc.kcp.io/west: sync}}")
		kcp.add(consumerPath+"/apis/custom.example.com/v1a1/widgets", "metadata: {name: bound, namespace: shop}")
		kcp.add(consumerPath+"/apis/custom.example.com/v1a1/gears", "metadata: {name: the-workspaces-own, namespace: shop}")
		kcp.add(consumerPath+"/apis/apis.kcp.io/v1alpha2/apibindings", `{metadata: {name: tmc.kcp.io}, spec: {reference: {export: {path: root:tmc, name: tmc.kcp.io}}},
			status: {boundResources: [{group: custom.example.com, resource: widgets}]}}`, `{metadata: {name: other}, spec: {reference: {export: {path: root:other, name: other}}},
			status: {boundResources: [{group: custom.example.com, resource: gears}]}}`)
		out, progress, err := run(t, "get", "workloads", "--all-kinds")
		want := "KIND         NAME     READY   WHERE               EAST   WEST\n" +
			"ConfigMap    by-api   -       nothing places it   -      -\n" +
			"Ingress      web      -       west                -      …\n" +
			"Widget       bound    -       nothing places it   -      -\n" +
			"Deployment   web      2/4     east, west          2/2    0/2 …\n"
		if err != nil || progress != "serviceaccounts are not shown, for you may not list them\n" {
			t.Fatalf("%v, %q", err, progress)
		}
		if diff := cmp.Diff(want, out); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("an empty namespace is named", func(t *testing.T) {
		workspaceWithWeb(t)
		out, progress, err := run(t, "get", "workloads", "-n", "empty")
		if err != nil || out != "" || progress != "no workloads found in namespace empty\n" {
			t.Errorf("got %q, %q and %v", out, progress, err)
		}
	})
}

func TestDescribe(t *testing.T) {
	for _, args := range [][]string{{"deploy/web"}, {"deployment", "web"}, {"deployments.apps/web", "-n", "shop"}} {
		workspaceWithWeb(t)
		out, _, err := run(t, append([]string{"describe"}, args...)...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		for _, want := range []string{
			"Name:            web\nNamespace:       shop\nKind:            Deployment (apps/v1)\n",
			"  east  placed  2/2\n    Why:         all clusters\n",
			"  Warning  Odd  tmc-controller: it is odd\n",
			"What is wrong:\n  west: has not reported\n",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%v: no %q in\n%s", args, want, out)
			}
		}
	}
}

// Of a custom resource that the workspace serves no status of, clusters report only problems.
func TestDescribeOfCustomResourceWithoutStatus(t *testing.T) {
	const object = "metadata: {name: one, namespace: shop, labels: {cluster.tmc.kcp.io/east: sync}, finalizers: [syncer.tmc.kcp.io/east]}"
	for kind, want := range map[string]string{"widget": "What is wrong:   nothing\n", "gear": "What is wrong:\n  east: has not reported\n"} {
		workspaceWithWeb(t).add(consumerPath+"/apis/custom.example.com/v1a1/"+kind+"s", object)
		out, _, err := run(t, "describe", kind, "one", "-n", "shop")
		if err != nil || !strings.HasSuffix(out, want) {
			t.Errorf("got %v, want %q at the end of\n%s", err, want, out)
		}
	}
}

func TestRetry(t *testing.T) {
	cases := map[string]struct {
		args    []string
		prepare func(*fakeKCP)
		out     string
		fails   string
		writes  int
	}{
		"a Deployment":                  {args: []string{"deploy/web"}, out: "deployments/web: asked east, west to try again\n", writes: 1},
		"what is on no cluster":         {args: []string{"job", "once", "-n", "other"}, out: "jobs/once: is on no cluster; asked tmc-controller to try again\n", writes: 1},
		"all of a kind":                 {args: []string{"deployments", "--all"}, out: "deployments/web: asked east, west to try again\n", writes: 1},
		"all of none":                   {args: []string{"jobs", "--all", "-n", "shop"}},
		"several, of which one is none": {args: []string{"deploy/web", "deploy/wbe"}, fails: "wbe"},
		"nothing":                       {args: nil, fails: "KIND/NAME"},
		"no such kind":                  {args: []string{"gadget/web"}, fails: "gadget"},
		"what is never synced":          {args: []string{"events/e"}, fails: "are not synced"},
		"no workspace":                  {args: []string{"deploy/web"}, prepare: func(kcp *fakeKCP) { kcp.pointAt("") }, fails: "points to no workspace"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			kcp := workspaceWithWeb(t)
			if tc.prepare != nil {
				tc.prepare(kcp)
			}
			out, _, err := run(t, append([]string{"retry"}, tc.args...)...)
			if out != tc.out || (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) || len(kcp.writes) != tc.writes {
				t.Errorf("got %q and %v; written: %q", out, err, kcp.writes)
			}
			for _, write := range kcp.writes {
				if !strings.Contains(write, `"annotations":{"tmc.kcp.io/retry":"2`) {
					t.Errorf("written: %s", write)
				}
			}
		})
	}
}

func TestWorkloadErrors(t *testing.T) {
	cases := map[string]struct {
		prepare func(*fakeKCP)
		args    []string
		want    string
	}{
		"all namespaces and a name": {func(*fakeKCP) {}, []string{"get", "workloads", "-A", "web"}, "--all-namespaces"},
		"no workspace":              {func(kcp *fakeKCP) { kcp.pointAt("") }, []string{"get", "workloads"}, "points to no workspace"},
		"NotBound":                  {func(kcp *fakeKCP) { kcp.pointAt("/clusters/root:other") }, []string{"get", "workloads"}, "serves no workloads: point the kubeconfig at a workspace that `kubectl tmc bind` has bound"},
		"all kinds, not bound":      {func(kcp *fakeKCP) { kcp.pointAt("/clusters/root:other") }, []string{"get", "workloads", "--all-kinds"}, "point the kubeconfig at"},
		"NotAllowed":                {func(kcp *fakeKCP) { kcp.forbidden = []string{consumerPath} }, []string{"get", "workloads"}, "you may not do this there"},
		"no such workload":          {func(*fakeKCP) {}, []string{"get", "workloads", "wbe"}, `there is no workload "wbe" in namespace shop`},
		"nothing to describe":       {func(*fakeKCP) {}, []string{"describe"}, "KIND/NAME"},
		"no name to describe":       {func(*fakeKCP) {}, []string{"describe", "deploy"}, "no name was specified"},
		"no such kind":              {func(*fakeKCP) {}, []string{"describe", "gadget/web"}, "gadget"},
		"no such object":            {func(*fakeKCP) {}, []string{"describe", "deploy/wbe"}, "wbe"},
		"describe no workspace":     {func(kcp *fakeKCP) { kcp.pointAt("") }, []string{"describe", "deploy/web"}, "points to no workspace"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			kcp := workspaceWithWeb(t)
			tc.prepare(kcp)
			out, _, err := run(t, tc.args...)
			if err == nil || !strings.Contains(err.Error(), tc.want) || out != "" {
				t.Errorf("got %q and %v, want an error that says %q", out, err, tc.want)
			}
		})
	}
}
