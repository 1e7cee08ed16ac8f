package install

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/kcp-dev/logicalcluster/v3"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/manifests"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
)

var (
	crdResource         = apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")
	clusterRoleResource = rbacv1.SchemeGroupVersion.WithResource("clusterroles")
)

// Init installs the kcp side in the provider workspace of the options, and waits until kcp has accepted it. It makes
// the workspace if only the last element of its path is missing. Workspaces of the tenants' type accept the present
// claims, and the APIExports of clusters and of isolation groups claim the kinds that are served now. Init fails when
// the server is not kcp or is too old, the parent workspace is missing, the caller may not do it, or the timeout is
// over.
func Init(ctx context.Context, options Options) error {
	if options.RepairURL != nil {
		if err := ValidateRepairURL(*options.RepairURL); err != nil {
			return err
		}
	}
	s, err := newServer(options)
	if err != nil {
		return err
	}
	// The provider workspace may be missing, and the caller may have no access to its parent.
	parent, _ := logicalcluster.NewPath(s.provider).Split()
	if err := s.checkVersion(cmp.Or(parent.String(), s.provider), s.provider); err != nil {
		return err
	}
	for _, install := range []func(context.Context) error{
		s.ensureWorkspace, s.applyProvider, s.applyProviderPolicies, s.applyRepair, s.waitForProvider, s.updateViews, s.warnOfShared, s.tellOfCounters,
	} {
		if err := install(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ensureWorkspace makes the provider workspace in its parent, unless it exists, and waits until it can be used. A
// caller who may use the workspace may not be able to see the parent.
func (s *server) ensureWorkspace(ctx context.Context) error {
	parent, name := logicalcluster.NewPath(s.provider).Split()
	if parent.Empty() {
		return nil
	}
	desired := &unstructured.Unstructured{Object: map[string]any{
		"spec": map[string]any{"type": map[string]any{nameField: "universal", pathField: "root"}},
	}}
	desired.SetGroupVersionKind(kcp.WorkspaceKind)
	desired.SetName(name)
	action, err := s.apply(ctx, parent.String(), desired, keepLive)
	if kcp.IsDenied(err) {
		if err := s.listExports(ctx); err != nil {
			return fmt.Errorf("workspace %s cannot be used, nor made in %s: make its parent first, or ask for access: %w", s.provider, parent, err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	err = s.waitFor(ctx, "workspace "+s.provider, func(ctx context.Context) (progress, error) {
		var workspace struct {
			Status struct {
				Phase string `json:"phase"`
			} `json:"status"`
		}
		err := s.get(ctx, parent.String(), kcp.WorkspacesResource, name, &workspace)
		return progress{done: workspace.Status.Phase == "Ready", state: fmt.Sprintf("its phase is %q", workspace.Status.Phase)}, err
	})
	if err != nil || action != Created {
		return err
	}
	// The caller's permissions come with the workspace, but the authorizer learns of them a little later.
	return s.waitFor(ctx, "access to workspace "+s.provider, func(ctx context.Context) (progress, error) {
		err := s.listExports(ctx)
		if apierrors.IsForbidden(err) || kcp.Is404(err) {
			return progress{state: err.Error()}, nil
		}
		return progress{done: err == nil}, s.explain(s.provider, err)
	})
}

// listExports makes the smallest request that fails unless the provider workspace can be used.
func (s *server) listExports(ctx context.Context) error {
	objects, err := s.objects(s.provider)
	if err != nil {
		return err
	}
	_, err = objects.Resource(kcp.APIExportsResource).List(ctx, metav1.ListOptions{Limit: 1})
	return err
}

// applyProvider applies the embedded manifests of the provider workspace. Their order matters: kcp's admission wants
// the schemas before the export, a namespace is needed by what is in it, and the permissions of consumers are needed
// before the export that says that they have no others.
func (s *server) applyProvider(ctx context.Context) error {
	return s.applyAll(ctx, s.provider, slices.Concat(
		stepsOf(mergeDefinition, manifests.CRDs()...),
		stepsOf(keepLive, manifests.Schemas()...), // nobody can change a schema: its name depends on its content
		stepsOf(overlayObject, manifests.Namespaces()...),
		stepsOf(overlayObject, manifests.RBAC()...),
		stepsOf(mergeExport, manifests.Export()),
	))
}

// applyProviderPolicies applies the admission policies of the provider workspace. They contain the name of its logical
// cluster, and the audiences of kcp's tokens: a token for an account without any permission tells these.
func (s *server) applyProviderPolicies(ctx context.Context) error {
	var export apisv1alpha2.APIExport
	if err := s.get(ctx, s.provider, kcp.APIExportsResource, v1alpha1.APIExportName, &export); err != nil {
		return err
	}
	policies, err := manifests.Policies(logicalcluster.From(&export))
	if err != nil {
		return err
	}
	request, err := s.requestToken(ctx, metav1.NamespaceDefault, v1alpha1.PathReader, MinTokenLifetime)
	if err != nil {
		return fmt.Errorf("asking which audiences kcp's tokens have: %w", err)
	}
	accounts, err := manifests.AccountPolicies(logicalcluster.From(&export), request.Spec.Audiences)
	if err != nil {
		return err
	}
	return s.applyAll(ctx, s.provider, stepsOf(mergePolicy, append(policies, accounts...)...))
}

// waitForProvider waits until kcp serves what was applied.
func (s *server) waitForProvider(ctx context.Context) error {
	for _, definition := range manifests.CRDs() {
		err := s.waitFor(ctx, "CustomResourceDefinition "+definition.Name+" in workspace "+s.provider, func(ctx context.Context) (progress, error) {
			var live apiextensionsv1.CustomResourceDefinition
			err := s.get(ctx, s.provider, crdResource, definition.Name, &live)
			problem := definitionProblem(&live)
			return progress{done: problem == "", state: problem}, err
		})
		if err != nil {
			return err
		}
		if err := s.waitForResources(ctx, s.provider, []schema.GroupResource{schema.ParseGroupResource(definition.Name)}); err != nil {
			return err
		}
	}
	return s.waitForExport(ctx, v1alpha1.APIExportName)
}

// definitionProblem returns why a definition's kind is not served yet, empty when it is.
func definitionProblem(definition *apiextensionsv1.CustomResourceDefinition) string {
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

// waitForExport waits until kcp has given an APIExport its identity, and the endpoint slice by which syncers find the
// virtual workspaces.
func (s *server) waitForExport(ctx context.Context, name string) error {
	return s.waitFor(ctx, "APIExport "+name+" in workspace "+s.provider, func(ctx context.Context) (progress, error) {
		var export apisv1alpha2.APIExport
		if err := s.get(ctx, s.provider, kcp.APIExportsResource, name, &export); err != nil {
			return progress{}, err
		}
		if problem := exportProblem(&export); problem != "" {
			return progress{state: problem}, nil
		}
		err := s.get(ctx, s.provider, kcp.EndpointSlicesResource, name, &metav1.PartialObjectMetadata{})
		if kcp.IsMissing(err) {
			return progress{state: "it has no APIExportEndpointSlice yet"}, nil
		}
		return progress{done: err == nil}, err
	})
}

// exportProblem returns why an APIExport cannot be bound yet, empty when it can.
func exportProblem(export *apisv1alpha2.APIExport) string {
	switch condition, known := findCondition(export.Status.Conditions, apisv1alpha2.APIExportIdentityValid); {
	case !known:
		return "kcp has not processed it yet"
	case condition.Status != "True":
		return strings.TrimSpace(fmt.Sprintf("its identity is not valid: %s %s", condition.Reason, condition.Message))
	case export.Status.IdentityHash == "":
		return "it has no identity yet"
	default:
		return ""
	}
}

// updateViews makes the WorkspaceType of tenants, has the APIExports of clusters and groups claim what is served now,
// and has workspaces of the type accept that.
func (s *server) updateViews(ctx context.Context) error {
	if err := s.applyAll(ctx, s.provider, tenantSteps(s.provider)); err != nil {
		return err
	}
	if err := s.acceptClaims(ctx); err != nil {
		return err
	}
	if views, err := s.viewExports(ctx); err != nil || len(views) == 0 {
		return err
	}
	if err := s.alignAll(ctx, ""); err != nil {
		return err
	}
	views, err := s.viewExports(ctx)
	if err != nil {
		return err
	}
	return s.bindTenants(ctx, views)
}

// warnOfShared tells the caller of the clusters whose rules make one tenant of all workspaces.
func (s *server) warnOfShared(ctx context.Context) error {
	var registrations v1alpha1.ClusterRegistrationList
	if err := s.list(ctx, s.provider, v1alpha1.ClusterRegistrationsResource, "", &registrations); err != nil {
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
		s.noticef("%s", v1alpha1.SharedWarning(shared...))
	}
	return nil
}

// tellOfCounters tells the caller what clients need that compare the numbers of a status with those of the spec.
func (s *server) tellOfCounters(context.Context) error {
	s.noticef("%s", countersNote)
	return nil
}

const countersNote = "helm --wait, Flux and kapply compare a status with spec.replicas; where clusters have all replicas each, show them the numbers of one cluster: " +
	"statusCounters: " + string(v1alpha1.StatusCountersPerCluster) + " in WorkloadPlacements, the annotation " + v1alpha1.StatusCountersAnnotation + ": " + v1alpha1.CountersPerCluster +
	", or tmc-controller --status-counters=" + v1alpha1.CountersPerCluster + " for all"

// sharesNamespaces reports whether the rule in a registration makes one tenant of all workspaces.
func sharesNamespaces(registration *v1alpha1.ClusterRegistration) bool {
	rule := registration.Spec.Transform
	return rule != nil && !rule.SeparatesWorkspaces()
}

// ValidateRepairURL fails when kcp could not be told to ask tmc-controller at a URL. Empty is valid: it means none.
func ValidateRepairURL(given string) error {
	if given == "" {
		return nil
	}
	parsed, err := url.Parse(given)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a URL: %w", given, err)
	case parsed.Scheme != "https":
		return fmt.Errorf("%q: expected https://HOST:PORT: kcp calls webhooks over TLS only", given)
	case parsed.Hostname() == "":
		return fmt.Errorf("%q: expected https://HOST:PORT, and the host is missing", given)
	case parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" || parsed.Path != "" && parsed.Path != "/":
		return fmt.Errorf("%q: expected https://HOST:PORT and nothing else: tmc-controller chooses the path", given)
	}
	return nil
}

// applyRepair has kcp ask tmc-controller to repair patches, or no longer, as the options say.
func (s *server) applyRepair(ctx context.Context) error {
	given := s.options.RepairURL
	if given == nil {
		return nil
	}
	if *given != "" {
		// tmc-controller answers at this path.
		objects := manifests.Repair(strings.TrimSuffix(*given, "/") + "/repair")
		return s.applyAll(ctx, s.provider, stepsOf(mergeWebhook, objects...))
	}
	// kcp must stop asking before the certificates go.
	for _, object := range slices.Backward(manifests.Repair("")) {
		if err := s.remove(ctx, nil, object); err != nil {
			return err
		}
	}
	return nil
}

// mergeWebhook is the merger for the webhook that repairs patches and its Secret. It replaces the webhook, but keeps
// the certificates that kcp trusts and what is in the Secret: tmc-controller writes these. It also keeps the selectors
// that the API server has filled in.
func mergeWebhook(live, desired *unstructured.Unstructured) *unstructured.Unstructured {
	result := overlayObject(live, desired)
	hooks, found, err := unstructured.NestedSlice(desired.Object, "webhooks")
	if !found || err != nil {
		return result // the Secret
	}
	// An error means that the field is no list, which the API server does not let it be.
	liveHooks, _, _ := unstructured.NestedSlice(live.Object, "webhooks")
	if len(hooks) == 1 && len(liveHooks) == 1 {
		hook, _ := hooks[0].(map[string]any)
		liveHook, isObject := liveHooks[0].(map[string]any)
		if isObject && hook[nameField] == liveHook[nameField] {
			for _, path := range [][]string{{"namespaceSelector"}, {"objectSelector"}, {"clientConfig", "caBundle"}} {
				if value, has, err := unstructured.NestedFieldCopy(liveHook, path...); has && err == nil {
					_ = unstructured.SetNestedField(hook, value, path...)
				}
			}
		}
	}
	_ = unstructured.SetNestedSlice(result.Object, hooks, "webhooks")
	return result
}
