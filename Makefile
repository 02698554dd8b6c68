# Strongroom. `make demo` shows the main job; `make test` proves it. Both set up what they need.

CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto

.PHONY: help setup build demo test test-long lint bench fuzz docs wheel

help: ## What can be made
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## Install what building, tests and the demo need (idempotent; says what it installs)
	@.ci/setup

build: setup
	$(CARGO) build --workspace --lib --bins --locked

demo: build ## The main job, whole, on this machine: about a minute after the build
	@tests/demo/run

test: build ## All tests but the long ones
	$(CARGO) test --workspace --locked
	for bundle in baseline closed tier1 tier2 tier3; do target/debug/strongroom policy test policies/$$bundle || exit 1; done
	.ci/python test
	FUZZ_SECONDS=5 .ci/fuzz attest/verify

# Other ignored tests are the children that tests start, some of which kill themselves: never run by name.
test-long: test fuzz ## The long suites too: all measured boots; every fuzz target for FUZZ_SECONDS each
	$(CARGO) test --workspace --locked --test suite measured:: -- --ignored --test-threads 1

lint: setup ## Formatting, clippy, licences, bans, sources
	@.ci/lint

bench: setup ## Measure: data plane and releases; results in target/bench/
	@.ci/bench

fuzz: setup ## Fuzz every target for FUZZ_SECONDS each (default 60)
	@.ci/fuzz

wheel: setup ## The Python package, a release build, into target/wheels
	@.ci/python wheel

docs: setup ## The book in target/book, with what code writes into it; its links; API documentation
	@.ci/docs
