package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/placement"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// toldNowhere keeps the events of that reason, with their types.
type toldNowhere struct {
	*fakeKCP

	events []string
}

func (n *toldNowhere) Warn(_ kcp.ObjectKey, obj *unstructured.Unstructured, reason string, messages ...string) {
	for range messages {
		n.add("Warning", obj, reason)
	}
}

func (n *toldNowhere) Tell(obj *unstructured.Unstructured, reason, _ string) {
	n.add("Normal", obj, reason)
}

func (n *toldNowhere) add(eventType string, obj *unstructured.Unstructured, reason string) {
	if reason == protocol.ReasonNotPlaced {
		n.events = append(n.events, eventType+" "+obj.GetKind()+"/"+obj.GetName())
	}
}

// hubOf is a Scheduler whose clock is set, and that tells of what goes nowhere.
type hubOf struct {
	*Scheduler

	told toldNowhere
	at   time.Time
}

func newHubOf(f *fakeKCP) *hubOf {
	h := &hubOf{told: toldNowhere{fakeKCP: f}, at: time.Unix(100_000, 0)}
	h.Scheduler = f.scheduler(fleet{"east"})
	h.config.Notices = &h.told
	h.now = func() time.Time { return h.at }
	h.nowhere.started = h.at
	return h
}

// turn takes turns over all objects after a time, and returns what was told sorted, and the shortest time until another turn.
func (h *hubOf) turn(t *testing.T, after time.Duration) (events string, again time.Duration) {
	t.Helper()
	h.at = h.at.Add(after)
	h.told.events = nil
	h.told.settleWith(t, h.Scheduler)
	for _, key := range h.told.keys() {
		left, err := h.sync(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if left > 0 && (again == 0 || left < again) {
			again = left
		}
	}
	slices.Sort(h.told.events)
	return strings.Join(h.told.events, ", "), again
}

const created = `creationTimestamp: "1970-01-02T03:46:30Z"` // 10 s before the hub began

func TestWhatNothingSendsAnywhereIsToldOfOnce(t *testing.T) {
	named := func(kind, name, rest string) string {
		apiVersion := map[string]string{"Deployment": "apps/v1", "Ingress": "networking.k8s.io/v1"}[kind]
		if apiVersion == "" {
			apiVersion = "v1"
		}
		return fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {name: %s, %s}%s}", apiVersion, kind, name, created, rest)
	}
	annotated := func(kind, name, annotation string) string {
		return strings.Replace(named(kind, name, ""), created, created+", annotations: {"+annotation+"}", 1)
	}
	labelled := func(kind, name, label string) string {
		return strings.Replace(named(kind, name, ""), created, created+", labels: {"+label+"}", 1)
	}
	const namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: app}}"
	web := named("Deployment", "web", ", spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main, envFrom: [{configMapRef: {name: settings}}]}]}}}")
	parked := strings.Replace(web, created, created+`, annotations: {tmc.kcp.io/target-clusters: ""}`, 1)
	ingress := named("Ingress", "web", ", spec: {defaultBackend: {service: {name: db}}, tls: [{secretName: cert}]}")
	cases := map[string]struct {
		reason  string
		objects []string
		want    string
	}{
		"nothing names it":           {"a Service serves nobody in kcp; the others may be read there", []string{named("Service", "db", ""), named("ConfigMap", "a", ""), named("Secret", "b", ""), named("ServiceAccount", "c", "")}, "Normal ConfigMap/a, Normal Secret/b, Normal ServiceAccount/c, Warning Service/db"},
		"an ExternalName":            {"its selector is ignored", []string{web, named("ConfigMap", "settings", ""), named("Service", "db", ", spec: {type: ExternalName, selector: {app: web}}")}, "Warning Service/db"},
		"a selector of others":       {"it matches nothing", []string{web, named("ConfigMap", "settings", ""), named("Service", "db", ", spec: {selector: {app: other}}")}, "Warning Service/db"},
		"what a workload needs":      {"it goes along", []string{web, named("ConfigMap", "settings", ""), named("Service", "db", ", spec: {selector: {app: web}}")}, ""},
		"of a workload that is kept": {"its user wants it nowhere", []string{parked, named("ConfigMap", "settings", ""), named("Service", "db", ", spec: {selector: {app: web}}")}, ""},
		"a circle":                   {"they follow each other, and nobody sends any of them", []string{ingress, named("Service", "db", ""), named("Secret", "cert", "")}, "Normal Secret/cert, Warning Ingress/web, Warning Service/db"},
		"the annotation":             {"whatever it says, somebody has placed it", []string{annotated("Service", "db", `tmc.kcp.io/target-clusters: ""`), annotated("Service", "all", `tmc.kcp.io/target-clusters: "*"`)}, ""},
		"what is never synced":       {"each cluster has its own", []string{named("ConfigMap", "kube-root-ca.crt", ""), named("ServiceAccount", "default", "")}, ""},
		"what Helm keeps":            {"it is for the helm that runs upstream", []string{named("Secret", "sh.helm.release.v1.web.v1", ", type: helm.sh/release.v1")}, ""},
		"a parent of an applyset":    {"likewise for kubectl", []string{labelled("Secret", "front", "applyset.kubernetes.io/id: x")}, ""},
		"who leads":                  {"likewise for controllers", []string{annotated("ConfigMap", "lock", "control-plane.alpha.kubernetes.io/leader: x")}, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeKCP(t, append(tc.objects, namespace)...)
			h := newHubOf(f)
			if got, again := h.turn(t, 0); got != "" || (tc.want != "") != (again == placement.NowhereAfter) {
				t.Errorf("told %q at once, and another turn after %s", got, again)
			}
			writes := len(f.written)
			if got, _ := h.turn(t, placement.NowhereAfter-time.Second); got != "" {
				t.Errorf("told %q too early", got)
			}
			if got, again := h.turn(t, time.Second); got != tc.want || again != 0 {
				t.Errorf("%s: told %q, want %q; another turn after %s", tc.reason, got, tc.want, again)
			}
			if got, again := h.turn(t, time.Hour); got != "" || again != 0 {
				t.Errorf("told %q again", got)
			}
			if len(f.written) != writes {
				t.Errorf("%d objects were written", len(f.written)-writes)
			}
		})
	}
}

func TestWhatGoesNowhereSurvivesRestarts(t *testing.T) {
	const db = `{apiVersion: v1, kind: Service, metadata: {name: db, ` + created + `}}`
	f := newFakeKCP(t, db)
	first := newHubOf(f)
	first.turn(t, 0)
	if got, _ := first.turn(t, placement.NowhereAfter); got != "Warning Service/db" {
		t.Fatalf("told %q", got)
	}
	t.Run("the next hub tells of nothing that the last one has", func(t *testing.T) {
		next := newHubOf(f)
		next.at = first.at.Add(time.Second)
		next.nowhere.started = next.at
		next.turn(t, 0)
		if got, again := next.turn(t, time.Hour); got != "" || again != 0 {
			t.Errorf("told %q", got)
		}
	})
	t.Run("it tells of what came shortly before", func(t *testing.T) {
		next := newHubOf(f)
		next.turn(t, 0)
		if got, _ := next.turn(t, placement.NowhereAfter); got != "Warning Service/db" {
			t.Errorf("told %q", got)
		}
	})
}

func TestWhatGoesNowhereAgainIsToldOfAgain(t *testing.T) {
	const web = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {metadata: {labels: {app: web}}, spec: {containers: []}}}}`
	f := newFakeKCP(t, web, `{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}}}`, "{apiVersion: v1, kind: Namespace, metadata: {name: app}}")
	h := newHubOf(f)
	h.turn(t, 0)
	for key, obj := range f.objects {
		switch key.Resource.Resource {
		case "deployments":
			delete(f.objects, key)
			h.OnUpstream(key, obj, nil)
		case "services":
			if !protocol.Read(obj).IsPlaced("east") {
				t.Fatal("it did not follow")
			}
		}
	}
	h.turn(t, time.Hour)
	if got, _ := h.turn(t, placement.NowhereAfter); got != "Warning Service/web" {
		t.Errorf("told %q, although it was created long ago", got)
	}
	for key, obj := range f.objects {
		if key.Resource.Resource == "services" {
			obj.SetAnnotations(merge(obj.GetAnnotations(), map[string]*string{"tmc.kcp.io/target-clusters": new("*")}))
			if h.turn(t, 0); h.nowhere.forget(key) {
				t.Error("it is still remembered as going nowhere")
			}
			now := metav1.NewTime(h.at)
			obj.SetDeletionTimestamp(&now)
			h.turn(t, time.Hour)
			delete(f.objects, key)
			if _, err := h.sync(t.Context(), key); err != nil || h.nowhere.forget(key) {
				t.Errorf("%v; it is remembered when it is gone", err)
			}
		}
	}
}
