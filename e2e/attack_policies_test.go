package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// policyNames are tmc's policies, and their bindings, in a consumer's workspace.
var policyNames = []string{"tmc-consumers", "tmc-deletions", "tmc-syncers"}

// policies returns the specs of tmc's policies and bindings, by "resource/name"; those that there are not, and those that
// are being deleted, are left out.
func (s side) policies(ctx context.Context) (map[string]string, error) {
	specs := map[string]string{}
	for _, resource := range []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings"} {
		out, err := s.try(ctx, "get", resource, "--output=json")
		if err != nil {
			return nil, err
		}
		var list struct {
			Items []struct {
				Metadata struct {
					Name              string     `json:"name"`
					DeletionTimestamp *time.Time `json:"deletionTimestamp"`
				} `json:"metadata"`
				Spec json.RawMessage `json:"spec"`
			} `json:"items"`
		}
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return nil, err
		}
		for _, item := range list.Items {
			if item.Metadata.DeletionTimestamp == nil {
				specs[resource+"/"+item.Metadata.Name] = string(item.Spec)
			}
		}
	}
	return specs, nil
}

// eventuallyStand waits until tmc's policies stand in the workspace, as they are to be if want says that.
func (s side) eventuallyStand(t *testing.T, want map[string]string) map[string]string {
	t.Helper()
	var stand map[string]string
	eventually(t, "tmc's policies to stand", soon, func(ctx context.Context) (bool, string, error) {
		specs, err := s.policies(ctx)
		if err != nil {
			return false, "", err
		}
		stand = specs
		for _, name := range policyNames {
			for _, resource := range []string{"validatingadmissionpolicies/", "validatingadmissionpolicybindings/"} {
				if spec, there := specs[resource+name]; !there || want != nil && spec != want[resource+name] {
					return false, fmt.Sprintf("%s%s: %s", resource, name, spec), nil
				}
			}
		}
		return true, "", nil
	})
	return stand
}

const guardedEast, guardedWest = "guarded-" + east, "guarded-" + west

// newGuarded is an installation with an isolated cluster, east, that runs, and credentials of a shared one, west.
func newGuarded(t *testing.T) *installation {
	t.Helper()
	in := newSeparateInstallation(t, "guarded", guardedEast)
	check(t, in.start(t.Context()))
	in.clusters[guardedWest] = env.clusters[west]
	j, err := in.join(t.Context(), guardedWest, env.clusters[west], namespaceOfSyncer(guardedWest), "--shared")
	check(t, err)
	check(t, j.start(t.Context()))
	return in
}

// TestStolenCredentialInWorkspaceOfTenantType uses the credentials of an isolated and of a shared cluster for what
// they are not meant, in a workspace in which nobody has run bind.
func TestStolenCredentialInWorkspaceOfTenantType(t *testing.T) {
	t.Parallel()
	in := newGuarded(t)
	in.inProvider(t).eventually(t, "workspacetype/"+v1alpha1.TenantWorkspaceType, "{.spec.initializer}", "true")
	begin := time.Now()
	u := newTypedTenant(t, in, "guarded")
	t.Logf("making the workspace took %s", time.Since(begin).Round(100*time.Millisecond))
	specs, err := u.inKCP().policies(t.Context())
	check(t, err)
	if len(specs) != 2*len(policyNames) {
		t.Errorf("as soon as the workspace can be used, it has %d policies and bindings, want %d", len(specs), 2*len(policyNames))
	}
	u.kubectl(t, "create", "secret", "generic", "ours", "--from-literal=password=confidential")
	u.kubectl(t, "create", "secret", "generic", "nobodys", "--from-literal=password=confidential")
	u.apply(t, some(deployment("web", on(guardedEast), withSecret("ours"))))
	u.rollOut(t, "web", guardedEast)

	isolated, shared := newThief(t, in, guardedEast), newThief(t, in, guardedWest)
	const post, patch, put, remove = http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete
	isForbidden := func(status int) bool { return status == http.StatusForbidden }
	secrets := func(s thief) string {
		return s.view + "/clusters/" + u.logicalCluster + "/api/v1/namespaces/" + u.namespace + "/secrets/"
	}
	policies := shared.view + "/clusters/" + u.logicalCluster + "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
	bindings := shared.view + "/clusters/" + u.logicalCluster + "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
	isolated.tryAll(t, "403", isForbidden, map[string]attempt{
		"the data of an isolated ones Secret":  {patch, secrets(isolated) + "ours", `{"data":{"password":"ZXZpbA=="}}`, "may not change anything outside of metadata"},
		"another cluster for an isolated ones": {patch, secrets(isolated) + "ours", `{"metadata":{"labels":{"cluster.tmc.kcp.io/guarded-west":"sync"}}}`, "may not change labels"},
	})
	name := u.kubectl(t, "get", "apibindings", `--output=jsonpath={.items[?(@.spec.reference.export.name=="tmc.kcp.io")].metadata.name}`)
	bound := func(s thief) string {
		return s.view + "/clusters/" + u.logicalCluster + "/apis/apis.kcp.io/v1alpha2/apibindings/" + name
	}
	shared.tryAll(t, "403", isForbidden, map[string]attempt{
		"RefusingClaims":                {patch, bound(shared), `{"spec":{"permissionClaims":null}}`, ""},
		"holding a binding":             {patch, bound(shared), `{"metadata":{"finalizers":["evil.example.com/for-ever"]}}`, ""},
		"replacing a binding":           {put, bound(shared), `{"apiVersion":"apis.kcp.io/v1alpha2","kind":"APIBinding","metadata":{"name":"` + name + `"}}`, ""},
		"deleting a binding":            {remove, bound(shared), "", ""},
		"a Secret that is nowhere":      {patch, secrets(shared) + "nobodys", `{"data":{"password":"ZXZpbA=="}}`, "may only update what is placed on its cluster"},
		"placing a Secret":              {patch, secrets(shared) + "nobodys", `{"metadata":{"labels":{"cluster.tmc.kcp.io/guarded-west":"sync"}}}`, "may only update what is placed on its cluster"},
		"a Secret that is elsewhere":    {patch, secrets(shared) + "ours", `{"data":{"password":"ZXZpbA=="}}`, "may only update what is placed on its cluster"},
		"a namespace":                   {patch, strings.TrimSuffix(secrets(shared), "/secrets/"), `{"metadata":{"labels":{"a":"b"}}}`, "may only update what is placed on its cluster"},
		"weakening the policy":          {patch, policies + "/tmc-syncers", `{"spec":{"failurePolicy":"Ignore"}}`, "cannot patch"},
		"weakening the binding":         {patch, bindings + "/tmc-syncers", `{"spec":{"validationActions":["Audit"]}}`, "cannot patch"},
		"replacing the policy":          {put, policies + "/tmc-syncers", `{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicy","metadata":{"name":"tmc-syncers"}}`, "cannot update"},
		"removing the binding":          {remove, bindings + "/tmc-syncers", "", "cannot delete"},
		"making a policy of its own":    {post, policies, `{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicy","metadata":{"name":"evil"}}`, "cannot create"},
		"the status of the policy":      {patch, policies + "/tmc-syncers/status", `{"status":{}}`, ""},
		"a policy in another workspace": {patch, strings.Replace(policies, u.logicalCluster, "root", 1) + "/tmc-syncers", `{"spec":{}}`, ""},
	})
	for _, name := range []string{"ours", "nobodys"} {
		if got := u.kubectl(t, "get", "secret", name, "--output=jsonpath={.data.password}"); got != "Y29uZmlkZW50aWFs" {
			t.Errorf("the Secret %s has %s", name, got)
		}
	}
}

// TestPoliciesAreRestoredBeforePlacement deletes and weakens the policies of tmc as the administrator of a workspace,
// and keeps one from being deleted. Nothing is placed until the policies are back.
func TestPoliciesAreRestoredBeforePlacement(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "weakened")
	before := u.rollOutWeb(t, east)
	tenant := u.asConsumer(t)
	want := tenant.eventuallyStand(t, nil)
	const policy, binding = "validatingadmissionpolicy/tmc-consumers", "validatingadmissionpolicybinding/tmc-consumers"
	// Not paramKind: kcp v0.31 dies of a policy that has one.
	for what, args := range map[string][]string{
		"the binding is gone":          {"delete", binding},
		"the policy is gone":           {"delete", policy},
		"the binding audits":           {"patch", binding, "--type=merge", `--patch={"spec":{"validationActions":["Audit"]}}`},
		"the binding is about a few":   {"patch", binding, "--type=merge", `--patch={"spec":{"matchResources":{"namespaceSelector":{"matchLabels":{"a":"b"}}}}}`},
		"the policy never matches":     {"patch", policy, "--type=json", `--patch=[{"op":"add","path":"/spec/matchConditions/-","value":{"name":"never","expression":"false"}}]`},
		"the policy is about a few":    {"patch", policy, "--type=merge", `--patch={"spec":{"matchConstraints":{"objectSelector":{"matchLabels":{"a":"b"}}}}}`},
		"the policy refuses nothing":   {"patch", policy, "--type=json", `--patch=[{"op":"replace","path":"/spec/validations","value":[{"expression":"true"}]}]`},
		"the policy lets errors go by": {"patch", policy, "--type=merge", `--patch={"spec":{"failurePolicy":"Ignore"}}`},
	} {
		t.Run(what, func(t *testing.T) {
			begin := time.Now()
			tenant.kubectl(t, args...)
			tenant.eventuallyStand(t, want)
			t.Logf("put back within %s", time.Since(begin).Round(10*time.Millisecond))
		})
	}

	// One that is held is being deleted, and anybody may change it still.
	tenant.kubectl(t, "patch", policy, "--type=merge", `--patch={"metadata":{"finalizers":["example.com/held"]}}`)
	tenant.kubectl(t, "delete", policy, "--wait=false")
	u.apply(t, some(deployment("late", on(east))))
	u.inKCP().eventuallyHas(t, "deployment/late", "{.metadata.annotations.tmc\\.kcp\\.io/placement}", string(v1alpha1.LeftOutPoliciesMissing))
	u.inKCP().eventuallyHas(t, "deployment/late", "{.status.conditions}", string(v1alpha1.LeftOutPoliciesMissing), "ValidatingAdmissionPolicies")
	isGone(t, "a copy of what came late", u.copyOn(east, "late"))
	u.checkUntouched(t, east, before)
	tenant.kubectl(t, "patch", policy, "--type=merge", `--patch={"metadata":{"finalizers":null}}`)
	tenant.eventuallyStand(t, want)
	u.rollOut(t, "late", east)
	u.checkUntouched(t, east, before)
}

// TestPoliciesOfWorkspaceBoundBeforeUpgrade has a binding that does not accept the claims on policies, like one from
// before tmc claimed them. Nothing new is placed until the workspace is bound again.
func TestPoliciesOfWorkspaceBoundBeforeUpgrade(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "upgraded")
	before := u.rollOutWeb(t, east)
	u.acceptNoPolicies(t)
	u.apply(t, some(deployment("late", on(east))))
	u.inKCP().eventuallyHas(t, "deployment/late", "{.status.conditions}", string(v1alpha1.LeftOutPoliciesNotAccepted), "kubectl tmc bind")
	isGone(t, "a copy of what came late", u.copyOn(east, "late"))
	u.checkUntouched(t, east, before)
	u.bind(t)
	u.rollOut(t, "late", east)
	u.checkUntouched(t, east, before)
}

// acceptNoPolicies takes the claims on policies out of the tenant's binding.
func (u *tenant) acceptNoPolicies(t *testing.T) {
	t.Helper()
	var binding map[string]any
	check(t, json.Unmarshal([]byte(u.kubectl(t, "get", "apibinding", v1alpha1.APIExportName, "--output=json")), &binding))
	var kept []any
	for _, claim := range binding["spec"].(map[string]any)["permissionClaims"].([]any) {
		if claim.(map[string]any)["group"] != v1alpha1.PoliciesResource.Group {
			kept = append(kept, claim)
		}
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"permissionClaims": kept}})
	check(t, err)
	u.kubectl(t, "patch", "apibinding", v1alpha1.APIExportName, "--type=merge", "--patch="+string(patch))
}

// TestPoliciesInWorkspaceOfUserWhoMayNotMakeThem binds a workspace as a user who may make APIBindings and nothing
// else.
func TestPoliciesInWorkspaceOfUserWhoMayNotMakeThem(t *testing.T) {
	t.Parallel()
	name := unique("restricted")
	u := newUnboundTenant(t, env.shared, name, name)
	export := env.shared.inProvider(t).kubectl(t, "get", "apiexport", v1alpha1.APIExportName, "--output=jsonpath={.spec.permissionClaims}")
	var claims []map[string]any
	check(t, json.Unmarshal([]byte(export), &claims))
	for _, claim := range claims {
		claim["state"], claim["selector"] = "Accepted", map[string]any{"matchAll": true}
	}
	binding, err := json.Marshal(map[string]any{
		"apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIBinding", "metadata": map[string]any{"name": v1alpha1.APIExportName},
		"spec": map[string]any{
			"reference":        map[string]any{"export": map[string]any{"path": env.shared.provider, "name": v1alpha1.APIExportName}},
			"permissionClaims": claims,
		},
	})
	check(t, err)
	settingUp.Lock()
	u.inKCP().apply(t, string(binding))
	settingUp.Unlock()
	u.inKCP().eventuallyStand(t, nil)
	u.asConsumer(t) // it waits until they are in force
}
