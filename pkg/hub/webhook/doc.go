// Package webhook serves package repair to kcp: it answers AdmissionReviews over HTTPS, and keeps the certificates that
// kcp trusts.
//
// kcp finds it by the MutatingWebhookConfiguration tmc-repair of the provider workspace, which `kubectl tmc init
// --repair-url` makes, with a Secret of the same name. Every replica serves with the certificate in the Secret. The
// leader makes and renews the certificates, and has the configuration trust them. The decisions about certificates, in
// certificates.go, are pure.
//
// It knows nothing of placement or of clusters, and can go together with package repair.
package webhook
