package dependency

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Reference is an object, in the namespace of the one that was asked about, that is
// needed there.
type Reference struct {
	Resource schema.GroupResource
	Name     string
	// Optional is whether the one that needs it goes on without: where it exists it is
	// to be there, where it does not nothing is amiss.
	Optional bool
}

// Resources that references are to.
var (
	configMaps      = schema.GroupResource{Resource: "configmaps"}
	secrets         = schema.GroupResource{Resource: "secrets"}
	claims          = schema.GroupResource{Resource: "persistentvolumeclaims"}
	serviceAccounts = schema.GroupResource{Resource: "serviceaccounts"}
	services        = schema.GroupResource{Resource: "services"}
)

// rootCAConfigMap is in each namespace of each cluster, with that cluster's own
// content (RootCACertConfigMapName of kubernetes,
// pkg/controller/certificates/rootcacertpublisher).
const rootCAConfigMap = "kube-root-ca.crt"

// defaultAccount is in each namespace of each cluster likewise (kubernetes,
// pkg/controller/serviceaccount).
const defaultAccount = "default"

// References returns what the object needs on its cluster before it, sorted and each
// once; Optional only if every mention of it is.
//
// Of a pod template, in an object of any kind, that is what Kubernetes itself takes
// for its Secrets and ConfigMaps (VisitPodSecretNames and VisitPodConfigmapNames of
// kubernetes, pkg/api/v1/pod/util.go), its claims, and its service account, without
// which pods are refused (plugin/pkg/admission/serviceaccount). Where the template
// says `optional` it is believed.
//
// imagePullSecrets are optional: the kubelet warns of a missing one and goes on to
// pull the image without (getPullSecretsForPod of pkg/kubelet/kubelet_pods.go). So
// are those of a ServiceAccount, which become those of its pods, and its `secrets`,
// a list of what its pods may mount, not of what they do. In clusters' older objects
// these name token Secrets, which are of no use elsewhere: that is for the caller to
// see, whom the Secret's type tells.
//
// The Secret of an Ingress' tls entry is optional: it may be made only after the
// Ingress and because of it (https://cert-manager.io/docs/usage/ingress/), and until
// then ingress controllers serve a certificate of their own.
//
// A cluster's own objects are no references: the ConfigMap kube-root-ca.crt and the
// ServiceAccount default.
func References(obj *unstructured.Unstructured) []Reference {
	found := mentions{}
	for _, path := range templatePaths {
		if template := podTemplate(obj.Object, path); template != nil {
			pruneTemplate(template, found.add)
		}
	}
	if own, known := ownReferences[obj.GroupVersionKind().GroupKind()]; known {
		own.prune(obj.Object, found.add)
	}
	return found.sorted()
}

// ownReferences are those of kinds that bear some outside of a pod template.
var ownReferences = map[schema.GroupKind]shape{
	{Kind: "ServiceAccount"}: fields{
		"imagePullSecrets": pullSecrets,
		"secrets":          each{reference{resource: secrets, field: nameField, tolerated: true}},
	},
	ingressKind: fields{"spec": fields{
		"tls": each{reference{resource: secrets, field: secretNameField, tolerated: true}},
	}},
}

// mentions are references, and whether every mention so far was optional.
type mentions map[Reference]bool

func (m mentions) add(mention Reference) {
	if mention.Resource == configMaps && mention.Name == rootCAConfigMap {
		return
	}
	optional := mention.Optional
	mention.Optional = false
	before, mentioned := m[mention]
	m[mention] = optional && (before || !mentioned)
}

func (m mentions) sorted() []Reference {
	references := make([]Reference, 0, len(m))
	for found, optional := range m {
		found.Optional = optional
		references = append(references, found)
	}
	slices.SortFunc(references, func(a, b Reference) int {
		return cmp.Or(
			cmp.Compare(a.Resource.Group, b.Resource.Group),
			cmp.Compare(a.Resource.Resource, b.Resource.Resource),
			cmp.Compare(a.Name, b.Name),
		)
	})
	return references
}
