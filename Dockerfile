# One image with the three programs, static and without root. `make image` builds them with the Go of whoever calls it
# and this file only copies them: nothing is pulled but the base, and nothing at all for `make image BASE=scratch`.
#
# From scratch the image has no certificates of public authorities. The programs then trust a server only by the
# certificate-authority-data of its kubeconfig, which what `kubectl tmc join --ca-file` makes has, and which a cluster
# gives its pods for itself. For a kcp behind a publicly signed certificate take the default, which has them.
#
# The base is named by the digest of its index, for all platforms: the tag moves, and a build would not say what it
# stands on. This is what the tag was in October 2026. docs/development.md says how to move it.
ARG BASE=gcr.io/distroless/static:nonroot@sha256:e2e927ec666bae08560abb3c55d0659eceabb657f56b6782ab500a9fc7f555e3
FROM ${BASE}
# BuildKit sets it for each platform of the build; `make image` sets it for builders that do not.
ARG TARGETARCH
COPY dist/linux-${TARGETARCH}/ /usr/local/bin/
# By number: only so can a kubelet tell that it is not root, and scratch has no names.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/tmc-syncer"]
