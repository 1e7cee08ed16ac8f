// Command basegen writes the kustomize base of a cluster's syncer, manifests/syncer: the
// objects of package bootstrap with the defaults of `kubectl tmc join`, each in a file of
// its own, without the Secret. What differs between clusters is up to overlays;
// manifests/syncer-example shows one.
//
// The output depends on bootstrap and on the kinds of the APIExport only: the same input
// gives the same bytes.
package main
