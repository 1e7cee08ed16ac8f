// Package repair computes the meant object when kcp has merged a strategic merge patch wrongly: where a patch names a
// list, kcp v0.29 to v0.32 put the patch's list in place of the object's. (Their fork of apiextensions-apiserver
// publishes no x-kubernetes-patch-strategy, in pkg/apiserver/schema/kubeopenapi.go.)
//
// It judges one write at a time, by the object before it, the object as kcp computed it, and the field manager. It
// returns the object as a Kubernetes API server would have computed it, where that can be proven: it computes the patch
// that must have been sent, and checks that a server with kcp's fault makes of it exactly what kcp has made. It leaves
// everything else as it is.
//
// All of it can go when kcp is fixed. It knows no server, logger or clock: pkg/hub/webhook serves it.
package repair
