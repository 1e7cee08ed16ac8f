package kinds

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const rolloutEntry = `
- group: argoproj.io
  kind: Rollout
  version: v1alpha1
  resource: rollouts
  workload: true
  replicas: spec.replicas
  partition: spec.strategy.canary.partition
  available: availableReplicas
  sums: [replicas, readyReplicas, availableReplicas]
  updated: [updatedReplicas]
  observes: Never
  conditions:
  - {type: Progressing, failure: true, merge: Progressing}
  - {type: Paused, meaning: Ongoing}
  - {type: InvalidSpec, meaning: Bad, failure: true, merge: WhenTrue}
  updateTimes: true
  times: [{field: restartedAt}]
  ttl: spec.ttl
  ends: [Done]
  alike: [{field: version}, {field: sizes, of: Amounts}, {field: modes, of: Texts}]
  boundTo: spec.volume
  phase: {field: phase, anywhere: Degraded, everywhere: Healthy, otherwise: Progressing}
  references: [{path: "spec.secrets[].name", resource: secrets, optional: true}]
  followedBy: [{path: spec.strategy.canary.stableService, resource: services}]
  follows: {selector: {path: spec.selector, absentSelectsAll: true}}
  owned:
  - {path: 'metadata.annotations.rollout\.argoproj\.io/revision'}
  - {path: spec.address, keep: [None], unless: {path: spec.manual, equals: "true"}}
`

func TestParse(t *testing.T) {
	rollout := schema.GroupKind{Group: "argoproj.io", Kind: "Rollout"}
	own, err := Parse("kinds.yaml", []byte(rolloutEntry))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("an entry is what the file says", func(t *testing.T) {
		want := &Kind{
			Group: "argoproj.io", Kind: "Rollout", Version: "v1alpha1", Resource: "rollouts", Workload: true,
			Replicas: Path{"spec", "replicas"}, Partition: Path{"spec", "strategy", "canary", "partition"}, Available: "availableReplicas",
			Sums: []string{"replicas", "readyReplicas", "availableReplicas"}, Updated: []string{"updatedReplicas"},
			Observes: NeverObserves, UpdateTimes: true,
			Conditions: []Condition{
				{Type: "Progressing", Failure: true, Merge: MergeProgressing},
				{Type: "Paused", Meaning: Ongoing},
				{Type: "InvalidSpec", Meaning: Bad, Failure: true, Merge: MergeWhenTrue},
			},
			Ends: []string{"Done"}, TTL: Path{"spec", "ttl"},
			Alike:      []Alike{{Field: "version"}, {Field: "sizes", Of: AlikeAmounts}, {Field: "modes", Of: AlikeTexts}},
			BoundTo:    Path{"spec", "volume"},
			Times:      []Time{{Field: "restartedAt"}},
			Phase:      &Phase{Field: "phase", Anywhere: "Degraded", Everywhere: "Healthy", Otherwise: "Progressing"},
			References: []Reference{{Path: Path{"spec", "secrets", Items, "name"}, Resource: "secrets", Optional: true}},
			FollowedBy: []Reference{{Path: Path{"spec", "strategy", "canary", "stableService"}, Resource: "services"}},
			Follows:    &Follows{Selector: Selector{Path: Path{"spec", "selector"}, AbsentSelectsAll: true}},
			Owned: []Owned{
				{Path: Path{"metadata", "annotations", "rollout.argoproj.io/revision"}},
				{Path: Path{"spec", "address"}, Keep: []string{"None"}, Unless: &Value{Path: Path{"spec", "manual"}, Equals: "true"}},
			},
		}
		if diff := cmp.Diff(want, own.Of(rollout), cmpopts.IgnoreUnexported(Kind{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestParseBesideTheTable(t *testing.T) {
	rollout := schema.GroupKind{Group: "argoproj.io", Kind: "Rollout"}
	own, err := Parse("kinds.yaml", []byte(rolloutEntry))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("an entry is a workload, shown behind the built-in ones", func(t *testing.T) {
		workloads := own.Workloads()
		if last := workloads[len(workloads)-1]; len(workloads) != 6 || last.Kind != "Rollout" || !own.IsWorkload(rollout) {
			t.Errorf("%d workloads, the last one %s", len(workloads), last.Kind)
		}
	})
	t.Run("the built-in kinds are as before", func(t *testing.T) {
		if own.Of(deployment) != (Kinds{}).Of(deployment) {
			t.Error("there is another entry for Deployments")
		}
	})
	t.Run("an entry takes the place of a built-in one", func(t *testing.T) {
		own, err := Parse("f", []byte("[{group: batch, kind: CronJob}]"))
		if err != nil || own.IsWorkload(schema.GroupKind{Group: "batch", Kind: "CronJob"}) || len(own.Workloads()) != 4 {
			t.Errorf("%v; workloads: %d", err, len(own.Workloads()))
		}
	})
	t.Run("an empty file has no entries", func(t *testing.T) {
		if own, err := Parse("f", nil); err != nil || len(own.own) > 0 {
			t.Errorf("%v, %v", own, err)
		}
	})
}

func TestParseErrors(t *testing.T) {
	cases := map[string]struct{ content, want string }{
		"no list":                       {`kind: A`, `f.yaml: expected a YAML list of kinds: `},
		"no YAML":                       {`- [`, `f.yaml: expected a YAML list of kinds: `},
		"a field twice":                 {"- kind: A\n  kind: B", `key "kind" already set`},
		"an item that is no object":     {`[7]`, `f.yaml: entry 1 (of no kind): : 7, expected an object with fields`},
		"an unknown field":              {`[{kind: A}, {group: example.com, kind: B, sumz: [a]}]`, `f.yaml: entry 2 (B.example.com): sumz: there is no such field, expected one of absolute, addresses, adoption, alike, available, `},
		"an unknown field within":       {`[{kind: A, conditions: [{type: Ready}, {tpye: Ready}]}]`, `conditions[1].tpye: there is no such field, expected one of causes, failure, meaning, merge, type`},
		"a text in place of a list":     {`[{kind: A, sums: replicas}]`, `f.yaml: entry 1 (A): sums: replicas, expected a list`},
		"a text in place of true":       {`[{kind: A, workload: "yes"}]`, `workload: yes, expected true or false`},
		"a number in place of a text":   {`[{kind: A, wanted: 7}]`, `wanted: 7, expected a text`},
		"a meaning that there is not":   {`[{kind: A, conditions: [{type: T, meaning: Worse}]}]`, `conditions[0].meaning: "Worse", expected one of ["" "Bad" "Reached" "Ongoing"]`},
		"a path that is none":           {`[{kind: A, available: a, replicas: spec..replicas}]`, `replicas: "spec..replicas" is no path, expected names joined by dots`},
		"a path that is a list":         {`[{kind: A, available: a, replicas: [spec]}]`, `replicas: [spec], expected a text`},
		"no kind":                       {`[{group: example.com}]`, `f.yaml: entry 1 (of no kind): kind: it is missing, expected the name of a kind`},
		"a group that is none":          {`[{kind: A, group: "No Group"}]`, `group: "No Group" is no API group, expected a domain`},
		"a workload without a resource": {`[{kind: A, workload: true}]`, `version and resource: they are missing`},
		"nothing available":             {`[{kind: A, replicas: spec.replicas}]`, `available: it is missing`},
		"two sources":                   {`[{kind: A, available: a, replicas: spec.replicas, wanted: w}]`, `replicas, completions, wanted: expected one of them at most`},
		"replicas in a list":            {`[{kind: A, available: a, replicas: "spec.pools[].replicas"}]`, `replicas, partition, completions: expected the path of one field`},
		"a partition of nothing":        {`[{kind: A, partition: spec.partition}]`, `partition: it is divided with the replicas, expected replicas as well`},
		"a gap beside replicas":         {`[{kind: A, available: a, replicas: spec.replicas, gap: {has: a, of: b}}]`, `gap: expected has and of, two counters, and no replicas`},
		"a gap to nothing":              {`[{kind: A, gap: {has: a}}]`, `gap: expected has and of`},
		"alike in nothing":              {`[{kind: A, alike: [{of: Texts}]}]`, `alike[0].field: it is missing`},
		"bound to what is in the depth": {`[{kind: A, boundTo: spec.a.b}]`, `boundTo: expected a field of the spec`},
		"an end that never comes":       {`[{kind: A, ttl: spec.ttl}]`, `ttl: expected the path of one field, and conditions in ends`},
		"a condition without a type":    {`[{kind: A, conditions: [{meaning: Bad}]}]`, `conditions[0].type: it is missing`},
		"a phase of nothing":            {`[{kind: A, phase: {field: phase}}]`, `phase: expected field, everywhere and otherwise`},
		"a reference to nothing":        {`[{kind: A, follows: {names: [{path: spec.a}]}}]`, `follows.names[0]: expected path and resource`},
		"all of the spec":               {`[{kind: A, owned: [{path: spec}]}]`, `owned[0].path: "spec", expected the path of one field`},
		"unless nothing":                {`[{kind: A, owned: [{path: spec.a, unless: {equals: "true"}}]}]`, `owned[0].unless.path: it is missing`},
		"all of the spec is shared":     {`[{kind: A, merged: [spec]}]`, `merged[0]: "spec", expected the path of one list`},
		"yields without marks":          {`[{kind: A, yields: [{paths: [spec.a]}]}]`, `yields[0]: expected marks and paths`},
		"a mark in a list":              {`[{kind: A, yields: [{marks: [{path: "spec.a[]"}], paths: [spec.a]}]}]`, `yields[0].marks[0].path: expected the path of one field`},
		"yields a status":               {`[{kind: A, yields: [{marks: [{path: spec.a}], paths: [status.a]}]}]`, `yields[0].paths[0]: "status.a", expected the path of a field within spec`},
		"a kind twice":                  {`[{kind: A}, {kind: A}]`, `f.yaml: entry 2 (A): kind: there is an entry for it already`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			own, err := Parse("f.yaml", []byte(tc.content))
			if err == nil || !strings.Contains(err.Error(), tc.want) || len(own.own) > 0 {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestParsePath(t *testing.T) {
	for _, text := range []string{"spec.replicas", "spec.tls[].secretName", `metadata.annotations.example\.com/key`, "a[].b[]"} {
		path, err := ParsePath(text)
		if err != nil || path.String() != text {
			t.Errorf("%s is read as %q: %v", text, path, err)
		}
	}
	for _, text := range []string{"", ".spec", "a[]b", "[].a"} {
		if path, err := ParsePath(text); err == nil {
			t.Errorf("%q is read as %q", text, path)
		}
	}
	if err := new(Path).UnmarshalJSON([]byte("7")); err == nil {
		t.Error("7 is a path")
	}
}

func TestPathIn(t *testing.T) {
	content := map[string]any{"spec": map[string]any{"size": int64(3), "manual": true}}
	for text, want := range map[string]any{"spec.size": int64(3), "spec.manual": true, "spec.a.b": nil, "spec.size.a": nil, "none": nil} {
		if got := path(text).In(content); got != want {
			t.Errorf("%s leads to %v, want %v", text, got, want)
		}
	}
	if got := (Path{}).In(content); got != nil {
		t.Errorf("no path leads to %v", got)
	}
	if parent, name := path("spec.size").Last(); parent.String() != "spec" || name != "size" {
		t.Errorf("it ends with %s in %s", name, parent)
	}
	value := &Value{Path: path("spec.manual"), Equals: "true"}
	if !value.IsIn(content) || value.IsIn(map[string]any{}) {
		t.Error("a value is where it is not, or is not where it is")
	}
}

func TestPathAllIn(t *testing.T) {
	object := map[string]any{"spec": map[string]any{"tls": []any{
		map[string]any{"hosts": []any{"a", "b"}}, map[string]any{}, map[string]any{"hosts": []any{"c"}}, "no object",
	}}}
	for text, want := range map[string][]any{
		"spec.tls[].hosts[]": {"a", "b", "c"},
		"spec.tls[].hosts":   {[]any{"a", "b"}, []any{"c"}},
		"spec.name":          nil,
		"spec[].name":        nil,
	} {
		if diff := cmp.Diff(want, path(text).AllIn(object)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	if got := (Path{}).AllIn("whole"); len(got) != 1 || got[0] != "whole" {
		t.Errorf("of no path: %v", got)
	}
}
