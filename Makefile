# tmc: `make help` says what there is. Everything is built from source here; the
# first build of the tools takes some eight minutes, after that it is cached.

SHELL := /usr/bin/env bash -o pipefail
.DEFAULT_GOAL := help

# component-base ends a program whose version does not begin with vX.Y.Z.
VERSION ?= $(shell git describe --tags --match 'v*' --dirty 2>/dev/null || echo v0.0.0-$$(git describe --always --dirty 2>/dev/null || echo unknown))
LDFLAGS := -X k8s.io/component-base/version.gitVersion=$(VERSION)
PROGRAMS := ./cmd/tmc-syncer ./cmd/tmc-controller ./cmd/kubectl-tmc
IMAGE ?= tmc:$(VERSION)
E2E_IMAGE ?= tmc:e2e
DOCKER ?= docker
# What the image is for: linux/amd64, linux/arm64, or both with a comma.
PLATFORM ?= linux/$(shell go env GOARCH)
comma := ,
IMAGE_DIRS := $(patsubst %,dist/%,$(subst /,-,$(subst $(comma), ,$(PLATFORM))))
GOLANGCI_LINT := bin/tools/golangci-lint
CONTROLLER_GEN := bin/tools/controller-gen
GOVULNCHECK := bin/tools/govulncheck
CYCLONEDX := bin/tools/cyclonedx-gomod
KIND := bin/tools/kind
HELM := bin/tools/helm
HELM4 := bin/tools/helm4
FLUXAPPLY := bin/tools/fluxapply
PLOT := bin/tools/plot
SHELLCHECK := shellcheck

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/tmc-syncer, bin/tmc-controller and bin/kubectl-tmc
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o bin/ $(PROGRAMS)

.PHONY: tools
tools: ## Build kcp and the parts of a cluster into bin/tools (8 min cold, then nothing)
	@hack/build-tools.sh

.PHONY: test
test: test-unit e2e ## Run all tests: unit tests, then e2e against real kcp and three real clusters

.PHONY: test-unit
test-unit: ## Run the unit tests, with the race detector, and print what they cover: 95 % of pure packages, 80 % of pkg/
	@mkdir -p bin
	go test -race -coverprofile=bin/coverage.out $$(go list ./... | grep -v /e2e$$)
	go run ./hack/coverage -gate -profile bin/coverage.out
	go -C hack/plot test ./...

# The daemons are tested with the race detector. The plugin is not: it runs hundreds of times, a second each with it, and
# its unit tests have it.
define build-race
mkdir -p bin/race
go build -race -ldflags "$(LDFLAGS)" -o bin/race/ ./cmd/tmc-syncer ./cmd/tmc-controller
CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o bin/race/ ./cmd/kubectl-tmc
endef

.PHONY: e2e
e2e: tools $(HELM4) $(HELM) $(FLUXAPPLY) ## Run the e2e tests: real programs, real kcp, three real clusters (about 22 min)
	$(build-race)
	TMC_E2E=1 go test -race -v -count=1 -timeout 10m -skip '^TestStackWithKind$$' ./e2e/framework
	TMC_BIN_DIR=$(CURDIR)/bin/race go test -race -v -count=1 -timeout 75m ./e2e
	$(MAKE) chaos

# The seed of CI is fixed, so that a change is judged by the same operations and faults as the one before.
FAULTS ?= 60
SEED ?= 51
HOURS ?= 1
CHAOS := TMC_CHAOS=1 go test -v -count=1 -timeout 0 ./e2e/chaos

.PHONY: chaos
chaos: tools ## Run operations among faults drawn from a seed, judged by a model: FAULTS=60 SEED=51
	$(CHAOS) -run '^TestChaos$$' -args -chaos.faults=$(FAULTS) -chaos.seed=$(SEED) $(CHAOS_FLAGS)

.PHONY: soak
soak: tools ## Run few faults for HOURS=1, and draw what the programs take into docs/soak.svg
	$(CHAOS) -run '^TestSoak$$' -args -chaos.hours=$(HOURS) -chaos.seed=$(SEED) -chaos.plot=$(CURDIR)/docs/soak.svg $(CHAOS_FLAGS)

.PHONY: e2e-kind
e2e-kind: tools $(if $(KIND_BIN),,$(KIND)) ## Run e2e tests on two kind clusters (needs Docker; KIND_BIN, KIND_NODE_IMAGE, BASE; about 10 min)
	$(build-race)
	$(MAKE) image IMAGE=$(E2E_IMAGE)
	TMC_E2E_KIND=1 go test -race -v -count=1 -timeout 15m -run '^TestStackWithKind$$' ./e2e/framework
	TMC_E2E_PROVIDER=kind TMC_E2E_IMAGE=$(E2E_IMAGE) TMC_BIN_DIR=$(CURDIR)/bin/race go test -race -v -count=1 -timeout 30m ./e2e

.PHONY: verify
verify: ## Check generated files, modules, formatting, lint and known vulnerabilities
	hack/verify.sh

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run golangci-lint and shellcheck
	$(GOLANGCI_LINT) run ./...
	$(SHELLCHECK) hack/*.sh .ci/run

.PHONY: vuln
vuln: $(GOVULNCHECK) ## Look for known vulnerabilities that the programs call; content where their database cannot be reached
	go run ./hack/vulncheck -tool $(GOVULNCHECK)

$(GOLANGCI_LINT): hack/lint/go.mod hack/lint/go.sum
	@echo "building golangci-lint: about 80 seconds the first time"
	@mkdir -p bin/tools
	CGO_ENABLED=0 go -C hack/lint build -trimpath -ldflags "-s -w" -o $(CURDIR)/bin/tools/ tool
	@touch $@

$(GOVULNCHECK): hack/vuln/go.mod hack/vuln/go.sum
	@echo "building govulncheck: about 10 seconds the first time"
	@mkdir -p bin/tools
	CGO_ENABLED=0 go -C hack/vuln build -trimpath -ldflags "-s -w" -o $(CURDIR)/bin/tools/ tool
	@touch $@

$(CONTROLLER_GEN): hack/codegen/go.mod hack/codegen/go.sum
	@echo "building controller-gen: about 20 seconds the first time"
	@mkdir -p bin/tools
	CGO_ENABLED=0 go -C hack/codegen build -trimpath -ldflags "-s -w" -o $(CURDIR)/bin/tools/ tool
	@touch $@

.PHONY: generate
generate: tools $(CONTROLLER_GEN) ## Generate the API's Go code, and what is under manifests/ from that, a real kube-apiserver and pkg/bootstrap
	@rm -f hack/schemagen/crds/*.yaml
	$(CONTROLLER_GEN) object crd paths=./pkg/apis/... output:object:dir=pkg/apis/tmc/v1alpha1 output:crd:dir=hack/schemagen/crds
	go run ./hack/schemagen
	go run ./hack/basegen
	go test -p 1 -count=1 -run '^TestReference' ./cmd/tmc-controller ./cmd/tmc-syncer ./cmd/kubectl-tmc -update-docs

.PHONY: demo
demo: build tools ## Show it all on a local kcp with two clusters, then clean up
	go run ./hack/demo run

.PHONY: demo-up
demo-up: build tools ## Like demo, but leave it running and say what to try
	go run ./hack/demo up

.PHONY: demo-down
demo-down: ## Stop what demo-up left running
	go run ./hack/demo down

.PHONY: scale
scale: build tools ## Measure 100 syncers and 500 workloads (about 15 min)
	go run ./hack/scale

.PHONY: simulate
simulate: ## Measure the hub alone with 500 clusters and 10,000 workloads
	go run ./hack/simulate

.PHONY: bench
bench: build tools $(PLOT) ## Measure what tmc costs, and write docs/benchmarks.md (BENCH_FLAGS, KCP_FLAGS; about 12 min)
	go run ./hack/bench --docs docs $(BENCH_FLAGS)
	$(if $(wildcard hack/benchcompare/baseline.txt),go run ./hack/benchcompare)

# dist/<os>-<arch> holds the programs for one platform: static, without symbols, and the same bytes wherever they
# are built of the same sources with the same Go.
dist/%: FORCE
	GOOS=$(firstword $(subst -, ,$*)) GOARCH=$(lastword $(subst -, ,$*)) CGO_ENABLED=0 \
		go build -trimpath -buildvcs=false -ldflags "-s -w $(LDFLAGS)" -o $@/ $(PROGRAMS)

.PHONY: FORCE
FORCE:

.PHONY: image
image: $(IMAGE_DIRS) ## Build the container image: IMAGE, BASE (scratch pulls nothing), PLATFORM, DOCKER
	$(DOCKER) build --platform $(PLATFORM) \
		$(if $(findstring $(comma),$(PLATFORM)),,--build-arg TARGETARCH=$(notdir $(PLATFORM))) \
		$(if $(BASE),--build-arg BASE=$(BASE)) \
		--label org.opencontainers.image.version=$(VERSION) $(IMAGE_FLAGS) -t $(IMAGE) .

.PHONY: release
release: ## Make a release of the tag VERSION: archives for all platforms, SBOMs, checksums
	hack/release.sh $(VERSION)

$(KIND): hack/kind/go.mod hack/kind/go.sum
	@echo "building kind: about 10 seconds the first time"
	@mkdir -p bin/tools
	CGO_ENABLED=0 go -C hack/kind build -trimpath -ldflags "-s -w" -o $(CURDIR)/bin/tools/ tool
	@touch $@

# Both Helms require the same versions of what they share. Together they take as long as one of them.
$(HELM4): hack/helm4/go.mod hack/helm4/go.sum
	@echo "building Helm 4: about two minutes the first time"
	@mkdir -p bin/tools
	CGO_ENABLED=0 go -C hack/helm4 build -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ tool
	@touch $@

$(HELM): hack/helm/go.mod hack/helm/go.sum
	@echo "building Helm 3: some seconds after Helm 4, and else about two minutes the first time"
	@mkdir -p bin/tools
	CGO_ENABLED=0 go -C hack/helm build -trimpath -ldflags "-s -w" -o $(CURDIR)/bin/tools/ tool
	@touch $@

$(FLUXAPPLY): hack/flux/go.mod hack/flux/go.sum $(wildcard hack/flux/*.go)
	@echo "building fluxapply: about 10 seconds the first time, after the tools"
	@mkdir -p bin/tools
	CGO_ENABLED=0 go -C hack/flux build -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ .
	@touch $@

$(PLOT): hack/plot/go.mod hack/plot/go.sum $(wildcard hack/plot/*.go)
	@echo "building plot: about 5 seconds the first time"
	@mkdir -p bin/tools
	CGO_ENABLED=0 go -C hack/plot build -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ .
	@touch $@

$(CYCLONEDX): hack/sbom/go.mod hack/sbom/go.sum
	@echo "building cyclonedx-gomod: about 30 seconds the first time"
	@mkdir -p bin/tools
	CGO_ENABLED=0 go -C hack/sbom build -trimpath -ldflags "-s -w" -o $(CURDIR)/bin/tools/ tool
	@touch $@

.PHONY: clean
clean: ## Remove what was built, the tools included
	rm -rf bin dist
