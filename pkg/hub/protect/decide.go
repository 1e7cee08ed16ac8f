package protect

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-dev/logicalcluster/v3"
	apisv1alpha2 "github.com/kcp-dev/sdk/apis/apis/v1alpha2"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/kcp"
	"github.com/kcp-tmc/tmc/pkg/protocol"
)

// binding is what is known of an APIBinding of one of the provider's APIExports.
type binding struct {
	key    kcp.ObjectKey
	obj    *unstructured.Unstructured
	export string
	// isKept is whether it has our finalizer, isGoing whether it is being deleted.
	isKept, isGoing bool
	// letsKeep is whether its claims that are in force let the hub update APIBindings.
	letsKeep bool
}

// bindingOf reads an APIBinding, and reports whether it binds one of the provider's APIExports. kcp writes whose export
// is bound in the status; the consumer writes the spec.
func bindingOf(key kcp.ObjectKey, obj *unstructured.Unstructured, provider logicalcluster.Name) (binding, bool) {
	read := &apisv1alpha2.APIBinding{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, read); err != nil {
		return binding{}, false // its schema does not let it be
	}
	reference := read.Spec.Reference.Export
	if reference == nil || provider == "" || read.Status.APIExportClusterName != provider.String() {
		return binding{}, false
	}
	return binding{
		key: key, obj: obj, export: reference.Name,
		isKept:   slices.Contains(read.Finalizers, v1alpha1.InUseFinalizer),
		isGoing:  read.DeletionTimestamp != nil,
		letsKeep: kcp.IsClaimed(read.Status.AppliedPermissionClaims, kcp.APIBindingsResource, "update"),
	}, true
}

// isMain reports whether the hub itself sees the workspace through a binding.
func (b *binding) isMain() bool { return b.export == v1alpha1.APIExportName }

// plan is what has to be done about the bindings of a workspace.
type plan struct {
	// keep are to get our finalizer, release are to lose it.
	keep, release []binding
	// isWaiting is set when a binding is kept that is being deleted: no event tells when it may go.
	isWaiting bool
}

// decide returns what has to be done about the bindings of a workspace, given the APIExports through which syncers see
// objects there, and those through which they are about to. A view is kept while it is used. The hub's own binding is kept as long as a view is: without it,
// nobody could release the view. A binding that is being deleted gets no finalizer any more.
func decide(bindings []binding, inUse, wanted sets.Set[string]) plan {
	main, views := split(bindings)
	if !slices.ContainsFunc(main, func(b binding) bool { return b.letsKeep }) {
		return plan{} // the export had no such claim when it was bound, or the consumer does not accept it
	}
	// Nobody can release the views after the hub's own binding is gone: they are not kept longer than that.
	isEnd := slices.ContainsFunc(main, func(b binding) bool { return b.isGoing })
	isUsed := func(b binding) bool { return inUse.Has(b.export) }
	isWanted := func(b binding) bool { return isUsed(b) || wanted.Has(b.export) && !b.isGoing && !isEnd }
	needsMain := slices.ContainsFunc(views, func(b binding) bool { return b.isKept || isWanted(b) && !isEnd })
	var p plan
	for _, b := range main { // first: a hub that had kept only views could lose the means to release them
		p.add(b, needsMain, isEnd)
	}
	for _, b := range views {
		p.add(b, isWanted(b), b.isGoing || isEnd)
	}
	return p
}

// split returns the hub's own bindings, and those of views.
func split(bindings []binding) (main, views []binding) {
	for _, b := range bindings {
		if b.isMain() {
			main = append(main, b)
		} else {
			views = append(views, b)
		}
	}
	return main, views
}

// add adds one binding to the plan, given whether it is needed and whether it is to go.
func (p *plan) add(b binding, isNeeded, goes bool) {
	switch {
	case goes && b.isKept && isNeeded:
		p.isWaiting = true
	case goes && b.isKept:
		p.release = append(p.release, b)
	case !goes && !b.isKept && isNeeded:
		p.keep = append(p.keep, b)
	}
}

// clustersOn returns the clusters whose syncers have work left with an object: those that hold it, and, unless it is
// being deleted, those that it is placed on.
func clustersOn(upstreamObj *unstructured.Unstructured) []string {
	object := protocol.Read(upstreamObj)
	if object.IsDeleting() {
		return object.Held()
	}
	return object.Present()
}
