package manifests

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kcp-dev/logicalcluster/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/kcp-tmc/tmc/manifests/policytest"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// audience is that of kcp in all specs: it puts it into what asks for none.
const audience = "https://kcp.example.com"

var (
	accountsResource      = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	registrationsResource = v1alpha1.ClusterRegistrationsResource
)

// day is the longest that a token may be valid, in seconds.
var day = fmt.Sprint(int(v1alpha1.MaxTokenLifetime.Seconds()))

// allPolicies returns the policies of the provider workspace, and their bindings.
func allPolicies(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	objects, err := Policies(provider)
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := AccountPolicies(provider, []string{audience})
	if err != nil {
		t.Fatal(err)
	}
	return append(objects, accounts...)
}

func TestAccountPolicyTokens(t *testing.T) {
	east := serviceAccount(provider, "tmc-syncers", "east")
	const own = "{namespace: tmc-syncers, name: east}"
	cases := map[string]struct {
		who            user.Info
		metadata, spec string
		// want is in the refusal, empty when it is not refused.
		want string
	}{
		"ItsOwn":                   {east, own, "{expirationSeconds: " + day + ", audiences: ['" + audience + "']}", ""},
		"as kcp has it":            {east, own, "{expirationSeconds: 3600, audiences: ['" + audience + "'], boundObjectRef: null}", ""},
		"nothing is said":          {east, own, "{}", ""},
		"for ten years":            {east, own, "{expirationSeconds: 315360000, audiences: ['" + audience + "']}", "valid for a day"},
		"for a second too long":    {east, own, "{expirationSeconds: 86401}", "valid for a day"},
		"for another audience":     {east, own, "{expirationSeconds: 600, audiences: [vault]}", "for no other audience"},
		"for two audiences":        {east, own, "{expirationSeconds: 600, audiences: ['" + audience + "', vault]}", "for no other audience"},
		"bound to something":       {east, own, "{expirationSeconds: 600, boundObjectRef: {kind: Secret, apiVersion: v1, name: x}}", "bound to another object"},
		"AnothersAccount":          {east, "{namespace: tmc-syncers, name: west}", "{expirationSeconds: 600}", "its own account"},
		"of another namespace":     {east, "{namespace: default, name: east}", "{expirationSeconds: 600}", "its own account"},
		"an administrator may":     {&user.DefaultInfo{Name: "admin", Groups: []string{"system:kcp:admin"}}, own, "{expirationSeconds: 315360000}", ""},
		"a consumer's east is his": {serviceAccount("elsewhere", "tmc-syncers", "east"), own, "{expirationSeconds: 315360000}", ""},
	}
	policy := newJudge(t, "tmc-accounts")
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			asked := object(t, "{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, metadata: "+tc.metadata+", spec: "+tc.spec+"}")
			denied := policy.Judge(t, policytest.Request{User: tc.who, Resource: accountsResource, Subresource: "token", After: asked}).Message()
			if (denied == "") != (tc.want == "") || !strings.Contains(denied, tc.want) {
				t.Errorf("denied: %q, want the words %q", denied, tc.want)
			}
		})
	}
}

func TestAccountPolicyStatus(t *testing.T) {
	east := serviceAccount(provider, "tmc-syncers", "east")
	const isolated, group, shared = "{isolation: Cluster}", "{isolation: Group, isolationGroup: eu}", "{isolation: Shared}"
	cases := map[string]struct {
		who                  user.Info
		spec, before, status string
		want                 string
	}{
		"the first":                         {east, isolated, "{}", "{clusterUID: a, export: cluster-east}", ""},
		"a report":                          {east, isolated, "{clusterUID: a, export: cluster-east, nodes: 1}", "{nodes: 2, kubernetesVersion: v1.35.0}", ""},
		"AnothersName":                      {east, isolated, "{clusterUID: a}", "{clusterUID: b}", "whose cluster it is"},
		"NobodysName":                       {east, isolated, "{clusterUID: a}", "{clusterUID: null}", "whose cluster it is"},
		"an empty name":                     {east, isolated, "{clusterUID: a}", "{clusterUID: ''}", "whose cluster it is"},
		"the view that it is to use":        {east, isolated, "{export: tmc.kcp.io}", "{export: cluster-east}", ""},
		"the view of its group":             {east, group, "{export: cluster-east}", "{export: group-eu}", ""},
		"the view of all":                   {east, shared, "{export: cluster-east}", "{export: tmc.kcp.io}", ""},
		"the view that it had before":       {east, isolated, "{export: cluster-east}", "{export: tmc.kcp.io}", "cluster-east, as its registration has it"},
		"the view that it has yet":          {east, isolated, "{export: tmc.kcp.io, nodes: 1}", "{export: tmc.kcp.io, nodes: 2}", ""},
		"AnothersView":                      {east, isolated, "{}", "{export: cluster-west}", "cluster-east, as its registration has it"},
		"that it is ready":                  {east, isolated, "{conditions: [{type: Ready, status: 'False'}]}", "{conditions: [{type: Ready, status: 'True'}]}", "the hub's to write"},
		"an administrator takes it":         {&user.DefaultInfo{Name: "admin", Groups: []string{"system:kcp:admin"}}, isolated, "{clusterUID: a}", "{clusterUID: null, export: null}", ""},
		"the hub says that it is ready":     {serviceAccount(provider, "default", "tmc-controller"), isolated, "{}", "{conditions: [{type: Ready, status: 'True'}]}", ""},
		"of no isolation it is everybody's": {east, "{}", "{}", "{export: tmc.kcp.io}", ""},
	}
	policy := newJudge(t, "tmc-accounts")
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := object(t, "{apiVersion: tmc.kcp.io/v1alpha1, kind: ClusterRegistration, metadata: {name: east}, spec: "+tc.spec+", status: "+tc.before+"}")
			r := policytest.Request{User: tc.who, Resource: registrationsResource, Subresource: "status", Before: before, After: patched(t, before, "{status: "+tc.status+"}")}
			denied := policy.Judge(t, r).Message()
			if (denied == "") != (tc.want == "") || !strings.Contains(denied, tc.want) {
				t.Errorf("denied: %q, want the words %q", denied, tc.want)
			}
		})
	}
}

func TestAccountPolicies(t *testing.T) {
	for name, audiences := range map[string][]string{"none": nil, "one": {"a"}, "some, odd ones": {`a"b\c`, "d'e, f] || true"}} {
		t.Run(name, func(t *testing.T) {
			objects, err := AccountPolicies(provider, audiences)
			if err != nil || len(objects) != 2 {
				t.Errorf("got %d objects (%v), want a policy and its binding", len(objects), err)
			}
		})
	}
	if _, err := AccountPolicies(logicalcluster.Name(""), nil); err == nil {
		t.Error("a policy about nobody is made")
	}
}
