package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

const controllerManager = "kube-controller-manager"

// denyBroken is an admission policy, with its binding, that keeps pods with the image "broken" out of a namespace.
const denyBroken = `{"apiVersion":"v1","kind":"List","items":[
{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicy","metadata":{"name":%[1]q},"spec":{
 "failurePolicy":"Fail",
 "matchConstraints":{"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["pods"]}]},
 "matchConditions":[{"name":"here","expression":"request.namespace == '%[1]s'"}],
 "validations":[{"expression":"object.spec.containers.all(c, c.image != 'broken')","message":"the image is broken here"}]}},
{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicyBinding","metadata":{"name":%[1]q},"spec":{
 "policyName":%[1]q,"validationActions":["Deny"]}}]}`

// TestStatusNamesClusterWhoseImageCannotStart has the admission of one cluster refuse pods.
func TestStatusNamesClusterWhoseImageCannotStart(t *testing.T) {
	t.Parallel()
	u := newTenant(t, env.shared, "broken-image")
	u.apply(t, some(deployment("web", withDeadline(3))))
	u.rollOut(t, "web", east, west)
	u.denyBroken(t, west)

	u.apply(t, some(deployment("web", withDeadline(3), withBrokenImage)))
	_, err := u.try(t, "rollout", "status", "deployment/web", "--timeout=120s")
	if err == nil || !strings.Contains(err.Error(), "exceeded its progress deadline") {
		t.Errorf("kubectl rollout status ended with %v, want that the deadline was exceeded", err)
	}
	eventuallyIs(t, "the conditions to name west and why", u.upstream("web"), func(d *appsv1.Deployment) bool {
		progressing, failure := condition(d, "Progressing"), condition(d, "ReplicaFailure")
		return progressing.Reason == "ProgressDeadlineExceeded" && strings.Contains(progressing.Message, west) && !strings.Contains(progressing.Message, east) &&
			failure.Status == "True" && strings.Contains(failure.Message, west) && strings.Contains(failure.Message, "the image is broken here")
	})
	// The old pods of west still serve, as they would on a single cluster.
	if available := condition(get(t, u.upstream("web")), "Available"); available.Status != "True" {
		t.Errorf("condition Available is %+v, want True", available)
	}

	u.apply(t, some(deployment("web", withDeadline(3), withNewImage)))
	u.rollOut(t, "web", east, west)
	eventuallyIs(t, "the failure to be history", u.upstream("web"), func(d *appsv1.Deployment) bool {
		return condition(d, "ReplicaFailure").Status == "" && condition(d, "Progressing").Reason == "NewReplicaSetAvailable"
	})
}

func withDeadline(seconds int32) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.ProgressDeadlineSeconds = &seconds }
}

// denyBroken refuses broken pods in the tenant's namespace on one cluster, and waits until it does.
func (u *tenant) denyBroken(t *testing.T, clusterName string) {
	t.Helper()
	c := env.clusters[clusterName]
	u.createOn(t, c, fmt.Sprintf(denyBroken, u.namespace))
	eventually(t, "the policy to be in force", soon, func(context.Context) (bool, string, error) {
		err := c.kubectl(t, "--namespace="+u.namespace, "run", "probe", "--image=broken", "--dry-run=server")
		return err != nil && strings.Contains(err.Error(), "the image is broken here"), fmt.Sprint(err), nil
	})
}

// TestStatusAvailableWaitsForLastCluster keeps pods off one cluster for a while.
func TestStatusAvailableWaitsForLastCluster(t *testing.T) {
	u := newTenant(t, env.shared, "wait")
	env.clusters[west].cordon(t)
	u.apply(t, some(deployment("web")))
	eventuallyIs(t, "east to be available", u.copyOn(east, "web"), isRolledOut)
	if stdout, err := u.try(t, "wait", "--for=condition=Available", "deployment/web", "--timeout=3s"); err == nil {
		t.Errorf("kubectl wait says %q while west has no pod", stdout)
	}
	env.clusters[west].uncordon(t)
	u.kubectl(t, "wait", "--for=condition=Available", "deployment/web", "--timeout=120s")
	if copied := get(t, u.copyOn(west, "web")); copied.Status.AvailableReplicas != 1 {
		t.Errorf("kubectl says that it is available, but on west: %s", describe(copied))
	}
}

// TestStatusNotDoneWithoutControllerManager stops the controller manager, which would observe a change.
func TestStatusNotDoneWithoutControllerManager(t *testing.T) {
	u := newTenant(t, env.shared, "blind")
	u.apply(t, some(deployment("web")))
	u.rollOut(t, "web", east, west)
	ctx := context.WithoutCancel(t.Context())
	check(t, env.clusters[west].StopComponent(t.Context(), controllerManager))
	stopped := true
	start := func() {
		if stopped {
			stopped = false
			check(t, env.clusters[west].StartComponent(ctx, controllerManager))
		}
	}
	t.Cleanup(start)

	u.apply(t, some(deployment("web", withNewImage), deployment("new")))
	for _, name := range []string{"web", "new"} {
		eventuallyIs(t, "east to be done", u.copyOn(east, name), isRolledOut)
		eventuallyIs(t, "west to have it", u.copyOn(west, name), func(*appsv1.Deployment) bool { return true })
		if stdout, err := u.try(t, "rollout", "status", "deployment/"+name, "--timeout=4s"); err == nil {
			t.Errorf("kubectl says %q of %s while nothing runs it on west", stdout, name)
		}
		if d := get(t, u.upstream(name)); d.Status.ObservedGeneration >= d.Generation {
			t.Errorf("generation %d of %s counts as observed: %s", d.Generation, name, describe(d))
		}
	}
	start()
	u.rollOut(t, "web", east, west)
	u.rollOut(t, "new", east, west)
}

// TestStatusShowsDipOfReplicas scales a copy to 0. The syncer restores the number at once, so the pods are kept from
// coming back with it: reports are a second apart, and would not show a dip that is over by then.
func TestStatusShowsDipOfReplicas(t *testing.T) {
	u := newTenant(t, env.shared, "dip")
	u.apply(t, some(deployment("web", withReplicas(3))))
	u.rollOut(t, "web", east, west)
	u.eventuallySynced(t, "web")
	changes, err := u.client.AppsV1().Deployments(u.namespace).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=web", ResourceVersion: get(t, u.upstream("web")).ResourceVersion})
	check(t, err)
	defer changes.Stop()

	env.clusters[west].cordon(t)
	check(t, env.clusters[west].kubectl(t, "--namespace="+u.namespace, "scale", "deployment", "web", "--replicas=0"))
	eventuallySees(t, "the dip", changes, func(d *appsv1.Deployment) bool { return d.Status.UpdatedReplicas < 6 })
	env.clusters[west].uncordon(t)
	eventuallyIs(t, "west to have its replicas back", u.copyOn(west, "web"), func(d *appsv1.Deployment) bool {
		return *d.Spec.Replicas == 3 && isRolledOut(d)
	})
	eventuallySees(t, "the dip to be gone", changes, func(d *appsv1.Deployment) bool {
		return d.Status.AvailableReplicas == 6 && d.Status.UpdatedReplicas == 6
	})
}

// eventuallySees waits until a watch has shown a Deployment that passes a test.
func eventuallySees(t *testing.T, what string, changes watch.Interface, test func(*appsv1.Deployment) bool) {
	t.Helper()
	last := "nothing was seen"
	eventually(t, what, soon, func(context.Context) (bool, string, error) {
		for {
			select {
			case event := <-changes.ResultChan():
				d, ok := event.Object.(*appsv1.Deployment)
				if !ok {
					return true, "", fmt.Errorf("the watch ended with %v", event.Object)
				}
				if last = describe(d); test(d) {
					return true, "", nil
				}
			default:
				return false, last, nil
			}
		}
	})
}

// TestStatusOfUnbelievableReport rewrites a report while its syncer cannot.
func TestStatusOfUnbelievableReport(t *testing.T) {
	u := newTenant(t, env.shared, "forged")
	u.apply(t, some(deployment("web")))
	u.rollOut(t, "web", east, west)
	u.eventuallySynced(t, "web")
	eastsReport := get(t, u.upstream("web")).Annotations[v1alpha1.StatusAnnotation(east)]

	for what, forged := range map[string]struct{ value, says string }{
		"garbage":           {"certainly no report", "is not readable"},
		"a newer version":   {`{"v":99,"cluster":"west"}`, "unknown report version 99"},
		"another's forgery": {eastsReport, `was written for cluster "east"`},
	} {
		t.Run(what, func(t *testing.T) {
			syncer := env.shared.syncers[west].process
			check(t, syncer.Freeze())
			defer func() { check(t, syncer.Thaw()) }()
			u.kubectl(t, "annotate", "--overwrite", "deployment", "web", v1alpha1.StatusAnnotation(west)+"="+forged.value)
			eventuallyIs(t, "condition Synced to say so", u.upstream("web"), func(d *appsv1.Deployment) bool {
				synced := condition(d, v1alpha1.ConditionSynced)
				return synced.Status == "False" && synced.Reason == "InvalidReport" && hasWords(synced.Message, []string{west, forged.says})
			})
			if _, err := u.try(t, "rollout", "status", "deployment/web", "--timeout=1s"); err == nil {
				t.Error("kubectl says that it is rolled out, and nothing is known of west")
			}
			check(t, syncer.Thaw())
			u.eventuallySynced(t, "web")
			u.rollOut(t, "web", east, west)
		})
	}
}

// TestStatusStrategy has three cluster names on two clusters. Of two names for one cluster, the second is refused
// what the first has, so that two of three are well.
func TestStatusStrategy(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, "strategy", "a-east", "b-east", "c-west")
	check(t, in.start(t.Context()))
	u := newTenant(t, in, "strategy")
	u.apply(t, some(deployment("web")))
	for strategy, want := range map[string]metav1.ConditionStatus{"union": "False", "majority": "True", "": "False"} {
		u.strategy(t, "web", strategy)
		eventuallyIs(t, "Available to be "+string(want)+" by "+strategy, u.upstream("web"), func(d *appsv1.Deployment) bool {
			return string(condition(d, "Available").Status) == string(want) && d.Status.AvailableReplicas == 2 &&
				condition(d, v1alpha1.ConditionSynced).Status == "False"
		})
	}
	if _, err := u.try(t, "rollout", "status", "deployment/web", "--timeout=1s"); err == nil {
		t.Error("kubectl says that it is rolled out, and one of three has nothing")
	}

	u.strategy(t, "web", "best")
	u.eventuallyEvent(t, "web", "InvalidStatusStrategy", v1alpha1.StatusStrategyAnnotation, `"best"`, "union, majority or latest")

	// The last to report is the one that is scaled behind our back.
	u.strategy(t, "web", "latest")
	check(t, env.clusters[west].kubectl(t, "--namespace="+u.namespace, "rollout", "restart", "deployment", "web"))
	eventuallyIs(t, "the newest report alone to count", u.upstream("web"), func(d *appsv1.Deployment) bool {
		return condition(d, "Available").Status == "True" && d.Status.AvailableReplicas == 1 && d.Status.Replicas == 1
	})
}

// strategy chooses how the reports on a Deployment become one status; none without a name.
func (u *tenant) strategy(t *testing.T, name, strategy string) {
	t.Helper()
	value := fmt.Sprintf("%q", strategy)
	if strategy == "" {
		value = "null"
	}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, v1alpha1.StatusStrategyAnnotation, value)
	_, err := u.client.AppsV1().Deployments(u.namespace).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	check(t, err)
}

func withBrokenImage(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "broken" }
