// Command simulate measures how the hub grows, without what kcp costs. It builds tmc-controller, runs it on one core (GOMAXPROCS=1)
// against an API server of its own, and measures CPU, time, memory and writes of one step after the other: start, placing everything,
// one change, one cluster that falls silent and comes back, one that is drained, a restart.
//
// The API server speaks what the hub's clients ask of kcp: discovery, lists, watches that begin with what there is, merge patches with
// preconditions, over HTTP and in JSON. It keeps each object as its JSON, checks nothing, and so costs next to nothing itself. What
// clusters would report, it writes itself: with each change of a placed object, the report of a copy that is complete. So all
// of the hub is in the figures, its clients and their decoding among them; feeding its caches directly would leave out just
// the half that memory goes to.
package main
