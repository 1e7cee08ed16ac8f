package transform

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// everyMark is an entry of managedFields that owns all the marks of a copy, of the manager, operation and subresource.
func everyMark(manager, operation, subresource string) metav1.ManagedFieldsEntry {
	return ownsMarks(manager, operation, subresource, `{"f:metadata":{"f:labels":{"f:tmc.kcp.io/managed-by":{},"f:tmc.kcp.io/source-hash":{}},"f:annotations":{`+
		`"f:tmc.kcp.io/source-cluster":{},"f:tmc.kcp.io/source-namespace":{},"f:tmc.kcp.io/source-name":{},"f:tmc.kcp.io/source-uid":{},"f:tmc.kcp.io/target-cluster":{}}}}`)
}

func ownsMarks(manager, operation, subresource, fields string) metav1.ManagedFieldsEntry {
	return metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationType(operation), Subresource: subresource,
		APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
	}
}

func TestMarksCountOnlyWhenOwnedByApply(t *testing.T) {
	origin := Origin{Workspace: "victim", Namespace: "shop", Name: "data", Cluster: "east"}
	labelsAlone := `{"f:metadata":{"f:labels":{"f:tmc.kcp.io/managed-by":{},"f:tmc.kcp.io/source-hash":{}}}}`
	cases := map[string]struct {
		reason  string
		entries []metav1.ManagedFieldsEntry
		// hasOrigin and isCopy are what is made of the object, hash whether its label tells what of.
		hasOrigin, isCopy, hash bool
	}{
		"OurApply":              {"a copy", []metav1.ManagedFieldsEntry{everyMark("tmc-syncer", "Apply", "")}, true, true, true},
		"BesideOthers":          {"who adds to a copy does not take it", []metav1.ManagedFieldsEntry{everyMark("kubectl", "Apply", ""), everyMark("tmc-syncer", "Apply", "")}, true, true, true},
		"no entries":            {"restored without them, or made by hand", nil, false, false, false},
		"a controllers":         {"from a template", []metav1.ManagedFieldsEntry{everyMark("kube-controller-manager", "Update", "")}, false, false, false},
		"an update in our name": {"no apply", []metav1.ManagedFieldsEntry{everyMark("tmc-syncer", "Update", "")}, false, false, false},
		"an apply of anothers":  {"not ours", []metav1.ManagedFieldsEntry{everyMark("helm", "Apply", "")}, false, false, false},
		"of a subresource":      {"not the object", []metav1.ManagedFieldsEntry{everyMark("tmc-syncer", "Apply", "status")}, false, false, false},
		"an entry of nothing":   {"it claims no mark", []metav1.ManagedFieldsEntry{ownsMarks("tmc-syncer", "Apply", "", `{"f:spec":{}}`)}, false, false, false},
		"an unreadable entry":   {"it claims nothing that anybody could read", []metav1.ManagedFieldsEntry{ownsMarks("tmc-syncer", "Apply", "", `{"x`)}, false, false, false},
		"AnnotationsForeign":    {"whoever wrote other annotations is not believed, the label still is", []metav1.ManagedFieldsEntry{ownsMarks("tmc-syncer", "Apply", "", labelsAlone)}, false, true, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "PersistentVolumeClaim"}}
			obj.SetLabels(map[string]string{"app": "db", v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.SourceHashLabel: origin.Hash()})
			obj.SetAnnotations(map[string]string{
				"note": "hi", v1alpha1.SourceWorkspaceAnnotation: origin.Workspace, v1alpha1.SourceNamespaceAnnotation: origin.Namespace,
				v1alpha1.SourceNameAnnotation: origin.Name, v1alpha1.SourceUIDAnnotation: "u-1", v1alpha1.TargetClusterAnnotation: origin.Cluster,
			})
			obj.SetManagedFields(tc.entries)
			KeepOwnMarks(obj)
			got, hasOrigin := OriginOf(obj)
			if hasOrigin != tc.hasOrigin || hasOrigin && got != origin {
				t.Errorf("its origin is %+v (%t), want one: %t: %s", got, hasOrigin, tc.hasOrigin, tc.reason)
			}
			if IsCopy(obj) != tc.isCopy {
				t.Errorf("a copy: %t, want %t: %s", IsCopy(obj), tc.isCopy, tc.reason)
			}
			if hash := obj.GetLabels()[v1alpha1.SourceHashLabel] != ""; hash != tc.hash {
				t.Errorf("keeps its hash: %t, want %t: %s", hash, tc.hash, tc.reason)
			}
			if obj.GetLabels()["app"] != "db" || obj.GetAnnotations()["note"] != "hi" {
				t.Errorf("lost what is not tmc's: %v, %v", obj.GetLabels(), obj.GetAnnotations())
			}
		})
	}
}

func TestMarksOfAppliedCopy(t *testing.T) {
	desired := desiredOf(t, fromFile(t, "upstream.yaml"))
	obj := desired.DeepCopy()
	obj.SetManagedFields([]metav1.ManagedFieldsEntry{everyMark("tmc-syncer", "Apply", "")})
	KeepOwnMarks(obj)
	want, _ := OriginOf(desired)
	if got, ok := OriginOf(obj); !ok || got != want {
		t.Errorf("got %+v, %t, want %+v", got, ok, want)
	}
}

const marksOfAnother = `{labels: {app: db, tmc.kcp.io/managed-by: tmc-syncer, tmc.kcp.io/source-hash: abc},
  annotations: {note: hi, tmc.kcp.io/source-cluster: victim, tmc.kcp.io/source-name: data, status.tmc.kcp.io/east: "{}"},
  managedFields: [{manager: tmc-syncer, operation: Apply, apiVersion: v1, fieldsType: FieldsV1, fieldsV1: {"f:metadata": {}}}]}`

// stripped is what goes down of marksOfAnother.
var stripped = map[string]any{"labels": map[string]any{"app": "db"}, "annotations": map[string]any{"note": "hi"}}

// TestMarksAreRemovedFromTemplates has every place from which a cluster's controllers make objects, and a kind that nobody has heard of.
func TestMarksAreRemovedFromTemplates(t *testing.T) {
	cases := map[string]struct {
		document string
		path     []string
	}{
		"PodTemplate":               {`{apiVersion: apps/v1, kind: Deployment, spec: {template: {metadata: METADATA, spec: {}}}}`, []string{"spec", "template", "metadata"}},
		"JobTemplate":               {`{apiVersion: batch/v1, kind: CronJob, spec: {jobTemplate: {metadata: METADATA, spec: {}}}}`, []string{"spec", "jobTemplate", "metadata"}},
		"PodTemplate of a Job":      {`{apiVersion: batch/v1, kind: CronJob, spec: {jobTemplate: {spec: {template: {metadata: METADATA}}}}}`, []string{"spec", "jobTemplate", "spec", "template", "metadata"}},
		"volume claim template":     {`{apiVersion: apps/v1, kind: StatefulSet, spec: {volumeClaimTemplates: [{metadata: METADATA}]}}`, []string{"spec", "volumeClaimTemplates", "metadata"}},
		"EphemeralVolume":           {`{apiVersion: apps/v1, kind: DaemonSet, spec: {template: {spec: {volumes: [{ephemeral: {volumeClaimTemplate: {metadata: METADATA}}}]}}}}`, []string{"spec", "template", "spec", "volumes", "ephemeral", "volumeClaimTemplate", "metadata"}},
		"of an unknown kind":        {`{apiVersion: example.com/v1, kind: Fleet, spec: {groups: [{podTemplate: {metadata: METADATA}}]}}`, []string{"spec", "groups", "podTemplate", "metadata"}},
		"outside of the spec":       {`{apiVersion: example.com/v1, kind: Fleet, template: {metadata: METADATA}}`, []string{"template", "metadata"}},
		"put there by an override":  {`{apiVersion: apps/v1, kind: StatefulSet, metadata: {annotations: {override.tmc.kcp.io/east: 'OVERRIDE'}}, spec: {volumeClaimTemplates: [{metadata: {}}]}}`, []string{"spec", "volumeClaimTemplates", "metadata"}},
		"copied with an override":   {`{apiVersion: apps/v1, kind: StatefulSet, metadata: {annotations: {override.tmc.kcp.io/east: '[{"op":"copy","from":"/spec/template/metadata","path":"/spec/volumeClaimTemplates/0/metadata"}]'}}, spec: {template: {metadata: METADATA}, volumeClaimTemplates: [{}]}}`, []string{"spec", "volumeClaimTemplates", "metadata"}},
		"made where there was none": {`{apiVersion: apps/v1, kind: StatefulSet, metadata: {annotations: {override.tmc.kcp.io/east: '[{"op":"add","path":"/spec/volumeClaimTemplates","value":[{"metadata":JSON}]}]'}}, spec: {}}`, []string{"spec", "volumeClaimTemplates", "metadata"}},
	}
	asJSON, err := yaml.YAMLToJSON([]byte(marksOfAnother))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			document := strings.NewReplacer("METADATA", marksOfAnother, "JSON", string(asJSON),
				"OVERRIDE", `[{"op":"replace","path":"/spec/volumeClaimTemplates/0/metadata","value":`+string(asJSON)+`}]`).Replace(tc.document)
			upstreamObj := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(document), &upstreamObj.Object); err != nil {
				t.Fatal(err)
			}
			upstreamObj.SetName("db")
			upstreamObj.SetNamespace("shop")
			desired, err := Desired(Input{Object: upstreamObj, Origin: Origin{Workspace: "attacker", Namespace: "shop", Name: "db", Cluster: "east"}})
			if err != nil {
				t.Fatal(err)
			}
			var found any = desired.Object
			for _, field := range tc.path {
				if list, isList := found.([]any); isList {
					found = list[0]
				}
				found = found.(map[string]any)[field]
			}
			if diff := cmp.Diff(any(stripped), found); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMarksOfUpstreamNamespaceStayUpstream(t *testing.T) {
	upstreamNamespace := BareNamespace("shop")
	upstreamNamespace.SetLabels(map[string]string{"team": "shop", v1alpha1.ManagedByLabel: v1alpha1.ManagedByOthersValue, v1alpha1.SourceHashLabel: "abc", "x.tmc.kcp.io/y": "z"})
	upstreamNamespace.SetAnnotations(map[string]string{
		v1alpha1.SourceWorkspaceAnnotation: "victim", v1alpha1.SourcePathAnnotation: "root:victim", v1alpha1.SourceNameAnnotation: "other", v1alpha1.TargetClusterAnnotation: "west",
	})
	origin := Origin{Workspace: "ws", Name: "shop", Cluster: "east"}
	plain, err := DesiredNamespace(nil, origin, v1alpha1.TransformRule{})
	if err != nil {
		t.Fatal(err)
	}
	marked, err := DesiredNamespace(upstreamNamespace, origin, v1alpha1.TransformRule{})
	if err != nil {
		t.Fatal(err)
	}
	for _, labels := range []map[string]string{plain.GetLabels(), marked.GetLabels()} {
		delete(labels, "team")
	}
	annotations := func(namespace *unstructured.Unstructured) map[string]string {
		all := namespace.GetAnnotations()
		delete(all, v1alpha1.AppliedHashAnnotation)
		return all
	}
	labels := marked.GetLabels()
	delete(labels, "team")
	if diff := cmp.Diff(plain.GetLabels(), labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(annotations(plain), annotations(marked)); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
}

func TestMarksCannotBeAddedByRule(t *testing.T) {
	for _, key := range []string{v1alpha1.ManagedByLabel, v1alpha1.SourceHashLabel, v1alpha1.SourceUIDAnnotation, "status.tmc.kcp.io/east"} {
		entries := map[string]string{key: "x"}
		for field, rule := range map[string]v1alpha1.TransformRule{"labels": {Labels: entries}, "annotations": {Annotations: entries}} {
			if err := ValidateRule(rule); err == nil || !strings.Contains(err.Error(), field+"["+key+"]") {
				t.Errorf("%s %s: got %v, want it refused", field, key, err)
			}
		}
	}
}

func TestNeverSyncedCannotBeMadeByOverride(t *testing.T) {
	cases := map[string]struct {
		reason, document string
		override         string
		says             string
	}{
		"a token":                 {"a cluster would put a token of its own into it", `{apiVersion: v1, kind: Secret, type: Opaque}`, `[{"op":"replace","path":"/type","value":"kubernetes.io/service-account-token"},{"op":"add","path":"/metadata/annotations/kubernetes.io~1service-account.name","value":"prometheus"}]`, "token of a ServiceAccount"},
		"a token of no account":   {"the type alone does", `{apiVersion: v1, kind: Secret, type: Opaque}`, `[{"op":"replace","path":"/type","value":"kubernetes.io/service-account-token"}]`, "token of a ServiceAccount"},
		"an account with no type": {"as it is upstream without a type", `{apiVersion: v1, kind: Secret, type: Opaque}`, `[{"op":"remove","path":"/type"},{"op":"add","path":"/metadata/annotations/kubernetes.io~1service-account.name","value":"prometheus"}]`, "token of a ServiceAccount"},
		"a bootstrap token":       {"nodes join with it", `{apiVersion: v1, kind: Secret, type: Opaque}`, `[{"op":"replace","path":"/type","value":"bootstrap.kubernetes.io/token"}]`, "bootstrap token"},
		"a type copied":           {"however it gets there", `{apiVersion: v1, kind: Secret, type: Opaque, data: {t: x}, stringData: {t: kubernetes.io/service-account-token}}`, `[{"op":"add","path":"/x","value":"kubernetes.io/service-account-token"},{"op":"move","from":"/x","path":"/type"}]`, "token of a ServiceAccount"},
		"an ordinary override":    {"", `{apiVersion: v1, kind: Secret, type: Opaque}`, `[{"op":"add","path":"/data","value":{"a":"Yg=="}}]`, ""},
		"another type":            {"", `{apiVersion: v1, kind: Secret, type: Opaque}`, `[{"op":"replace","path":"/type","value":"kubernetes.io/tls"}]`, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			upstreamObj := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(tc.document), &upstreamObj.Object); err != nil {
				t.Fatal(err)
			}
			upstreamObj.SetName("data")
			upstreamObj.SetNamespace("shop")
			upstreamObj.SetAnnotations(map[string]string{"override.tmc.kcp.io/east": tc.override})
			_, err := Desired(Input{Object: upstreamObj, Origin: Origin{Workspace: "ws", Namespace: "shop", Name: "data", Cluster: "east"}})
			if tc.says == "" {
				if err != nil {
					t.Errorf("got %v: %s", err, tc.reason)
				}
				return
			}
			_, ofOverride := errors.AsType[*OverrideError](err)
			_, never := errors.AsType[*NeverSyncedError](err)
			if !ofOverride || !never || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "override.tmc.kcp.io/east") {
				t.Errorf("got %v, want the override refused for %q: %s", err, tc.says, tc.reason)
			}
		})
	}
}

func TestNeverSyncedCannotBeMadeByRule(t *testing.T) {
	upstreamObj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret"}}
	upstreamObj.SetName("data")
	upstreamObj.SetNamespace("shop")
	rule := v1alpha1.TransformRule{Annotations: map[string]string{"kubernetes.io/service-account.name": "prometheus"}}
	_, err := Desired(Input{Object: upstreamObj, Rule: rule, Origin: Origin{Workspace: "ws", Namespace: "shop", Name: "data", Cluster: "east"}})
	if _, never := errors.AsType[*NeverSyncedError](err); !never {
		t.Errorf("got %v", err)
	}
}

// disown rewrites what our apply owns, as the server does when others take fields.
func disown(obj *unstructured.Unstructured, old, replacement string) {
	entries := OwnManagedFields(obj.GetManagedFields())
	entries[0].FieldsV1 = metav1.NewFieldsV1(strings.Replace(entries[0].FieldsV1.GetRawString(), old, replacement, 1))
	obj.SetManagedFields(entries)
}

func TestUpToDate(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(upstreamObj, downstreamObj *unstructured.Unstructured)
		want   bool
	}{
		"Untouched": {
			reason: "defaults that the server filled in and quantities that it rewrote are no drift",
			change: func(_, _ *unstructured.Unstructured) {},
			want:   true,
		},
		"only our ownership is cached": {
			reason: "caches keep no other entry, and of lists their order",
			change: func(_, d *unstructured.Unstructured) {
				NoteOrder(d, Order(d))
				d.SetManagedFields(OwnManagedFields(d.GetManagedFields()))
				unstructured.RemoveNestedField(d.Object, "spec", "template")
			},
			want: true,
		},
		"the status moves": {
			reason: "it is not ours",
			change: func(_, d *unstructured.Unstructured) { d.Object["status"] = map[string]any{"replicas": int64(7)} },
			want:   true,
		},
		"an image was set": {
			reason: "kubectl set image takes the field from us",
			change: func(_, d *unstructured.Unstructured) {
				disown(d, `"f:image":{},"f:name":{},"f:ports"`, `"f:name":{},"f:ports"`)
			},
		},
		"a label was taken": {
			reason: "labels are applied as well",
			change: func(_, d *unstructured.Unstructured) { disown(d, `"f:team":{},`, ``) },
		},
		"an atomic list was edited": {
			reason: "tolerations are owned as a whole",
			change: func(_, d *unstructured.Unstructured) { disown(d, `"f:tolerations":{},`, ``) },
		},
		"a container was removed": {
			reason: "an element of an associative list is owned by its key",
			change: func(_, d *unstructured.Unstructured) {
				disown(d, `"k:{\"name\":\"side\"}"`, `"k:{\"name\":\"other\"}"`)
			},
		},
		"no ownership is recorded": {
			reason: "then nothing says that it stands",
			change: func(_, d *unstructured.Unstructured) { d.SetManagedFields(nil) },
		},
		"the record is not readable": {
			reason: "likewise",
			change: func(_, d *unstructured.Unstructured) { disown(d, `"f:replicas":{}`, `"f:replicas":"?"`) },
		},
		"the upstream object changed": {
			reason: "something else is to be applied",
			change: func(u, _ *unstructured.Unstructured) { u.SetGeneration(2) },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			upstreamObj, downstreamObj := fromFile(t, "upstream.yaml"), fromFile(t, "downstream.yaml")
			tc.change(upstreamObj, downstreamObj)
			if got := IsInSync(desiredOf(t, upstreamObj), downstreamObj); got != tc.want {
				t.Errorf("stands: %t, want %t: %s", got, tc.want, tc.reason)
			}
		})
	}
}

func TestFingerprint(t *testing.T) {
	base := fromFile(t, "downstream.yaml")
	moved := base.DeepCopy()
	moved.SetResourceVersion("9999")
	moved.Object["status"] = map[string]any{}
	if Fingerprint(base) != Fingerprint(moved) {
		t.Error("a new status moved the fingerprint")
	}
	drifted := base.DeepCopy()
	disown(drifted, `"f:team":{},`, ``)
	if Fingerprint(base) == Fingerprint(drifted) {
		t.Error("a field that was taken did not move the fingerprint")
	}
	changed := base.DeepCopy()
	changed.SetGeneration(base.GetGeneration() + 1)
	if Fingerprint(base) == Fingerprint(changed) {
		t.Error("a new generation did not move the fingerprint")
	}
}
