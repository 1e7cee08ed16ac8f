package guard

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

var everything = []string{
	"create ValidatingAdmissionPolicy tmc-consumers", "create ValidatingAdmissionPolicyBinding tmc-consumers",
	"create ValidatingAdmissionPolicy tmc-deletions", "create ValidatingAdmissionPolicyBinding tmc-deletions",
	"create ValidatingAdmissionPolicy tmc-syncers", "create ValidatingAdmissionPolicyBinding tmc-syncers",
}

func (w *world) leftOutOf(export string) v1alpha1.LeftOut {
	return w.guard.LeftOut(workspace, export, schema.GroupResource{Resource: "secrets"})
}

func TestGuard(t *testing.T) {
	t.Run("policies are made and then left alone", func(t *testing.T) {
		w := newWorld()
		if why := w.leftOutOf("cluster-east"); why != v1alpha1.LeftOutPoliciesMissing {
			t.Errorf("before there are any, %q keeps things out", why)
		}
		if diff := cmp.Diff(everything, w.sync(t)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for range 3 {
			if writes := w.sync(t); len(writes) > 0 {
				t.Errorf("at rest: %v", writes)
			}
		}
		if why := w.leftOutOf("cluster-east"); why != "" {
			t.Errorf("when they stand, %q keeps things out", why)
		}
		if w.told != 2 {
			t.Errorf("told %d times, want of their absence and of their coming", w.told)
		}
	})
	t.Run("what has no effect is the tenant's", func(t *testing.T) {
		w := newWorld()
		w.sync(t)
		w.change(t, "ValidatingAdmissionPolicy", "tmc-consumers", func(obj *unstructured.Unstructured) {
			obj.SetLabels(map[string]string{"team": "a"})
			obj.SetFinalizers([]string{"a.tenant/has-it"})
		})
		if writes := w.sync(t); len(writes) > 0 || w.leftOutOf("x") != "" {
			t.Errorf("written: %v; %q keeps things out", writes, w.leftOutOf("x"))
		}
		other := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"failurePolicy": "Ignore"}}}
		other.SetAPIVersion("admissionregistration.k8s.io/v1")
		other.SetKind("ValidatingAdmissionPolicy")
		other.SetName("his")
		w.objects[keyOf(other)] = other
		if writes := w.sync(t); len(writes) > 0 {
			t.Errorf("of his own policy: %v", writes)
		}
	})
	t.Run("a policy that is being deleted is not in force", func(t *testing.T) {
		w := newWorld()
		w.sync(t)
		w.change(t, "ValidatingAdmissionPolicy", "tmc-syncers", leave)
		for range 3 {
			if writes := w.sync(t); len(writes) > 0 || w.leftOutOf("x") != v1alpha1.LeftOutPoliciesMissing {
				t.Errorf("held by a finalizer: written %v; %q keeps things out", writes, w.leftOutOf("x"))
			}
		}
		w.change(t, "ValidatingAdmissionPolicy", "tmc-syncers", nil)
		if diff := cmp.Diff([]string{"create ValidatingAdmissionPolicy tmc-syncers"}, w.sync(t)); diff != "" || w.leftOutOf("x") != "" {
			t.Errorf("gone (-want +got):\n%s", diff)
		}
	})
	t.Run("nothing is written where the claims are not accepted", func(t *testing.T) {
		w := newWorld()
		w.sync(t)
		w.letsNot = true
		w.change(t, "ValidatingAdmissionPolicy", "tmc-syncers", nil)
		if writes := w.sync(t); len(writes) > 0 || w.leftOutOf("x") != v1alpha1.LeftOutPoliciesNotAccepted {
			t.Errorf("written: %v; %q keeps things out", writes, w.leftOutOf("x"))
		}
		if len(w.guard.told) > 0 || len(w.guard.limits) > 0 || len(w.guard.known) > 0 {
			t.Error("it is remembered")
		}
		w.letsNot, w.leftOut = false, v1alpha1.LeftOutNotBound
		if why := w.leftOutOf("x"); why != v1alpha1.LeftOutNotBound {
			t.Errorf("not bound, %q keeps things out", why)
		}
	})
	t.Run("restoring again and again is limited", func(t *testing.T) {
		w := newWorld()
		w.sync(t)
		for range 20 * burst {
			w.change(t, "ValidatingAdmissionPolicyBinding", "tmc-consumers", set([]any{"Audit"}, "spec", "validationActions"))
			w.writes = nil
			again, err := w.guard.sync(t.Context(), workspace)
			if err != nil {
				t.Fatal(err)
			}
			if len(w.writes) == 0 {
				if again <= 0 || again > refill || w.leftOutOf("x") != v1alpha1.LeftOutPoliciesMissing {
					t.Fatalf("looked at again after %s; %q keeps things out", again, w.leftOutOf("x"))
				}
				w.clock = w.clock.Add(again)
				if len(w.sync(t)) != 1 {
					t.Fatal("nothing is written after the pause")
				}
			}
			w.clock = w.clock.Add(time.Millisecond)
		}
		if passed := w.clock.Sub(time.Unix(0, 0)); passed < 19*burst*refill-time.Minute {
			t.Errorf("%d times took %s", 20*burst, passed)
		}
	})
	t.Run("caches that lag cost no writes", func(t *testing.T) {
		w := newWorld()
		w.sync(t)
		w.blind = true
		w.guard.OnUpstream(kcp.ObjectKey{Workspace: workspace, Resource: v1alpha1.PoliciesResource, Name: "tmc-consumers"}, nil, nil)
		if writes := w.sync(t); len(writes) > 0 {
			t.Errorf("written: %v", writes)
		}
	})
	t.Run("a refused write is tried again", func(t *testing.T) {
		w := newWorld()
		w.refuses = errRefused
		for range 2 * burst {
			if _, err := w.guard.sync(t.Context(), workspace); !errors.Is(err, errRefused) {
				t.Fatalf("error %v", err)
			}
		}
		w.refuses = nil
		if len(w.sync(t)) != len(everything) {
			t.Errorf("written: %v", w.writes)
		}
	})
}

func TestGuardRestores(t *testing.T) {
	const policy, binding = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
	conditions := []any{map[string]any{"name": "never", "expression": "false"}}
	cases := map[string]struct {
		reason, kind string
		edit         func(*unstructured.Unstructured)
		want         string
	}{
		"the policy is gone":       {"nothing checks", policy, nil, "create"},
		"the binding is gone":      {"a policy without one is not asked", binding, nil, "create"},
		"Audit":                    {"nothing is refused", binding, set([]any{"Audit"}, "spec", "validationActions"), "update"},
		"another policy":           {"the binding binds another one", binding, set("mine", "spec", "policyName"), "update"},
		"BoundElsewhere":           {"it is asked in some namespaces", binding, set(map[string]any{"namespaceSelector": map[string]any{"matchLabels": map[string]any{"a": "b"}}}, "spec", "matchResources"), "update"},
		"with parameters":          {"there are none, and it is not asked", policy, set(map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}, "spec", "paramKind"), "update"},
		"NeverMatches":             {"a condition that nothing meets", policy, set(conditions, "spec", "matchConditions"), "update"},
		"some namespaces":          {"it is asked in some namespaces", policy, set(map[string]any{"matchLabels": map[string]any{"a": "b"}}, "spec", "matchConstraints", "namespaceSelector"), "update"},
		"some objects":             {"it is asked of some objects", policy, set(map[string]any{"matchLabels": map[string]any{"a": "b"}}, "spec", "matchConstraints", "objectSelector"), "update"},
		"Excluded":                 {"it is not asked of Secrets", policy, set([]any{map[string]any{"apiGroups": []any{""}, "resources": []any{"secrets"}}}, "spec", "matchConstraints", "excludeResourceRules"), "update"},
		"Ignore":                   {"an error in it lets pass", policy, set("Ignore", "spec", "failurePolicy"), "update"},
		"no validations":           {"it refuses nothing", policy, set([]any{}, "spec", "validations"), "update"},
		"a field nobody knows":     {"it may be of a newer kcp, and let things pass", policy, set("Maybe", "spec", "enforcement"), "update"},
		"its own of the same name": {"somebody was faster", policy, set(map[string]any{}, "spec"), "update"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.sync(t)
			w.change(t, tc.kind, "tmc-consumers", tc.edit)
			if why := w.leftOutOf(v1alpha1.APIExportName); why != v1alpha1.LeftOutPoliciesMissing {
				t.Errorf("%s: %q keeps things out", tc.reason, why)
			}
			if diff := cmp.Diff([]string{tc.want + " " + tc.kind + " tmc-consumers"}, w.sync(t)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if why := w.leftOutOf(v1alpha1.APIExportName); why != "" || len(w.sync(t)) > 0 {
				t.Errorf("%s: put back, %q keeps things out, and %v is written", tc.reason, why, w.writes)
			}
		})
	}
}

func TestGuardUpgrade(t *testing.T) {
	w := newWorld()
	w.sync(t)
	w.change(t, "ValidatingAdmissionPolicy", "tmc-consumers", set([]any{map[string]any{"expression": "true"}}, "spec", "validations"))
	w.sync(t)
	key := kcp.ObjectKey{Workspace: workspace, Resource: v1alpha1.PoliciesResource, Name: "tmc-consumers"}
	if got := digestOf(w.objects[key]); got != w.guard.wanted[0].digest {
		t.Error("the old one is there still")
	}
}

func TestSlim(t *testing.T) {
	obj := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"variables": []any{strings.Repeat("x", 10000)}}}}
	obj.SetAPIVersion("admissionregistration.k8s.io/v1")
	obj.SetKind("ValidatingAdmissionPolicy")
	obj.SetName("his")
	obj.SetAnnotations(map[string]string{logicalcluster.AnnotationKey: "ws", "a": strings.Repeat("x", 10000)})
	obj.SetLabels(map[string]string{"a": "b"})
	Slim(obj)
	if data, err := json.Marshal(obj); err != nil || len(data) > 250 {
		t.Errorf("%d bytes: %s", len(data), data)
	}
	if logicalcluster.From(obj) != "ws" {
		t.Error("nobody knows whose it is")
	}
	deployment := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"a": "b"}}}
	deployment.SetAPIVersion("apps/v1")
	deployment.SetKind("Deployment")
	if Slim(deployment); deployment.Object["spec"] == nil {
		t.Error("other kinds lose their spec")
	}
}

func TestInitializer(t *testing.T) {
	t.Run("a workspace is given to its users when the policies are in force", func(t *testing.T) {
		self := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{
			"initializers": []any{"other:tmc-tenant", "provider:tmc-tenant", "system:apibindings"},
		}}}
		self.SetUID("u")
		self.SetResourceVersion("7")
		patch, err := withoutInitializer(self, "provider:tmc-tenant")
		if err != nil {
			t.Fatal(err)
		}
		want := `{"metadata":{"resourceVersion":"7","uid":"u"},"status":{"initializers":["other:tmc-tenant","system:apibindings"]}}`
		if diff := cmp.Diff(want, string(patch)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if patch, err := withoutInitializer(self, "another:tmc-tenant"); patch != nil || err != nil {
			t.Errorf("of one that it has not: %s, %v", patch, err)
		}
	})
	t.Run("it waits for the policies", func(t *testing.T) {
		b := &beginning{self: &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"initializers": []any{"provider:tmc-tenant"}}}}}
		stand, turnedOn := false, ""
		i := &Initializer{
			upstream: b,
			inForce:  func(logicalcluster.Name) bool { return stand },
			turnOn: func(_ context.Context, patch []byte) error {
				turnedOn = string(patch)
				return nil
			},
		}
		self := kcp.ObjectKey{Workspace: workspace, Resource: kcp.LogicalClustersResource, Name: kcp.LogicalClusterName}
		for _, stand = range []bool{false, true} {
			if _, err := i.sync(t.Context(), self); err != nil {
				t.Fatal(err)
			}
			if want := map[bool]int{true: 1}[stand]; len(b.patched) != want {
				t.Errorf("the policies inForce: %t; patched: %q", stand, b.patched)
			}
		}
		if !strings.HasPrefix(b.patched[0], "status ") || !strings.Contains(b.patched[0], `"initializers":[]`) {
			t.Errorf("patched: %q", b.patched)
		}
		if _, err := i.sync(t.Context(), kcp.ObjectKey{Workspace: "another", Resource: self.Resource, Name: self.Name}); err != nil || len(b.patched) > 1 {
			t.Errorf("of one that is ready: error %v, patched: %q", err, b.patched)
		}
		if _, err := i.sync(t.Context(), kcp.ObjectKey{Workspace: provider, Resource: kcp.WorkspaceTypesResource, Name: v1alpha1.TenantWorkspaceType}); err != nil || turnedOn != `{"spec":{"initializer":true}}` {
			t.Errorf("the type: error %v, patched with %s", err, turnedOn)
		}
	})
}

// beginning is a kcp that initializes one workspace.
type beginning struct {
	self    *unstructured.Unstructured
	patched []string
}

func (b *beginning) Provider() logicalcluster.Name { return provider }

func (b *beginning) Cached(key kcp.ObjectKey) *unstructured.Unstructured {
	if key.Workspace != workspace || key.Resource != kcp.LogicalClustersResource || key.Name != kcp.LogicalClusterName {
		return nil
	}
	return b.self
}

func (b *beginning) Patch(_ context.Context, _ kcp.ObjectKey, _ types.PatchType, patch []byte, subresources ...string) (*unstructured.Unstructured, error) {
	b.patched = append(b.patched, strings.Join(subresources, "/")+" "+string(patch))
	return nil, nil
}
