// Package manifests holds the YAML that tmc installs, embedded, and reads it into
// objects. It knows nothing of servers: what is done with the objects is up to others.
//
// The files under kcp are the kcp side. Schemas, definitions and APIExport are generated,
// see hack/schemagen; the rest is written by hand.
package manifests
