# slipcast: every task that a person or CI runs. Plain make lists them.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

# Go's archive adds nothing to PATH, and Debian keeps mkfs, losetup and their
# kind out of a user's.
export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin

COUNT ?= 6
FUZZTIME ?= 10s
VERSION ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),devel)
# When the program was changed last, in seconds since 1970: no clock is believed that is
# behind that.
BUILT ?= $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null))

# The race detector sleeps for a second at the end of each process, also of
# those that tests start by the hundred: https://go.dev/doc/articles/race_detector.
TEST = CGO_ENABLED=1 GORACE=atexit_sleep_ms=0 go test -race -timeout 20m
# What takes a smaller size with -race, at its full one.
FULL = go test -timeout 20m -run '^Test(Thousand|Giant|Minisign)$$' ./multicast ./catalog/bundle ./catalog/trust
TOOL = go tool -modfile=scripts/tools.mod
SCRIPTS = $(shell grep -lsE '^#!.*sh$$' .ci/run scripts/*)

# Of which the tests with disks take minutes of computing in one goroutine, and
# have no use for -race; their unit tests run with it all the same.
PLAIN = ./partition/fsmap ./pxe/bootenv

# The packages that have a test or benchmark whose name starts with $(1).
with = $(shell grep -rlE '^func $(1)' --include='*_test.go' . | xargs -r dirname | sort -u)

# Shows the output of go test -v without the tests that passed, and fails if
# a test was skipped for another reason than that the kernel lacks something.
STRICT = awk '/: the kernel lacks / { lacking++ } \
	/^ *--- SKIP/ { skipped++ } \
	!/^ *(===|--- PASS|PASS$$)/ { print; fflush() } \
	END { bad = skipped > lacking; if (bad) print "slipcast: where SLIPCAST_LAB is set, a skipped test is a failed test"; exit bad }'

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

.PHONY: build
build: ## static, reproducible bin/slipcast
	@scripts/setup build
	CGO_ENABLED=0 go build -trimpath -buildvcs=false \
		-ldflags '-s -w -buildid= -X main.version=$(VERSION) -X main.built=$(BUILT)' -o bin/slipcast ./cmd/slipcast

.PHONY: demo
demo: ## the main job on a real disk that it builds
	@scripts/setup demo
	@$(MAKE) build
	@scripts/demo

# As root, the unit tests are held to the rules of the laboratory too.
.PHONY: test
test: ## everything: unit tests with -race, scripts and, as root, both laboratories
	@scripts/setup test
	@if [ "$$(id -u)" = 0 ]; then \
		SLIPCAST_LAB=root $(MAKE) unit e2e-root e2e-vm e2e-qemu; \
	else \
		echo 'slipcast: not root: both laboratories are left out; they are run by sudo make e2e-root e2e-qemu'; \
		$(MAKE) unit; \
	fi

.PHONY: unit
unit: ## the part of it that needs seconds and no root
	@scripts/setup unit
	@if [ -n "$${SLIPCAST_LAB:-}" ]; then \
		$(TEST) -v -skip '^Test(Root|QEMU)' ./... | $(STRICT); \
		$(FULL) -v | $(STRICT); \
	else \
		$(TEST) -skip '^Test(Root|QEMU)' ./...; \
		$(FULL); \
	fi

.PHONY: e2e-root
e2e-root: ## the part of it that needs root and loop devices; no test may be skipped
	@scripts/setup test
	@[ "$$(id -u)" = 0 ] || { echo 'slipcast: make e2e-root needs root'; exit 1; }
	@SLIPCAST_LAB=root $(TEST) -p 1 -v -count=1 -run '^TestRoot' $(filter-out $(PLAIN),$(call with,TestRoot)) | $(STRICT)
	@SLIPCAST_LAB=root go test -timeout 20m -p 1 -v -count=1 -run '^TestRoot' $(PLAIN) | $(STRICT)

# The rooms are the real program; the race detector would watch their tests.
.PHONY: e2e-qemu
e2e-qemu: ## QEMU machines that boot from the network and are rebuilt; needs root, takes 20 minutes
	@scripts/setup qemu
	@[ "$$(id -u)" = 0 ] || { echo 'slipcast: make e2e-qemu needs root'; exit 1; }
	@SLIPCAST_LAB=qemu go test -timeout 60m -v -count=1 -run '^TestQEMU' ./cmd/slipcast | $(STRICT)

.PHONY: e2e-vm
e2e-vm: ## the tests that this machine's kernel may lack something for, in QEMU
	@scripts/vm

.PHONY: lint
lint: ## gofmt, vet, staticcheck, mod tidy -diff, shellcheck
	@scripts/setup lint
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || \
		{ printf 'slipcast: gofmt -w has work to do on %s\n' $$unformatted; exit 1; }
	go vet ./...
	$(TOOL) staticcheck ./...
	go mod tidy -diff
	shellcheck $(SCRIPTS)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10s)
	@scripts/setup build
	@scripts/fuzz $(FUZZTIME)

.PHONY: bench
bench: ## benchmarks, COUNT (6) times each, ready for benchstat
	@scripts/setup build
	go test -run '^$$' -bench . -benchmem -count $(COUNT) $(call with,Benchmark)

.PHONY: bench-image
bench-image: ## whole processes side by side with partclone, dd and zstd
	@scripts/setup bench
	@$(MAKE) build
	@scripts/bench-image

.PHONY: bench-multicast
bench-multicast: ## sessions in a network of namespaces, side by side with udpcast and HTTP
	@scripts/setup multicast
	@$(MAKE) build
	@scripts/bench-multicast

.PHONY: bench-tftp
bench-tftp: ## the TFTP server side by side with dnsmasq, tftpd-hpa and atftpd
	@scripts/bench-tftp

.PHONY: vuln
vuln: ## govulncheck; needs the network
	@scripts/setup build
	$(TOOL) govulncheck ./...

.PHONY: ci
ci: ## what every change must pass: lint, test, fuzz, build
	@$(MAKE) lint
	@$(MAKE) test
	@$(MAKE) fuzz FUZZTIME=1s
	@$(MAKE) build
