package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/kcp-tmc/tmc/e2e/framework"
)

// side is a server as kubectl sees it: kcp or a cluster, and one namespace of it.
type side struct{ name, kubeconfig, namespace string }

// inKCP is the tenant's own workspace.
func (u *tenant) inKCP() side { return side{"kcp", u.kubeconfig, u.namespace} }

// onCluster is a cluster, in the namespace that has the tenant's as its name.
func (u *tenant) onCluster(clusterName string) side {
	return side{clusterName, u.installation.clusters[clusterName].kubeconfig, u.namespace}
}

// in is another namespace of the same server.
func (s side) in(namespace string) side {
	s.namespace = namespace
	return s
}

func (s side) try(ctx context.Context, args ...string) (string, error) {
	stdout, _, err := framework.Kubectl(ctx, s.kubeconfig, append([]string{"--namespace=" + s.namespace}, args...)...)
	return strings.TrimSpace(stdout), err
}

// kubectl runs kubectl and fails the test when it fails.
func (s side) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	stdout, err := s.try(t.Context(), args...)
	check(t, err)
	return stdout
}

// apply applies what a manifest says, on the server's side.
func (s side) apply(t *testing.T, manifest string) {
	t.Helper()
	check(t, s.tryApply(t.Context(), manifest))
}

// tryApply is apply for what may fail.
func (s side) tryApply(ctx context.Context, manifest string) error {
	_, _, err := framework.KubectlInput(ctx, strings.NewReader(manifest), s.kubeconfig,
		"--namespace="+s.namespace, "apply", "--server-side", "--force-conflicts", "--field-manager=user", "--filename=-")
	return err
}

// get returns fields of an object by JSONPath, "" when there is no object. Flags may
// follow the name of the object.
func (s side) get(ctx context.Context, object, path string) (string, error) {
	args := append([]string{"get"}, strings.Fields(object)...)
	return s.try(ctx, append(args, "--ignore-not-found", "--output=jsonpath="+path)...)
}

// eventually waits until fields of an object read as wanted.
func (s side) eventually(t *testing.T, object, path, want string) {
	t.Helper()
	s.eventuallyIs(t, object, path, "to be "+want, func(got string) bool { return got == want })
}

// eventuallyHas waits until fields of an object hold all the words.
func (s side) eventuallyHas(t *testing.T, object, path string, words ...string) {
	t.Helper()
	s.eventuallyIs(t, object, path, "to have "+strings.Join(words, ", "), func(got string) bool { return hasWords(got, words) })
}

func (s side) eventuallyIs(t *testing.T, object, path, what string, test func(string) bool) {
	t.Helper()
	eventually(t, s.name+": "+object+" "+path+" "+what, soon, func(ctx context.Context) (bool, string, error) {
		got, err := s.get(ctx, object, path)
		return err == nil && test(got), got, err
	})
}

// reads polls whether fields of an object read as wanted.
func reads(s side, object, path, want string) func(context.Context) (bool, string, error) {
	return func(ctx context.Context) (bool, string, error) {
		got, err := s.get(ctx, object, path)
		return err == nil && got == want, got, err
	}
}

// served polls whether the tenant's workspace serves a resource.
func served(u *tenant, resource string) func(context.Context) (bool, string, error) {
	return func(ctx context.Context) (bool, string, error) {
		got, err := u.inKCP().try(ctx, "get", resource, "--output=name")
		return err == nil, got, err
	}
}

// JSONPaths of what tests often look at.
const (
	uidPath    = "{.metadata.uid}"
	syncedPath = `{.status.conditions[?(@.type=="Synced")].status} {.status.conditions[?(@.type=="Synced")].reason} {.status.conditions[?(@.type=="Synced")].message}`
)

// eventuallyGone waits until there is no such object.
func (s side) eventuallyGone(t *testing.T, object string) {
	t.Helper()
	s.eventuallyIs(t, object, uidPath, "to be gone", func(got string) bool { return got == "" })
}

// eventuallyThere waits until there is such an object, and returns its UID.
func (s side) eventuallyThere(t *testing.T, object string) string {
	t.Helper()
	s.eventuallyIs(t, object, uidPath, "to be there", func(got string) bool { return got != "" })
	return s.kubectl(t, "get", object, "--output=jsonpath="+uidPath)
}

// isNotThere fails the test when there is such an object now.
func (s side) isNotThere(t *testing.T, object string) {
	t.Helper()
	got, err := s.get(t.Context(), object, uidPath)
	check(t, err)
	if got != "" {
		t.Errorf("%s has %s, which should not be there", s.name, object)
	}
}
