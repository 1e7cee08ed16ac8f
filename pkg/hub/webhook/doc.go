// Package webhook serves package repair to kcp: it answers AdmissionReviews over HTTPS, and keeps the certificates that
// kcp trusts.
//
// kcp finds it by the MutatingWebhookConfiguration tmc-repair of the provider workspace, which `kubectl tmc init
// --repair-url` makes, with a Secret of the same name. Every replica serves with the certificate that is in the Secret.
// One, the leader, makes the certificates, renews them, and has the configuration trust them. Certificates are decided
// in certificates.go and plan.go, which ask nobody for the time and reach nothing.
//
// It knows nothing of placement or of clusters, and goes with package repair.
package webhook
