package evaluate

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

// asApplied is a namespace as the cluster has it after an apply.
func asApplied(t *testing.T, namespace *unstructured.Unstructured, err error, options ...option) *unstructured.Unstructured {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	namespace.SetManagedFields([]metav1.ManagedFieldsEntry{{
		Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply,
		FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:labels":{},"f:annotations":{}}}`),
	}})
	for _, shape := range options {
		shape(namespace)
	}
	return namespace
}

func TestNamespace(t *testing.T) {
	owner := transform.Origin{Workspace: "ws", Name: "app", Cluster: "east"}
	forWest := owner
	forWest.Cluster = "west"
	rule := v1alpha1.TransformRule{}
	made := func(options ...option) *unstructured.Unstructured {
		namespace, err := transform.DesiredNamespace(nil, owner, rule)
		return asApplied(t, namespace, err, options...)
	}
	noted := func(options ...option) *unstructured.Unstructured {
		namespace, err := transform.NotedNamespace("app", owner)
		return asApplied(t, namespace, err, options...)
	}
	free, err := transform.FreeNamespace("app", "east", rule)
	free = asApplied(t, free, err)
	notedForWest, err := transform.NotedNamespace("app", forWest)
	notedForWest = asApplied(t, notedForWest, err)
	lost := made(func(obj *unstructured.Unstructured) { obj.SetAnnotations(nil) })
	upstreamNamespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace"}}
	broken := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"labels": map[string]any{"a": int64(1)}}}}
	copied := func(workspace string, created int64) CopyIn {
		return CopyIn{Origin: transform.Origin{Workspace: workspace, Namespace: "app", Name: "web", Cluster: "east"}, Created: time.Unix(created, 0)}
	}
	ofWest := copied("first", 1)
	ofWest.Origin.Cluster = "west"
	cases := map[string]struct {
		in   NamespaceInput
		want NamespaceAction
		next string
	}{
		"nothing is known of it":                                {NamespaceInput{}, Keep, ""},
		"copies are there and it bears no mark":                 {NamespaceInput{Copies: []CopyIn{copied("ws", 3), copied("zzz", 2), copied("other", 2)}}, Assign, "other"},
		"copies for other cluster names do not count":           {NamespaceInput{Copies: []CopyIn{ofWest, {Lost: true}, copied("ws", 3)}}, Assign, "ws"},
		"it is being deleted":                                   {NamespaceInput{Namespace: made(deleting)}, Keep, ""},
		"it is being deleted with copies of another":            {NamespaceInput{Namespace: made(deleting), Copies: []CopyIn{copied("other", 1)}}, Keep, "other"},
		"its owner does not use it":                             {NamespaceInput{Namespace: made()}, Remove, ""},
		"its owner has copies there, whoever came first":        {NamespaceInput{Namespace: made(), Copies: []CopyIn{copied("other", 1), copied("ws", 2)}}, Keep, ""},
		"its owner's copies are to come":                        {NamespaceInput{Namespace: made(), Awaited: true, Upstream: upstreamNamespace}, Keep, ""},
		"its owner's copies may be on their way out":            {NamespaceInput{Namespace: made(), Held: true, Upstream: upstreamNamespace}, Keep, ""},
		"its owner has changed theirs, or somebody ours":        {NamespaceInput{Namespace: made(drifted), Awaited: true, Upstream: upstreamNamespace}, Adjust, ""},
		"what its owner's is like is not known":                 {NamespaceInput{Namespace: made(drifted), Awaited: true}, Keep, ""},
		"a copy that lost its origin counts":                    {NamespaceInput{Namespace: made(), Copies: []CopyIn{{Lost: true}}}, Keep, ""},
		"an operator's that its owner does not use":             {NamespaceInput{Namespace: noted()}, Unassign, ""},
		"an operator's that its owner uses":                     {NamespaceInput{Namespace: noted(), Awaited: true}, Keep, ""},
		"an operator's whose note was changed":                  {NamespaceInput{Namespace: noted(drifted), Awaited: true}, Adjust, ""},
		"its owner has left and others are there":               {NamespaceInput{Namespace: made(), Copies: []CopyIn{copied("zzz", 2), copied("other", 2)}}, Reassign, "other"},
		"an operator's that its owner has left to others":       {NamespaceInput{Namespace: noted(), Copies: []CopyIn{copied("other", 2)}}, Reassign, "other"},
		"it has no owner":                                       {NamespaceInput{Namespace: free}, Remove, ""},
		"it has no owner and copies are there":                  {NamespaceInput{Namespace: free, Copies: []CopyIn{copied("ws", 2)}}, Reassign, "ws"},
		"it is kept for everybody where workspaces share":       {NamespaceInput{Namespace: made(), Copies: []CopyIn{copied("other", 2)}, Settings: settings}, Keep, ""},
		"nobody owns it where workspaces share":                 {NamespaceInput{Copies: []CopyIn{copied("other", 2)}, Settings: settings}, Keep, ""},
		"nobody gets it where it is denied":                     {NamespaceInput{Copies: []CopyIn{copied("other", 2)}, Settings: &Settings{Own: "app"}}, Keep, ""},
		"the rule has other names for its owner's":              {NamespaceInput{Namespace: made(), Awaited: true, Settings: &Settings{Rule: v1alpha1.TransformRule{NamespacePrefix: "p-"}}}, Remove, ""},
		"another syncer looks after it":                         {NamespaceInput{Namespace: notedForWest}, Keep, ""},
		"another syncer looked after it that there is not more": {NamespaceInput{Namespace: notedForWest, Inherited: true}, Unassign, ""},
		"nobody knows whose it was":                             {NamespaceInput{Namespace: lost}, Keep, ""},
		"nobody knows for which cluster it was made":            {NamespaceInput{Namespace: made(annotated(v1alpha1.TargetClusterAnnotation, ""), drifted), Awaited: true, Upstream: upstreamNamespace}, Keep, ""},
		"nobody knows whose it was but copies are there":        {NamespaceInput{Namespace: lost, Copies: []CopyIn{copied("ws", 2)}}, Reassign, "ws"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.in.Name, c.in.Cluster = "app", "east"
			if c.in.Settings == nil {
				c.in.Settings = &Settings{Rule: rule}
			}
			got, err := Namespace(c.in)
			if err != nil {
				t.Fatal(err)
			}
			next := ""
			if got.Next != nil {
				next = got.Next.Workspace
			}
			if got.Action != c.want || next != c.next {
				t.Errorf("got %s and next owner %q, want %s and %q", got.Action, next, c.want, c.next)
			}
		})
	}
	in := NamespaceInput{Name: "app", Cluster: "east", Settings: &Settings{}, Namespace: made(), Upstream: broken}
	if _, err := Namespace(in); err == nil {
		t.Error("labels that are no texts: no error")
	}
	if Owner(nil) != "" || Owner(free) != "" || Owner(made()) != "ws" {
		t.Error("the owner is not read")
	}
}

func TestNamespaceThatIsOnlyHeld(t *testing.T) {
	owner := transform.Origin{Workspace: "ws", Name: "app", Cluster: "east"}
	made, err := transform.DesiredNamespace(nil, owner, v1alpha1.TransformRule{})
	made = asApplied(t, made, err)
	cases := map[string]struct {
		in   NamespaceInput
		want bool
	}{
		"nothing goes there":              {NamespaceInput{}, false},
		"what has left is held":           {NamespaceInput{Held: true}, true},
		"a copy is there":                 {NamespaceInput{Held: true, Copies: []CopyIn{{Origin: owner}}}, false},
		"a copy is to come":               {NamespaceInput{Held: true, Awaited: true}, false},
		"it is where nothing goes by now": {NamespaceInput{Held: true, Settings: &Settings{Rule: v1alpha1.TransformRule{NamespacePrefix: "p-"}}}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.in.Name, c.in.Cluster, c.in.Namespace = "app", "east", made
			if c.in.Settings == nil {
				c.in.Settings = &Settings{}
			}
			if got, err := Namespace(c.in); err != nil || got.OnlyHeld != c.want {
				t.Errorf("got %t, error %v", got.OnlyHeld, err)
			}
		})
	}
}
