# One image with the three programs, static and without root. BASE is what they
# stand on: nothing at all by default, for they need nothing.
ARG BASE=scratch
ARG GO_VERSION=1.26

FROM golang:${GO_VERSION} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=v0.0.0-unknown
RUN CGO_ENABLED=0 go build -trimpath \
      -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=${VERSION}" \
      -o /out/ ./cmd/tmc-syncer ./cmd/tmc-controller ./cmd/kubectl-tmc

FROM ${BASE}
COPY --from=build /out/ /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/tmc-syncer"]
