package bootstrap

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

var update = flag.Bool("update", false, "write testdata anew")

// kubeconfigOf is for kcp at a server.
func kubeconfigOf(server string) []byte {
	return []byte(`apiVersion: v1
kind: Config
current-context: kcp
contexts:
- name: other
  context: {cluster: other, user: other}
- name: kcp
  context: {cluster: kcp, user: east}
clusters:
- name: other
  cluster: {server: "https://other.example.com:1"}
- name: kcp
  cluster: {server: "` + server + `", certificate-authority-data: Y2E=}
users:
- name: east
  user: {token: confidential}
`)
}

// joining are the options of a cluster that joins with the defaults.
func joining(changes ...func(*Options)) Options {
	o := Options{
		Cluster: "east", Namespace: DefaultNamespace, Replicas: DefaultReplicas,
		Image:             "registry.example.com/kcp-tmc/tmc:v1.2.3",
		ProviderWorkspace: v1alpha1.DefaultProviderWorkspace, Export: v1alpha1.APIExportName,
		Kinds: []schema.GroupResource{
			{Group: "apps", Resource: "deployments"}, {Group: "apps", Resource: "statefulsets"}, {Group: "apps", Resource: "daemonsets"},
			{Group: "batch", Resource: "jobs"}, {Group: "batch", Resource: "cronjobs"},
			{Resource: "services"}, {Resource: "persistentvolumeclaims"},
			{Group: "networking.k8s.io", Resource: "ingresses"}, {Group: "networking.k8s.io", Resource: "networkpolicies"},
			{Group: "policy", Resource: "poddisruptionbudgets"}, {Group: "autoscaling", Resource: "horizontalpodautoscalers"},
			{Resource: "configmaps"}, {Resource: "secrets"}, {Resource: "serviceaccounts"},
		},
		AdmissionPolicy: true,
		Kubeconfig:      kubeconfigOf("https://kcp.example.com:8443/clusters/root:tmc"),
	}
	for _, change := range changes {
		change(&o)
	}
	return o
}

func objectsOf(t *testing.T, o Options) []runtime.Object {
	t.Helper()
	objects, err := Objects(o)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// the returns the one object of a type.
func the[T runtime.Object](t *testing.T, objects []runtime.Object) T {
	t.Helper()
	var found []T
	for _, object := range objects {
		if typed, ok := object.(T); ok {
			found = append(found, typed)
		}
	}
	if len(found) != 1 {
		t.Fatalf("found %d objects of type %T, want one", len(found), *new(T))
	}
	return found[0]
}

func manifestOf(t *testing.T, o Options) string {
	t.Helper()
	manifest, err := Manifest(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(manifest)
}

func TestManifestGolden(t *testing.T) {
	const file = "testdata/east.yaml"
	manifest := manifestOf(t, joining())
	if *update {
		if err := os.WriteFile(file, []byte(manifest), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), manifest); diff != "" {
		t.Errorf("if that is meant, run go test ./pkg/bootstrap -update (-want +got)\n%s", diff)
	}
}

func TestObjectsOrder(t *testing.T) {
	var got []string
	for _, object := range objectsOf(t, joining()) {
		accessor, err := meta.Accessor(object)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.TrimSpace(object.GetObjectKind().GroupVersionKind().Kind+" "+accessor.GetNamespace()+"/"+accessor.GetName()))
	}
	want := []string{
		"Namespace /tmc-system",
		"ServiceAccount tmc-system/tmc-syncer",
		"ValidatingAdmissionPolicy /tmc-syncer",
		"ValidatingAdmissionPolicyBinding /tmc-syncer",
		"ClusterRole /tmc-syncer",
		"ClusterRoleBinding /tmc-syncer",
		"Role tmc-system/tmc-syncer",
		"RoleBinding tmc-system/tmc-syncer",
		"Secret tmc-system/tmc-syncer-kcp",
		"ConfigMap tmc-system/tmc-syncer",
		"Deployment tmc-system/tmc-syncer",
		"PodDisruptionBudget tmc-system/tmc-syncer",
		"NetworkPolicy tmc-system/tmc-syncer",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects (-want +got)\n%s", diff)
	}
}

func TestManifestIsDeterministic(t *testing.T) {
	first := manifestOf(t, joining())
	for range 20 {
		o := joining()
		slices.Reverse(o.Kinds)
		if manifestOf(t, o) != first {
			t.Fatal("the manifest depends on the order of the kinds, or on chance")
		}
	}
	o := joining()
	before := slices.Clone(o.Kinds)
	manifestOf(t, o)
	if !slices.Equal(before, o.Kinds) {
		t.Error("the options were changed")
	}
}

func TestDeployment(t *testing.T) {
	t.Run("a new token changes the Secret alone", func(t *testing.T) {
		first := strings.Split(manifestOf(t, joining()), "---\n")
		second := strings.Split(manifestOf(t, joining(func(o *Options) {
			o.Kubeconfig = bytes.ReplaceAll(o.Kubeconfig, []byte("confidential"), []byte("renewed"))
		})), "---\n")
		if len(first) != len(second) {
			t.Fatalf("%d documents, then %d", len(first), len(second))
		}
		var changed []string
		for i := range first {
			if first[i] != second[i] {
				changed = append(changed, second[i])
			}
		}
		if len(changed) != 1 || !strings.Contains(changed[0], "kind: Secret\n") {
			t.Errorf("changed: %q, want the Secret alone", changed)
		}
	})
	t.Run("a new rule restarts nothing", func(t *testing.T) {
		template := func(o Options) corev1.PodTemplateSpec {
			return the[*appsv1.Deployment](t, objectsOf(t, o)).Spec.Template
		}
		changed := joining(func(o *Options) { o.Rule.NamespacePrefix = "east-" })
		if diff := cmp.Diff(template(joining()), template(changed)); diff != "" {
			t.Errorf("the syncer reads its rule again when it changes; its pods need not (-before +after)\n%s", diff)
		}
	})
}

func TestConfigMapRule(t *testing.T) {
	cases := map[string]v1alpha1.TransformRule{
		"Nothing": {},
		"Everything": {
			NamespacePrefix: "east-", NamespaceMode: v1alpha1.NamespaceModeIsolated, ImageRegistry: "registry.example.com/mirror",
			ResourceLimits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m"), corev1.ResourceMemory: resource.MustParse("2Gi")},
			Labels:         map[string]string{"site": "east"}, Annotations: map[string]string{"note": "a: b\n# c"},
		},
	}
	for name, rule := range cases {
		t.Run(name, func(t *testing.T) {
			objects := objectsOf(t, joining(func(o *Options) { o.Rule = rule }))
			read, err := transform.ParseRule([]byte(the[*corev1.ConfigMap](t, objects).Data[RuleKey]))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(rule, read); diff != "" {
				t.Errorf("the syncer reads another rule (-want +got)\n%s", diff)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	t.Run("they are flags of the syncer", func(t *testing.T) {
		want := []string{
			"--cluster-name=east",
			"--kcp-kubeconfig=/etc/tmc/kcp/kubeconfig",
			"--kcp-secret=tmc-syncer-kcp",
			"--namespace=tmc-system",
			"--provider-workspace=root:tmc",
			"--export=tmc.kcp.io",
			"--kinds=configmaps,cronjobs.batch,deployments.apps,ingresses.networking.k8s.io",
			"--self-register=false",
			"--leader-elect",
			"--transform-config=/etc/tmc/config/rule.yaml",
			"--bind-address=:8080",
		}
		o := joining(func(o *Options) {
			o.Kinds = []schema.GroupResource{
				{Group: "networking.k8s.io", Resource: "ingresses"}, {Group: "apps", Resource: "deployments"},
				{Resource: "configmaps"}, {Group: "batch", Resource: "cronjobs"},
			}
		})
		if diff := cmp.Diff(want, Arguments(o)); diff != "" {
			t.Errorf("arguments (-want +got)\n%s", diff)
		}
		container := the[*appsv1.Deployment](t, objectsOf(t, o)).Spec.Template.Spec.Containers[0]
		if diff := cmp.Diff(want, container.Args); diff != "" {
			t.Errorf("the container's arguments (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]string{"/usr/local/bin/tmc-syncer"}, container.Command); diff != "" {
			t.Errorf("the container's command (-want +got)\n%s", diff)
		}
	})
	t.Run("their paths are mounted", func(t *testing.T) {
		objects := objectsOf(t, joining())
		pod := the[*appsv1.Deployment](t, objects).Spec.Template.Spec
		mounted := map[string]string{}
		for _, mount := range pod.Containers[0].VolumeMounts {
			if !mount.ReadOnly || mount.SubPath != "" {
				t.Errorf("%s: expected the whole directory, read-only", mount.MountPath)
			}
			mounted[mount.MountPath] = sourceOf(pod, mount.Name)
		}
		secret, configMap := the[*corev1.Secret](t, objects), the[*corev1.ConfigMap](t, objects)
		want := map[string]string{"/etc/tmc/kcp": "Secret " + secret.Name, "/etc/tmc/config": "ConfigMap " + configMap.Name}
		if diff := cmp.Diff(want, mounted); diff != "" {
			t.Errorf("volumes (-want +got)\n%s", diff)
		}
		if !bytes.Equal(secret.Data["kubeconfig"], joining().Kubeconfig) || len(secret.Data) != 1 {
			t.Errorf("the Secret holds the keys %v", slices.Sorted(maps.Keys(secret.Data)))
		}
		if _, ok := configMap.Data["rule.yaml"]; !ok || len(configMap.Data) != 1 {
			t.Errorf("the ConfigMap holds %v", configMap.Data)
		}
	})
}

// sourceOf says what a volume of the pod is made of.
func sourceOf(pod corev1.PodSpec, name string) string {
	for _, volume := range pod.Volumes {
		switch {
		case volume.Name != name:
		case volume.Secret != nil:
			return "Secret " + volume.Secret.SecretName
		case volume.ConfigMap != nil:
			return "ConfigMap " + volume.ConfigMap.Name
		}
	}
	return "nothing"
}

func TestOwnRules(t *testing.T) {
	objects := objectsOf(t, joining(func(o *Options) { o.Kinds = parsed("deployments.apps") }))
	rules, secret := the[*rbacv1.Role](t, objects).Rules, the[*corev1.Secret](t, objects)
	if !allows(rules, "patch", secrets, secret.Name) {
		t.Errorf("it may not keep its token in Secret %s", secret.Name)
	}
	for _, rule := range the[*rbacv1.ClusterRole](t, objects).Rules {
		for _, g := range grantsOf(rule) {
			if g.resource == secrets || g.resource == leases && g.verb != "list" {
				t.Errorf("on the whole cluster it may %s %s", g.verb, g.resource)
			}
		}
	}
	want := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: DefaultNamespace, Name: the[*corev1.ServiceAccount](t, objects).Name}}
	for kind, got := range map[string][]rbacv1.Subject{
		"RoleBinding": the[*rbacv1.RoleBinding](t, objects).Subjects, "ClusterRoleBinding": the[*rbacv1.ClusterRoleBinding](t, objects).Subjects,
	} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", kind, diff)
		}
	}
}

func TestSelectors(t *testing.T) {
	scraped := func(o *Options) { o.MetricsFrom = []string{"monitoring"} }
	first, renamed := objectsOf(t, joining(scraped)), objectsOf(t, joining(scraped, func(o *Options) { o.Cluster, o.Kubeconfig = "west", nil }))
	selectors := func(objects []runtime.Object) map[string]map[string]string {
		spread := the[*appsv1.Deployment](t, objects).Spec.Template.Spec.TopologySpreadConstraints
		return map[string]map[string]string{
			"Deployment":    the[*appsv1.Deployment](t, objects).Spec.Selector.MatchLabels,
			"NetworkPolicy": the[*networkingv1.NetworkPolicy](t, objects).Spec.PodSelector.MatchLabels,
			"Service":       the[*corev1.Service](t, objects).Spec.Selector,
			"spread":        spread[0].LabelSelector.MatchLabels,
		}
	}
	labels := the[*appsv1.Deployment](t, first).Spec.Template.Labels
	for of, selector := range selectors(first) {
		if len(selector) == 0 {
			t.Errorf("%s: selects everything", of)
		}
		for key, value := range selector {
			if labels[key] != value {
				t.Errorf("%s: selects %s=%s, the pods have %q", of, key, value, labels[key])
			}
		}
	}
	if diff := cmp.Diff(selectors(first), selectors(renamed)); diff != "" {
		t.Errorf("a selector changes with the name of the cluster, which a Deployment refuses (-east +west)\n%s", diff)
	}
}

func TestLabels(t *testing.T) {
	want := map[string]string{
		"app.kubernetes.io/name": "tmc-syncer", "app.kubernetes.io/instance": "east",
		"app.kubernetes.io/component": "syncer", "app.kubernetes.io/part-of": "tmc",
	}
	objects := objectsOf(t, joining())
	for _, object := range objects {
		accessor, err := meta.Accessor(object)
		if err != nil {
			t.Fatal(err)
		}
		labels := accessor.GetLabels()
		if _, ok := object.(*corev1.Namespace); ok {
			if labels["pod-security.kubernetes.io/enforce"] != "restricted" {
				t.Errorf("the namespace takes any pod: %v", labels)
			}
			continue
		}
		if diff := cmp.Diff(want, labels); diff != "" {
			t.Errorf("%T (-want +got)\n%s", object, diff)
		}
	}
}

func TestPod(t *testing.T) {
	// TestThePodIsRestricted asks the admission's own code.
	t.Run("it is restricted", func(t *testing.T) {
		evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
		if err != nil {
			t.Fatal(err)
		}
		level := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
		template := the[*appsv1.Deployment](t, objectsOf(t, joining())).Spec.Template
		refusals := func(change func(*corev1.PodSpec)) []policy.CheckResult {
			spec := template.Spec.DeepCopy()
			change(spec)
			return slices.DeleteFunc(evaluator.EvaluatePod(level, &template.ObjectMeta, spec), func(r policy.CheckResult) bool { return r.Allowed })
		}
		if refused := refusals(func(*corev1.PodSpec) {}); len(refused) > 0 {
			t.Errorf("its own namespace refuses the pod: %v", refused)
		}
		if refused := refusals(func(spec *corev1.PodSpec) { spec.Containers[0].SecurityContext = nil }); len(refused) == 0 {
			t.Error("the admission refuses nothing: this test shows nothing")
		}
	})
	t.Run("it has no more than it needs", func(t *testing.T) {
		objects := objectsOf(t, joining())
		pod := the[*appsv1.Deployment](t, objects).Spec.Template.Spec
		container := pod.Containers[0]
		type facts struct {
			Writable, TokenForAll, Token, HostNetwork bool
			User, Group, Volumes                      int64
			Tolerations, Env                          int
			Requests, Limits                          []corev1.ResourceName
			Priority                                  string
		}
		want := facts{
			Token: true, User: 65532, Group: 65532, Volumes: 65532, // those of the image, who can read the kubeconfig
			Requests: []corev1.ResourceName{"cpu", "memory"}, Limits: []corev1.ResourceName{"memory"},
			Priority: "system-cluster-critical",
		}
		got := facts{
			Writable:    !*container.SecurityContext.ReadOnlyRootFilesystem,
			TokenForAll: *the[*corev1.ServiceAccount](t, objects).AutomountServiceAccountToken, Token: *pod.AutomountServiceAccountToken,
			HostNetwork: pod.HostNetwork,
			User:        *pod.SecurityContext.RunAsUser, Group: *pod.SecurityContext.RunAsGroup, Volumes: *pod.SecurityContext.FSGroup,
			Tolerations: len(pod.Tolerations), Env: len(container.Env),
			Requests: slices.Sorted(maps.Keys(container.Resources.Requests)), Limits: slices.Sorted(maps.Keys(container.Resources.Limits)),
			Priority: pod.PriorityClassName,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the pod (-want +got)\n%s", diff)
		}
	})
	t.Run("the kubelet asks where health is", func(t *testing.T) {
		for name, from := range map[string][]string{"Closed": nil, "Open": {"monitoring"}} {
			t.Run(name, func(t *testing.T) {
				container := the[*appsv1.Deployment](t, objectsOf(t, joining(func(o *Options) { o.MetricsFrom = from }))).Spec.Template.Spec.Containers[0]
				for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe} {
					if probe.HTTPGet.Port.StrVal != container.Ports[0].Name || container.Ports[0].ContainerPort != 8080 {
						t.Errorf("the kubelet asks at %s, want where health is", probe.HTTPGet.Port.String())
					}
				}
			})
		}
	})
}

func TestNetworkPolicy(t *testing.T) {
	cases := map[string]struct {
		reason     string
		kubeconfig []byte
		want       []int32
	}{
		"ItsPort":            {"it is anywhere", kubeconfigOf("https://kcp.example.com:8443/clusters/root:tmc"), []int32{443, 6443, 8443}},
		"that of HTTPS":      {"that goes without saying", kubeconfigOf("https://kcp.example.com/clusters/root:tmc"), []int32{443, 6443}},
		"that of any server": {"once is enough", kubeconfigOf("https://[2001:db8::1]:6443/clusters/root:tmc"), []int32{443, 6443}},
		"Below":              {"they are sorted", kubeconfigOf("https://kcp.example.com:80/clusters/root:tmc"), []int32{80, 443, 6443}},
		"Unknown":            {"somebody else makes the Secret", nil, []int32{443, 6443}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			spec := the[*networkingv1.NetworkPolicy](t, objectsOf(t, joining(func(o *Options) { o.Kubeconfig = c.kubeconfig }))).Spec
			var servers []int32
			for _, port := range spec.Egress[1].Ports {
				servers = append(servers, port.Port.IntVal)
			}
			if diff := cmp.Diff(c.want, servers); diff != "" {
				t.Errorf("%s (-want +got)\n%s", c.reason, diff)
			}
			if len(spec.Ingress) != 1 || len(spec.Ingress[0].Ports) != 1 || spec.Ingress[0].Ports[0].Port.IntVal != 8080 {
				t.Errorf("ingress %v, want 8080 alone, which is health", spec.Ingress)
			}
			if len(spec.PolicyTypes) != 2 {
				t.Errorf("it is about %v, want both ways", spec.PolicyTypes)
			}
		})
	}
}

// metricsFlag says where metrics are served.
const metricsFlag = "--metrics-bind-address"

func TestMetrics(t *testing.T) {
	t.Run("they are for the syncer's own pod by default", func(t *testing.T) {
		closed := joining()
		for _, object := range objectsOf(t, closed) {
			if _, isService := object.(*corev1.Service); isService {
				t.Error("there is a Service for metrics that nobody may read")
			}
		}
		if args := strings.Join(Arguments(closed), " "); strings.Contains(args, metricsFlag) {
			t.Errorf("%s, want the daemon's default, which is its own pod", args)
		}
	})
	t.Run("they are open to the named namespaces alone", func(t *testing.T) {
		objects := objectsOf(t, joining(func(o *Options) { o.MetricsFrom = []string{"prometheus", "monitoring", "prometheus"} }))
		container := the[*appsv1.Deployment](t, objects).Spec.Template.Spec.Containers[0]
		if !slices.Contains(container.Args, metricsFlag+"=:8081") {
			t.Errorf("arguments %q, want metrics for others at 8081", container.Args)
		}
		service := the[*corev1.Service](t, objects).Spec.Ports[0]
		port := slices.IndexFunc(container.Ports, func(p corev1.ContainerPort) bool { return p.Name == service.TargetPort.StrVal })
		if port < 0 || container.Ports[port].ContainerPort != 8081 || service.Port != 8081 {
			t.Errorf("the Service leads to port %s, the pod has %v, want 8081", service.TargetPort.String(), container.Ports)
		}
		got := the[*networkingv1.NetworkPolicy](t, objects).Spec.Ingress
		want := []networkingv1.NetworkPolicyIngressRule{
			{Ports: ports(corev1.ProtocolTCP, 8080)},
			{Ports: ports(corev1.ProtocolTCP, 8081), From: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{
				MatchExpressions: []metav1.LabelSelectorRequirement{{
					Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpIn, Values: []string{"monitoring", "prometheus"},
				}},
			}}}},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("who is let in (-want +got)\n%s", diff)
		}
	})
}

func TestManifest(t *testing.T) {
	t.Run("a cluster that is too old for policies goes without", func(t *testing.T) {
		const words = "--admission-policy=false"
		if with := manifestOf(t, joining()); !strings.Contains(with, words) {
			t.Errorf("the manifest does not say what an older cluster needs: %.400s", with)
		}
		if without := manifestOf(t, joining(func(o *Options) { o.AdmissionPolicy = false })); strings.Contains(without, words) {
			t.Errorf("the manifest tells of a policy that it does not have: %.400s", without)
		}
		for _, object := range objectsOf(t, joining(func(o *Options) { o.AdmissionPolicy = false })) {
			if kind := object.GetObjectKind().GroupVersionKind().Kind; strings.HasPrefix(kind, "ValidatingAdmissionPolicy") {
				t.Errorf("there is a %s", kind)
			}
		}
	})
	t.Run("without a kubeconfig there is no Secret", func(t *testing.T) {
		o := joining(func(o *Options) { o.Kubeconfig = nil })
		for _, object := range objectsOf(t, o) {
			if _, ok := object.(*corev1.Secret); ok {
				t.Error("there is a Secret without anything in it: it would take the place of the real one")
			}
		}
		manifest := manifestOf(t, o)
		if !strings.HasPrefix(manifest, "# ") || !strings.Contains(manifest, "once there is a Secret") {
			t.Errorf("the manifest does not say what is missing: %.200s", manifest)
		}
	})
	t.Run("it contains nothing that a server fills in", func(t *testing.T) {
		manifest := manifestOf(t, joining())
		for _, noise := range []string{"creationTimestamp", "status:", ": null", "- null", ": {}\n"} {
			for line := range strings.Lines(manifest) {
				if strings.Contains(line, noise) && !strings.Contains(line, "|") && line != "    {}\n" {
					t.Errorf("%q: %q", noise, line)
				}
			}
		}
	})
	t.Run("nothing looks like a copy", func(t *testing.T) {
		// A label by which the syncer watches would have it take its own Deployment for a copy that nobody wants.
		for _, object := range objectsOf(t, joining()) {
			accessor, err := meta.Accessor(object)
			if err != nil {
				t.Fatal(err)
			}
			for _, keys := range []map[string]string{accessor.GetLabels(), accessor.GetAnnotations()} {
				for key := range keys {
					if v1alpha1.IsOwnKey(key) {
						t.Errorf("%T has %s", object, key)
					}
				}
			}
			if accessor.GetOwnerReferences() != nil || accessor.GetDeletionTimestamp() != (*metav1.Time)(nil) {
				t.Errorf("%T belongs to something", object)
			}
		}
	})
}

func TestValidate(t *testing.T) {
	kinds := func(names ...string) func(*Options) {
		return func(o *Options) {
			o.Kinds = nil
			for _, name := range names {
				o.Kinds = append(o.Kinds, schema.ParseGroupResource(name))
			}
		}
	}
	kubeconfig := func(text string) func(*Options) { return func(o *Options) { o.Kubeconfig = []byte(text) } }
	cases := map[string]struct {
		reason string
		change func(*Options)
		words  []string // none where it is valid
	}{
		"the defaults":         {"they work", func(*Options) {}, nil},
		"no cluster":           {"nobody can guess it", func(o *Options) { o.Cluster = "" }, []string{"cluster"}},
		"a bad cluster":        {"it becomes part of keys", func(o *Options) { o.Cluster = "East_1" }, []string{"cluster", `"East_1"`}},
		"two lines":            {"it is in a comment", func(o *Options) { o.Cluster = "a\nb" }, []string{"cluster"}},
		"no namespace":         {"it has to be somewhere", func(o *Options) { o.Namespace = "" }, []string{"namespace", "expected"}},
		"a bad namespace":      {"the server would refuse it", func(o *Options) { o.Namespace = "a.b" }, []string{"namespace", `"a.b"`}},
		"DefaultNamespace":     {"anybody is there", func(o *Options) { o.Namespace = "default" }, []string{"namespace", "own"}},
		"KubeSystem":           {"it is the cluster's", func(o *Options) { o.Namespace = "kube-system" }, []string{"namespace", "kube-"}},
		"another namespace":    {"it may be another", func(o *Options) { o.Namespace = "kubernetes-tmc" }, nil},
		"no image":             {"there is no default that would be there", func(o *Options) { o.Image = "" }, []string{"image", "expected"}},
		"a bad image":          {"the kubelet would refuse it", func(o *Options) { o.Image = "Registry/TMC:x y" }, []string{"image", "expected"}},
		"a short image":        {"a local one", func(o *Options) { o.Image = "tmc:dev" }, nil},
		"a digest":             {"it may be pinned", func(o *Options) { o.Image = "tmc@sha256:" + strings.Repeat("a", 64) }, nil},
		"a short digest":       {"it pins nothing", func(o *Options) { o.Image = "tmc@sha256:aa" }, []string{"image"}},
		"PullNever":            {"it is loaded into the nodes", func(o *Options) { o.ImagePullPolicy = corev1.PullNever }, nil},
		"PullSometimes":        {"the server would refuse it", func(o *Options) { o.ImagePullPolicy = "Sometimes" }, []string{"imagePullPolicy", "IfNotPresent"}},
		"no replicas":          {"it would do nothing", func(o *Options) { o.Replicas = 0 }, []string{"replicas", "1 to 10"}},
		"one replica":          {"it will do", func(o *Options) { o.Replicas = 1 }, nil},
		"TenReplicas":          {"it will do", func(o *Options) { o.Replicas = 10 }, nil},
		"ElevenReplicas":       {"ten wait already", func(o *Options) { o.Replicas = 11 }, []string{"replicas", "1 to 10"}},
		"less than none":       {"there is no such number", func(o *Options) { o.Replicas = -1 }, []string{"replicas"}},
		"no workspace":         {"nobody can guess it", func(o *Options) { o.ProviderWorkspace = "" }, []string{"providerWorkspace", "root:tmc"}},
		"all workspaces":       {"one has the export", func(o *Options) { o.ProviderWorkspace = "*" }, []string{"providerWorkspace"}},
		"no path":              {"it is no path", func(o *Options) { o.ProviderWorkspace = "root/tmc" }, []string{"providerWorkspace", "root/tmc"}},
		"no export":            {"nobody can guess it", func(o *Options) { o.Export = "" }, []string{"export", "tmc.kcp.io"}},
		"an export":            {"a cluster may have its own", func(o *Options) { o.Export = "cluster-east" }, nil},
		"a bad export":         {"it is a name", func(o *Options) { o.Export = "cluster east" }, []string{"export"}},
		"no kinds":             {"it would do nothing", kinds(), []string{"kinds", "expected"}},
		"a kind twice":         {"one is a mistake", kinds("pods", "jobs.batch", "pods"), []string{"kinds[2]", "pods"}},
		"AllKinds":             {"least privilege", kinds("*"), []string{"kinds[0]", "expected"}},
		"all kinds of a group": {"least privilege", kinds("*.apps"), []string{"kinds[0]", "expected"}},
		"all groups":           {"least privilege", kinds("deployments.*"), []string{"kinds[0]", "expected"}},
		"a subresource":        {"nobody syncs it", kinds("deployments/status.apps"), []string{"kinds[0]"}},
		"another flag":         {"it goes into an argument", kinds("pods,secrets"), []string{"kinds[0]"}},
		"an empty kind":        {"it is none", kinds(""), []string{"kinds[0]"}},
		"Namespaces":           {"they come by themselves", kinds("namespaces"), []string{"kinds[0]", "by themselves"}},
		"Events":               {"they are tmc's own", kinds("pods", "events"), []string{"kinds[1]"}},
		"Placements":           {"they are tmc's own", kinds("workloadplacements.tmc.kcp.io"), []string{"kinds[0]"}},
		"ClusterRoles":         {"they are the cluster's", kinds("clusterroles.rbac.authorization.k8s.io"), []string{"kinds[0]", "namespaces"}},
		"Nodes":                {"they are the cluster's", kinds("nodes"), []string{"kinds[0]", "namespaces"}},
		"a CustomResource":     {"any kind can be synced", kinds("widgets.example.com"), nil},
		"a bad rule":           {"the syncer would refuse it", func(o *Options) { o.Rule.NamespacePrefix = "NO" }, []string{"rule", "namespacePrefix"}},
		"an empty config":      {"it leads nowhere", kubeconfig(""), []string{"kubeconfig", "current context"}},
		"no YAML":              {"it leads nowhere", kubeconfig("\tconfidential"), []string{"kubeconfig", "YAML"}},
		"a list":               {"it leads nowhere", kubeconfig("- confidential"), []string{"kubeconfig", "YAML"}},
		"no context":           {"it leads nowhere", kubeconfig("current-context: confidential"), []string{"kubeconfig", "current context"}},
		"no server's cluster":  {"it leads nowhere", kubeconfig("{current-context: a, contexts: [{name: a, context: {cluster: confidential}}]}"), []string{"kubeconfig", "current context"}},
		"not verified": {
			"anybody could be kcp", kubeconfig("{current-context: a, contexts: [{name: a, context: {cluster: a}}], clusters: [{name: a, cluster: {server: 'https://a', insecure-skip-tls-verify: true}}]}"),
			[]string{"kubeconfig", "insecure-skip-tls-verify"},
		},
		"no TLS":       {"anybody could read the token", func(o *Options) { o.Kubeconfig = kubeconfigOf("http://confidential") }, []string{"kubeconfig", "https://"}},
		"no host":      {"it leads nowhere", func(o *Options) { o.Kubeconfig = kubeconfigOf("https:///clusters/root:tmc") }, []string{"kubeconfig", "https://"}},
		"no port":      {"there is none of that number", func(o *Options) { o.Kubeconfig = kubeconfigOf("https://confidential:0") }, []string{"kubeconfig", "https://"}},
		"too big port": {"there is none of that number", func(o *Options) { o.Kubeconfig = kubeconfigOf("https://confidential:70000") }, []string{"kubeconfig", "https://"}},
		"MetricsFrom":  {"it scrapes", func(o *Options) { o.MetricsFrom = []string{"monitoring"} }, nil},
		"metrics from labels": {
			"tenants may choose those of their namespaces", func(o *Options) { o.MetricsFrom = []string{"monitoring", "team=obs"} }, []string{"metricsFrom[1]", "team=obs", "name of a namespace"},
		},
		"all of them": {
			"one look is enough", func(o *Options) { *o = Options{Rule: v1alpha1.TransformRule{NamespaceMode: "None"}} },
			[]string{"cluster", "namespace", "image", "replicas", "providerWorkspace", "export", "kinds", "namespaceMode"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := joining(c.change)
			err := o.Validate()
			if (err != nil) != (len(c.words) > 0) {
				t.Fatalf("%s: got %v", c.reason, err)
			}
			_, objectsErr := Objects(o)
			_, manifestErr := Manifest(o)
			if (objectsErr != nil) != (err != nil) || (manifestErr != nil) != (err != nil) {
				t.Errorf("%s: objects %v, manifest %v", c.reason, objectsErr, manifestErr)
			}
			for _, word := range c.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%s: %q does not say %q", c.reason, err, word)
				}
			}
			if err != nil && strings.Contains(err.Error(), "confidential") {
				t.Errorf("%q repeats what is in the kubeconfig", err)
			}
		})
	}
}
