package evaluate

import (
	"errors"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/protocol"
	"github.com/kcp-tmc/tmc/pkg/transform"
)

func TestEvaluateDifference(t *testing.T) {
	here := upstreamDeployment(placed, held)
	job := upstreamDeployment(asJob, placed, held, reported("Complete", 1))
	desired, err := transform.Desired(transform.Input{Object: here, Origin: origin, Rule: settings.Rule})
	if err != nil {
		t.Fatal(err)
	}
	driftedCopy := copyOf(t, here, drifted)
	ineffective := inputOf(here, driftedCopy)
	ineffective.Ineffective = Apply{Hash: desired.GetAnnotations()[v1alpha1.AppliedHashAnnotation], Onto: transform.Fingerprint(driftedCopy)}
	other := ineffective
	other.Downstream = copyOf(t, here, drifted, generation(9))
	notServed := inputOf(here, nil)
	notServed.NotServed = "the cluster does not serve it"
	final := func(finalObj *unstructured.Unstructured) Input {
		in := inputOf(job, nil)
		in.Final = finalObj
		return in
	}
	ruled := inputOf(job, copyOf(t, job, annotated(v1alpha1.AppliedHashAnnotation, "of an earlier rule")))
	cases := map[string]struct {
		in      Input
		want    Difference
		current bool
	}{
		"no object is missing":                                    {inputOf(here, nil), Missing, false},
		"a copy as it was applied does not differ":                {inputOf(here, copyOf(t, here)), NoDifference, true},
		"a copy that is being deleted may not differ":             {inputOf(here, copyOf(t, here, deleting)), NoDifference, true},
		"a changed object makes its copy outdated":                {inputOf(upstreamDeployment(placed, held, generation(2)), copyOf(t, here)), Outdated, false},
		"a field that was taken from us is drift":                 {inputOf(here, driftedCopy), Drifted, false},
		"drift that applying does not help against is accepted":   {ineffective, NoDifference, true},
		"drift of another state is not":                           {other, Drifted, false},
		"a copy of an unplaced object is not compared":            {inputOf(upstreamDeployment(held), copyOf(t, here)), Undetermined, false},
		"nothing is compared where the resource is not served":    {notServed, Missing, false},
		"a rule does not concern a Job that has run":              {ruled, NoDifference, true},
		"a Job that has run and is gone is current as it was":     {final(copyOf(t, job, ended)), Missing, true},
		"a Job that has run and was changed is not":               {final(copyOf(t, job, ended, annotated(v1alpha1.SourceGenerationAnnotation, "0"), annotated(v1alpha1.AppliedHashAnnotation, "x"))), Missing, false},
		"a Job that has run and was not seen is reported already": {final(nil), Missing, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := evaluated(t, c.in, nil); got.Difference != c.want || got.Current != c.current {
				t.Errorf("got %s, current %t, want %s, %t", got.Difference, got.Current, c.want, c.current)
			}
		})
	}
}

func TestEvaluateProblem(t *testing.T) {
	here := upstreamDeployment(placed, held)
	with := func(change func(*Input)) Input {
		in := inputOf(here, nil)
		change(&in)
		return in
	}
	set := func(own string, denied ...string) func(*Input) {
		return func(in *Input) { in.Settings = &Settings{Own: own, Denied: denied} }
	}
	cases := map[string]struct {
		in     Input
		reason string
		says   string
	}{
		"the syncer's own namespace": {with(set("default")), ReasonDenied, "the syncer's own"},
		"a denied namespace":         {with(set("", "x", "def*")), ReasonDenied, "spec.deniedNamespaces of the cluster's registration: def*"},
		"a resource not served":      {with(func(in *Input) { in.NotServed = "why" }), ReasonNotServed, "why"},
		"a share that is no number":  {inputOf(upstreamDeployment(placed, held, annotated(v1alpha1.ReplicasAnnotation("east"), "-1")), nil), ReasonBadShare, "replicas.tmc.kcp.io/east"},
		"an override that fails":     {inputOf(upstreamDeployment(placed, held, annotated(v1alpha1.OverrideAnnotation("east"), "{")), nil), ReasonBadOverride, "override.tmc.kcp.io/east"},
		"what cannot be yielded":     {inputOf(upstreamDeployment(placed, held, annotated(v1alpha1.YieldAnnotation, "spec")), nil), ReasonBadYield, "annotation tmc.kcp.io/yield"},
		"no problem":                 {inputOf(here, nil), "", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := evaluated(t, c.in, nil)
			if c.reason == "" {
				if got.Problem != nil || got.Desired == nil {
					t.Errorf("got problem %+v", got.Problem)
				}
				return
			}
			if got.Problem == nil || got.Problem.Reason != c.reason || !strings.Contains(got.Problem.Message, c.says) || got.Desired != nil {
				t.Errorf("got %+v, want %s and %q", got.Problem, c.reason, c.says)
			}
		})
	}
}

// TestEvaluateFits is about what a cluster decides, or shares, of a copy: that is no difference, and no reason to count a repair.
func TestEvaluateFits(t *testing.T) {
	account := func(names ...string) option {
		return func(obj *unstructured.Unstructured) {
			obj.SetAPIVersion("v1")
			obj.SetKind("ServiceAccount")
			list := []any{}
			for _, name := range names {
				list = append(list, map[string]any{"name": name})
			}
			delete(obj.Object, "spec")
			obj.Object["imagePullSecrets"] = list
		}
	}
	owning := func(fields string) option {
		return func(obj *unstructured.Unstructured) {
			entries := obj.GetManagedFields()
			entries[0].FieldsV1 = metav1.NewFieldsV1(`{"f:metadata":{"f:labels":{},"f:annotations":{}}` + fields + `}`)
			obj.SetManagedFields(entries)
		}
	}
	yielding := upstreamDeployment(placed, held, annotated(v1alpha1.YieldAnnotation, "spec.replicas"))
	robot := upstreamDeployment(placed, held, generation(0), account("ours"))
	noted := annotated(v1alpha1.OthersAnnotation, `{"imagePullSecrets":[{"name":"theirs"}]}`)
	cases := map[string]struct {
		in     Input
		want   Difference
		fields []string
	}{
		"what is yielded is the cluster's":         {inputOf(yielding, copyOf(t, yielding, owning(""))), NoDifference, nil},
		"what is not is drift":                     {inputOf(upstreamDeployment(placed, held), copyOf(t, upstreamDeployment(placed, held), owning(""))), Drifted, []string{"spec.replicas"}},
		"what others add to a list is taken along": {inputOf(robot, copyOf(t, robot, account("ours", "theirs"), owning(""))), Drifted, nil},
		"that is at rest then":                     {inputOf(robot, copyOf(t, robot, account("ours", "theirs"), noted, owning(`,"f:imagePullSecrets":{}`))), NoDifference, nil},
		"what others take from it is drift":        {inputOf(robot, copyOf(t, robot, account("theirs"), owning(""))), Drifted, []string{"imagePullSecrets"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := evaluated(t, c.in, nil)
			if got.Difference != c.want {
				t.Fatalf("got %s, want %s", got.Difference, c.want)
			}
			if fields := got.Fields(c.in.Downstream); c.want == Drifted && !slices.Equal(fields, c.fields) {
				t.Errorf("fields %v, want %v", fields, c.fields)
			}
		})
	}
	if SameButStatus(copyOf(t, robot), copyOf(t, robot, account("ours", "theirs"))) {
		t.Error("a list that is shared has changed")
	}
}

func TestEvaluateEncodingFails(t *testing.T) {
	broken := upstreamDeployment(placed, held, func(obj *unstructured.Unstructured) {
		_ = unstructured.SetNestedMap(obj.Object, map[string]any{"x": int64(1)}, "metadata", "annotations")
	})
	if _, err := Evaluate(inputOf(broken, nil), nil); err == nil || !strings.Contains(err.Error(), "transforming for cluster east") {
		t.Errorf("got %v", err)
	}
	need := []Need{{Input: inputOf(broken, nil)}}
	if got := evaluated(t, inputOf(upstreamDeployment(placed, held), nil), nil).Decide(Surroundings{Needs: need}); got.Action != Wait {
		t.Errorf("an object that needs it: %s, want %s", got.Action, Wait)
	}
}

// namespaceVerdict is what comes of the namespace that a copy goes to.
type namespaceVerdict struct {
	problem, tolerated string
	awaits             bool
}

func TestEvaluateNamespaceOfCopy(t *testing.T) {
	here := upstreamDeployment(placed, held)
	none, there := (*unstructured.Unstructured)(nil), copyOf(t, here)
	others := copyOf(t, here, annotated(v1alpha1.SourceWorkspaceAnnotation, "other"))
	made, noted := Target{Marked: true, Made: true, Owner: "ws"}, Target{Marked: true, Owner: "ws"}
	taken := Target{Marked: true, Made: true, Owner: "other"}
	exclusive, shared, isolated := v1alpha1.NamespaceModeExclusive, v1alpha1.NamespaceModeShared, v1alpha1.NamespaceModeIsolated
	cases := map[string]struct {
		mode       v1alpha1.NamespaceMode
		target     Target
		downstream *unstructured.Unstructured
		allowed    string
		want       namespaceVerdict
	}{
		"the workspace's own":                                    {exclusive, made, none, "", namespaceVerdict{}},
		"one of which nothing is known":                          {exclusive, Target{}, none, "", namespaceVerdict{}},
		"one without an owner where the copy is already":         {exclusive, Target{Marked: true, Made: true}, there, "", namespaceVerdict{awaits: true}},
		"another workspace's is refused":                         {exclusive, taken, none, "", namespaceVerdict{problem: ReasonTaken, awaits: true}},
		"another workspace's with a copy of the same name":       {exclusive, taken, others, "", namespaceVerdict{problem: ReasonTaken, awaits: true}},
		"another workspace's since they shared it":               {exclusive, taken, there, "", namespaceVerdict{tolerated: ReasonTaken, awaits: true}},
		"another workspace's where they share":                   {shared, taken, none, "", namespaceVerdict{}},
		"another workspace's where each has its own":             {isolated, taken, none, "", namespaceVerdict{problem: ReasonTaken, awaits: true}},
		"an operator's that is noted for the workspace":          {exclusive, noted, none, "", namespaceVerdict{problem: ReasonNotAllowed, awaits: true}},
		"an operator's where they share":                         {shared, noted, none, "", namespaceVerdict{problem: ReasonNotAllowed, awaits: true}},
		"an operator's that is allowed":                          {exclusive, noted, none, "def*", namespaceVerdict{}},
		"an operator's that the cluster was asked for":           {exclusive, Target{Foreign: true}, none, "", namespaceVerdict{problem: ReasonNotAllowed, awaits: true}},
		"an operator's that has the copy already":                {exclusive, noted, there, "", namespaceVerdict{tolerated: ReasonNotAllowed, awaits: true}},
		"one without a mark that has the copy already":           {shared, Target{}, there, "", namespaceVerdict{tolerated: ReasonNotAllowed, awaits: true}},
		"one that was written just now and has the copy already": {shared, Target{Written: true}, there, "", namespaceVerdict{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := inputOf(here, c.downstream)
			in.Target, in.Settings = c.target, &Settings{Rule: v1alpha1.TransformRule{NamespaceMode: c.mode}}
			if c.allowed != "" {
				in.Settings.Allowed = []string{"other", c.allowed}
			}
			e := evaluated(t, in, nil)
			got := namespaceVerdict{awaits: e.AwaitsNamespace}
			if e.Problem != nil {
				got.problem = e.Problem.Reason
				tellsWhatToDo(t, *e.Problem, false)
			}
			if e.Tolerated != nil {
				got.tolerated = e.Tolerated.Reason
				tellsWhatToDo(t, *e.Tolerated, true)
			}
			if got != c.want || (e.Desired == nil) != (e.Problem != nil) {
				t.Errorf("got %+v, want %+v; desired %t", got, c.want, e.Desired != nil)
			}
		})
	}
}

// tellsWhatToDo fails the test unless a problem with a namespace says what to do, and does not say whose it is.
func tellsWhatToDo(t *testing.T, problem protocol.Problem, keptUp bool) {
	t.Helper()
	words := map[string][]string{
		ReasonTaken:      {"namespace default", "another workspace's", "use another namespace", "namespaceMode: Isolated"},
		ReasonNotAllowed: {"namespace default", "was not made by tmc", "use another namespace", "add default to spec.allowedNamespaces of ClusterRegistration east"},
	}[problem.Reason]
	for _, word := range words {
		if !strings.Contains(problem.Message, word) || problem.Concerns != "" {
			t.Errorf("%+v does not say %q", problem, word)
		}
	}
	if strings.Contains(strings.ReplaceAll(problem.Message, "another", ""), "other") {
		t.Errorf("%q says whose it is", problem.Message)
	}
	if strings.Contains(problem.Message, "kept up, but nothing new comes in") != keptUp {
		t.Errorf("%q, kept up %t", problem.Message, keptUp)
	}
}

// TestEvaluateOnce changes one thing after the other and says whether the copy is made anew, and whether all of the evaluation is.
func TestEvaluateOnce(t *testing.T) {
	overridden := annotated(v1alpha1.OverrideAnnotation("east"), `[{"op":"add","path":"/spec/x","value":1}]`)
	failing := annotated(v1alpha1.OverrideAnnotation("east"), `[{"op":"remove","path":"/spec/none"}]`)
	config := func(options ...option) *unstructured.Unstructured {
		return upstreamDeployment(append([]option{asSecret, generation(0), placed, held}, options...)...)
	}
	data := func(obj *unstructured.Unstructured) { obj.Object["data"] = map[string]any{"a": "b"} }
	here := func(options ...option) *unstructured.Unstructured {
		return upstreamDeployment(append([]option{placed, held}, options...)...)
	}
	same := here()
	in := func(upstreamObj *unstructured.Unstructured, options ...option) Input {
		return inputOf(upstreamObj, copyOf(t, same, options...))
	}
	with := func(in Input, change func(*Input)) Input {
		change(&in)
		return in
	}
	version := func(obj *unstructured.Unstructured) { obj.SetResourceVersion("2") }
	cases := map[string]struct {
		first, second       Input
		sameAll, sameMaking bool
	}{
		"nothing has changed":                      {in(same), in(same), true, true},
		"a status":                                 {in(here()), in(here(), withStatus(map[string]any{"replicas": int64(1)}), version), true, true},
		"our report":                               {in(here()), in(here(version, reported("Available", 1))), true, true},
		"its part of the partition":                {in(here()), in(here(annotated(v1alpha1.PartitionAnnotation("east"), "1/2"))), false, false},
		"another cluster's share":                  {in(here()), in(here(annotated(v1alpha1.ReplicasAnnotation("west"), "3"))), true, true},
		"an override that fails again":             {in(here(failing)), in(here(failing, reported("Available", 1))), true, true},
		"the copy comes":                           {inputOf(here(), nil), in(here()), false, true},
		"the copy goes":                            {in(here(overridden)), inputOf(here(overridden), nil), false, true},
		"the copy drifts":                          {in(here(overridden)), in(here(overridden), drifted), false, true},
		"the copy ends":                            {in(here(overridden)), in(here(overridden), deleting), false, true},
		"a label of the copy":                      {in(here(overridden)), in(here(overridden), labelled("x")), false, true},
		"an annotation of the copy":                {in(here(overridden)), in(here(overridden), annotated("x", "y")), false, true},
		"an override that fails over another copy": {in(here(failing)), in(here(failing), drifted), false, true},
		"the namespace":                            {in(here(overridden)), with(in(here(overridden)), func(in *Input) { in.Target.Owner = "x" }), false, true},
		"another override":                         {in(here(overridden)), in(here(failing)), false, false},
		"no override any more":                     {in(here(overridden)), in(here()), false, false},
		"another label": {in(here(overridden)), in(here(overridden, labelled(v1alpha1.PlacementLabel("east")), func(obj *unstructured.Unstructured) {
			obj.SetLabels(map[string]string{v1alpha1.PlacementLabel("east"): "sync", "a": "b"})
		})), false, false},
		"another annotation":                           {in(here(overridden)), in(here(overridden, annotated("a", "b"))), false, false},
		"another generation":                           {in(here(overridden)), in(here(overridden, generation(2))), false, false},
		"another object of the same name":              {in(here(overridden)), in(here(overridden, func(obj *unstructured.Unstructured) { obj.SetUID("v") })), false, false},
		"other settings":                               {in(here(overridden)), with(in(here(overridden)), func(in *Input) { in.Settings = &Settings{Rule: v1alpha1.TransformRule{NamespacePrefix: "p-"}} }), false, false},
		"somebody scales the copy":                     {in(here(overridden)), with(in(here(overridden), scaledBy("kubectl", 7)), func(*Input) {}), false, false},
		"the content of a kind without generation":     {inputOf(config(overridden), nil), inputOf(config(overridden, data), nil), false, false},
		"a field of a kind without generation goes":    {inputOf(config(overridden, data), nil), inputOf(config(overridden), nil), false, false},
		"a version alone of a kind without generation": {inputOf(config(data), nil), inputOf(config(data, version), nil), true, true},
		"the report of a Job":                          {inputOf(here(asJob), nil), inputOf(here(asJob, reported("Complete", 1)), nil), false, true},
		"the object goes":                              {in(here()), in(nil), false, false},
		"the object comes":                             {in(nil), in(here()), false, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			// The copy is made anew where the fields say so, and is otherwise the very same one.
			first := evaluated(t, c.first, nil)
			second := evaluated(t, c.second, first)
			if made := second.Desired != first.Desired || !errors.Is(second.failure, first.failure); made == c.sameMaking {
				t.Errorf("made anew: %t, want %t", made, !c.sameMaking)
			}
			if got := first.isSame(c.second); got != c.sameAll {
				t.Errorf("evaluated anew: %t, want %t", !got, !c.sameAll)
			}
			fresh := evaluated(t, c.second, nil)
			if fresh.Difference != second.Difference || fresh.Current != second.Current || (fresh.Problem == nil) != (second.Problem == nil) || second.Upstream != c.second.Upstream {
				t.Errorf("got %s, want %s as without a memory", second.Difference, fresh.Difference)
			}
		})
	}
}

func TestForget(t *testing.T) {
	here := upstreamDeployment(placed, held)
	overridden := upstreamDeployment(placed, held, annotated(v1alpha1.OverrideAnnotation("east"), `[]`))
	job := upstreamDeployment(asJob, placed, held, reported("Complete", 1))
	cases := map[string]struct {
		in   Input
		want bool
	}{
		"what is about to be applied is kept":               {inputOf(here, nil), true},
		"what was applied is forgotten":                     {inputOf(here, copyOf(t, here)), false},
		"what was applied with an override is kept":         {inputOf(overridden, copyOf(t, overridden)), true},
		"a Job that is not run again is forgotten":          {inputOf(job, nil), false},
		"there is nothing to forget of what is not seen":    {inputOf(nil, nil), false},
		"there is nothing to forget of what cannot be made": {inputOf(upstreamDeployment(placed, held, annotated(v1alpha1.ReplicasAnnotation("east"), "x")), nil), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e := evaluated(t, c.in, nil)
			if got := e.Forget(); (got.Desired != nil) != c.want || got.Difference != e.Difference {
				t.Errorf("has a copy: %t, want %t", got.Desired != nil, c.want)
			}
		})
	}
}

func TestSameUpstream(t *testing.T) {
	base := upstreamDeployment(placed, held, annotated("note", "hi"))
	cases := map[string]struct {
		change option
		same   bool
	}{
		"our own report":                    {annotated(v1alpha1.StatusAnnotation("east"), "{}"), true},
		"another's report":                  {annotated(v1alpha1.StatusAnnotation("west"), "{}"), true},
		"another's deletion":                {annotated(v1alpha1.DeletionAnnotation("west"), "2026-01-01T00:00:00Z"), true},
		"our own deletion":                  {annotated(v1alpha1.DeletionAnnotation("east"), "2026-01-01T00:00:00Z"), false},
		"a user's annotation":               {annotated("note", "bye"), false},
		"a user's label":                    {labelled("app"), false},
		"a generation":                      {generation(2), false},
		"another object":                    {func(o *unstructured.Unstructured) { o.SetUID("other") }, false},
		"a deletion":                        {deleting, false},
		"a deletion that somebody holds up": {deletingBy("example.com/drain"), false},
		"our own finalizer is lost":         {func(o *unstructured.Unstructured) { o.SetFinalizers(nil) }, false},
		"another's finalizer": {func(o *unstructured.Unstructured) {
			o.SetFinalizers(append(slices.Clone(o.GetFinalizers()), v1alpha1.Finalizer("west")))
		}, true},
		"content without a generation": {func(o *unstructured.Unstructured) {
			o.SetGeneration(0)
			o.Object["data"] = map[string]any{"key": "value"}
		}, false},
		"a resource version": {func(o *unstructured.Unstructured) { o.SetResourceVersion("99") }, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			changed := base.DeepCopy()
			c.change(changed)
			if got := SameUpstream(base, changed, "east"); got != c.same {
				t.Errorf("same: %t, want %t", got, c.same)
			}
		})
	}
	t.Run("somebody lets go of what is being deleted", func(t *testing.T) {
		kept := upstreamDeployment(placed, held, deletingBy("example.com/drain", "example.com/other"))
		left := upstreamDeployment(placed, held, deletingBy("example.com/other"))
		if !SameUpstream(kept, left, "east") || SameUpstream(left, upstreamDeployment(placed, held, deleting), "east") {
			t.Error("the last of them counts, and no other")
		}
	})
}

// scaledBy has the replicas set through the scale subresource.
func scaledBy(manager string, replicas int64) option {
	return func(obj *unstructured.Unstructured) {
		obj.Object["spec"] = map[string]any{"replicas": replicas}
		obj.SetManagedFields([]metav1.ManagedFieldsEntry{{
			Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, Subresource: "scale", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:replicas":{}}}`),
		}})
	}
}
