package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	// deletionsEnv names the variable that says how many deletions to measure.
	deletionsEnv = "TMC_DELETIONS"
	// deletions is how many it is without it.
	deletions = 5
)

// small is a Deployment with what it needs and what follows it, as a small chart has it.
const small = `
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME}
data: {a: b}
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {app: NAME}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: 1
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      containers: [{name: main, image: "` + image + `", envFrom: [{configMapRef: {name: NAME}}]}]
---
`

// TestLettingGoFigures measures how long it takes from when a Deployment, its ConfigMap and its Service are deleted until two
// clusters have let go of all three. It does not run beside others.
func TestLettingGoFigures(t *testing.T) {
	count := deletions
	if value := os.Getenv(deletionsEnv); value != "" {
		var err error
		count, err = strconv.Atoi(value)
		check(t, err)
	}
	u := newTenant(t, env.shared, "lettinggo")
	var all []string
	var manifest strings.Builder
	for i := range count {
		name := fmt.Sprintf("web-%03d", i)
		all = append(all, name)
		manifest.WriteString(strings.ReplaceAll(small, "NAME", name))
	}
	u.inKCP().apply(t, manifest.String())
	u.inKCP().eventuallyIs(t, "deployments", `{range .items[*]}{.status.conditions[?(@.type=="Synced")].status}{.status.availableReplicas}{" "}{end}`, "to be in place", func(got string) bool {
		return got == strings.TrimSpace(strings.Repeat("True2 ", count))
	})
	for _, on := range []string{east, west} {
		u.onCluster(on).eventuallyIs(t, "services,configmaps", "{.items[*].metadata.name}", "to be in place", func(got string) bool { return strings.Count(got, "web-") == 2*count })
	}
	var took []time.Duration
	for _, name := range all {
		took = append(took, u.measureDeletion(t, name))
	}
	slices.Sort(took)
	t.Logf("%d deletions on two clusters: p50 %s, p99 %s", count, took[len(took)/2].Round(time.Millisecond), took[len(took)*99/100].Round(time.Millisecond))
	if slowest := took[len(took)-1]; slowest > letGo {
		t.Errorf("one took %s", slowest)
	}
}

// measureDeletion deletes what small has, and returns how long it took until all of it was gone in kcp.
func (u *tenant) measureDeletion(t *testing.T, name string) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	options := metav1.ListOptions{FieldSelector: "metadata.name=" + name}
	deployments, configMaps, services := u.client.AppsV1().Deployments(u.namespace), u.client.CoreV1().ConfigMaps(u.namespace), u.client.CoreV1().Services(u.namespace)
	var changes []watch.Interface
	for _, follow := range []func(context.Context, metav1.ListOptions) (watch.Interface, error){deployments.Watch, configMaps.Watch, services.Watch} {
		one, err := follow(ctx, options)
		check(t, err)
		defer one.Stop()
		changes = append(changes, one)
	}
	background := metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)}
	began := time.Now()
	check(t, deployments.Delete(ctx, name, background))
	check(t, configMaps.Delete(ctx, name, background))
	check(t, services.Delete(ctx, name, background))
	for _, one := range changes {
		for event := range one.ResultChan() {
			if event.Type == watch.Deleted {
				break
			}
		}
		check(t, ctx.Err())
	}
	return time.Since(began)
}
