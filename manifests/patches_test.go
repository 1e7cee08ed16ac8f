package manifests

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/kcp-tmc/tmc/manifests/policytest"
)

// managers of kubectl and of Helm 3, as kcp sees them.
const (
	applier = "kubectl-client-side-apply"
	setter  = "kubectl-set"
	editor  = "kubectl-edit"
	patcher = "kubectl-patch"
	helm    = "helm"
)

// shop is what a user has written, with something of each list that Kubernetes merges.
const shop = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, finalizers: [example.com/mine], labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      imagePullSecrets: [{name: reg}, {name: mirror}]
      hostAliases: [{ip: 10.0.0.1, hostnames: [one]}, {ip: 10.0.0.2, hostnames: [two]}]
      tolerations: [{key: a, operator: Exists}]
      topologySpreadConstraints: [{topologyKey: zone, maxSkew: 1, whenUnsatisfiable: DoNotSchedule}]
      volumes:
      - {name: data, emptyDir: {}}
      - {name: conf, configMap: {name: web, items: [{key: a, path: b}]}}
      initContainers: [{name: init, image: "init:1", command: [a, "b}]{[\"c"]}]
      containers:
      - name: a
        image: web:1
        env: [{name: A, value: "1"}, {name: B, valueFrom: {configMapKeyRef: {name: web, key: b}}}]
        envFrom: [{configMapRef: {name: a}}]
        ports: [{containerPort: 80, name: http, protocol: TCP}, {containerPort: 81, protocol: TCP}]
        resources: {limits: {cpu: "1", memory: 1Gi}, requests: {cpu: 500m}}
        volumeMounts: [{name: data, mountPath: /data}, {name: conf, mountPath: /conf}]
        livenessProbe: {httpGet: {path: /, port: 80}}
      - name: b
        image: side:1
        env: [{name: A, value: "3"}]
`

// shopService is what a user has written, of two ports.
const shopService = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, protocol: TCP, targetPort: 8080}, {name: metrics, port: 9090, protocol: TCP}]
`

// write is what becomes of an object, in steps that each change the fields that a merge patch says: live is what others
// have made of what was applied, meant what is applied now, and result what kcp would store.
type write struct {
	manager            string
	of                 string
	live, meant, after string
}

// request makes the request of it. The manifests are in the annotations if it is an apply.
func (w write) request(t *testing.T) policytest.Request {
	t.Helper()
	of := w.of
	if of == "" {
		of = shop
	}
	applied := object(t, of)
	before := patched(t, applied, w.live)
	after := patched(t, before, w.after)
	if w.manager != setter && w.manager != editor && w.manager != patcher && w.manager != helm {
		lastApplied(t, before, applied)
		lastApplied(t, after, patched(t, applied, w.meant))
	}
	resource := deploymentsResource
	if before.GetKind() == "Service" {
		resource = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	}
	alice := &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}}
	return policytest.Request{User: alice, Manager: w.manager, Resource: resource, Before: before, After: after}
}

// lastApplied notes a manifest on an object, as kubectl does.
func lastApplied(t *testing.T, on, manifest *unstructured.Unstructured) {
	t.Helper()
	data, err := json.Marshal(manifest.Object)
	if err != nil {
		t.Fatal(err)
	}
	annotations := on.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[corev1.LastAppliedConfigAnnotation] = string(data) + "\n"
	on.SetAnnotations(annotations)
}

// appliedAt is what a server-side apply by Helm notes, at a time of the day.
func appliedAt(time string) string {
	return "metadata: {managedFields: [{manager: helm, operation: Apply, apiVersion: apps/v1, time: \"2026-11-29T" + time + "Z\", fieldsType: FieldsV1, fieldsV1: {}}, " +
		"{manager: helm, operation: Update, apiVersion: apps/v1, time: \"2026-11-29T11:00:00Z\", fieldsType: FieldsV1, fieldsV1: {}}]}"
}

// withManaged is a patch with what a server-side apply by Helm notes.
func withManaged(time, patch string) string { return appliedAt(time) + "\n" + patch }

// pod is a merge patch of the pods' spec.
func pod(patch string) string { return "spec: {template: {spec: {" + patch + "}}}" }

// The containers of shop, in parts.
const (
	containerA = `{name: a, image: "web:1", env: [{name: A, value: "1"}, {name: B, valueFrom: {configMapKeyRef: {name: web, key: b}}}], ` +
		`envFrom: [{configMapRef: {name: a}}], ` + restOfA + `}`
	restOfA = `ports: [{containerPort: 80, name: http, protocol: TCP}, {containerPort: 81, protocol: TCP}], ` +
		`resources: {limits: {cpu: "1", memory: 1Gi}, requests: {cpu: 500m}}, ` +
		`volumeMounts: [{name: data, mountPath: /data}, {name: conf, mountPath: /conf}], livenessProbe: {httpGet: {path: /, port: 80}}`
	containerB = `{name: b, image: "side:1", env: [{name: A, value: "3"}]}`
)

// changedA is container a with some text of it replaced, and b as it is.
func changedA(t *testing.T, old, replacement string) string {
	t.Helper()
	if !strings.Contains(containerA, old) {
		t.Fatalf("container a has no %s", old)
	}
	return pod("containers: [" + strings.Replace(containerA, old, replacement, 1) + ", " + containerB + "]")
}

func TestPatchesPolicyDenies(t *testing.T) {
	onlyImage := pod(`containers: [{name: a, image: "web:2"}]`)
	newImage := changedA(t, "web:1", "web:2")
	tests := map[string]struct {
		write write
		says  []string
	}{
		"set image":                       {write{manager: setter, after: onlyImage}, []string{`"b" in containers`, "env of container a", "resources of container a", "kubectl patch --type=json"}},
		"edit":                            {write{manager: editor, after: onlyImage}, []string{`"b" in containers`, "kubectl replace"}},
		"patch":                           {write{manager: patcher, after: onlyImage}, []string{`"b" in containers`, "--field-manager"}},
		"helm":                            {write{manager: helm, after: onlyImage}, []string{`"b" in containers`, "Helm 4"}},
		"helm on what was applied":        {write{manager: helm, live: appliedAt("10:00:00"), after: onlyImage}, []string{`"b" in containers`, "Helm 4"}},
		"rollout":                         {write{manager: "kubectl-rollout", after: onlyImage}, []string{`"b" in containers`}},
		"apply":                           {write{manager: applier, meant: newImage, after: onlyImage}, []string{`"b" in containers`, "kubectl apply --server-side"}},
		"apply under another name":        {write{manager: "argocd-controller", meant: newImage, after: onlyImage}, []string{`"b" in containers`}},
		"all containers, and their lists": {write{manager: applier, meant: newImage, after: pod(`containers: [{name: a, image: "web:2"}, ` + containerB + `]`)}, []string{"env of container a", "livenessProbe of container a"}},
		"one variable":                    {write{manager: setter, after: changedA(t, `{name: A, value: "1"}, `, "")}, []string{`"A" in env of container a`}},
		"one variable that is applied":    {write{manager: applier, meant: newImage, after: changedA(t, `{name: A, value: "1"}, `, "")}, []string{`"A" in env of container a`}},
		"a variable of somebody else": {
			write{manager: applier, live: changedA(t, `env: [`, `env: [{name: X, value: "1"}, `), meant: newImage, after: newImage},
			[]string{`"X" in env of container a`},
		},
		"a variable of somebody else, while another container's of this name goes": {
			write{
				manager: applier, of: strings.Replace(shop, `{name: A, value: "3"}`, `{name: X, value: "3"}`, 1),
				live: changedA(t, `env: [`, `env: [{name: X, value: "1"}, `), meant: newImage, after: newImage,
			},
			[]string{`"X" in env of container a`},
		},
		"a container of somebody else": {
			write{manager: applier, live: pod(`containers: [` + containerA + `, ` + containerB + `, {name: injected, image: "i:1"}]`), meant: newImage, after: newImage},
			[]string{`"injected" in containers`},
		},
		"what a variable is from":       {write{manager: setter, after: changedA(t, `{configMapKeyRef: {name: web, key: b}}`, `{configMapKeyRef: {key: b}}`)}, []string{`valueFrom.configMapKeyRef.name of B in env of container a`}},
		"a limit":                       {write{manager: applier, meant: newImage, after: changedA(t, `, memory: 1Gi`, "")}, []string{"resources.limits.memory of container a"}},
		"a limit where a request goes":  {write{manager: applier, meant: changedA(t, `, requests: {cpu: 500m}`, ""), after: changedA(t, `{limits: {cpu: "1", memory: 1Gi}, requests: {cpu: 500m}}`, `{limits: {memory: 1Gi}}`)}, []string{"resources.limits.cpu of container a"}},
		"a port":                        {write{manager: editor, after: changedA(t, `, {containerPort: 81, protocol: TCP}`, "")}, []string{"81 in ports of container a"}},
		"the name of a port":            {write{manager: setter, after: changedA(t, `, name: http`, "")}, []string{"name of 80 in ports of container a"}},
		"a mount":                       {write{manager: applier, meant: newImage, after: changedA(t, `{name: data, mountPath: /data}, `, "")}, []string{`"/data" in volumeMounts of container a`}},
		"a volume":                      {write{manager: applier, meant: "spec: {replicas: 2}", after: pod("volumes: [{name: data, emptyDir: {}}]")}, []string{`"conf" in volumes`}},
		"a volume's source":             {write{manager: setter, after: pod("volumes: [{name: data, emptyDir: {}}, {name: conf, configMap: {name: web}}]")}, []string{"configMap.items of conf in volumes"}},
		"a pull secret":                 {write{manager: patcher, after: pod("imagePullSecrets: [{name: reg}]")}, []string{`"mirror" in imagePullSecrets`}},
		"all pull secrets, with []":     {write{manager: patcher, after: pod("imagePullSecrets: []")}, []string{`"reg" in imagePullSecrets`}},
		"a host alias":                  {write{manager: applier, meant: "{}", after: pod("hostAliases: [{ip: 10.0.0.1, hostnames: [one]}]")}, []string{`"10.0.0.2" in hostAliases`}},
		"the names of a host alias":     {write{manager: setter, after: pod("hostAliases: [{ip: 10.0.0.1}, {ip: 10.0.0.2, hostnames: [two]}]")}, []string{"hostnames of 10.0.0.1 in hostAliases"}},
		"a spread constraint's field":   {write{manager: setter, after: pod("topologySpreadConstraints: [{topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]")}, []string{"maxSkew of zone in topologySpreadConstraints"}},
		"an init container":             {write{manager: applier, meant: "{}", after: pod(`initContainers: [{name: other, image: "x:1"}]`)}, []string{`"init" in initContainers`}},
		"an init container's command":   {write{manager: applier, meant: pod(`initContainers: [{name: init, image: "init:2", command: [a]}]`), after: pod(`initContainers: [{name: init, image: "init:2"}]`)}, []string{"command of container init"}},
		"an entry that is to go stays":  {write{manager: applier, meant: pod("imagePullSecrets: [{name: other}]"), after: pod("imagePullSecrets: [{name: other}, {name: reg}, {name: mirror}]")}, []string{`keep "reg" in imagePullSecrets`}},
		"an entry that went comes back": {write{manager: applier, live: pod("imagePullSecrets: null"), meant: pod("imagePullSecrets: [{name: other}]"), after: pod("imagePullSecrets: [{name: other}, {name: reg}]")}, []string{`keep "reg" in imagePullSecrets`}},
		"a deleted variable of a container that was gone": {
			write{
				manager: applier, live: pod("containers: [" + containerB + "]"),
				meant: changedA(t, `{name: A, value: "1"}, `, ""), after: changedA(t, `{name: A, value: "1"}`, `{name: A, $patch: delete}`),
			},
			[]string{`keep "A" in env of container a`},
		},
		"edited, an entry stays":         {write{manager: editor, live: pod("imagePullSecrets: [{name: reg}]"), after: pod("imagePullSecrets: [{name: other}, {name: reg, $patch: delete}]")}, []string{`keep reg in imagePullSecrets`}},
		"edited, a port stays":           {write{manager: editor, live: changedA(t, `{containerPort: 80, name: http, protocol: TCP}, `, ""), after: changedA(t, `{containerPort: 80, name: http, protocol: TCP}`, `{containerPort: 82, protocol: TCP}, {containerPort: 81, protocol: TCP, $patch: delete}`)}, []string{"keep 81 in ports of container a"}},
		"another order than applied":     {write{manager: applier, meant: pod("containers: [" + containerB + ", " + containerA + "]"), after: newImage}, []string{"leave containers in another order"}},
		"another order of the variables": {write{manager: applier, meant: newImage, after: changedA(t, `{name: A, value: "1"}, {name: B, valueFrom: {configMapKeyRef: {name: web, key: b}}}`, `{name: B, valueFrom: {configMapKeyRef: {name: web, key: b}}}, {name: A, value: "1"}`)}, []string{"leave env of container a in another order"}},
		"a finalizer":                    {write{manager: patcher, after: "metadata: {finalizers: [example.com/other]}"}, []string{"finalizer example.com/mine"}},
		"somebody's finalizer":           {write{manager: applier, live: "metadata: {finalizers: [example.com/mine, example.com/theirs]}", meant: "metadata: {finalizers: [example.com/new]}", after: "metadata: {finalizers: [example.com/new]}"}, []string{"lose finalizer example.com/theirs,"}},
		"an owner":                       {write{manager: patcher, live: "metadata: {ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: o, uid: a}]}", after: "metadata: {ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: n, uid: b}]}"}, []string{"owner o"}},
		"a Service's port":               {write{manager: patcher, of: shopService, after: "spec: {ports: [{name: metrics, port: 9090, protocol: TCP, targetPort: 99}]}"}, []string{"80 in ports"}},
		"a Service's port, applied":      {write{manager: applier, of: shopService, meant: "spec: {ports: [{name: http, port: 80, protocol: TCP, targetPort: 8080}, {name: metrics, port: 9090, protocol: TCP, targetPort: 99}]}", after: "spec: {ports: [{port: 9090, protocol: TCP, targetPort: 99}]}"}, []string{"80 in ports", "name of 9090 in ports"}},
	}
	policy := newJudge(t, "tmc-patches")
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			denied := policy.Judge(t, tc.write.request(t)).Message()
			for _, word := range tc.says {
				if !strings.Contains(denied, word) {
					t.Errorf("got %q, want it denied with %q", denied, word)
				}
			}
		})
	}
}

func TestPatchesPolicyAllows(t *testing.T) {
	newImage := changedA(t, "web:1", "web:2")
	same := func(patch string) write { return write{manager: applier, meant: patch, after: patch} }
	tests := map[string]write{
		"nothing":                          {manager: applier},
		"replicas":                         same("spec: {replicas: 3}"),
		"labels":                           same("metadata: {labels: {a: b}}"),
		"restart":                          {manager: "kubectl-rollout", after: "spec: {template: {metadata: {annotations: {a: b}}}}"},
		"a repaired image":                 same(newImage),
		"an image that is set":             {manager: setter, after: newImage},
		"first applied by Helm 4":          {manager: helm, after: withManaged("10:00:00", pod(`containers: [{name: a, image: "web:2"}]`))},
		"applied by Helm 4 again":          {manager: helm, live: appliedAt("10:00:00"), after: withManaged("10:00:01", pod(`containers: [{name: a, image: "web:2"}]`))},
		"a Service's port, by Helm 4":      {manager: helm, of: shopService, after: withManaged("10:00:01", "spec: {ports: [{name: http, port: 81, protocol: TCP, targetPort: 8080}]}")},
		"an image that is edited":          {manager: editor, after: newImage},
		"an image by a JSON patch":         {manager: patcher, after: newImage},
		"a new container":                  same(pod(`containers: [` + containerA + `, ` + containerB + `, {name: c, image: "c:1"}]`)),
		"a new container, set":             {manager: setter, after: pod(`containers: [` + containerA + `, ` + containerB + `, {name: c, image: "c:1"}]`)},
		"a container less":                 same(pod(`containers: [` + containerA + `]`)),
		"a variable less":                  same(changedA(t, `{name: A, value: "1"}, `, "")),
		"a variable less that b has, too":  same(changedA(t, `env: [{name: A, value: "1"}, `, `env: [`)),
		"no variables":                     same(changedA(t, `env: [{name: A, value: "1"}, {name: B, valueFrom: {configMapKeyRef: {name: web, key: b}}}], `, "")),
		"a variable's value":               same(changedA(t, `{name: A, value: "1"}`, `{name: A, value: "2"}`)),
		"a variable's source":              same(changedA(t, `{name: A, value: "1"}`, `{name: A, valueFrom: {fieldRef: {fieldPath: a}}}`)),
		"a value with brackets":            same(changedA(t, `{name: A, value: "1"}`, `{name: A, value: "}]{\"name\":\"b\"}"}`)),
		"a limit less":                     same(changedA(t, `, memory: 1Gi`, "")),
		"no limits":                        same(changedA(t, `limits: {cpu: "1", memory: 1Gi}, `, "")),
		"no resources":                     same(changedA(t, `resources: {limits: {cpu: "1", memory: 1Gi}, requests: {cpu: 500m}}, `, "")),
		"another probe":                    same(changedA(t, `{httpGet: {path: /, port: 80}}`, `{tcpSocket: {port: 80}}`)),
		"less envFrom":                     same(changedA(t, `envFrom: [{configMapRef: {name: a}}], `, "")),
		"another port":                     same(changedA(t, `{containerPort: 81, protocol: TCP}`, `{containerPort: 82, protocol: TCP}`)),
		"another mount":                    same(changedA(t, `mountPath: /data`, `mountPath: /other`)),
		"another order of containers":      same(pod("containers: [" + containerB + ", " + containerA + "]")),
		"another kind of volume":           same(pod("volumes: [{name: data, emptyDir: {}}, {name: conf, secret: {secretName: s}}]")),
		"a volume less":                    same(pod("volumes: [{name: data, emptyDir: {}}]")),
		"no volumes":                       same(pod("volumes: null")),
		"no volumes, edited":               {manager: editor, after: pod("volumes: null")},
		"other pull secrets":               same(pod("imagePullSecrets: [{name: other}]")),
		"another host alias":               same(pod("hostAliases: [{ip: 10.0.0.1, hostnames: [one, more]}, {ip: 10.0.0.3, hostnames: [three]}]")),
		"tolerations, which are replaced":  {manager: setter, after: pod("tolerations: [{key: b, operator: Exists}]")},
		"an init container less":           same(pod("initContainers: null")),
		"an init container's command":      same(pod(`initContainers: [{name: init, image: "init:1"}]`)),
		"another's variable stays":         {manager: applier, live: changedA(t, `env: [`, `env: [{name: X, value: "1"}, `), meant: newImage, after: changedA(t, `image: "web:1", env: [`, `image: "web:2", env: [{name: X, value: "1"}, `)},
		"another's container stays":        {manager: applier, live: pod(`containers: [` + containerA + `, ` + containerB + `, {name: injected, image: "i:1"}]`), meant: "spec: {replicas: 2}", after: "spec: {replicas: 2}"},
		"what somebody removed comes back": {manager: applier, live: pod("containers: [" + containerA + "]"), meant: "{}", after: pod("containers: [" + containerA + ", " + containerB + "]")},
		"all finalizers":                   {manager: patcher, after: "metadata: {finalizers: null}"},
		"another finalizer":                same("metadata: {finalizers: [example.com/other]}"),
		"a finalizer of what goes":         {manager: patcher, live: "metadata: {deletionTimestamp: '2026-01-02T03:04:05Z', finalizers: [example.com/mine, example.com/theirs]}", after: "metadata: {finalizers: [example.com/theirs]}"},
		"a finalizer more":                 {manager: patcher, after: "metadata: {finalizers: [example.com/mine, example.com/other]}"},
		"a Service's port more":            {manager: applier, of: shopService, meant: "spec: {ports: [{name: http, port: 80, protocol: TCP, targetPort: 8080}, {name: metrics, port: 9090, protocol: TCP}, {name: x, port: 1, protocol: TCP}]}", after: "spec: {ports: [{name: http, port: 80, protocol: TCP, targetPort: 8080}, {name: metrics, port: 9090, protocol: TCP}, {name: x, port: 1, protocol: TCP}]}"},
		"a Service's port less":            {manager: applier, of: shopService, meant: "spec: {ports: [{name: http, port: 80, protocol: TCP, targetPort: 8080}]}", after: "spec: {ports: [{name: http, port: 80, protocol: TCP, targetPort: 8080}]}"},
		"a Service's selector":             {manager: setter, of: shopService, after: "spec: {selector: {app: other}}"},
		"a Service of no ports":            {manager: patcher, of: shopService, live: "spec: {ports: null, type: ExternalName, externalName: a}", after: "spec: {externalName: b}"},
	}
	policy := newJudge(t, "tmc-patches")
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if denied := policy.Judge(t, tc.request(t)).Message(); denied != "" {
				t.Errorf("denied: %s", denied)
			}
		})
	}
}

func TestPatchesPolicy(t *testing.T) {
	t.Run("a manifest that is too deep shows nothing", func(t *testing.T) {
		deep := `{a: {b: {c: {d: {e: {f: {g: {h: {i: {}}}}}}}}}}`
		meant := pod(`containers: [` + containerA + `, {name: c, image: "c:1", future: ` + deep + `}]`)
		w := write{manager: applier, meant: meant, after: pod(`containers: [` + containerA + `]`)}
		if denied := newJudge(t, "tmc-patches").Judge(t, w.request(t)).Message(); !strings.Contains(denied, "cannot be read in the manifest") {
			t.Errorf("got %q, want it denied", denied)
		}
	})
	t.Run("other writers are not checked", func(t *testing.T) {
		policy := newJudge(t, "tmc-patches")
		for _, manager := range []string{"", "kubectl", "kubectl-replace", "kubectl-label", "kubectl-scale", "tmc-controller", "tmc-syncer", "kustomize-controller", "patch"} {
			r := write{manager: manager, meant: "{}", after: pod(`containers: [{name: a, image: "web:2"}]`)}.request(t)
			// They do not apply on their own side.
			for _, object := range []*unstructured.Unstructured{r.Before, r.After} {
				object.SetAnnotations(map[string]string{corev1.LastAppliedConfigAnnotation: "{}"})
			}
			if denied := policy.Judge(t, r).Message(); denied != "" {
				t.Errorf("%q: denied: %s", manager, denied)
			}
		}
	})
	t.Run("the lists of a CronJob are those of its Job", func(t *testing.T) {
		before := object(t, `{apiVersion: batch/v1, kind: CronJob, metadata: {name: c, namespace: shop}, spec: {schedule: "* * * * *",
		jobTemplate: {spec: {template: {spec: {containers: [{name: a, image: "a:1"}, {name: b, image: "b:1"}]}}}}}}`)
		r := policytest.Request{
			User: &user.DefaultInfo{Name: "alice"}, Manager: setter, Resource: schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "cronjobs"},
			Before: before, After: patched(t, before, `spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: a, image: "a:2"}]}}}}}`),
		}
		if denied := newJudge(t, "tmc-patches").Judge(t, r).Message(); !strings.Contains(denied, `lose "b" in containers`) {
			t.Errorf("got %q, want it denied for b", denied)
		}
	})
	t.Run("kinds without keyed lists keep their finalizers", func(t *testing.T) {
		before := object(t, `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, finalizers: [example.com/mine]}, spec: {accessModes: [ReadWriteOnce]}}`)
		r := policytest.Request{
			User: &user.DefaultInfo{Name: "alice"}, Manager: patcher, Resource: schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"},
			Before: before, After: patched(t, before, `{metadata: {finalizers: [example.com/other]}, spec: {accessModes: [ReadWriteMany]}}`),
		}
		if denied := newJudge(t, "tmc-patches").Judge(t, r).Message(); !strings.Contains(denied, "lose finalizer example.com/mine,") {
			t.Errorf("got %q, want it denied for the finalizer, and nothing else", denied)
		}
	})
	// TestALargeManifestIsJudged keeps the policy within what kcp lets it cost.
	t.Run("a large manifest is judged", func(t *testing.T) {
		const containers, variables = 8, 60
		var all []string
		for c := range containers {
			var env []string
			for v := range variables {
				env = append(env, fmt.Sprintf(`{name: VARIABLE_%d, value: "the value of the variable %d"}`, v, v))
			}
			all = append(all, fmt.Sprintf(`{name: c%d, image: "web:1", env: [%s], %s}`, c, strings.Join(env, ", "), restOfA))
		}
		large := pod("containers: [" + strings.Join(all, ", ") + "]")
		few := pod("containers: [" + strings.Replace(all[0], "web:1", "web:2", 1) + "]")
		w := write{manager: applier, live: large, meant: strings.ReplaceAll(large, "web:1", "web:2"), after: strings.ReplaceAll(large, "web:1", "web:2")}
		r := w.request(t)
		if size := len(r.After.GetAnnotations()[corev1.LastAppliedConfigAnnotation]); size < 30_000 {
			t.Fatalf("the manifest has %d bytes, and is meant to be large", size)
		}
		lastApplied(t, r.Before, patched(t, object(t, shop), large))
		policy := newJudge(t, "tmc-patches")
		if denied := policy.Judge(t, r).Message(); denied != "" {
			t.Errorf("denied: %s", denied)
		}
		w.after = few
		if denied := policy.Judge(t, w.request(t)).Message(); !strings.Contains(denied, `"c1" in containers`) {
			t.Errorf("got %q, want it denied for c1", denied)
		}
	})
}
