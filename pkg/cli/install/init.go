package install

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kcp-dev/logicalcluster/v3"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	apisv1alpha1 "github.com/kcp-dev/sdk/apis/apis/v1alpha1"
	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/manifests"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
)

var (
	exportResource        = apisv1alpha2.SchemeGroupVersion.WithResource("apiexports")
	bindingResource       = apisv1alpha2.SchemeGroupVersion.WithResource("apibindings")
	endpointSliceResource = apisv1alpha1.SchemeGroupVersion.WithResource("apiexportendpointslices")
	crdResource           = apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")
	clusterRoleResource   = rbacv1.SchemeGroupVersion.WithResource("clusterroles")
	// kcp's Go types for workspaces bring a test framework into every program that
	// imports them.
	workspaceResource     = schema.GroupVersionResource{Group: "tenancy.kcp.io", Version: "v1alpha1", Resource: "workspaces"}
	workspaceTypeResource = workspaceResource.GroupVersion().WithResource("workspacetypes")
)

// Init installs the kcp side in the provider workspace of the options, which it makes
// if only the last element of its path is missing, and waits until kcp has accepted it.
// What is in order already is not written. Workspaces of the tenants' type accept what is
// claimed then, and the APIExports of clusters and of isolation
// groups come to claim what is served. It fails when the server is no kcp or one
// that is too old, the parent workspace is missing, the caller may not do it, or the
// timeout is over.
func Init(ctx context.Context, options Options) error {
	provider := logicalcluster.NewPath(options.ProviderWorkspace)
	if !provider.IsValid() {
		return fmt.Errorf("%q is not the path of a workspace, such as root:tmc", options.ProviderWorkspace)
	}
	if options.RepairURL != nil {
		if err := ValidateRepairURL(*options.RepairURL); err != nil {
			return err
		}
	}
	s, err := newServer(options)
	if err != nil {
		return err
	}
	// The provider workspace may not be there yet, and its parent not be the caller's to use.
	parent, _ := provider.Split()
	if err := s.checkVersion(cmp.Or(parent, provider).String(), provider.String()); err != nil {
		return err
	}
	if err := s.ensureWorkspace(ctx, provider); err != nil {
		return err
	}
	if err := s.applyProvider(ctx, provider.String()); err != nil {
		return err
	}
	if err := s.waitForProvider(ctx, provider.String()); err != nil {
		return err
	}
	if err := s.updateViews(ctx, provider.String()); err != nil {
		return err
	}
	return s.warnOfShared(ctx)
}

// warnOfShared tells of the clusters whose rules make one tenant of all workspaces.
func (s *server) warnOfShared(ctx context.Context) error {
	var registrations v1alpha1.ClusterRegistrationList
	if err := s.list(ctx, v1alpha1.ClusterRegistrationsResource, "", &registrations); err != nil {
		return err
	}
	var shared []string
	for i := range registrations.Items {
		if sharesNamespaces(&registrations.Items[i]) {
			shared = append(shared, registrations.Items[i].Name)
		}
	}
	if len(shared) > 0 {
		slices.Sort(shared)
		s.notice(v1alpha1.SharedWarning(shared...))
	}
	return nil
}

// sharesNamespaces reports whether the rule in a registration makes one tenant of all workspaces.
func sharesNamespaces(registration *v1alpha1.ClusterRegistration) bool {
	rule := registration.Spec.Transform
	return rule != nil && !rule.SeparatesWorkspaces()
}

// applyProvider puts into the provider workspace what it is to have, whoever has joined: what
// the manifests say, the policies, which need to know the workspace, and the repair of patches.
func (s *server) applyProvider(ctx context.Context, workspace string) error {
	steps, err := providerSteps()
	if err != nil {
		return fmt.Errorf("reading the embedded manifests: %w", err)
	}
	if err := s.applyAll(ctx, workspace, steps); err != nil {
		return err
	}
	if err := s.applyProviderPolicies(ctx, workspace); err != nil {
		return err
	}
	return s.applyRepair(ctx, workspace)
}

// updateViews makes the WorkspaceType of tenants, has the APIExports of clusters and
// groups claim what is served now, and workspaces of the type accept that.
func (s *server) updateViews(ctx context.Context, provider string) error {
	steps, err := tenantSteps(provider)
	if err != nil {
		return err
	}
	if err := s.applyAll(ctx, provider, steps); err != nil {
		return err
	}
	if err := s.acceptClaims(ctx); err != nil {
		return err
	}
	if views, err := s.viewExports(ctx); err != nil || len(views) == 0 {
		return err
	}
	if err := s.settleAll(ctx); err != nil {
		return err
	}
	views, err := s.viewExports(ctx)
	if err != nil {
		return err
	}
	return s.bindTenants(ctx, views)
}

// applyAll takes steps in a workspace, in their order.
func (s *server) applyAll(ctx context.Context, workspace string, steps []step) error {
	for _, step := range steps {
		if _, err := s.apply(ctx, workspace, step.desired, step.merge); err != nil {
			return err
		}
	}
	return nil
}

// step is one object to apply and how.
type step struct {
	desired *unstructured.Unstructured
	merge   merger
}

// providerSteps returns what the provider workspace is to have, in the order in which
// it has to be there: kcp's admission wants the schemas before the export, a namespace is
// there before what is in it, and so are the permissions of consumers before the export
// that says that they have no others.
func providerSteps() ([]step, error) {
	definitions, err := typedSteps(manifests.CRDs, mergeDefinition)
	if err != nil {
		return nil, err
	}
	// Nobody can change a schema: its name says what is in it.
	schemas, err := typedSteps(manifests.Schemas, keepLive)
	if err != nil {
		return nil, err
	}
	exports, err := typedSteps(func() ([]*apisv1alpha2.APIExport, error) {
		export, err := manifests.Export()
		return []*apisv1alpha2.APIExport{export}, err
	}, mergeExport)
	if err != nil {
		return nil, err
	}
	steps := slices.Concat(definitions, schemas)
	for _, objects := range []func() ([]*unstructured.Unstructured, error){manifests.Namespaces, manifests.RBAC} {
		found, err := objects()
		if err != nil {
			return nil, err
		}
		steps = append(steps, stepsOf(found, overlayObject)...)
	}
	return append(steps, exports...), nil
}

// stepsOf returns a step for each of the objects.
func stepsOf(objects []*unstructured.Unstructured, merge merger) []step {
	steps := make([]step, 0, len(objects))
	for _, object := range objects {
		steps = append(steps, step{object, merge})
	}
	return steps
}

// typedSteps returns a step for each of the typed objects.
func typedSteps[T any](objects func() ([]T, error), merge merger) ([]step, error) {
	found, err := objects()
	if err != nil {
		return nil, err
	}
	var steps []step
	for _, object := range found {
		desired, err := toUnstructured(object)
		if err != nil {
			return nil, err
		}
		steps = append(steps, step{desired, merge})
	}
	return steps, nil
}

// ensureWorkspace makes the workspace in its parent, unless it is there, and waits until
// it can be used. A caller who may use the workspace need not be able to see the parent.
func (s *server) ensureWorkspace(ctx context.Context, path logicalcluster.Path) error {
	parent, name := path.Split()
	if parent.Empty() {
		return nil
	}
	desired := &unstructured.Unstructured{Object: map[string]any{
		"spec": map[string]any{"type": map[string]any{"name": "universal", "path": "root"}},
	}}
	desired.SetGroupVersionKind(workspaceResource.GroupVersion().WithKind("Workspace"))
	desired.SetName(name)
	action, err := s.apply(ctx, parent.String(), desired, keepLive)
	if isDenied(err) {
		return s.checkReachable(ctx, path)
	}
	if err != nil {
		return err
	}
	if err := s.waitForWorkspace(ctx, parent.String(), name); err != nil {
		return err
	}
	if action != Created {
		return nil
	}
	return s.waitForAccess(ctx, path.String())
}

// checkReachable returns nil if the workspace can be used although its parent cannot.
func (s *server) checkReachable(ctx context.Context, path logicalcluster.Path) error {
	err := s.listExports(ctx, path.String())
	if err == nil {
		return nil
	}
	parent, _ := path.Split()
	return fmt.Errorf("workspace %s cannot be used, nor made in %s: make its parent first, or ask for access: %w", path, parent, err)
}

// waitForWorkspace waits until a workspace is ready.
func (s *server) waitForWorkspace(ctx context.Context, parent, name string) error {
	what := "workspace " + parent + ":" + name
	return s.waitFor(ctx, what, func(ctx context.Context) (progress, error) {
		var workspace struct {
			Status struct {
				Phase string `json:"phase"`
			} `json:"status"`
		}
		if err := s.get(ctx, parent, workspaceResource, name, &workspace); err != nil {
			return progress{}, err
		}
		phase := workspace.Status.Phase
		return progress{done: phase == "Ready", state: fmt.Sprintf("its phase is %q", phase)}, nil
	})
}

// waitForAccess waits until the caller's permissions in a new workspace are in force.
// They come with the workspace, but the authorizer learns of them a little later.
func (s *server) waitForAccess(ctx context.Context, workspace string) error {
	return s.waitFor(ctx, "access to workspace "+workspace, func(ctx context.Context) (progress, error) {
		err := s.listExports(ctx, workspace)
		if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
			return progress{state: err.Error()}, nil
		}
		return progress{done: err == nil}, s.explain(workspace, err)
	})
}

// waitForProvider waits until what was applied can be used.
func (s *server) waitForProvider(ctx context.Context, workspace string) error {
	definitions, err := manifests.CRDs()
	if err != nil {
		return err
	}
	for _, definition := range definitions {
		if err := s.waitForDefinition(ctx, workspace, definition.Name); err != nil {
			return err
		}
	}
	export, err := manifests.Export()
	if err != nil {
		return err
	}
	return s.waitForExport(ctx, workspace, export.Name)
}

// waitForDefinition waits until the kind of a CustomResourceDefinition can be used.
func (s *server) waitForDefinition(ctx context.Context, workspace, name string) error {
	what := "CustomResourceDefinition " + name + " in workspace " + workspace
	err := s.waitFor(ctx, what, func(ctx context.Context) (progress, error) {
		var definition apiextensionsv1.CustomResourceDefinition
		if err := s.get(ctx, workspace, crdResource, name, &definition); err != nil {
			return progress{}, err
		}
		state := definitionMissing(&definition)
		return progress{done: state == "", state: state}, nil
	})
	if err != nil {
		return err
	}
	resource, group, _ := strings.Cut(name, ".")
	return s.waitForResource(ctx, workspace, schema.GroupResource{Group: group, Resource: resource})
}

// definitionMissing says what a definition still lacks; nothing when its kind is served.
func definitionMissing(definition *apiextensionsv1.CustomResourceDefinition) string {
	for _, condition := range definition.Status.Conditions {
		if condition.Type == apiextensionsv1.NamesAccepted && condition.Status == apiextensionsv1.ConditionFalse {
			return strings.TrimSpace(fmt.Sprintf("its names are not accepted: %s %s", condition.Reason, condition.Message))
		}
	}
	if !apihelpers.IsCRDConditionTrue(definition, apiextensionsv1.Established) {
		return "it is not established yet"
	}
	return ""
}

// waitForExport waits until kcp has given the export its identity and the endpoint slice
// through which syncers find the virtual workspaces.
func (s *server) waitForExport(ctx context.Context, workspace, name string) error {
	what := "APIExport " + name + " in workspace " + workspace
	return s.waitFor(ctx, what, func(ctx context.Context) (progress, error) {
		var export apisv1alpha2.APIExport
		if err := s.get(ctx, workspace, exportResource, name, &export); err != nil {
			return progress{}, err
		}
		if state := exportMissing(&export); state != "" {
			return progress{state: state}, nil
		}
		var slice apisv1alpha1.APIExportEndpointSlice
		err := s.get(ctx, workspace, endpointSliceResource, name, &slice)
		if isMissing(err) {
			return progress{state: "it has no APIExportEndpointSlice yet"}, nil
		}
		return progress{done: err == nil}, err
	})
}

// exportMissing says what an export still lacks; nothing when it can be bound.
func exportMissing(export *apisv1alpha2.APIExport) string {
	switch condition, known := findCondition(export.Status.Conditions, apisv1alpha2.APIExportIdentityValid); {
	case !known:
		return "kcp has not looked at it yet"
	case condition.Status != "True":
		return strings.TrimSpace(fmt.Sprintf("its identity is not valid: %s %s", condition.Reason, condition.Message))
	case export.Status.IdentityHash == "":
		return "it has no identity yet"
	default:
		return ""
	}
}

// get reads an object of a workspace into a Go type.
func (s *server) get(ctx context.Context, workspace string, resource schema.GroupVersionResource, name string, into any) error {
	objects, err := s.objects(workspace)
	if err != nil {
		return err
	}
	object, err := objects.Resource(resource).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return s.explain(workspace, err)
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(v1alpha1.Believable(object.Object), into)
}

// listExports makes the smallest request that only a workspace that can be used answers.
func (s *server) listExports(ctx context.Context, workspace string) error {
	objects, err := s.objects(workspace)
	if err != nil {
		return err
	}
	_, err = objects.Resource(exportResource).List(ctx, metav1.ListOptions{Limit: 1})
	return err
}
