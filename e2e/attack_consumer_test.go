package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// consumer is a ServiceAccount of a workspace that may do everything there, as the workspace's own administrator. The
// other tests act as an administrator of kcp, whom nothing holds back.
const consumer = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: consumer, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: consumer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: consumer, namespace: default}]
`

// asConsumer is the workspace as its own administrator sees it, once kcp has the policies in force.
func (u *tenant) asConsumer(t *testing.T) side {
	t.Helper()
	u.inKCP().in("default").apply(t, consumer)
	config, err := clientcmd.LoadFromFile(u.kubeconfig)
	check(t, err)
	user := config.AuthInfos[config.Contexts[config.CurrentContext].AuthInfo]
	user.Token = u.inKCP().in("default").kubectl(t, "create", "token", "consumer", "--duration=2h")
	file := filepath.Join(t.TempDir(), "consumer.kubeconfig")
	check(t, clientcmd.WriteToFile(*config, file))
	c := side{"kcp, as a consumer", file, u.namespace}
	eventually(t, "the policies to be in force for the consumer", soon, func(ctx context.Context) (bool, string, error) {
		_, err := c.try(ctx, "create", "configmap", "probe", "--dry-run=server")
		if err != nil {
			return false, "", err
		}
		_, err = c.try(ctx, "label", "namespace", u.namespace, v1alpha1.PlacementLabel("probe")+"=sync", "--dry-run=server")
		return isDenied(err, "tmc-consumers"), fmt.Sprint(err), nil
	})
	return c
}

// isDenied reports whether kubectl says that something is forbidden, in all the words.
func isDenied(err error, words ...string) bool {
	return err != nil && hasWords(err.Error(), append(words, "Forbidden"))
}

// checkDenied runs kubectl and fails the test unless that is forbidden, in all the words.
func (s side) checkDenied(t *testing.T, words []string, args ...string) {
	t.Helper()
	out, err := s.try(t.Context(), args...)
	if !isDenied(err, words...) {
		t.Errorf("%s: kubectl %s: got %q (error: %v), want it forbidden with the words %q", s.name, strings.Join(args, " "), out, err, words)
	}
}

// checkInputDenied is checkDenied with something on stdin.
func (s side) checkInputDenied(t *testing.T, input string, words []string, args ...string) {
	t.Helper()
	args = append([]string{"--namespace=" + s.namespace}, args...)
	out, _, err := framework.KubectlInput(t.Context(), strings.NewReader(input), s.kubeconfig, args...)
	if !isDenied(err, words...) {
		t.Errorf("%s: kubectl %s: got %q (error: %v), want it forbidden with the words %q", s.name, strings.Join(args, " "), out, err, words)
	}
}

// TestConsumerCannotWriteKeysOfTmc forges, as the administrator of a workspace, what clusters and the hub write.
func TestConsumerCannotWriteKeysOfTmc(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "attack")
	u.rollOutWeb(t, east)
	attacker := u.asConsumer(t)
	before := get(t, u.upstream("web"))

	for what, c := range map[string]struct{ patch, key string }{
		"west's report":            {`{"metadata":{"annotations":{"status.tmc.kcp.io/west":"{}"}}}`, v1alpha1.StatusAnnotation(west)},
		"east's report":            {`{"metadata":{"annotations":{"status.tmc.kcp.io/east":"{}"}}}`, v1alpha1.StatusAnnotation(east)},
		"no report of east's":      {`{"metadata":{"annotations":{"status.tmc.kcp.io/east":null}}}`, v1alpha1.StatusAnnotation(east)},
		"a place on west":          {`{"metadata":{"labels":{"cluster.tmc.kcp.io/west":"sync"}}}`, v1alpha1.PlacementLabel(west)},
		"no place on east":         {`{"metadata":{"labels":{"cluster.tmc.kcp.io/east":null}}}`, v1alpha1.PlacementLabel(east)},
		"a share for east":         {`{"metadata":{"annotations":{"replicas.tmc.kcp.io/east":"9"}}}`, v1alpha1.ReplicasAnnotation(east)},
		"that east is to leave it": {`{"metadata":{"annotations":{"deletion.tmc.kcp.io/east":"2026-01-02T03:04:05Z"}}}`, v1alpha1.DeletionAnnotation(east)},
		"why it is there":          {`{"metadata":{"annotations":{"tmc.kcp.io/placement":"{}"}}}`, v1alpha1.PlacementAnnotation},
		"a hold by west":           {`{"metadata":{"finalizers":["syncer.tmc.kcp.io/east","syncer.tmc.kcp.io/west"]}}`, v1alpha1.Finalizer(west)},
		"no hold by east":          {`{"metadata":{"finalizers":null}}`, v1alpha1.Finalizer(east)},
	} {
		t.Run(what, func(t *testing.T) {
			attacker.checkDenied(t, []string{"tmc-consumers", c.key}, "patch", "deployment", "web", "--type=merge", "--patch="+c.patch)
		})
	}
	attacker.checkDenied(t, []string{"deployments/status"}, "patch", "deployment", "web", "--subresource=status", "--type=merge", `--patch={"status":{"availableReplicas":7}}`)
	attacker.kubectl(t, "create", "configmap", "settings", "--from-literal=a=b")
	attacker.checkDenied(t, []string{v1alpha1.PlacementLabel(west)}, "label", "configmap", "settings", v1alpha1.PlacementLabel(west)+"=sync")
	attacker.checkDenied(t, []string{v1alpha1.PlacementLabel(west)}, "label", "namespace", u.namespace, v1alpha1.PlacementLabel(west)+"=sync")
	// The status of a built-in kind takes labels, too.
	attacker.checkDenied(t, []string{v1alpha1.PlacementLabel(west)}, "patch", "namespace", u.namespace, "--subresource=status", "--type=merge", `--patch={"metadata":{"labels":{"cluster.tmc.kcp.io/west":"sync"}}}`)

	if after := get(t, u.upstream("web")); after.ResourceVersion != before.ResourceVersion {
		t.Errorf("the Deployment was written to: before %s; after %s", describe(before), describe(after))
	}
	isGone(t, "a copy on west", u.copyOn(west, "web"))
}

// TestConsumerCannotImpersonateSyncer impersonates, as the administrator of a workspace, those who may write tmc's
// keys.
func TestConsumerCannotImpersonateSyncer(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "pretender")
	u.apply(t, some(deployment("web", on(east))))
	u.rollOut(t, "web", east)
	attacker := u.asConsumer(t)
	// Whoever he says he is, may do everything in the workspace.
	attacker.apply(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: everybody}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:authenticated"}]
`)
	provider, err := u.inKCP().get(t.Context(), "apibinding tmc.kcp.io", "{.status.apiExportClusterName}")
	check(t, err)
	for _, name := range []string{"system:serviceaccount:tmc-syncers:east", "system:serviceaccount:default:tmc-controller", "system:apiserver"} {
		t.Run(name, func(t *testing.T) {
			deployments := impersonating(t, attacker.kubeconfig, rest.ImpersonationConfig{
				UserName: name,
				Groups:   []string{"system:serviceaccounts", "system:authenticated"},
				Extra: map[string][]string{
					"authentication.kubernetes.io/cluster-name": {provider},
					"authentication.kcp.io/cluster-name":        {provider},
				},
			}).AppsV1().Deployments(u.namespace)
			write := func(ctx context.Context, patch string) error {
				_, err := deployments.Patch(ctx, "web", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
				return err
			}
			eventually(t, name+" to be allowed to write", soon, func(ctx context.Context) (bool, string, error) {
				err := write(ctx, `{"metadata":{"annotations":{"team":"blue"}}}`)
				if err == nil || strings.Contains(err.Error(), "tmc-syncers") {
					return true, "", nil // a syncer may write nothing but its own, whoever is behind it
				}
				return false, "", err
			})
			err := write(t.Context(), `{"metadata":{"annotations":{"status.tmc.kcp.io/east":"{}"}}}`)
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "tmc-consumers") {
				t.Errorf("got %v, want it denied by the policy tmc-consumers", err)
			}
		})
	}
	attacker.checkDenied(t, []string{"impersonation"}, "get", "deployments", "--as=x", "--as-group=system:kcp:admin")
	attacker.checkDenied(t, []string{"impersonation"}, "get", "deployments", "--as=x", "--as-group=system:masters")
}

// impersonating returns a client that says it is somebody else.
func impersonating(t *testing.T, kubeconfig string, who rest.ImpersonationConfig) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	check(t, err)
	config.Impersonate = who
	client, err := kubernetes.NewForConfig(config)
	check(t, err)
	return client
}

// TestConsumerWorksUnderPolicies does, as the administrator of a workspace, what people do: the policies of tmc
// forbid none of it.
func TestConsumerWorksUnderPolicies(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "consumer")
	c := u.asConsumer(t)
	c.kubectl(t, "create", "deployment", "web", "--image="+image)
	c.kubectl(t, "rollout", "status", "deployment/web", "--timeout=120s")
	c.kubectl(t, "scale", "deployment", "web", "--replicas=2")
	c.kubectl(t, "annotate", "deployment", "web", v1alpha1.TargetClustersAnnotation+"="+east, v1alpha1.OverrideAnnotation(west)+"=[]")
	c.kubectl(t, "label", "deployment", "web", "team=blue")
	c.kubectl(t, "patch", "deployment", "web", "--type=json", `--patch=[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"`+newImage+`"}]`)
	c.kubectl(t, "rollout", "restart", "deployment/web")
	eventuallyIs(t, "it to be on east alone", u.upstream("web"), func(d *appsv1.Deployment) bool {
		return tracesOf(d, east) == "" && d.Status.AvailableReplicas == 2
	})
	c.kubectl(t, "rollout", "status", "deployment/web", "--timeout=120s")
	if got := c.kubectl(t, "get", "deployment", "web", "--subresource=status", "--output=jsonpath={.status.availableReplicas}"); got != "2" {
		t.Errorf("the status says %q available replicas, want 2", got)
	}
	c.apply(t, `
apiVersion: tmc.kcp.io/v1alpha1
kind: WorkloadPlacement
metadata: {name: all}
spec: {clusterSelector: {clusterNames: [east]}}
`)
	for _, kind := range []string{
		"deployments", "statefulsets", "daemonsets", "jobs", "cronjobs", "services", "persistentvolumeclaims", "ingresses",
		"networkpolicies", "poddisruptionbudgets", "horizontalpodautoscalers", "workloadplacements",
	} {
		c.kubectl(t, "get", kind)
	}

	// A copy of the object would place itself, and a manifest of one's own would take the placement away.
	copied := c.kubectl(t, "get", "deployment", "web", "--output=json")
	copied = strings.ReplaceAll(copied, `"name": "web"`, `"name": "copied"`)
	c.checkInputDenied(t, copied, []string{v1alpha1.PlacementLabel(east), v1alpha1.Finalizer(east), "leave them out"}, "create", "--filename=-")
	own := `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: a}]}}}}`
	c.checkInputDenied(t, own, []string{v1alpha1.PlacementLabel(east), "leave them as they are"}, "replace", "--filename=-")
	get(t, u.copyOn(east, "web"))

	c.kubectl(t, "delete", "deployment", "web", "--timeout=120s")
	isGone(t, "the copy on east", u.copyOn(east, "web"))
	c.kubectl(t, "delete", "namespace", u.namespace, "--timeout=120s")
}
