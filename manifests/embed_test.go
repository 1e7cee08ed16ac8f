package manifests

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

func TestExportRefersToTheEmbeddedSchemas(t *testing.T) {
	export, err := Export()
	if err != nil {
		t.Fatal(err)
	}
	schemas, err := Schemas()
	if err != nil {
		t.Fatal(err)
	}
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
}

func TestExportClaimsNoMoreThanNeeded(t *testing.T) {
	export, err := Export()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, claim := range export.Spec.PermissionClaims {
		got[claim.String()] = claim.Verbs
	}
	// Nobody needs to make or delete what is built into every workspace.
	follow := []string{"get", "list", "watch", "patch"}
	want := map[string][]string{
		"events":          {"create", "patch"},
		"configmaps":      follow,
		"secrets":         follow,
		"serviceaccounts": follow,
		"namespaces":      follow,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("consumers have to accept each claim: a new one needs a reason (-want +got)\n%s", diff)
	}
}

func TestRBACNamesTheExport(t *testing.T) {
	objects, err := RBAC()
	if err != nil {
		t.Fatal(err)
	}
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
}
