// Command bench measures what tmc costs, beside what kcp and a cluster cost without it in the same run: how long it takes
// from a creation to a copy, and from a pod that is ready to the status in kcp; what is written for a change, and by whom;
// what a thousand creations take; what is written at rest and after a restart; memory and CPU. It starts a kcp and two
// clusters, installs tmc as `kubectl tmc join` does it, isolation included, with the real programs, and stops all of it.
//
// Most figures depend on the machine. Those that compare runs are ratios to the raw limit of the same run: what the same
// calls take without tmc.
package main
