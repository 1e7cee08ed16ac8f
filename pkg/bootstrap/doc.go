// Package bootstrap makes the objects that run one cluster's syncer in that cluster: the manifest that `kubectl tmc
// join` prints, and the kustomize base in manifests/syncer. Its role allows what a syncer does, and nothing else.
//
// The package is pure: it makes objects and YAML of options, the same of the same options. It has no client, logger,
// context or clock. Callers hand it credentials; it does not know how these are made, nor what is done in kcp.
package bootstrap
