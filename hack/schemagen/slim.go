package main

// kcp keeps each schema in memory several times, for its own API and again for each
// APIExport whose virtual workspace serves the kind: an isolated cluster costs what the
// schemas of its kinds do. What follows is left out of them.

// absentProperties are properties that no object of ours may have, by the definition that
// has them.
var absentProperties = map[string][]string{
	// "ephemeral containers not allowed in pod template": ValidatePodTemplateSpec
	// (pkg/apis/core/validation/validation.go). They are a sixth of a workload's schema.
	"io.k8s.api.core.v1.PodSpec": {"ephemeralContainers"},
}

// opaqueDefinitions are objects of which the schema says nothing: whatever is in them is
// kept, and the clusters check it. They are the volume sources that Kubernetes calls
// deprecated or has no plugin for any more (Volume in staging/src/k8s.io/api/core/v1/types.go).
var opaqueDefinitions = []string{
	"io.k8s.api.core.v1.AWSElasticBlockStoreVolumeSource",
	"io.k8s.api.core.v1.AzureDiskVolumeSource",
	"io.k8s.api.core.v1.AzureFileVolumeSource",
	"io.k8s.api.core.v1.CephFSVolumeSource",
	"io.k8s.api.core.v1.CinderVolumeSource",
	"io.k8s.api.core.v1.FlexVolumeSource",
	"io.k8s.api.core.v1.FlockerVolumeSource",
	"io.k8s.api.core.v1.GCEPersistentDiskVolumeSource",
	"io.k8s.api.core.v1.GitRepoVolumeSource",
	"io.k8s.api.core.v1.GlusterfsVolumeSource",
	"io.k8s.api.core.v1.PhotonPersistentDiskVolumeSource",
	"io.k8s.api.core.v1.PortworxVolumeSource",
	"io.k8s.api.core.v1.QuobyteVolumeSource",
	"io.k8s.api.core.v1.RBDVolumeSource",
	"io.k8s.api.core.v1.ScaleIOVolumeSource",
	"io.k8s.api.core.v1.StorageOSVolumeSource",
	"io.k8s.api.core.v1.VsphereVirtualDiskVolumeSource",
}
