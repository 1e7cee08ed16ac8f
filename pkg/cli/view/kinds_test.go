package view

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-tmc/tmc/pkg/kinds"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// ungenerated are the kinds of whose objects a cluster of Kubernetes v1.36 keeps no generation: those of whose strategies in
// k8s.io/kubernetes/pkg/registry none sets one.
var ungenerated = sets.New("Service", "PersistentVolumeClaim", "HorizontalPodAutoscaler", "ConfigMap", "Secret", "ServiceAccount")

// ofTable returns an object of a kind of the table as kcp has it: those without a status have no generation there.
func ofTable(kind *kinds.Kind, changes ...change) *unstructured.Unstructured {
	obj := deployment(ofKind(kind.GroupKind().WithVersion("v1").GroupVersion().String(), kind.Kind))
	if kind.Statusless {
		obj.SetGeneration(0)
	}
	for _, change := range append(changes, placed("east")) {
		change(obj)
	}
	return obj
}

// inPlace is what a syncer reports of a copy of the kind that is in place; nothing of kinds without a status.
func inPlace(kind *kinds.Kind, changes ...func(*protocol.Report)) change {
	held := held("east")
	if kind.Statusless && len(changes) == 0 {
		return held
	}
	report := reported("east", 0, append([]func(*protocol.Report){func(r *protocol.Report) {
		r.LocalObservedGeneration, r.Replicas, r.Counters = 0, nil, map[string]int64{}
		if kind.Available != "" {
			r.Counters[kind.Available] = 3
		}
		if kind.Wanted != "" {
			r.Counters[kind.Wanted] = 3
		}
		if len(kind.Replicas) > 0 {
			r.Replicas = new(int64(3))
		}
		if kind.Observes == kinds.AlwaysObserves {
			r.LocalObservedGeneration = r.LocalGeneration
		}
		if ungenerated.Has(kind.Kind) {
			r.LocalGeneration = 0
		}
	}}, changes...)...)
	return func(obj *unstructured.Unstructured) { held(obj); report(obj) }
}

// noCopy is what a syncer reports that could make no copy.
func noCopy(r *protocol.Report) {
	*r = protocol.Report{Version: r.Version, Cluster: r.Cluster, Problems: r.Problems}
}

// Whatever the kind, what is described agrees with what is so.
func TestDescribeAgreesWithWhatIsSoForEveryKind(t *testing.T) {
	deleted := func(obj *unstructured.Unstructured) { obj.SetDeletionTimestamp(&metav1.Time{Time: now}) }
	const takenUp = "Applied:     taken up, and no problem reported"
	cases := map[string]struct {
		// obj is the object, nil where there is no such situation of the kind.
		obj    func(kind *kinds.Kind) *unstructured.Unstructured
		silent sets.Set[string]
		// wants are the reasons of the problems, mark is the end of the cell in the table.
		wants []string
		mark  string
		// text is what is described, statuslessText of kinds without a status.
		text, statuslessText string
	}{
		"in place": {
			obj:  func(kind *kinds.Kind) *unstructured.Unstructured { return ofTable(kind, inPlace(kind)) },
			text: "Applied:     generation 2 of 2, up to date", statuslessText: takenUp,
		},
		"in place, and problems are no more known of": {
			obj: func(kind *kinds.Kind) *unstructured.Unstructured {
				return ofTable(kind, inPlace(kind, func(r *protocol.Report) { r.Problems = nil }))
			},
			text: ", up to date", statuslessText: "Applied:     up to date",
		},
		"placed, and not taken up": {
			obj:   func(kind *kinds.Kind) *unstructured.Unstructured { return ofTable(kind) },
			wants: []string{"NotReported"}, mark: "…", text: "Report:      has not reported", statuslessText: "Report:      has not taken it up yet",
		},
		"behind": {
			obj: func(kind *kinds.Kind) *unstructured.Unstructured {
				if kind.Statusless {
					return nil // no generation: other inputs, if anything
				}
				return ofTable(kind, inPlace(kind, older))
			},
			wants: []string{"OldGeneration"}, mark: "…", text: "Applied:     generation 1 of 2, not up to date",
		},
		"behind with its labels": {
			obj:   func(kind *kinds.Kind) *unstructured.Unstructured { return ofTable(kind, inPlace(kind, otherInputs)) },
			wants: []string{"OldInputs"}, mark: "…", text: ", not up to date", statuslessText: "Applied:     not up to date",
		},
		"no copy, and nobody says why": {
			obj:   func(kind *kinds.Kind) *unstructured.Unstructured { return ofTable(kind, inPlace(kind, noCopy)) },
			wants: []string{"NoCopy"}, mark: "…", text: "Applied:     nothing as it should be", statuslessText: "Applied:     nothing as it should be",
		},
		"refused": {
			obj: func(kind *kinds.Kind) *unstructured.Unstructured {
				return ofTable(kind, inPlace(kind, refused, noCopy))
			},
			wants: []string{"Forbidden"}, mark: "!", text: "Forbidden: quota exceeded", statuslessText: "Forbidden: quota exceeded",
		},
		"in place, and the cluster has a problem with it": {
			obj:   func(kind *kinds.Kind) *unstructured.Unstructured { return ofTable(kind, inPlace(kind, refused)) },
			wants: []string{"Forbidden"}, mark: "!", text: ", up to date", statuslessText: "Applied:     up to date",
		},
		"silent": {
			obj:    func(kind *kinds.Kind) *unstructured.Unstructured { return ofTable(kind, inPlace(kind)) },
			silent: sets.New("east"), wants: []string{"ClusterSilent"}, mark: "silent", text: "Applied:     generation 2 of 2", statuslessText: "Applied:     not known",
		},
		"leaving": {
			obj: func(kind *kinds.Kind) *unstructured.Unstructured {
				return ofTable(kind, inPlace(kind), leaving("east"))
			},
			wants: []string{"StillThere"}, mark: "leaving", text: "leaving", statuslessText: "leaving",
		},
		"deleted": {
			obj:   func(kind *kinds.Kind) *unstructured.Unstructured { return ofTable(kind, inPlace(kind), deleted) },
			wants: []string{"StillThere"}, mark: "leaving", text: "leaving", statuslessText: "leaving",
		},
		"cannot leave": {
			obj: func(kind *kinds.Kind) *unstructured.Unstructured {
				return ofTable(kind, inPlace(kind, refused), leaving("east"))
			},
			wants: []string{"Forbidden"}, mark: "leaving", text: "leaving", statuslessText: "leaving",
		},
	}
	for name, tc := range cases {
		for _, kind := range (kinds.Kinds{}).All() {
			obj := tc.obj(kind)
			if obj == nil {
				continue
			}
			t.Run(name+"/"+kind.Kind, func(t *testing.T) {
				w := Of(obj, kinds.Kinds{}, tc.silent)
				var reasons []string
				for _, problem := range w.Problems {
					if problem.Reason != Unavailable { // what counts nothing yet
						reasons = append(reasons, problem.Reason)
					}
				}
				if diff := cmp.Diff(tc.wants, reasons); diff != "" {
					t.Errorf("what is wrong (-want +got):\n%s", diff)
				}
				text := Describe(w, nil, tenantType, now)
				want := tc.text
				if kind.Statusless {
					want = tc.statuslessText
				}
				if !strings.Contains(text, want) || (len(tc.wants) == 0) != strings.Contains(text, "What is wrong:   nothing") {
					t.Errorf("%q is not in\n%s", want, text)
				}
				cell, isWell := w.Clusters[0].Cell(), len(tc.wants) == 0
				if !strings.HasSuffix(cell, tc.mark) || isWell && strings.ContainsAny(cell, "!…") {
					t.Errorf("the cell is %q, want %q", cell, tc.mark)
				}
			})
		}
	}
	if !slices.ContainsFunc((kinds.Kinds{}).All(), func(kind *kinds.Kind) bool { return kind.Statusless }) {
		t.Error("no kind is without a status")
	}
}
