package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// soon bounds anything that needs a few writes on both sides, on a machine that may be a fraction as fast as a
// developer's. In a workspace that is the first to be bound it takes some tries until the virtual workspace answers.
const soon = 2 * time.Minute

// check fails the test when a step of it could not be done.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition and fails the test when it does not come; see framework.Eventually.
func eventually(t *testing.T, what string, timeout time.Duration, poll func(ctx context.Context) (done bool, state string, err error)) {
	t.Helper()
	check(t, framework.Eventually(t.Context(), what, timeout, poll))
}

// reader gets one Deployment from one side.
type reader func(ctx context.Context) (*appsv1.Deployment, error)

// upstream reads a Deployment in kcp.
func (u *tenant) upstream(name string) reader {
	return func(ctx context.Context) (*appsv1.Deployment, error) { return u.deployment(ctx, name) }
}

// copyOn reads the copy of a Deployment on a cluster.
func (u *tenant) copyOn(clusterName, name string) reader {
	return func(ctx context.Context) (*appsv1.Deployment, error) {
		return u.installation.clusters[clusterName].deployment(ctx, u.namespace, name)
	}
}

// get reads a Deployment that has to be there.
func get(t *testing.T, read reader) *appsv1.Deployment {
	t.Helper()
	deployment, err := read(t.Context())
	check(t, err)
	return deployment
}

// is returns a poll, for eventually, of whether a Deployment passes a test.
func is(read reader, test func(*appsv1.Deployment) bool) func(ctx context.Context) (bool, string, error) {
	return func(ctx context.Context) (bool, string, error) {
		deployment, err := read(ctx)
		if err != nil {
			return false, "", err
		}
		return test(deployment), describe(deployment), nil
	}
}

// eventuallyIs waits until a Deployment passes a test.
func eventuallyIs(t *testing.T, what string, read reader, test func(*appsv1.Deployment) bool) {
	t.Helper()
	eventually(t, what, soon, is(read, test))
}

// eventuallyGone waits until there is no such Deployment.
func eventuallyGone(t *testing.T, what string, read reader) {
	t.Helper()
	eventually(t, what, soon, func(ctx context.Context) (bool, string, error) {
		deployment, err := read(ctx)
		if apierrors.IsNotFound(err) {
			return true, "", nil
		}
		if err != nil {
			return false, "", err
		}
		return false, "it is there: " + describe(deployment), nil
	})
}

// isGone fails the test when there is such a Deployment now.
func isGone(t *testing.T, what string, read reader) {
	t.Helper()
	deployment, err := read(t.Context())
	if err == nil {
		t.Errorf("%s is there: %s", what, describe(deployment))
	} else if !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

// isRolledOut reports of a cluster's own Deployment what kubectl's rollout status would.
func isRolledOut(d *appsv1.Deployment) bool {
	asked := ptr.Deref(d.Spec.Replicas, 1)
	return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == asked &&
		d.Status.Replicas == asked && d.Status.AvailableReplicas == asked
}

// isThrough reports whether the controller of a cluster's own Deployment has nothing more to write.
func isThrough(d *appsv1.Deployment) bool {
	return isRolledOut(d) && condition(d, "Progressing").Reason == "NewReplicaSetAvailable" && ptr.Deref(d.Status.TerminatingReplicas, 0) == 0
}

// describe returns in one line what tests check of a Deployment.
func describe(d *appsv1.Deployment) string {
	s := d.Status
	return fmt.Sprintf("generation %d (observed %d), replicas %d: status %d, updated %d, ready %d, available %d; image %s; "+
		"labels %v, annotations %v, finalizers %v, deleted %v, conditions %s",
		d.Generation, s.ObservedGeneration, ptr.Deref(d.Spec.Replicas, 1), s.Replicas, s.UpdatedReplicas, s.ReadyReplicas, s.AvailableReplicas,
		imageOf(d), d.Labels, d.Annotations, d.Finalizers, d.DeletionTimestamp != nil, describeConditions(d))
}

func describeConditions(d *appsv1.Deployment) string {
	var all string
	for _, c := range d.Status.Conditions {
		all += fmt.Sprintf("[%s=%s %s: %s]", c.Type, c.Status, c.Reason, c.Message)
	}
	return all
}

// imageOf returns the image of the first container.
func imageOf(d *appsv1.Deployment) string {
	if len(d.Spec.Template.Spec.Containers) == 0 {
		return ""
	}
	return d.Spec.Template.Spec.Containers[0].Image
}

// condition returns a condition of a Deployment, with no status when there is none.
func condition(d *appsv1.Deployment, conditionType string) appsv1.DeploymentCondition {
	for _, c := range d.Status.Conditions {
		if string(c.Type) == conditionType {
			return c
		}
	}
	return appsv1.DeploymentCondition{}
}

// eventuallyEvent waits for an event on a Deployment whose message has all the words. One that says what has been
// done, and not what is wrong, is Normal.
func (u *tenant) eventuallyEvent(t *testing.T, name, reason string, words ...string) {
	t.Helper()
	what := fmt.Sprintf("an event %s on %s with the words %q", reason, name, words)
	eventually(t, what, soon, func(ctx context.Context) (bool, string, error) {
		list, err := u.client.CoreV1().Events(u.namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
		if err != nil {
			return false, "", err
		}
		var seen []string
		for _, event := range list.Items {
			if (event.Type == "Normal") == (reason == "Placed") && event.Reason == reason && hasWords(event.Message, words) {
				return true, "", nil
			}
			seen = append(seen, event.Reason+": "+event.Message)
		}
		return false, fmt.Sprintf("events: %q", seen), nil
	})
}

func hasWords(text string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}
