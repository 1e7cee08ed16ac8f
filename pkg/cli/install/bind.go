package install

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-dev/logicalcluster/v3"
	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"
	conditionsv1alpha1 "github.com/kcp-dev/sdk/apis/third_party/conditions/apis/conditions/v1alpha1"

	"github.com/kcp-tmc/tmc/manifests"
	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// conflictGrace is how long a conflict has to last to be believed: kcp takes some seconds to see that the other side of
// a conflict is gone.
const conflictGrace = 10 * time.Second

// BindOptions say what to bind.
type BindOptions struct {
	Options

	// IsolatedClusters are clusters with an APIExport of their own, and IsolationGroups groups that share one, for a
	// caller who may not see which exist.
	IsolatedClusters, IsolationGroups []string
}

// Bind makes the workspace that the options' configuration points at a consumer. It binds the APIExport of the provider
// workspace, and those of isolated clusters and of isolation groups, and accepts exactly the permission claims of those
// exports. It applies the policies by which kcp guards what only tmc writes on objects, and the role by which the hub
// sees whether the workspace is at its path, and waits until all bound kinds can be used. If the caller may not make
// policies, tmc-controller does; if he may not make roles, he is told. Bind fails when the configuration points at no
// workspace or at no kcp, when an export is missing or may not be bound, when the workspace has one of the kinds from
// elsewhere, and when the timeout is over. A binding that was made stays even then.
func Bind(ctx context.Context, options BindOptions) error {
	s, err := newServer(options.Options)
	if err != nil {
		return err
	}
	views, err := options.views()
	if err != nil {
		return err
	}
	if s.workspace == "" {
		return fmt.Errorf("the kubeconfig's server %s points to no workspace: it should end in %s<workspace>", options.Config.Host, clustersPath)
	}
	b := &binder{server: s, claims: map[string][]apisv1alpha2.PermissionClaim{}}
	if b.present, err = s.bindings(ctx); err != nil {
		return err
	}
	wanted, err := b.wanted(ctx, views)
	if err != nil {
		return err
	}
	return b.bind(ctx, wanted)
}

// views returns the views that the options name, by their APIExports.
func (o BindOptions) views() (map[string]view, error) {
	views := map[string]view{}
	for _, cluster := range o.IsolatedClusters {
		if err := v1alpha1.ValidateClusterName(cluster); err != nil {
			return nil, fmt.Errorf("--isolated-clusters: %w", err)
		}
		export := v1alpha1.ClusterExport(cluster)
		views[export], _ = viewNamed(export)
	}
	for _, group := range o.IsolationGroups {
		if err := v1alpha1.ValidateGroupName(group); err != nil {
			return nil, fmt.Errorf("--isolation-groups: %w", err)
		}
		export := v1alpha1.GroupExport(group)
		views[export], _ = viewNamed(export)
	}
	return views, nil
}

// binder is one run of Bind.
type binder struct {
	*server

	// present are the bindings that the workspace has at first.
	present []apisv1alpha2.APIBinding
	// claims are those of the exports that could be read.
	claims map[string][]apisv1alpha2.PermissionClaim
}

// atATime is how many bindings are made side by side.
const atATime = 8

// wanted returns what is to be bound: what brings the kinds first, then the named views and all existing ones, sorted.
// If the caller may not see which exist, those that are bound already take their place.
func (b *binder) wanted(ctx context.Context, views map[string]view) ([]view, error) {
	exports, err := b.viewExports(ctx)
	switch {
	case err == nil:
		for _, export := range exports {
			views[export.export], b.claims[export.export] = export.view, export.claims
		}
	case kcp.Is404(err) && !kcp.IsForeign(err): // the workspace itself
		return nil, b.notInitialized(err)
	case !kcp.IsDenied(err):
		return nil, err
	default:
		for _, view := range boundViews(b.present, b.provider) {
			views[view.export] = view
		}
		b.noticef("you may not see which clusters of workspace %s are isolated: of those, only what is named or bound already is bound (%s)",
			b.provider, cmp.Or(strings.Join(slices.Sorted(maps.Keys(views)), ", "), "none"))
	}
	wanted := []view{workloads}
	for _, export := range slices.Sorted(maps.Keys(views)) {
		wanted = append(wanted, views[export])
	}
	return wanted, nil
}

// bind makes all bindings, and waits until what they bring can be used.
func (b *binder) bind(ctx context.Context, wanted []view) error {
	names := make([]string, len(wanted))
	var err error
	if names[0], err = b.ensureBinding(ctx, wanted[0]); err != nil {
		return err
	}
	// kcp v0.31 applies claims on the kinds only where it knows these, and tries again in intervals that double with each
	// failure, up to 1000 s (permissionclaimlabel_controller.go). It comes to know them with the first workspace that binds
	// them: so they come before the views that claim them.
	if _, err := b.waitForBindings(ctx, wanted[:1], names[:1]); err != nil {
		return err
	}
	making, together := errgroup.WithContext(ctx)
	making.SetLimit(atATime)
	for i, bound := range wanted[1:] {
		making.Go(func() (err error) {
			names[i+1], err = b.ensureBinding(together, bound)
			return err
		})
	}
	if err := making.Wait(); err != nil {
		return err
	}
	ready, err := b.waitForBindings(ctx, wanted, names)
	if err != nil {
		return err
	}
	if err := b.applyConsumer(ctx, &ready[0]); err != nil { // the first brings the kinds
		return err
	}
	var resources []schema.GroupResource
	for _, binding := range ready {
		for _, bound := range binding.Status.BoundResources {
			resources = append(resources, schema.GroupResource{Group: bound.Group, Resource: bound.Resource})
		}
	}
	return b.waitForResources(ctx, b.workspace, resources)
}

// applyConsumer applies what the consumer's workspace needs besides bindings: a role by which the hub sees whether the
// workspace is at the path that it claims, and the policies about kcp's own kinds. The caller may not be allowed to
// make either. Without the role the workspace can be used. Policies are made by tmc-controller instead, and restored by
// it when somebody deletes them, unless the APIExport is of an older tmc and does not let it.
func (b *binder) applyConsumer(ctx context.Context, binding *apisv1alpha2.APIBinding) error {
	provider := logicalcluster.Name(binding.Status.APIExportClusterName)
	roles, err := manifests.ConsumerRBAC(provider)
	if err != nil {
		return err
	}
	policies, err := manifests.ConsumerPolicies(provider)
	if err != nil {
		return err
	}
	err = b.applyAll(ctx, b.workspace, stepsOf(overlayObject, roles...))
	if kcp.IsDenied(err) {
		b.noticef("you may not make ClusterRoles in workspace %s, so that clusters which are for workspaces by their paths may not be for this one: "+
			"have an administrator of the workspace run `kubectl tmc bind` again", b.workspace)
	} else if err != nil {
		return err
	}
	err = b.applyAll(ctx, b.workspace, stepsOf(mergePolicy, policies...))
	if !kcp.IsDenied(err) {
		return err
	}
	isClaimed := slices.ContainsFunc(binding.Status.AppliedPermissionClaims, func(claim apisv1alpha2.ScopedPermissionClaim) bool {
		return v1alpha1.IsPolicy(schema.GroupResource{Group: claim.Group, Resource: claim.Resource})
	})
	if !isClaimed {
		b.noticef("you may not make ValidatingAdmissionPolicies in workspace %s, and the APIExport does not let tmc-controller make them: "+
			"nothing is placed from here until `kubectl tmc init` has run with this version, and then `kubectl tmc bind` again", b.workspace)
	}
	return nil
}

// ensureBinding makes or updates the binding of a view and returns its name.
func (b *binder) ensureBinding(ctx context.Context, bound view) (string, error) {
	name, exists, err := bindingFor(b.present, b.provider, bound.export)
	if err != nil {
		return "", fmt.Errorf("workspace %s: %w", b.workspace, err)
	}
	if bound.export != v1alpha1.APIExportName {
		if err := b.releaseBinding(ctx, name); err != nil {
			return "", err
		}
	}
	claims, known := b.claims[bound.export]
	if !known {
		claims, known, err = b.exportClaims(ctx, bound.export)
	}
	// A caller may be allowed to bind the export but not to read it. Then its binding tells the claims.
	if err == nil && !known && !exists {
		err = b.applyBinding(ctx, name, bound, nil, keepLive)
	}
	if err == nil && !known {
		claims, err = b.waitForClaims(ctx, name)
	}
	if err != nil {
		return "", err
	}
	return name, b.applyBinding(ctx, name, bound, claims, mergeBinding)
}

// releaseBinding waits until a view's binding is gone that somebody has deleted, and removes the finalizer by which the
// hub keeps it while the view is used. The binding is about to be made anew, and what is on clusters stays that long.
func (b *binder) releaseBinding(ctx context.Context, name string) error {
	if !slices.ContainsFunc(b.present, func(binding apisv1alpha2.APIBinding) bool { return binding.Name == name && isKept(binding) }) {
		return nil
	}
	objects, err := b.objects(b.workspace)
	if err != nil {
		return err
	}
	client := objects.Resource(kcp.APIBindingsResource)
	b.noticef("APIBinding %s of workspace %s was deleted, and is bound anew", name, b.workspace)
	return b.waitFor(ctx, fmt.Sprintf("APIBinding %s in workspace %s to be gone", name, b.workspace), func(ctx context.Context) (progress, error) {
		live, err := client.Get(ctx, name, metav1.GetOptions{})
		if kcp.IsMissing(err) || err == nil && live.GetDeletionTimestamp() == nil {
			return progress{done: true}, nil // it is gone, or somebody has made another one
		}
		if err != nil {
			return progress{}, err
		}
		live.SetFinalizers(protocol.WithoutInUse(live.GetFinalizers()))
		_, err = client.Update(ctx, live, metav1.UpdateOptions{FieldManager: fieldManager})
		if kcp.IsMissing(err) || apierrors.IsConflict(err) {
			err = nil // it has changed meanwhile
		}
		return progress{state: fmt.Sprintf("its finalizers were %v", live.GetFinalizers())}, err
	})
}

// bindings lists the bindings of the consumer workspace.
func (s *server) bindings(ctx context.Context) ([]apisv1alpha2.APIBinding, error) {
	var list apisv1alpha2.APIBindingList
	err := s.list(ctx, s.workspace, kcp.APIBindingsResource, "", &list)
	return list.Items, err
}

// exportClaims returns the claims of an export, and whether the caller may know them. kcp answers a request in a
// workspace that does not exist as it answers a forbidden one, so that a missing provider workspace shows only when the
// binding is made.
func (s *server) exportClaims(ctx context.Context, name string) (claims []apisv1alpha2.PermissionClaim, known bool, err error) {
	var export apisv1alpha2.APIExport
	err = s.get(ctx, s.provider, kcp.APIExportsResource, name, &export)
	switch {
	case kcp.IsMissing(err):
		return nil, false, fmt.Errorf("workspace %s has no APIExport %s: %s first: %w", s.provider, name, makesExport(name), err)
	case kcp.IsDenied(err):
		return nil, false, nil
	default:
		return export.Spec.PermissionClaims, err == nil, err
	}
}

// makesExport says what to do for an export to exist.
func makesExport(name string) string {
	if name == v1alpha1.APIExportName {
		return "run `kubectl tmc init`"
	}
	return "let the cluster join, or join anew, with `kubectl tmc join`"
}

// applyBinding makes or updates the binding with the claims.
func (s *server) applyBinding(ctx context.Context, name string, bound view, claims []apisv1alpha2.PermissionClaim, merge merger) error {
	_, err := s.apply(ctx, s.workspace, encode(newBinding(name, s.provider, bound, claims)), merge)
	if kcp.IsDenied(err) {
		return fmt.Errorf("APIExport %s of workspace %s cannot be bound in workspace %s: "+
			"it is not there (%s first), or you lack the verb bind on it, or the right to make APIBindings here: %w",
			bound.export, s.provider, s.workspace, makesExport(bound.export), errors.Unwrap(err))
	}
	return err
}

// waitForClaims waits until kcp has noted the export's claims in the binding.
func (s *server) waitForClaims(ctx context.Context, name string) ([]apisv1alpha2.PermissionClaim, error) {
	var binding apisv1alpha2.APIBinding
	what := fmt.Sprintf("kcp to note, in APIBinding %s of workspace %s, what tmc asks to do there", name, s.workspace)
	err := s.waitFor(ctx, what, func(ctx context.Context) (progress, error) {
		binding = apisv1alpha2.APIBinding{}
		err := s.get(ctx, s.workspace, kcp.APIBindingsResource, name, &binding)
		// The list stays empty for an export without claims.
		return progress{done: len(binding.Status.ExportPermissionClaims) > 0 || binding.Status.Phase == apisv1alpha2.APIBindingPhaseBound}, err
	})
	return binding.Status.ExportPermissionClaims, err
}

// waitForBindings waits until all views are bound, and returns their bindings. It tells the caller once of each that
// has to be waited for. It fails when the workspace has one of the APIs from elsewhere.
func (s *server) waitForBindings(ctx context.Context, wanted []view, names []string) ([]apisv1alpha2.APIBinding, error) {
	ready := make([]apisv1alpha2.APIBinding, len(wanted))
	told := map[string]bool{}
	conflicts := map[string]time.Time{}
	err := s.poll(ctx, "the APIBindings of workspace "+s.workspace, func(ctx context.Context) (progress, error) {
		present, err := s.bindings(ctx)
		if err != nil {
			return progress{}, err
		}
		var missing []string
		for i, name := range names {
			at := slices.IndexFunc(present, func(binding apisv1alpha2.APIBinding) bool { return binding.Name == name })
			if at < 0 {
				return progress{}, fmt.Errorf("APIBinding %s of workspace %s has been deleted meanwhile", name, s.workspace)
			}
			ready[i] = present[at]
			if conflict := conflictIn(&ready[i]); conflict == "" {
				delete(conflicts, name)
			} else if since, known := conflicts[name]; !known {
				conflicts[name] = time.Now()
			} else if time.Since(since) >= conflictGrace {
				return progress{}, s.conflictError(ctx, &ready[i], conflict)
			}
			if now := bindingProgress(&ready[i]); !now.done {
				missing = append(missing, fmt.Sprintf("APIBinding %s (for %s): %s", name, wanted[i].purpose(), now.state))
				if !told[name] {
					told[name] = true
					s.tell(s.options.OnWaiting, fmt.Sprintf("waiting for %s, in workspace %s", wanted[i].purpose(), s.workspace))
				}
			}
		}
		return progress{done: len(missing) == 0, state: strings.Join(missing, "; ")}, nil
	}, func(string) {})
	return ready, err
}

// conflictError returns the error that names what keeps the binding's APIs out of the workspace. message is kcp's.
func (s *server) conflictError(ctx context.Context, binding *apisv1alpha2.APIBinding, message string) error {
	bindings, err := s.bindings(ctx)
	if err != nil {
		return err
	}
	export := manifests.Export()
	owners := ownersOf(export.Spec.Resources, bindings, binding.Name)
	for _, resource := range export.Spec.Resources {
		name := resource.Name + "." + resource.Group
		var definition metav1.PartialObjectMetadata
		if s.get(ctx, s.workspace, crdResource, name, &definition) == nil {
			owners = append(owners, "CustomResourceDefinition "+name)
		}
	}
	if len(owners) == 0 {
		owners = []string{"elsewhere"}
	}
	return fmt.Errorf("workspace %s has what APIBinding %s brings from %s already: delete one of the two (kcp says: %s)",
		s.workspace, binding.Name, strings.Join(owners, " and from "), message)
}

// waitForResources waits until resources can be used in a workspace: when they are bound or established, not every kcp
// server knows them yet.
func (s *server) waitForResources(ctx context.Context, workspace string, resources []schema.GroupResource) error {
	objects, err := s.objects(workspace)
	if err != nil {
		return err
	}
	missing := slices.Clone(resources)
	what := fmt.Sprintf("workspace %s to serve %d kinds", workspace, len(resources))
	if len(resources) == 1 {
		what = fmt.Sprintf("workspace %s to serve %s", workspace, resources[0])
	}
	return s.waitFor(ctx, what, func(ctx context.Context) (progress, error) {
		served, err := s.resources(workspace)
		if err != nil {
			return progress{}, err
		}
		for ; len(missing) > 0; missing = missing[1:] {
			wanted := missing[0]
			at := slices.IndexFunc(served, func(r metav1.APIResource) bool { return r.Group == wanted.Group && r.Name == wanted.Resource })
			if at >= 0 {
				_, err = objects.Resource(wanted.WithVersion(served[at].Version)).List(ctx, metav1.ListOptions{Limit: 1})
			}
			switch {
			case at < 0, kcp.Is404(err):
				return progress{state: "not served yet: " + listKinds(missing, ", ")}, nil
			// Whoever may bind may not be allowed to use what is bound.
			case err != nil && !apierrors.IsForbidden(err):
				return progress{}, s.explain(workspace, err)
			}
		}
		return progress{done: true}, nil
	})
}

// newBinding returns an APIBinding that binds a view and accepts its claims. A claim is accepted with the default
// selector of the provider, which has no effect in a binding: kcp v0.31 recognises a claim, and labels objects for it,
// by all that the export says of it but the verbs (ToLabelKeyAndValue in github.com/kcp-dev/sdk,
// apis/apis/v1alpha2/permissionclaims; v0.32 leaves the selector out).
func newBinding(name, provider string, bound view, claims []apisv1alpha2.PermissionClaim) *apisv1alpha2.APIBinding {
	binding := &apisv1alpha2.APIBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: apisv1alpha2.SchemeGroupVersion.String(), Kind: "APIBinding"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: apisv1alpha2.APIBindingSpec{Reference: apisv1alpha2.BindingReference{
			Export: &apisv1alpha2.ExportBindingReference{Path: provider, Name: bound.export},
		}},
	}
	for _, claim := range claims {
		binding.Spec.PermissionClaims = append(binding.Spec.PermissionClaims, apisv1alpha2.AcceptablePermissionClaim{
			ScopedPermissionClaim: apisv1alpha2.ScopedPermissionClaim{PermissionClaim: claim, Selector: bound.selector()},
			State:                 apisv1alpha2.ClaimAccepted,
		})
	}
	return binding
}

// bindingFor returns the name of the binding to use for an export: one that the workspace has for it already, for
// instance from its type, or else the name of the export. It fails when that name is taken.
func bindingFor(bindings []apisv1alpha2.APIBinding, provider, export string) (name string, exists bool, err error) {
	for _, binding := range bindings {
		if reference := binding.Spec.Reference.Export; reference != nil && reference.Path == provider && reference.Name == export {
			return binding.Name, true, nil
		}
		if binding.Name == export {
			err = fmt.Errorf("APIBinding %s is there already and binds %s: delete it first", export, referenceOf(binding))
		}
	}
	if err != nil {
		return "", false, err
	}
	return export, false, nil
}

// isKept reports whether the hub keeps a binding that is being deleted, because clusters see objects through it.
func isKept(binding apisv1alpha2.APIBinding) bool {
	return binding.DeletionTimestamp != nil && slices.Contains(binding.Finalizers, v1alpha1.InUseFinalizer)
}

// boundViews returns the views whose exports are bound. It leaves out bindings whose export is gone, which a cluster
// that was taken out may leave behind.
func boundViews(bindings []apisv1alpha2.APIBinding, provider string) []view {
	var views []view
	for _, binding := range bindings {
		reference := binding.Spec.Reference.Export
		valid, known := findCondition(binding.Status.Conditions, apisv1alpha2.APIExportValid)
		isGone := known && valid.Status == corev1.ConditionFalse && valid.Reason == apisv1alpha2.APIExportNotFoundReason
		if reference == nil || reference.Path != provider || isGone {
			continue
		}
		if view, ok := viewNamed(reference.Name); ok {
			views = append(views, view)
		}
	}
	return views
}

// referenceOf names what a binding binds, for people.
func referenceOf(binding apisv1alpha2.APIBinding) string {
	reference := binding.Spec.Reference.Export
	switch {
	case reference == nil:
		return "no APIExport"
	case reference.Path == "":
		return "APIExport " + reference.Name + " of its own workspace"
	default:
		return "APIExport " + reference.Name + " of workspace " + reference.Path
	}
}

// bindingProgress returns how far kcp has come with a binding, with all that is missing. It is done when the export is bound
// in its newest form and all accepted claims are in force.
func bindingProgress(binding *apisv1alpha2.APIBinding) progress {
	var missing []string
	for _, needed := range []conditionsv1alpha1.ConditionType{
		apisv1alpha2.APIExportValid, apisv1alpha2.InitialBindingCompleted, apisv1alpha2.BindingUpToDate, apisv1alpha2.PermissionClaimsApplied,
	} {
		condition, known := findCondition(binding.Status.Conditions, needed)
		switch {
		case !known:
			missing = append(missing, fmt.Sprintf("kcp has not said %s yet", needed))
		case condition.Status != corev1.ConditionTrue:
			missing = append(missing, strings.TrimSpace(fmt.Sprintf("%s=%s %s %s", needed, condition.Status, condition.Reason, condition.Message)))
		}
	}
	for _, accepted := range binding.Spec.PermissionClaims {
		isApplied := slices.ContainsFunc(binding.Status.AppliedPermissionClaims, func(applied apisv1alpha2.ScopedPermissionClaim) bool {
			return applied.EqualGRI(accepted.PermissionClaim)
		})
		if accepted.State == apisv1alpha2.ClaimAccepted && !isApplied {
			missing = append(missing, fmt.Sprintf("the claim on %s is not in force yet", accepted.PermissionClaim))
		}
	}
	if binding.Status.Phase != apisv1alpha2.APIBindingPhaseBound {
		missing = append(missing, fmt.Sprintf("its phase is %q", binding.Status.Phase))
	}
	return progress{done: len(missing) == 0, state: strings.Join(missing, "; ")}
}

// conflictIn returns kcp's message about an API that the binding cannot bring because the workspace has it from
// elsewhere; empty when there is no such conflict.
func conflictIn(binding *apisv1alpha2.APIBinding) string {
	for _, condition := range binding.Status.Conditions {
		if condition.Status == corev1.ConditionFalse && condition.Reason == apisv1alpha2.NamingConflictsReason {
			return condition.Message
		}
	}
	return ""
}

// ownersOf names the bindings, other than the one named self, that brought one of the resources into their workspace.
func ownersOf(resources []apisv1alpha2.ResourceSchema, bindings []apisv1alpha2.APIBinding, self string) []string {
	var owners []string
	for _, binding := range bindings {
		brings := slices.ContainsFunc(binding.Status.BoundResources, func(bound apisv1alpha2.BoundAPIResource) bool {
			return slices.ContainsFunc(resources, func(resource apisv1alpha2.ResourceSchema) bool {
				return resource.Group == bound.Group && resource.Name == bound.Resource
			})
		})
		if brings && binding.Name != self {
			owners = append(owners, fmt.Sprintf("APIBinding %s (%s)", binding.Name, referenceOf(binding)))
		}
	}
	return owners
}

// findCondition returns the condition of a type, and whether there is one.
func findCondition(all conditionsv1alpha1.Conditions, conditionType conditionsv1alpha1.ConditionType) (conditionsv1alpha1.Condition, bool) {
	for _, condition := range all {
		if condition.Type == conditionType {
			return condition, true
		}
	}
	return conditionsv1alpha1.Condition{}, false
}
