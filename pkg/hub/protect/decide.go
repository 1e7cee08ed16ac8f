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
)

// binding is what is known of an APIBinding of one of the provider's APIExports.
type binding struct {
	key    kcp.ObjectKey
	obj    *unstructured.Unstructured
	export string
	// isHeld is whether it has our finalizer, isGoing whether it is being deleted.
	isHeld, isGoing bool
	// letsHold is whether its claims that are in force let the hub write on APIBindings.
	letsHold bool
}

// bindingOf reads an APIBinding as kcp says that it is; false when it binds none of the
// provider's APIExports. What its spec asks for is the consumer's.
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
		isHeld:   slices.Contains(read.Finalizers, v1alpha1.InUseFinalizer),
		isGoing:  read.DeletionTimestamp != nil,
		letsHold: kcp.IsClaimed(read.Status.AppliedPermissionClaims, v1alpha1.APIBindingsResource, "update"),
	}, true
}

// isMain reports whether a binding is the one through which the hub itself sees the workspace.
func (b *binding) isMain() bool { return b.export == v1alpha1.APIExportName }

// plan is what is to be done about the bindings of a workspace.
type plan struct {
	// hold are to get our finalizer, release are to lose it.
	hold, release []binding
	// isWaiting is set when one is kept that is to go: nothing but a look tells when it may.
	isWaiting bool
}

// decide returns what is to be done about the bindings of a workspace, given the APIExports
// through which syncers see something of it. A view is held while it is used. The hub's own
// is held with it: without that, nobody could let the views go. What is being deleted
// cannot be held any more.
func decide(bindings []binding, inUse sets.Set[string]) plan {
	var main, views []binding
	for _, b := range bindings {
		if b.isMain() {
			main = append(main, b)
		} else {
			views = append(views, b)
		}
	}
	if !slices.ContainsFunc(main, func(b binding) bool { return b.letsHold }) {
		return plan{} // it was bound before there was such a claim, or its consumer does not accept it
	}
	// After the hub's own nobody can let go of the views any more: they are not held beyond it.
	isEnd := slices.ContainsFunc(main, func(b binding) bool { return b.isGoing })
	isUsed := func(b binding) bool { return inUse.Has(b.export) }
	needsMain := slices.ContainsFunc(views, func(b binding) bool { return b.isHeld || isUsed(b) && !isEnd })
	var p plan
	for _, b := range main { // first: who holds only views could be left without a way to let go of them
		p.add(b, needsMain, isEnd)
	}
	for _, b := range views {
		p.add(b, isUsed(b), b.isGoing || isEnd)
	}
	return p
}

// add has the plan be right for one binding: whether it is wanted, and whether it ends.
func (p *plan) add(b binding, isWanted, ends bool) {
	switch {
	case ends && b.isHeld && isWanted:
		p.isWaiting = true
	case ends && b.isHeld:
		p.release = append(p.release, b)
	case !ends && !b.isHeld && isWanted:
		p.hold = append(p.hold, b)
	}
}

// clustersOn returns the clusters whose syncers have something to do yet with an object: those
// that hold it, and those that it is placed on unless it is going.
func clustersOn(upstreamObj *unstructured.Unstructured) []string {
	clusters := v1alpha1.HoldingClusters(upstreamObj.GetFinalizers())
	if upstreamObj.GetDeletionTimestamp() == nil {
		clusters = append(clusters, v1alpha1.PlacedClusters(upstreamObj.GetLabels())...)
	}
	return clusters
}
