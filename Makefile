# The commands of this project; `make` alone lists them.
#
# Everything for this machine is built in Cargo's release profile, because gRPC's C-core compiles
# for minutes, and clippy, tests, examples and the programs share one build of it. packaging/
# builds the programs that ship.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test hostile chaos soak memcheck bench guard interop fuzz build static try-static image try-image try-deploy airgap try-airgap verify-reproducible release tools deny messages fmt clean programs

CARGO ?= cargo
# The binary that `make soak`, `bench` and `guard` measure. Default: Cargo's for soak, dist/ for
# the other two.
BINARY ?=
# The binary that `make bench` compares with, or go for a stand-in that it builds, and the socket
# of a driver that is running.
PEER ?=
CSI_SOCKET ?=
# 1: make guard writes its record.
UPDATE ?=
# The programs and the architectures to build, package and try. Default: all.
PROGRAM ?=
export PROGRAM
ARCHITECTURES := $(shell . packaging/lib.sh && echo $$ARCHITECTURES)
ARCH ?= $(ARCHITECTURES)
ifeq ($(strip $(ARCH)),)
$(error ARCH is empty; right would be some of: $(ARCHITECTURES))
endif
# The version to release, and the gpg key that signs it.
VERSION ?=
SIGN_KEY ?=
# 1: make try-airgap leaves out gRPC's C-core, which compiles for minutes.
QUICK ?=
# 1: nothing is downloaded and nothing is installed.
OFFLINE ?=
ifneq ($(filter-out 1,$(OFFLINE) $(QUICK)),)
$(error OFFLINE=$(OFFLINE) QUICK=$(QUICK): right would be 1, or nothing)
endif
# The scripts read these from the environment.
export VERSION SIGN_KEY QUICK BINARY PEER CSI_SOCKET UPDATE

# C-core's objects outlive `make clean` where ccache is installed. It is never
# required.
ifneq ($(shell command -v ccache 2>/dev/null),)
export CMAKE_C_COMPILER_LAUNCHER ?= ccache
export CMAKE_CXX_COMPILER_LAUNCHER ?= ccache
export CCACHE_BASEDIR ?= $(CURDIR)
export CCACHE_NOHASHDIR ?= 1
endif

ifneq ($(OFFLINE),)
export OFFLINE
export CARGO_NET_OFFLINE := true
endif

help:
	@echo 'make run        build, start an example driver and the sidecar, show its answers'
	@echo 'make test       check the format, lint, and run all tests'
	@echo 'make hostile    the hostile clients, floods and faulty drivers at full size'
	@echo 'make chaos      stopped processes, clocks that are set, starvation, full disks'
	@echo 'make soak       100,000 probes and more, a third of them failing; TIME=1200 goes on'
	@echo '                for so many seconds, BINARY=dist/... soaks what ships'
	@echo 'make memcheck   every fault of a driver under valgrind and strace'
	@echo 'make bench      what dist/livenessprobe-linux-* takes, beside PEER=/path, if given;'
	@echo '                PEER=go builds one; CSI_SOCKET=/path probes a driver that runs'
	@echo 'make guard      hold that file to benches/footprint.json; UPDATE=1 writes it'
	@echo 'make interop    the tests with drivers on grpc-go, grpcio, grpc-js and tonic'
	@echo 'make fuzz       fuzz each target for TIME=60 seconds; TARGET=head takes one'
	@echo 'make deny       hold the packages to deny.toml: licences, bans, sources, advisories'
	@echo 'make build      build the programs into target/release/, for this machine; OFFLINE=1'
	@echo '                downloads and installs nothing'
	@echo 'make static     build dist/<program>-linux-* as shipped:'
	@echo '                $(ARCHITECTURES); ARCH=arm64 builds one, PROGRAM=name one program'
	@echo 'make try-static run the tests on what is in dist/; other processors under qemu'
	@echo 'make image      package dist/ as dist/<program>-<version>.oci.tar'
	@echo 'make try-image  run that image in podman, as locked in as a pod can be'
	@echo 'make airgap     bundle the image, its sums, SBOM, manifests and source;'
	@echo '                SIGN_KEY=... signs the sums with gpg'
	@echo 'make try-airgap use that bundle: a registry, a containerd, a build without network;'
	@echo '                QUICK=1 leaves gRPC out of that'
	@echo 'make verify-reproducible'
	@echo '                build what is in dist/ again, elsewhere, and compare; ARCH=amd64'
	@echo 'make release    all that is released of VERSION=x.y.z, from a clean checkout'
	@echo 'make try-deploy check the manifests, alerts and dashboard of deploy/'
	@echo 'make messages   make src/messages/ of proto/'
	@echo 'make fmt        format the source'
	@echo 'make clean      remove what was built'

run: programs
	@examples/demo.sh

# What is started by the demonstration and by the tests: `cargo test` would build
# the example as a test and not as a program.
programs: tools
	@echo '== building (the first time gRPC compiles for some minutes)'
	$(CARGO) build --release --locked --bin livenessprobe --example csi_driver

# In seconds, for each target.
fuzz: TIME ?= 60
fuzz: tools
	@fuzz/run.sh "$(TIME)" $(TARGET)

deny: tools
	@packaging/crates.sh deny

messages:
	UPDATE_MESSAGES=1 $(CARGO) test --release --locked --test integration -- messages::

build: tools
	$(CARGO) build --release --locked --workspace $(or $(PROGRAM:%=--bin=%),--bins)
	@echo 'built target/release/'

test: programs
	@$(CARGO) fmt --version >/dev/null 2>&1 && $(CARGO) clippy --version >/dev/null 2>&1 || { \
	  echo 'error: rustfmt or clippy is missing; run: rustup component add rustfmt clippy' >&2; exit 1; }
	@echo '== packages'
	@packaging/crates.sh count
	@echo '== format'
	$(CARGO) fmt --all --check
	@echo '== clippy'
	$(CARGO) clippy --release --locked --workspace --all-targets -- --deny warnings
	@echo '== documentation'
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --release --locked --workspace --no-deps --document-private-items
	@echo '== tests'
	$(CARGO) test --release --locked --workspace --all-targets -- \
	  --skip hostile:: --skip flood:: --skip faulty_driver:: --skip chaos:: \
	  --skip wall_clock
	@echo '== hostile clients and faulty drivers, one after the other'
	$(CARGO) test --release --locked --test integration -- \
	  hostile:: flood:: faulty_driver:: --test-threads=1

hostile: programs
	HOSTILE_FULL=1 $(CARGO) test --release --locked --test integration -- \
	  hostile:: flood:: faulty_driver:: --test-threads=1 --show-output

chaos: programs
	@packaging/tools.sh chaos
	$(CARGO) test --release --locked --test integration -- chaos:: wall_clock --test-threads=1

# In seconds.
soak: TIME ?= 300
soak: programs
	SOAK_SECONDS=$(TIME) $(if $(BINARY),LIVENESSPROBE_BINARY=$(abspath $(BINARY))) \
	  $(CARGO) test --release --locked --test integration -- --ignored soak:: --nocapture

memcheck: programs
	@packaging/tools.sh memcheck
	$(CARGO) test --release --locked --test integration -- --ignored memcheck:: --show-output \
	  --test-threads=1

bench: programs
	@benches/run.sh measure

guard: programs
	@benches/run.sh guard

interop: programs
	@tests/interop/run.sh

static:
	@for arch in $(ARCH); do packaging/static.sh "$$arch" || exit; done

try-static: programs
	@packaging/try.sh static $(ARCH)

image:
	@packaging/image.sh $(ARCH)

try-image: programs
	@packaging/try.sh image $(ARCH)

airgap: tools
	@packaging/airgap.sh $(ARCH)

try-airgap: tools
	@packaging/try-airgap.sh

# One, where it is not given: each compiles anew.
verify-reproducible:
	@packaging/verify-reproducible.sh $(if $(filter file,$(origin ARCH)),amd64,$(ARCH))

release: tools
	@packaging/release.sh "$$VERSION" $(ARCH)

try-deploy: programs
	@deploy/try.sh

fmt:
	$(CARGO) fmt --all

clean:
	$(CARGO) clean
	rm -rf dist

tools:
	@command -v $(CARGO) >/dev/null || { \
	  echo 'error: cargo is missing; install Rust with rustup (https://rustup.rs)' >&2; exit 1; }
	@packaging/tools.sh build
