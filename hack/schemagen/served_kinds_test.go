package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// servedSpec says what an API server does with objects of one kind. Patches are merge
// patches, in YAML, of the manifest.
type servedSpec struct {
	// manifest is an ordinary one, with what kubectl and other tools write into it.
	manifest string
	// defaults is the patch that the server makes of a new object.
	defaults string
	// accepted are patches of new objects that are taken, by what they are about.
	accepted map[string]string
	// refused are those that are not.
	refused map[string]refusal
	// changes are patches of an object that is there that are taken.
	changes map[string]string
	// fixed are those that are not.
	fixed map[string]refusal
	// zeros is the status of an object that nothing is known about: the counters without
	// which the server takes no status.
	zeros string
}

// refusal is a patch and the error that it gives.
type refusal struct {
	patch, field, says string
}

// noPath is the field of errors that name it in their words only (oneOf, anyOf).
const noPath = "<nil>"

// servedSpecs are those of the kinds but deployments, by resource.
func servedSpecs() map[string]servedSpec {
	specs := maps.Clone(workloadSpecs)
	maps.Copy(specs, otherSpecs)
	maps.Copy(specs, revisionSpecs)
	maps.Copy(specs, tmcSpecs)
	return specs
}

func TestServedKindHasSpec(t *testing.T) {
	specs := servedSpecs()
	for _, k := range slices.Concat(kinds, definitions) {
		if _, ok := specs[k.resource]; !ok && k.resource != deployments.resource {
			t.Errorf("nothing says what a server does with %s", k.resource)
		}
	}
}

func TestServedManifestsStayAsWritten(t *testing.T) {
	for resource, spec := range servedSpecs() {
		t.Run(resource, func(t *testing.T) {
			object := patched(t, spec.manifest, "")
			if unknown, errs := serverOf(t, resource).create(object); len(errs) > 0 || len(unknown) > 0 {
				t.Fatalf("refused: %v, unknown: %v", errs, unknown)
			}
			want := patched(t, spec.manifest, spec.defaults)
			delete(want, "status")
			if diff := cmp.Diff(want, object); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestServedKindsAreAccepted(t *testing.T) {
	for resource, spec := range servedSpecs() {
		server := serverOf(t, resource)
		for name, patch := range spec.accepted {
			t.Run(resource+" "+name, func(t *testing.T) {
				if unknown, errs := server.create(patched(t, spec.manifest, patch)); len(errs) > 0 || len(unknown) > 0 {
					t.Errorf("refused: %v, unknown: %v", errs, unknown)
				}
			})
		}
	}
}

func TestServedKindsAreRefused(t *testing.T) {
	for resource, spec := range servedSpecs() {
		server := serverOf(t, resource)
		for name, want := range spec.refused {
			t.Run(resource+" "+name, func(t *testing.T) {
				_, errs := server.create(patched(t, spec.manifest, want.patch))
				want.expect(t, errs)
			})
		}
	}
}

func TestServedKindsAreChanged(t *testing.T) {
	for resource, spec := range servedSpecs() {
		server := serverOf(t, resource)
		old := patched(t, spec.manifest, "")
		if _, errs := server.create(old); len(errs) > 0 {
			t.Fatalf("%s: %v", resource, errs)
		}
		for name, patch := range spec.changes {
			t.Run(resource+" "+name, func(t *testing.T) {
				if _, errs := server.update(patched(t, spec.manifest, patch), old); len(errs) > 0 {
					t.Errorf("refused: %v", errs)
				}
			})
		}
		for name, want := range spec.fixed {
			t.Run(resource+" but not "+name, func(t *testing.T) {
				_, errs := server.update(patched(t, spec.manifest, want.patch), old)
				want.expect(t, errs)
			})
		}
	}
}

// The template of a Job is the largest thing that a rule compares.
func TestServedLargeTemplateIsWithinBudget(t *testing.T) {
	var env, containers []string
	for i := range 400 {
		env = append(env, fmt.Sprintf("{name: NAME%d, value: %s}", i, strings.Repeat("x", 200)))
	}
	for i := range 5 {
		containers = append(containers, fmt.Sprintf("{name: c%d, image: nginx, env: [%s]}", i, strings.Join(env, ",")))
	}
	patch := "spec: {template: {spec: {containers: [" + strings.Join(containers, ",") + "]}}}"
	server, manifest := serverOf(t, "jobs"), workloadSpecs["jobs"].manifest
	object, old := patched(t, manifest, patch), patched(t, manifest, patch)
	server.fill(object)
	server.fill(old)
	if errs, left := server.check(object, old); len(errs) > 0 {
		t.Errorf("refused: %v (left of the budget: %d)", errs, left)
	}
}

func TestServedStatusTakesConditionOfTmc(t *testing.T) {
	const conditions = `{status: {conditions: [
		{type: Synced, status: "False", reason: Refused, message: "east: no", lastTransitionTime: "2026-01-02T03:04:05Z"},
		{type: Other, status: "True", reason: Fine, message: "", lastTransitionTime: "2026-01-02T03:04:05Z"}]}}`
	specs := servedSpecs()
	specs[deployments.resource] = servedSpec{manifest: deployment}
	for resource, spec := range specs {
		if _, isNotSynced := revisionSpecs[resource]; isNotSynced {
			continue
		}
		t.Run(resource, func(t *testing.T) {
			server := serverOf(t, resource)
			object := patched(t, spec.manifest, "status: null")
			patch := patched(t, conditions, spec.zeros)
			object["status"] = patch["status"]
			unknown, errs := server.admit(object, nil)
			if len(errs) > 0 || len(unknown) > 0 {
				t.Errorf("refused: %v, unknown: %v", errs, unknown)
			}
			if diff := cmp.Diff(patched(t, conditions, spec.zeros)["status"], object["status"]); diff != "" {
				t.Errorf("(-written +kept)\n%s", diff)
			}
		})
	}
}

// What a status must have besides is what a writer has to send even if it knows nothing.
func TestServedStatusRequiredCounters(t *testing.T) {
	specs := servedSpecs()
	for _, k := range kinds {
		schema, err := served(t, k.resource).Spec.Versions[0].GetSchema()
		if err != nil {
			t.Fatal(err)
		}
		status, _ := patched(t, "{}", specs[k.resource].zeros)["status"].(map[string]any)
		want := slices.Sorted(maps.Keys(status))
		got := slices.Sorted(slices.Values(schema.Properties["status"].Required))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", k.resource, diff)
		}
	}
}

// create does with a new object what a server does: its status is dropped first.
func (s *kindServer) create(object map[string]any) (unknown []string, errs field.ErrorList) {
	delete(object, "status")
	return s.admit(object, nil)
}

// update does with a changed object what a server does: its status stays as it was.
func (s *kindServer) update(object, old map[string]any) (unknown []string, errs field.ErrorList) {
	delete(object, "status")
	if status, ok := old["status"]; ok {
		object["status"] = status
	}
	return s.admit(object, old)
}

// expect checks that the wanted error is among errs.
func (r refusal) expect(t *testing.T, errs field.ErrorList) {
	t.Helper()
	for _, err := range errs {
		if err.Field == r.field && strings.Contains(err.ErrorBody(), r.says) {
			return
		}
	}
	t.Errorf("got %v, want %q at %s", errs, r.says, r.field)
}
