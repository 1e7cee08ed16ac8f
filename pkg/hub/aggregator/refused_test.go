package aggregator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/hub/refusals"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

var errRefusal = apierrors.NewInvalid(schema.GroupKind{Kind: "ConfigMap"}, "big", nil)

// fat has an object's annotations take so many bytes.
func fat(size int) change {
	return func(obj *unstructured.Unstructured) { annotated("x", strings.Repeat("x", size-1))(obj) }
}

func TestAggregatorTellsWhatIsRefused(t *testing.T) {
	const room = 262144
	cases := map[string]struct {
		changes []change
		refuses []string
		// needs is the ConfigMap that it names, nil for none.
		needs []change
		want  []string
	}{
		"nothing":                             {[]change{on("east")}, nil, nil, nil},
		"the object itself":                   {[]change{on("east")}, []string{"web"}, nil, []string{"WriteRefused kcp refuses it"}},
		"what it is placed after":             {nil, []string{"big"}, []change{}, []string{`WaitsForDependency it is placed after configmaps "big": kcp refuses it`}},
		"what it names is where it is":        {[]change{on("east")}, []string{"big"}, []change{on("east", "west")}, nil},
		"what it names is not where it is":    {[]change{on("east", "west")}, []string{"big"}, []change{on("east")}, []string{`WaitsForDependency it is placed after configmaps "big": kcp refuses it`}},
		"its namespace":                       {nil, []string{""}, nil, []string{"WaitsForDependency it is placed after its namespace: kcp refuses it"}},
		"what it names is nowhere":            {nil, nil, []change{}, []string{`WaitsForDependency it is placed after configmaps "big", which is on no cluster yet`}},
		"a decision has been told":            {[]change{annotated(v1alpha1.PlacementAnnotation, `{"by":"default"}`)}, nil, []change{}, nil},
		"a report has no room":                {[]change{on("east"), fat(room - 100)}, nil, nil, []string{"AnnotationsFull its annotations take"}},
		"a report that is there has had room": {[]change{on("east"), fat(room - 100), annotated(v1alpha1.StatusAnnotation("east"), "{}")}, nil, nil, nil},
		"a report has room":                   {[]change{on("east"), fat(room - 2*roomOfReport)}, nil, nil, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeHub()
			changes := tc.changes
			if tc.needs != nil {
				changes = append(slices.Clone(changes), mounting("big", false))
				f.add("ws", configMaps, "ConfigMap", "big", tc.needs...)
			}
			key := f.add("ws", deployments, "Deployment", "web", changes...)
			a := f.aggregator()
			a.config.Refusals = refusals.New("it", time.Now, nil)
			for _, name := range tc.refuses {
				refused := map[string]kcp.ObjectKey{
					"web": key, "": {Workspace: "ws", Resource: v1alpha1.NamespacesResource, Name: "app"},
					"big": {Workspace: "ws", Resource: configMaps, Namespace: "app", Name: "big"},
				}[name]
				a.config.Refusals.Refused(refused, errRefusal)
			}
			var got []string
			for i, problem := range a.refused(key, f.objects[key]) {
				said := fmt.Sprintf("%s %s", problem.Reason, problem.Message)
				if i < len(tc.want) {
					said = said[:min(len(said), len(tc.want[i]))]
				}
				if got = append(got, said); !protocol.IsHubsReason(problem.Reason) {
					t.Errorf("%s is not known to be the hub's", problem.Reason)
				}
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAggregatorOnRefusal(t *testing.T) {
	f := newFakeHub()
	f.add("ws", deployments, "Deployment", "web", mounting("big", false))
	f.add("ws", deployments, "Deployment", "idle")
	big := f.add("ws", configMaps, "ConfigMap", "big")
	cases := map[string]struct {
		key  kcp.ObjectKey
		want []string
	}{
		"an object, and what names it": {big, []string{"big", "web"}},
		"a namespace":                  {kcp.ObjectKey{Workspace: "ws", Resource: v1alpha1.NamespacesResource, Name: "app"}, []string{"app", "big", "idle", "web"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, queued(t, f, func(a *Aggregator) { a.OnRefusal(tc.key) })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestAggregatorStatusIsRefused has kcp refuse a status: it is told, tried ever less often, and at once when the object changes.
func TestAggregatorStatusIsRefused(t *testing.T) {
	f := newFakeHub()
	key := f.add("ws", deployments, "Deployment", "web", on("east"))
	f.patchErr = errRefusal
	a := f.aggregator()
	now := began
	a.now = func() time.Time { return now }
	for i, want := range []time.Duration{5 * time.Second, 10 * time.Second} {
		again, err := a.sync(t.Context(), key)
		if again != want || err != nil || len(f.written) != i+1 {
			t.Errorf("again after %s, %v; written %q", again, err, f.written)
		}
		if again, err := a.sync(t.Context(), key); again != want || err != nil || len(f.written) != i+1 {
			t.Errorf("at once: again after %s, %v; written %q", again, err, f.written)
		}
		now = now.Add(want)
	}
	if len(f.told) != 1 || !strings.Contains(f.told[0], protocol.ReasonWriteRefused) {
		t.Errorf("told %q", f.told)
	}
	now = now.Add(-time.Second)
	old := f.objects[key].DeepCopy()
	annotated("a", "b")(f.objects[key])
	a.OnUpstream(key, old, f.objects[key])
	f.patchErr = nil
	if again, err := a.sync(t.Context(), key); again != 0 || err != nil || len(f.written) != 3 || !a.refusals.IsEmpty() {
		t.Errorf("after a change: again after %s, %v; written %q", again, err, f.written)
	}
}
