package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kcp-tmc/tmc/hack/measure"
)

func TestFlagsInvalid(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"unknown measurement": {[]string{"--only", "latency,speed"}, "speed"},
		"no samples":          {[]string{"--samples", "0"}, "--samples"},
		"no time":             {[]string{"--timeout", "0s"}, "--timeout"},
		"nothing is built":    {nil, "make build"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cmd := newCommand()
			cmd.SetArgs(append(test.args, "--bin-dir", t.TempDir()))
			cmd.SetOut(io.Discard)
			if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one that says %q", err, test.want)
			}
		})
	}
}

func TestObserverNotesTheFirstMoment(t *testing.T) {
	o := &observer{key: (*unstructured.Unstructured).GetName, objects: map[string]*unstructured.Unstructured{}, waiting: map[string][]*expectation{}}
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	ready := func(replicas int64) *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"readyReplicas": replicas}}}
		u.SetName("web")
		return u
	}
	there, all, gone := o.await("web", exists), o.await("web", isReady(2)), o.await("other", isGone)
	o.see(ready(1), at(1))
	o.see(ready(2), at(2))
	o.see(ready(2), at(3))
	away := o.await("web", isGone)
	o.forget(ready(2), at(4))
	for name, c := range map[string]struct {
		e    *expectation
		want time.Time
	}{"exists": {there, at(1)}, "is ready": {all, at(2)}, "is gone": {away, at(4)}} {
		if got, err := c.e.wait(t.Context()); err != nil || !got.Equal(c.want) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, c.want)
		}
	}
	if _, err := gone.wait(t.Context()); err != nil {
		t.Errorf("what is so from the beginning: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.await("web", exists).wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was canceled", err)
	}
}

func TestWritesAreCountedByWriter(t *testing.T) {
	request := func(side, agent, verb, resource, what string, code int) measure.Request {
		r := measure.Request{Side: side, UserAgent: agent, Verb: verb, What: what}
		r.Object.Resource, r.Response.Code = resource, code
		return r
	}
	got := writesOf("create", []measure.Request{
		request("cluster", "tmc-syncer/v1", "patch", "deployments", "apply deployments", 201),
		request("kcp", "tmc-syncer/v1", "patch", "deployments", "report", 200),
		request("kcp", "tmc-syncer/v1", "patch", "deployments", "report", 409),
		request("kcp", "tmc-controller/v1", "patch", "deployments", "placement labels", 500),
		request("kcp", "tmc-controller/v1", "update", "leases", "update leases", 200),
		request("kcp", "tmc-controller/v1", "get", "deployments", "get deployments", 200),
	}, 2)
	want := [][]string{
		{"create", "kcp", "tmc-controller", "placement labels", "0.5", "0", "1"},
		{"create", "kcp", "tmc-syncer", "report", "1.0", "1", "0"},
		{"create", "kcp", "all", "", "1.5", "1", "1"},
		{"create", "cluster", "tmc-syncer", "apply deployments", "0.5", "0", "0"},
		{"create", "cluster", "all", "", "0.5", "0", "0"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRolloutIsComplete(t *testing.T) {
	deployment := func(generation, observed, replicas, updated, available int64) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"generation": generation},
			"status":   map[string]any{"observedGeneration": observed, "replicas": replicas, "updatedReplicas": updated, "availableReplicas": available},
		}}
	}
	cases := map[string]struct {
		obj  *unstructured.Unstructured
		want bool
	}{
		"done":             {deployment(2, 2, 4, 4, 4), true},
		"not changed yet":  {deployment(1, 1, 4, 4, 4), false},
		"not observed":     {deployment(2, 1, 4, 4, 4), false},
		"an old pod":       {deployment(2, 2, 5, 4, 4), false},
		"one not updated":  {deployment(2, 2, 4, 3, 4), false},
		"one not ready":    {deployment(2, 2, 4, 4, 3), false},
		"it is not there":  {nil, false},
		"nothing is known": {&unstructured.Unstructured{Object: map[string]any{}}, false},
	}
	for name, c := range cases {
		if got := isComplete(2, 4)(c.obj); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestProcessHasItsOwnFiles(t *testing.T) {
	got := asProcess([]string{"--cluster-name=east", "--kcp-kubeconfig=/etc/tmc/kcp/kubeconfig", "--leader-elect", "--bind-address=:8080"}, "/tmp/x")
	if diff := cmp.Diff([]string{"--cluster-name=east", "--kcp-kubeconfig=/tmp/x/kubeconfig", "--leader-elect"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
