# Thin names for cargo and bootstrap commands. `make help` lists them.
SHELL := /bin/bash
PROVIDER ?= native
NODES ?= 2
BOOTSTRAP := target/release/bootstrap
# kubectl of the bundle: the kustomize that rendering is compared with.
BUNDLE := $(or $(IMMUOPS_BUNDLE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/immuops/bundle/current)
REFERENCE := $(BUNDLE)/bin/kubebox
# `make fuzz`: time for each target.
SECONDS_EACH ?= 600
export INSTA_UPDATE := no

.PHONY: help up down status bundle bundle-vm test test-vm check unit bench bench-render conformance fuzz prerequisites bootstrap

help: ## Shows this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | column -t -s $$'\t'

up: bootstrap ## Makes the cluster and installs everything (PROVIDER=native, vm or auto; NODES=)
	$(BOOTSTRAP) up --provider $(PROVIDER) --nodes $(NODES)

down: bootstrap ## Removes the cluster and everything it made on this host
	$(BOOTSTRAP) down

status: bootstrap ## Shows the machines and the Syncs
	$(BOOTSTRAP) status

bundle: bootstrap ## Builds every binary and image a cluster needs
	$(BOOTSTRAP) bundle build

bundle-vm: bundle ## What virtual machines need besides: QEMU and a node's disk
	$(BOOTSTRAP) bundle build --vm

test: check bundle-vm ## Everything CI runs: lints, unit tests, real parts, end to end
	scripts/count-tests cargo test --locked --workspace --no-fail-fast

test-vm: bundle-vm ## Two virtual machines with the immudb pair; many minutes without KVM
	scripts/count-tests cargo test --locked -p tests --test vm -- --ignored --nocapture

check: prerequisites ## Formatting and lints
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet

unit: prerequisites ## Tests that need no real part
	scripts/count-tests cargo test --locked --workspace --exclude tests --no-fail-fast

bench: bundle bench-render ## Measures what docs/benchmarks.md states and prints it
	cargo run --locked -p tests --bin bench

bench-render: bundle ## The part about rendering, beside the reference kustomize
	cargo build --locked --release -p kustomize --examples
	target/release/examples/bench "$(REFERENCE)"

conformance: bundle ## Compares 10,000 random trees with the reference kustomize (goes on where it was)
	KUSTOMIZE_SEEDS=10000 cargo test --locked --release -p kustomize --test it random_trees -- --nocapture

fuzz: prerequisites ## Fuzzes the renderer, led by the code that inputs reach (SECONDS_EACH= for each target)
	SECONDS_EACH=$(SECONDS_EACH) agent/kustomize/fuzz/run

bootstrap: prerequisites
	cargo build --locked --release -p bootstrap

prerequisites:
	@scripts/prerequisites
