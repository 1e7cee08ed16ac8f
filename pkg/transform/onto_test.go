package transform

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
)

// tended is a copy on a server, and what kcp wants of it.
type tended struct {
	server

	upstream *unstructured.Unstructured
	merged   []kinds.Path
	writes   int
}

func newTended(t *testing.T, upstream string) *tended {
	t.Helper()
	obj := object(t, upstream)
	p := &tended{server: newServer(t, obj.GroupVersionKind()), upstream: obj, merged: kinds.Kinds{}.Of(obj.GroupVersionKind().GroupKind()).Merged}
	p.apply(desiredOf(t, obj))
	return p
}

// in has the upstream object changed, or leaves it where change is nil.
func (p *tended) in(t *testing.T, change func(obj *unstructured.Unstructured)) {
	t.Helper()
	if change != nil {
		p.upstream.SetGeneration(p.upstream.GetGeneration() + 1)
		change(p.upstream)
	}
}

// turn brings the copy up to date as a syncer does, and returns it.
func (p *tended) turn(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	for range 3 {
		live := p.live()
		onto := Onto(desiredOf(t, p.upstream), live, p.merged)
		if IsInSync(onto, live) {
			return live
		}
		p.writes++
		p.apply(onto)
	}
	t.Fatal("it does not come to rest")
	return nil
}

func setting(path string, value any) func(obj *unstructured.Unstructured) {
	return func(obj *unstructured.Unstructured) {
		if err := unstructured.SetNestedField(obj.Object, value, strings.Split(path, ".")...); err != nil {
			panic(err)
		}
	}
}

// step is one of a sequence: who changes what, how many writes of ours follow, and what the copy has then.
type step struct {
	name     string
	upstream func(obj *unstructured.Unstructured)
	cluster  func(obj *unstructured.Unstructured)
	writes   int
	want     string
}

func (p *tended) goThrough(t *testing.T, steps []step, field ...string) {
	t.Helper()
	for _, s := range steps {
		p.in(t, s.upstream)
		if s.cluster != nil {
			p.update(s.cluster)
		}
		p.writes = 0
		got := child(p.turn(t).Object, field...)
		want := parsed(t, s.want)
		for name := range got {
			if _, isWanted := want[name]; !isWanted {
				delete(got, name)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || p.writes != s.writes {
			t.Errorf("%s: %d writes, want %d; (-want +got):\n%s", s.name, p.writes, s.writes, diff)
		}
	}
}

const queuedJob = `{apiVersion: batch/v1, kind: Job, metadata: {name: j, namespace: default, labels: {kueue.x-k8s.io/queue-name: team}},
	spec: {suspend: true, parallelism: 3, template: {metadata: {labels: {a: b}}, spec: {restartPolicy: Never, nodeSelector: {zone: a, disk: ssd}, tolerations: [{key: mine}], containers: [{name: main, image: i}]}}}}`

func TestOntoQueuedJob(t *testing.T) {
	p := newTended(t, queuedJob)
	p.goThrough(t, []step{
		{"it goes down as the user has it", nil, nil, 0, `{suspend: true, parallelism: 3}`},
		{"the queue starts it", nil, setting("spec.suspend", false), 0, `{suspend: false, parallelism: 3}`},
		{"with fewer pods", nil, setting("spec.parallelism", int64(1)), 0, `{suspend: false, parallelism: 1}`},
		{"another change of the user's goes down without them", setting("spec.backoffLimit", int64(7)), nil, 1, `{suspend: false, parallelism: 1, backoffLimit: 7}`},
		{"what the queue does not set is drift", nil, setting("spec.backoffLimit", int64(8)), 1, `{suspend: false, parallelism: 1, backoffLimit: 7}`},
		{"a change of one of them goes down once", setting("spec.parallelism", int64(2)), nil, 1, `{suspend: false, parallelism: 2}`},
		{"and is the queue's again", nil, setting("spec.parallelism", int64(1)), 0, `{suspend: false, parallelism: 1}`},
		{"a new one goes down once", setting("spec.completions", int64(5)), nil, 1, `{suspend: false, parallelism: 1, completions: 5}`},
		{"one that the user takes away goes", func(obj *unstructured.Unstructured) { delete(child(obj.Object, "spec"), "completions") }, nil, 1, `{suspend: false, parallelism: 1}`},
		{"without the mark all of it is drift", func(obj *unstructured.Unstructured) { obj.SetLabels(nil) }, nil, 1, `{suspend: true, parallelism: 2}`},
	}, "spec")
}

func TestOntoQueuedPods(t *testing.T) {
	p := newTended(t, queuedJob)
	p.goThrough(t, []step{
		{"the queue adds a selector", nil, setting("spec.template.spec.nodeSelector.pool", "x"), 0, `{nodeSelector: {zone: a, disk: ssd, pool: x}}`},
		{"and changes one", nil, setting("spec.template.spec.nodeSelector.zone", "b"), 0, `{nodeSelector: {zone: b, disk: ssd, pool: x}}`},
		{"it adds a toleration", nil, setting("spec.template.spec.tolerations", []any{map[string]any{"key": "mine"}, map[string]any{"key": "theirs"}}), 0, `{tolerations: [{key: mine}, {key: theirs}]}`},
		{"a change of something else takes nothing away", setting("spec.backoffLimit", int64(7)), nil, 1, `{nodeSelector: {zone: b, disk: ssd, pool: x}, tolerations: [{key: mine}, {key: theirs}]}`},
		{"the image is ours", nil, func(obj *unstructured.Unstructured) {
			children(child(obj.Object, "spec", "template", "spec"), "containers")[0]["image"] = "x"
		}, 1, `{containers: [{name: main, image: i}]}`},
	}, "spec", "template", "spec")
}

func TestOntoYieldAnnotation(t *testing.T) {
	p := newTended(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: default, annotations: {tmc.kcp.io/yield: "spec.paused, spec.template.spec.containers[].image,spec.template.spec.nodeSelector,metadata.labels.tier"}, labels: {tier: a}},
		spec: {paused: false, template: {spec: {nodeSelector: {a: b}, containers: [{name: main, image: i, args: [x]}, {name: side, image: j}]}}}}`)
	containers := func(obj *unstructured.Unstructured) []map[string]any {
		return children(child(obj.Object, "spec", "template", "spec"), "containers")
	}
	p.goThrough(t, []step{
		{"an image is the cluster's", nil, func(obj *unstructured.Unstructured) { containers(obj)[1]["image"] = "theirs" }, 0, `{containers: [{name: main, image: i, args: [x]}, {name: side, image: theirs}]}`},
		{"what is beside it is not", nil, func(obj *unstructured.Unstructured) { containers(obj)[0]["args"] = []any{"y"} }, 1, `{containers: [{name: main, image: i, args: [x]}, {name: side, image: theirs}]}`},
		{"a map of which nothing is left is left alone", nil, setting("spec.template.spec.nodeSelector", map[string]any{"c": "d"}), 0, `{nodeSelector: {c: d}}`},
		{"also at the next change", setting("spec.paused", true), nil, 1, `{nodeSelector: {c: d}, containers: [{name: main, image: i, args: [x]}, {name: side, image: theirs}]}`},
	}, "spec", "template", "spec")
	p.goThrough(t, []step{{"a label is the cluster's", nil, setting("metadata.labels.tier", "b"), 0, `{tier: b}`}}, "metadata", "labels")
}

func TestOntoYieldedLists(t *testing.T) {
	p := newTended(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: default, annotations: {tmc.kcp.io/yield: "spec.template.spec.containers,spec.template.spec.hostAliases,spec.strategy"}},
		spec: {strategy: {rollingUpdate: {maxSurge: 1}}, template: {spec: {hostAliases: [{ip: a, hostnames: [x]}], containers: [{name: main, image: i}, {name: side, image: j}]}}}}`)
	spec := func(obj *unstructured.Unstructured) map[string]any {
		return child(obj.Object, "spec", "template", "spec")
	}
	p.goThrough(t, []step{
		{"a field of an item", nil, func(obj *unstructured.Unstructured) { children(spec(obj), "containers")[0]["image"] = "x" }, 0, `{containers: [{name: main, image: x}, {name: side, image: j}]}`},
		{"an item goes", nil, func(obj *unstructured.Unstructured) {
			spec(obj)["containers"] = []any{children(spec(obj), "containers")[0]}
		}, 0, `{containers: [{name: main, image: x}]}`},
		{"a list goes", nil, func(obj *unstructured.Unstructured) { delete(spec(obj), "hostAliases") }, 0, `{containers: [{name: main, image: x}]}`},
	}, "spec", "template", "spec")
	p.goThrough(t, []step{{"the last of a map goes", nil, setting("spec.strategy", map[string]any{"type": "Recreate"}), 0, `{strategy: {type: Recreate}}`}}, "spec")
}

// TestOntoOlderCopy is about a copy that was made before it was noted what it yields.
func TestOntoOlderCopy(t *testing.T) {
	p := newTended(t, strings.Replace(queuedJob, "{kueue.x-k8s.io/queue-name: team}", "{}", 1))
	p.goThrough(t, []step{
		{"a mark that comes later gives up what was taken", func(obj *unstructured.Unstructured) {
			obj.SetLabels(map[string]string{"kueue.x-k8s.io/queue-name": "team"})
		}, setting("spec.suspend", false), 1, `{suspend: false, parallelism: 3}`},
	}, "spec")
}

func TestYieldedIsRefused(t *testing.T) {
	obj := object(t, `{apiVersion: batch/v1, kind: Job, metadata: {name: j, annotations: {tmc.kcp.io/yield: "spec"}}, spec: {}}`)
	if _, err := Desired(inputOf(obj, v1alpha1.TransformRule{})); err == nil || !errors.As(err, new(*kinds.YieldError)) {
		t.Errorf("got %v", err)
	}
}

func names(entries ...string) []any {
	list := []any{}
	for _, entry := range entries {
		list = append(list, map[string]any{"name": entry})
	}
	return list
}

func TestOntoMergedLists(t *testing.T) {
	const account = `{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot, namespace: default}, imagePullSecrets: [{name: ours}]}`
	pull := func(entries ...string) func(obj *unstructured.Unstructured) {
		return setting("imagePullSecrets", names(entries...))
	}
	none := func(obj *unstructured.Unstructured) { delete(obj.Object, "imagePullSecrets") }
	lists := func(entries string) string { return `{imagePullSecrets: [` + entries + `]}` }
	cases := map[string]struct {
		account string
		steps   []step
	}{
		"others add, and take away": {account, []step{
			{"nothing is theirs", nil, nil, 0, lists(`{name: ours}`)},
			{"they add one", nil, pull("ours", "theirs"), 1, lists(`{name: ours}, {name: theirs}`)},
			{"and another before", nil, pull("first", "ours", "theirs"), 1, lists(`{name: first}, {name: ours}, {name: theirs}`)},
			{"they take ours", nil, pull("first", "theirs"), 1, lists(`{name: ours}, {name: first}, {name: theirs}`)},
			{"they take one of theirs away", nil, pull("ours", "theirs"), 1, lists(`{name: ours}, {name: theirs}`)},
			{"they take the last of theirs away", nil, pull("ours"), 1, lists(`{name: ours}`)},
		}},
		"kcp changes": {account, []step{
			{"they add one", nil, pull("ours", "theirs"), 1, lists(`{name: ours}, {name: theirs}`)},
			{"kcp adds one", pull("ours", "more"), nil, 1, lists(`{name: ours}, {name: more}, {name: theirs}`)},
			{"kcp takes one away", pull("more"), nil, 1, lists(`{name: more}, {name: theirs}`)},
			{"kcp takes its last away", none, nil, 1, lists(`{name: theirs}`)},
			{"they add one again", nil, pull("theirs", "again"), 1, `{}`},
			{"kcp has one again", pull("ours"), nil, 1, lists(`{name: ours}, {name: theirs}, {name: again}`)},
		}},
		"what is whose cannot be told": {account, []step{
			{"they add one while kcp takes one away", pull("new"), pull("ours", "theirs"), 1, lists(`{name: new}, {name: ours}, {name: theirs}`)},
		}},
		"kcp has none": {`{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot, namespace: default}}`, []step{
			{"theirs is theirs", nil, pull("theirs"), 0, lists(`{name: theirs}`)},
			{"kcp has one", pull("ours"), nil, 1, lists(`{name: ours}, {name: theirs}`)},
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := newTended(t, c.account)
			p.goThrough(t, c.steps)
		})
	}
}

func TestOntoNothing(t *testing.T) {
	desired := desiredOf(t, object(t, `{apiVersion: v1, kind: ServiceAccount, imagePullSecrets: [{name: ours}]}`))
	unowned := &unstructured.Unstructured{Object: map[string]any{}}
	unowned.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "ServiceAccount"})
	for way, live := range map[string]*unstructured.Unstructured{"nothing": nil, "what nobody owns": unowned} {
		if got := Onto(desired, live, []kinds.Path{{"imagePullSecrets"}}); got != desired {
			t.Errorf("onto %s goes %v", way, got)
		}
	}
}
