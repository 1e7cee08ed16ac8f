// Package proxy stands between a program and the API servers that it talks to, and breaks what passes on demand.
//
// A program has one Proxy, which it is told of by the variable HTTPS_PROXY, and the Proxy has a Link for each server. A Link
// terminates TLS with a certificate of its own Authority, understands the requests of the Kubernetes API, passes them on, and
// counts them. The faults of a Link are of two kinds: its connections can be held, in one direction or both, or be reset, as a
// network does; and Rules answer, delay, cut or mute single requests, as a server does that is not well.
//
// Links speak JSON: they take the other encodings out of what a client says it accepts, so that watches are lines that can be
// held and added to.
package proxy
