package manifests

import (
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/kcp-tmc/tmc/manifests/policytest"
)

// withNulls is what charts make, who leave fields empty: kcp stores the nulls where the schema allows them.
const withNulls = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {cluster.tmc.kcp.io/east: sync}, annotations: {status.tmc.kcp.io/east: a}, finalizers: [syncer.tmc.kcp.io/east]}
spec:
  paused: null
  template:
    metadata: {annotations: null}
    spec:
      nodeSelector: null
      volumes: null
      imagePullSecrets: null
      containers:
      - {name: a, image: "a:1", env: null, ports: null, livenessProbe: null, resources: {limits: null, requests: {cpu: "1"}}}
      - {name: b, image: "b:1", securityContext: null}
`

// TestPoliciesTakeNullForAbsent: a null is no value that gets lost, no list that can be gone through, and the same as itself.
func TestPoliciesTakeNullForAbsent(t *testing.T) {
	replaced := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(withNulls) }
	going := replaced("finalizers:", "deletionTimestamp: '2026-01-02T03:04:05Z', finalizers:")
	alice, east := &user.DefaultInfo{Name: "alice", Groups: []string{"system:authenticated"}}, serviceAccount(provider, "tmc-syncers", "east")
	for name, tc := range map[string]struct {
		policy, before, after, manager string
		user                           user.Info
	}{
		"an image is set":        {"tmc-patches", withNulls, replaced("a:1", "a:2"), setter, alice},
		"a variable is set":      {"tmc-patches", withNulls, replaced("env: null", "env: [{name: A, value: b}]"), setter, alice},
		"ports are set":          {"tmc-patches", withNulls, replaced("ports: null", "ports: [{containerPort: 80}]"), patcher, alice},
		"limits are set":         {"tmc-patches", withNulls, replaced("limits: null", "limits: {cpu: '2'}"), setter, alice},
		"volumes are set":        {"tmc-patches", withNulls, replaced("volumes: null", "volumes: [{name: a, emptyDir: {}}]"), patcher, alice},
		"variables become null":  {"tmc-patches", replaced("env: null", "env: [{name: A, value: b}]"), withNulls, setter, alice},
		"volumes become null":    {"tmc-patches", replaced("volumes: null", "volumes: [{name: a, emptyDir: {}}]"), withNulls, patcher, alice},
		"a null goes":            {"tmc-patches", withNulls, replaced("livenessProbe: null, ", "", "limits: null, ", "", "b:1", "b:2"), patcher, alice},
		"everything is the same": {"tmc-patches", withNulls, withNulls, setter, alice},
		"a syncer reports":       {"tmc-syncers", withNulls, replaced("east: a", "east: b"), "", east},
		"its labels change":      {"tmc-deletions", going, strings.Replace(going, "annotations: {", "annotations: {mine: a, ", 1), "", alice},
	} {
		t.Run(name, func(t *testing.T) {
			r := policytest.Request{User: tc.user, Resource: deploymentsResource, Before: object(t, tc.before), After: object(t, tc.after), Manager: tc.manager}
			if verdict := newJudge(t, tc.policy).Judge(t, r); !verdict.Asked || verdict.Denied() {
				t.Errorf("asked: %t, denied: %q", verdict.Asked, verdict.Message())
			}
		})
	}
}
