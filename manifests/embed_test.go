package manifests

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestExport(t *testing.T) {
	t.Run("it refers to the embedded schemas", func(t *testing.T) {
		export := Export()
		schemas := Schemas()
		var embedded, exported []string
		for _, schema := range schemas {
			embedded = append(embedded, schema.Name)
		}
		for _, resource := range export.Spec.Resources {
			exported = append(exported, resource.Schema)
		}
		slices.Sort(embedded)
		slices.Sort(exported)
		if diff := cmp.Diff(embedded, exported); diff != "" {
			t.Errorf("export and schemas are not of one generation (-embedded +exported)\n%s", diff)
		}
		if export.Name != v1alpha1.APIExportName {
			t.Errorf("the export is called %s, everybody looks for %s", export.Name, v1alpha1.APIExportName)
		}
	})
	t.Run("it claims no more than needed", func(t *testing.T) {
		export := Export()
		got := map[string][]string{}
		for _, claim := range export.Spec.PermissionClaims {
			got[claim.String()] = claim.Verbs
		}
		// Nobody needs to make or delete what is built into every workspace.
		follow := []string{"get", "list", "watch", "patch"}
		want := map[string][]string{
			"events": {"create", "patch"},
			// It says which isolated clusters are bound. The hub holds, by a finalizer, those that are used. A syncer has patch in
			// the same virtual workspace: it must not have it on these.
			"apibindings.apis.kcp.io": {"get", "list", "watch", "update"},
			// The hub keeps them. A syncer has patch in the same virtual workspace: it must not have it on these.
			"validatingadmissionpolicies.admissionregistration.k8s.io":       {"get", "list", "watch", "create", "update"},
			"validatingadmissionpolicybindings.admissionregistration.k8s.io": {"get", "list", "watch", "create", "update"},
			"configmaps":      follow,
			"secrets":         follow,
			"serviceaccounts": follow,
			"namespaces":      follow,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("consumers have to accept each claim: a new one needs a reason (-want +got)\n%s", diff)
		}
	})
	t.Run("no syncer can change policies", func(t *testing.T) {
		export := Export()
		// What a syncer's role has in the virtual workspace: see the test above, and that of pkg/cli/install of the accounts that join
		// makes.
		may := []string{"get", "list", "watch", "patch"}
		for _, claim := range export.Spec.PermissionClaims {
			if claim.Group != v1alpha1.PoliciesResource.Group {
				continue
			}
			both := slices.DeleteFunc(slices.Clone(claim.Verbs), func(verb string) bool { return !slices.Contains(may, verb) })
			if diff := cmp.Diff([]string{"get", "list", "watch"}, both); diff != "" {
				t.Errorf("on %s a syncer has (-want +got)\n%s", claim.Resource, diff)
			}
		}
	})
}

func TestRBAC(t *testing.T) {
	t.Run("it names the export", func(t *testing.T) {
		objects := RBAC()
		var found int
		for _, object := range objects {
			rules, _ := object.Object["rules"].([]any)
			for _, rule := range rules {
				fields := rule.(map[string]any)
				resources, _ := fields["resources"].([]any)
				if !slices.Contains(resources, any("apiexports")) && !slices.Contains(resources, any("apiexports/content")) {
					continue
				}
				found++
				if diff := cmp.Diff([]any{v1alpha1.APIExportName}, fields["resourceNames"]); diff != "" {
					t.Errorf("%s %s is about all exports of the workspace (-want +got)\n%s", object.GetKind(), object.GetName(), diff)
				}
			}
		}
		if found == 0 {
			t.Error("no rule is about the export: nobody could bind or serve it")
		}
	})
	t.Run("the hub has no Secret or webhook but that of the repair", func(t *testing.T) {
		objects := RBAC()
		found := 0
		for _, object := range objects {
			rules, _ := object.Object["rules"].([]any)
			for _, rule := range rules {
				fields := rule.(map[string]any)
				resources, _ := fields["resources"].([]any)
				if !slices.Contains(resources, any("secrets")) && !slices.Contains(resources, any("mutatingwebhookconfigurations")) {
					continue
				}
				found++
				if diff := cmp.Diff([]any{v1alpha1.RepairName}, fields["resourceNames"]); diff != "" {
					t.Errorf("%s %s (-want +got)\n%s", object.GetKind(), object.GetName(), diff)
				}
			}
		}
		if found != 2 {
			t.Errorf("%d rules are about them, expected one each", found)
		}
	})
}

func TestCRDs(t *testing.T) {
	definitions := CRDs()
	export := Export()
	var defined []string
	for _, definition := range definitions {
		defined = append(defined, definition.Name)
	}
	if diff := cmp.Diff([]string{v1alpha1.ClusterRegistrationsResource.GroupResource().String()}, defined); diff != "" {
		t.Errorf("what the provider has for itself (-want +got)\n%s", diff)
	}
	var exported []string
	for _, resource := range export.Spec.Resources {
		if resource.Group == v1alpha1.GroupName {
			exported = append(exported, resource.Name)
		}
	}
	if diff := cmp.Diff([]string{v1alpha1.WorkloadPlacementsResource.Resource}, exported); diff != "" {
		t.Errorf("what consumers have of tmc itself: a registry there would be anybody's (-want +got)\n%s", diff)
	}
}

func TestNamespaces(t *testing.T) {
	namespaces := Namespaces()
	var names []string
	for _, namespace := range namespaces {
		names = append(names, namespace.GetKind()+" "+namespace.GetName())
	}
	if diff := cmp.Diff([]string{"Namespace " + v1alpha1.HeartbeatNamespace, "Namespace " + v1alpha1.SyncersNamespace}, names); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestRBACIsNarrow(t *testing.T) {
	want := map[string]map[string][]string{
		"ClusterRole tmc-syncer": {
			"apiexportendpointslices":     {"get", "list", "watch"},
			"apiexports/content":          {"get", "list", "watch", "patch"},
			"clusterregistrations":        {"get", "list", "watch"},
			"clusterregistrations/status": {"patch"},
		},
		"Role tmc-heartbeats/tmc-syncer":  {"leases": {"create", "patch"}},
		"ClusterRole tmc-syncer-register": {"clusterregistrations": {"create"}},
		"ClusterRole tmc-controller": {
			"apiexportendpointslices":     {"get", "list", "watch"},
			"apiexports/content":          {"get", "list", "watch", "create", "update", "patch", "delete"},
			"clusterregistrations":        {"get", "list", "watch", "update", "patch"},
			"clusterregistrations/status": {"get", "list", "watch", "update", "patch"},
			// Its own alone, as the next test has it.
			"mutatingwebhookconfigurations": {"get", "list", "watch", "patch"},
			"workspacetypes":                {"get", "list", "watch", "patch", "initialize"},
		},
		"Role default/tmc-controller": {
			"leases": {"get", "create", "update"}, "secrets": {"get", "list", "watch", "update"},
			// Of the path reader alone, as the next test has it.
			"serviceaccounts/token": {"create"},
		},
		"Role tmc-heartbeats/tmc-controller": {"leases": {"get", "list", "watch", "delete"}},
		"ClusterRole tmc-bind":               {"apiexports": {"bind"}},
		"ClusterRole tmc-consumers":          consumersMay(t),
	}
	objects := RBAC()
	got := map[string]map[string][]string{}
	for _, object := range objects {
		rules, hasRules := object.Object["rules"].([]any)
		if !hasRules {
			continue
		}
		name := object.GetName()
		if namespace := object.GetNamespace(); namespace != "" {
			name = namespace + "/" + name
		}
		got[object.GetKind()+" "+name] = permissions(rules)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a permission needs a reason (-want +got)\n%s", diff)
	}
}

// repairURL is where kcp reaches the hub.
const repairURL = "https://hub.example.com:9443/repair"

func TestRepair(t *testing.T) {
	t.Run("it is a Secret and a configuration", func(t *testing.T) {
		objects := Repair(repairURL)
		var got []string
		for _, object := range objects {
			got = append(got, object.GetKind()+" "+object.GetNamespace()+"/"+object.GetName())
		}
		want := []string{"Secret " + v1alpha1.RepairNamespace + "/" + v1alpha1.RepairName, "MutatingWebhookConfiguration /" + v1alpha1.RepairName}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("what is installed (-want +got)\n%s", diff)
		}
	})
	t.Run("kcp asks about what can be repaired and nothing else", func(t *testing.T) {
		hook := repairHook(t)
		if hook.Name != v1alpha1.RepairWebhook || *hook.ClientConfig.URL != repairURL {
			t.Errorf("the webhook is %s at %s", hook.Name, *hook.ClientConfig.URL)
		}
		expression := hook.MatchConditions[0].Expression
		for _, manager := range []string{"kubectl-client-side-apply", "kubectl-set"} {
			if !strings.Contains(expression, "'"+manager+"'") {
				t.Errorf("the condition does not name %s: %s", manager, expression)
			}
		}
	})
	t.Run("writes pass while it is down", func(t *testing.T) {
		hook := repairHook(t)
		want := admissionregistrationv1.MutatingWebhook{
			FailurePolicy: new(admissionregistrationv1.Ignore), TimeoutSeconds: new(int32(2)),
			ReinvocationPolicy: new(admissionregistrationv1.NeverReinvocationPolicy), SideEffects: new(admissionregistrationv1.SideEffectClassNone),
		}
		got := admissionregistrationv1.MutatingWebhook{
			FailurePolicy: hook.FailurePolicy, TimeoutSeconds: hook.TimeoutSeconds,
			ReinvocationPolicy: hook.ReinvocationPolicy, SideEffects: hook.SideEffects,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("a hub that is down would be in the way (-want +got)\n%s", diff)
		}
	})
}

// repairHook returns the one webhook that the repair has kcp ask, at repairURL.
func repairHook(t *testing.T) admissionregistrationv1.MutatingWebhook {
	t.Helper()
	objects := Repair(repairURL)
	isSecret := func(object *unstructured.Unstructured) bool { return object.GetKind() == "Secret" }
	configurations := typed[admissionregistrationv1.MutatingWebhookConfiguration](slices.DeleteFunc(objects, isSecret))
	if len(configurations) != 1 || len(configurations[0].Webhooks) != 1 {
		t.Fatalf("expected one configuration with one webhook, found %v", configurations)
	}
	return configurations[0].Webhooks[0]
}

// consumersMay returns what consumers may do with what is served: everything, but of the
// status they may only read what the hub has written.
func consumersMay(t *testing.T) map[string][]string {
	t.Helper()
	schemas := Schemas()
	may := map[string][]string{}
	for _, schema := range schemas {
		resource := schema.Spec.Names.Plural
		may[resource] = []string{"*"}
		if schema.Spec.Versions[0].Subresources.Status != nil {
			may[resource+"/status"] = []string{"get"}
		}
		if schema.Spec.Versions[0].Subresources.Scale != nil {
			may[resource+"/scale"] = []string{"*"}
		}
	}
	return may
}

func TestConsumerRole(t *testing.T) {
	export := Export()
	if export.Spec.MaximalPermissionPolicy == nil || export.Spec.MaximalPermissionPolicy.Local == nil {
		t.Error("the export has no maximal permission policy: an administrator of a workspace could write any status")
	}
	objects := RBAC()
	got := map[string]string{}
	for _, object := range objects {
		if object.GetKind() != "ClusterRoleBinding" {
			continue
		}
		role, _, _ := unstructured.NestedString(object.Object, "roleRef", "name")
		subjects, _, _ := unstructured.NestedSlice(object.Object, "subjects")
		for _, subject := range subjects {
			got[subject.(map[string]any)["name"].(string)] = role
		}
	}
	want := map[string]string{
		"apis.kcp.io:binding:system:authenticated": "tmc-consumers",
		"apis.kcp.io:binding:system:kcp:admin":     "cluster-admin",
		"system:authenticated":                     "tmc-bind",
		"tmc-controller":                           "tmc-controller",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("who has which role (-want +got)\n%s", diff)
	}
}

// permissions returns the verbs of rules by resource.
func permissions(rules []any) map[string][]string {
	result := map[string][]string{}
	for _, rule := range rules {
		fields := rule.(map[string]any)
		for _, resource := range fields["resources"].([]any) {
			for _, verb := range fields["verbs"].([]any) {
				result[resource.(string)] = append(result[resource.(string)], verb.(string))
			}
		}
	}
	return result
}
