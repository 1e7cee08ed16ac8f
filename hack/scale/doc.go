// Command scale measures tmc with many clusters and many workloads: how long it takes until all syncers work and
// until all workloads run, how many writes each of them costs, what memory and CPU that takes, and whether there
// is silence afterwards. It starts a kcp, a cluster and tmc-controller, and runs the syncers in its own process, put
// together as tmc-syncer is; it stops all of it, prints a table of figures, and fails when something does not
// settle in time.
//
// The syncers share one real cluster, under as many names. Of it each is shown what a cluster of its own would have
// shown it: its own copies (they are told apart by a label of its rule), and one node with the pods there.
// Otherwise the measuring would cost most: each syncer would follow the copies and pods of all. --whole-view
// has them do so. Each has a connection of its own to either server, as programs of their own would.
package main
