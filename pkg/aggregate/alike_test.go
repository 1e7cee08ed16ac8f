package aggregate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

func TestClaimsShowWhatIsAlike(t *testing.T) {
	type texts = map[string]string
	bound := func(volume, capacity, modes string) texts {
		return texts{"phase": "Bound", "boundTo": volume, "capacity": capacity, "accessModes": modes}
	}
	const one, two, once = `{"storage":"1Gi"}`, `{"storage":"2Gi"}`, `["ReadWriteOnce"]`
	storage := func(size string) map[string]any { return map[string]any{"storage": size} }
	modes := []any{"ReadWriteOnce"}
	cases := map[string]struct {
		east, west texts
		phase      string
		capacity   any
		modes      any
		volume     string
	}{
		"alike":                            {bound("pv", one, once), bound("pv", one, once), "Bound", storage("1Gi"), modes, "pv"},
		"volumes of two names":             {bound("a", one, once), bound("b", one, once), "Bound", storage("1Gi"), modes, ""},
		"two sizes: so much is everywhere": {bound("pv", two, once), bound("pv", one, once), "Bound", storage("1Gi"), modes, "pv"},
		"the same size in other words":     {bound("pv", `{"storage":"1024Mi"}`, once), bound("pv", one, once), "Bound", storage("1024Mi"), modes, "pv"},
		"other modes":                      {bound("pv", one, `["ReadOnlyMany"]`), bound("pv", one, once), "Bound", storage("1Gi"), nil, "pv"},
		"one waits for its volume":         {bound("pv", one, once), texts{"phase": "Pending"}, "Pending", nil, nil, ""},
		"one has lost it":                  {bound("pv", one, once), texts{"phase": "Lost", "boundTo": "pv"}, "Lost", nil, nil, "pv"},
		"one says nothing":                 {bound("pv", one, once), nil, "Pending", nil, nil, ""},
		"a syncer of before":               {bound("pv", one, once), texts{"phase": "Bound"}, "Bound", nil, nil, ""},
		"something that only one counts":   {bound("pv", `{"storage":"1Gi","iops":"5"}`, once), bound("pv", one, once), "Bound", storage("1Gi"), modes, "pv"},
		"what is no quantity":              {bound("pv", `{"storage":"many"}`, once), bound("pv", one, once), "Bound", nil, modes, "pv"},
		"a quantity that costs":            {bound("pv", `{"storage":"1e2000000000"}`, once), bound("pv", one, once), "Bound", nil, modes, "pv"},
		"what is no object and no list":    {bound("pv", `[]`, `{}`), bound("pv", one, `{}`), "Bound", nil, nil, "pv"},
		"an object of nothing":             {bound("pv", `{}`, once), bound("pv", `{}`, once), "Bound", nil, modes, "pv"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": map[string]any{"name": "data", "generation": int64(1)}}}
			obj.SetLabels(placement([]string{"east", "west"}))
			reports := []protocol.Report{{Version: protocol.ReportVersion, Cluster: "east", Generation: 1, LocalGeneration: 1, Texts: tc.east}}
			if tc.west != nil {
				reports = append(reports, protocol.Report{Version: protocol.ReportVersion, Cluster: "west", Generation: 1, LocalGeneration: 1, Texts: tc.west})
			}
			obj.SetAnnotations(annotations(t, reports...))
			status, _ := Status(Input{Inputs: noInputs, Object: obj, Now: now})
			want := map[string]any{"phase": tc.phase, "capacity": tc.capacity, "accessModes": tc.modes}
			got := map[string]any{"phase": status["phase"], "capacity": status["capacity"], "accessModes": status["accessModes"]}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			volume := ""
			for _, entry := range status[conditionsField].([]any) {
				if c := entry.(map[string]any); c["type"] == v1alpha1.ConditionBoundTo {
					volume = c["message"].(string)
				}
			}
			if volume != tc.volume {
				t.Errorf("the volume is %q, want %q", volume, tc.volume)
			}
		})
	}
}

func TestAlikeTextOfOwnKind(t *testing.T) {
	known, err := kinds.Parse("f", []byte(`[{group: example.com, kind: Widget, alike: [{field: release}]}]`))
	if err != nil || !known.Of(schema.GroupKind{Group: "example.com", Kind: "Widget"}).IsKnown() {
		t.Fatal(err)
	}
	for west, want := range map[string]any{"v1": "v1", "v2": nil} {
		obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Widget", "metadata": map[string]any{"name": "w", "generation": int64(1)}}}
		obj.SetLabels(placement([]string{"east", "west"}))
		say := func(cluster, release string) protocol.Report {
			return protocol.Report{Version: protocol.ReportVersion, Cluster: cluster, Generation: 1, LocalGeneration: 1, Texts: map[string]string{"release": release}}
		}
		obj.SetAnnotations(annotations(t, say("east", "v1"), say("west", west)))
		status, _ := Status(Input{Inputs: noInputs, Object: obj, Now: now, Kinds: known})
		if status["release"] != want {
			t.Errorf("beside %s: %v, want %v", west, status["release"], want)
		}
	}
}
