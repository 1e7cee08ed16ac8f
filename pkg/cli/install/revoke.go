package install

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// revokeAndMake makes what the cluster needs, and before that ends the tokens that it has had, if
// that is wanted.
func (j *joining) revokeAndMake(ctx context.Context) error {
	if !j.options.Revoke {
		return j.make(ctx)
	}
	revoked, err := j.revoke(ctx)
	if err != nil {
		return err
	}
	if err := j.make(ctx); err != nil {
		return err
	}
	return j.finishRevocation(ctx, revoked)
}

// revoke deletes the account of the cluster, by which all its tokens end: a token names the
// UID of its account, and kcp looks that up. Join makes another account of the same name.
// It returns a token of the one that it has deleted, empty when there was none.
func (j *joining) revoke(ctx context.Context) (revoked string, err error) {
	account := &unstructured.Unstructured{}
	account.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ServiceAccount"))
	account.SetNamespace(v1alpha1.SyncersNamespace)
	account.SetName(j.options.Cluster)
	if j.dryRun && !j.hadAccount {
		return "", nil
	}
	if j.dryRun {
		j.applied(j.options.ProviderWorkspace, account, Deleted)
		return "", nil
	}
	request, err := j.requestToken(ctx, account.GetNamespace(), account.GetName(), MinTokenLifetime)
	switch {
	case isMissing(err):
		return "", nil
	case err != nil:
		return "", err
	}
	revoked = request.Status.Token
	// kcp knows it from now on, and so has nothing to remember that is older.
	if _, err := j.isAccepted(ctx, revoked); err != nil {
		return "", err
	}
	return revoked, j.remove(ctx, map[string]string{v1alpha1.ClusterLabel: j.options.Cluster}, account)
}

// finishRevocation waits until kcp refuses what it took before, for it remembers for some
// seconds whose a token is, and then has the cluster's syncer say anew whose the name is and
// what it uses: somebody else may have said it.
func (j *joining) finishRevocation(ctx context.Context, revoked string) error {
	if j.dryRun {
		return nil
	}
	if revoked != "" {
		what := fmt.Sprintf("kcp to refuse the earlier tokens of cluster %s", j.options.Cluster)
		err := j.waitFor(ctx, what, func(ctx context.Context) (progress, error) {
			accepted, err := j.isAccepted(ctx, revoked)
			return progress{done: !accepted, state: "it remembers them for some seconds"}, err
		})
		if err != nil {
			return err
		}
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"clusterUID": nil, "export": nil}})
	if err != nil {
		return err
	}
	objects, err := j.objects(j.options.ProviderWorkspace)
	if err != nil {
		return err
	}
	_, err = objects.Resource(v1alpha1.ClusterRegistrationsResource).
		Patch(ctx, j.options.Cluster, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager}, "status")
	if err != nil {
		return j.explain(j.options.ProviderWorkspace, fmt.Errorf("status of ClusterRegistration %s: %w", j.options.Cluster, err))
	}
	return nil
}

// isAccepted reports whether kcp takes a token.
func (j *joining) isAccepted(ctx context.Context, token string) (bool, error) {
	config := rest.AnonymousClientConfig(j.in(j.options.ProviderWorkspace))
	config.BearerToken = token
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return false, err
	}
	err = client.RESTClient().Get().AbsPath("/version").Do(ctx).Error()
	if apierrors.IsUnauthorized(err) {
		return false, nil
	}
	return err == nil || apierrors.IsForbidden(err), ignoreForbidden(err)
}

// ignoreForbidden drops an error that says that somebody is known, and may not do it.
func ignoreForbidden(err error) error {
	if apierrors.IsForbidden(err) {
		return nil
	}
	return err
}
