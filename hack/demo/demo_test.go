package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// deployment makes one of which a number of replicas runs.
func deployment(wanted, running int32, image string) *appsv1.Deployment {
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{
			Generation:  3,
			Annotations: map[string]string{v1alpha1.SourceGenerationAnnotation: "3"},
		},
		Spec: appsv1.DeploymentSpec{Replicas: new(wanted)},
		Status: appsv1.DeploymentStatus{
			ObservedGeneration: 3,
			Replicas:           running, ReadyReplicas: running, UpdatedReplicas: running, AvailableReplicas: running,
		},
	}
	d.Spec.Template.Spec.Containers = []corev1.Container{{Image: image}}
	for _, conditionType := range []appsv1.DeploymentConditionType{"Available", "Progressing", v1alpha1.ConditionSynced} {
		d.Status.Conditions = append(d.Status.Conditions, appsv1.DeploymentCondition{Type: conditionType, Status: "True"})
	}
	return d
}

// upstream makes the one in kcp, placed on clusters.
func upstream(wanted, running int32, image string, clusters ...string) *appsv1.Deployment {
	d := deployment(wanted, running, image)
	d.Labels = map[string]string{}
	for _, cluster := range clusters {
		d.Labels[v1alpha1.PlacementLabel(cluster)] = v1alpha1.PlacementLabelValue
		d.Finalizers = append(d.Finalizers, v1alpha1.Finalizer(cluster))
	}
	return d
}

func viewOf(kcp, east, west *appsv1.Deployment) view {
	return view{upstream: sight{"kcp", kcp}, downstream: []sight{{"east", east}, {"west", west}}}
}

func TestViewIsComparedWithExpectation(t *testing.T) {
	both := expectation{clusters: []string{"east", "west"}, replicas: 2, image: "nginx", generation: 3}
	eastOnly := expectation{clusters: []string{"east"}, replicas: 2, image: "nginx", generation: 3}
	edited := func(d *appsv1.Deployment, edit func(*appsv1.Deployment)) *appsv1.Deployment {
		edit(d)
		return d
	}
	tests := map[string]struct {
		expected expectation
		seen     view
		want     []string
	}{
		"all is well": {
			both, viewOf(upstream(2, 4, "nginx", "east", "west"), deployment(2, 2, "nginx"), deployment(2, 2, "nginx")), nil,
		},
		"well on one cluster": {
			eastOnly, viewOf(upstream(2, 2, "nginx", "east"), deployment(2, 2, "nginx"), nil), nil,
		},
		"well gone": {expectation{}, viewOf(nil, nil, nil), nil},
		"a copy is missing": {
			both, viewOf(upstream(2, 4, "nginx", "east", "west"), nil, deployment(2, 2, "nginx")),
			[]string{"east: expected a Deployment, found none"},
		},
		"a copy is left": {
			expectation{}, viewOf(nil, nil, deployment(2, 2, "old")),
			[]string{"west: expected no Deployment, found one (image old)"},
		},
		"a wrong image": {
			both, viewOf(upstream(2, 4, "nginx", "east", "west"), deployment(2, 2, "old"), deployment(2, 2, "nginx")),
			[]string{"east: image: expected nginx, found old"},
		},
		"the sum of too few": {
			both, viewOf(edited(upstream(2, 4, "nginx", "east", "west"), func(d *appsv1.Deployment) { d.Status.ReadyReplicas = 2 }),
				deployment(2, 2, "nginx"), deployment(2, 2, "nginx")),
			[]string{"kcp: ready replicas: expected 4, found 2"},
		},
		"a cluster that kcp has not let go": {
			eastOnly, viewOf(upstream(2, 2, "nginx", "east", "west"), deployment(2, 2, "nginx"), nil),
			[]string{
				"kcp: placement: expected east, found east,west",
				"kcp: finalizers: expected syncer.tmc.kcp.io/east, found syncer.tmc.kcp.io/east,syncer.tmc.kcp.io/west",
			},
		},
		"a copy of an old generation": {
			eastOnly, viewOf(upstream(2, 2, "nginx", "east"), edited(deployment(2, 2, "nginx"), func(d *appsv1.Deployment) {
				d.Annotations[v1alpha1.SourceGenerationAnnotation] = "2"
				d.Status.ObservedGeneration = 2
			}), nil),
			[]string{
				"east: observed generation: expected 3, found 2",
				"east: generation of kcp that the copy is of: expected 3, found 2",
			},
		},
		"a condition that is false": {
			eastOnly, viewOf(edited(upstream(2, 2, "nginx", "east"), func(d *appsv1.Deployment) {
				d.Status.Conditions[2] = appsv1.DeploymentCondition{Type: v1alpha1.ConditionSynced, Status: "False", Reason: "Conflict", Message: "in the way"}
			}), deployment(2, 2, "nginx"), nil),
			[]string{"kcp: condition Synced: expected True, found False (Conflict: in the way)"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.expected.differences(test.seen)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTableIsAligned(t *testing.T) {
	var out strings.Builder
	(&console{w: &out}).table(viewOf(upstream(5, 5, "nginx:1.29", "east"), deployment(5, 5, "nginx:1.29"), nil).table())
	want := `  WHERE   WANTED   READY   UP-TO-DATE   AVAILABLE   IMAGE        GENERATION   OBSERVED
  kcp     5 each   5       5            5           nginx:1.29   3            3
  east    5        5       5            5           nginx:1.29   3            3
  west    none     -       -            -           -            -            -
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestConsoleShowsRepeatedLinesOnce(t *testing.T) {
	var out strings.Builder
	c := &console{w: &out}
	c.answer("a 1\na 1\nb 2\na 1\n")
	c.answer("")
	if want := "a 1 (2 times)\nb 2\na 1\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestDriftTiming(t *testing.T) {
	event := func(image string) watch.Event {
		return watch.Event{Type: watch.Modified, Object: deployment(2, 2, image)}
	}
	events := func(all ...watch.Event) <-chan watch.Event {
		channel := make(chan watch.Event, len(all))
		for _, e := range all {
			channel <- e
		}
		close(channel)
		return channel
	}
	if _, err := waitRepaired(t.Context(), events(event("nginx"), event(driftedImage), event("nginx")), "nginx"); err != nil {
		t.Errorf("repaired: got error %v", err)
	}
	broken := map[string]<-chan watch.Event{
		"never drifted":   events(event("nginx")),
		"never repaired":  events(event("nginx"), event(driftedImage)),
		"the watch fails": events(watch.Event{Type: watch.Error, Object: &metav1.Status{}}),
	}
	for name, channel := range broken {
		if _, err := waitRepaired(t.Context(), channel, "nginx"); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestProgramsMissing(t *testing.T) {
	t.Setenv(framework.ToolsDirEnv, t.TempDir())
	t.Setenv(framework.KCPBinaryEnv, "")
	binDir := t.TempDir()
	if err := os.WriteFile(filepath.Join(binDir, controllerBinary), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"run", "up"} {
		cmd := newCommand()
		cmd.SetArgs([]string{command, "--dir=" + t.TempDir(), "--bin-dir=" + binDir})
		cmd.SetOut(io.Discard)
		err := cmd.ExecuteContext(t.Context())
		if err == nil {
			t.Fatalf("%s: got no error", command)
		}
		for _, want := range []string{syncerBinary, pluginBinary, "etcd", "make build tools"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %q does not say %q", command, err, want)
			}
		}
		if strings.Contains(err.Error(), controllerBinary) {
			t.Errorf("%s: error %q names a program that is there", command, err)
		}
	}
}

func TestDownWithoutDemo(t *testing.T) {
	for name, dir := range map[string]string{"no directory": filepath.Join(t.TempDir(), "none"), "nothing in it": t.TempDir()} {
		cmd := newCommand()
		cmd.SetArgs([]string{"down", "--dir=" + dir})
		var out strings.Builder
		cmd.SetOut(&out)
		if err := cmd.ExecuteContext(t.Context()); err != nil || !strings.Contains(out.String(), "Nothing was running") {
			t.Errorf("%s: got %q and error %v", name, out.String(), err)
		}
	}
}

func TestDurationsAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		9*time.Millisecond + 4*time.Microsecond: "9ms",
		1040 * time.Millisecond:                 "1.0s",
		31260 * time.Millisecond:                "31.3s",
	} {
		if got := seconds(d); got != want {
			t.Errorf("%s: got %s, want %s", d, got, want)
		}
	}
}
