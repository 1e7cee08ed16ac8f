package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// repairs reports whether the controllers of the tests repair patches (tmc-controller's webhook, of --repair-url). Then what
// can be repaired has to come out as on a cluster; without it, it may be refused.
const repairs = true

// outcome is what an edit has to come to in kcp, measured by what a cluster makes of it.
type outcome int

const (
	// either is the same as on a cluster, or refused without any change.
	either outcome = iota
	// repaired is the same where patches are repaired, and otherwise either.
	repaired
	// same is the same, whether patches are repaired or not.
	same
)

// edit is something that a user does with an object that is there. NAME in it stands for the object's name.
type edit struct {
	// name says what he does, and which command he does it with.
	name, with string
	// of is the resource, deployments if it is empty.
	of string
	// first is what Helm is called with before, after the installation; nil for nothing.
	first []string
	// others is a JSON patch that somebody else has written before; empty for none.
	others string
	// replace has the manifest applied with the first text of each pair replaced by the second.
	replace []string
	// run is what kubectl, or Helm, is called with.
	run []string
	// script is what sed does to the object in an editor.
	script string
	want   outcome
}

// editedResources are the resources in the order of the manifest's documents.
var editedResources = []schema.GroupVersionResource{
	{Group: "apps", Version: "v1", Resource: "deployments"},
	{Version: "v1", Resource: "services"},
	{Group: "batch", Version: "v1", Resource: "cronjobs"},
}

// logContainer is the manifest's second container, and its end.
const logContainer = `      - name: log
        image: example.com/log:1
        env:
        - name: A
          value: "3"
`

// applied are edits of the manifest, for `kubectl apply` on the client's side.
var applied = []edit{
	{name: "replicas and labels", replace: []string{"paused: true", "paused: true\n  minReadySeconds: 5", "labels: {app: NAME}\n  annotations", "labels: {app: NAME, tier: web}\n  annotations"}, want: same},
	{name: "strategy changed", replace: []string{"{type: RollingUpdate, rollingUpdate: {maxSurge: 2, maxUnavailable: 1}}", "{type: Recreate}"}, want: same},
	{name: "tolerations changed", replace: []string{"{key: b, operator: Exists}", "{key: c, operator: Exists}"}, want: same},
	{name: "container changed", replace: []string{"web:1", "web:2"}, want: repaired},
	{name: "containers changed, both", replace: []string{"web:1", "web:2", "log:1", "log:2"}, want: repaired},
	{name: "container added", replace: []string{"      - name: log\n", "      - name: side\n        image: example.com/side:1\n      - name: log\n"}, want: repaired},
	{name: "container removed", replace: []string{logContainer, ""}, want: repaired},
	{name: "container replaced", replace: []string{"      - name: log\n", "      - name: other\n"}, want: repaired},
	{name: "containers reordered", replace: []string{logContainer, "", "      containers:\n", "      containers:\n" + logContainer}, want: repaired},
	{name: "init container changed", replace: []string{"init:1", "init:2"}, want: repaired},
	{name: "init container added", replace: []string{"      - name: init\n", "      - name: first\n        image: example.com/first:1\n      - name: init\n"}, want: repaired},
	{name: "init containers removed", replace: []string{"      initContainers:\n      - name: init\n        image: example.com/init:1\n        command: [prepare]\n", ""}, want: same},
	{name: "init container's command removed", replace: []string{"init:1\n        command: [prepare]", "init:2"}, want: repaired},
	{name: "env changed", replace: []string{`value: "2"`, `value: "two"`}, want: repaired},
	{name: "env added", replace: []string{"        - name: B\n", "        - name: NEW\n          value: new\n        - name: B\n"}, want: repaired},
	{name: "env removed", replace: []string{"        - name: B\n          value: \"2\"\n", ""}, want: repaired},
	{name: "env removed that another has", replace: []string{"        - name: A\n          value: \"1\"\n", ""}, want: repaired},
	{name: "env reordered", replace: []string{"        - name: A\n          value: \"1\"\n        - name: B\n          value: \"2\"\n", "        - name: B\n          value: \"2\"\n        - name: A\n          value: \"1\"\n"}, want: repaired},
	{name: "env from elsewhere", replace: []string{`value: "1"`, "valueFrom: {fieldRef: {fieldPath: metadata.name}}"}, want: repaired},
	{name: "envFrom changed", replace: []string{"name: one}", "name: two}"}, want: repaired},
	{name: "envFrom removed", replace: []string{"        envFrom: [{configMapRef: {name: one}}]\n", ""}, want: repaired},
	{name: "port added", replace: []string{"        - containerPort: 81\n", "        - containerPort: 81\n        - containerPort: 82\n"}, want: repaired},
	{name: "port removed", replace: []string{"        - containerPort: 81\n", ""}, want: repaired},
	{name: "port changed", replace: []string{"containerPort: 81", "containerPort: 82"}, want: repaired},
	{name: "port's name removed", replace: []string{"        - containerPort: 80\n          name: http\n", "        - containerPort: 80\n"}, want: repaired},
	{name: "volume and mount added", replace: []string{"      - name: data\n", "      - name: more\n        emptyDir: {}\n      - name: data\n", "        - name: data\n", "        - name: more\n          mountPath: /more\n        - name: data\n"}, want: repaired},
	{name: "volume and mount removed", replace: []string{"      - name: data\n        emptyDir: {}\n", "", "        - name: data\n          mountPath: /data\n", ""}, want: repaired},
	{name: "volume's source changed", replace: []string{"configMap: {name: conf, items: [{key: a, path: a}]}", "secret: {secretName: conf}"}, want: repaired},
	{name: "volumes reordered", replace: []string{"      - name: data\n        emptyDir: {}\n", "", "items: [{key: a, path: a}]}\n", "items: [{key: a, path: a}]}\n      - name: data\n        emptyDir: {}\n"}, want: repaired},
	{name: "mount changed", replace: []string{"mountPath: /data", "mountPath: /elsewhere"}, want: repaired},
	{name: "mount's field added", replace: []string{"mountPath: /conf", "mountPath: /conf\n          readOnly: true"}, want: repaired},
	{name: "imagePullSecret changed", replace: []string{"{name: registry}", "{name: other}"}, want: repaired},
	{name: "imagePullSecret added", replace: []string{"{name: registry}", "{name: registry}, {name: other}"}, want: repaired},
	{name: "imagePullSecrets removed", replace: []string{"      imagePullSecrets: [{name: registry}]\n", ""}, want: same},
	{name: "hostAlias changed", replace: []string{"hostnames: [two]", "hostnames: [two, more]"}, want: repaired},
	{name: "hostAlias added", replace: []string{"{ip: 10.0.0.2, hostnames: [two]}", "{ip: 10.0.0.2, hostnames: [two]}, {ip: 10.0.0.3, hostnames: [three]}"}, want: repaired},
	{name: "hostAlias removed", replace: []string{", {ip: 10.0.0.2, hostnames: [two]}", ""}, want: repaired},
	{name: "limit removed", replace: []string{"cpu: 1, memory: 1Gi", "cpu: 1"}, want: repaired},
	{name: "resources removed", replace: []string{"        resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}\n", ""}, want: repaired},
	{name: "probe changed", replace: []string{"{httpGet: {path: /, port: 80}}", "{tcpSocket: {port: 80}}"}, want: repaired},
	{
		name: "container changed, another's env kept", replace: []string{"web:1", "web:2"},
		others: `[{"op":"add","path":"/spec/template/spec/containers/0/env/-","value":{"name":"THEIRS","value":"x"}}]`, want: repaired,
	},
	{
		name: "env changed, another's container kept", replace: []string{`value: "1"`, `value: "one"`},
		others: `[{"op":"add","path":"/spec/template/spec/containers/-","value":{"name":"injected","image":"example.com/injected:1"}}]`, want: repaired,
	},
	{
		name: "env that another has removed", replace: []string{`value: "2"`, `value: "two"`},
		others: `[{"op":"remove","path":"/spec/template/spec/containers/0/env/0"}]`, want: repaired,
	},
	{name: "Service's port added", of: "services", replace: []string{"  - name: metrics\n", "  - name: admin\n    port: 9091\n  - name: metrics\n"}, want: repaired},
	{name: "Service's port removed", of: "services", replace: []string{"  - name: metrics\n    port: 9090\n", ""}, want: repaired},
	{name: "Service's port changed", of: "services", replace: []string{"port: 9090", "port: 9091"}, want: repaired},
	{name: "Service's target port changed", of: "services", replace: []string{"targetPort: 8080", "targetPort: 8081"}, want: repaired},
	{name: "Service's ports reordered", of: "services", replace: []string{"  - name: http\n    port: 80\n    targetPort: 8080\n", "", "port: 9090\n", "port: 9090\n  - name: http\n    port: 80\n    targetPort: 8080\n"}, want: repaired},
	{name: "Service's selector changed", of: "services", replace: []string{"selector: {app: NAME}", "selector: {app: other}"}, want: same},
	{name: "CronJob's container changed", of: "cronjobs", replace: []string{"web:1", "web:2"}, want: repaired},
	{name: "CronJob's schedule changed", of: "cronjobs", replace: []string{"0 0 1 1 *", "0 0 2 1 *"}, want: same},
}

// commanded are edits by commands of kubectl that say themselves what changes.
var commanded = []edit{
	{name: "image of one container", run: []string{"set", "image", "deployments/NAME", "web=example.com/web:2"}, want: repaired},
	{name: "images of both containers", run: []string{"set", "image", "deployments/NAME", "web=example.com/web:2", "log=example.com/log:2"}, want: repaired},
	{name: "image of an init container", run: []string{"set", "image", "deployments/NAME", "init=example.com/init:2"}, want: repaired},
	{name: "image in a CronJob", of: "cronjobs", run: []string{"set", "image", "cronjobs/NAME", "web=example.com/web:2"}, want: repaired},
	{name: "env added to one container", run: []string{"set", "env", "deployments/NAME", "--containers=web", "NEW=new"}, want: repaired},
	{name: "env changed in both", run: []string{"set", "env", "deployments/NAME", "A=one"}, want: repaired},
	{name: "env removed", run: []string{"set", "env", "deployments/NAME", "--containers=web", "B-"}, want: either},
	{name: "limit changed", run: []string{"set", "resources", "deployments/NAME", "--containers=web", "--limits=cpu=2"}, want: repaired},
	{name: "service account", run: []string{"set", "serviceaccount", "deployments/NAME", "other"}, want: same},
	{name: "selector of a Service", of: "services", run: []string{"set", "selector", "services/NAME", "app=other"}, want: same},
	{name: "resume", run: []string{"rollout", "resume", "deployments/NAME"}, want: same},
	{name: "label", run: []string{"label", "deployments/NAME", "tier=web"}, want: same},
	{name: "annotation", run: []string{"annotate", "deployments/NAME", "example.com/a=b"}, want: same},
	{name: "scale to none", run: []string{"scale", "deployments/NAME", "--replicas=0"}, want: same},
}

// edited are edits in an editor. kubectl shows fields in the order of their names.
var edited = []edit{
	{name: "pause and labels", script: "s/^  paused: true/  minReadySeconds: 5\\n  paused: true/", want: same},
	{name: "image", script: "s#web:1$#web:2#"},
	{name: "env added", script: "s/^( *)- name: B$/\\1- name: NEW\\n\\1  value: new\\n\\1- name: B/"},
	{name: "env removed", script: "/^ *- name: B$/,+1d"},
	{name: "port changed", script: "s/containerPort: 81/containerPort: 82/"},
	{name: "imagePullSecret changed", script: "s/^( *)- name: registry$/\\1- name: other/"},
	{name: "imagePullSecrets removed", script: "/imagePullSecrets:/,+1d", want: same},
	{name: "hostAlias changed", script: "s/^( *)- two$/\\1- two\\n\\1- more/"},
	{name: "tolerations changed", script: "s/^( *)- key: b$/\\1- key: c/", want: same},
	{name: "Service's port removed", of: "services", script: "/^  - name: metrics$/,+3d"},
	{name: "Service's target port changed", of: "services", script: "s/targetPort: 8080/targetPort: 8081/"},
}

// patch is an edit by a strategic merge patch of the pods' spec.
func patch(name, podSpec string, want outcome) edit {
	return edit{name: name, run: []string{"patch", "deployments", "NAME", "--type=strategic", `--patch={"spec":{"template":{"spec":{` + podSpec + `}}}}`}, want: want}
}

// patched are edits by strategic merge patches, written by hand.
var patched = []edit{
	patch("image", `"containers":[{"name":"web","image":"example.com/web:2"}]`, either),
	patch("env added", `"containers":[{"name":"web","env":[{"name":"NEW","value":"new"}]}]`, either),
	patch("container added", `"containers":[{"name":"side","image":"example.com/side:1"}]`, either),
	patch("container deleted", `"containers":[{"name":"log","$patch":"delete"}]`, either),
	patch("volume deleted", `"volumes":[{"name":"data","$patch":"delete"}],"containers":[{"name":"web","volumeMounts":[{"mountPath":"/data","$patch":"delete"}]}]`, either),
	patch("imagePullSecret added", `"imagePullSecrets":[{"name":"other"}]`, either),
	patch("imagePullSecret exchanged", `"imagePullSecrets":[{"name":"other"},{"name":"registry","$patch":"delete"}]`, either),
	patch("hostAliases replaced", `"hostAliases":[{"$patch":"replace"},{"ip":"10.0.0.3","hostnames":["three"]}]`, either),
	patch("hostAliases removed", `"hostAliases":null`, same),
	patch("tolerations changed", `"tolerations":[{"key":"c","operator":"Exists"}]`, same),
	patch("containers reordered", `"$setElementOrder/containers":[{"name":"log"},{"name":"web"}]`, same),
	{name: "finalizer", run: []string{"patch", "deployments", "NAME", `--patch={"metadata":{"finalizers":["example.com/mine"]}}`}, want: same},
	{
		name: "another finalizer", others: `[{"op":"add","path":"/metadata/finalizers","value":["example.com/theirs"]}]`,
		run: []string{"patch", "cronjobs", "NAME", `--patch={"metadata":{"finalizers":["example.com/mine"]}}`}, of: "cronjobs",
	},
	{name: "Service's port added", of: "services", run: []string{"patch", "services", "NAME", `--patch={"spec":{"ports":[{"name":"admin","port":9091}]}}`}},
	{name: "Service's target port changed", of: "services", run: []string{"patch", "services", "NAME", `--patch={"spec":{"ports":[{"port":80,"targetPort":8081}]}}`}},
}

// charts are edits by Helm 3, of the release that is called like the object.
var charts = []edit{
	{name: "upgrade of a field of the spec", run: []string{"upgrade", "NAME", editsChart, "--set=seconds=5"}, want: same},
	{name: "upgrade of an image", run: []string{"upgrade", "NAME", editsChart, "--set=tag=2"}},
	{name: "upgrade with another container", run: []string{"upgrade", "NAME", editsChart, "--set=side=true"}},
	{name: "rollback of a field of the spec", first: []string{"upgrade", "NAME", editsChart, "--set=seconds=5"}, run: []string{"rollback", "NAME", "1"}, want: same},
}

const (
	helmCommand = "helm"
	editsChart  = "testdata/edits-chart"
)

// allEdits returns all edits, with the name of the object that each is about.
func allEdits() map[string]edit {
	all := map[string]edit{}
	for with, edits := range map[string][]edit{"kubectl apply": applied, "kubectl": commanded, "kubectl edit": edited, "kubectl patch": patched, helmCommand: charts} {
		for i, change := range edits {
			change.with = with
			if with == "kubectl" {
				change.with, _, _ = strings.Cut(with+" "+strings.Join(change.run[:2], " "), "/")
				change.with = strings.TrimSuffix(change.with, " deployments")
			}
			if change.of == "" {
				change.of = editedResources[0].Resource
			}
			all[fmt.Sprintf("%s-%d", strings.ReplaceAll(with, " ", "-"), i)] = change
		}
	}
	return all
}

// editing is what the edits share: two sides, kcp and a cluster, with a namespace of the same name.
type editing struct {
	kcp, cluster editedSide
	// manifests are the manifest's documents, by resource.
	manifests map[string]string
	// dir is for editors and for what programs note.
	dir string

	mu   sync.Mutex
	rows []string
}

// editedSide is a side, and its objects.
type editedSide struct {
	side

	objects dynamic.Interface
}

// TestEditsGiveSameResultAsOnCluster edits objects as users do, in kcp and on a cluster. Both come to the same, or
// kcp refuses the edit and nothing has changed there.
func TestEditsGiveSameResultAsOnCluster(t *testing.T) {
	t.Parallel()
	edits := allEdits()
	e := newEditing(t, edits)
	t.Run("edits", func(t *testing.T) {
		for _, name := range slices.Sorted(maps.Keys(edits)) {
			t.Run(edits[name].with+"/"+edits[name].name, func(t *testing.T) {
				t.Parallel()
				e.try(t, name, edits[name])
			})
		}
	})
	e.print(t, len(edits))
}

// newEditing makes a tenant, a namespace of the same name on a cluster, and on both what is to be edited. tmc has nothing
// to do with the one on the cluster: what is in kcp is placed nowhere.
func newEditing(t *testing.T, edits map[string]edit) *editing {
	t.Helper()
	u := newTenant(t, env.shared, "edits")
	inKCP, err := env.stack.KCP.RESTConfig(u.workspace)
	check(t, err)
	onCluster, err := env.clusters[east].RESTConfig()
	check(t, err)
	e := &editing{
		kcp: newEditedSide(t, u.inKCP(), inKCP), cluster: newEditedSide(t, u.onCluster(east), onCluster),
		manifests: map[string]string{}, dir: t.TempDir(),
	}
	manifest, err := os.ReadFile("testdata/edits.yaml")
	check(t, err)
	for i, document := range strings.Split(string(manifest), "---\n") {
		e.manifests[editedResources[i].Resource] = document
	}
	e.cluster.kubectl(t, "create", "namespace", e.cluster.namespace)
	t.Cleanup(func() {
		if _, err := e.cluster.try(context.WithoutCancel(t.Context()), "delete", "namespace", e.cluster.namespace, "--wait=false"); err != nil {
			t.Error(err)
		}
	})
	var all []string
	for name, change := range edits {
		if change.with != helmCommand {
			all = append(all, strings.ReplaceAll(e.manifests[change.of], "NAME", name))
		}
	}
	for _, s := range []editedSide{e.kcp, e.cluster} {
		_, _, err := framework.KubectlInput(t.Context(), strings.NewReader(strings.Join(all, "---\n")), s.kubeconfig,
			"--namespace="+s.namespace, "apply", "--filename=-")
		check(t, err)
	}
	return e
}

func newEditedSide(t *testing.T, s side, config *rest.Config) editedSide {
	t.Helper()
	objects, err := dynamic.NewForConfig(config)
	check(t, err)
	return editedSide{s, objects}
}

// try does an edit on both sides and compares.
func (e *editing) try(t *testing.T, name string, change edit) {
	t.Helper()
	for _, s := range []editedSide{e.kcp, e.cluster} {
		check(t, e.prepare(t.Context(), s, name, change))
	}
	if err := e.do(t.Context(), e.cluster, name, change); err != nil {
		t.Fatalf("on the cluster: %v", err)
	}
	want, before := e.cluster.object(t, name, change), e.kcp.object(t, name, change)
	refusal := e.do(t.Context(), e.kcp, name, change)
	after := e.kcp.object(t, name, change)
	if refusal != nil {
		e.note(change, "refused", because(refusal))
		if because(refusal) == "" {
			t.Errorf("neither the policy nor the schema has refused it: %v", refusal)
		}
		if diff := cmp.Diff(usersPart(before), usersPart(after)); diff != "" || before.GetGeneration() != after.GetGeneration() {
			t.Errorf("refused, but changed (-before +after)\n%s", diff)
		}
		if change.want == same || change.want == repaired && repairs {
			t.Errorf("refused: %v", refusal)
		}
		return
	}
	if diff := cmp.Diff(usersPart(want), usersPart(e.cluster.defaulted(t, after, change))); diff != "" {
		e.note(change, "DIFFERENT", "")
		t.Errorf("kcp has something else (-cluster +kcp)\n%s", diff)
		return
	}
	e.note(change, "same", "")
}

// because returns the part of a refusal that says why. It is the policy's, or the schema's, which misses what the patch
// does not mention. It returns nothing for any other failure.
func because(refusal error) string {
	text := strings.Join(strings.Fields(refusal.Error()), " ")
	for _, begin := range []string{"'tmc-patches' denied request: ", "is invalid: "} {
		if _, reason, found := strings.Cut(text, begin); found {
			reason, _, _ = strings.Cut(reason, ", for kcp replaces")
			reason, _, _ = strings.Cut(reason, " * <nil>")
			reason, _, _ = strings.Cut(reason, ", <nil>")
			return strings.TrimLeft(reason, "*[ ")
		}
	}
	if strings.Contains(text, "is invalid A copy of your changes") { // kubectl edit shows in the editor why
		return "invalid"
	}
	return ""
}

// prepare makes the object as it is to be before the edit.
func (e *editing) prepare(ctx context.Context, s editedSide, name string, change edit) error {
	if change.with == helmCommand {
		if err := e.helm(ctx, s, name, []string{"install", "NAME", editsChart}); err != nil || change.first == nil {
			return err
		}
		return e.helm(ctx, s, name, change.first)
	}
	if change.others == "" {
		return nil
	}
	_, err := s.of(change).Patch(ctx, name, types.JSONPatchType, []byte(change.others), metav1.PatchOptions{FieldManager: "others"})
	return err
}

// do does the edit on one side.
func (e *editing) do(ctx context.Context, s editedSide, name string, change edit) error {
	arguments := []string{"--namespace=" + s.namespace}
	switch {
	case change.with == helmCommand:
		return e.helm(ctx, s, name, change.run)
	case change.replace != nil:
		manifest, err := replaced(e.manifests[change.of], change.replace)
		if err != nil {
			return err
		}
		manifest = strings.ReplaceAll(manifest, "NAME", name)
		_, _, err = framework.KubectlInput(ctx, strings.NewReader(manifest), s.kubeconfig, append(arguments, "apply", "--filename=-")...)
		return err
	case change.script != "":
		editor, err := e.editor(s, name, change.script)
		if err != nil {
			return err
		}
		return runTool(ctx, s, "kubectl", "KUBE_EDITOR="+editor, append(arguments, "edit", change.of, name)...)
	default:
		return runTool(ctx, s, "kubectl", "", append(arguments, about(change.run, name)...)...)
	}
}

// editor returns the command of an editor that changes what it first opens. kubectl opens it again with what a server has
// found invalid.
func (e *editing) editor(s editedSide, name, script string) (string, error) {
	file := filepath.Join(e.dir, s.name+"-"+name)
	text := fmt.Sprintf("[ -e %[1]s.done ] && exit\ntouch %[1]s.done\nexec sed -i -E -f %[1]s.sed \"$1\"\n", file)
	return "sh " + file, errors.Join(os.WriteFile(file, []byte(text), 0o600), os.WriteFile(file+".sed", []byte(script), 0o600))
}

// helm runs Helm 3 on one side.
func (e *editing) helm(ctx context.Context, s editedSide, name string, arguments []string) error {
	return runTool(ctx, s, helmCommand, "HELM_CACHE_HOME="+e.dir, append([]string{"--namespace=" + s.namespace}, about(arguments, name)...)...)
}

// about returns arguments about the object of a name.
func about(arguments []string, name string) []string {
	result := slices.Clone(arguments)
	for i := range result {
		result[i] = strings.ReplaceAll(result[i], "NAME", name)
	}
	return result
}

// replaced returns a manifest with the first text of each pair replaced by the second, once.
func replaced(manifest string, pairs []string) (string, error) {
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(manifest, pairs[i]) {
			return "", fmt.Errorf("the manifest has no %q", pairs[i])
		}
		manifest = strings.Replace(manifest, pairs[i], pairs[i+1], 1)
	}
	return manifest, nil
}

// runTool runs one of the tools on a side, with a variable of the environment.
func runTool(ctx context.Context, s editedSide, program, variable string, arguments ...string) error {
	tools, err := framework.ToolsDir()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(tools, program), arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+s.kubeconfig, "KUBECACHEDIR="+filepath.Join(filepath.Dir(s.kubeconfig), "cache"), variable)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(arguments, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// of is the client for what an edit is about.
func (s editedSide) of(change edit) dynamic.ResourceInterface {
	i := slices.IndexFunc(editedResources, func(r schema.GroupVersionResource) bool { return r.Resource == change.of })
	return s.objects.Resource(editedResources[i]).Namespace(s.namespace)
}

func (s editedSide) object(t *testing.T, name string, change edit) *unstructured.Unstructured {
	t.Helper()
	object, err := s.of(change).Get(t.Context(), name, metav1.GetOptions{})
	check(t, err)
	return object
}

// defaulted returns what a cluster would make of an object of kcp, which has fewer defaults.
func (s editedSide) defaulted(t *testing.T, object *unstructured.Unstructured, change edit) *unstructured.Unstructured {
	t.Helper()
	made := &unstructured.Unstructured{Object: map[string]any{"spec": object.DeepCopy().Object["spec"]}}
	if kind, _, _ := unstructured.NestedString(made.Object, "spec", "strategy", "type"); kind == "Recreate" {
		unstructured.RemoveNestedField(made.Object, "spec", "strategy", "rollingUpdate") // kcp fills it in, and a cluster refuses it
	}
	if address, _, _ := unstructured.NestedString(made.Object, "spec", "clusterIP"); address == "0.0.0.0" {
		unstructured.RemoveNestedField(made.Object, "spec", "clusterIP") // likewise: no copy has it
	}
	made.SetGroupVersionKind(object.GroupVersionKind())
	made.SetName("defaulted-" + object.GetName())
	made.SetLabels(object.GetLabels())
	made.SetAnnotations(object.GetAnnotations())
	made.SetFinalizers(object.GetFinalizers())
	made, err := s.of(change).Create(t.Context(), made, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	check(t, err)
	return made
}

// usersPart returns what of an object is the user's: neither tmc's, nor a server's.
func usersPart(object *unstructured.Unstructured) map[string]any {
	serverOwned := func(key string) bool {
		return strings.Contains(key, "kcp.io/") && key != v1alpha1.TargetClustersAnnotation || strings.HasPrefix(key, "deployment.kubernetes.io/")
	}
	labels, annotations, finalizers := object.GetLabels(), object.GetAnnotations(), object.GetFinalizers()
	maps.DeleteFunc(labels, func(key, _ string) bool { return serverOwned(key) })
	maps.DeleteFunc(annotations, func(key, _ string) bool { return serverOwned(key) })
	finalizers = slices.DeleteFunc(finalizers, serverOwned)
	spec := object.DeepCopy().Object["spec"].(map[string]any)
	for _, allocated := range []string{"clusterIP", "clusterIPs"} {
		delete(spec, allocated)
	}
	return map[string]any{"labels": labels, "annotations": annotations, "finalizers": strings.Join(finalizers, " "), "spec": spec}
}

// note adds a row to the table.
func (e *editing) note(change edit, result, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rows = append(e.rows, fmt.Sprintf("| %-26s | %-37s | %-9s | %s |", change.with, change.name, result, why))
}

// print logs the table of all edits. It fails the test when one is missing.
func (e *editing) print(t *testing.T, count int) {
	t.Helper()
	slices.Sort(e.rows)
	t.Logf("%d edits in kcp, compared with a cluster; patches are repaired: %t\n| with | edit | in kcp | because |\n|---|---|---|---|\n%s",
		len(e.rows), repairs, strings.Join(e.rows, "\n"))
	if len(e.rows) != count {
		t.Errorf("%d edits have an outcome, of %d", len(e.rows), count)
	}
}
