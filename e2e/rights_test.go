package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/pkg/bootstrap"
)

// rightsWest is the cluster whose syncer loses its rights. The clusters' audit policy names its account.
const rightsWest = "rights-" + west

// roles are what a syncer's account has on its cluster.
type roles struct {
	on        *cluster
	namespace string
	cluster   *rbacv1.ClusterRole
	own       *rbacv1.Role
}

// TestSyncerRolesHaveNoUnusedRule takes each rule of the syncer's roles away in turn, and sees the cluster refuse
// what the rule is for.
func TestSyncerRolesHaveNoUnusedRule(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, "rights", rightsWest)
	syncer := in.syncers[rightsWest]
	syncer.config.Args = append(syncer.config.Args, "--leader-elect") // as a pod
	trail := auditFromNow(t)
	check(t, in.start(t.Context()))
	u := newTenant(t, in, "rights")
	r := rolesOf(t, env.clusters[west], in.syncerNamespace(rightsWest))
	u.comeAndGo(t)
	for _, refused := range trail.refusals(t, func(request) bool { return true }) {
		t.Errorf("with all its roles: %s", refused)
	}

	for i, rule := range r.cluster.Rules {
		without := r
		without.cluster = r.cluster.DeepCopy()
		without.cluster.Rules = slices.Delete(without.cluster.Rules, i, i+1)
		without.isMissed(t, u, syncer, rule)
	}
	for i, rule := range r.own.Rules {
		without := r
		without.own = r.own.DeepCopy()
		without.own.Rules = slices.Delete(without.own.Rules, i, i+1)
		without.isMissed(t, u, syncer, rule)
	}
	r.startWith(t, syncer)
	check(t, syncer.waitReady(t.Context()))
	u.comeAndGo(t) // with all of it back, as before
}

func rolesOf(t *testing.T, on *cluster, namespace string) roles {
	t.Helper()
	clusterRole, err := on.client.RbacV1().ClusterRoles().Get(t.Context(), bootstrap.Name+"-"+namespace, metav1.GetOptions{})
	check(t, err)
	own, err := on.client.RbacV1().Roles(namespace).Get(t.Context(), bootstrap.Name, metav1.GetOptions{})
	check(t, err)
	clusterRole.ResourceVersion, own.ResourceVersion = "", "" // they are written again and again
	return roles{on: on, namespace: namespace, cluster: clusterRole, own: own}
}

// startWith starts the syncer anew, with these roles.
func (r roles) startWith(t *testing.T, syncer *program) {
	t.Helper()
	// One that may not have its lease may have ended by itself.
	if !syncer.process.Exited() {
		check(t, syncer.stop(t.Context()))
	}
	_, err := r.on.client.RbacV1().ClusterRoles().Update(t.Context(), r.cluster, metav1.UpdateOptions{})
	check(t, err)
	_, err = r.on.client.RbacV1().Roles(r.namespace).Update(t.Context(), r.own, metav1.UpdateOptions{})
	check(t, err)
	// Each of them makes its lease.
	err = r.on.client.CoordinationV1().Leases(r.namespace).Delete(t.Context(), bootstrap.Name, metav1.DeleteOptions{})
	if !apierrors.IsNotFound(err) {
		check(t, err)
	}
	check(t, syncer.start())
}

// isMissed starts the syncer without the rule, has something come and go, and waits until the cluster has refused
// something that the rule allows.
func (r roles) isMissed(t *testing.T, u *tenant, syncer *program, rule rbacv1.PolicyRule) {
	t.Helper()
	t.Run(describeRule(rule), func(t *testing.T) {
		trail := auditFromNow(t)
		r.startWith(t, syncer)
		// A namespace of its own: that of the rule before may never go.
		kcp := u.inKCP().in(unique(u.namespace))
		kcp.kubectl(t, "create", "namespace", kcp.namespace)
		kcp.apply(t, workloadOfRights)
		isOf := func(a request) bool { return allows(rule, a) }
		eventually(t, "it to be missed, or not to be", soon, func(ctx context.Context) (bool, string, error) {
			ready, err := kcp.get(ctx, "deployment/web", "{.status.readyReplicas}")
			return ready == "1" || len(trail.refusals(t, isOf)) > 0, "", err
		})
		kcp.kubectl(t, "delete", "deployment,configmap", "--selector=rights", "--wait=false")
		eventually(t, "the cluster to refuse what the rule is for", soon, func(context.Context) (bool, string, error) {
			return len(trail.refusals(t, isOf)) > 0, fmt.Sprintf("refused: %s", trail.refusals(t, func(request) bool { return true })), nil
		})
	})
}

// workloadOfRights is what comes and goes.
const workloadOfRights = `
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, labels: {rights: ""}}, data: {a: b}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {rights: ""}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "example.com/web:1", envFrom: [{configMapRef: {name: settings}}]}]}
`

// comeAndGo creates a workload, and deletes it with its namespace.
func (u *tenant) comeAndGo(t *testing.T) {
	t.Helper()
	u.inKCP().apply(t, workloadOfRights)
	u.rollOut(t, "web", rightsWest)
	u.inKCP().kubectl(t, "delete", "deployment,configmap", "--selector=rights", "--wait=false")
	u.eventuallyNothingLeft(t)
}

// eventuallyNothingLeft waits until the tenant's objects have gone from both sides, and the namespace from the cluster.
func (u *tenant) eventuallyNothingLeft(t *testing.T) {
	t.Helper()
	eventually(t, "all of it to be gone", soon, func(ctx context.Context) (bool, string, error) {
		upstream, err := u.inKCP().try(ctx, "get", "deployment,configmap", "--selector=rights", "--output=name")
		if err != nil || upstream != "" {
			return false, upstream, err
		}
		namespace, err := u.onCluster(rightsWest).get(ctx, "namespace/"+u.namespace, "{.metadata.name}")
		return err == nil && namespace == "", namespace, err
	})
}

// refusals returns the requests of the account that the cluster has denied it.
func (trail auditTrail) refusals(t *testing.T, isOf func(request) bool) []request {
	t.Helper()
	return slices.DeleteFunc(trail.requests(t), func(r request) bool {
		return !strings.HasPrefix(r.log, west+"/") || r.Response.Code != http.StatusForbidden || !strings.Contains(r.UserAgent, rightsWest) || !isOf(r)
	})
}

// allows reports whether a rule allows a request.
func allows(rule rbacv1.PolicyRule, r request) bool {
	return slices.Contains(rule.APIGroups, r.Object.Group) && slices.Contains(rule.Resources, r.Object.Resource) &&
		slices.Contains(rule.Verbs, r.Verb) && (len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, r.Object.Name))
}

func describeRule(rule rbacv1.PolicyRule) string {
	return fmt.Sprintf("%s of %s in %q %s", strings.Join(rule.Verbs, ","), strings.Join(rule.Resources, ","), strings.Join(rule.APIGroups, ","), strings.Join(rule.ResourceNames, ","))
}
