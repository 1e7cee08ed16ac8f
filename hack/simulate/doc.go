// Command simulate measures how the hub grows, without what kcp costs. It builds tmc-controller, runs it on one core (GOMAXPROCS=1)
// against a kcp in memory (hack/fakekcp), and measures CPU, time, memory and writes of one step after the other: start, placing everything,
// one change, one cluster that falls silent and comes back, one that is drained, a restart.
//
// What clusters would report, it writes itself: with each change of a placed object, the report of a copy that is complete. So all of
// the hub is in the figures, its clients and their decoding among them; feeding its caches directly would leave out just the half that
// memory goes to.
package main
