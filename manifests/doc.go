// Package manifests holds the YAML that tmc installs, embedded, and reads it into objects. It applies nothing.
//
// The files under kcp are for kcp: hack/schemagen generates the schemas, the definitions and the APIExport; the rest is
// written by hand. The files under syncer are for a physical cluster, as a kustomize base; hack/basegen generates them,
// and they are not embedded. syncer-example is an overlay of that base.
package manifests
