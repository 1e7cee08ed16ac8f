// Command kubectl-tmc is the kubectl plugin of tmc: `kubectl tmc init` installs the kcp
// side, `kubectl tmc bind` lets a workspace use it, `kubectl tmc render` prints what a
// cluster is sent. It turns flags into options, calls the package that does the work
// and prints what that reports; it decides nothing.
package main
