package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// installed is a kcp where tmc has been installed, with an export of two kinds.
func installed(t *testing.T) *fakeKCP {
	t.Helper()
	kcp := newFakeKCP(t)
	kcp.add(providerPath+"/apis/apis.kcp.io/v1alpha2/apiexports", `
metadata: {name: tmc.kcp.io}
spec:
  resources: [{group: apps, name: deployments, schema: v1.deployments.apps}, {group: tmc.kcp.io, name: workloadplacements, schema: v1.workloadplacements}]
  permissionClaims: [{resource: secrets}, {resource: namespaces}, {resource: events}]
status: {identityHash: hash, conditions: [{type: IdentityValid, status: "True"}]}`)
	kcp.add(providerPath+"/apis/apis.kcp.io/v1alpha1/apiresourceschemas", "{metadata: {name: v1.deployments.apps}, spec: {scope: Namespaced}}")
	return kcp
}

// joinEast runs join for east. The fake does without TLS, so kcp is said to be elsewhere.
func joinEast(t *testing.T, args ...string) (out, progress string, err error) {
	t.Helper()
	return run(t, append([]string{"join", "east", "--image", "registry.example.com/tmc:v1", "--kcp-server", "https://kcp.example.com:6443"}, args...)...)
}

func TestJoin(t *testing.T) {
	t.Run("it prints the manifest and nothing else", func(t *testing.T) {
		kcp := installed(t)
		out, progress, err := joinEast(t)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"- --cluster-name=east\n", "- --export=cluster-east\n", "- --kinds=deployments.apps,secrets\n", "- --provider-workspace=root:tmc\n", "- --namespace=tmc-system\n",
			"image: registry.example.com/tmc:v1\n", "replicas: 2\n",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("the manifest does not say %q", want)
			}
		}
		for _, want := range []string{
			"clusterregistration.tmc.kcp.io/east created\n", "serviceaccount/east created\n", "cluster east is joined; its token ends at 2026-01-02T03:04:05Z",
		} {
			if !strings.Contains(progress, want) || strings.Contains(out, want) {
				t.Errorf("%q is not told of apart from the manifest:\n%s", want, progress)
			}
		}
		if strings.Contains(progress, "token-1") {
			t.Error("the token is told of")
		}
		if len(kcp.takeWrites()) == 0 {
			t.Error("nothing was made")
		}
	})
	t.Run("an address that only this machine reaches is a warning", func(t *testing.T) {
		for server, isLocal := range map[string]bool{
			"https://127.0.0.1:6443": true, "https://localhost/": true, "https://[::1]:6443": true, "https://kcp.example.com": false, "https://10.0.0.1": false,
		} {
			installed(t)
			_, progress, err := run(t, "join", "east", "--image", "tmc", "--kcp-server", server, "--dry-run")
			if err != nil || strings.Contains(progress, "warning: ") != isLocal {
				t.Errorf("%s: got %v\n%s", server, err, progress)
			}
		}
	})
}

func TestJoinAgain(t *testing.T) {
	t.Run("the token is rotated and nothing else changes", func(t *testing.T) {
		kcp := installed(t)
		file := filepath.Join(t.TempDir(), "east.yaml")
		join := func() (manifest string) {
			t.Helper()
			out, _, err := joinEast(t, "-o", file, "--location", "eu", "--labels", "tier=gold,gpu=")
			if err != nil || out != "" {
				t.Fatalf("got %q and %v", out, err)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			return string(data)
		}
		first := join()
		kcp.takeWrites()
		second := join()
		if writes := kcp.takeWrites(); len(writes) > 0 {
			t.Errorf("wrote %v", writes)
		}
		differences := 0
		was := strings.Split(first, "\n")
		for i, line := range strings.Split(second, "\n") {
			if line != was[i] {
				differences++
				if !strings.Contains(line, "kubeconfig: ") && !strings.Contains(line, "token: token-2") {
					t.Errorf("%q was %q", line, was[i])
				}
			}
		}
		if differences != 1 || kcp.tokens != 2 {
			t.Errorf("%d lines differ after %d tokens, want the one with the token", differences, kcp.tokens)
		}
	})
	t.Run("it says that earlier tokens are valid", func(t *testing.T) {
		installed(t)
		const warning = "its earlier tokens stay valid until they end"
		for i, args := range [][]string{nil, nil, {"--no-token"}} {
			_, progress, err := joinEast(t, args...)
			if err != nil {
				t.Fatal(err)
			}
			if want := i == 1; strings.Contains(progress, warning) != want || want && !strings.Contains(progress, "kubectl tmc join east --revoke") {
				t.Errorf("time %d: want it said: %t, got\n%s", i+1, want, progress)
			}
		}
	})
	t.Run("another isolation says what remains", func(t *testing.T) {
		kcp := installed(t)
		if _, _, err := joinEast(t, "--shared"); err != nil {
			t.Fatal(err)
		}
		kcp.objects[registrations+"/east"].Object["status"] = map[string]any{"clusterUID": "uid", "export": "tmc.kcp.io"}
		_, progress, err := joinEast(t)
		if err != nil || !strings.Contains(progress, "its syncer still runs with APIExport tmc.kcp.io") || !strings.Contains(progress, "take that away with `kubectl tmc init`") {
			t.Errorf("got %v\n%s", err, progress)
		}
	})
}

func TestJoinDryRun(t *testing.T) {
	t.Run("it says what it would revoke", func(t *testing.T) {
		kcp := installed(t)
		const deletes = "serviceaccount/east deleted (dry run)"
		if _, progress, err := joinEast(t, "--revoke", "--dry-run"); err != nil || strings.Contains(progress, deletes) {
			t.Errorf("there is no account (%v):\n%s", err, progress)
		}
		if _, _, err := joinEast(t); err != nil {
			t.Fatal(err)
		}
		kcp.takeWrites()
		if _, progress, err := joinEast(t, "--revoke", "--dry-run"); err != nil || !strings.Contains(progress, deletes) || len(kcp.takeWrites()) > 0 {
			t.Errorf("there is one (%v):\n%s", err, progress)
		}
	})
	t.Run("it writes nothing", func(t *testing.T) {
		kcp := installed(t)
		out, progress, err := joinEast(t, "--dry-run")
		if err != nil || len(kcp.takeWrites()) > 0 || kcp.tokens > 0 {
			t.Fatalf("got %v, %v and %d tokens", err, kcp.takeWrites(), kcp.tokens)
		}
		if !strings.Contains(out, "kind: Deployment") || !strings.Contains(progress, "clusterrole.rbac.authorization.k8s.io/tmc-syncer-east created (dry run)\n") || !strings.Contains(progress, "nothing has been made in kcp") {
			t.Errorf("got\n%s\n%s", out, progress)
		}
		again, _, err := joinEast(t, "--dry-run")
		if err != nil || again != out {
			t.Errorf("again it is another one: %v\n%s", err, cmp.Diff(out, again))
		}
	})
}

func TestJoinOutputFile(t *testing.T) {
	installed(t)
	for name, prepare := range map[string]func(file string) error{
		"a new file":                    func(string) error { return nil },
		"a file that others may read":   func(file string) error { return os.WriteFile(file, []byte(strings.Repeat("x", 1<<20)), 0o644) },
		"a file that nobody may change": func(file string) error { return os.WriteFile(file, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "east.yaml")
			if err := prepare(file); err != nil {
				t.Fatal(err)
			}
			if _, _, err := joinEast(t, "--output-file", file); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(file)
			if err != nil || info.Mode().Perm() != 0o600 || info.Size() >= 1<<20 {
				t.Errorf("got %v, %v", info, err)
			}
		})
	}
}

func TestJoinIsolation(t *testing.T) {
	for name, tc := range map[string]struct {
		args   []string
		export string
		says   []string
	}{
		"Isolated": {nil, "cluster-east", []string{
			"apiexport.apis.kcp.io/cluster-east created (dry run)\n", "workspacetype.tenancy.kcp.io/tmc-tenant created (dry run)\n",
		}},
		"in a group": {[]string{"--group", "eu-prod"}, "group-eu-prod", []string{"apiexport.apis.kcp.io/group-eu-prod created (dry run)\n"}},
		"Shared":     {[]string{"--shared"}, "tmc.kcp.io", nil},
	} {
		t.Run(name, func(t *testing.T) {
			installed(t)
			out, progress, err := joinEast(t, append(tc.args, "--dry-run")...)
			if err != nil || !strings.Contains(out, "- --export="+tc.export+"\n") {
				t.Fatalf("got %v\n%s", err, out)
			}
			for _, want := range tc.says {
				if !strings.Contains(progress, want) {
					t.Errorf("no %q in\n%s", want, progress)
				}
			}
		})
	}
	for name, tc := range map[string]struct {
		args []string
		says string
	}{
		"Isolated":   {nil, "it sees what is placed on it, and nothing else, in workspaces that have APIExport cluster-east bound: run `kubectl tmc bind` in those that are not of the type root:tmc:tmc-tenant\n"},
		"in a group": {[]string{"--group", "eu-prod"}, "it sees what is placed on the clusters of group eu-prod, and nothing else, in workspaces that have APIExport group-eu-prod bound"},
		"Shared":     {[]string{"--shared"}, "every object of all bound workspaces can be read, every Secret included"},
	} {
		t.Run(name+"ForGood", func(t *testing.T) {
			installed(t)
			if _, progress, err := joinEast(t, tc.args...); err != nil || !strings.Contains(progress, tc.says) {
				t.Errorf("got %v, no %q in\n%s", err, tc.says, progress)
			}
		})
	}
}

func TestJoinNoToken(t *testing.T) {
	kcp := installed(t)
	if _, _, err := joinEast(t); err != nil {
		t.Fatal(err)
	}
	kcp.takeWrites()
	out, progress, err := joinEast(t, "--no-token")
	if err != nil || kcp.tokens != 1 || len(kcp.takeWrites()) > 0 {
		t.Fatalf("got %v and %d tokens", err, kcp.tokens)
	}
	if strings.Contains(out, "kind: Secret") || !strings.Contains(out, "kind: Deployment") || !strings.Contains(progress, "its syncer keeps the token that it has") {
		t.Errorf("got\n%s\n%s", progress, out)
	}
}

func TestJoinAllowNamespaces(t *testing.T) {
	kcp := installed(t)
	for _, step := range []struct {
		reason string
		args   []string
		want   []any
	}{
		{"none by default", nil, nil},
		{"given, they are written", []string{"--allow-namespaces", "default,shop-*"}, []any{"default", "shop-*"}},
		{"not given, they stay", nil, []any{"default", "shop-*"}},
		{"their order says nothing", []string{"--allow-namespaces", "shop-*,default"}, []any{"default", "shop-*"}},
		{"others take their place", []string{"--allow-namespaces=default"}, []any{"default"}},
		{"empty, none is left", []string{"--allow-namespaces="}, []any{}},
	} {
		if _, _, err := joinEast(t, step.args...); err != nil {
			t.Fatal(err)
		}
		spec, _ := kcp.objects[registrations+"/east"].Object["spec"].(map[string]any)
		got, _ := spec["allowedNamespaces"].([]any)
		if !slices.Equal(got, step.want) {
			t.Errorf("%s: got %v, want %v", step.reason, got, step.want)
		}
	}
}

func TestJoinErrors(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		prepare func(*fakeKCP)
		args    []string
		want    string
	}{
		"no name":               {nil, []string{"join", "--image", "tmc"}, "the name of a cluster is needed"},
		"two names":             {nil, []string{"join", "east", "west", "--image", "tmc"}, "one cluster is joined at a time"},
		"no image":              {nil, []string{"join", "east"}, "--image is required"},
		"a bad name":            {nil, []string{"join", "East", "--image", "tmc"}, `"East"`},
		"a bad image":           {nil, []string{"join", "east", "--image", "A b"}, "image"},
		"a bad policy":          {nil, []string{"join", "east", "--image", "tmc", "--image-pull-policy", "Often"}, `imagePullPolicy: Unsupported value: "Often"`},
		"a bad namespace":       {nil, []string{"join", "east", "--image", "tmc", "-n", "kube-system"}, "namespace"},
		"no replicas":           {nil, []string{"join", "east", "--image", "tmc", "--replicas", "0"}, "replicas"},
		"no CA file":            {nil, []string{"join", "east", "--image", "tmc", "--ca-file", "/does/not/exist"}, "--ca-file"},
		"an empty CA file":      {nil, []string{"join", "east", "--image", "tmc", "--ca-file", empty}, "is empty"},
		"no TLS":                {nil, []string{"join", "east", "--image", "tmc"}, "https"},
		"unknown kinds":         {nil, []string{"join", "east", "--image", "tmc", "--kcp-server", "https://kcp", "--kinds", "gadgets"}, `kind "gadgets" is not served; there are: deployments.apps, secrets`},
		"not installed":         {nil, []string{"join", "east", "--image", "tmc", "--kcp-server", "https://kcp", "--provider-workspace", "root:team-a"}, "kubectl tmc init"},
		"NotAllowed":            {func(kcp *fakeKCP) { kcp.forbidden = []string{providerPath} }, []string{"join", "east", "--image", "tmc", "--kcp-server", "https://kcp"}, "you may not do this there"},
		"an old kcp":            {func(kcp *fakeKCP) { kcp.gitVersion = "v1.33.3+kcp-v0.28.1" }, []string{"join", "east", "--image", "tmc", "--kcp-server", "https://kcp"}, "v0.28.1"},
		"shared in a group":     {nil, []string{"join", "east", "--image", "tmc", "--kcp-server", "https://kcp", "--shared", "--group", "eu"}, "--group eu"},
		"a bad group":           {nil, []string{"join", "east", "--image", "tmc", "--kcp-server", "https://kcp", "--group", "EU"}, `"EU" is not the name of an isolation group`},
		"a bad pattern":         {nil, []string{"join", "east", "--image", "tmc", "--kcp-server", "https://kcp", "--allow-namespaces", "default,Shop_*"}, `"Shop_*" is not the name of a namespace, in which * stands for any characters`},
		"a pattern twice":       {nil, []string{"join", "east", "--image", "tmc", "--kcp-server", "https://kcp", "--allow-namespaces", "a,a"}, `"a" is there twice`},
		"a file that cannot be": {nil, []string{"join", "east", "--image", "tmc", "--kcp-server", "https://kcp", "-o", "/does/not/exist"}, "--output-file"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			kcp := installed(t)
			if tc.prepare != nil {
				tc.prepare(kcp)
			}
			out, _, err := run(t, tc.args...)
			if err == nil || !strings.Contains(err.Error(), tc.want) || out != "" {
				t.Errorf("got %q and %v, want an error that says %q", out, err, tc.want)
			}
		})
	}
}

func TestUnjoin(t *testing.T) {
	t.Run("it removes the cluster and what join has made", func(t *testing.T) {
		kcp := installed(t)
		before := len(kcp.objects)
		if _, _, err := joinEast(t); err != nil {
			t.Fatal(err)
		}
		kcp.takeWrites()
		out, _, err := run(t, "unjoin", "east")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"cluster east removed\n", "serviceaccount/east deleted\n", "clusterrole.rbac.authorization.k8s.io/tmc-syncer-east deleted\n", "kubectl --context east delete -f FILE"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
		writes := kcp.takeWrites()
		if len(writes) == 0 || writes[0] != "DELETE "+registrations+"/east" {
			t.Errorf("its syncer loses its account before it can leave: %v", writes)
		}
		// What is there for all clusters stays: the two namespaces, and the tenants' WorkspaceType; and
		// the endpoint slice, which kcp would have removed.
		if len(kcp.objects) != before+4 {
			t.Errorf("there are %d objects, before there were %d", len(kcp.objects), before)
		}
		out, _, err = run(t, "unjoin", "east")
		if err != nil || out != "there is nothing of a cluster east in workspace root:tmc\n" || len(kcp.takeWrites()) > 0 {
			t.Errorf("again: got %q and %v", out, err)
		}
	})
	t.Run("it waits for the cluster to leave", func(t *testing.T) {
		kcp := twoClusters(t)
		kcp.keepsDeleted = true
		_, _, err := run(t, "unjoin", "east", "--timeout", "1ns")
		if err == nil || !strings.Contains(err.Error(), "gave up waiting for cluster east to leave") {
			t.Errorf("got %v", err)
		}
		if diff := cmp.Diff([]string{"DELETE " + registrations + "/east"}, kcp.takeWrites()); diff != "" {
			t.Errorf("writes (-want +got):\n%s", diff)
		}
	})
	t.Run("it lists what may still run there when forced", func(t *testing.T) {
		kcp := twoClusters(t)
		_, _, err := run(t, "unjoin", "east", "--force")
		if err == nil || !strings.Contains(err.Error(), "cluster east is still heard of") || len(kcp.takeWrites()) > 0 {
			t.Errorf("a cluster that is heard of: %v", err)
		}
		out, _, err := run(t, "unjoin", "west", "--force")
		if err != nil || !strings.Contains(out, "cluster west removed by force\nwhat may still run there, 1 in all:\n") || !strings.Contains(out, "cluster west has been taken out") {
			t.Errorf("got %v\n%s", err, out)
		}
	})
}

func TestUnjoinErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no name":           {[]string{"unjoin"}, "the name of a cluster is needed"},
		"two names":         {[]string{"unjoin", "east", "west"}, "one cluster is taken out at a time"},
		"a bad name":        {[]string{"unjoin", "East"}, `"East"`},
		"a timeout below 0": {[]string{"unjoin", "east", "--timeout=-1s"}, "--timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			twoClusters(t)
			if _, _, err := run(t, tc.args...); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error that says %q", err, tc.want)
			}
		})
	}
}

func TestJoinPolicyNamespaces(t *testing.T) {
	installed(t)
	const policy = "kind: ValidatingAdmissionPolicy\n"
	steps := []struct {
		reason string
		args   []string
		want   string // what is listed, "" for no policy
	}{
		{"nothing but what tmc has made", nil, `"^$"`},
		{"what kcp is told now", []string{"--allow-namespaces", "shop-*,default"}, `"^(default|shop-.*)$"`},
		{"what kcp was told then", nil, `"^(default|shop-.*)$"`},
		{"the cluster has its own view of that", []string{"--policy-namespaces", "default"}, `"^(default)$"`},
		{"it is too old", []string{"--admission-policy=false"}, ""},
	}
	for _, step := range steps {
		out, _, err := joinEast(t, step.args...)
		if err != nil {
			t.Fatalf("%s: %v", step.reason, err)
		}
		if has := strings.Contains(out, policy); has != (step.want != "") {
			t.Errorf("%s: the manifest has a policy: %t", step.reason, has)
		}
		if line := "  - expression: '" + step.want + "'\n    name: listed\n"; step.want != "" && !strings.Contains(out, line) {
			t.Errorf("%s: the manifest does not say %q", step.reason, line)
		}
	}
	if _, _, err := joinEast(t, "--admission-policy=false", "--policy-namespaces=default"); err == nil || !strings.Contains(err.Error(), "policyNamespaces") {
		t.Errorf("got %v, want it refused: nobody would look at what is listed", err)
	}
}

func TestJoinMetricsFrom(t *testing.T) {
	installed(t)
	for _, c := range []struct {
		args []string
		open bool
	}{{nil, false}, {[]string{"--metrics-from", "monitoring"}, true}} {
		out, _, err := joinEast(t, c.args...)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"- --metrics-bind-address=:8081\n", "name: tmc-syncer-metrics\n", "          - monitoring\n"} {
			if strings.Contains(out, want) != c.open {
				t.Errorf("with %q the manifest says %q: %t, want %t", c.args, want, !c.open, c.open)
			}
		}
	}
	if _, _, err := joinEast(t, "--metrics-from", "team=obs"); err == nil || !strings.Contains(err.Error(), "metricsFrom") {
		t.Errorf("got %v, want labels refused: tenants choose those of their namespaces", err)
	}
}
