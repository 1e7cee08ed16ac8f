package install

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

// register makes the registration of the cluster, or has it say what the options do.
func (j *joining) register(ctx context.Context) error {
	desired, err := toUnstructured(&v1alpha1.ClusterRegistration{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "ClusterRegistration"},
		ObjectMeta: metav1.ObjectMeta{Name: j.options.Cluster, Labels: j.options.Labels},
		Spec:       j.options.spec(),
	})
	if err != nil {
		return err
	}
	client, err := j.resource(j.options.ProviderWorkspace, desired)
	if err != nil {
		return err
	}
	var action Action
	err = retry.OnError(raceBackoff, isRace, func() error {
		action, err = j.registerOnce(ctx, client, desired)
		return err
	})
	switch {
	// The export is there, so this is a kcp; but what is installed is of an older tmc.
	case isForeign(err) && apierrors.IsNotFound(err):
		return j.notInitialized(err)
	case err != nil:
		return j.explain(j.options.ProviderWorkspace, fmt.Errorf("%s %s: %w", desired.GetKind(), desired.GetName(), err))
	}
	j.applied(j.options.ProviderWorkspace, desired, action)
	return nil
}

// registerOnce is applyOnce with a patch of what differs: syncer and hub write the
// registration all the time.
func (j *joining) registerOnce(ctx context.Context, client dynamic.ResourceInterface, desired *unstructured.Unstructured) (Action, error) {
	return j.createOr(ctx, client, desired, func(live *unstructured.Unstructured) (Action, error) {
		patch := registrationPatch(live, j.options)
		if len(patch) == 0 {
			return Unchanged, nil
		}
		data, err := json.Marshal(patch)
		if err != nil {
			return "", err
		}
		return Updated, j.write(func() error {
			_, err := client.Patch(ctx, live.GetName(), types.MergePatchType, data, metav1.PatchOptions{FieldManager: fieldManager})
			return err
		})
	})
}

// registrationPatch returns the merge patch that has a registration say what the options
// do: nothing about what they do not say.
func registrationPatch(live *unstructured.Unstructured, options JoinOptions) map[string]any {
	patch := map[string]any{}
	if labels := labelsPatch(live, options.Labels); len(labels) > 0 {
		patch["metadata"] = map[string]any{"labels": labels}
	}
	spec := map[string]any{}
	differs := func(field, wanted string) bool {
		is, _, _ := unstructured.NestedString(live.Object, "spec", field)
		return is != wanted
	}
	wanted := options.spec()
	if wanted.Location != "" && differs("location", wanted.Location) {
		spec["location"] = wanted.Location
	}
	if differs("isolation", string(wanted.Isolation)) {
		spec["isolation"] = wanted.Isolation
	}
	if differs("isolationGroup", wanted.IsolationGroup) {
		spec["isolationGroup"] = nil
		if wanted.IsolationGroup != "" {
			spec["isolationGroup"] = wanted.IsolationGroup
		}
	}
	if options.AllowedNamespaces != nil && !allowsJust(live, options.AllowedNamespaces) {
		spec["allowedNamespaces"] = options.AllowedNamespaces
	}
	if len(spec) > 0 {
		patch["spec"] = spec
	}
	return patch
}

// labelsPatch returns those of the labels that a registration does not have.
func labelsPatch(live *unstructured.Unstructured, wanted map[string]string) map[string]any {
	labels := map[string]any{}
	for key, value := range wanted {
		if existing, has := live.GetLabels()[key]; !has || existing != value {
			labels[key] = value
		}
	}
	return labels
}

// allowsJust reports whether a registration lists those allowed namespaces and no others, in
// whatever order.
func allowsJust(live *unstructured.Unstructured, namespaces []string) bool {
	listed, _, _ := unstructured.NestedStringSlice(live.Object, "spec", "allowedNamespaces")
	return sets.New(listed...).Equal(sets.New(namespaces...))
}

// spec is what a registration says that the options do.
func (o *JoinOptions) spec() v1alpha1.ClusterRegistrationSpec {
	spec := v1alpha1.ClusterRegistrationSpec{Location: o.Location, Isolation: v1alpha1.IsolationCluster, IsolationGroup: o.Group, AllowedNamespaces: o.AllowedNamespaces}
	switch {
	case o.Shared:
		spec.Isolation = v1alpha1.IsolationShared
	case o.Group != "":
		spec.Isolation = v1alpha1.IsolationGroup
	}
	return spec
}
