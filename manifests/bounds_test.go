package manifests

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/kcp-tmc/tmc/manifests/policytest"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// crowded returns the object with so many annotations, labels and finalizers more.
func crowded(before *unstructured.Unstructured, annotations, labels, finalizers int) *unstructured.Unstructured {
	after := before.DeepCopy()
	more := func(has map[string]string, count int) map[string]string {
		if has == nil {
			has = map[string]string{}
		}
		for i := range count {
			has[fmt.Sprintf("example.com/key-%d", i)] = "v"
		}
		return has
	}
	after.SetAnnotations(more(after.GetAnnotations(), annotations))
	after.SetLabels(more(after.GetLabels(), labels))
	all := after.GetFinalizers()
	for i := range finalizers {
		all = append(all, fmt.Sprintf("example.com/finalizer-%d", i))
	}
	after.SetFinalizers(all)
	return after
}

// slow is more than a policy may take with the race detector, which makes it some five times slower, on a busy machine:
// going through all of 5,000 finalizers took 18 s. Costs in CEL's units say little about the time.
const slow = 5 * time.Second

// asked is what it may cost to look at sizes alone, in CEL's units.
const asked = 3000

// judgedQuickly has a policy judge a request, and fails the test when it takes or costs too much.
func judgedQuickly(t *testing.T, policy *policytest.Policy, r policytest.Request) policytest.Verdict {
	t.Helper()
	began := time.Now()
	verdict := policy.Judge(t, r)
	if took := time.Since(began); took > slow {
		t.Errorf("it took %s", took)
	}
	if verdict.Cost > celconfig.RuntimeCELCostBudget/5 {
		t.Errorf("it costs %d", verdict.Cost)
	}
	return verdict
}

func TestPolicyBounds(t *testing.T) {
	alice := &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}}
	policy := newJudge(t, "tmc-consumers")
	bare := object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}}")
	forged := func(obj *unstructured.Unstructured) *unstructured.Unstructured {
		annotations := obj.GetAnnotations()
		annotations["status.tmc.kcp.io/east"] = "{}"
		delete(annotations, "example.com/key-0")
		obj.SetAnnotations(annotations)
		return obj
	}
	many := func(count int) *unstructured.Unstructured {
		obj := bare.DeepCopy()
		for i := range count {
			obj.SetFinalizers(append(obj.GetFinalizers(), fmt.Sprintf("syncer.tmc.kcp.io/c%d", i)))
		}
		return obj
	}
	cases := map[string]struct {
		reason        string
		before, after *unstructured.Unstructured
		// want is in the refusal, empty when there is none.
		want string
	}{
		"Full":                     {"nobody needs more", nil, crowded(bare, 2000, 2000, 500), ""},
		"Annotations":              {"each later write would take seconds", nil, crowded(bare, 15000, 0, 0), "no more than 2000 annotations"},
		"Labels":                   {"likewise", nil, crowded(bare, 0, 15000, 0), "no more than 2000 labels"},
		"Finalizers":               {"likewise", nil, crowded(bare, 0, 0, 5000), "no more than 500 finalizers"},
		"All":                      {"it is told of each", nil, crowded(bare, 2001, 2001, 501), "2000 annotations and 2000 labels and 500 finalizers"},
		"one more":                 {"it grows", crowded(bare, 2000, 0, 0), crowded(bare, 2001, 0, 0), "no more than 2000 annotations"},
		"Stays":                    {"it was there before there were bounds", crowded(bare, 3000, 3000, 900), crowded(bare, 3000, 3000, 900), ""},
		"Less":                     {"it can be reduced step by step", crowded(bare, 3000, 3000, 900), crowded(bare, 2900, 2900, 899), ""},
		"a finalizer less":         {"it can be deleted", crowded(bare, 0, 0, 5000), crowded(bare, 0, 0, 4999), ""},
		"forged among many":        {"it is looked through all the same", crowded(bare, 3000, 0, 0), forged(crowded(bare, 3000, 0, 0)), "status.tmc.kcp.io/east"},
		"ForgedFinalizers":         {"not even those are compared", many(0), many(5000), "500 finalizers"},
		"held by many":             {"somebody forged them while nothing checked, and may not go on", many(5000), many(4999), "syncer.tmc.kcp.io/*"},
		"held by many and deleted": {"deleting is no matter of this policy", many(5000), nil, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := policytest.Request{User: alice, Resource: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, Before: tc.before, After: tc.after}
			verdict := judgedQuickly(t, policy, r)
			denied := verdict.Message()
			if strings.Contains(denied, "no more than") && verdict.Cost > asked {
				t.Errorf("%s: it costs %d, as if more were looked at than sizes", tc.reason, verdict.Cost)
			}
			if tc.want == "" && denied != "" || !strings.Contains(denied, tc.want) {
				t.Errorf("%s: got %q, want it to say %q", tc.reason, denied, tc.want)
			}
		})
	}
}

func TestPolicyCost(t *testing.T) {
	east := serviceAccount(provider, "tmc-syncers", "east")
	policy := newJudge(t, "tmc-syncers")
	for name, before := range map[string]*unstructured.Unstructured{
		"Full":           crowded(object(t, placed), 1900, 1900, 450),
		"ManyFinalizers": crowded(object(t, placed), 0, 0, 5000), // of before there were bounds
	} {
		t.Run(name, func(t *testing.T) {
			after := patched(t, before, `metadata: {annotations: {status.tmc.kcp.io/east: "{}"}}`)
			after.SetFinalizers(append(after.GetFinalizers(), v1alpha1.Finalizer("east")))
			for what, r := range map[string]policytest.Request{"taking it": {Before: before, After: after}, "letting go": {Before: after, After: before}} {
				r.User, r.Resource = east, deploymentsResource
				if verdict := judgedQuickly(t, policy, r); verdict.Denied() {
					t.Errorf("%s: denied: %s", what, verdict.Message())
				}
			}
			shuffled := after.DeepCopy()
			all := shuffled.GetFinalizers()
			all[0], all[1] = all[1], all[0]
			shuffled.SetFinalizers(all)
			if denied := policy.Judge(t, policytest.Request{User: east, Resource: deploymentsResource, Before: before, After: shuffled}).Message(); !strings.Contains(denied, "no other finalizer") {
				t.Errorf("another order: got %q", denied)
			}
		})
	}
}
