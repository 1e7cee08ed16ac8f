package transform

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"
)

// A Tracker is a tool that deploys objects and knows those that are its own by labels or annotations.
type Tracker struct {
	// Name is what people call the tool.
	Name string
	// Keys are those of the labels and annotations, sorted.
	Keys []string
}

// trackers are the tools whose marks stay upstream: a tool of the same kind that runs on the cluster would take a copy with
// such a mark for an object of its own, which it no longer finds in its source, and prune it. Each list has what the tool
// itself writes to say that an object is its own, or in what state it has applied it. What people write to tell a tool what
// to do with an object (argocd.argoproj.io/sync-options, kustomize.toolkit.fluxcd.io/prune, helm.sh/hook) goes down: without
// the mark, no tool heeds it. So do labels that mean something to others than the tool, app.kubernetes.io/instance and
// app.kubernetes.io/managed-by among them: Helm adopts nothing without its annotations, and a rule can drop them.
//
// docs/adapting.md lists them.
var trackers = []Tracker{
	// argo-cd, common/common.go and docs/user-guide/resource_tracking.md; managed-by, on namespaces, is of argocd-operator,
	// which gives the instance that it names rights there.
	{"Argo CD", []string{"argocd.argoproj.io/installation-id", "argocd.argoproj.io/instance", "argocd.argoproj.io/managed-by", "argocd.argoproj.io/tracking-id"}},
	// fluxcd/pkg, ssa (SetOwnerLabels): the group of the owner, and /name and /namespace. The checksum is of Flux before v0.18;
	// the keys of fluxcd.io and helm.fluxcd.io are of Flux v1, those of fluxcd.controlplane.io of flux-operator.
	{"Flux", []string{
		"fluxcd.controlplane.io/name", "fluxcd.controlplane.io/namespace",
		"fluxcd.io/sync-checksum", "fluxcd.io/sync-gc-mark",
		"helm.fluxcd.io/antecedent",
		"helm.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/namespace",
		"kustomize.toolkit.fluxcd.io/checksum", "kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace",
		"resourceset.fluxcd.controlplane.io/name", "resourceset.fluxcd.controlplane.io/namespace",
	}},
	// KEP-3659; kubectl, pkg/cmd/apply/applyset.go.
	{"kubectl apply --applyset", []string{
		"applyset.kubernetes.io/additional-namespaces", "applyset.kubernetes.io/contains-group-kinds", "applyset.kubernetes.io/contains-group-resources",
		"applyset.kubernetes.io/id", "applyset.kubernetes.io/part-of", "applyset.kubernetes.io/tooling",
	}},
	// helm, pkg/action/validate.go.
	{"Helm", []string{"meta.helm.sh/release-name", "meta.helm.sh/release-namespace"}},
	// sigs.k8s.io/cli-utils, pkg/common/common.go and pkg/inventory.
	{"kpt, cli-utils", []string{"cli-utils.sigs.k8s.io/inventory-id", "config.k8s.io/owning-inventory"}},
	// https://cloud.google.com/kubernetes-engine/config-sync/docs/reference/labels-and-annotations
	{"Config Sync", []string{
		"configmanagement.gke.io/cluster-name", "configmanagement.gke.io/declared-config", "configmanagement.gke.io/managed",
		"configmanagement.gke.io/source-path", "configmanagement.gke.io/sync-kind", "configmanagement.gke.io/sync-name",
		"configmanagement.gke.io/sync-namespace", "configmanagement.gke.io/token",
		"configsync.gke.io/declared-fields", "configsync.gke.io/declared-version", "configsync.gke.io/git-context",
		"configsync.gke.io/manager", "configsync.gke.io/resource-id",
	}},
	// carvel-dev/kapp, pkg/kapp/app, pkg/kapp/diff/resource_with_history.go, pkg/kapp/resources.
	{"kapp", []string{
		"kapp.k14s.io/app", "kapp.k14s.io/association", "kapp.k14s.io/identity", "kapp.k14s.io/original",
		"kapp.k14s.io/original-diff", "kapp.k14s.io/original-diff-full", "kapp.k14s.io/original-diff-md5",
	}},
	// rancher/wrangler, pkg/apply: Fleet, and the add-ons of k3s and RKE2.
	{"Rancher Fleet, k3s", []string{
		"objectset.rio.cattle.io/applied", "objectset.rio.cattle.io/hash", "objectset.rio.cattle.io/id", "objectset.rio.cattle.io/inputid",
		"objectset.rio.cattle.io/owner-gvk", "objectset.rio.cattle.io/owner-name", "objectset.rio.cattle.io/owner-namespace",
	}},
	// multicloud-operators-subscription, pkg/apis/apps/v1.
	{"Open Cluster Management", []string{
		"apps.open-cluster-management.io/hosting-deployable", "apps.open-cluster-management.io/hosting-subscription", "apps.open-cluster-management.io/sync-source",
	}},
	// tanka, pkg/kubernetes (`tk prune`) and kubecfg (`kubecfg update --gc-tag`).
	{"Tanka, kubecfg", []string{"kubecfg.ksonnet.io/garbage-collect-tag", "tanka.dev/environment"}},
	// kubernetes, cluster/addons/addon-manager.
	{"Kubernetes' addon-manager", []string{"addonmanager.kubernetes.io/mode"}},
}

// Trackers returns the tools whose marks stay upstream.
func Trackers() []Tracker { return slices.Clone(trackers) }

var trackingKeys = func() sets.Set[string] {
	keys := sets.New[string]()
	for _, tracker := range trackers {
		keys.Insert(tracker.Keys...)
	}
	return keys
}()

// isDropped reports whether a list of a rule (DropLabels, DropAnnotations) names a key: as it is, or by what is before its
// name, up to the slash.
func isDropped(drops []string, key string) bool {
	return slices.ContainsFunc(drops, func(drop string) bool {
		return drop == key || strings.HasSuffix(drop, "/") && strings.HasPrefix(key, drop)
	})
}

// dropKeys removes from the metadata of a copy the labels and annotations of the user's that stay upstream: those of
// trackers, and those that the rule drops. Neither pod templates nor selectors change. What the rule itself adds stays, and so
// does what an override has given another value than it has upstream.
func dropKeys(desired *unstructured.Unstructured, in Input) {
	for _, one := range []struct {
		field string
		drops []string
		added map[string]string
	}{
		{labelsField, in.Rule.DropLabels, in.Rule.Labels},
		{annotationsField, in.Rule.DropAnnotations, in.Rule.Annotations},
	} {
		users := child(in.Object.Object, metadataField, one.field)
		maps.DeleteFunc(child(desired.Object, metadataField, one.field), func(key string, value any) bool {
			if !trackingKeys.Has(key) && !isDropped(one.drops, key) {
				return false
			}
			_, isAdded := one.added[key]
			was, isUsers := users[key]
			return !isAdded && isUsers && (was == value || was == nil && value == "")
		})
	}
}

// namespaceDrops reports whether a label or an annotation of a tenant's namespace stays upstream although a pattern lets all
// go down. A pattern that names it, or its domain, does let the mark of a tracker go down.
func namespaceDrops(key string, patterns, drops []string) bool {
	isNamed := slices.ContainsFunc(patterns, func(pattern string) bool { return pattern != "*" && matchesKey(pattern, key) })
	return isDropped(drops, key) || trackingKeys.Has(key) && !isNamed
}

// Keys by which tools know what they keep for themselves beside what they deploy.
var recordKeys = sets.New(
	"applyset.kubernetes.io/id",                // the parent of an applyset
	"cli-utils.sigs.k8s.io/inventory-id",       // an inventory of kpt
	"kapp.k14s.io/is-app",                      // what kapp knows of an application,
	"kapp.k14s.io/is-app-change",               // and of its changes
	"control-plane.alpha.kubernetes.io/leader", // who of several leads (client-go, tools/leaderelection/resourcelock)
)

// helmRelease begins the names of the Secrets and ConfigMaps in which Helm keeps its releases (helm, pkg/storage/storage.go).
const helmRelease = "sh.helm.release.v1."

// IsRecord reports whether an object is what a server, or a tool that deploys, keeps for itself where it deploys: it is for no
// cluster, and that it goes to none is no news. So is what each namespace has of its own, and what is in the server's own
// namespaces.
func IsRecord(obj *unstructured.Unstructured) bool {
	for _, field := range []string{labelsField, annotationsField} {
		for key := range child(obj.Object, metadataField, field) {
			if recordKeys.Has(key) {
				return true
			}
		}
	}
	return IsNeverSynced(obj) != "" || strings.HasPrefix(obj.GetName(), helmRelease) || strings.HasPrefix(obj.GetNamespace(), kubernetesNamespaces)
}
