# The commands of this project; `make` alone lists them.
#
# Everything is built in Cargo's release profile: gRPC's C-core compiles for
# minutes, and clippy, tests, examples and the binary share one build of it.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test hostile build tools fmt clean

CARGO ?= cargo

# C-core's objects outlive `make clean` where ccache is installed. It is never
# required.
ifneq ($(shell command -v ccache 2>/dev/null),)
export CMAKE_C_COMPILER_LAUNCHER ?= ccache
export CMAKE_CXX_COMPILER_LAUNCHER ?= ccache
export CCACHE_BASEDIR ?= $(CURDIR)
export CCACHE_NOHASHDIR ?= 1
endif

help:
	@echo 'make run     build, start an example driver and the sidecar, show its answers'
	@echo 'make test    check the format, lint, and run all tests'
	@echo 'make hostile the hostile and the faulty-driver suite at full size'
	@echo 'make build   build target/release/livenessprobe'
	@echo 'make fmt     format the source'
	@echo 'make clean   remove what was built'

run: tools
	@echo '== building (the first time gRPC compiles for some minutes)'
	$(CARGO) build --release --locked --bin livenessprobe --example csi_driver
	@examples/demo.sh

build: tools
	$(CARGO) build --release --locked --bin livenessprobe
	@echo 'built target/release/livenessprobe'

test: tools
	@$(CARGO) fmt --version >/dev/null 2>&1 && $(CARGO) clippy --version >/dev/null 2>&1 || { \
	  echo 'error: rustfmt or clippy is missing; run: rustup component add rustfmt clippy' >&2; exit 1; }
	@echo '== format'
	$(CARGO) fmt --check
	@echo '== clippy (the first time gRPC compiles for some minutes)'
	$(CARGO) clippy --release --locked --all-targets -- --deny warnings
	@echo '== tests'
	$(CARGO) test --release --locked --all-targets -- --skip hostile:: --skip faulty_driver::
	@echo '== hostile clients and faulty drivers, one after the other'
	$(CARGO) test --release --locked --test integration -- \
	  hostile:: faulty_driver:: --test-threads=1

hostile: tools
	HOSTILE_FULL=1 $(CARGO) test --release --locked --test integration -- \
	  hostile:: faulty_driver:: --test-threads=1 --show-output

fmt:
	$(CARGO) fmt

clean:
	$(CARGO) clean

# What building needs besides Rust: Cargo itself, and C-core's build tools.
TOOLS_NEEDED := cmake make g++ gcc

tools:
	@command -v $(CARGO) >/dev/null || { \
	  echo 'error: cargo is missing; install Rust with rustup (https://rustup.rs)' >&2; exit 1; }
	@missing=; for tool in $(TOOLS_NEEDED); do \
	  command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "== installing$$missing"; \
	  apt-get update && DEBIAN_FRONTEND=noninteractive \
	    apt-get install --yes --no-install-recommends $$missing libc6-dev; \
	else \
	  echo "error: these build tools are missing; install them first: apt-get install$$missing libc6-dev" >&2; \
	  exit 1; \
	fi
