// Command kubectl-tmc is the kubectl plugin of tmc: `kubectl tmc init` installs the kcp
// side, `kubectl tmc join` lets a cluster take part and `kubectl tmc unjoin` takes it out,
// `kubectl tmc bind` lets a workspace use it, `kubectl tmc render` prints what a cluster
// is sent. `kubectl tmc get` and `describe` show clusters and what runs where;
// `cordon`, `uncordon`, `drain` and `remove` say what may come to a cluster and stay
// there. It turns flags into options, calls the package that does the work and prints
// what that reports; it decides nothing.
package main
