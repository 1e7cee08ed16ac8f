package e2e

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kcp-tmc/tmc/e2e/framework"
	"github.com/kcp-tmc/tmc/pkg/bootstrap"
)

// TestJoinedCluster tests what joining gives a cluster: credentials, roles, a name.
func TestJoinedCluster(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, "member", memberEast, memberWest)
	t.Run("one syncer of two works", func(t *testing.T) { oneSyncerOfTwoWorks(t, in) })
	t.Run("a token is kept good", func(t *testing.T) { keepsItsTokenGood(t, in) })
}

// The clusters of the installation of these tests.
const (
	memberEast = "member-" + east
	memberWest = "member-" + west
)

// keepsItsTokenGood has a token renewed, revoked and replaced. While the syncer has no good token, nothing changes.
func keepsItsTokenGood(t *testing.T, in *installation) {
	const name = memberEast
	syncer, namespace := in.syncers[name], in.syncerNamespace(name)
	syncer.config.Args = append(syncer.config.Args, "--renew-token-after=5s")
	stored := func(ctx context.Context) []byte {
		secret, err := env.clusters[east].client.CoreV1().Secrets(namespace).Get(ctx, bootstrap.SecretName, metav1.GetOptions{})
		check(t, err)
		return secret.Data[bootstrap.KubeconfigKey]
	}
	first := stored(t.Context())
	check(t, syncer.startReady(t.Context()))
	check(t, in.waitClusters(t.Context(), name))
	u := newTenant(t, in, "token")
	u.apply(t, some(deployment("web", on(name))))
	u.rollOut(t, "web", name)

	eventually(t, "a new token in the Secret", soon, func(ctx context.Context) (bool, string, error) {
		return !bytes.Equal(stored(ctx), first), "it is the first one yet", nil
	})
	// A restart begins with what the kubelet has mounted by then.
	check(t, syncer.stop(t.Context()))
	check(t, framework.WriteFile(framework.FlagValue(syncer.config.Args, "--kcp-kubeconfig"), stored(t.Context())))
	check(t, syncer.startReady(t.Context()))
	u.apply(t, some(deployment("web", on(name), withNewImage)))
	u.rollOut(t, "web", name)
	eventuallyIs(t, "its controller to be through with it", u.copyOn(name, "web"), isThrough)
	before := get(t, u.copyOn(name, "web"))

	// An account that is gone takes its tokens with it, as unjoin and an expiry do.
	in.inProvider(t).in("tmc-syncers").kubectl(t, "delete", "serviceaccount", name)
	syncer.eventuallyLogs(t, "kcp refuses the credentials", "kubectl tmc join "+name)
	syncer.eventuallyReadyz(t, http.StatusServiceUnavailable)
	syncer.checkAnswers(t, "/healthz", http.StatusOK)
	in.inProvider(t).kubectl(t, "wait", "--for=condition=Ready=Unknown", "clusterregistration/"+name, "--timeout=120s")
	u.checkUntouched(t, name, before)

	again, err := in.join(t.Context(), name, env.clusters[east], namespace)
	check(t, err)
	check(t, again.start(t.Context()))
	syncer.eventuallyReadyz(t, http.StatusOK)
	u.apply(t, some(deployment("web", on(name), withNewImage, withReplicas(2))))
	u.rollOut(t, "web", name)
	if after := get(t, u.copyOn(name, "web")); after.UID != before.UID {
		t.Error("the copy was made anew")
	}

	t.Run("joined once more", func(t *testing.T) { joinsOnceMore(t, in, name, again) })
	t.Run("taken out", func(t *testing.T) {
		s := newThief(t, in, name)
		in.plugin(t, "unjoin", name)
		isGone(t, "the copy", u.copyOn(name, "web"))
		for _, object := range madeByJoining(name) {
			in.inProvider(t).in(object.namespace).isNotThere(t, object.name)
		}
		// kcp remembers for some seconds whose a token is.
		eventually(t, "the token to be nobody's any more", soon, func(ctx context.Context) (bool, string, error) {
			status, answer, err := s.try(ctx, attempt{method: http.MethodGet, url: s.server + "/clusters/" + in.provider + "/version"})
			return status == http.StatusUnauthorized, answer, err
		})
		syncer.eventuallyLogs(t, "registration is gone")
	})
}

// made is an object of the provider workspace.
type made struct{ namespace, name string }

// madeByJoining are the objects that joining makes for a cluster, and nobody changes but by joining.
func madeByJoining(name string) []made {
	return []made{
		{"", "clusterrole/tmc-syncer-" + name},
		{"", "clusterrolebinding/tmc-syncer-" + name},
		{"tmc-syncers", "serviceaccount/" + name},
		{"tmc-syncers", "role/tmc-syncer-" + name},
		{"tmc-heartbeats", "role/tmc-syncer-" + name},
	}
}

// joinsOnceMore compares what is there before and after joining.
func joinsOnceMore(t *testing.T, in *installation, name string, before *joined) {
	t.Helper()
	versions := func() map[made]string {
		versions := map[made]string{}
		for _, object := range madeByJoining(name) {
			version, err := in.inProvider(t).in(object.namespace).get(t.Context(), object.name, "{.metadata.uid} {.metadata.resourceVersion}")
			if check(t, err); version == "" {
				t.Errorf("there is no %s", object.name)
			}
			versions[object] = version
		}
		return versions
	}
	ofBefore := versions()
	after, err := in.join(t.Context(), name, before.on, before.namespace)
	check(t, err)
	if diff := cmp.Diff(ofBefore, versions()); diff != "" {
		t.Errorf("joining once more has written to kcp (-before +after):\n%s", diff)
	}
	documents := func(j *joined) []string {
		return slices.DeleteFunc(strings.Split(j.manifest, "\n---\n"), func(document string) bool { return strings.Contains(document, "\nkind: Secret\n") })
	}
	if diff := cmp.Diff(documents(before), documents(after)); diff != "" || before.manifest == after.manifest {
		t.Errorf("want another token and nothing else to be different (-before +after):\n%s", diff)
	}
}

// eventuallyReadyz waits until /readyz answers with the code.
func (p *program) eventuallyReadyz(t *testing.T, want int) {
	t.Helper()
	eventually(t, p.config.Name+" to answer "+http.StatusText(want)+" on /readyz", soon, func(ctx context.Context) (bool, string, error) {
		status, err := p.status(ctx, "/readyz")
		return status == want, http.StatusText(status), err
	})
}

// syncerTakesOver is takesOver of a syncer: it reads kcp and its cluster first, which a controller that stands by has done.
const syncerTakesOver = 2 * takesOver

// oneSyncerOfTwoWorks kills the one that works.
func oneSyncerOfTwoWorks(t *testing.T, in *installation) {
	const name = memberWest
	one := in.syncers[name]
	one.config.Args = append(one.config.Args, "--leader-elect")
	check(t, in.controller.start())
	check(t, one.startReady(t.Context()))
	check(t, in.waitClusters(t.Context(), name))
	two := startProgram(t, "replicas-two", syncerBinary, one.config.Args[2:]...)
	check(t, two.waitReady(t.Context())) // a rollout waits for one that stands by, too
	u := newTenant(t, in, "replicas")
	u.apply(t, some(deployment("web", on(name))))
	u.rollOut(t, "web", name)
	own, err := two.metrics(t.Context())
	check(t, err)
	if count := own.requests(http.MethodPatch, http.MethodPost, http.MethodDelete); count > 0 {
		t.Errorf("the one that stands by has made %v writes", count)
	}

	check(t, one.kill())
	start := time.Now()
	u.apply(t, some(deployment("web", on(name), withNewImage)))
	eventuallyIs(t, "the other one to apply it", u.copyOn(name, "web"), func(d *appsv1.Deployment) bool {
		return d.Spec.Template.Spec.Containers[0].Image == newImage
	})
	if after := time.Since(start).Round(time.Millisecond); after > syncerTakesOver {
		t.Errorf("the other one had applied a change %s after the syncer was killed, want at most %s; its log ends:\n%s", after, syncerTakesOver, tail(two.log(), 20))
	} else {
		t.Logf("the other one had applied a change %s after the syncer was killed", after)
	}
	u.rollOut(t, "web", name)
	check(t, one.startReady(t.Context()))
}
