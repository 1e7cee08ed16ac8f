// Package bootstrap makes the objects that run one cluster's syncer, in that cluster:
// what `kubectl tmc join` prints, and what the kustomize base in manifests/syncer has.
// Among them is the role that says what a syncer may do on its cluster: what it does,
// and nothing else.
//
// It is pure: options in, objects and their YAML out, the same for the same options. It
// knows no client, no logger, no context and no clock. Credentials are handed to it; how
// they come about, and what is done in kcp, is not its business.
package bootstrap
