package manifests

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/kcp-tmc/tmc/manifests/policytest"
)

// The objects of these specs, with what keeps them or without.
const (
	aPod       = "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: web}]}}"
	aRevision  = "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web-1, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: a, controller: true, blockOwnerDeletion: true}]}, spec: {replicas: 1}}"
	anOrphan   = "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web-1, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: c, uid: b}]}, spec: {replicas: 1}}"
	ofASet     = "{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: db-1, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: db, uid: a, controller: true}]}, revision: 1}"
	nobodysSet = "{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: db-1}, revision: 1}"
	isDeleted  = "metadata: {deletionTimestamp: '2026-01-02T03:04:05Z', finalizers: [a.b/c]}"
)

func TestReadOnlyPolicy(t *testing.T) {
	pods := corev1.SchemeGroupVersion.WithResource("pods")
	replicaSets := appsv1.SchemeGroupVersion.WithResource("replicasets")
	revisions := appsv1.SchemeGroupVersion.WithResource("controllerrevisions")
	const (
		noPods    = "a workspace runs no pods itself: create a Deployment, a StatefulSet, a DaemonSet or a Job; kubectl tmc get workloads shows where they run"
		createsRS = "a ReplicaSet of a workspace is a revision of a Deployment, which tmc keeps: create or change a Deployment instead"
		createsCR = "a ControllerRevision of a workspace is a revision of a StatefulSet or DaemonSet, which tmc keeps: create or change a StatefulSet or DaemonSet instead"
	)
	cases := map[string]struct {
		resource schema.GroupVersionResource
		// before and after are objects; after is a patch of before where there is one.
		before, after string
		subresource   string
		// want is what a consumer and a syncer are told, empty when they may. gone is set where the request deletes.
		want string
		gone bool
		// others is what administrators and the hub are told.
		others string
	}{
		"a pod":                                {resource: pods, after: aPod, want: noPods, others: noPods},
		"an ephemeral container":               {resource: pods, subresource: "ephemeralcontainers", before: aPod, after: "metadata: {labels: {a: b}}", want: noPods},
		"the change of a pod":                  {resource: pods, before: aPod, after: "metadata: {labels: {a: b}}", want: noPods},
		"the end of a pod":                     {resource: pods, before: aPod, gone: true},
		"the last of a pod's finalizers":       {resource: pods, before: aPod, after: isDeleted},
		"a ReplicaSet":                         {resource: replicaSets, after: anOrphan, want: createsRS},
		"the change of one that nothing keeps": {resource: replicaSets, before: anOrphan, after: "spec: {replicas: 2}", want: createsRS},
		"the end of one that nothing keeps":    {resource: replicaSets, before: anOrphan, gone: true},
		"a revision": {resource: replicaSets, after: aRevision,
			want: createsRS},
		"the change of a revision": {resource: replicaSets, before: aRevision, after: "spec: {replicas: 2}",
			want: "ReplicaSet web-1 is a revision of Deployment web, which tmc keeps: change Deployment web instead"},
		"the label of a revision": {resource: replicaSets, before: aRevision, after: "metadata: {labels: {a: b}}",
			want: "ReplicaSet web-1 is a revision of Deployment web, which tmc keeps: change Deployment web instead"},
		"to take it from its owner": {resource: replicaSets, before: aRevision, after: "metadata: {ownerReferences: null}",
			want: "ReplicaSet web-1 is a revision of Deployment web, which tmc keeps: change Deployment web instead"},
		"the end of a revision": {resource: replicaSets, before: aRevision, gone: true,
			want: "ReplicaSet web-1 is a revision of Deployment web, and goes with it; spec.revisionHistoryLimit there says how many are kept"},
		"a ControllerRevision":                {resource: revisions, after: nobodysSet, want: createsCR},
		"the number of a ControllerRevision":  {resource: revisions, before: ofASet, after: "revision: 9", want: "ControllerRevision db-1 is a revision of StatefulSet db, which tmc keeps: change StatefulSet db instead"},
		"the end of one that its owner keeps": {resource: revisions, before: ofASet, gone: true, want: "ControllerRevision db-1 is a revision of StatefulSet db, and goes with it; spec.revisionHistoryLimit there says how many are kept"},
		"the end of one without owners":       {resource: revisions, before: nobodysSet, gone: true},
		"a Deployment":                        {resource: deploymentsResource, after: placed},
	}
	consumers := []user.Info{
		&user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}},
		serviceAccount("consumer", "default", "tmc-controller"),
		impersonated(provider, "default", "tmc-controller"),
		impersonated("other", "default", "tmc-controller"),
		serviceAccount(provider, "tmc-syncers", "east"),
	}
	others := []user.Info{
		serviceAccount(provider, "default", "tmc-controller"),
		&user.DefaultInfo{Name: "system:apiserver", Groups: []string{"system:authenticated", "system:masters"}},
		&user.DefaultInfo{Name: "kcp-admin", Groups: []string{"system:kcp:admin", "system:authenticated"}},
	}
	policy := newJudge(t, "tmc-read-only")
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := policytest.Request{Resource: tc.resource, Subresource: tc.subresource}
			if tc.before != "" {
				r.Before = object(t, tc.before)
			}
			switch {
			case tc.before != "" && tc.after == isDeleted:
				r.Before = patched(t, r.Before, isDeleted)
				r.After = patched(t, r.Before, "metadata: {finalizers: null}")
			case tc.before != "" && !tc.gone:
				r.After = patched(t, r.Before, tc.after)
			case tc.before == "":
				r.After = object(t, tc.after)
			}
			for _, r.User = range consumers {
				if got := policy.Judge(t, r).Message(); got != tc.want {
					t.Errorf("%s %v: got %q, want %q", r.User.GetName(), r.User.GetExtra(), got, tc.want)
				}
			}
			for _, r.User = range others {
				if got := policy.Judge(t, r).Message(); got != tc.others {
					t.Errorf("%s: got %q, want %q", r.User.GetName(), got, tc.others)
				}
			}
		})
	}
}

// TestReadOnlyPolicyIsAboutServedKinds: what the policy is about is served and never synced, and all of that is in it.
func TestReadOnlyPolicyIsAboutServedKinds(t *testing.T) {
	synced := Kinds()
	var unsynced []string
	for _, resource := range Export().Spec.Resources {
		if kind := (schema.GroupResource{Group: resource.Group, Resource: resource.Name}); !slices.Contains(synced, kind) && resource.Name != "workloadplacements" {
			unsynced = append(unsynced, resource.Name)
		}
	}
	if got := strings.Join(unsynced, " "); got != "replicasets controllerrevisions pods" {
		t.Errorf("served and not synced are: %s", got)
	}
	policy := newJudge(t, "tmc-read-only")
	for _, resource := range Export().Spec.Resources {
		r := policytest.Request{
			User:     &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}},
			Resource: schema.GroupVersionResource{Group: resource.Group, Version: "v1", Resource: resource.Name},
			After:    object(t, "{apiVersion: x/v1, kind: Some, metadata: {name: a}}"),
		}
		want := strings.Contains(strings.Join(unsynced, " "), resource.Name)
		if got := policy.Judge(t, r).Denied(); got != want {
			t.Errorf("%s: denied: %t, want %t", resource.Name, got, want)
		}
	}
}
