package evaluate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/pkg/agent/syncer/causes"
	"github.com/kcp-tmc/tmc/pkg/kinds"
)

// ofKind has an object be of that kind, with that spec.
func ofKind(apiVersion, kind string, spec map[string]any) option {
	return func(obj *unstructured.Unstructured) {
		obj.SetAPIVersion(apiVersion)
		obj.SetKind(kind)
		obj.Object["spec"] = spec
	}
}

// selected is the spec of something that has pods, and more.
func selected(more map[string]any) map[string]any {
	spec := map[string]any{"replicas": int64(3), "selector": map[string]any{"matchLabels": map[string]any{"app": "web"}}}
	for name, value := range more {
		if spec[name] = value; value == nil {
			delete(spec, name)
		}
	}
	return spec
}

func TestUnready(t *testing.T) {
	counts := func(status map[string]any) map[string]any {
		for name, value := range map[string]any{"availableReplicas": int64(3), "updatedReplicas": int64(3)} {
			if _, isSet := status[name]; !isSet {
				status[name] = value
			}
		}
		return status
	}
	condition := func(conditionType, reason, message string) []any {
		return []any{map[string]any{"type": conditionType, "status": "True", "reason": reason, "message": message}, map[string]any{"type": "Progressing", "status": "True"}}
	}
	deployment, set, daemons := ofKind("apps/v1", "Deployment", selected(nil)), ofKind("apps/v1", "StatefulSet", selected(nil)), ofKind("apps/v1", "DaemonSet", selected(map[string]any{"replicas": nil}))
	job := ofKind("batch/v1", "Job", map[string]any{"completions": int64(5), "parallelism": int64(2)})
	cronJob, claim := ofKind("batch/v1", "CronJob", map[string]any{"schedule": "* * * * *"}), ofKind("v1", "PersistentVolumeClaim", map[string]any{})
	widget := ofKind("example.com/v1", "Widget", selected(nil))
	subject := func(podsBy kinds.PodsBy, selector string, wanted int64) causes.Subject {
		return causes.Subject{Namespace: "default", Name: "web", UID: "downstream-uid", PodsBy: podsBy, Selector: selector, Wanted: wanted, Settling: settling}
	}
	failed := subject(kinds.PodsByReplicaSets, "app=web", 3)
	failed.SaysFailedCreate = true
	unbound := subject("", "", 0)
	unbound.IsClaim = true
	endedJob := subject(kinds.PodsByObject, "batch.kubernetes.io/controller-uid=downstream-uid", 2)
	endedJob.Ended = true
	run, noRun := subject(kinds.PodsByJobs, "batch.kubernetes.io/controller-uid in (a,b)", 0), subject(kinds.PodsByJobs, "", 0)
	run.Settling, noRun.Settling, noRun.Ended = settlingRun, settlingRun, true
	jobs := []any{map[string]any{"uid": "b"}, map[string]any{"uid": "a"}, map[string]any{}, "none"}

	cases := map[string]struct {
		kind   option
		status map[string]any
		want   *Unready
	}{
		"all are available":                   {deployment, counts(map[string]any{}), nil},
		"one is not available":                {deployment, counts(map[string]any{"availableReplicas": int64(2)}), &Unready{Subject: subject(kinds.PodsByReplicaSets, "app=web", 3)}},
		"there is no status yet":              {deployment, nil, &Unready{Subject: subject(kinds.PodsByReplicaSets, "app=web", 3)}},
		"one is of an earlier spec":           {deployment, counts(map[string]any{"updatedReplicas": int64(2)}), &Unready{Subject: subject(kinds.PodsByReplicaSets, "app=web", 3)}},
		"one more is there, and not ready":    {deployment, counts(map[string]any{"unavailableReplicas": int64(1)}), &Unready{Subject: subject(kinds.PodsByReplicaSets, "app=web", 3)}},
		"its roll-out is paused":              {ofKind("apps/v1", "Deployment", selected(map[string]any{"paused": true})), counts(map[string]any{"updatedReplicas": int64(2)}), nil},
		"it is to have none":                  {ofKind("apps/v1", "Deployment", selected(map[string]any{"replicas": int64(0)})), nil, nil},
		"the pods of which cannot be made":    {deployment, counts(map[string]any{"availableReplicas": int64(2), "conditions": condition("ReplicaFailure", "FailedCreate", `pods "web-1-x" is forbidden: exceeded quota`)}), &Unready{Subject: failed, Own: causes.Own{{Reason: "FailedCreate", Message: "exceeded quota"}}}},
		"a set that lacks one":                {set, counts(map[string]any{"availableReplicas": int64(2)}), &Unready{Subject: subject(kinds.PodsByObject, "app=web", 3)}},
		"a set with a partition":              {ofKind("apps/v1", "StatefulSet", selected(map[string]any{"updateStrategy": map[string]any{"rollingUpdate": map[string]any{"partition": int64(1)}}})), counts(map[string]any{"updatedReplicas": int64(2)}), nil},
		"a set whose pods somebody deletes":   {ofKind("apps/v1", "StatefulSet", selected(map[string]any{"updateStrategy": map[string]any{"type": "OnDelete"}})), counts(map[string]any{"updatedReplicas": int64(2)}), nil},
		"daemons, of which one lacks":         {daemons, map[string]any{"observedGeneration": int64(1), "desiredNumberScheduled": int64(2), "updatedNumberScheduled": int64(2), "numberAvailable": int64(1)}, &Unready{Subject: subject(kinds.PodsByObject, "app=web", 2)}},
		"daemons, of which nobody has heard":  {daemons, nil, &Unready{Subject: subject(kinds.PodsByObject, "app=web", 0)}},
		"daemons on no node":                  {daemons, map[string]any{"observedGeneration": int64(1)}, nil},
		"a Job that runs":                     {job, map[string]any{"active": int64(2), "ready": int64(2)}, nil},
		"a Job of which one is not ready":     {job, map[string]any{"active": int64(2), "ready": int64(1)}, &Unready{Subject: subject(kinds.PodsByObject, "batch.kubernetes.io/controller-uid=downstream-uid", 2)}},
		"a Job that tries again":              {job, map[string]any{"active": int64(2), "ready": int64(2), "failed": int64(1)}, &Unready{Subject: subject(kinds.PodsByObject, "batch.kubernetes.io/controller-uid=downstream-uid", 2)}},
		"a Job that has failed":               {job, map[string]any{"failed": int64(3), "conditions": append(condition("Failed", "BackoffLimitExceeded", "too often"), condition("FailureTarget", "BackoffLimitExceeded", "too often")...)}, &Unready{Subject: endedJob, Own: causes.Own{{Reason: "BackoffLimitExceeded", Message: "too often"}}, Lasting: true}},
		"a Job that has done it":              {job, map[string]any{"failed": int64(3), "conditions": condition("Complete", "", "")}, nil},
		"a Job that is suspended":             {ofKind("batch/v1", "Job", map[string]any{"suspend": true}), nil, nil},
		"a Job with a selector of its own":    {ofKind("batch/v1", "Job", selected(map[string]any{"manualSelector": true, "replicas": nil})), map[string]any{"failed": int64(1)}, &Unready{Subject: subject(kinds.PodsByObject, "app=web", 1)}},
		"a CronJob that has never run":        {cronJob, map[string]any{}, nil},
		"a CronJob that runs":                 {cronJob, map[string]any{"active": jobs, "lastScheduleTime": "2026-01-01T12:00:00Z", "lastSuccessfulTime": "2026-01-01T11:00:00Z"}, &Unready{Subject: run, Lasting: true}},
		"a CronJob of which a run has failed": {cronJob, map[string]any{"lastScheduleTime": "2026-01-01T12:00:00Z", "lastSuccessfulTime": "2026-01-01T11:00:00Z"}, &Unready{Subject: noRun, Lasting: true}},
		"a CronJob that has run":              {cronJob, map[string]any{"lastScheduleTime": "2026-01-01T12:00:00Z", "lastSuccessfulTime": "2026-01-01T12:00:10Z"}, nil},
		"a claim":                             {claim, map[string]any{"phase": "Pending"}, &Unready{Subject: unbound}},
		"a claim that is bound":               {claim, map[string]any{"phase": "Bound"}, nil},
		"a kind that nobody knows":            {widget, map[string]any{"availableReplicas": int64(2)}, &Unready{Subject: subject("", "app=web", 3)}},
		"a kind that counts nothing":          {widget, map[string]any{}, nil},
		"a kind that says its selector":       {ofKind("example.com/v1", "Widget", map[string]any{"replicas": int64(1)}), map[string]any{"availableReplicas": int64(0), "selector": "app=web"}, &Unready{Subject: subject("", "app=web", 1)}},
		"a selector that is none":             {ofKind("example.com/v1", "Widget", selected(map[string]any{"selector": map[string]any{"matchLabels": "none"}})), map[string]any{"availableReplicas": int64(0)}, nil},
		"a selector that selects all":         {ofKind("example.com/v1", "Widget", selected(map[string]any{"selector": map[string]any{}})), map[string]any{"availableReplicas": int64(0)}, nil},
		"a kind that has no pods":             {ofKind("v1", "ConfigMap", nil), map[string]any{}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			here := upstreamDeployment(placed, held, c.kind)
			copied := copyOf(t, here, func(obj *unstructured.Unstructured) {
				obj.SetGeneration(1)
				if c.status != nil {
					obj.Object["status"] = c.status
				}
			})
			if diff := cmp.Diff(c.want, evaluated(t, inputOf(here, copied), nil).Unready()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestUnreadyIsAboutOurCopies(t *testing.T) {
	here := upstreamDeployment(placed, held, ofKind("apps/v1", "Deployment", selected(nil)))
	job := upstreamDeployment(placed, held, asJob)
	gone := inputOf(job, nil)
	gone.Upstream = upstreamDeployment(asJob, placed, held, reported("Failed", 1))
	gone.Final = copyOf(t, job, ended)
	for name, c := range map[string]struct {
		in   Input
		want *Unready
	}{
		"no copy":                      {inputOf(here, nil), nil},
		"an object that is in the way": {inputOf(here, upstreamDeployment(ofKind("apps/v1", "Deployment", selected(nil)))), nil},
		"a copy that is being deleted": {inputOf(here, copyOf(t, here, deleting)), nil},
		"a Job that has run":           {gone, &Unready{Subject: causes.Subject{Ended: true}, Lasting: true}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, evaluated(t, c.in, nil).Unready()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestUnreadyHeedsOverride has the selector be another one on this cluster.
func TestUnreadyHeedsOverride(t *testing.T) {
	here := upstreamDeployment(placed, held, ofKind("apps/v1", "Deployment", selected(nil)))
	e := evaluated(t, inputOf(here, copyOf(t, here)), nil)
	e.Desired = upstreamDeployment(ofKind("apps/v1", "Deployment", selected(map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"app": "other"}}})))
	if got := e.Unready(); got == nil || got.Subject.Selector != "app=other" {
		t.Errorf("got %+v", got)
	}
}
