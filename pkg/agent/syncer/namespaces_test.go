package syncer

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-dev/logicalcluster/v3"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/evaluate"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/transform"
	"github.com/kcp-tmc/tmc/pkg/upstream"
)

const removeApp = "remove namespaces /app"

// admission is what comes of a new object that is to go to the namespace app: whether it may, why it may not, how often the
// cluster has been written to, and who owns the namespace then.
type admission struct {
	may    bool
	reason string
	writes int
	owner  string
}

// admitNew has an object of the workspace ws ask for the namespace app: first by what the caches say, then by asking the cluster.
func (h *harness) admitNew(t *testing.T) admission {
	t.Helper()
	key := kcp.ObjectKey{Workspace: "ws", Resource: deployments, Namespace: app, Name: "web"}
	h.kcp.objects[key] = web(placed, held)
	turn := h.turn(t, key)
	if turn.Problem != nil {
		return admission{reason: turn.Problem.Reason, writes: len(h.cluster.writes()), owner: h.cluster.owner()}
	}
	done, may, err := h.admit(t.Context(), turn)
	if err != nil || may == (done.again != 0) {
		t.Fatalf("may %t, again after %s, error %v", may, done.again, err)
	}
	got := admission{may: may, writes: len(h.cluster.writes()), owner: h.cluster.owner()}
	if len(done.problems) > 0 {
		got.reason = done.problems[0].Reason
	}
	return got
}

func TestAdmit(t *testing.T) {
	free, err := transform.FreeNamespace(app, "east", v1alpha1.TransformRule{})
	if err != nil {
		t.Fatal(err)
	}
	ownedBy(free, v1alpha1.FieldManager)
	const notAllowed, taken, ending = evaluate.ReasonNotAllowed, evaluate.ReasonTaken, evaluate.ReasonTerminating
	others := copyOf("other", web(func(obj *unstructured.Unstructured) { obj.SetName("theirs") }))
	mine := copyOf("ws", web(func(obj *unstructured.Unstructured) { obj.SetName("mine") }))
	cases := map[string]struct {
		live, cached, copied *unstructured.Unstructured
		allowed              string
		want                 admission
		// shared is what comes of it where workspaces share namespaces.
		shared admission
	}{
		"there is none":                                {nil, nil, nil, "", admission{true, "", 1, "ws"}, admission{true, "", 1, "ws"}},
		"its own":                                      {madeNamespace("ws"), madeNamespace("ws"), nil, "", admission{true, "", 0, "ws"}, admission{true, "", 0, "ws"}},
		"its own that the cache does not show":         {madeNamespace("ws"), nil, nil, "", admission{true, "", 0, "ws"}, admission{true, "", 0, "ws"}},
		"another's that the cache does not show":       {madeNamespace("other"), nil, nil, "", admission{false, taken, 0, "other"}, admission{true, "", 0, "other"}},
		"another's":                                    {madeNamespace("other"), madeNamespace("other"), nil, "", admission{false, taken, 0, "other"}, admission{true, "", 0, "other"}},
		"one without an owner":                         {free, free, nil, "", admission{true, "", 1, "ws"}, admission{true, "", 0, ""}},
		"one without an owner that has copies":         {free, free, others, "", admission{false, "", 0, ""}, admission{true, "", 0, ""}},
		"one without an owner that has its own copies": {free, free, mine, "", admission{true, "", 1, "ws"}, admission{true, "", 0, ""}},
		"one on its way out":                           {madeNamespace("ws", deleting), nil, nil, "", admission{false, ending, 0, "ws"}, admission{false, ending, 0, "ws"}},
		"one on its way out as the cache says":         {nil, madeNamespace("ws", deleting), nil, "", admission{false, ending, 0, ""}, admission{false, ending, 0, ""}},
		"an operator's":                                {operatorsNamespace(""), nil, nil, "", admission{false, notAllowed, 0, ""}, admission{false, notAllowed, 0, ""}},
		"an operator's that is allowed":                {operatorsNamespace(""), nil, nil, "a*", admission{true, "", 1, "ws"}, admission{true, "", 0, ""}},
		"an operator's where another one is allowed":   {operatorsNamespace(""), nil, nil, "apps", admission{false, notAllowed, 0, ""}, admission{false, notAllowed, 0, ""}},
		"an operator's noted for it before":            {operatorsNamespace("ws"), operatorsNamespace("ws"), nil, "", admission{false, notAllowed, 0, "ws"}, admission{false, notAllowed, 0, "ws"}},
		"an operator's noted for it and allowed":       {operatorsNamespace("ws"), operatorsNamespace("ws"), nil, app, admission{true, "", 0, "ws"}, admission{true, "", 0, "ws"}},
		"one of which somebody says that tmc made it":  {madeNamespace("ws", by("kubectl")), nil, nil, "", admission{false, notAllowed, 0, "ws"}, admission{false, notAllowed, 0, "ws"}},
		"such a one in the cache":                      {madeNamespace("ws", by("kubectl")), madeNamespace("ws", by("kubectl")), nil, "", admission{false, notAllowed, 0, "ws"}, admission{false, notAllowed, 0, "ws"}},
	}
	for name, c := range cases {
		for mode, want := range map[v1alpha1.NamespaceMode]admission{v1alpha1.NamespaceModeExclusive: c.want, v1alpha1.NamespaceModeShared: c.shared} {
			t.Run(name+" "+string(mode), func(t *testing.T) {
				h := newHarness(t, newFakeCluster(withoutNil(c.live)...), mode).cache(t, withoutNil(c.cached, c.copied)...)
				h.SetAllowed([]string{c.allowed})
				if got := h.admitNew(t); got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
				calls := len(h.cluster.calls)
				if got := h.admitNew(t); got != want {
					t.Errorf("again: got %+v, want %+v", got, want)
				}
				if c.live != nil && c.live.GetDeletionTimestamp() == nil && want.reason != taken && len(h.cluster.calls) != calls {
					t.Errorf("the cluster was asked again a moment later: %v", h.cluster.calls)
				}
			})
		}
	}
}

// TestAdmitOneOfTwo has two workspaces ask at the same instant, each in two processes. More than one may try to write, having
// read before another wrote: of their writes one comes about.
func TestAdmitOneOfTwo(t *testing.T) {
	for name, present := range map[string]*unstructured.Unstructured{"there is none": nil, "an operator's": operatorsNamespace("")} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				c := newFakeCluster(withoutNil(present)...)
				before := c.version
				in := admitAtOnce(t, c, "a", "b", "a", "b")
				if in[0] != in[2] || in[1] != in[3] || in[0] == in[1] || c.version != before+1 {
					t.Fatalf("in: %v, after %d stored of %v; want one workspace's in, after one", in, c.version-before, c.writes())
				}
			}
		})
	}
}

// admitAtOnce has an object of each of the workspaces ask for the namespace app at once, each in a process of its own.
func admitAtOnce(t *testing.T, c *fakeCluster, workspaces ...logicalcluster.Name) []bool {
	t.Helper()
	in := make([]bool, len(workspaces))
	var running sync.WaitGroup
	for i, workspace := range workspaces {
		h := newHarness(t, c, v1alpha1.NamespaceModeExclusive)
		key := kcp.ObjectKey{Workspace: workspace, Resource: deployments, Namespace: app, Name: "web"}
		h.kcp.objects[key] = web(placed, held)
		turn := h.turn(t, key)
		running.Go(func() {
			err := errStale
			for errors.Is(err, errStale) {
				_, in[i], err = h.admit(context.Background(), turn)
			}
			in[i] = in[i] && err == nil
		})
	}
	running.Wait()
	return in
}

func TestAdmitFails(t *testing.T) {
	conflict := apierrors.NewConflict(v1alpha1.NamespacesResource.GroupResource(), app, errors.New("it has changed"))
	cases := map[string]struct {
		live    *unstructured.Unstructured
		prepare func(h *harness)
		want    error
	}{
		"the namespace changes meanwhile":        {operatorsNamespace(""), func(h *harness) { h.cluster.beforeApply = func() { h.cluster.store(operatorsNamespace("other")) } }, errStale},
		"somebody makes the namespace meanwhile": {nil, func(h *harness) { h.cluster.beforeApply = func() { h.cluster.store(operatorsNamespace("")) } }, errStale},
		"the cluster says that it has changed":   {nil, func(h *harness) { h.cluster.errs[applyApp] = conflict }, errStale},
		"the cluster does not answer":            {nil, func(h *harness) { h.cluster.errs["live namespaces /app"] = errAway }, errAway},
		"kcp does not answer":                    {nil, func(h *harness) { h.kcp.liveErr = errAway }, errAway},
		"the rule changes meanwhile":             {nil, func(h *harness) { h.kcp.liveErr = nil; h.SetRule(v1alpha1.TransformRule{NamespacePrefix: "p-"}) }, errStale},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(withoutNil(c.live)...), v1alpha1.NamespaceModeExclusive)
			turn := h.turn(t, h.place(web(placed, held)))
			c.prepare(h)
			if _, may, err := h.admit(t.Context(), turn); may || !errors.Is(err, c.want) {
				t.Errorf("may %t, error %v, want %v", may, err, c.want)
			}
		})
	}
	t.Run("the turn is taken again", func(t *testing.T) {
		h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
		h.cluster.errs[applyApp] = conflict
		key := h.place(web(placed, held))
		if _, err := h.spec(t, key); !errors.Is(err, errStale) {
			t.Errorf("got %v", err)
		}
	})
}

// TestAdmitWithoutClaim has a workspace that was bound before tmc asked for its namespaces.
func TestAdmitWithoutClaim(t *testing.T) {
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
	h.kcp.liveErr = apierrors.NewForbidden(v1alpha1.NamespacesResource.GroupResource(), app, errors.New("no claim"))
	if got := h.admitNew(t); !got.may {
		t.Errorf("got %+v", got)
	}
}

// TestAdmitMeetsAStartingKCP has kcp answer as it does of namespaces that it does not show, for it has only just started: the
// namespace would be made without what its user chose for it.
func TestAdmitMeetsAStartingKCP(t *testing.T) {
	for _, answer := range []error{apierrors.NewForbidden(v1alpha1.NamespacesResource.GroupResource(), app, errors.New("access denied")), errStarting, upstream.ErrUnknownWorkspace} {
		h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
		h.kcp.liveErr, h.kcp.pathErr = answer, errAway
		if _, err := h.desiredNamespace(t.Context(), "ws", app); !errors.Is(err, answer) {
			t.Errorf("kcp says %v, and that ends with %v", answer, err)
		}
		h.kcp.pathErr = nil
		if _, err := h.desiredNamespace(t.Context(), "ws", app); err != nil {
			t.Errorf("kcp says %v of a workspace that it shows, and that ends with %v", answer, err)
		}
	}
}

func TestAdmitAfterRefusal(t *testing.T) {
	h := newHarness(t, newFakeCluster(operatorsNamespace("")), v1alpha1.NamespaceModeExclusive)
	h.SetAllowed(nil)
	if got := h.admitNew(t); got.reason != evaluate.ReasonNotAllowed {
		t.Fatalf("got %+v", got)
	}
	delete(h.cluster.objects, "namespaces /app")
	h.time = h.time.Add(evaluate.Recheck)
	if got := h.admitNew(t); !got.may || got.owner != "ws" {
		t.Errorf("the namespace is gone: got %+v", got)
	}
}

func TestAdmitToClosedNamespace(t *testing.T) {
	present := madeNamespace("ws")
	h := newHarness(t, newFakeCluster(present), v1alpha1.NamespaceModeExclusive).cache(t, present)
	steps := []struct {
		name string
		do   func()
		may  bool
	}{
		{"while it is closed", func() { h.news.close(app, "50") }, false},
		{"while the cache shows it as it was", func() { h.onNamespace(app) }, false},
		{"when it stays", func() { h.news.reopen(app) }, true},
		{"when the cache shows what has become of it", func() { h.news.close(app, "earlier"); h.onNamespace(app) }, true},
	}
	for _, step := range steps {
		step.do()
		if got := h.admitNew(t); got.may != step.may {
			t.Errorf("%s: got %+v, want %t", step.name, got, step.may)
		}
	}
}

func TestSyncNamespace(t *testing.T) {
	here := web(placed, held)
	awaited := func(h *harness) { h.place(here) }
	free, err := transform.FreeNamespace(app, "east", v1alpha1.TransformRule{})
	if err != nil {
		t.Fatal(err)
	}
	ownedBy(free, v1alpha1.FieldManager)
	others := copyOf("other", here)
	const already = 8 * time.Second
	leftAlready := func(h *harness) { h.lingering.note(app, h.time.Add(-already)) }
	forbidden := apierrors.NewForbidden(v1alpha1.NamespacesResource.GroupResource(), app, errors.New("a policy denies it"))
	fails := func(call string, err error) func(h *harness) {
		return func(h *harness) { h.cluster.errs[call] = err }
	}
	cases := map[string]struct {
		mode    v1alpha1.NamespaceMode
		cached  []*unstructured.Unstructured
		live    *unstructured.Unstructured
		prepare func(h *harness)
		again   time.Duration
		err     error
		writes  []string
		owner   string
	}{
		"nothing is known of it":                                 {live: operatorsNamespace("")},
		"it is as it should be":                                  {cached: []*unstructured.Unstructured{madeNamespace("ws"), copyOf("ws", here)}, owner: "ws"},
		"it is applied anew":                                     {cached: []*unstructured.Unstructured{operatorsNamespace("ws", annotated(v1alpha1.AppliedHashAnnotation, "x"), by(v1alpha1.FieldManager))}, prepare: awaited, writes: []string{applyApp}, owner: "ws"},
		"an empty one goes":                                      {cached: []*unstructured.Unstructured{madeNamespace("ws")}, writes: []string{removeApp}},
		"one that is not empty stays":                            {cached: []*unstructured.Unstructured{madeNamespace("ws")}, prepare: func(h *harness) { h.cluster.inside = "pods x" }, again: namespaceRetry, owner: "ws"},
		"one that is kept for others loses its owner":            {cached: []*unstructured.Unstructured{madeNamespace("ws")}, prepare: func(h *harness) { h.cluster.inside = "pods x"; leftAlready(h) }, writes: []string{applyApp}},
		"one that is kept for others without an owner":           {cached: []*unstructured.Unstructured{free}, prepare: func(h *harness) { h.cluster.inside = "pods x"; leftAlready(h) }, again: already},
		"one that is kept where workspaces share":                {mode: v1alpha1.NamespaceModeShared, cached: []*unstructured.Unstructured{madeNamespace("ws")}, prepare: func(h *harness) { h.cluster.inside = "pods x"; leftAlready(h) }, again: already, owner: "ws"},
		"one with something left of its owner stays the owner's": {cached: []*unstructured.Unstructured{madeNamespace("ws")}, prepare: func(h *harness) { h.cluster.inside, h.cluster.left = "pods x", "pods x"; leftAlready(h) }, again: already, owner: "ws"},
		"an operator's loses its note":                           {cached: []*unstructured.Unstructured{operatorsNamespace("ws")}, writes: []string{applyApp}},
		"an operator's with something left keeps it":             {cached: []*unstructured.Unstructured{operatorsNamespace("ws")}, prepare: func(h *harness) { h.cluster.left = "pods x" }, again: namespaceRetry, owner: "ws"},
		"its owner has left it to others":                        {cached: []*unstructured.Unstructured{madeNamespace("ws"), others}, writes: []string{applyApp}, owner: "other"},
		"others of the former rule do not get it":                {cached: []*unstructured.Unstructured{madeNamespace("ws"), others}, prepare: func(h *harness) { h.SetRule(v1alpha1.TransformRule{NamespacePrefix: "p-"}) }, owner: "ws"},
		"one without a mark gets an owner":                       {cached: []*unstructured.Unstructured{others}, live: operatorsNamespace(""), writes: []string{applyApp}, owner: "other"},
		"one that was marked meanwhile comes into the cache":     {cached: []*unstructured.Unstructured{others}, live: madeNamespace("ws"), owner: "ws"},
		"one that is gone meanwhile":                             {cached: []*unstructured.Unstructured{others}},
		"the cluster refuses the note":                           {cached: []*unstructured.Unstructured{others}, live: operatorsNamespace(""), prepare: fails(applyApp, forbidden), again: longestRefusal, writes: []string{applyApp}},
		"the cluster is away when it is noted":                   {cached: []*unstructured.Unstructured{others}, live: operatorsNamespace(""), prepare: fails(applyApp, errAway), err: errAway, writes: []string{applyApp}},
		"the cluster is away when it is read":                    {cached: []*unstructured.Unstructured{others}, prepare: fails("live namespaces /app", errAway), err: errAway},
		"the cluster does not say what is in it":                 {cached: []*unstructured.Unstructured{madeNamespace("ws")}, prepare: fails("anythingIn app", errAway), err: errAway, owner: "ws"},
		"the cluster does not say what is left in it":            {cached: []*unstructured.Unstructured{operatorsNamespace("ws")}, prepare: fails("leftBehind app", errAway), err: errAway, owner: "ws"},
		"it has changed when it is to lose its owner":            {cached: []*unstructured.Unstructured{operatorsNamespace("ws")}, prepare: func(h *harness) { h.cluster.store(operatorsNamespace("ws")) }, err: errStale, writes: []string{applyApp}, owner: "ws"},
		"a forged one is nobody's to look after":                 {cached: []*unstructured.Unstructured{madeNamespace("victim", by("kubectl"))}, owner: "victim"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(withoutNil(c.live)...), cmp.Or(c.mode, v1alpha1.NamespaceModeExclusive))
			h.arrange(t, c.cached, c.prepare)
			again, err := h.syncNamespace(t.Context(), app)
			if again != c.again || !errors.Is(err, c.err) || h.cluster.owner() != c.owner {
				t.Errorf("again after %s, error %v, owner %q; want %s, %v, %q", again, err, h.cluster.owner(), c.again, c.err, c.owner)
			}
			if diff := gocmp.Diff(c.writes, h.cluster.writes(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			if (err != nil || again != 0) && h.news.isClosed(app) {
				t.Error("it stays closed though it was not left")
			}
		})
	}
}

// TestSyncNamespaceIsNotToldOfARelease has kcp's caches show an object for ever that the cluster has let go of, as they do of a workspace
// that ends: the namespace, which no event concerns any more, goes all the same.
func TestSyncNamespaceIsNotToldOfARelease(t *testing.T) {
	leaving := func(options ...option) *unstructured.Unstructured {
		return web(append([]option{placed, held, deleting, func(obj *unstructured.Unstructured) { obj.SetResourceVersion("7") }}, options...)...)
	}
	cases := map[string]struct {
		namespace *unstructured.Unstructured
		prepare   func(*harness)
		// releases has the syncer let go of the object.
		releases bool
		looks    []time.Duration
		writes   []string
	}{
		"what it has let go of": {madeNamespace("ws"), nil, true, []time.Duration{namespaceRetry, 0}, []string{removeApp}},
		"an operator's":         {operatorsNamespace("ws"), nil, true, []time.Duration{namespaceRetry, 0}, []string{applyApp}},
		"what it cannot let go of": {madeNamespace("ws"), nil, false,
			[]time.Duration{namespaceRetry, namespaceRetry, 2 * namespaceRetry, 4 * namespaceRetry, 0}, []string{removeApp}},
		"something is in it": {madeNamespace("ws"), func(h *harness) { h.cluster.inside = "deployments.apps web" }, false,
			[]time.Duration{namespaceRetry, namespaceRetry, 2 * namespaceRetry, 4 * namespaceRetry, namespaceRetry, namespaceRetry, 2 * namespaceRetry}, nil},
		"an operator's for what it cannot let go of": {operatorsNamespace("ws"), nil, false,
			[]time.Duration{namespaceRetry, namespaceRetry, 2 * namespaceRetry, 4 * namespaceRetry, 8 * namespaceRetry}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
			h.arrange(t, []*unstructured.Unstructured{c.namespace}, c.prepare)
			key := h.place(leaving())
			for i, want := range c.looks {
				if again, err := h.syncNamespace(t.Context(), app); again != want || err != nil {
					t.Errorf("look %d: again after %s, %v; want %s", i, again, err, want)
				}
				h.time = h.time.Add(want)
				if i > 0 || !c.releases {
					continue
				}
				if _, err := h.syncSpec(t.Context(), key); err != nil || len(h.kcp.patches) != 1 {
					t.Fatalf("letting go: %v, %v", h.kcp.patches, err)
				}
				h.place(leaving()) // what the caches show
			}
			if diff := gocmp.Diff(c.writes, h.cluster.writes(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("kcp is asked what has become of it", func(t *testing.T) {
		h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
		h.arrange(t, []*unstructured.Unstructured{operatorsNamespace("ws")}, nil)
		key := h.place(leaving())
		var asked []string
		for at := time.Duration(0); at < 2*keptAfter; {
			again, err := h.syncNamespace(t.Context(), app)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range h.queued().Specs {
				asked = append(asked, at.String()+" "+name)
			}
			at += again
			h.time = h.time.Add(again)
		}
		if diff := gocmp.Diff([]string{"8s " + key.Name}, asked); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("another version of it holds the namespace again", func(t *testing.T) {
		h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
		h.arrange(t, []*unstructured.Unstructured{madeNamespace("ws")}, nil)
		key := h.place(leaving())
		if _, err := h.syncSpec(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		h.place(leaving(func(obj *unstructured.Unstructured) { obj.SetResourceVersion("8") }))
		if again, err := h.syncNamespace(t.Context(), app); again != namespaceRetry || err != nil || len(h.cluster.writes()) > 0 {
			t.Errorf("again after %s, %v, writes %v", again, err, h.cluster.writes())
		}
	})
}

// TestChecksOfNamespaces has events look at a namespace that is not empty, many times in a moment: the next check is not put off.
func TestChecksOfNamespaces(t *testing.T) {
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive)
	h.arrange(t, []*unstructured.Unstructured{madeNamespace("ws")}, func(h *harness) { h.cluster.inside = "pods x" })
	check := func(want time.Duration) {
		t.Helper()
		if again, err := h.syncNamespace(t.Context(), app); again != want || err != nil {
			t.Errorf("again after %s, %v; want %s", again, err, want)
		}
	}
	for range 20 {
		check(namespaceRetry)
	}
	h.time = h.time.Add(keptAfter - time.Second)
	check(keptAfter - time.Second)
	if owner := h.cluster.owner(); owner != "ws" {
		t.Errorf("it has the owner %q, for it was looked at often", owner)
	}
	h.cluster.inside = ""
	check(0)
	if diff := gocmp.Diff([]string{removeApp}, h.cluster.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

// TestSetRuleLooksAtNamespaces has a namespace be another one by a new rule, while nothing of its workspace is in it.
func TestSetRuleLooksAtNamespaces(t *testing.T) {
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"))
	h.SetRule(v1alpha1.TransformRule{NamespacePrefix: "p-"})
	h.expect(t, queued{Namespaces: []string{app}})
}

// arrange has the caches show objects, and the cluster have the namespaces among them, and prepares what else there is.
func (h *harness) arrange(t *testing.T, objects []*unstructured.Unstructured, prepare func(*harness)) {
	t.Helper()
	for _, obj := range objects {
		if obj.GetKind() == "Namespace" {
			obj = h.cluster.store(obj)
		}
		h.cache(t, obj)
	}
	if prepare != nil {
		prepare(h)
	}
}

// TestLeaveNamespaceChecksAgain has an object come between the two checks whether the namespace is used.
func TestLeaveNamespaceChecksAgain(t *testing.T) {
	h := newHarness(t, newFakeCluster(madeNamespace("ws")), v1alpha1.NamespaceModeExclusive).cache(t, madeNamespace("ws"))
	h.place(web(placed, held))
	if again, err := h.leaveNamespace(t.Context(), app, "50"); again != namespaceRetry || err != nil || len(h.cluster.writes()) != 0 || h.news.isClosed(app) {
		t.Errorf("again after %s, error %v, writes %v", again, err, h.cluster.writes())
	}
}

func TestHasOthers(t *testing.T) {
	forged := copyOf("victim", web(), by("kube-controller-manager"))
	h := newHarness(t, newFakeCluster(), v1alpha1.NamespaceModeExclusive).cache(t, forged)
	if h.hasOthers(app, "ws") || h.caches.hasWorkloads(app) || len(h.gatherNamespace(app).Copies) > 0 || len(h.others()) > 0 {
		t.Error("a forged copy counts as something that the victim has in the namespace")
	}
	h.cache(t, copyOf("other", web()))
	if !h.hasOthers(app, "ws") || h.hasOthers(app, "other") || !h.caches.hasWorkloads(app) {
		t.Error("a copy does not count")
	}
}
